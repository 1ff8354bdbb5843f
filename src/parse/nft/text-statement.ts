/** Statements in nft's own words, as the JSON that nft gives for them. */
import type { JsonObject } from '../json.ts';
import { type Lexer, lex } from './lexer.ts';
import {
  type Json,
  readExpression,
  readRight,
  readSetUse,
  readVerdict,
  withOptions,
} from './text-expression.ts';
import { readNat, readTproxy } from './text-nat.ts';
import {
  endsRule,
  expectSign,
  expectWord,
  isSign,
  isWord,
  NotUnderstood,
  skipNewlines,
  skipSign,
  skipWord,
  takeFlags,
  takeName,
  takeNumber,
  takeTime,
} from './words.ts';

type Read = (lexer: Lexer, name: string) => JsonObject;

/** Statements by their first word, which has been taken. */
const statements: Readonly<Record<string, Read>> = {
  counter,
  quota,
  limit: (lexer) => ({ limit: limit(lexer) }),
  log,
  reject,
  queue,
  notrack: () => ({ notrack: null }),
  last,
  dnat: readNat,
  snat: readNat,
  masquerade: readNat,
  redirect: readNat,
  tproxy: readTproxy,
  synproxy,
  dup,
  fwd,
  flow,
  meter,
  reset: (lexer) => ({ reset: readExpression(lexer) }),
  add: setUpdate,
  update: setUpdate,
  delete: setUpdate,
};

/** Throws NotUnderstood where it is none. */
export function readStatement(lexer: Lexer): JsonObject {
  const token = lexer.peek();
  if (token.kind === 'xt') {
    lexer.next();
    return extension(token.text);
  }
  const verdict = readVerdict(lexer);
  if (verdict !== undefined) return verdict;
  if (token.kind === 'word' && Object.hasOwn(statements, token.text)) {
    const read = statements[token.text];
    if (read !== undefined) {
      lexer.next();
      return read(lexer, token.text);
    }
  }
  if (isWord(token, 'ct')) return connection(lexer);
  if (isWord(token, 'xt') && isXt(lexer)) return xt(lexer);
  return matchOrMangle(lexer);
}

/** Of a statement that nft has no JSON for: it prints its own words there.  */
export function statementOfText(text: string): JsonObject {
  const lexer = lex(text);
  try {
    const read = readStatement(lexer);
    return lexer.peek().kind === 'end' ? read : { [notUnderstood]: text };
  } catch (error) {
    if (!(error instanceof NotUnderstood)) throw error;
    return { [notUnderstood]: text };
  }
}

/** The key of what stands for words that are not understood. */
export const notUnderstood = 'not understood';

const ops: ReadonlySet<string> = new Set(['==', '!=', '<', '>', '<=', '>=', '!']);
const wordOps: Readonly<Record<string, string>> = {
  eq: '==',
  ne: '!=',
  lt: '<',
  gt: '>',
  le: '<=',
  ge: '>=',
};

function matchOrMangle(lexer: Lexer): JsonObject {
  const start = lexer.peek();
  const left = readExpression(lexer);
  if (typeof left !== 'object' || Array.isArray(left)) throw new NotUnderstood(start, 'a statement');
  if (skipWord(lexer, 'set')) return { mangle: { key: left, value: readRight(lexer) } };
  if (skipWord(lexer, 'vmap')) return { vmap: { key: left, data: readSetUse(lexer) } };
  const told = takeOp(lexer);
  const right = readRight(lexer);
  // `tcp flags syn / syn,ack`: under that mask. An address takes its prefix length before.
  if (skipSign(lexer, '/'))
    return { match: { op: told ?? '==', left: { '&': [left, readRight(lexer)] }, right } };
  return { match: { op: told ?? (isFlags(left) && !isSet(right) ? 'in' : '=='), left, right } };
}

function takeOp(lexer: Lexer): string | undefined {
  const token = lexer.peek();
  if (token.kind === 'sign' && ops.has(token.text)) return lexer.next().text;
  if (token.kind === 'word' && Object.hasOwn(wordOps, token.text)) return wordOps[lexer.next().text];
  return undefined;
}

/** Types whose values are bits: without an operator any of them is asked for. */
function isFlags(left: Json): boolean {
  const text = JSON.stringify(left);
  return flagFields.has(text);
}
const flagFields: ReadonlySet<string> = new Set(
  [
    { payload: { protocol: 'tcp', field: 'flags' } },
    ...['state', 'status', 'label', 'event'].map((key) => ({ ct: { key } })),
  ].map((field) => JSON.stringify(field)),
);

const isSet = (right: Json): boolean =>
  (typeof right === 'string' && right.startsWith('@')) ||
  (typeof right === 'object' && !Array.isArray(right) && 'set' in right);

function counter(lexer: Lexer): JsonObject {
  if (skipWord(lexer, 'name')) {
    const token = lexer.peek();
    return { counter: token.kind === 'string' ? lexer.next().text : readExpression(lexer) };
  }
  if (!skipWord(lexer, 'packets')) return { counter: null };
  const packets = takeNumber(lexer);
  expectWord(lexer, 'bytes');
  return { counter: { packets, bytes: takeNumber(lexer) } };
}

/** Of an object by name: `quota name "q1"`, also by a map. */
function named(lexer: Lexer): Json | undefined {
  if (!skipWord(lexer, 'name')) return undefined;
  return lexer.peek().kind === 'string' ? lexer.next().text : readExpression(lexer);
}

function quota(lexer: Lexer): JsonObject {
  const name = named(lexer);
  if (name !== undefined) return { quota: name };
  const inv = skipWord(lexer, 'over');
  if (!inv) skipWord(lexer, 'until');
  const [val, val_unit] = [takeNumber(lexer), takeName(lexer, 'a unit')];
  const used = skipWord(lexer, 'used') ? { used: takeNumber(lexer), used_unit: takeName(lexer) } : {};
  return { quota: { val, val_unit, ...used, ...(inv ? { inv } : {}) } };
}

/** Five packets are allowed at once where nothing is said; of bytes none (libnftables' limit_stmt_json). */
function limit(lexer: Lexer): Json {
  const name = named(lexer);
  if (name !== undefined) return name;
  expectWord(lexer, 'rate');
  const inv = skipWord(lexer, 'over');
  if (!inv) skipWord(lexer, 'until');
  const rate = takeNumber(lexer);
  const { unit, per } = takeRateUnit(lexer);
  const hasBurst = skipWord(lexer, 'burst');
  const burst = hasBurst ? takeNumber(lexer) : unit === undefined ? 5 : 0;
  const burstUnit = hasBurst ? takeName(lexer, 'a unit') : 'bytes';
  return {
    rate,
    burst,
    per,
    ...(inv ? { inv } : {}),
    ...(unit === undefined ? {} : { rate_unit: unit, burst_unit: burstUnit }),
  };
}

/** `/second`, ` kbytes/second`. */
function takeRateUnit(lexer: Lexer): { readonly unit?: string; readonly per: string } {
  if (skipSign(lexer, '/')) return { per: takeName(lexer, 'a unit of time') };
  const token = lexer.peek();
  const [unit = '', per] = takeName(lexer, 'a unit').split('/');
  if (per === undefined) throw new NotUnderstood(token, 'a unit of time');
  return { unit, per };
}

function log(lexer: Lexer): JsonObject {
  const options: Record<string, unknown> = {};
  for (;;) {
    const token = lexer.peek();
    const name = token.kind === 'word' ? token.text : '';
    if (name === 'prefix' || name === 'level') {
      lexer.next();
      options[name] = takeName(lexer);
    } else if (name === 'group' || name === 'snaplen' || name === 'queue-threshold') {
      lexer.next();
      options[name] = takeNumber(lexer);
    } else if (name === 'flags') {
      lexer.next();
      options.flags = logFlags(lexer);
    } else return { log: Object.keys(options).length === 0 ? null : options };
  }
}

/** `flags tcp sequence,options`, `flags all`. */
function logFlags(lexer: Lexer): readonly string[] {
  const kind = takeName(lexer, 'a flag of log');
  if (kind !== 'tcp' && kind !== 'ip') return [kind];
  const flags = takeFlags(lexer);
  return (typeof flags === 'string' ? [flags] : flags).map((flag) => `${kind} ${flag}`);
}

/** Before version 1: `reject with icmp type host-unreachable`. */
function reject(lexer: Lexer): JsonObject {
  if (!skipWord(lexer, 'with')) return { reject: null };
  const type = takeName(lexer, 'icmp, icmpv6, icmpx or tcp');
  if (type === 'tcp') {
    expectWord(lexer, 'reset');
    return { reject: { type: 'tcp reset' } };
  }
  skipWord(lexer, 'type');
  const token = lexer.peek();
  const expr = token.kind === 'number' ? takeNumber(lexer) : takeName(lexer, 'a code');
  return { reject: { type, expr } };
}

/** `queue num 3-5 bypass,fanout`, `queue flags bypass to 3`. */
function queue(lexer: Lexer): JsonObject {
  const options: Record<string, unknown> = {};
  if (skipWord(lexer, 'flags')) options.flags = takeFlags(lexer);
  if (skipWord(lexer, 'num') || skipWord(lexer, 'to')) options.num = readExpression(lexer);
  const token = lexer.peek();
  if (token.kind === 'word' && (token.text === 'bypass' || token.text === 'fanout'))
    options.flags = takeFlags(lexer);
  return { queue: Object.keys(options).length === 0 ? null : options };
}

function last(lexer: Lexer): JsonObject {
  if (skipWord(lexer, 'used') && !skipWord(lexer, 'never')) {
    lexer.next();
    skipWord(lexer, 'ago');
  }
  return { last: null };
}

function synproxy(lexer: Lexer): JsonObject {
  const name = named(lexer);
  if (name !== undefined) return { synproxy: name };
  const options: Record<string, unknown> = {};
  if (skipWord(lexer, 'mss')) options.mss = takeNumber(lexer);
  if (skipWord(lexer, 'wscale')) options.wscale = takeNumber(lexer);
  const flags = ['timestamp', 'sack-perm'].filter((flag) => skipWord(lexer, flag));
  if (flags.length > 0) options.flags = flags.length === 1 ? flags[0] : flags;
  return { synproxy: Object.keys(options).length === 0 ? null : options };
}

function dup(lexer: Lexer): JsonObject {
  expectWord(lexer, 'to');
  const addr = readExpression(lexer);
  return { dup: { addr, ...(skipWord(lexer, 'device') ? { dev: readExpression(lexer) } : {}) } };
}

/** `fwd to "eth0"`, `fwd ip to 10.0.0.1 device "eth0"`. */
function fwd(lexer: Lexer): JsonObject {
  const token = lexer.peek();
  const family = isWord(token, 'ip') || isWord(token, 'ip6') ? lexer.next().text : undefined;
  expectWord(lexer, 'to');
  const to = readExpression(lexer);
  if (!skipWord(lexer, 'device')) return { fwd: { dev: to } };
  return { fwd: { dev: readExpression(lexer), ...(family === undefined ? {} : { family }), addr: to } };
}

function flow(lexer: Lexer): JsonObject {
  expectWord(lexer, 'add');
  const token = lexer.next();
  if (token.kind !== 'set') throw new NotUnderstood(token, 'a flowtable');
  return { flow: { op: 'add', flowtable: `@${token.text}` } };
}

/** `meter NAME size N { KEY STATEMENT }`. */
function meter(lexer: Lexer): JsonObject {
  const name = takeName(lexer);
  const size = skipWord(lexer, 'size') ? takeNumber(lexer) : undefined;
  expectSign(lexer, '{');
  skipNewlines(lexer);
  const val = readExpression(lexer);
  const key = isWord(lexer.peek(), 'timeout') ? timed(lexer, val) : val;
  const stmt = readStatement(lexer);
  skipNewlines(lexer);
  expectSign(lexer, '}');
  return { meter: { key, stmt, ...(size === undefined ? {} : { size }), name } };
}

function timed(lexer: Lexer, val: Json): Json {
  lexer.next();
  return { elem: { val, timeout: takeTime(lexer) } };
}

/** `add @s { KEY [: VALUE] [STATEMENT] }`: of a map where it has a value. Before version 1: `set add KEY @s`. */
function setUpdate(lexer: Lexer, op: string): JsonObject {
  const token = lexer.next();
  if (token.kind !== 'set') throw new NotUnderstood(token, 'a set');
  expectSign(lexer, '{');
  skipNewlines(lexer);
  const val = readExpression(lexer);
  const key = isWord(lexer.peek(), 'timeout') ? timed(lexer, val) : val;
  const stmt: JsonObject[] = [];
  while (!isSign(lexer.peek(), '}') && !isSign(lexer.peek(), ':') && !endsRule(lexer.peek()))
    stmt.push(readStatement(lexer));
  const told = withOptions(lexer, key);
  const data = skipSign(lexer, ':') ? readExpression(lexer) : undefined;
  skipNewlines(lexer);
  expectSign(lexer, '}');
  const more = stmt.length === 0 ? {} : { stmt };
  return data === undefined
    ? { set: { op, elem: told, set: `@${token.text}`, ...more } }
    : { map: { op, elem: told, data, map: `@${token.text}`, ...more } };
}

/** `ct count`, and objects that a rule gives to the connection; else a field. */
function connection(lexer: Lexer): JsonObject {
  const key = lexer.peek(1).text;
  if (key === 'count') {
    lexer.next();
    lexer.next();
    const inv = skipWord(lexer, 'over');
    return { 'ct count': { val: takeNumber(lexer), ...(inv ? { inv } : {}) } };
  }
  if ((key === 'helper' || key === 'timeout' || key === 'expectation') && isWord(lexer.peek(2), 'set')) {
    for (let i = 0; i < 3; i++) lexer.next();
    const token = lexer.peek();
    return { [`ct ${key}`]: token.kind === 'string' ? lexer.next().text : readExpression(lexer) };
  }
  return matchOrMangle(lexer);
}

const isXt = (lexer: Lexer): boolean => ['match', 'target', 'watcher'].includes(lexer.peek(1).text);

/** `xt match "u32"`. */
function xt(lexer: Lexer): JsonObject {
  lexer.next();
  const type = lexer.next().text;
  return { xt: { type, name: takeName(lexer) } };
}

/** `xt_multiport`: targets of iptables are written in capitals. */
function extension(text: string): JsonObject {
  const name = text.replace(/^(?:xt_|match |target |xt )\s*/i, '');
  return { xt: { type: /^target/i.test(text) || /^[A-Z]/.test(name) ? 'target' : 'match', name } };
}
