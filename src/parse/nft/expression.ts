/** Expressions of nft's JSON (libnftables-json(5)): fields, constants, sets, maps, arithmetic. */
import type { NftBinaryOp, NftElement, NftExpr, NftSetUse, NftVerdict } from '../../model/nft.ts';
import { asNumber, asString, asStrings, entryText, isObject, type JsonObject } from '../json.ts';

/** Real expressions nest a few levels; only a damaged or hostile file goes deeper. */
const maxDepth = 24;

const unknown = (json: unknown): NftExpr => ({ kind: 'unknown', text: entryText(json) });

export function readExpression(json: unknown, depth = 0): NftExpr {
  if (depth > maxDepth) return { kind: 'unknown', text: '(nested too deep)' };
  const read = (value: unknown): NftExpr => readExpression(value, depth + 1);
  if (typeof json === 'string') return readWord(json);
  if (typeof json === 'number' || typeof json === 'boolean') return { kind: 'constant', value: json };
  if (Array.isArray(json)) return { kind: 'list', items: json.map(read) };
  if (!isObject(json)) return unknown(json);
  const entries = Object.entries(json);
  const [name, value] = entries[0] ?? ['', undefined];
  if (entries.length !== 1) return unknown(json);
  if (isBinaryOp(name)) return readBinary(name, value, json, read);
  if (Array.isArray(value)) return readListLike(name, value, json, depth);
  return isObject(value) ? readField(name, value, json, depth) : unknown(json);
}

const readWord = (word: string): NftExpr => {
  if (word === '*') return { kind: 'any' };
  if (word.startsWith('@')) return { kind: 'set-ref', name: word.slice(1) };
  // Types whose values nft has no names for here are printed as text.
  if (/^(?:0|[1-9]\d{0,14})$/.test(word)) return { kind: 'constant', value: Number(word) };
  return { kind: 'constant', value: word };
};

const binaryOps: readonly string[] = ['&', '|', '^', '<<', '>>'];
const isBinaryOp = (name: string): name is NftBinaryOp => binaryOps.includes(name);

/** `{"|": [a, b, c]}`: newer versions give more than two operands. */
function readBinary(
  op: NftBinaryOp,
  operands: unknown,
  json: unknown,
  read: (value: unknown) => NftExpr,
): NftExpr {
  if (!Array.isArray(operands) || operands.length < 2) return unknown(json);
  const [first, ...rest] = operands.map(read);
  if (first === undefined) return unknown(json);
  return rest.reduce((left, right): NftExpr => ({ kind: 'binary', op, left, right }), first);
}

function readListLike(name: string, value: readonly unknown[], json: unknown, depth: number): NftExpr {
  const read = (item: unknown): NftExpr => readExpression(item, depth + 1);
  switch (name) {
    case 'concat':
      return { kind: 'concat', parts: value.map(read) };
    case 'set':
      return { kind: 'set', set: { name: '', elements: readElements(value, depth + 1) } };
    case 'range': {
      const [from, to] = value.map(read);
      return from === undefined || to === undefined ? unknown(json) : { kind: 'range', from, to };
    }
    default:
      return unknown(json);
  }
}

function readField(name: string, value: JsonObject, json: unknown, depth: number): NftExpr {
  switch (name) {
    case 'payload':
      return readPayload(value, json);
    case 'meta': {
      const key = asString(value.key);
      return key === undefined ? unknown(json) : { kind: 'meta', key };
    }
    case 'ct':
      return readCt(value, json);
    case 'fib': {
      const result = asString(value.result);
      const { flags } = value;
      return result === undefined
        ? unknown(json)
        : { kind: 'fib', result, flags: typeof flags === 'string' ? [flags] : asStrings(flags) };
    }
    case 'prefix': {
      const length = asNumber(value.len);
      return length === undefined
        ? unknown(json)
        : { kind: 'prefix', address: readExpression(value.addr, depth + 1), length };
    }
    case 'elem':
      return readExpression(value.val, depth + 1);
    case 'map': {
      const data = readSetUse(value.data, depth + 1);
      return data === undefined
        ? unknown(json)
        : { kind: 'map', key: readExpression(value.key, depth + 1), data };
    }
    case 'numgen':
    case 'jhash':
    case 'symhash': {
      const modulus = asNumber(value.mod);
      if (modulus === undefined || modulus < 1) return unknown(json);
      const seed = name === 'jhash' ? asNumber(value.seed) : undefined;
      return {
        kind: 'spread',
        modulus,
        offset: asNumber(value.offset) ?? 0,
        ...(seed === undefined ? {} : { jhash: { key: readExpression(value.expr, depth + 1), seed } }),
      };
    }
    default:
      return unknown(json);
  }
}

function readPayload(value: JsonObject, json: unknown): NftExpr {
  const [protocol, field] = [asString(value.protocol), asString(value.field)];
  if (protocol !== undefined && field !== undefined) return { kind: 'payload', protocol, field };
  const [base, offsetBits, lengthBits] = [asString(value.base), asNumber(value.offset), asNumber(value.len)];
  return base === undefined || offsetBits === undefined || lengthBits === undefined
    ? unknown(json)
    : { kind: 'raw-payload', base, offsetBits, lengthBits };
}

function readCt(value: JsonObject, json: unknown): NftExpr {
  const key = asString(value.key);
  const direction = asString(value.dir);
  if (key === undefined) return unknown(json);
  if (direction === undefined) return { kind: 'ct', key };
  return direction === 'original' || direction === 'reply' ? { kind: 'ct', key, direction } : unknown(json);
}

/** `@name`, or a set written out; undefined for anything else. */
export function readSetUse(json: unknown, depth = 0): NftSetUse | undefined {
  const read = readExpression(json, depth);
  return read.kind === 'set' || read.kind === 'set-ref' ? read : undefined;
}

/** A list of keys, or of `[key, value]` pairs; each key may be wrapped in `elem` with a comment, counters, timeouts. */
export function readElements(json: unknown, depth = 0): NftElement[] {
  if (json === undefined || json === null) return [];
  const items: readonly unknown[] = Array.isArray(json) ? json : [json];
  return items.map((item) => readElement(item, depth));
}

function readElement(item: unknown, depth: number): NftElement {
  if (!Array.isArray(item)) return { key: readExpression(item, depth), ...commentOf(item) };
  const [key, data] = item as readonly unknown[];
  const verdict = readVerdict(data);
  return {
    key: readExpression(key, depth),
    ...(verdict === undefined ? { value: readExpression(data, depth) } : { verdict }),
    ...commentOf(key),
  };
}

function commentOf(key: unknown): { comment?: string } {
  const elem = isObject(key) && isObject(key.elem) ? asString(key.elem.comment) : undefined;
  return elem === undefined ? {} : { comment: elem };
}

/** Undefined where the JSON is no verdict at all. */
export function readVerdict(json: unknown): NftVerdict | undefined {
  if (!isObject(json)) return undefined;
  const [name, value] = Object.entries(json)[0] ?? [''];
  switch (name) {
    case 'accept':
    case 'drop':
    case 'return':
    case 'continue':
      return { kind: name };
    case 'jump':
    case 'goto': {
      const chain = isObject(value) ? asString(value.target) : undefined;
      return chain === undefined ? { kind: 'unknown', text: entryText(json) } : { kind: name, chain };
    }
    case 'queue':
      return { kind: 'unknown', text: entryText(json) };
    default:
      return undefined;
  }
}
