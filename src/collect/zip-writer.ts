/** Makes a zip archive (PKWARE APPNOTE 6.3): deflated entries, UTF-8 names, no zip64. */
import { promisify } from 'node:util';
import { crc32, deflateRaw } from 'node:zlib';
import { PodpathError } from '../model/errors.ts';

const deflate = promisify(deflateRaw);

const version = 20; // deflate
const madeByUnix = (3 << 8) | version;
const utf8Names = 1 << 11;
const deflated = 8;
const plainFile = 0o100644;
/** Sizes and counts beyond these need zip64, which this writer leaves to tar.gz. */
const maxBytes = 0xffffffff;
const maxEntries = 0xffff;

export async function makeZip(files: ReadonlyMap<string, string>, modified: Date): Promise<Buffer> {
  if (files.size > maxEntries) throw tooLarge(`${files.size} files are more than ${maxEntries}`);
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, text] of files) {
    const content = Buffer.from(text);
    const packed = await deflate(content);
    const nameBytes = Buffer.from(name);
    const common = commonHeader(content, packed.length, nameBytes.length, modified);
    parts.push(u32(0x04034b50), common, nameBytes, packed);
    directory.push(u32(0x02014b50), u16(madeByUnix), common, centralTail(offset), nameBytes);
    offset += 4 + common.length + nameBytes.length + packed.length;
    if (offset > maxBytes) throw tooLarge('it is larger than 4 GiB');
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = Buffer.concat([
    u32(0x06054b50),
    u32(0), // this disk, disk of the directory
    u16(files.size),
    u16(files.size),
    u32(size),
    u32(offset),
    u16(0), // no comment
  ]);
  return Buffer.concat([...parts, ...directory, end]);
}

/** The fields that the local header and the central directory have in common, in the same order. */
function commonHeader(content: Buffer, packedBytes: number, nameBytes: number, modified: Date): Buffer {
  return Buffer.concat([
    u16(version),
    u16(utf8Names),
    u16(deflated),
    u32(dosTime(modified)),
    u32(crc32(content)),
    u32(packedBytes),
    u32(content.length),
    u16(nameBytes),
    u16(0), // extra field
  ]);
}

const centralTail = (offset: number): Buffer =>
  Buffer.concat([u16(0), u16(0), u16(0), u32(plainFile * 0x10000), u32(offset)]);

/** Two seconds' resolution, from 1980 on; in UTC, as zip knows no zones. */
function dosTime(date: Date): number {
  const year = Math.max(0, date.getUTCFullYear() - 1980);
  const day = (year << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate();
  const time = (date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1);
  return day * 0x10000 + time;
}

function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

const tooLarge = (why: string): PodpathError =>
  new PodpathError({
    code: 'snapshot/not-written',
    what: 'the snapshot does not fit into a zip archive',
    why,
    todo: 'Nothing was written. Use --out NAME.tar.gz.',
  });
