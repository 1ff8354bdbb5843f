/** Our route lookup against the kernel's: random tables, rules and devices, and what `ip route get` says about them. */
import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Netns } from '../../src/model/netns.ts';
import { type Family, formatAddress } from '../../src/net/address.ts';
import { exec } from '../../src/system/exec.ts';
import { cannotRun, randomFrom, readNetns } from './netfilter-support.ts';
import { agrees, askKernel, askUs, type Query, queryLine, someQuery } from './routing-ask.ts';
import { randomWorld, routingFiles } from './routing-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`routing oracle skipped: ${why}`);

const wanted = Number(process.env.PODPATH_ROUTES ?? 100_000);
const perFamily = 500;
const worlds = Math.ceil(wanted / (2 * perFamily));
const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const debug = process.env.PODPATH_ORACLE_DEBUG !== undefined;
const prefix = `pp-routes-${process.pid}-`;

/** What a killed run left behind. */
async function sweep(mine: string): Promise<void> {
  const { stdout } = await exec(['ip', 'netns', 'list']);
  for (const name of stdout.split('\n').map((line) => line.split(' ')[0] ?? ''))
    if (name.startsWith(mine)) await exec(['ip', 'netns', 'delete', name]);
}

/** Names of runs whose process is gone. */
async function sweepDead(): Promise<void> {
  const { stdout } = await exec(['ip', 'netns', 'list']);
  for (const [, run, pid] of stdout.matchAll(/^(pp-routes-(\d+)-)/gm)) {
    try {
      process.kill(Number(pid), 0);
    } catch {
      await sweep(run ?? prefix);
    }
  }
}

const tally = new Map<string, number>();

interface Asked {
  readonly name: string;
  readonly seed: number;
  readonly family: Family;
  readonly query: Query;
  /** The state that our answer came from. */
  readonly netns: Netns;
}

/** How many answers were asked again because the kernel had forgotten a neighbour meanwhile; at most one in so many may be. */
let again = 0;
const perAgain = 2_000;

/** What no dump tells; such worlds are made for what else is in them. */
const untold = [
  'a route for some sources alone may be hidden',
  'whether a loopback source may leave depends on the next hop',
  'a routing rule suppresses some next hops',
  'a routing rule suppresses short prefixes, and routes',
  "a source that is no device's address but not unicast either",
];

async function compare(asked: Asked, theirs: string): Promise<void> {
  const { name, seed, family, query, netns } = asked;
  const ours = askUs(netns, query);
  const kind = theirs.split(' ')[0] ?? '';
  tally.set(kind, (tally.get(kind) ?? 0) + 1);
  if (ours.size > 1) tally.set('one of several', (tally.get('one of several') ?? 0) + 1);
  if (agrees(ours, theirs)) return;
  if ([...ours.keys()].some((line) => untold.some((one) => line.startsWith(`unknown: ${one}`)))) {
    tally.set('unknown', (tally.get('unknown') ?? 0) + 1);
    return;
  }
  // The kernel forgets failed neighbours when it likes (neigh_periodic_work). Only where the dump shows that it has is the
  // question put once more: any other difference stands.
  const now = await readNetns(name, routingFiles);
  const excuse = neighbourText(now) !== neighbourText(netns);
  if (excuse) {
    again++;
    const [second = ''] = await askKernel(name, [query], family);
    if (agrees(askUs(now, query), second)) return;
  }
  const text = `seed ${seed}: ${queryLine(query)}\n  kernel ${theirs}\n  ours   ${[...ours.keys()].join(' | ')}`;
  if (debug) console.log(text);
  else expect.fail(text);
}

const neighbourText = ({ neighbours }: Netns): string =>
  neighbours.state === 'unknown'
    ? neighbours.why
    : neighbours.value
        .map(({ address, device, states }) => `${formatAddress(address)} ${device} ${states.join(',')}`)
        .sort()
        .join('\n');

describe.skipIf(why !== undefined)('routing agrees with the kernel', () => {
  beforeAll(sweepDead);
  afterAll(() => (process.env.PODPATH_KEEP === undefined ? sweep(prefix) : undefined));

  test(`${wanted} answers of ip route get`, { timeout: 3_600_000 }, async () => {
    for (let world = 0; world < worlds; world++) {
      const seed = baseSeed + world;
      const random = randomFrom(seed);
      const name = `${prefix}${world}`;
      const netns = await randomWorld(name, random);
      for (const family of [4, 6] as const satisfies readonly Family[]) {
        const queries = Array.from({ length: perFamily }, () => someQuery(random, family));
        const theirs = await askKernel(name, queries, family);
        for (const [i, query] of queries.entries())
          await compare({ name, seed, family, query, netns }, theirs[i] ?? '');
      }
      if (process.env.PODPATH_KEEP === undefined) await exec(['ip', 'netns', 'delete', name]);
    }
    const asked = worlds * 2 * perFamily;
    const kinds = [...tally].sort(([, a], [, b]) => b - a).map(([kind, count]) => `${kind} ${count}`);
    console.log(
      `routing: ${asked} lookups agree, seeds ${baseSeed}..${baseSeed + worlds - 1}: ${kinds.join(', ')}; ${again} asked again`,
    );
    expect(again, 'questions asked again').toBeLessThanOrEqual(Math.max(3, asked / perAgain));
    if (process.env.PODPATH_TALLY !== undefined)
      appendFileSync(process.env.PODPATH_TALLY, `routes ${asked} ${again}\n`);
    expect(tally.get('unknown') ?? 0, 'unknown answers').toBeLessThanOrEqual(Math.max(200, asked / 200));
    // A run in which hardly anything is found, or nothing refused, would prove nothing.
    expect(tally.get('unicast') ?? 0).toBeGreaterThan(asked / 4);
    for (const kind of ['local', 'none', 'unreachable', 'prohibit', 'invalid', 'one of several'])
      expect(tally.get(kind) ?? 0, kind).toBeGreaterThan(worlds > 20 ? 20 : -1);
  });
});
