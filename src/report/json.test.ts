import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { backendsJson } from './backends.ts';
import { diagnosisJson, scanJson, traceJson } from './json.ts';
import { blocked, clean, explained, healthy, scanned, stalled, unsure } from './samples.ts';
import { backendsReport, connectivityReport, diagnosisReport, scanReport, traceReport } from './schema.ts';

const diagnoses = { blocked, explained, healthy, unsure, stalled };

/** As a consumer gets it: through text, so that a bigint or a cycle cannot hide. */
const printed = (report: unknown): unknown => JSON.parse(JSON.stringify(report));

describe('JSON reports have the documented shape', () => {
  it.each(Object.entries(diagnoses))('diagnosis: %s', (_, diagnosis) => {
    const report = printed(diagnosisJson(diagnosis));
    expect(diagnosisReport.parse(report)).toEqual(report);
    const trace = printed(traceJson(diagnosis.verdict));
    expect(traceReport.parse(trace)).toEqual(trace);
    const backends = printed(backendsJson(diagnosis.verdict));
    expect(backendsReport.parse(backends)).toEqual(backends);
  });

  it.each(Object.entries({ clean, scanned }))('scan: %s', (_, scan) => {
    const report = printed(scanJson(scan));
    expect(scanReport.parse(report)).toEqual(report);
  });

  it('and a report of another shape is refused', () => {
    const report = diagnosisJson(blocked);
    expect(diagnosisReport.safeParse({ ...report, answer: 'maybe' }).success).toBe(false);
    expect(diagnosisReport.safeParse({ ...report, surprise: 1 }).success).toBe(false);
  });
});

it('a diagnosis carries the answer, the causes and the packets as text', () => {
  expect(printed(diagnosisJson(blocked))).toMatchObject({
    apiVersion: 'podpath.dev/v1alpha1',
    kind: 'Diagnosis',
    answer: 'unreachable',
    disposition: 'filtered',
    flow: { src: { kind: 'pod', namespace: 'shop', name: 'web-1', address: '10.244.1.5' } },
    causes: [{ id: 'overlay/port-blocked', subject: { kind: 'node', name: 'node2' } }, {}],
    trace: {
      forward: [
        {},
        {
          packet: '10.99.0.11:51234 -> 10.99.0.12:8472 udp (VNI 1: 10.244.1.5:40000 -> 10.244.2.6:8080 tcp)',
        },
        {},
      ],
    },
    branches: [{ broken: { direction: 'forward', hop: 2, step: { reason: 'rule-drop' } } }],
  });
});

/** Published schemas allow fields that later versions add; the tests above do not. */
function published(schema: z.ZodType, title: string): string {
  const json = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  const { $schema, ...rest } = json;
  return `${JSON.stringify({ $schema, title, ...rest }, undefined, 2)}\n`;
}

// `npx vitest run --project unit src/report -u` writes the files anew.
it.each([
  ['diagnosis', diagnosisReport, 'podpath diagnose -o json'],
  ['trace', traceReport, 'podpath trace -o json'],
  ['trace-backends', backendsReport, 'podpath trace --all-backends -o json'],
  ['scan', scanReport, 'podpath scan -o json'],
  ['connectivity', connectivityReport, 'podpath policy list -o json'],
] as const)('docs/schema/%s.json is up to date', async (name, schema, title) => {
  await expect(published(schema, title)).toMatchFileSnapshot(`../../docs/schema/${name}.json`);
});
