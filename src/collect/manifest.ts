/** podpath.json: what a snapshot says about itself. */
import { PodpathError } from '../model/errors.ts';
import type { Gap } from '../model/gap.ts';
import { type Snapshot, snapshotSchema } from '../model/snapshot.ts';

export const manifestFile = 'podpath.json';

export interface Manifest {
  readonly schema: number;
  /** RFC 3339; empty if the file does not say (then `gaps` names it). */
  readonly takenAt: string;
  readonly source: Snapshot['source'];
  readonly gaps: readonly Gap[];
  /** Version line by program, as the collecting host had them. */
  readonly tools: Readonly<Record<string, string>>;
}

export const formatManifest = (manifest: Manifest): string => `${JSON.stringify(manifest, null, 1)}\n`;

/** Throws PodpathError if the file is no JSON object or has another schema version. `origin` names the snapshot for people. */
export function parseManifest(text: string, origin: string): Manifest {
  const where = `${origin}: ${manifestFile}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notUnderstood(where + position(text, error), `it is not valid JSON: ${message(error)}`);
  }
  if (!isRecord(value)) throw notUnderstood(where, 'it holds no JSON object');
  if (value.schema !== snapshotSchema) throw wrongSchema(where, value.schema);
  const gaps: Gap[] = listOf(value.gaps).map((gap) => readGap(gap));
  const takenAt = text_(value.takenAt);
  const dated = takenAt !== undefined && !Number.isNaN(Date.parse(takenAt));
  if (!dated)
    gaps.push({
      what: 'when the snapshot was taken',
      where: `${manifestFile}: takenAt`,
      why: takenAt === undefined ? 'it was not recorded' : `${JSON.stringify(takenAt)} is no RFC 3339 time`,
      todo: 'ask whoever took it; nothing else depends on it',
    });
  const source = isRecord(value.source) ? value.source : {};
  const kind = source.kind === 'lab' || source.kind === 'cluster' ? source.kind : 'recorded';
  const tools = isRecord(value.tools) ? value.tools : {};
  return {
    schema: snapshotSchema,
    takenAt: dated ? takenAt : '',
    source: { kind, name: text_(source.name) ?? shortName(origin) },
    gaps,
    tools: Object.fromEntries(Object.entries(tools).map(([tool, version]) => [tool, String(version)])),
  };
}

/** `names` is what is there instead; `denied` why podpath.json, which is there, could not be read. */
export function noManifest(origin: string, names: readonly string[], denied?: string): PodpathError {
  if (denied !== undefined)
    return new PodpathError({
      code: 'snapshot/no-permission',
      what: 'the snapshot cannot be read',
      where: origin,
      why: `${manifestFile}: ${denied}`,
      todo: 'Make it readable or run podpath as its owner.',
    });
  const some = `${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;
  return new PodpathError({
    code: 'snapshot/not-a-snapshot',
    what: 'not a podpath snapshot',
    where: origin,
    why: names.length === 0 ? 'it is empty' : `it has no ${manifestFile} (it holds ${some})`,
    todo: 'Give the directory or archive that `podpath snapshot collect` wrote.',
  });
}

/** `/tmp/a/healthy.tar.gz` -> `healthy` */
const shortName = (origin: string): string =>
  (origin.split('/').filter(Boolean).at(-1) ?? origin).replace(/\.(tar\.gz|tgz|tar|zip)$/i, '');

function readGap(value: unknown): Gap {
  const gap = isRecord(value) ? value : {};
  const plain = typeof value === 'string' ? value : JSON.stringify(value);
  return {
    what: text_(gap.what) ?? plain,
    where: text_(gap.where) ?? manifestFile,
    why: text_(gap.why) ?? 'the collecting program gave no reason',
    todo: text_(gap.todo) ?? 'collect the snapshot again',
  };
}

function wrongSchema(where: string, found: unknown): PodpathError {
  const newer = typeof found === 'number' && found > snapshotSchema;
  return new PodpathError({
    code: 'snapshot/unknown-schema',
    what: 'the snapshot has a layout that this podpath does not know',
    where: `${where}: schema`,
    why:
      found === undefined
        ? 'it names no schema version'
        : `its schema version is ${JSON.stringify(found)}, this podpath reads ${snapshotSchema}`,
    todo: newer
      ? 'Use the newer podpath that wrote it.'
      : 'Collect it again with `podpath snapshot collect`.',
  });
}

const notUnderstood = (where: string, why: string): PodpathError =>
  new PodpathError({
    code: 'snapshot/bad-manifest',
    what: 'the snapshot cannot be read',
    where,
    why,
    todo: 'Take the file from an undamaged copy, or collect the snapshot again.',
  });

/** `:3:14`, line and column where JSON.parse stopped; V8 tells the offset in its message. */
function position(text: string, error: unknown): string {
  const offset = /position (\d+)/.exec(message(error))?.[1];
  const before = text.slice(0, offset === undefined ? text.length : Number(offset));
  const line = before.split('\n').length;
  return `:${line}:${before.length - before.lastIndexOf('\n')}`;
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);
const text_ = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;
