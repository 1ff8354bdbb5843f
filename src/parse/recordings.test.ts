import { createReadStream, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createGunzip } from 'node:zlib';
import { extract } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { exec } from '../system/exec.ts';
import { parseConntrack } from './conntrack.ts';
import { parseDevices } from './ip-device.ts';
import { parseBridgeFdb, parseBridgeLink, parseIpNeigh } from './ip-neigh.ts';
import { parseIpRoute } from './ip-route.ts';
import { parseIpRule } from './ip-rule.ts';
import { parseIpset } from './ipset.ts';
import { type IptablesOptions, parseIptablesSave, printRuleset } from './iptables-save.ts';
import { buildCluster } from './kubernetes/cluster.ts';
import { parseNftJson } from './nft/json.ts';
import { parseProbes } from './probes.ts';
import { parseProcNet } from './proc-net.ts';
import { parseResolvConf } from './resolv-conf.ts';
import { formatPosition, type Parsed } from './result.ts';
import { parseSs } from './ss.ts';
import { parseSysctl } from './sysctl.ts';
import { withoutSources } from './testing.ts';

const shared = process.env.PODPATH_SHARED || undefined;
if (shared === undefined)
  console.log('recordings.test.ts: skipped: PODPATH_SHARED names no folder of dumps and recordings');

/** Dumps of rules, and how each is read: `iptables -S` and excerpts have no COMMIT. */
const isRules = /iptables.*\.txt$|^nonk8s|filter-excerpt|\.v4$|broken-nat/;
const optionsOf = (file: string): IptablesOptions => ({
  file,
  family: file.includes('ip6tables') ? 6 : 4,
  backend: 'nft',
  ...(/-S|excerpt/.test(file)
    ? { table: file.includes('nat') ? ('nat' as const) : ('filter' as const) }
    : {}),
});
const filesOf = (folder: string) => (shared === undefined ? [] : readdirSync(join(shared, folder)));
const rules = filesOf('dumps').filter((file) => isRules.test(file));

/** Everything that is not understood, a text each. An undeclared chain is the nature of an excerpt. */
function complaints<T>(result: Parsed<T>): string[] {
  if (!result.ok) return [formatPosition(result.error)];
  return result.notes.filter((note) => note.code !== 'iptables/undeclared-chain').map(formatPosition);
}

function readRules(file: string) {
  const result = parseIptablesSave(readFileSync(join(shared ?? '', 'dumps', file), 'utf8'), optionsOf(file));
  if (!result.ok) throw new Error(formatPosition(result.error));
  return { result, ruleset: result.value };
}

describe.skipIf(shared === undefined)('rule dumps', () => {
  it.each(rules)('%s is understood and survives printing', (file) => {
    const { result, ruleset } = readRules(file);
    expect(complaints(result)).toEqual([]);
    const again = parseIptablesSave(printRuleset(ruleset), { ...optionsOf(file), file: 'printed' });
    expect(again.ok && withoutSources(again.value)).toEqual(withoutSources(ruleset));
  });
});

const canRestore =
  process.getuid?.() === 0 && existsSync('/usr/sbin/iptables-nft-restore') && shared !== undefined;
if (shared !== undefined && !canRestore)
  console.log('recordings.test.ts: restore skipped: needs root and iptables-nft-restore');

describe.skipIf(!canRestore)('the kernel', () => {
  /** Excerpts jump to chains that they leave out. */
  const whole = rules.filter((file) => !file.includes('excerpt'));
  it('takes what was printed and gives it back', async () => {
    const netns = `pp-parse${process.pid}`;
    const inside = (...argv: string[]) => ['ip', 'netns', 'exec', netns, ...argv];
    expect(await exec(['ip', 'netns', 'add', netns])).toMatchObject({ code: 0 });
    try {
      for (const file of whole) {
        const { ruleset } = readRules(file);
        const text = printRuleset(ruleset);
        const tool = ruleset.family === 4 ? 'iptables-nft' : 'ip6tables-nft';
        for (const set of new Set(
          [...text.matchAll(/--match-set "?([^ "]+)/g)].map((words) => words[1] ?? ''),
        ))
          await exec(inside('ipset', 'create', '-exist', set, 'hash:ip'));
        await exec(inside('nft', 'flush', 'ruleset'));
        const restored = await exec(inside(`${tool}-restore`), { input: text });
        expect([file, restored.code, restored.stderr]).toEqual([file, 0, expect.anything()]);
        const saved = await exec(inside(`${tool}-save`, '-c'));
        const back = parseIptablesSave(saved.stdout, { ...optionsOf(file), file: 'saved' });
        if (!back.ok) throw new Error(formatPosition(back.error));
        expect([file, rulesOf(back.value)]).toEqual([file, rulesOf(ruleset)]);
      }
    } finally {
      await exec(['ip', 'netns', 'del', netns]);
    }
  });
});

/** What the kernel keeps: every rule but the default values that it spells out in texts kept verbatim. */
const rulesOf = (ruleset: Parameters<typeof withoutSources>[0]) =>
  withoutSources(ruleset)
    .flatMap(({ name, chains }) =>
      chains.map(
        (chain) =>
          [
            `${name} ${chain.name}`,
            chain.rules.map(({ matches, target, comment }) => ({
              matches: matches.map((match) => ('text' in match ? match.kind : match)),
              target,
              comment,
            })),
          ] as const,
      ),
    )
    .filter(([, chainRules]) => chainRules.length > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1));

type Check = (text: string, file: string) => Parsed<unknown>;
const rulesOfFile =
  (family: 4 | 6): Check =>
  (text, file) =>
    parseIptablesSave(text, { file, family, backend: 'nft' });
const checks: Readonly<Record<string, Check>> = {
  'iptables-save.txt': rulesOfFile(4),
  'ip6tables-save.txt': rulesOfFile(6),
  'iptables-legacy-save.txt': rulesOfFile(4),
  'ip6tables-legacy-save.txt': rulesOfFile(6),
  'ip-link.json': (text, file) => parseDevices({ text, file }, { text: '[]', file }),
  'ip-addr.json': (text, file) => parseDevices({ text: '[]', file }, { text, file }),
  'ip-route.json': (text, file) => parseIpRoute(text, file, 4),
  'ip-route6.json': (text, file) => parseIpRoute(text, file, 6),
  'ip-rule.json': (text, file) => parseIpRule(text, file, 4),
  'ip-rule6.json': (text, file) => parseIpRule(text, file, 6),
  'ip-neigh.json': parseIpNeigh,
  'bridge-fdb.json': parseBridgeFdb,
  'bridge-link.json': parseBridgeLink,
  'nft.json': parseNftJson,
  'ipset.txt': parseIpset,
  'conntrack.txt': parseConntrack,
  'sysctl.txt': parseSysctl,
  'ss.txt': parseSs,
  'resolv.conf': parseResolvConf,
  'proc-net-snmp.txt': parseProcNet,
  'proc-net-netstat.txt': parseProcNet,
  'results.json': parseProbes,
};

/** Files of a recording by path. */
async function readArchive(path: string): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  const archive = createReadStream(path).pipe(createGunzip()).pipe(extract());
  for await (const entry of archive) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    if (entry.header.type === 'file') files.set(entry.header.name, Buffer.concat(chunks).toString('utf8'));
  }
  return files;
}

describe.skipIf(shared === undefined)('recorded clusters', () => {
  const archives = filesOf('snapshots').filter((file) => file.endsWith('.tar.gz'));
  it.each(archives)('%s is understood file by file', async (archive) => {
    const files = await readArchive(join(shared ?? '', 'snapshots', archive));
    const wrong: string[] = [];
    let checked = 0;
    for (const [path, text] of files) {
      const check = checks[path.replace(/^.*\//, '')];
      if (check === undefined) continue;
      checked++;
      wrong.push(...complaints(check(text, path)));
    }
    expect(wrong).toEqual([]);
    expect(checked).toBeGreaterThan(100);
    const cluster = buildCluster(new Map([...files].filter(([path]) => path.includes('cluster/'))));
    expect(cluster.problems).toEqual([]);
    for (const fact of [
      cluster.pods,
      cluster.nodes,
      cluster.namespaces,
      cluster.services,
      cluster.endpointSlices,
    ])
      expect(fact).toMatchObject({ state: 'known', value: expect.arrayContaining([expect.anything()]) });
    expect([cluster.networkPolicies.state, cluster.workloads.state, cluster.configMaps.state]).toEqual([
      'known',
      'known',
      'known',
    ]);
  });
});
