/** Our route lookup against the kernel's: random tables, rules and devices, and what `ip route get` says about them. */
import { appendFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Family } from '../../src/net/address.ts';
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
}

async function compare(asked: Asked, theirs: string, ours: ReadonlyMap<string, number>): Promise<void> {
  const kind = theirs.split(' ')[0] ?? '';
  tally.set(kind, (tally.get(kind) ?? 0) + 1);
  if (ours.size > 1) tally.set('one of several', (tally.get('one of several') ?? 0) + 1);
  if (agrees(ours, theirs)) return;
  // The kernel forgets failed neighbours when it likes (neigh_periodic_work): what it knows now, asked now.
  const { name, seed, family, query } = asked;
  const now = askUs(await readNetns(name, routingFiles), query);
  const [again = ''] = await askKernel(name, [query], family);
  if (agrees(now, again)) return;
  const text = `seed ${seed}: ${queryLine(query)}\n  kernel ${again}\n  ours   ${[...now.keys()].join(' | ')}`;
  if (debug) console.log(text);
  else expect.fail(text);
}

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
          await compare({ name, seed, family, query }, theirs[i] ?? '', askUs(netns, query));
      }
      if (process.env.PODPATH_KEEP === undefined) await exec(['ip', 'netns', 'delete', name]);
    }
    const asked = worlds * 2 * perFamily;
    const kinds = [...tally].sort(([, a], [, b]) => b - a).map(([kind, count]) => `${kind} ${count}`);
    console.log(
      `routing: ${asked} lookups agree, seeds ${baseSeed}..${baseSeed + worlds - 1}: ${kinds.join(', ')}`,
    );
    if (process.env.PODPATH_TALLY !== undefined) appendFileSync(process.env.PODPATH_TALLY, `${asked}\n`);
    // A run in which hardly anything is found, or nothing refused, would prove nothing.
    expect(tally.get('unicast') ?? 0).toBeGreaterThan(asked / 4);
    for (const kind of ['local', 'none', 'unreachable', 'prohibit', 'invalid', 'one of several'])
      expect(tally.get(kind) ?? 0, kind).toBeGreaterThan(worlds > 20 ? 20 : -1);
  });
});
