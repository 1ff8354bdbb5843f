/**
 * The whole program on the real kernel: on each pod network a healthy lab raises no finding; each fault is named first,
 * flows that still work are not accused, and after healing everything is well again.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runChecks } from '../../src/checks/run.ts';
import { judge } from '../../src/cli/judge.ts';
import { snapshotOfLab } from '../../src/collect/lab.ts';
import { askedFlows } from '../../src/diagnose/question.ts';
import type { FaultFlow } from '../../src/lab/faults/fault.ts';
import { faults } from '../../src/lab/faults/registry.ts';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import type { LabCni } from '../../src/lab/state.ts';
import type { Diagnosis } from '../../src/model/diagnosis.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';

const why =
  process.platform !== 'linux' ? 'this is not Linux' : process.getuid?.() !== 0 ? 'not root' : undefined;
if (why !== undefined) console.log(`skipped: diagnosis on the kernel: ${why}`);

const cnis: readonly LabCni[] = ['flannel-vxlan', 'flannel-host-gw', 'calico-vxlan'];

interface Options {
  readonly lab?: Lab;
  /** Ask about packets of this size only. */
  readonly sizeBytes?: number;
}

const diagnoseIn = (
  snapshot: Snapshot,
  flow: FaultFlow,
  { lab, sizeBytes }: Options = {},
): Promise<Diagnosis> => {
  const target = flow.hostName ?? flow.dst;
  const asked = askedFlows(snapshot, {
    src: flow.src,
    dst: flow.port === 0 ? target : `${target}:${flow.port}`,
    namespace: 'default',
    protocol: flow.protocol,
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
  });
  return judge(snapshot, asked, { started: performance.now(), ...(lab === undefined ? {} : { lab }) });
};

const findingsOf = (snapshot: Snapshot): string[] =>
  runChecks(snapshot).findings.map((finding) => `${finding.cause}: ${finding.statement}`);

describe.skipIf(why !== undefined).each(cnis)('%s', (cni) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await upLab({ name: `dg-${cni}`, cni, ownerPid: process.pid });
  });
  afterAll(async () => {
    if (lab !== undefined) await downLab(lab.state.name);
  });

  it('healthy: nothing is found, and every gap is explained', async () => {
    const snapshot = await snapshotOfLab(lab);
    expect(findingsOf(snapshot)).toEqual([]);
    expect(snapshot.gaps).toEqual([]);
  });

  it('healthy with fresh traffic: still nothing is found', async () => {
    const flows: FaultFlow[] = [
      { src: 'shop/web-1', dst: 'shop/api-1', port: 8080, protocol: 'tcp' },
      { src: 'shop/web-1', dst: 'shop/api-2', port: 8081, protocol: 'udp' },
      { src: 'shop/web-2', dst: 'shop/svc/api', port: 80, protocol: 'tcp' },
      { src: 'shop/web-3', dst: '', hostName: 'api', port: 80, protocol: 'tcp' },
      { src: 'ops/toolbox-1', dst: 'shop/web-2', port: 0, protocol: 'icmp' },
    ];
    const snapshot = await snapshotOfLab(lab);
    for (const flow of flows) {
      const { verdict, causes } = await diagnoseIn(snapshot, flow, { lab });
      expect([flow.src, flow.dst, verdict.answer, causes]).toEqual([flow.src, flow.dst, 'reachable', []]);
    }
    expect(findingsOf(await snapshotOfLab(lab))).toEqual([]);
  });

  const chosen = faults.filter((fault) => fault.cnis.includes(cni));
  it.each(chosen.map((fault) => [fault.name, fault] as const))('%s', async (_name, fault) => {
    const flow = fault.flow(lab);
    await fault.apply(lab);
    try {
      const broken = await snapshotOfLab(lab);
      const found = await diagnoseIn(broken, flow, { lab });
      expect(found.verdict.answer).toBe('unreachable');
      expect([fault.cause, ...fault.alsoAccepted]).toContain(found.causes[0]?.id);
      expect(found.causes[0]?.evidence.length).toBeGreaterThan(0);
      // By recorded state alone the cause is the same, though a lost fragment is then only suspected.
      const quiet = await diagnoseIn(broken, flow);
      expect([fault.cause, ...fault.alsoAccepted]).toContain(quiet.causes[0]?.id);
      // A fault of sizes leaves small packets alone, also on the path that it breaks.
      const small = flow.sizeBytes === undefined ? {} : { sizeBytes: 576 };
      for (const works of fault.works(lab)) {
        const { verdict, causes } = await diagnoseIn(broken, works, small);
        expect([works.src, works.dst, works.port, verdict.answer, causes]).toEqual([
          works.src,
          works.dst,
          works.port,
          'reachable',
          [],
        ]);
      }
    } finally {
      await fault.heal(lab);
    }
    const healed = await snapshotOfLab(lab);
    expect((await diagnoseIn(healed, flow, { lab })).verdict.answer).toBe('reachable');
    expect(findingsOf(healed)).toEqual([]);
  });
});
