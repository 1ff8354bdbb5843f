import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { exec } from '../system/exec.ts';
import { readSnapshotFiles } from './open.ts';
import { writeSnapshot } from './write.ts';

let root = '';
let folder = '';
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'podpath-write-'));
});
beforeEach(async () => {
  folder = join(root, String(count++));
  await mkdir(folder);
});
afterAll(() => rm(root, { recursive: true }));

const sample = new Map([
  ['podpath.json', '{"schema":1}'],
  ['cluster/pods.json', '{"items":[]}'],
  ['nodes/n1/iptables-save.txt', '# ü\n'.repeat(10_000)],
  [`nodes/n1/pods/shop_${'long-'.repeat(40)}pod/ss.txt`, ''],
]);
const sorted = (files: ReadonlyMap<string, string>) => [...files].sort(([a], [b]) => (a < b ? -1 : 1));

test.each(['snap', 'snap.tar.gz', 'snap.tgz', 'snap.zip', 'deep/er/snap.zip'])(
  'round trip: %s',
  async (name) => {
    const path = join(folder, name);
    await writeSnapshot(path, sample);
    expect(sorted((await readSnapshotFiles(path)).files)).toEqual(sorted(sample));
  },
);

test('round trip of any text, in every format', async () => {
  const name = fc.stringMatching(/^[a-z0-9_-]{1,20}$/);
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, fc.string({ unit: 'binary' }), { minKeys: 1 }), async (texts) => {
      // Lone surrogates have no UTF-8 form; no program's output holds them.
      const files = new Map([
        ['podpath.json', '{}'],
        ...Object.entries(texts).map(([file, text]): [string, string] => [
          `nodes/n/${file}`,
          Buffer.from(text).toString(),
        ]),
      ]);
      for (const ending of ['', '.tar.gz', '.zip']) {
        const path = join(folder, `any${ending}`);
        await rm(path, { recursive: true, force: true });
        await writeSnapshot(path, files);
        expect(sorted((await readSnapshotFiles(path)).files)).toEqual(sorted(files));
      }
    }),
    { numRuns: 30 },
  );
});

test('other programs read the archives', async () => {
  await writeSnapshot(join(folder, 'a.tar.gz'), sample);
  const listed = await exec(['tar', 'tzf', join(folder, 'a.tar.gz')]);
  expect(listed.stdout.trim().split('\n')).toEqual([...sample.keys()]);
  await writeSnapshot(join(folder, 'a.zip'), sample);
  const tested = await exec(['python3', '-m', 'zipfile', '-l', join(folder, 'a.zip')]);
  if (tested.startError !== undefined)
    console.log('python3 is not installed: the zip archive was not cross-checked');
  else for (const path of sample.keys()) expect(tested.stdout).toContain(path);
});

test.each(['there', 'there.tar.gz', 'there.zip'])('%s is not overwritten unless forced', async (name) => {
  const path = join(folder, name);
  await writeSnapshot(path, sample);
  const other = new Map([['podpath.json', '{"schema":1,"other":true}']]);
  await expect(writeSnapshot(path, other)).rejects.toMatchObject({ complaint: { code: 'snapshot/exists' } });
  expect((await readSnapshotFiles(path)).files.size).toBe(sample.size);
  await writeSnapshot(path, other, { force: true });
  expect([...(await readSnapshotFiles(path)).files]).toEqual([...other]);
  expect(await readdir(folder)).toEqual([name]);
});

test('force deletes no directory that is not a snapshot', async () => {
  const path = join(folder, 'precious');
  await mkdir(path);
  await writeFile(join(path, 'thesis.txt'), 'x');
  await expect(writeSnapshot(path, sample, { force: true })).rejects.toMatchObject({
    complaint: { code: 'snapshot/exists' },
  });
  expect(await readFile(join(path, 'thesis.txt'), 'utf8')).toBe('x');
});

test('an error leaves nothing behind', async () => {
  // A file name longer than file systems take, in the middle of the snapshot.
  const files = new Map([...sample, [`nodes/n1/${'x'.repeat(300)}`, '']]);
  await expect(writeSnapshot(join(folder, 'half'), files)).rejects.toMatchObject({
    complaint: { code: 'snapshot/not-written' },
  });
  await writeFile(join(folder, 'file'), '');
  await expect(writeSnapshot(join(folder, 'file', 'a.zip'), sample)).rejects.toMatchObject({
    complaint: { code: 'snapshot/not-written' },
  });
  expect(await readdir(folder)).toEqual(['file']);
});

test('the temporary name is told before it exists, and gone afterwards', async () => {
  const told: string[] = [];
  await writeSnapshot(join(folder, 'a.zip'), sample, { onTemporary: (path) => told.push(path) });
  expect(told).toHaveLength(1);
  expect(told[0]).toMatch(new RegExp(`^${folder}/\\.a\\.zip\\.[0-9a-f]+\\.tmp$`));
  expect(await readdir(folder)).toEqual(['a.zip']);
});

test('equal snapshots make equal archives', async () => {
  for (const ending of ['tar.gz', 'zip']) {
    await writeSnapshot(join(folder, `a.${ending}`), sample);
    await writeSnapshot(join(folder, `b.${ending}`), sample);
    expect(await readFile(join(folder, `a.${ending}`))).toEqual(await readFile(join(folder, `b.${ending}`)));
  }
});
