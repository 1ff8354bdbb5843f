/** What one snapshot may hold. Archives come from strangers: a small file must not fill the memory. */
import { PodpathError } from '../model/errors.ts';

export interface Limits {
  readonly maxEntries: number;
  readonly maxEntryBytes: number;
  readonly maxTotalBytes: number;
  /** Unpacked to packed size, looked at once more than `ratioFromBytes` are unpacked. */
  readonly maxRatio: number;
  readonly ratioFromBytes: number;
}

const MiB = 1024 * 1024;

/**
 * A 5,000-node cluster with 20 files a namespace stays below these. Real snapshots pack about 20:1, rule dumps up to
 * 60:1; deflate's own ceiling, which bombs go for, is 1032:1.
 */
export const defaultLimits: Limits = {
  maxEntries: 200_000,
  maxEntryBytes: 256 * MiB,
  maxTotalBytes: 2048 * MiB,
  maxRatio: 200,
  ratioFromBytes: 64 * MiB,
};

/** Counts what was taken in so far; throws PodpathError at the first entry or byte too many. */
export class Budget {
  readonly #archive: string;
  readonly #limits: Limits;
  /** Undefined: nothing is packed, no ratio to look at. */
  readonly #packedBytes: number | undefined;
  #entries = 0;
  #totalBytes = 0;

  constructor(archive: string, limits: Limits, packedBytes?: number) {
    this.#archive = archive;
    this.#limits = limits;
    this.#packedBytes = packedBytes;
  }

  /** One more entry, whose header announces `sizeBytes`. */
  entry(path: string, sizeBytes: number): void {
    this.#entries++;
    const { maxEntries, maxEntryBytes } = this.#limits;
    if (this.#entries > maxEntries) throw this.#tooLarge(`it has more than ${maxEntries} entries`);
    if (sizeBytes > maxEntryBytes)
      throw this.#tooLarge(`${path} is ${sizeBytes} bytes, more than ${maxEntryBytes}`);
  }

  /** `bytes` more of `path` were unpacked; `ofEntry` in all of that entry. Headers and padding count too. */
  bytes(path: string, bytes: number, ofEntry: number): void {
    this.#totalBytes += bytes;
    const { maxEntryBytes, maxTotalBytes, maxRatio, ratioFromBytes } = this.#limits;
    if (ofEntry > maxEntryBytes) throw this.#tooLarge(`${path} is larger than ${maxEntryBytes} bytes`);
    if (this.#totalBytes > maxTotalBytes)
      throw this.#tooLarge(`it unpacks to more than ${maxTotalBytes} bytes`);
    const packed = this.#packedBytes;
    if (packed !== undefined && this.#totalBytes > ratioFromBytes && this.#totalBytes > packed * maxRatio)
      throw this.#tooLarge(
        `${packed} bytes unpack to more than ${maxRatio} times as much, as an archive bomb does`,
      );
  }

  #tooLarge(why: string): PodpathError {
    return new PodpathError({
      code: 'snapshot/too-large',
      what: 'the snapshot is too large to read',
      where: this.#archive,
      why,
      todo: 'Nothing was unpacked to disk. If you trust the file, unpack it yourself and give the directory; else discard it.',
    });
  }
}
