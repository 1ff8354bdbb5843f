/** Rule sets of real machines: read whole, printed back, and put to the kernel with packets drawn near their rules. */
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import type { Ruleset } from '../../src/model/netfilter.ts';
import { printRule } from '../../src/parse/iptables/print.ts';
import { printRuleset } from '../../src/parse/iptables-save.ts';
import { withoutSources } from '../../src/parse/testing.ts';
import { exec } from '../../src/system/exec.ts';
import { dumpFolder, dumpSaves, type Save, savesOf, snapshotFiles, snapshotNames } from './dumps-files.ts';
import { compareDump, type Tally } from './dumps-flows.ts';
import { specialRules, specialSets } from './dumps-matches.ts';
import { rulesOf, wordsOf } from './dumps-words.ts';
import { completed, makeWorld, parseSave, restore, rulesetOf } from './dumps-world.ts';
import { cannotRun, inNetns, makeNetns, randomFrom } from './netfilter-support.ts';

const why = dumpFolder === undefined ? 'PODPATH_SHARED names no folder with dumps/' : cannotRun();
if (why !== undefined) console.log(`dumps against the kernel: skipped: ${why}`);

const name = `pp-dumps-${process.pid}`;
const seed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const flows = Number(process.env.PODPATH_FLOWS ?? 50);

describe.skipIf(why !== undefined)('dumps against the kernel', () => {
  const saves: Save[] = [];
  beforeAll(async () => {
    saves.push(...dumpSaves());
    for (const snapshot of snapshotNames()) saves.push(...savesOf(snapshot, await snapshotFiles(snapshot)));
  });
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  it('every save prints back to what reads the same', () => {
    expect(saves.length).toBeGreaterThan(20);
    for (const save of saves) {
      const ruleset = rulesetOf(save);
      const again = parseSave({ ...save, text: printRuleset(ruleset) });
      expect(again.ok && withoutSources(again.value), save.name).toEqual(withoutSources(ruleset));
    }
  });

  it('the tools take what is printed, and save rules that mean the same', { timeout: 120_000 }, async () => {
    const replaced = new Set<string>();
    for (const save of saves.filter(({ text }) => text.includes('-A '))) {
      const ruleset = completed(rulesetOf(save));
      const tool = `ip${save.family === 6 ? '6' : ''}tables-${save.backend}`;
      await makeNetns(name);
      for (const [set, count] of wordsOf(ruleset).sets) {
        const type = ['hash:ip', 'hash:ip,port', 'hash:ip,port,ip'][Math.min(count, 3) - 1] ?? '';
        await exec(inNetns(name, ['ipset', 'create', set, type]));
      }
      const loaded = await restore(name, tool, printRuleset(ruleset));
      for (const text of loaded.replaced) replaced.add(`${save.name}: ${text}`);
      const saved = await exec(inNetns(name, [`${tool}-save`, '-c']));
      const kernel = rulesetOf({ ...save, text: saved.stdout, table: undefined });
      const ours = rulesetOf({ ...save, text: loaded.text, table: undefined });
      // The kernel has all built-in chains of a table.
      expect(rulesOf(kernel).length, save.name).toBe(rulesOf(ours).length);
      expect(meaning(kernel), save.name).toMatchObject(meaning(ours));
    }
    console.log(
      `dumps: ${saves.length} rule sets restored, left out: ${[...replaced].join('\n  ') || 'nothing'}`,
    );
  });

  test.each(['iptables-legacy', 'iptables-nft'] as const)('%s agrees', { timeout: 300_000 }, async (tool) => {
    const tally: Tally = { packets: 0, decided: 0, open: 0, silent: 0, fates: new Map() };
    const replaced: string[] = [];
    for (const [i, save] of oneOfEach(saves).entries()) {
      const random = randomFrom(seed + i);
      const world = await makeWorld(name, save, tool, random);
      replaced.push(...world.replaced.map((text) => `${save.name}: ${text}`));
      await compareDump(name, `${tool} ${save.name}`, world, random, flows, tally);
    }
    console.log(
      `dumps ${tool}: ${JSON.stringify({ ...tally, fates: Object.fromEntries(tally.fates) })}, ${replaced.length} rules left out on both sides${replaced.map((text) => `\n  ${text}`).join('')}`,
    );
    expect(tally.decided).toBeGreaterThan(tally.packets * 0.6);
    for (const fate of ['forwarded', 'local', 'rejected', 'lost'])
      expect(tally.fates.get(fate) ?? 0).toBeGreaterThan(5);
  });
});

/** Rules by table and chain, without what a tool may print in another order or add as a default. */
const meaning = (ruleset: Ruleset): Record<string, unknown> =>
  Object.fromEntries(
    ruleset.tables
      .flatMap((table) =>
        [...table.chains.values()].map((chain) => [`${table.name} ${chain.name}`, chain] as const),
      )
      .map(([key, chain]) => [
        key,
        [
          chain.policy,
          ...chain.rules.map((rule) =>
            printRule(chain.name, rule, ruleset.family)
              .replace(/^\[[0-9:]+\] |--mask 255\.255\.255\.255 /g, '')
              .split(' ')
              .sort()
              .join(' '),
          ),
        ],
      ]),
  );

const worlds = Number(process.env.PODPATH_WORLDS ?? 12);
const cannot = cannotRun();
if (cannot !== undefined) console.log(`rare matches against the kernel: skipped: ${cannot}`);

describe.skipIf(cannot !== undefined)('matches, targets and sets that dumps have', () => {
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test.each(['iptables-nft', 'iptables-legacy'] as const)('%s agrees', { timeout: 300_000 }, async (tool) => {
    const tally: Tally = { packets: 0, decided: 0, open: 0, silent: 0, fates: new Map() };
    // 16: a hash:net,iface element of another device hides those of wider networks.
    for (const at of [16, ...Array.from({ length: worlds }, (_, i) => seed + i)]) {
      const random = randomFrom(at);
      const save: Save = {
        name: `seed ${at}`,
        text: specialRules(random),
        family: 4,
        backend: 'nft',
        ipsets: specialSets(random),
      };
      const made = await makeWorld(name, save, tool, random);
      expect(made.replaced).toEqual([]);
      expect(parseSave(save)).toMatchObject({ ok: true, notes: [] });
      await compareDump(name, `${tool} ${save.name}`, made, random, flows, tally);
    }
    console.log(
      `rare matches ${tool}: ${JSON.stringify({ ...tally, fates: Object.fromEntries(tally.fates) })}`,
    );
    expect(tally.decided).toBeGreaterThan(tally.packets * 0.7);
    for (const fate of ['forwarded', 'local', 'lost']) expect(tally.fates.get(fate) ?? 0).toBeGreaterThan(5);
  });
});

/** Recordings of one cluster have much the same rules: a quarter of them, another with each seed, one node of each. */
function oneOfEach(saves: readonly Save[]): readonly Save[] {
  const snapshots = snapshotNames().filter((_, i) => (i + seed) % 4 !== 0);
  const seen = new Set<string>(snapshots);
  return saves.filter((save) => {
    const [source = ''] = save.name.split(':');
    if (save.family === 6 || seen.has(source) || !save.text.includes('-A ')) return false;
    seen.add(source);
    return true;
  });
}
