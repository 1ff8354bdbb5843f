/** Our rule evaluation against the kernel's: random rule sets, and packets that are really sent through them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Netns } from '../../src/model/netns.ts';
import { exec } from '../../src/system/exec.ts';
import { compareWorld, setUp } from './netfilter-flows.ts';
import { randomRules, randomSets, withMadeUpPorts } from './netfilter-rules.ts';
import { cannotRun, inNetns, type Random, randomFrom, readNetns, run } from './netfilter-support.ts';

const why = cannotRun();
if (why !== undefined) console.log(`netfilter oracle skipped: ${why}`);

const name = `pp-nfo-${process.pid}`;
const worlds = Number(process.env.PODPATH_WORLDS ?? 12);
const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_122);

/** Loads random rules and reads back what the kernel has. Undefined if the tools refused the rules. */
async function randomWorld(random: Random, backend: 'nft' | 'legacy'): Promise<Netns | undefined> {
  await run(inNetns(name, ['iptables-nft-restore']), emptyTables);
  if (backend === 'legacy') await run(inNetns(name, ['iptables-legacy-restore']), emptyTables);
  await run(inNetns(name, ['ipset', 'flush']));
  await run(inNetns(name, ['ipset', '-exist', 'restore']), randomSets(random));
  const plain = randomRules(random);
  const rules = random.chance(0.5) ? withMadeUpPorts(random, plain) : plain;
  const loaded = await exec(inNetns(name, [`iptables-${backend}-restore`]), { input: rules });
  if (loaded.code !== 0) {
    if (process.env.PODPATH_ORACLE_DEBUG !== undefined) console.log(loaded.stderr, rules);
    return undefined;
  }
  await exec(inNetns(name, ['conntrack', '-F']));
  const file = backend === 'nft' ? 'iptables-save.txt' : 'iptables-legacy-save.txt';
  return readNetns(name, stateFiles.concat(file));
}

const emptyTables = ['raw', 'mangle', 'nat', 'filter'].map((table) => `*${table}\nCOMMIT\n`).join('');
const stateFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-rule.json',
  'ipset.txt',
  'sysctl.txt',
];

describe.skipIf(why !== undefined)('netfilter agrees with the kernel', () => {
  beforeAll(() => setUp(name));
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  // Legacy last: once its tables exist in the namespace they stay, and both backends would count.
  test.each(['nft', 'legacy'] as const)('%s', { timeout: 300_000 }, async (backend) => {
    const tally = new Map<string, number>();
    let refused = 0;
    for (let world = 0; world < worlds; world++) {
      const seed = baseSeed + world;
      const random = randomFrom(seed);
      const netns = await randomWorld(random, backend);
      if (netns === undefined) {
        refused++;
        continue;
      }
      await compareWorld(name, netns, random, seed, tally);
    }
    console.log(
      `netfilter ${backend}: ${JSON.stringify(Object.fromEntries(tally))}, ${refused} rule sets refused, seeds ${baseSeed}..${baseSeed + worlds - 1}`,
    );
    expect(refused).toBeLessThan(worlds / 2);
    // A run in which one fate never happens would prove nothing about it.
    for (const kind of ['forwarded', 'local', 'rejected', 'lost', 'translated'])
      expect(tally.get(kind) ?? 0).toBeGreaterThan(worlds / 2);
  });
});
