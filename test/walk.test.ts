/** The walk on a lab that podpath recorded itself (demo/recording.tar.gz): no Linux needed. What is taken away becomes unknown, never yes. */
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { snapshotFromFiles } from '../src/collect/build.ts';
import type { SnapshotFiles } from '../src/collect/files.ts';
import { readSnapshotFiles } from '../src/collect/open.ts';
import { World } from '../src/dataplane/world.ts';
import { investigate } from '../src/diagnose/investigate.ts';
import { askedFlows } from '../src/diagnose/question.ts';
import type { Verdict } from '../src/model/verdict.ts';

const recording = fileURLToPath(new URL('../demo/recording.tar.gz', import.meta.url));
let recorded: SnapshotFiles;
beforeAll(async () => {
  recorded = await readSnapshotFiles(recording);
});

type Edit = (text: string | undefined, path: string) => string | undefined;

/** Walks in the recording with some files changed or, where the edit gives undefined, taken away. */
function ask(src: string, dst: string, edits: Readonly<Record<string, Edit>> = {}): Verdict {
  const files = new Map(recorded.files);
  for (const [path, edit] of Object.entries(edits)) {
    const text = edit(files.get(path), path);
    if (text === undefined) files.delete(path);
    else files.set(path, text);
  }
  const snapshot = snapshotFromFiles({ ...recorded, files }, 'test');
  const { flows } = askedFlows(snapshot, { src, dst, namespace: 'shop' });
  return investigate(new World(snapshot), flows[0]).verdict;
}

const gone: Edit = () => undefined;
const without =
  (pattern: RegExp): Edit =>
  (text) =>
    text
      ?.split('\n')
      .filter((line) => !pattern.test(line))
      .join('\n');
/** The recording's fault taken back, so that packets cross. */
const open = { 'nodes/node2/iptables-save.txt': without(/--dport 8472 -j DROP/) };

describe('a recorded lab', () => {
  it('shows the rule that drops the tunnel', () => {
    const verdict = ask('shop/web-1', 'shop/api-2:8080');
    expect([verdict.answer, verdict.disposition]).toEqual(['unreachable', 'filtered']);
    expect(verdict.evidence[0]?.source).toMatchObject({ file: 'nodes/node2/iptables-save.txt' });
  });

  it.each([
    ['shop/web-1', 'shop/api-1:8080'],
    ['shop/web-1', 'shop/api-3:8080'],
    ['shop/web-1', 'shop/api-2:8080'],
    ['shop/web-1', 'api:80'],
    ['shop/web-1', 'shop/svc/api:80'],
    ['node/node1', 'shop/api-2:8080'],
  ])('%s reaches %s without that rule', (src, dst) => {
    expect(ask(src, dst, open).answer).toBe('reachable');
  });
});

describe('what is not known is not yes', () => {
  it.each([
    ['the server pod was not recorded', podFiles('node2', 'shop_api-2')],
    ["the node's rules", { 'nodes/node2/iptables-save.txt': gone, 'nodes/node2/nft.json': gone }],
    ["the node's routes", { 'nodes/node1/ip-route.json': gone }],
    ["the node's devices", { 'nodes/node2/ip-link.json': gone }],
    ["the node's FDB", { 'nodes/node1/bridge-fdb.json': gone }],
    ["the node's neighbours", { 'nodes/node1/ip-neigh.json': gone }],
    ["the node's sysctls", { 'nodes/node2/sysctl.txt': gone }],
    ["the server's sockets", { 'nodes/node2/pods/shop_api-2/ss.txt': gone }],
    [
      'rules that are an error message',
      { 'nodes/node2/iptables-save.txt': () => 'iptables-save: Permission denied' },
    ],
    ['a truncated file', { 'nodes/node1/ip-route.json': (text?: string) => text?.slice(0, 40) }],
  ] as const)('%s', (_name, edits) => {
    const verdict = ask('shop/web-1', 'shop/api-2:8080', { ...open, ...edits });
    expect(verdict.answer).toBe('unknown');
    expect(verdict.gaps.length).toBeGreaterThan(0);
    for (const gap of verdict.gaps) for (const text of Object.values(gap)) expect(text).not.toBe('');
  });

  it('but a loss before the gap is still certain', () => {
    const verdict = ask('shop/web-1', 'shop/api-2:8080', { 'nodes/node2/pods/shop_api-2/ss.txt': gone });
    expect(verdict.answer).toBe('unreachable');
  });

  it('a rule that is not understood leaves the answer open only where it can decide', () => {
    const rule =
      '-A FORWARD -m owner --uid-owner 0 -j DROP\n-A FORWARD -m policy --pol ipsec --dir in -j DROP';
    const add = (text?: string) =>
      without(/--dport 8472 -j DROP/)(text, '')?.replace('-A FORWARD', `${rule}\n-A FORWARD`);
    expect(ask('shop/web-1', 'shop/api-2:8080', { 'nodes/node2/iptables-save.txt': add }).answer).toBe(
      'unknown',
    );
    expect(ask('shop/web-1', 'shop/api-3:8080', { 'nodes/node2/iptables-save.txt': add }).answer).toBe(
      'reachable',
    );
  });
});

/** Edits that remove a pod's namespace. Paths are those of the layout: the recording is read only when the test runs. */
function podFiles(node: string, pod: string): Readonly<Record<string, Edit>> {
  const names = [
    'ip-link.json',
    'ip-addr.json',
    'ip-route.json',
    'ip-rule.json',
    'ip-neigh.json',
    'ss.txt',
    'sysctl.txt',
    'iptables-save.txt',
    'nft.json',
  ];
  return Object.fromEntries(names.map((name) => [`nodes/${node}/pods/${pod}/${name}`, gone]));
}
