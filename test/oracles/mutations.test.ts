/**
 * Faults of every kind, made in the files of a recorded healthy cluster as the real cluster would show them: the right
 * cause is named first, with and without the recorded probes; flows that still work are not accused; a scan names the
 * fault and nothing else.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runChecks } from '../../src/checks/run.ts';
import { judge } from '../../src/cli/judge.ts';
import { snapshotFromFiles } from '../../src/collect/build.ts';
import { askedFlows } from '../../src/diagnose/question.ts';
import type { Diagnosis } from '../../src/model/diagnosis.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';
import { formatAddress } from '../../src/net/address.ts';
import { filterFaults } from './mutations-filters.ts';
import { nameFaults } from './mutations-names.ts';
import { networkFaults } from './mutations-network.ts';
import { overlayFaults } from './mutations-overlay.ts';
import { serviceFaults } from './mutations-services.ts';
import { type AskedFlow, type Mutation, openRecording, Recorded } from './mutations-support.ts';
import { workloadFaults } from './mutations-workloads.ts';

const folder =
  process.env.PODPATH_SHARED === undefined ? undefined : join(process.env.PODPATH_SHARED, 'snapshots');
const isHere = folder !== undefined && existsSync(join(folder, 'healthy-vxlan.tar.gz'));
if (!isHere)
  console.log('mutations: skipped, PODPATH_SHARED names no folder with snapshots/healthy-vxlan.tar.gz');

const all: readonly Mutation[] = [
  ...networkFaults,
  ...overlayFaults,
  ...filterFaults,
  ...serviceFaults,
  ...nameFaults,
  ...workloadFaults,
];
const cases = all.flatMap((mutation) => mutation.on.map((on) => [mutation.name, on, mutation] as const));

const build = (at: Recorded): Snapshot =>
  snapshotFromFiles({ files: at.files, unreadable: [] }, 'a changed recording');

const askOf = (snapshot: Snapshot, { src, dst, port, protocol }: AskedFlow) =>
  askedFlows(snapshot, {
    src,
    dst: port === 0 ? dst : `${dst}:${port}`,
    namespace: 'default',
    ...(protocol === undefined ? {} : { protocol }),
  });

const judged = (snapshot: Snapshot, flow: AskedFlow): Promise<Diagnosis> =>
  judge(snapshot, askOf(snapshot, flow), { started: performance.now() });

const outputs = {
  timeout:
    '000 0.000000curl: (28) Connection timed out after 3000 milliseconds\ncommand terminated with exit code 28',
  refused:
    "000 0.000000curl: (7) Failed to connect to it after 0 ms: Couldn't connect to server\ncommand terminated with exit code 7",
} as const;

/** The probes as the recorder would have found them while the fault was in place. */
function probesOf(
  snapshot: Snapshot,
  mutation: Mutation,
  failing: AskedFlow,
  working: readonly AskedFlow[],
): string {
  const meets = mutation.meets ?? 'timeout';
  const entry = (flow: AskedFlow, isBad: boolean) => {
    const asked = askOf(snapshot, flow);
    const [first] = asked.flows;
    const named = asked.notFound !== undefined || first.hostName !== undefined;
    const base = {
      src: flow.src,
      dst: formatAddress(first.dst.address),
      protocol: first.protocol,
      port: first.dstPort,
      size: 0,
      ok: !isBad,
      ms: meets === 'refused' ? 150 : 3100,
      command: 'curl',
      output: isBad ? outputs[meets === 'refused' ? 'refused' : 'timeout'] : '200',
    };
    if (meets === 'stalls' && isBad)
      return [
        { ...base, ok: true, output: '200' },
        { ...base, size: 100_000 },
      ];
    if (!named) return [base];
    return [{ ...base, dst: first.hostName, protocol: 'dns', port: 53, command: 'nslookup' }];
  };
  return JSON.stringify([
    ...entry(failing, meets !== 'works'),
    ...working.flatMap((flow) => entry(flow, false)),
  ]);
}

const idsOf = ({ causes }: Diagnosis): string[] => causes.map((cause) => cause.id);
const show = ({ causes }: Diagnosis): string =>
  causes.map((cause) => `${cause.id} ${cause.score.toFixed(2)} ${cause.title}`).join('\n');

describe.skipIf(!isHere).each(cases)('%s (%s)', (_name, on, mutation) => {
  let at: Recorded;
  let flow: AskedFlow;
  let works: readonly AskedFlow[];

  beforeAll(async () => {
    at = await openRecording(folder ?? '', on);
    at.files.delete('probes/results.json');
    flow = mutation.flow(at);
    works = mutation.works?.(at) ?? [{ src: at.id('web', 1), dst: at.id('api', 2), port: 8080 }];
    mutation.apply(at);
  });

  const expectCauses = (found: Diagnosis): void => {
    expect(found.verdict.answer, show(found)).toBe(mutation.meets === 'works' ? 'reachable' : 'unreachable');
    if (mutation.meets === 'works') {
      // A flow that works has no cause; what is odd about it is a remark that names the id.
      expect(found.causes, show(found)).toEqual([]);
      expect(found.remarks?.join(), show(found)).toContain(mutation.causes[0]);
      return;
    }
    expect(mutation.causes, show(found)).toContain(found.causes[0]?.id);
    for (const id of mutation.alsoListed ?? []) expect(idsOf(found), show(found)).toContain(id);
  };

  // What no recorded state shows (the network between nodes, a full table) is asserted with probes only.
  if (mutation.onlyProbed !== true) {
    it('is named first by recorded state alone', async () => {
      expectCauses(await judged(build(at), flow));
    });
  }

  it('is named first with the recorded probes', async () => {
    const probed = new Recorded(at.files);
    probed.files.set('probes/results.json', probesOf(build(at), mutation, flow, works));
    expectCauses(await judged(build(probed), flow));
  });

  it('accuses no flow that works', async () => {
    const snapshot = build(at);
    for (const working of works) {
      const found = await judged(snapshot, working);
      expect([working.src, working.dst, found.verdict.answer, show(found)]).toEqual([
        working.src,
        working.dst,
        'reachable',
        '',
      ]);
    }
  });

  it('is all that a scan finds', () => {
    const findings = runChecks(build(at)).findings;
    const allowed = [...mutation.causes, ...(mutation.alsoListed ?? []), ...(mutation.scanToo ?? [])];
    const strays = findings.filter((finding) => !allowed.includes(finding.cause));
    expect(strays.map((finding) => `${finding.cause}: ${finding.statement}`)).toEqual([]);
    if (mutation.quiet !== true) expect(findings.length).toBeGreaterThan(0);
  });
});

describe.runIf(!isHere)('mutations', () => {
  it('are not made: there is nothing to change', () => {
    expect(isHere).toBe(false);
  });
});
