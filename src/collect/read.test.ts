import { readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PodpathError } from '../model/errors.ts';
import { snapshotFromFiles } from './build.ts';
import { notUnderstood } from './facts.ts';
import { readSnapshotFiles } from './open.ts';
import { readSnapshot } from './read.ts';
import { writeSnapshot } from './write.ts';

const manifest = JSON.stringify({
  schema: 1,
  takenAt: '2026-01-02T03:04:05Z',
  source: { kind: 'lab', name: 'x' },
  gaps: [],
});
const list = (...items: unknown[]) => JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
const build = (files: Record<string, string>, unreadable: { path: string; why: string }[] = []) =>
  snapshotFromFiles(
    { files: new Map(Object.entries({ 'podpath.json': manifest, ...files })), unreadable },
    'here',
  );
const runningPod = (name: string, more: object = {}) => ({
  metadata: { namespace: 'shop', name },
  spec: { nodeName: 'n1', containers: [], ...more },
  status: { phase: 'Running', podIP: '10.0.0.1', podIPs: [{ ip: '10.0.0.1' }] },
});

describe('podpath.json', () => {
  test.each<[string, string, string, RegExp, RegExp]>([
    ['cut off', '{\n "schema": 1,', 'snapshot/bad-manifest', /podpath\.json:2:/, /not valid JSON/],
    ['a list', '[]', 'snapshot/bad-manifest', /podpath\.json/, /no JSON object/],
    ['no schema', '{}', 'snapshot/unknown-schema', /schema/, /names no schema/],
    ['a newer schema', '{"schema": 2}', 'snapshot/unknown-schema', /schema/, /is 2, this podpath reads 1/],
    ['a schema as text', '{"schema": "1"}', 'snapshot/unknown-schema', /schema/, /is "1"/],
  ])('%s', (_name, text, code, where, why) => {
    try {
      build({ 'podpath.json': text });
    } catch (error) {
      expect(error).toBeInstanceOf(PodpathError);
      const { complaint } = error as PodpathError;
      expect(complaint.code).toBe(code);
      expect(complaint.where).toMatch(where);
      expect(complaint.why).toMatch(why);
      return;
    }
    expect.unreachable();
  });

  test('strange gaps and times are kept, not dropped', () => {
    const strange = JSON.stringify({ schema: 1, takenAt: 'yesterday', gaps: ['half', { what: 'x' }, null] });
    const { gaps, takenAt } = build({ 'podpath.json': strange });
    expect(takenAt).toBe('');
    expect(gaps.slice(0, 4).map((gap) => gap.what)).toEqual([
      'half',
      'x',
      'null',
      'when the snapshot was taken',
    ]);
    for (const gap of gaps) for (const text of Object.values(gap)) expect(text).not.toBe('');
  });

  test.each<[string, Record<string, string>, RegExp]>([
    ['an empty folder', {}, /it is empty/],
    ['another program’s files', { 'a.txt': '', 'b.txt': '' }, /no podpath\.json \(it holds a\.txt, b\.txt\)/],
  ])('missing in %s', (_name, files, why) => {
    const read = () => snapshotFromFiles({ files: new Map(Object.entries(files)), unreadable: [] }, 'here');
    expect(read).toThrow(why);
  });
});

describe('gaps', () => {
  const whats = (files: Record<string, string>) => build(files).gaps.map((gap) => gap.what);

  test('an empty snapshot misses every kind that answers need', () => {
    expect(whats({})).toContain("the cluster's pods");
  });

  test('a node without files, a pod without files', () => {
    const gaps = whats({
      'cluster/nodes.json': list({ metadata: { name: 'n1' } }, { metadata: { name: 'n2' } }),
      'cluster/pods.json': list(runningPod('a'), runningPod('host', { hostNetwork: true }), {
        ...runningPod('done'),
        status: { phase: 'Succeeded', podIP: '10.0.0.9' },
      }),
      'nodes/n1/ip-link.json': '[]',
    });
    expect(gaps).toContain('the network state of node n2');
    expect(gaps).not.toContain('the network state of node n1');
    expect(gaps).toContain('the network namespaces of shop/a on n1');
  });

  test('a missing file is named once, with the namespaces that lack it', () => {
    const { gaps } = build({
      'nodes/n1/ip-link.json': '[]',
      'nodes/n2/ip-link.json': '[]',
      'nodes/n2/ss.txt': '',
    });
    const sockets = gaps.filter((gap) => gap.what.startsWith('listening sockets'));
    expect(sockets).toEqual([
      expect.objectContaining({ what: 'listening sockets of n1', where: 'nodes/n1/ss.txt' }),
    ]);
    expect(gaps.filter((gap) => gap.where.endsWith('ipset.txt')).map((gap) => gap.what)).toEqual([
      'IP sets of all 2 nodes',
    ]);
  });

  test('what the collector explained is not explained again', () => {
    const gap = {
      what: 'IP sets of n1',
      where: 'nodes/n1/ipset.txt',
      why: 'ipset is not installed',
      todo: 'x',
    };
    const own = JSON.stringify({ ...JSON.parse(manifest), gaps: [gap] });
    const { gaps } = build({ 'podpath.json': own, 'nodes/n1/ip-link.json': '[]' });
    expect(gaps.filter((one) => one.where === gap.where)).toEqual([gap]);
  });

  test('a file without read permission', () => {
    const { gaps } = build({}, [{ path: 'nodes/n1/ss.txt', why: 'permission denied' }]);
    expect(gaps).toContainEqual(expect.objectContaining({ where: 'nodes/n1/ss.txt' }));
  });

  test('probes: absent is unknown, damaged is a gap', () => {
    expect(build({}).probes).toEqual({ state: 'unknown', why: 'no probes were recorded' });
    const damaged = build({ 'probes/a.json': '{' });
    expect(damaged.probes.state).toBe('unknown');
    expect(damaged.gaps).toContainEqual(expect.objectContaining({ where: 'probes/a.json' }));
    const half = build({ 'probes/a.json': '{', 'probes/b.json': '[]' });
    expect(half.probes).toEqual({ state: 'known', value: [] });
  });
});

const shared = process.env.PODPATH_SHARED;
const recordings =
  shared === undefined
    ? []
    : readdirSync(join(shared, 'snapshots')).filter((name) => name.endsWith('.tar.gz'));
if (shared === undefined)
  console.log('skipped: PODPATH_SHARED is not set, so there are no recorded clusters to read');

describe.skipIf(shared === undefined)('recorded clusters', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'podpath-read-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test.each(recordings)('%s: everything is understood, every gap explained', async (name) => {
    const path = join(shared ?? '', 'snapshots', name);
    const files = await readSnapshotFiles(path);
    const snapshot = snapshotFromFiles(files, path);
    expect(notUnderstood(snapshot, files)).toEqual([]);
    expect(snapshot.cluster.problems).toEqual([]);
    expect(snapshot.probes.state).toBe('known');
    expect([...snapshot.netns.keys()].filter((id) => !id.includes('/'))).toEqual(['node1', 'node2', 'node3']);
    // The recordings have no resolv.conf of pods, and nothing else is missing.
    expect(snapshot.gaps.map((gap) => gap.what)).toEqual([
      expect.stringMatching(/^resolver configuration of all \d+ pods$/),
    ]);
    for (const gap of snapshot.gaps) for (const text of Object.values(gap)) expect(text).not.toBe('');
  });

  test('a recording packed otherwise is the same snapshot', async () => {
    const path = join(shared ?? '', 'snapshots', recordings[0] ?? '');
    const { files } = await readSnapshotFiles(path);
    for (const name of ['snap', 'snap.zip', 'snap.tgz']) {
      await writeSnapshot(join(folder, name), files);
      const again = await readSnapshotFiles(join(folder, name));
      expect(new Map(again.files)).toEqual(new Map(files));
    }
    const [direct, packed] = [await readSnapshot(path), await readSnapshot(join(folder, 'snap.zip'))];
    expect(packed.netns.get('node1')?.rulesets).toEqual(direct.netns.get('node1')?.rulesets);
  });
});

test('readSnapshot of a directory that is none', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'podpath-none-'));
  try {
    await writeFile(join(folder, 'notes.txt'), 'x');
    await expect(readSnapshot(folder)).rejects.toMatchObject({
      complaint: { code: 'snapshot/not-a-snapshot', where: folder },
    });
  } finally {
    await rm(folder, { recursive: true });
  }
});
