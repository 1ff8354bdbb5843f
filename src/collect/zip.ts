/** Reads a snapshot that is a zip archive. Entries go into memory, never to disk. */
import { once } from 'node:events';
import { crc32 } from 'node:zlib';
import { type Entry, openPromise, type ZipFile } from 'yauzl';
import { PodpathError } from '../model/errors.ts';
import { FileCollector } from './files.ts';
import type { Limits } from './limits.ts';

/** File type bits of st_mode, which Unix packers put into the upper half of the external attributes. */
const typeMask = 0o170000;
const plainTypes: ReadonlySet<number> = new Set([0, 0o100000, 0o040000]);

export async function readZip(
  path: string,
  sizeBytes: number,
  limits: Limits,
): Promise<ReadonlyMap<string, string>> {
  const collector = new FileCollector(path, limits, sizeBytes);
  let zip: ZipFile | undefined;
  let current: string | undefined;
  try {
    zip = await openPromise(path, { lazyEntries: true, autoClose: false, strictFileNames: true });
    for (let entry = await nextEntry(zip); entry !== undefined; entry = await nextEntry(zip)) {
      current = entry.fileName;
      await take(zip, entry, collector);
    }
  } catch (error) {
    if (error instanceof PodpathError) throw error;
    throw broken(path, error, current);
  } finally {
    zip?.close();
  }
  return collector.finish();
}

async function nextEntry(zip: ZipFile): Promise<Entry | undefined> {
  const stop = new AbortController();
  try {
    // once() rejects on 'error'. The losers of the race are taken off by the signal.
    const entry = once(zip, 'entry', { signal: stop.signal }).then(([found]) => found as Entry);
    const end = once(zip, 'end', { signal: stop.signal }).then(() => undefined);
    const first = Promise.race([entry, end]);
    void Promise.allSettled([entry, end]);
    zip.readEntry();
    return await first;
  } finally {
    stop.abort();
  }
}

async function take(zip: ZipFile, entry: Entry, collector: FileCollector): Promise<void> {
  const name = entry.fileName;
  const path = collector.open(name, entry.uncompressedSize);
  const type = (entry.externalFileAttributes >>> 16) & typeMask;
  if (!plainTypes.has(type)) throw collector.refuse(name, 'it is a symbolic link or device');
  if (name.endsWith('/')) {
    if (path !== undefined) collector.folder(path);
    return;
  }
  if (path === undefined) return;
  if (entry.isEncrypted()) throw collector.refuse(name, 'it is encrypted');
  const chunks: Buffer[] = [];
  let received = 0;
  for await (const chunk of (await zip.openReadStreamPromise(entry)) as AsyncIterable<Buffer>) {
    received += chunk.length;
    collector.count(path, chunk.length, received);
    chunks.push(chunk);
  }
  const content = Buffer.concat(chunks, received);
  // yauzl leaves the checksum to its callers.
  if (crc32(content) !== entry.crc32) throw new Error('the checksum does not fit the content');
  collector.file(path, content);
}

function broken(path: string, error: unknown, entry: string | undefined): PodpathError {
  const message = error instanceof Error ? error.message : String(error);
  const unsafe = /^(absolute path|invalid relative path|invalid characters in fileName)/.test(message);
  if (unsafe)
    return new PodpathError({
      code: 'snapshot/unsafe-entry',
      what: 'the snapshot holds an entry that no snapshot needs',
      where: path,
      why: message,
      todo: 'Nothing was read from it. Collect the snapshot again, or unpack and check it yourself if you trust its source.',
    });
  const cutOff = /End of central directory|overflows file bounds|unexpected EOF/i.test(message);
  return new PodpathError(
    {
      code: cutOff ? 'snapshot/truncated' : 'snapshot/broken-archive',
      what: cutOff ? 'the snapshot ends too early' : 'the snapshot archive is damaged',
      where: entry === undefined ? path : `${path}, at ${JSON.stringify(entry)}`,
      why: `the zip archive cannot be read: ${message}`,
      todo: 'Copy the file again and compare sizes or checksums with the original.',
    },
    { cause: error },
  );
}
