/** Native nftables rules against the kernel's nf_tables: random rule sets, beside iptables' own in some, and real packets. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Netns } from '../../src/model/netns.ts';
import { exec } from '../../src/system/exec.ts';
import { compareWorld, setUp } from './netfilter-flows.ts';
import { randomRules, randomSets } from './netfilter-rules.ts';
import { cannotRun, inNetns, type Random, randomFrom, readNetns, run } from './netfilter-support.ts';
import { randomDeviceRules, randomNftRules } from './nft-rules.ts';

const why = cannotRun();
if (why !== undefined) console.log(`nft oracle skipped: ${why}`);

const name = `pp-nft-${process.pid}`;
const worlds = Number(process.env.PODPATH_WORLDS ?? 30);
const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const debug = process.env.PODPATH_ORACLE_DEBUG !== undefined;

/** Loads random rules and reads back what the kernel has. Undefined if the tools refused the rules. */
async function randomWorld(random: Random): Promise<Netns | undefined> {
  await run(inNetns(name, ['nft', 'flush', 'ruleset']));
  await run(inNetns(name, ['ipset', 'flush']));
  await run(inNetns(name, ['ipset', '-exist', 'restore']), randomSets(random));
  if (random.chance(0.3)) {
    const rules = randomRules(random);
    const loaded = await exec(inNetns(name, ['iptables-nft-restore']), { input: rules });
    if (loaded.code !== 0) return undefined;
  }
  const isOnDevices = random.chance(0.4);
  const rules = randomNftRules(random) + (isOnDevices ? randomDeviceRules(random) : '');
  if (!(await load(rules.split('\n')))) return undefined;
  await exec(inNetns(name, ['conntrack', '-F']));
  // Both forms mean the same; the JSON of this nft does not name the devices of netdev chains.
  const form = isOnDevices || random.chance(0.5) ? 'nft.txt' : 'nft.json';
  return readNetns(name, [...stateFiles, form]);
}

/** nft refuses some combinations (tcp and udp fields in one rule): those lines are left out. */
async function load(lines: readonly string[], tries = 12): Promise<boolean> {
  const loaded = await exec(inNetns(name, ['nft', '-f', '-']), { input: lines.join('\n') });
  if (loaded.code === 0) return true;
  const refused = new Set(
    [...loaded.stderr.matchAll(/stdin:(\d+):.*Error/g)].map((match) => Number(match[1])),
  );
  if (debug) console.log(loaded.stderr);
  if (refused.size === 0 || tries === 0) return false;
  return load(
    lines.filter((_, i) => !refused.has(i + 1)),
    tries - 1,
  );
}

const stateFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-rule.json',
  'iptables-save.txt',
  'ipset.txt',
  'sysctl.txt',
];

describe.skipIf(why !== undefined)('nftables agrees with the kernel', () => {
  beforeAll(() => setUp(name));
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test('random rule sets', { timeout: 300_000 }, async () => {
    const tally = new Map<string, number>();
    let refused = 0;
    for (let world = 0; world < worlds; world++) {
      const seed = baseSeed + world;
      const random = randomFrom(seed);
      const netns = await randomWorld(random);
      if (netns === undefined) refused++;
      else await compareWorld(name, netns, random, seed, tally);
    }
    console.log(
      `nftables: ${JSON.stringify(Object.fromEntries(tally))}, ${refused} rule sets refused, seeds ${baseSeed}..${baseSeed + worlds - 1}`,
    );
    expect(refused).toBeLessThan(worlds / 2);
    // A run in which one fate never happens would prove nothing about it.
    for (const kind of ['forwarded', 'local', 'rejected', 'lost', 'translated'])
      expect(tally.get(kind) ?? 0).toBeGreaterThan(worlds / 2);
  });
});
