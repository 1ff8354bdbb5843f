/** Recorded native rule sets, restored by `nft -j -f` into a namespace: read alike in both forms, and packets near them as the kernel has it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { NftTable } from '../../src/model/nft.ts';
import { parseNftJson } from '../../src/parse/nft/json.ts';
import { parseNftText } from '../../src/parse/nft/text.ts';
import { formatPosition } from '../../src/parse/result.ts';
import { exec } from '../../src/system/exec.ts';
import { dumpFolder, snapshotFiles, snapshotNames } from './dumps-files.ts';
import { compareWorld, type Ends, setUp } from './netfilter-flows.ts';
import { cannotRun, inNetns, randomFrom, readNetns, run } from './netfilter-support.ts';

const why = dumpFolder === undefined ? 'PODPATH_SHARED names no folder with dumps/' : cannotRun();
if (why !== undefined) console.log(`native dumps against the kernel: skipped: ${why}`);

const name = `pp-dumpsnft-${process.pid}`;
const seed = Number(process.env.PODPATH_SEED ?? 20_261_122);
const rounds = Number(process.env.PODPATH_WORLDS ?? 2);

interface Recording {
  readonly name: string;
  readonly text: string;
}

/**
 * kube-proxy chooses endpoints by chance; a hash with a seed chooses as often, and always the same for one client.
 */
const withoutChance = (text: string): string =>
  text.replaceAll(
    /\{"numgen": ?\{"mode": ?"random", ?"mod": ?(\d+), ?"offset": ?0\}\}/g,
    '{"jhash":{"mod":$1,"seed":42,"expr":{"payload":{"protocol":"ip","field":"saddr"}}}}',
  );

/** Without what iptables-nft made: nft does not load its extensions again, and the saves of iptables hold it. */
function nativeOf(text: string): string {
  const { nftables } = JSON.parse(text) as { readonly nftables: readonly Record<string, Named>[] };
  const own = nftables.filter((item) =>
    Object.values(item).some((one) => (one.table ?? one.name) === 'kube-proxy'),
  );
  // nft lists maps before the chains that their elements lead to, and takes them only in the other order.
  const kinds = ['table', 'chain', 'set', 'map', 'element', 'rule'];
  const place = (item: object): number => kinds.indexOf(Object.keys(item)[0] ?? '');
  own.sort((one, other) => place(one) - place(other));
  return withoutChance(JSON.stringify({ nftables: own }));
}

interface Named {
  readonly name?: string;
  readonly table?: string;
}

const tablesOf = (parsed: ReturnType<typeof parseNftJson>): readonly NftTable[] => {
  if (!parsed.ok) throw new Error(formatPosition(parsed.error));
  expect(parsed.notes).toEqual([]);
  return parsed.value;
};

/** Rules and sets without their places, counters and the order of a set's elements. */
const meaning = (tables: readonly NftTable[]) =>
  tables.map((table) => ({
    name: `${table.family} ${table.name}`,
    chains: [...table.chains.values()]
      .map((chain) => ({
        name: chain.name,
        rules: chain.rules.map(({ statements, comment }) => ({ statements, comment })),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
    sets: [...table.sets.values()]
      .map((set) => ({ name: set.name, elements: set.elements.map((one) => JSON.stringify(one)).sort() }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  }));

/** Addresses and ports of Services, and some that are none. */
function endsOf(text: string): Ends {
  const hosts = new Set(['10.1.0.1', '10.2.0.2']);
  const ports = new Set([22]);
  for (const [, host = '', port] of text.matchAll(/"concat": ?\["([\d.]+)", ?"(?:tcp|udp)", ?(\d+)\]/g)) {
    hosts.add(host);
    ports.add(Number(port));
  }
  return { hosts: [...hosts], ports: [...ports] };
}

describe.skipIf(why !== undefined)('native dumps', () => {
  const recordings: Recording[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'podpath-nft-'));
  const file = join(folder, 'nft.json');
  beforeAll(async () => {
    for (const snapshot of snapshotNames())
      for (const [path, text] of await snapshotFiles(snapshot))
        if (/^nodes\/[^/]+\/nft\.json$/.test(path) && text.includes('"kube-proxy"'))
          recordings.push({ name: `${snapshot}:${path}`, text: nativeOf(text) });
    await setUp(name);
    await run(inNetns(name, ['ip', 'route', 'add', 'default', 'dev', 'tout']));
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true });
    await exec(['ip', 'netns', 'delete', name]);
  });

  test('restored, printed and read again they mean the same; packets near their rules agree', {
    timeout: 300_000,
  }, async () => {
    expect(recordings.length).toBeGreaterThan(0);
    const tally = new Map<string, number>();
    for (const [i, recording] of recordings.entries()) {
      await run(inNetns(name, ['nft', 'flush', 'ruleset']));
      // JSON is not read from a socket, which is what standard input is here.
      writeFileSync(file, recording.text);
      await run(inNetns(name, ['nft', '-j', '-f', file]));
      const printed = await run(inNetns(name, ['nft', 'list', 'ruleset']));
      const recorded = meaning(tablesOf(parseNftJson(recording.text, 'nft.json')));
      expect(meaning(tablesOf(parseNftText(printed, 'nft.txt'))), recording.name).toEqual(recorded);
      for (let round = 0; round < rounds; round++) {
        const random = randomFrom(seed + 100 * i + round);
        await exec(inNetns(name, ['conntrack', '-F']));
        const files = ['ip-link.json', 'ip-addr.json', 'ip-route.json', 'ip-rule.json', 'iptables-save.txt'];
        const netns = await readNetns(name, [
          ...files,
          round % 2 === 0 ? 'nft.txt' : 'nft.json',
          'ipset.txt',
          'sysctl.txt',
        ]);
        await compareWorld(name, netns, random, seed, tally, endsOf(recording.text));
      }
    }
    console.log(`native dumps: ${recordings.length} rule sets, ${JSON.stringify(Object.fromEntries(tally))}`);
    for (const fate of ['forwarded', 'local', 'translated']) expect(tally.get(fate) ?? 0).toBeGreaterThan(10);
  });
});
