/** Statements of nft's JSON. Statements that only look or count are left out: the rule decides the same without them. */
import type { Match } from '../../model/netfilter.ts';
import type { NftExpr, NftOp, NftStatement } from '../../model/nft.ts';
import { asString, asStrings, entryText, isObject, type JsonObject } from '../json.ts';
import { readExpression, readSetUse, readVerdict } from './expression.ts';
import { notUnderstood, statementOfText } from './text-statement.ts';

/** The statements of a rule in a table of `family`, up to the last one that has an effect. */
export function readStatements(json: readonly unknown[], family: string): readonly NftStatement[] {
  const statements = json.flatMap((entry) => readStatement(entry, family) ?? []);
  const last = statements.findLastIndex(hasEffect);
  return statements.slice(0, last + 1);
}

/** The conditions behind that statement: whether the whole rule matched is asked only where a path is recorded. */
export function readTrailing(json: readonly unknown[], family: string): readonly NftStatement[] {
  const statements = json.flatMap((entry) => readStatement(entry, family) ?? []);
  return statements.slice(statements.findLastIndex(hasEffect) + 1);
}

/** A condition at the end of a rule decides nothing: kube-router limits and logs that way. */
const hasEffect = ({ kind }: NftStatement): boolean => kind !== 'match' && kind !== 'rate';

const unknownStatement = (json: unknown, why: string): NftStatement => ({
  kind: 'unknown',
  text: entryText(json),
  why,
});

/** Look, count, or prepare something that never decides about this packet. */
const looksOnly: ReadonlySet<string> = new Set([
  'counter',
  'log',
  'comment',
  'last',
  'dup',
  'flow',
  'secmark',
  'ct helper',
  'ct timeout',
  'ct expectation',
  'tunnel',
]);
const rates: ReadonlySet<string> = new Set(['limit', 'quota', 'ct count', 'connlimit', 'meter']);

/** Undefined for statements without effect. */
function readStatement(json: unknown, family: string): NftStatement | undefined {
  if (typeof json === 'string') return readStatement(statementOfText(json), family);
  if (!isObject(json)) return unknownStatement(json, 'not a statement');
  const [name, value] = Object.entries(json)[0] ?? [''];
  const verdict = readVerdict(json);
  if (verdict !== undefined) return { kind: 'verdict', verdict };
  if (name === undefined || looksOnly.has(name)) return undefined;
  if (rates.has(name)) return { kind: 'rate', text: entryText(json) };
  switch (name) {
    case 'match':
      return isObject(value) ? readMatch(value, json) : unknownStatement(json, 'a match without operands');
    case 'vmap': {
      const data = isObject(value) ? readSetUse(value.data) : undefined;
      return !isObject(value) || data === undefined
        ? unknownStatement(json, 'a verdict map without data')
        : { kind: 'vmap', key: readExpression(value.key), data };
    }
    case 'reject':
      return readReject(value, family);
    case 'mangle':
      return isObject(value) ? readMangle(value, json) : unknownStatement(json, 'a mangle without a key');
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
      return readNat(name, value);
    case 'notrack':
      return { kind: 'notrack' };
    case 'set':
    case 'map':
      return readSetUpdate(value, json);
    case 'xt':
      return readXt(value, json);
    case notUnderstood:
      return { kind: 'unknown', text: asString(value) ?? '', why: 'it is not understood' };
    default:
      return unknownStatement(json, `the statement "${name}" is not understood`);
  }
}

const ops: readonly NftOp[] = ['==', '!=', '<', '>', '<=', '>=', 'in', '!'];

function readMatch(value: JsonObject, json: unknown): NftStatement {
  const op = ops.find((known) => known === value.op);
  if (op === undefined) return unknownStatement(json, `the operator "${String(value.op)}" is not understood`);
  return { kind: 'match', op, left: readExpression(value.left), right: readExpression(value.right) };
}

/** Without more it is a port unreachable of the table's family. */
function readReject(value: unknown, family: string): NftStatement {
  const usual = family === 'ip' ? 'icmp' : family === 'ip6' ? 'icmpv6' : 'icmpx';
  if (!isObject(value)) return { kind: 'reject', type: usual, code: 'port-unreachable' };
  const type = asString(value.type) ?? usual;
  return { kind: 'reject', type, code: asString(value.expr) ?? 'port-unreachable' };
}

const headerFields = ['ttl', 'hoplimit', 'dscp', 'ecn'] as const;

/** Of what a rule can write, marks, addresses and the fields of the IP header decide where packets go; MSS, priority and tracing do not. */
function readMangle(value: JsonObject, json: unknown): NftStatement | undefined {
  const key = readExpression(value.key);
  if (key.kind === 'meta') {
    if (key.key === 'mark') return { kind: 'set-mark', value: readExpression(value.value) };
    return ['priority', 'nftrace'].includes(key.key)
      ? undefined
      : unknownStatement(json, 'it rewrites metadata');
  }
  if (key.kind === 'ct')
    return key.key === 'mark'
      ? { kind: 'set-ct-mark', value: readExpression(value.value) }
      : ['label', 'helper', 'event', 'secmark'].includes(key.key)
        ? undefined
        : unknownStatement(json, `it sets the connection's ${key.key}`);
  if (key.kind === 'payload' && (key.protocol === 'ip' || key.protocol === 'ip6')) {
    const field = headerFields.find((name) => name === key.field);
    if (field !== undefined)
      return { kind: 'set-header', protocol: key.protocol, field, value: readExpression(value.value) };
  }
  if (key.kind === 'payload' && ['flowlabel', 'checksum'].includes(key.field)) return undefined;
  if (isObject(value.key) && 'tcp option' in value.key) return undefined;
  return unknownStatement(json, 'it rewrites the packet');
}

function readNat(how: 'dnat' | 'snat' | 'masquerade' | 'redirect', value: unknown): NftStatement {
  if (!isObject(value)) return { kind: 'nat', how };
  const family = asString(value.family);
  const flags = typeof value.flags === 'string' ? [value.flags] : asStrings(value.flags);
  return {
    kind: 'nat',
    how,
    ...(family === undefined ? {} : { family }),
    ...(value.addr === undefined ? {} : { address: readExpression(value.addr) }),
    ...(value.port === undefined ? {} : { port: readExpression(value.port) }),
    ...(flags.includes('random') || flags.includes('fully-random') ? { random: true } : {}),
  };
}

/** Adding to a set goes on, unless the element carries a limit of its own. */
function readSetUpdate(value: unknown, json: unknown): NftStatement | undefined {
  const nested = isObject(value) ? value.stmt : undefined;
  const limits = (Array.isArray(nested) ? nested : []).some(
    (statement) => isObject(statement) && Object.keys(statement).some((name) => rates.has(name)),
  );
  if (limits) return { kind: 'rate', text: entryText(json) };
  const [op, set] = isObject(value) ? [asString(value.op), asString(value.set) ?? asString(value.map)] : [];
  if (!isObject(value) || op === undefined || set === undefined)
    return unknownStatement(json, 'it changes a set');
  const key = readExpression(value.elem);
  return { kind: 'update-set', set: set.replace(/^@/, ''), how: op === 'delete' ? 'delete' : 'add', key };
}

/** An iptables extension that has no native form: nft prints its name and nothing of its options. */
function readXt(value: unknown, json: unknown): NftStatement | undefined {
  const name = isObject(value) ? asString(value.name) : undefined;
  const type = isObject(value) ? asString(value.type) : undefined;
  if (name === 'comment' || name === 'LOG' || name === 'NFLOG' || name === 'TRACE' || name === 'TCPMSS')
    return undefined;
  if (type === 'match') {
    const unseen: NftExpr = { kind: 'unknown', text: `-m ${name ?? '?'} (nft does not print its options)` };
    return { kind: 'match', op: '==', left: unseen, right: { kind: 'constant', value: true } };
  }
  if (name === 'MASQUERADE') return { kind: 'nat', how: 'masquerade' };
  return unknownStatement(json, 'nft does not print the options of iptables extensions');
}

/** The matches of a rule in the words of iptables rules. */
export function matchesOf(statements: readonly NftStatement[]): readonly { readonly kind: Match['kind'] }[] {
  return statements.flatMap((statement) => {
    if (statement.kind === 'rate') return [{ kind: 'rate' as const }];
    if (statement.kind === 'match') return fieldsOf(statement.left);
    return statement.kind === 'vmap' ? fieldsOf(statement.key) : [];
  });
}

function fieldsOf(expression: NftExpr): readonly { readonly kind: Match['kind'] }[] {
  switch (expression.kind) {
    case 'concat':
      return expression.parts.flatMap(fieldsOf);
    case 'binary':
      return fieldsOf(expression.left);
    case 'payload':
      if (expression.field === 'saddr' || expression.field === 'daddr') return [{ kind: 'address' }];
      if (expression.field === 'sport' || expression.field === 'dport') return [{ kind: 'port' }];
      if (expression.protocol.startsWith('icmp')) return [{ kind: 'icmp-type' }];
      return [{ kind: expression.protocol === 'tcp' ? 'tcp-flags' : 'protocol' }];
    case 'meta':
      return [{ kind: metaKinds[expression.key] ?? 'always' }];
    case 'ct':
      return [{ kind: expression.key === 'mark' ? 'connmark' : 'ct-state' }];
    case 'fib':
      return [{ kind: 'addrtype' }];
    case 'spread':
      return [{ kind: 'statistic' }];
    default:
      return [{ kind: 'unknown' }];
  }
}

const metaKinds: Readonly<Record<string, Match['kind']>> = {
  l4proto: 'protocol',
  mark: 'mark',
  iifname: 'device',
  oifname: 'device',
  iif: 'device',
  oif: 'device',
  length: 'length',
};
