/** `podpath simulate` against this kernel: random namespaces, whole batches of packets, replies included. */
import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatPacket } from '../../src/net/packet.ts';
import { exec } from '../../src/system/exec.ts';
import { cannotRun, randomFrom } from './netfilter-support.ts';
import { compare, type Disagreement, randomFlows } from './simulate-flows.ts';
import { type Backend, randomWorld, setUp } from './simulate-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`simulate oracle skipped: ${why}`);

const name = `pp-sim-${process.pid}`;
const wanted = Number(process.env.PODPATH_PACKETS ?? 9_000);
const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const flowsPerWorld = Number(process.env.PODPATH_FLOWS ?? 800);
const fates = ['forward', 'deliver', 'reject', 'drop', 'translated'];
const debug = process.env.PODPATH_ORACLE_DEBUG !== undefined;

describe.skipIf(why !== undefined)('simulate agrees with the kernel', () => {
  beforeAll(() => setUp(name));
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  // Legacy last: once its tables exist in the namespace they stay, and both backends would count.
  test.each<Backend>(['nft', 'native', 'legacy'])('%s', { timeout: 0 }, async (backend) => {
    const tally = new Map<string, number>();
    let packets = 0;
    let worlds = 0;
    let refused = 0;
    // A run in which one fate hardly happens would prove little about it: a few worlds more, if need be.
    const lacking = () => fates.find((kind) => (tally.get(kind) ?? 0) <= worlds);
    while (packets < wanted / 3 || (lacking() !== undefined && worlds < 30)) {
      const seed = baseSeed + worlds;
      worlds++;
      const random = randomFrom(seed);
      const netns = await randomWorld(name, random, backend);
      if (netns === undefined) {
        refused++;
        expect(refused).toBeLessThan(20 + worlds / 2);
        continue;
      }
      const injections = randomFlows(random, netns, flowsPerWorld);
      const { disagreements, tally: counts } = await compare(name, injections);
      packets += injections.length;
      for (const [kind, count] of counts) tally.set(kind, (tally.get(kind) ?? 0) + count);
      if (disagreements.length === 0) continue;
      const shown = disagreements.slice(0, 3).map((one) => describeOne(one, backend, seed));
      const message = `${disagreements.length} of ${injections.length} differ\n${shown.join('\n')}`;
      if (!debug) expect.fail(message);
      console.log(message);
    }
    const counts = JSON.stringify(Object.fromEntries(tally));
    console.log(
      `simulate ${backend}: ${packets} packets, ${worlds} worlds (${refused} refused) from seed ${baseSeed}: ${counts}`,
    );
    if (process.env.PODPATH_TALLY !== undefined) appendFileSync(process.env.PODPATH_TALLY, `${packets}\n`);
    expect(lacking(), 'a fate that hardly happened').toBeUndefined();
    expect(tally.get('unknown') ?? 0).toBeLessThan(packets / 20);
  });
});

function describeOne({ id, injection, ours, kernel }: Disagreement, backend: Backend, seed: number): string {
  const { via, packet, ours: simulated } = injection;
  return [
    `${backend} seed ${seed} packet ${id} by ${via}: ${formatPacket(packet)} ${JSON.stringify({ ...packet.flags, len: packet.lengthBytes, df: packet.df, ttl: packet.ttl, mark: packet.mark })}`,
    `  kernel ${kernel}`,
    `  ours   ${ours}: ${simulated.reason}`,
    ...simulated.steps.map((step) => `    ${step.kind} ${step.action} ${step.text}`),
  ].join('\n');
}
