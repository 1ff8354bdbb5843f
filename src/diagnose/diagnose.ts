/** From evidence to ranked causes for one flow. */
import { World } from '../dataplane/world.ts';
import type { Diagnosis } from '../model/diagnosis.ts';
import type { Cause, Finding } from '../model/finding.ts';
import type { Endpoint, Flow } from '../model/flow.ts';
import type { Gap } from '../model/gap.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Answer, Verdict } from '../model/verdict.ts';
import { policyTitle } from '../policy/decision.ts';
import { candidates } from './candidates.ts';
import { formatEndpoint } from './endpoint.ts';
import { deniedDirection, dnsFlow, type Investigation, investigate } from './investigate.ts';
import { nameNotFound, wrongNameserver } from './name-cause.ts';
import { withNearRule } from './near-rule.ts';
import type { Probed } from './probed.ts';

export interface DiagnoseInput {
  readonly snapshot: Snapshot;
  readonly flow: Flow;
  readonly findings: readonly Finding[];
  readonly probed?: Probed;
  /** Names that were asked for and do not exist, if the destination was a host name. */
  readonly notFound?: readonly string[];
  readonly durationMs: number;
}

export function diagnose(input: DiagnoseInput): Diagnosis {
  const world = new World(input.snapshot);
  if (input.notFound !== undefined) return unresolvable(world, input, input.notFound);
  const main = investigate(world, input.flow);
  const dns = input.flow.hostName === undefined ? undefined : askName(world, input.flow);
  const misled = wrongNameserver(world, input.flow);
  if (misled !== undefined && input.probed?.answer !== 'reachable') return nameless(input, main, misled);
  // A flow by name fails with its name: the query is its first leg.
  const decisive = dns !== undefined && dns.verdict.answer === 'unreachable' ? dns : main;
  const stale = staleEntry(input);
  const settled = stuck(settle(decisive.verdict, input.probed, decisive === dns), stale);
  const causes =
    settled.answer === 'reachable'
      ? []
      : withNearRule(
          world,
          decisive,
          candidates(world, {
            investigation: { ...decisive, verdict: settled },
            findings: input.findings,
            isName: decisive === dns,
            ...(input.probed === undefined ? {} : { probed: input.probed }),
          }),
        );
  const verdict: Verdict = { ...settled, flow: input.flow };
  const remarks = unenforced(main, settled.answer, input.probed);
  return {
    verdict,
    causes,
    ...(remarks.length === 0 ? {} : { remarks }),
    gaps: mergeGaps(verdict.gaps, input.snapshot, input.flow),
    probes: input.probed?.results ?? [],
    durationMs: input.durationMs,
  };
}

/** A finding that this client's UDP connection still leads to a server that is gone, unless a probe was answered. */
const staleEntry = ({ flow, findings, probed }: DiagnoseInput): Finding | undefined =>
  flow.protocol !== 'udp' || probed?.answer === 'reachable'
    ? undefined
    : findings.find(
        ({ cause, concerns }) =>
          cause === 'conntrack/stale-entry' &&
          [flow.src, flow.dst].every((end) => concerns.some(({ name }) => name === objectName(end))),
      );

/** As findings name pods and Services. */
const objectName = (end: Endpoint): string =>
  'namespace' in end ? `${end.namespace}/${end.name}` : formatEndpoint(end);

/** New connections would pass; the one in use does not. */
const stuck = (verdict: Verdict, stale: Finding | undefined): Verdict =>
  stale === undefined || verdict.answer === 'unreachable'
    ? verdict
    : { ...verdict, answer: 'unreachable', disposition: 'insufficient-info' };

/** Real packets pass what the policies deny: reachable, so nothing is to be repaired, but nobody meant it to be. */
function unenforced({ policy, flow }: Investigation, answer: Answer, probed: Probed | undefined): string[] {
  const direction = deniedDirection(policy);
  if (policy === undefined || direction === undefined || answer !== 'reachable') return [];
  if (probed?.answer !== 'reachable') return [];
  const names = policy[direction].isolatingPolicies.map(policyTitle).join(', ');
  const end = formatEndpoint(direction === 'egress' ? flow.src : flow.dst);
  return [
    `${names} denies this flow at ${end} (${direction}), and nobody enforces it: real packets pass (policy/not-enforced).`,
  ];
}

/** The pod asks a nameserver that cannot know the cluster's names: the flow ends before its first packet. */
const nameless = (input: DiagnoseInput, { verdict }: Investigation, cause: Cause): Diagnosis => ({
  verdict: {
    ...verdict,
    answer: 'unreachable',
    disposition: 'name-not-found',
    evidence: [...cause.evidence, ...(input.probed?.evidence ?? [])],
  },
  causes: [cause],
  gaps: mergeGaps(verdict.gaps, input.snapshot, input.flow),
  probes: input.probed?.results ?? [],
  durationMs: input.durationMs,
});

function askName(world: World, flow: Flow): Investigation | undefined {
  const query = dnsFlow(world, flow);
  return query === undefined ? undefined : investigate(world, query);
}

function unresolvable(world: World, input: DiagnoseInput, asked: readonly string[]): Diagnosis {
  const query = askName(world, input.flow);
  const verdict: Verdict = {
    flow: input.flow,
    answer: 'unreachable',
    disposition: 'name-not-found',
    trace: query?.verdict.trace ?? { forward: [], back: [] },
    branches: [],
    evidence: input.probed?.evidence ?? [],
    gaps: [],
  };
  return {
    verdict,
    causes: nameNotFound(world, input.flow, asked),
    gaps: input.snapshot.gaps,
    probes: input.probed?.results ?? [],
    durationMs: input.durationMs,
  };
}

/**
 * What really happened outweighs what should: a probe of the flow that failed makes it unreachable, one that passed makes
 * it reachable, unless the walk names one backend of several, which a single probe may have missed.
 */
function settle(verdict: Verdict, probed: Probed | undefined, isName: boolean): Verdict {
  if (probed === undefined) return verdict;
  const evidence = [...verdict.evidence, ...probed.evidence];
  if (probed.answer === 'unknown' || probed.answer === verdict.answer || isName)
    return { ...verdict, evidence };
  if (probed.answer === 'unreachable')
    return { ...verdict, evidence, answer: 'unreachable', disposition: observed(verdict) };
  const partial =
    verdict.branches.some((b) => b.answer === 'reachable') &&
    verdict.branches.some((b) => b.backend !== undefined);
  if (verdict.answer === 'unreachable' && partial) return { ...verdict, evidence };
  const disagreement = verdict.answer === 'unreachable' ? [disagreementGap(verdict)] : [];
  return {
    ...verdict,
    evidence,
    answer: 'reachable',
    disposition: 'delivered',
    gaps: [...verdict.gaps, ...disagreement],
  };
}

/** Real packets pass where recorded state would lose them: said openly, since one of the two was misread. */
function disagreementGap(verdict: Verdict): Gap {
  const broken = verdict.branches.find((branch) => branch.answer === 'unreachable')?.broken;
  return {
    what: 'why recorded state and real packets disagree',
    where: broken === undefined ? 'the walk' : `nodes/${broken.hop.netns}`,
    why: `real packets pass, but by recorded state they would be lost: ${broken?.step.text ?? verdict.disposition}`,
    todo: 'diagnose again: the state may have changed between; if it stays, podpath misreads it: please report the snapshot',
  };
}

/** The walk's own disposition where it had one; else only the loss is known. */
const observed = (verdict: Verdict): Verdict['disposition'] =>
  verdict.disposition === 'delivered' ? 'insufficient-info' : verdict.disposition;

/** The snapshot's gaps that concern the nodes of the path, behind the walk's own. */
function mergeGaps(own: readonly Gap[], snapshot: Snapshot, flow: Flow): readonly Gap[] {
  const names = [flow.src, flow.dst].flatMap((end) =>
    end.kind === 'pod' ? [`${end.namespace}_${end.name}`] : end.kind === 'node' ? [end.name] : [],
  );
  const related = snapshot.gaps.filter(
    (gap) => names.some((name) => gap.where.includes(name)) || gap.where.startsWith('cluster'),
  );
  return [...own, ...related.filter((gap) => !own.some((o) => o.what === gap.what))];
}
