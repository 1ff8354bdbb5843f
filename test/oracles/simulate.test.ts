/** `podpath simulate` against this kernel: random namespaces, whole batches of packets, replies and answers included. */
import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { isCi } from '../support/ci.ts';
import { cannotRun, randomFrom, sweepNetns } from './netfilter-support.ts';
import { type Comparison, compare, describeDisagreement, RouteErrors } from './simulate-compare.ts';
import { type Injection, randomFlows } from './simulate-flows.ts';
import { KernelNamespace } from './simulate-namespace.ts';
import { describeShrunk, shrink } from './simulate-shrink.ts';
import { type Backend, load, randomWorld, type WorldText } from './simulate-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`simulate oracle skipped: ${why}`);

const wanted = Number(process.env.PODPATH_PACKETS ?? 100_000);
/** Where others use the machine too, fewer packets must do; in CI all of them count. */
const least = isCi || process.env.PODPATH_PACKETS !== undefined ? wanted : 15_000;
const boxMs = Number(process.env.PODPATH_BOX_MS ?? (isCi ? 240_000 : 90_000));
const flowsPerWorld = Number(process.env.PODPATH_FLOWS ?? 1_500);
/** One world again: `native:12345`. */
const again = process.env.PODPATH_WORLD?.split(':');
const debug = process.env.PODPATH_ORACLE_DEBUG !== undefined;
const fates = [
  'forward',
  'deliver',
  'reject',
  'drop',
  'translated',
  'answer forward',
  'answer deliver',
  'answer drop',
];
const backends = ['nft', 'native', 'legacy'] as const;

/** The first worlds are always the same ones; the last fifth is of this run alone, but not in CI: one commit, one answer. */
const fixedSeed = 20_261_122;
const chance = isCi ? fixedSeed : Date.now() % 1_000_000_000;
const ownSeed = Number(process.env.PODPATH_SEED ?? chance);
const isFixed = process.env.PODPATH_SEED === undefined;

describe.skipIf(why !== undefined)('simulate agrees with the kernel', () => {
  const open = new Map<Backend, KernelNamespace>();
  const started = performance.now();
  let sent = 0;
  beforeAll(async () => {
    await sweepNetns('pp-sim');
    // Each has its own: legacy tables, once they are there, stay.
    for (const backend of backends)
      open.set(backend, await KernelNamespace.open(`pp-sim-${process.pid}-${backend}`));
    if (isFixed) console.log(`simulate: the worlds of this run alone are those of PODPATH_SEED=${ownSeed}`);
  }, 60_000);
  afterAll(async () => {
    await sayRate(open.values(), performance.now() - started, sent);
    for (const kernel of open.values()) await kernel.close();
  });

  // While one namespace is busy with its rules the packets of the next are walked.
  test.concurrent.each<Backend>(backends)('%s', { timeout: 0 }, async (backend) => {
    if (again !== undefined && again[0] !== backend) return;
    const kernel = open.get(backend);
    if (kernel === undefined) throw new Error('no namespace');
    const errors = new RouteErrors();
    const tally = new Map<string, number>();
    let packets = 0;
    let worlds = 0;
    let refused = 0;
    const share = wanted / backends.length;
    const number = backends.indexOf(backend);
    // A run in which one fate hardly happens would prove little about it: a few worlds more, if need be.
    const lacking = () => fates.find((kind) => (tally.get(kind) ?? 0) <= worlds);
    const isOver = () => again === undefined && performance.now() - started > boxMs;
    while ((packets < share || (lacking() !== undefined && worlds < 30)) && !isOver()) {
      const base = isFixed && packets < share * 0.8 ? fixedSeed : ownSeed;
      const seed = again === undefined ? base + worlds * backends.length + number : Number(again[1]);
      worlds++;
      const random = randomFrom(seed);
      const world = randomWorld(random, backend);
      const netns = await load(kernel, world);
      if (typeof netns === 'string') {
        refused++;
        if (debug) console.log(netns);
        expect(refused, netns).toBeLessThan(20 + worlds / 2);
        continue;
      }
      const injections = randomFlows(random, netns, flowsPerWorld);
      const result = await compare(kernel, errors, injections);
      packets += injections.length;
      sent += injections.length;
      for (const [kind, count] of result.tally) tally.set(kind, (tally.get(kind) ?? 0) + count);
      if (result.disagreements.length > 0) {
        const message = await complain(kernel, backend, seed, world, injections, result);
        if (!debug) expect.fail(message);
        console.log(message);
      }
      if (again !== undefined) break;
    }
    const counts = JSON.stringify(Object.fromEntries(tally));
    const unknown = ((tally.get('unknown') ?? 0) / packets) * 100;
    console.log(
      `simulate ${backend}: ${packets} packets, ${worlds} worlds (${refused} refused), ${unknown.toFixed(2)} % unknown: ${counts}`,
    );
    if (process.env.PODPATH_TALLY !== undefined) appendFileSync(process.env.PODPATH_TALLY, `${packets}\n`);
    if (again !== undefined) return;
    expect(packets, 'packets within the time').toBeGreaterThanOrEqual(least / backends.length);
    if (packets >= share) expect(lacking(), 'a fate that hardly happened').toBeUndefined();
    expect(unknown).toBeLessThan(mostUnknown);
    // Kept few by many senders: what the kernel is silent about proves nothing.
    expect(tally.get('limited') ?? 0).toBeLessThan(packets / 20);
  });
});

/** Percent of packets that may be undecided. */
const mostUnknown = 1;

async function sayRate(kernels: Iterable<KernelNamespace>, wallMs: number, packets: number): Promise<void> {
  const { user, system } = process.cpuUsage();
  let usedMs = (user + system) / 1000;
  for (const kernel of kernels) usedMs += await kernel.processorMs();
  const rate = (ms: number) => Math.round(packets / (ms / 1000));
  console.log(
    `simulate: ${packets} packets in ${(wallMs / 1000).toFixed(1)} s, ${rate(wallMs)} a second; ${(usedMs / 1000).toFixed(1)} s of processor time, ${rate(usedMs)} a second of it`,
  );
}

async function complain(
  kernel: KernelNamespace,
  backend: Backend,
  seed: number,
  world: WorldText,
  injections: readonly Injection[],
  { disagreements }: Comparison,
): Promise<string> {
  const [first] = disagreements;
  const shrunk =
    first === undefined || process.env.PODPATH_NO_SHRINK !== undefined
      ? ''
      : describeShrunk(
          await shrink(kernel, { world, questions: injections.map(question) }, first.injection.flow),
        );
  return [
    `${disagreements.length} of ${injections.length} differ in a world of ${backend}; once more:`,
    `  npm run test:kernel -- --world ${backend}:${seed} --flows ${flowsPerWorld}`,
    ...disagreements.slice(0, 3).map(describeDisagreement),
    shrunk,
  ].join('\n');
}

const question = ({ via, packet, sequence, flow }: Injection) => ({ via, packet, sequence, flow });
