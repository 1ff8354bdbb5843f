/** `nft list ruleset` and `nft -j list ruleset` of one kernel state: both readers must give equal tables, and nft must take the text. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NftTable } from '../../src/model/nft.ts';
import { parseNftJson } from '../../src/parse/nft/json.ts';
import { parseNftText } from '../../src/parse/nft/text.ts';
import type { Parsed } from '../../src/parse/result.ts';
import { exec } from '../../src/system/exec.ts';
import { cannotRun, inNetns, makeNetns, randomFrom, run } from './netfilter-support.ts';
import { loadNft } from './nft-load.ts';
import { randomNftRules } from './nft-rules.ts';
import { zoo } from './nft-zoo.ts';

const why = cannotRun();
if (why !== undefined) console.log(`nft in both forms: skipped: ${why}`);

const name = `pp-nfttext-${process.pid}`;
const worlds = Number(process.env.PODPATH_WORLDS ?? 30);
const seed = Number(process.env.PODPATH_SEED ?? 20_261_122);

const tablesOf = (parsed: Parsed<readonly NftTable[]>): readonly NftTable[] => {
  expect(parsed).toMatchObject({ ok: true, notes: [] });
  return parsed.ok ? parsed.value : [];
};

/** Tables without what only one form tells: places, and what nft 1.0.6 leaves out of its JSON or prints wrongly there. */
const comparable = (tables: readonly NftTable[], withHandles: boolean) =>
  tables.map(({ family, name: table, handle, baseChains, chains, sets, ruleCount }) => ({
    family,
    table,
    ruleCount,
    handle: withHandles ? handle : undefined,
    bases: baseChains.map(({ name: chain, type, hook, priority, policy, handle: own }) =>
      [chain, type, hook, priority, policy, withHandles ? own : 0].join(' '),
    ),
    chains: [...chains.values()].map((chain) => ({
      name: chain.name,
      rules: chain.rules.map(({ handle: own, statements, comment, counters, matches }) => ({
        handle: withHandles ? own : undefined,
        statements,
        comment,
        counters,
        matches,
      })),
    })),
    sets: [...sets.values()],
  }));

const list = (...options: readonly string[]): Promise<string> =>
  run(inNetns(name, ['nft', ...options, 'list', 'ruleset']));

/** Every way to print the rule set gives what the JSON gives. */
async function compare(label: string): Promise<readonly NftTable[]> {
  const json = tablesOf(parseNftJson(await list('-j'), 'nft.json'));
  for (const options of [[], ['-a'], ['-a', '-n'], ['-a', '-nn']]) {
    const numeric = options.some((option) => option.startsWith('-n'));
    const text = await list(...options);
    const withHandles = options.includes('-a');
    const read = comparable(tablesOf(parseNftText(text, 'nft.txt')), withHandles);
    // Numbers stand for names there: the shape is compared.
    if (numeric)
      expect(
        read.map((table) => [table.table, table.ruleCount]),
        label,
      ).toEqual(json.map((table) => [table.name, table.ruleCount]));
    else expect(read, `${label} ${options.join(' ')}`).toEqual(comparable(json, withHandles));
  }
  // -s: without counters and what changes by itself.
  tablesOf(parseNftText(await list('-s'), 'nft.txt'));
  return json;
}

const ruleCounts = (tables: readonly NftTable[]) =>
  tables.map(({ family, name: table, ruleCount }) => ({ family, table, ruleCount }));

/**
 * nft takes what is read here, and prints as many rules again (not always the same words: it leaves out what it thinks is
 * implied). Of its own words it refuses some (a set's `dynamic` flag that the kernel does not keep, a protocol that it guesses
 * for a concatenation): those are nobody's reading. Their number is returned.
 */
async function reloads(): Promise<number> {
  const text = await list();
  const refused = await loadNft(name, text);
  if (refused.length > 0) return refused.length;
  expect(ruleCounts(await compare('loaded again'))).toEqual(ruleCounts(tablesOf(parseNftText(text, 'f'))));
  return 0;
}

describe.skipIf(why !== undefined)('nft in its own words and as JSON', () => {
  beforeAll(async () => {
    await makeNetns(name);
    await run(inNetns(name, ['ip', 'link', 'set', 'lo', 'up']));
    await run(inNetns(name, ['ip', 'link', 'add', 'a1', 'type', 'veth', 'peer', 'a2']));
  });
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test('one of everything', { timeout: 120_000 }, async () => {
    const refused = await loadNft(name, zoo);
    console.log(`nft zoo: ${refused.length} lines refused here:\n  ${refused.join('\n  ')}`);
    const tables = await compare('zoo');
    const unknown = tables.flatMap((table) =>
      [...table.chains.values()].flatMap((chain) =>
        chain.rules.flatMap(({ statements }) =>
          statements.flatMap((one) =>
            one.kind === 'unknown' && one.why === 'it is not understood' ? [one.text] : [],
          ),
        ),
      ),
    );
    expect(unknown).toEqual([]);
    expect(tables.reduce((sum, table) => sum + table.ruleCount, 0)).toBeGreaterThan(170);
    expect(await reloads()).toBeLessThan(5);
  });

  test('random rule sets', { timeout: 300_000 }, async () => {
    let loaded = 0;
    let whole = 0;
    for (let world = 0; world < worlds; world++) {
      const refused = await loadNft(name, randomNftRules(randomFrom(seed + world)));
      if (refused.length > 40) continue;
      loaded++;
      await compare(`seed ${seed + world}`);
      whole += (await reloads()) === 0 ? 1 : 0;
    }
    console.log(`nft in both forms: ${loaded} random rule sets, ${whole} of them loaded again as printed`);
    expect(Math.min(loaded, whole * 2)).toBeGreaterThan(worlds / 3);
  });
});
