/**
 * Recorded real clusters as an oracle: what `kubectl exec` probes met while a snapshot was taken must be what the walk says
 * of the snapshot, probe by probe; and the diagnosis of the flow that was tried must name the fault that was made.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runChecks } from '../../src/checks/run.ts';
import { readSnapshot } from '../../src/collect/read.ts';
import { conclude, walk } from '../../src/dataplane/walk.ts';
import { World } from '../../src/dataplane/world.ts';
import { diagnose } from '../../src/diagnose/diagnose.ts';
import { netnsIdOf } from '../../src/diagnose/endpoint.ts';
import { investigate } from '../../src/diagnose/investigate.ts';
import { worstFlow } from '../../src/diagnose/pairs.ts';
import { type AskedFlows, askedFlows } from '../../src/diagnose/question.ts';
import type { FlowProtocol } from '../../src/model/flow.ts';
import type { Snapshot } from '../../src/model/snapshot.ts';

const folder =
  process.env.PODPATH_SHARED === undefined ? undefined : join(process.env.PODPATH_SHARED, 'snapshots');
const names =
  folder !== undefined && existsSync(folder)
    ? readdirSync(folder)
        .filter((file) => file.endsWith('.truth.json'))
        .map((file) => file.replace('.truth.json', ''))
    : [];
if (names.length === 0)
  console.log('recordings: skipped, PODPATH_SHARED names no folder with snapshots/*.truth.json');

interface Truth {
  readonly flow: {
    readonly src: string;
    readonly dst: string;
    readonly port: number;
    readonly protocol: FlowProtocol;
  };
  readonly works: boolean;
  readonly causes: readonly string[];
}

/**
 * The server of this recording was gone when its sockets were listed: ss shows nothing on the port at all, so the state
 * proves that nothing listens there, and nothing in it speaks of a loopback address.
 */
const provable: Readonly<Record<string, readonly string[]>> = { 'loopback-only': ['app/not-listening'] };

const read = <T>(file: string): T => JSON.parse(readFileSync(join(folder ?? '', file), 'utf8')) as T;

/** The recordings write a Service as svc/NS/NAME. */
const destination = (dst: string): string => dst.replace(/^svc\/([^/]+)\//, '$1/svc/');

const ask = (
  snapshot: Snapshot,
  src: string,
  dst: string,
  port: number,
  protocol: FlowProtocol,
): AskedFlows =>
  askedFlows(snapshot, {
    src,
    dst: protocol === 'icmp' ? dst : `${dst}:${port}`,
    namespace: 'default',
    protocol,
  });

describe.each(names)('%s', (name) => {
  const truth = read<Truth>(`${name}.truth.json`);
  let snapshot: Snapshot;
  let world: World;

  beforeAll(async () => {
    snapshot = await readSnapshot(join(folder ?? '', `${name}.tar.gz`));
    world = new World(snapshot);
  });

  it('the walk agrees with every recorded probe', () => {
    const probes = snapshot.probes.state === 'known' ? snapshot.probes.value : [];
    expect(probes.length).toBeGreaterThan(0);
    const wrong = probes
      .filter((probe) => probe.kind !== 'dns')
      .flatMap((probe) => {
        const { flows } = ask(snapshot, probe.src, probe.dst, probe.port, probe.kind as FlowProtocol);
        const [flow] = flows;
        const netns = snapshot.netns.get(netnsIdOf(snapshot, flow.src) ?? '');
        if (netns === undefined) return [`${probe.src}: no namespace`];
        const branches = walk(world, flow, { netns, address: flow.src.address });
        const sized = branches.filter((branch) => branch.size === (probe.sizeBytes > 0 ? 'full' : 'small'));
        const { answer } = conclude(sized.length > 0 ? sized : branches);
        const happened = probe.outcome === 'ok' ? 'reachable' : 'unreachable';
        // A Service with some dead backends may answer or not: the walk says that a share fails.
        const mixed =
          sized.some((b) => b.answer === 'reachable') && sized.some((b) => b.answer === 'unreachable');
        return answer === happened || mixed
          ? []
          : [
              `${probe.src} -> ${probe.dst} ${probe.kind}/${probe.port} size ${probe.sizeBytes}: ${happened}, walk says ${answer}`,
            ];
      });
    expect(wrong).toEqual([]);
  });

  it('DNS queries end as they did', () => {
    const probes = snapshot.probes.state === 'known' ? snapshot.probes.value : [];
    const wrong = probes
      .filter((probe) => probe.kind === 'dns')
      .flatMap((probe) => {
        const server = snapshot.netns.get(
          netnsIdOf(snapshot, ask(snapshot, probe.src, '10.96.0.10', 53, 'udp').flows[0].src) ?? '',
        );
        if (server === undefined) return [`${probe.src}: no namespace`];
        const { verdict } = investigate(world, ask(snapshot, probe.src, '10.96.0.10', 53, 'udp').flows[0]);
        const happened = probe.outcome === 'ok' ? 'reachable' : 'unreachable';
        return verdict.answer === happened
          ? []
          : [`${probe.src} dns: ${happened}, walk says ${verdict.answer}`];
      });
    expect(wrong).toEqual([]);
  });

  it(`diagnoses ${truth.flow.src} -> ${truth.flow.dst}: ${truth.works ? 'reachable' : truth.causes.join(' or ')}`, () => {
    const { src, dst, port, protocol } = truth.flow;
    const asked = ask(snapshot, src, destination(dst), port, protocol);
    const { findings } = runChecks(snapshot);
    const diagnosis = diagnose({ snapshot, flow: worstFlow(snapshot, asked.flows), findings, durationMs: 0 });
    expect(diagnosis.verdict.answer).toBe(truth.works ? 'reachable' : 'unreachable');
    if (truth.works) expect(diagnosis.causes).toEqual([]);
    else expect(provable[name] ?? truth.causes).toContain(diagnosis.causes[0]?.id);
  });

  it('is scanned without false alarms', () => {
    const found = runChecks(snapshot).findings.map((finding) => `${finding.cause}: ${finding.statement}`);
    if (truth.works) expect(found).toEqual([]);
    else
      for (const line of found)
        expect(
          truth.causes.some((cause) => line.startsWith(cause)),
          line,
        ).toBe(true);
  });
});

if (names.length === 0) {
  it('recordings are not here: nothing to compare with', () => {
    expect(names).toEqual([]);
  });
}
