/** JSON reports: the model with addresses and packets as text. Shapes: schema.ts and docs/schema. */
import type { z } from 'zod';
import type { Diagnosis } from '../model/diagnosis.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Endpoint, Flow } from '../model/flow.ts';
import type { Scan } from '../model/scan.ts';
import { formatSource, type SourceRef } from '../model/source.ts';
import type { Branch, Hop, NearRule, RuleVisit, Step, Trace, Verdict } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import { formatPacket } from '../net/packet.ts';
import { scanHeadline } from './scan.ts';
// Types only: zod itself stays out of the program.
import type { diagnosisReport, scanReport, traceReport } from './schema.ts';
import { headline } from './words.ts';

export type DiagnosisReport = z.infer<typeof diagnosisReport>;
export type TraceReport = z.infer<typeof traceReport>;
export type ScanReport = z.infer<typeof scanReport>;

const apiVersion = 'podpath.dev/v1alpha1';

export function diagnosisJson(diagnosis: Diagnosis): DiagnosisReport {
  const { verdict, causes, gaps, probes } = diagnosis;
  return {
    apiVersion,
    kind: 'Diagnosis',
    summary: headline(verdict, causes, gaps),
    answer: verdict.answer,
    disposition: verdict.disposition,
    flow: flowJson(verdict.flow),
    causes: causes.map((cause) => ({
      id: cause.id,
      title: cause.title,
      score: cause.score,
      subject: cause.subject,
      evidence: cause.evidence.map(evidenceJson),
      contradictedBy: [...cause.contradictedBy],
      repair: [...cause.repair],
      ...(cause.nextProbe === undefined ? {} : { nextProbe: cause.nextProbe }),
    })),
    gaps: [...gaps],
    trace: traceOf(verdict.trace),
    branches: verdict.branches.map(branchJson),
    evidence: verdict.evidence.map(evidenceJson),
    ...(diagnosis.remarks === undefined ? {} : { remarks: [...diagnosis.remarks] }),
    probes: probes.map(probeJson),
    durationMs: Math.round(diagnosis.durationMs),
  };
}

export function traceJson(verdict: Verdict): TraceReport {
  return {
    apiVersion,
    kind: 'Trace',
    summary: headline(verdict, [], verdict.gaps),
    answer: verdict.answer,
    disposition: verdict.disposition,
    flow: flowJson(verdict.flow),
    gaps: [...verdict.gaps],
    trace: traceOf(verdict.trace),
    branches: verdict.branches.map(branchJson),
  };
}

export function scanJson(scan: Scan): ScanReport {
  return {
    apiVersion,
    kind: 'Scan',
    summary: scanHeadline(scan),
    findings: scan.findings.map((finding) => ({
      ...finding,
      concerns: [...finding.concerns],
      evidence: finding.evidence.map(evidenceJson),
    })),
    checks: [...scan.checks],
    notRun: [...scan.notRun],
    gaps: [...scan.gaps],
    lookedAt: scan.lookedAt,
    durationMs: Math.round(scan.durationMs),
  };
}

const flowJson = (flow: Flow): DiagnosisReport['flow'] => ({
  ...flow,
  src: endpointJson(flow.src),
  dst: endpointJson(flow.dst),
});

const endpointJson = (endpoint: Endpoint): DiagnosisReport['flow']['src'] => ({
  ...endpoint,
  address: formatAddress(endpoint.address),
});

function evidenceJson({ how, statement, source }: Evidence): DiagnosisReport['evidence'][number] {
  return { how, statement, ...(source === undefined ? {} : { source: sourceJson(source) }) };
}

function sourceJson(source: SourceRef): NonNullable<DiagnosisReport['evidence'][number]['source']> {
  const text = formatSource(source);
  if (source.kind !== 'file') return { kind: source.kind, text };
  return {
    kind: source.kind,
    text,
    file: source.file,
    ...(source.line === undefined ? {} : { line: source.line }),
  };
}

const traceOf = (trace: Trace): DiagnosisReport['trace'] => ({
  forward: trace.forward.map(hopJson),
  back: trace.back.map(hopJson),
});

type HopJson = DiagnosisReport['trace']['forward'][number];
type StepJson = HopJson['steps'][number];

const hopJson = ({ packet, steps, rules, ...hop }: Hop): HopJson => ({
  ...hop,
  packet: formatPacket(packet),
  packetBytes: packet.lengthBytes,
  steps: steps.map(stepJson),
  ...(rules === undefined ? {} : { rules: rules.map(ruleJson) }),
});

const ruleJson = (rule: RuleVisit): NonNullable<HopJson['rules']>[number] => ({
  ...rule,
  chains: [...rule.chains],
  source: sourceJson(rule.source),
});

const nearJson = ({ through, ...rule }: NearRule): NonNullable<StepJson['nearest']>[number] => ({
  ...rule,
  chains: [...rule.chains],
  needs: [...rule.needs],
  source: sourceJson(rule.source),
  ...(through === undefined ? {} : { through: sourceJson(through) }),
});

const stepJson = ({ sources, nearest, ...step }: Step): StepJson => ({
  ...step,
  ...(step.facts === undefined ? {} : { facts: { ...step.facts } }),
  ...(sources === undefined ? {} : { sources: sources.map(sourceJson) }),
  ...(nearest === undefined ? {} : { nearest: nearest.map(nearJson) }),
});

function branchJson({ broken, trace, remarks, ...branch }: Branch): DiagnosisReport['branches'][number] {
  return {
    ...branch,
    trace: traceOf(trace),
    remarks: remarks.map(stepJson),
    ...(broken === undefined ? {} : { broken: brokenJson(broken, trace) }),
  };
}

function brokenJson(broken: NonNullable<Branch['broken']>, trace: Trace) {
  const hops = broken.direction === 'forward' ? trace.forward : trace.back;
  const index = hops.findIndex((hop) => hop === broken.hop || hop.steps.includes(broken.step));
  // The walk always files the hop that lost the packet last.
  return {
    direction: broken.direction,
    hop: index < 0 ? hops.length - 1 : index,
    step: stepJson(broken.step),
  };
}

type ProbeJson = DiagnosisReport['probes'][number];

const probeJson = ({ dns, ...probe }: Diagnosis['probes'][number]): ProbeJson => ({
  ...probe,
  ...(dns === undefined ? {} : { dns: { ...dns, answers: [...dns.answers] } }),
});
