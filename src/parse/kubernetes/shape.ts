/**
 * Reading API objects whose shape cannot be trusted. Readers take a value and its field path, and throw Mismatch, which
 * `readItems` turns into one line of `problems`. As in the API server's decoding, null is the same as absent.
 */
import type { Labels } from '../../model/cluster.ts';
import { type Address, parseAddress } from '../../net/address.ts';
import { type Prefix, parsePrefix } from '../../net/prefix.ts';
import { describe, isObject, type JsonObject } from '../json.ts';

export class Mismatch extends Error {
  readonly field: string;
  readonly why: string;
  constructor(field: string, why: string) {
    super(`${field} ${why}`);
    this.name = 'Mismatch';
    this.field = field;
    this.why = why;
  }
}

const wrong = (value: unknown, field: string, expected: string): never => {
  throw new Mismatch(field, `must be ${expected}, is ${describe(value)}`);
};

const absent = (value: unknown): value is null | undefined => value === undefined || value === null;

export const object = (value: unknown, field: string): JsonObject =>
  isObject(value) ? value : wrong(value, field, 'an object');

/** For objects that are filled in step by step. */
export type Writable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * Field paths that end up in values are shared: a hundred thousand policies have the same few. The limit is for hostile input; paths
 * beyond it are made anew.
 */
const paths = new Map<string, Map<string | number, string>>();
const pathLimit = 10_000;
let pathCount = 0;

/** `spec.ports[0]` */
export const itemPath = (path: string, index: number): string => pathOf(path, index);

/** `spec.ports` */
export const partPath = (path: string, key: string): string => pathOf(path, key);

function pathOf(path: string, part: string | number): string {
  let parts = paths.get(path);
  const known = parts?.get(part);
  if (known !== undefined) return known;
  const made = typeof part === 'number' ? `${path}[${part}]` : `${path}.${part}`;
  if (pathCount >= pathLimit) return made;
  if (parts === undefined) {
    parts = new Map();
    paths.set(path, parts);
  }
  parts.set(part, made);
  pathCount++;
  return made;
}

/** Empty where absent. */
export const objectOrEmpty = (value: unknown, field: string): JsonObject =>
  absent(value) ? {} : object(value, field);

/** Empty where absent. */
export const list = (value: unknown, field: string): readonly unknown[] =>
  absent(value) ? [] : Array.isArray(value) ? (value as readonly unknown[]) : wrong(value, field, 'a list');

/** Each item with its own path, `spec.ports[0]`. */
export const each = <T>(value: unknown, field: string, read: (item: unknown, field: string) => T): T[] =>
  list(value, field).map((item, i) => read(item, `${field}[${i}]`));

/**
 * As `eachObject`, for objects by the thousand: readers get the empty path and add to it (`.ports[0].name`); the path in front is
 * made only where there is something to say.
 */
export function eachInside<T>(value: unknown, field: string, read: (item: JsonObject, field: '') => T): T[] {
  const items = list(value, field);
  const found: T[] = [];
  for (let i = 0; i < items.length; i++) {
    try {
      found.push(read(object(items[i], ''), ''));
    } catch (error) {
      if (!(error instanceof Mismatch) || !/^([.[]|$)/.test(error.field)) throw error;
      throw new Mismatch(`${field}[${i}]${error.field}`, error.why);
    }
  }
  return found;
}

/** As `each` for objects. */
export const eachObject = <T>(
  value: unknown,
  field: string,
  read: (item: JsonObject, field: string) => T,
): T[] => each(value, field, (item, path) => read(object(item, path), path));

export const string = (value: unknown, field: string): string =>
  typeof value === 'string' ? value : wrong(value, field, 'a string');

export const stringOr = (value: unknown, field: string, fallback: string): string =>
  absent(value) ? fallback : string(value, field);

export const optionalString = (value: unknown, field: string): string | undefined =>
  absent(value) ? undefined : string(value, field);

export const boolOr = (value: unknown, field: string, fallback: boolean): boolean =>
  absent(value) ? fallback : typeof value === 'boolean' ? value : wrong(value, field, 'true or false');

export const intOr = (value: unknown, field: string, fallback: number): number =>
  absent(value)
    ? fallback
    : Number.isSafeInteger(value)
      ? (value as number)
      : wrong(value, field, 'a whole number');

export function port(value: unknown, field: string): number {
  const number = intOr(value, field, Number.NaN);
  if (!(number >= 1 && number <= 65535)) throw new Mismatch(field, 'must be a port, 1 to 65535');
  return number;
}

export type ApiProtocol = 'TCP' | 'UDP' | 'SCTP';

/** The API's default is TCP. */
export function protocol(value: unknown, field: string): ApiProtocol {
  const text = stringOr(value, field, 'TCP');
  if (text !== 'TCP' && text !== 'UDP' && text !== 'SCTP')
    throw new Mismatch(field, `must be TCP, UDP or SCTP, is ${JSON.stringify(text)}`);
  return text;
}

/**
 * Maps without Object.prototype: keys come from the cluster. An empty prototype and not none, because V8 keeps objects of
 * Object.create(null) as hash tables, several times the size and slower to read.
 */
const StringMap = function StringMap() {} as unknown as new () => Record<string, string>;
StringMap.prototype = Object.create(null);

const noStrings: Labels = Object.freeze(new StringMap());

/** A map of strings; empty where absent. */
export function labels(value: unknown, field: string): Labels {
  if (absent(value)) return noStrings;
  const raw = object(value, field);
  const found = new StringMap();
  for (const key of Object.keys(raw)) {
    const item = raw[key];
    found[key] = typeof item === 'string' ? item : string(item, `${field}[${JSON.stringify(key)}]`);
  }
  return found;
}

export function address(value: unknown, field: string): Address {
  const text = string(value, field);
  const found = parseAddress(text);
  if (found === undefined) throw new Mismatch(field, `is no address: ${JSON.stringify(text)}`);
  return found;
}

/** Needs the length; host bits are cleared. */
export function cidr(value: unknown, field: string): Prefix {
  const text = string(value, field);
  const found = text.includes('/') ? parsePrefix(text) : undefined;
  if (found === undefined) throw new Mismatch(field, `is no CIDR prefix: ${JSON.stringify(text)}`);
  return found;
}

export interface Metadata {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Labels;
  readonly raw: JsonObject;
}

/** The namespace is `default` where it is left out, as kubectl applies it. Cluster-scoped kinds ignore it. */
export function metadata(item: JsonObject): Metadata {
  const raw = object(item.metadata, 'metadata');
  const name = string(raw.name, 'metadata.name');
  if (name === '') throw new Mismatch('metadata.name', 'is empty');
  return {
    name,
    namespace: stringOr(raw.namespace, 'metadata.namespace', '') || 'default',
    labels: labels(raw.labels, 'metadata.labels'),
    raw,
  };
}

/** The controller among the owners, else the first of them. */
export function owner(meta: JsonObject): { readonly kind: string; readonly name: string } | undefined {
  if (absent(meta.ownerReferences)) return undefined;
  const owners = eachInside(meta.ownerReferences, 'metadata.ownerReferences', (item, field) => ({
    kind: string(item.kind, `${field}.kind`),
    name: string(item.name, `${field}.name`),
    controller: boolOr(item.controller, `${field}.controller`, false),
  }));
  const found = owners.find((candidate) => candidate.controller) ?? owners[0];
  return found && { kind: found.kind, name: found.name };
}
