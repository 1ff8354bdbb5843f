/** Rule by rule: the path that we say a packet takes against the kernel's own trace of it, over random rule sets. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Netns } from '../../src/model/netns.ts';
import { formatPacket } from '../../src/net/packet.ts';
import { exec } from '../../src/system/exec.ts';
import { type Injection, injector, randomFlow, setUp } from './netfilter-flows.ts';
import { randomRules, randomSets } from './netfilter-rules.ts';
import {
  cannotRun,
  inNetns,
  type Random,
  randomFrom,
  readNetns,
  run,
  sweepNetns,
} from './netfilter-support.ts';
import { encode } from './netfilter-wire.ts';
import { randomNftRules } from './nft-rules.ts';
import { readHandles, setOwnTtl, traced, traceRules, wordsOf } from './trace-path.ts';

const why = cannotRun();
if (why !== undefined) console.log(`trace path oracle skipped: ${why}`);

const name = `pp-path-${process.pid}`;
const worlds = Number(process.env.PODPATH_WORLDS ?? 10);
const flowsPerWorld = 150;
const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const isDebug = process.env.PODPATH_ORACLE_DEBUG !== undefined;
/** The IP id of the packet behind all others; flows use small numbers. */
const lastId = 60_000;

const stateFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-rule.json',
  'iptables-save.txt',
  'iptables-legacy-save.txt',
  'nft.json',
  'ipset.txt',
  'sysctl.txt',
];

/** nft refuses some combinations (tcp and udp fields in one rule): those lines are left out. */
async function loadNft(lines: readonly string[], tries = 12): Promise<boolean> {
  const loaded = await exec(inNetns(name, ['nft', '-f', '-']), { input: lines.join('\n') });
  if (loaded.code === 0) return true;
  const refused = new Set(
    [...loaded.stderr.matchAll(/stdin:(\d+):.*Error/g)].map((match) => Number(match[1])),
  );
  if (refused.size === 0 || tries === 0) return false;
  return loadNft(
    lines.filter((_, i) => !refused.has(i + 1)),
    tries - 1,
  );
}

async function randomWorld(random: Random, kind: 'iptables' | 'nftables'): Promise<Netns | undefined> {
  await run(inNetns(name, ['nft', 'flush', 'ruleset']));
  await run(inNetns(name, ['ipset', 'flush']));
  await run(inNetns(name, ['ipset', '-exist', 'restore']), randomSets(random));
  if (kind === 'iptables' || random.chance(0.3)) {
    const loaded = await exec(inNetns(name, ['iptables-nft-restore']), { input: randomRules(random) });
    if (loaded.code !== 0) return undefined;
  }
  if (kind === 'nftables' && !(await loadNft(randomNftRules(random).split('\n')))) return undefined;
  await exec(inNetns(name, ['conntrack', '-F']));
  return readNetns(name, stateFiles);
}

function linesOf(injections: readonly Injection[]): string {
  const [first] = injections;
  if (first === undefined) throw new Error('no packets');
  const lines = injections.map(
    ({ via, packet, sequence }, i) => `${via} ${i + 1} ${encode(packet, i + 1, sequence).toString('hex')}`,
  );
  const last = { ...first.packet, protocol: 'udp' as const, srcPort: 9, dstPort: 9, lengthBytes: 36 };
  return `${[...lines, `tin ${lastId} ${encode(last, lastId).toString('hex')}`].join('\n')}\n`;
}

interface Tally {
  packets: number;
  rules: number;
  readonly verdicts: Set<string>;
}

async function compare(netns: Netns, random: Random, seed: number, tally: Tally): Promise<void> {
  const handles = await readHandles(name);
  await run(inNetns(name, ['nft', '-f', '-']), traceRules);
  const flows = Array.from({ length: flowsPerWorld }, (_, flow) => randomFlow(random, netns, flow));
  const injections = flows.flat();
  const input = linesOf(injections);
  const kernel = await traced(name, lastId, () =>
    run(inNetns(name, ['python3', injector, 'tin', 'tout']), input),
  );
  for (const [i, { packet, via, simulated }] of injections.entries()) {
    if (simulated.fate.kind === 'undecided') continue;
    const theirs = kernel.get(i + 1) ?? ['no trace of it'];
    const ours = wordsOf(simulated.visits, netns, handles);
    tally.packets++;
    tally.rules += theirs.length;
    for (const step of theirs) tally.verdicts.add(step.split(' ').slice(3, 5).join(' ').replace(/^\d+ /, ''));
    if (ours.join('\n') === theirs.join('\n')) continue;
    const at = theirs.findIndex((step, n) => step !== ours[n]);
    const message = [
      `seed ${seed} packet ${i + 1} by ${via}: ${formatPacket(packet)} ${JSON.stringify(packet.flags ?? {})}`,
      `  differs at step ${at < 0 ? theirs.length : at}`,
      ...theirs.map((step) => `  kernel ${step}`),
      ...ours.map((step) => `  ours   ${step}`),
    ].join('\n');
    if (!isDebug) expect.fail(message);
    console.log(message);
  }
}

describe.skipIf(why !== undefined)("a packet's path is the one that the kernel traces", () => {
  beforeAll(async () => {
    await sweepNetns('pp-path');
    await setUp(name);
    await setOwnTtl(name);
  });
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test.each(['iptables', 'nftables'] as const)('%s', { timeout: 300_000 }, async (kind) => {
    const tally: Tally = { packets: 0, rules: 0, verdicts: new Set() };
    let refused = 0;
    for (let world = 0; world < worlds; world++) {
      const seed = baseSeed + world;
      const random = randomFrom(seed);
      const netns = await randomWorld(random, kind);
      if (netns === undefined) refused++;
      else await compare(netns, random, seed, tally);
    }
    console.log(
      `trace path ${kind}: ${tally.packets} packets, ${tally.rules} rules and policies, ${refused} rule sets refused, seeds ${baseSeed}..${baseSeed + worlds - 1}`,
    );
    expect(refused).toBeLessThan(worlds / 2);
    expect(tally.packets).toBeGreaterThan(worlds * 40);
    // A run in which one of them never happens would prove nothing about it.
    for (const verdict of ['accept', 'drop', 'return', 'continue', 'jump', 'goto', 'policy'])
      expect([...tally.verdicts].map((one) => one.split(' ')[0])).toContain(verdict);
  });
});
