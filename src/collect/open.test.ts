import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32, deflateRawSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { pack } from 'tar-stream';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PodpathError } from '../model/errors.ts';
import { defaultLimits } from './limits.ts';
import { readSnapshotFiles } from './open.ts';

let folder = '';
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'podpath-open-'));
});
afterAll(() => rm(folder, { recursive: true }));

async function keep(content: Buffer | string, name = `archive-${count++}`): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  return path;
}

interface TarEntry {
  readonly name: string;
  readonly text?: string;
  readonly type?: 'file' | 'symlink' | 'link' | 'fifo' | 'character-device' | 'directory';
}

async function tar(...entries: readonly TarEntry[]): Promise<Buffer> {
  const archive = pack();
  for (const { name, text = '', type = 'file' } of entries) {
    if (type === 'file') archive.entry({ name }, text);
    else archive.entry({ name, type, size: 0, linkname: '/etc/passwd' });
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

interface ZipEntry {
  readonly name: string;
  readonly text?: string;
  readonly mode?: number;
  readonly flags?: number;
  readonly wrongCrc?: boolean;
  readonly announcedBytes?: number;
}

/** A zip archive byte by byte, so that it can lie. */
function zip(...entries: readonly ZipEntry[]): Buffer {
  const local: Buffer[] = [];
  const central: Buffer[] = [];
  let offset = 0;
  for (const { name, text = '', mode = 0o100644, flags = 0, wrongCrc = false, announcedBytes } of entries) {
    const nameBytes = Buffer.from(name);
    const content = Buffer.from(text);
    const packed = deflateRawSync(content);
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(flags, 2);
    common.writeUInt16LE(8, 4);
    common.writeUInt32LE((crc32(content) ^ (wrongCrc ? 1 : 0)) >>> 0, 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(announcedBytes ?? content.length, 18);
    common.writeUInt16LE(nameBytes.length, 22);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE((mode << 16) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    const head = Buffer.concat([Buffer.from('504b0304', 'hex'), common, nameBytes, packed]);
    central.push(Buffer.from('504b01021403', 'hex'), common, tail, nameBytes);
    local.push(head);
    offset += head.length;
  }
  const directory = Buffer.concat(central);
  const end = Buffer.alloc(22);
  end.write('504b0506', 'hex');
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...local, directory, end]);
}

async function complaintOf(promise: Promise<unknown>) {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(PodpathError);
  return (error as PodpathError).complaint;
}

const manifest = { name: 'podpath.json', text: '{"schema":1}' };

describe('containers', () => {
  const deep = { name: 'nodes/n1/ss.txt', text: 'ü\n' };
  const want = [
    ['podpath.json', '{"schema":1}'],
    ['nodes/n1/ss.txt', 'ü\n'],
  ];

  test.each<[string, () => Promise<Buffer> | Buffer]>([
    ['tar', () => tar(manifest, deep)],
    ['tar.gz', async () => gzipSync(await tar(manifest, deep))],
    ['zip', () => zip(manifest, deep)],
    [
      'tar with ./ in front',
      () => tar({ name: './', type: 'directory' }, { ...manifest, name: './podpath.json' }, deep),
    ],
    [
      'tar with one leading folder',
      () => tar({ ...manifest, name: 'snap/podpath.json' }, { ...deep, name: 'snap/nodes/n1/ss.txt' }),
    ],
    [
      'zip with one leading folder and what the Finder adds',
      () =>
        zip(
          { name: 'snap/' },
          { ...manifest, name: 'snap/podpath.json' },
          { name: '__MACOSX/._podpath.json', text: 'x' },
          { name: 'snap/.DS_Store', text: 'x' },
          { ...deep, name: 'snap/nodes/n1/ss.txt' },
        ),
    ],
  ])('%s', async (_name, make) => {
    const { files } = await readSnapshotFiles(await keep(await make(), `misnamed-${count++}.txt`));
    expect([...files]).toEqual(want);
  });

  test('directory', async () => {
    const root = join(folder, 'plain');
    await mkdir(join(root, 'nodes/n1'), { recursive: true });
    await writeFile(join(root, 'podpath.json'), manifest.text);
    await writeFile(join(root, 'nodes/n1/ss.txt'), deep.text);
    await writeFile(join(root, '.hidden'), 'x');
    const { files, unreadable } = await readSnapshotFiles(root);
    expect(new Map(files)).toEqual(new Map(want.map(([path, text]) => [path, text])));
    expect(unreadable).toEqual([]);
  });
});

describe('refused entries', () => {
  test.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ['tar: ..', () => tar({ name: 'nodes/../../etc/passwd', text: 'x' }), /leads out/],
    ['tar: absolute', () => tar({ name: '/etc/passwd', text: 'x' }), /absolute/],
    ['tar: symlink', () => tar({ name: 'nodes', type: 'symlink' }), /symlink/],
    ['tar: hard link', () => tar({ name: 'podpath.json', type: 'link' }), /link/],
    ['tar: fifo', () => tar({ name: 'podpath.json', type: 'fifo' }), /fifo/],
    ['tar: device', () => tar({ name: 'podpath.json', type: 'character-device' }), /character-device/],
    ['tar: twice', () => tar(manifest, { ...manifest, name: './podpath.json' }), /twice/],
    ['tar: file and folder', () => tar({ name: 'a', text: 'x' }, { name: 'a/b', text: 'x' }), /both/],
    ['tar: folder and file', () => tar({ name: 'a/b', text: 'x' }, { name: 'a', text: 'x' }), /both/],
    ['tar: drive letter', () => tar({ name: 'C:/a', text: 'x' }), /absolute/],
    ['tar: escape sequence', () => tar({ name: 'a\u001b[2J', text: 'x' }), /control/],
    ['zip: ..', () => zip({ name: 'nodes/../../etc/passwd', text: 'x' }), /invalid relative path/],
    ['zip: absolute', () => zip({ name: '/etc/passwd', text: 'x' }), /absolute/],
    ['zip: backslash', () => zip({ name: '..\\..\\etc\\passwd', text: 'x' }), /invalid characters/],
    ['zip: symlink', () => zip({ name: 'nodes', text: '/etc', mode: 0o120777 }), /symbolic link/],
    ['zip: device', () => zip({ name: 'nodes', text: '', mode: 0o020644 }), /device/],
    ['zip: twice', () => zip(manifest, manifest), /twice/],
    ['zip: encrypted', () => zip({ ...manifest, flags: 1 }), /encrypted/],
  ])('%s', async (_name, make, why) => {
    const complaint = await complaintOf(readSnapshotFiles(await keep(await make())));
    expect(complaint.code).toBe('snapshot/unsafe-entry');
    expect(complaint.why).toMatch(why);
  });

  test('directory: symbolic link', async () => {
    const root = join(folder, 'linked');
    await mkdir(root);
    await symlink('/etc/passwd', join(root, 'podpath.json'));
    const complaint = await complaintOf(readSnapshotFiles(root));
    expect(complaint).toMatchObject({ code: 'snapshot/unsafe-entry', why: 'it is a symbolic link' });
  });
});

describe('caps', () => {
  const small = { ...defaultLimits, maxEntries: 3, maxEntryBytes: 1000, maxTotalBytes: 20_000 };
  const many = ['a', 'b', 'c', 'd'].map((name) => ({ name, text: 'x' }));
  const large = [{ name: 'a', text: 'x'.repeat(1001) }];

  test.each<[string, () => Promise<Buffer> | Buffer, RegExp]>([
    ['tar: entries', () => tar(...many), /more than 3 entries/],
    ['tar: one entry', () => tar(...large), /1001 bytes, more than 1000/],
    [
      'tar.gz: total',
      async () => gzipSync(Buffer.concat([await tar(manifest), Buffer.alloc(30_000)])),
      /unpacks to more than 20000 bytes/,
    ],
    ['zip: entries', () => zip(...many), /more than 3 entries/],
    ['zip: one entry', () => zip(...large), /1001 bytes, more than 1000/],
  ])('%s', async (_name, make, why) => {
    const complaint = await complaintOf(readSnapshotFiles(await keep(await make()), small));
    expect(complaint.code).toBe('snapshot/too-large');
    expect(complaint.why).toMatch(why);
  });

  test('a real bomb: 100 MiB of zeros, by the default limits', async () => {
    const zeros = '\0'.repeat(100 * 1024 * 1024);
    const bombs = [gzipSync(await tar({ name: 'a', text: zeros })), zip({ name: 'a', text: zeros })];
    for (const bomb of bombs) {
      const complaint = await complaintOf(readSnapshotFiles(await keep(bomb)));
      expect(complaint.why).toMatch(/as an archive bomb does/);
    }
  });

  test('a zip entry that is larger than it announces', async () => {
    const liar = zip({ name: 'a', text: 'x'.repeat(5000), announcedBytes: 10 });
    const complaint = await complaintOf(readSnapshotFiles(await keep(liar), small));
    expect(['snapshot/broken-archive', 'snapshot/too-large']).toContain(complaint.code);
  });
});

describe('damaged and foreign files', () => {
  test('tar.gz cut at every tenth of its length', async () => {
    const random = Array.from({ length: 40_000 }, (_, i) => (i * 7919).toString(36)).join('');
    const whole = gzipSync(await tar(manifest, { name: 'nodes/n1/ss.txt', text: random }));
    for (let tenth = 1; tenth < 10; tenth++) {
      const path = await keep(whole.subarray(0, Math.floor((whole.length * tenth) / 10)));
      const complaint = await complaintOf(readSnapshotFiles(path));
      expect(complaint.code).toBe('snapshot/truncated');
      expect(complaint.where).toMatch(new RegExp(`^${path}, byte [0-9]+ of [0-9]+`));
    }
  });

  test('tar cut between two entries is not taken for whole', async () => {
    const whole = await tar(manifest, { name: 'b', text: 'x' });
    const complaint = await complaintOf(readSnapshotFiles(await keep(whole.subarray(0, 1024))));
    expect(complaint.code).toBe('snapshot/truncated');
  });

  test('flipped bytes', async () => {
    const packed = gzipSync(await tar(manifest, { name: 'b', text: 'y'.repeat(999) }));
    packed[packed.length - 5] = (packed.at(-5) ?? 0) ^ 0xff;
    expect((await complaintOf(readSnapshotFiles(await keep(packed)))).code).toBe('snapshot/broken-archive');
    const wrong = await complaintOf(readSnapshotFiles(await keep(zip({ ...manifest, wrongCrc: true }))));
    expect(wrong).toMatchObject({ code: 'snapshot/broken-archive' });
    expect(wrong.where).toMatch(/podpath\.json/);
  });

  test('zip cut off', async () => {
    const whole = zip(manifest, { name: 'b', text: 'y'.repeat(999) });
    const complaint = await complaintOf(readSnapshotFiles(await keep(whole.subarray(0, -30))));
    expect(complaint.code).toBe('snapshot/truncated');
  });

  test.each<[string, Buffer | string, RegExp]>([
    ['empty file', '', /empty/],
    ['text', 'hello', /no tar/],
    ['xz', Buffer.from('fd377a585a000004', 'hex'), /xz archive/],
    ['zstd', Buffer.from('28b52ffd04000000', 'hex'), /zstd archive/],
  ])('%s', async (_name, content, why) => {
    const complaint = await complaintOf(readSnapshotFiles(await keep(content)));
    expect(complaint.code).toBe('snapshot/not-a-snapshot');
    expect(complaint.why).toMatch(why);
  });

  test('gzip of something that is no tar', async () => {
    const complaint = await complaintOf(readSnapshotFiles(await keep(gzipSync('hello '.repeat(500)))));
    expect(complaint.code).toBe('snapshot/broken-archive');
  });

  test('missing path', async () => {
    expect((await complaintOf(readSnapshotFiles(join(folder, 'nowhere')))).code).toBe('snapshot/missing');
  });

  test('arbitrary bytes end in files or a PodpathError', async () => {
    const heads = ['', '1f8b0800000000000003', '504b0304', '504b0506'].map((hex) => Buffer.from(hex, 'hex'));
    const path = join(folder, 'fuzz');
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...heads), fc.uint8Array({ maxLength: 2000 }), async (head, bytes) => {
        await writeFile(path, Buffer.concat([head, bytes]));
        await readSnapshotFiles(path).catch((error: unknown) => expect(error).toBeInstanceOf(PodpathError));
      }),
      { numRuns: 150 },
    );
  });

  test('mutated archives end in files or a PodpathError', async () => {
    const text = { name: 'nodes/n1/ss.txt', text: 'abc '.repeat(300) };
    const plain = await tar(manifest, text);
    const archives = [plain, gzipSync(plain), zip(manifest, text)];
    const path = join(folder, 'mutated');
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...archives),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 5 }),
        async (archive, edits) => {
          const bytes = Buffer.from(archive);
          for (const [at, value] of edits) bytes[at % bytes.length] = value;
          await writeFile(path, bytes);
          await readSnapshotFiles(path).catch((error: unknown) => expect(error).toBeInstanceOf(PodpathError));
        },
      ),
      { numRuns: 300 },
    );
  });
});
