/** Sets that rules change: later packets of one batch find them changed, as the kernel has it. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { mapKnown } from '../../src/model/known.ts';
import { cannotRun, randomFrom, sweepNetns } from './netfilter-support.ts';
import { compare, describeDisagreement, RouteErrors } from './simulate-compare.ts';
import { randomFlows } from './simulate-flows.ts';
import { KernelNamespace } from './simulate-namespace.ts';
import { load, type WorldText } from './simulate-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`nft sets oracle skipped: ${why}`);

const updates = [
  'tcp dport 53 add @seen { ip saddr }',
  'udp dport 80 update @seen { ip saddr timeout 1h }',
  'tcp dport 443 delete @seen { ip saddr }',
  'meta l4proto tcp add @pairs { ip daddr . tcp dport }',
  'ct state new add @seen6 { ip6 saddr }',
];
const questions = [
  'ip saddr @seen drop',
  'ip daddr @seen accept',
  'ip saddr != @seen ip ttl set 33',
  'ip6 saddr @seen6 drop',
  'ip daddr . tcp dport @pairs ip dscp set cs1',
  'ip saddr @recorded reject',
];

describe.skipIf(why !== undefined)('nft sets that rules change', () => {
  let kernel: KernelNamespace | undefined;
  beforeAll(async () => {
    await sweepNetns('pp-nftsets');
    kernel = await KernelNamespace.open(`pp-nftsets-${process.pid}-0`);
  }, 60_000);
  afterAll(async () => {
    await kernel?.close();
  });

  test('batches agree', { timeout: 120_000 }, async () => {
    if (kernel === undefined) throw new Error('no namespace');
    const errors = new RouteErrors();
    const tally = new Map<string, number>();
    for (let seed = 1; seed <= 8; seed++) {
      const random = randomFrom(seed);
      const some = (lines: readonly string[]) =>
        Array.from({ length: 1 + random.int(3) }, () => random.pick(lines)).join('\n');
      const chain = (hook: string) =>
        `chain ${hook} {\ntype filter hook ${hook} priority -10;\n${some(updates)}\n${some(questions)}\n${some(updates)}\n}`;
      const world: WorldText = {
        backend: 'native',
        settings: ['net.ipv4.ip_forward 1', 'net.ipv6.conf.all.forwarding 1'],
        routing4: [],
        routing6: [],
        sets: [],
        rules4: [],
        rules6: [],
        native: `table inet podpath-sets {
set seen { type ipv4_addr; flags dynamic,timeout; timeout 1h; }
set seen6 { type ipv6_addr; flags dynamic; }
set pairs { type ipv4_addr . inet_service; flags dynamic; }
set recorded { type ipv4_addr; elements = { 10.1.3.4 } }
${['prerouting', 'input', 'forward', 'output'].map(chain).join('\n')}
}`.split('\n'),
      };
      const netns = await load(kernel, world);
      if (typeof netns === 'string') throw new Error(netns);
      // Nothing is there but what was loaded.
      const rulesets = mapKnown(netns.rulesets, (saves) => saves.map(({ unseen: _, ...one }) => one));
      const injections = randomFlows(random, { ...netns, rulesets }, 200);
      const result = await compare(kernel, errors, injections);
      for (const [kind, count] of result.tally) tally.set(kind, (tally.get(kind) ?? 0) + count);
      const [first] = result.disagreements;
      if (first !== undefined)
        expect.fail(
          `seed ${seed}: ${result.disagreements.length} differ\n${describeDisagreement(first)}\n${world.native.join('\n')}`,
        );
    }
    console.log(`nft sets: ${JSON.stringify(Object.fromEntries(tally))}`);
    for (const fate of ['forward', 'deliver', 'drop']) expect(tally.get(fate) ?? 0).toBeGreaterThan(50);
    expect(tally.get('unknown') ?? 0).toBeLessThan(20);
  });
});
