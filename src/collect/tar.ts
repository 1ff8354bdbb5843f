/** Reads a snapshot that is a tar archive, gzipped or not. Streamed into memory, never unpacked to disk. */
import { createReadStream } from 'node:fs';
import { Transform, type TransformCallback } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { extract, type Header } from 'tar-stream';
import { PodpathError } from '../model/errors.ts';
import { FileCollector } from './files.ts';
import type { Limits } from './limits.ts';

const block = 512;

/** Whether the first 512 bytes are a tar header: its checksum fits. */
export function isTarHeader(header: Buffer): boolean {
  if (header.length < block) return false;
  const recorded = Number.parseInt(header.toString('latin1', 148, 156).replace(/[\0 ].*$/s, ''), 8);
  let sum = 8 * 32; // the checksum field counts as spaces
  for (let i = 0; i < block; i++) if (i < 148 || i >= 156) sum += header[i] ?? 0;
  return recorded === sum;
}

export async function readTar(
  path: string,
  gzipped: boolean,
  sizeBytes: number,
  limits: Limits,
): Promise<ReadonlyMap<string, string>> {
  const collector = new FileCollector(path, limits, gzipped ? sizeBytes : undefined);
  const gunzip = createGunzip();
  const meter = new Meter((bytes) => collector.count('its headers', bytes, 0));
  const archive = extract();
  let entryName: string | undefined;
  archive.on('entry', (header, stream, next) => {
    entryName = header.name;
    // Errors of an entry's stream are the archive's, which the pipeline reports.
    stream.on('error', () => {});
    // Ends of the entry must be waited for, or its content runs into the next.
    const chunks: Buffer[] = [];
    let received = 0;
    let target: string | undefined;
    try {
      target = admit(collector, header);
    } catch (error) {
      next(error as Error);
      return;
    }
    stream.on('data', (data) => {
      const chunk = data as Buffer;
      received += chunk.length;
      if (target !== undefined) chunks.push(chunk);
    });
    stream.on('end', () => {
      try {
        if (target !== undefined) collector.file(target, Buffer.concat(chunks, received));
        next();
      } catch (error) {
        next(error as Error);
      }
    });
  });
  try {
    const source = createReadStream(path);
    await (gzipped ? pipeline(source, gunzip, meter, archive) : pipeline(source, meter, archive));
    meter.assertEnded();
  } catch (error) {
    if (error instanceof PodpathError) throw error;
    const offset = gzipped
      ? `byte ${gunzip.bytesWritten} of ${sizeBytes}`
      : `byte ${meter.bytes} of ${sizeBytes}`;
    throw broken(path, offset, gzipped, error, entryName);
  }
  return collector.finish();
}

/** The path to keep the entry's content under; undefined: skip it. Throws for what is neither file nor folder. */
function admit(collector: FileCollector, header: Header): string | undefined {
  const path = collector.open(header.name, header.size);
  switch (header.type) {
    case 'file':
    case 'contiguous-file':
      return path;
    case 'directory':
      if (path !== undefined) collector.folder(path);
      return undefined;
    default:
      throw collector.refuse(header.name, `it is no plain file but a ${header.type}`);
  }
}

/** Counts the unpacked bytes and remembers the last two blocks. */
class Meter extends Transform {
  bytes = 0;
  readonly #count: (bytes: number) => void;
  #tail: Buffer = Buffer.alloc(0);

  constructor(count: (bytes: number) => void) {
    super();
    this.#count = count;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.bytes += chunk.length;
    try {
      this.#count(chunk.length);
    } catch (error) {
      done(error as Error);
      return;
    }
    this.#tail = Buffer.concat([this.#tail, chunk.subarray(-2 * block)]).subarray(-2 * block);
    done(null, chunk);
  }

  /** POSIX ends a tar archive with two zero blocks. Without them it was cut off, maybe just between two entries. */
  assertEnded(): void {
    if (this.bytes < 2 * block || this.#tail.some((byte) => byte !== 0))
      throw new Error('Unexpected end of data');
  }
}

function broken(
  path: string,
  offset: string,
  gzipped: boolean,
  error: unknown,
  entry?: string,
): PodpathError {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const cutOff = code === 'Z_BUF_ERROR' || /unexpected end/i.test(message);
  const format = gzipped ? 'gzip' : 'tar';
  const after = entry === undefined ? '' : `, in or after ${JSON.stringify(entry)}`;
  return new PodpathError(
    {
      code: cutOff ? 'snapshot/truncated' : 'snapshot/broken-archive',
      what: cutOff ? 'the snapshot ends too early' : 'the snapshot archive is damaged',
      where: `${path}, ${offset}${after}`,
      why: cutOff
        ? `the ${format} data stops before its end: a copy or download was cut off`
        : `${format} cannot be read here: ${message}`,
      todo: 'Copy the file again and compare sizes or checksums with the original.',
    },
    { cause: error },
  );
}
