/** Fields in nft's own words, and the JSON that nft gives for each (libnftables-json(5)). */
import type { JsonObject } from '../json.ts';
import type { Lexer } from './lexer.ts';
import { NotUnderstood, skipSign, skipWord, takeName, takeNumber } from './words.ts';

const words = (text: string): ReadonlySet<string> => new Set(text.split(' '));

const headers: Readonly<Record<string, ReadonlySet<string>>> = {
  ether: words('saddr daddr type'),
  vlan: words('id cfi dei pcp type'),
  ip: words('version hdrlength dscp ecn length id frag-off ttl protocol checksum saddr daddr'),
  ip6: words('version dscp ecn flowlabel length nexthdr hoplimit saddr daddr'),
  tcp: words('sport dport sequence ackseq doff reserved flags window checksum urgptr'),
  udp: words('sport dport length checksum'),
  udplite: words('sport dport csumcov length checksum'),
  sctp: words('sport dport vtag checksum'),
  dccp: words('sport dport type'),
  th: words('sport dport'),
  icmp: words('type code checksum id sequence gateway mtu'),
  icmpv6: words('type code checksum parameter-problem packet-too-big id sequence max-delay mtu taddr daddr'),
  igmp: words('type mrt checksum group'),
  esp: words('spi sequence'),
  ah: words('nexthdr hdrlength reserved spi sequence'),
  comp: words('nexthdr flags cpi'),
  arp: words('htype ptype hlen plen operation'),
  gre: words('version flags protocol'),
};

const extensions: Readonly<Record<string, ReadonlySet<string>>> = {
  hbh: words('nexthdr hdrlength'),
  rt: words('nexthdr hdrlength type seg-left'),
  frag: words('nexthdr reserved frag-off reserved2 more-fragments id'),
  dst: words('nexthdr hdrlength'),
  mh: words('nexthdr hdrlength type reserved checksum'),
  srh: words('last-entry flags tag'),
};

const tcpOptionFields = words('kind length size count left right tsval tsecr');
const ipOptionFields = words('type length value ptr addr');
const chunkFields = words(
  'type flags length init-tag a-rwnd num-outbound-streams num-inbound-streams initial-tsn cum-tsn-ack num-gap-ack-blocks num-dup-tsns lowest-tsn seqno new-cum-tsn tsn stream ssn ppid',
);

/** Keys that nft prints without the word `meta`; other words begin other statements. */
const bareMeta = words(
  'mark iif iifname iiftype oif oifname oiftype skuid skgid nftrace rtclassid ibrname obrname ibriport obriport pkttype cpu iifgroup oifgroup cgroup',
);

const has = (table: Readonly<Record<string, ReadonlySet<string>>>, name: string, field: string): boolean =>
  Object.hasOwn(table, name) && table[name]?.has(field) === true;

/** The field that begins here; undefined where none does: `tcp` alone is a protocol's name. */
export function readField(lexer: Lexer): JsonObject | undefined {
  const token = lexer.peek();
  if (token.kind === 'raw') {
    const [base = '', offset, length] = lexer.next().text.slice(1).split(',');
    return { payload: { base, offset: Number(offset), len: Number(length) } };
  }
  if (token.kind !== 'word') return undefined;
  const after = lexer.peek(1);
  const next = after.kind === 'word' ? after.text : '';
  const { text } = token;
  if (has(headers, text, next))
    return twoWords(lexer, (protocol, field) => ({ payload: { protocol, field } }));
  if (has(extensions, text, next)) return twoWords(lexer, (name, field) => ({ exthdr: { name, field } }));
  if (text === 'meta') return meta(lexer);
  if (bareMeta.has(text)) return { meta: { key: lexer.next().text } };
  const reader = Object.hasOwn(readers, text) ? readers[text] : undefined;
  return reader?.(lexer, next);
}

function twoWords(lexer: Lexer, make: (first: string, second: string) => JsonObject): JsonObject {
  const first = lexer.next().text;
  return make(first, lexer.next().text);
}

function meta(lexer: Lexer): JsonObject {
  lexer.next();
  return { meta: { key: takeName(lexer, 'a key of meta') } };
}

type Reader = (lexer: Lexer, next: string) => JsonObject | undefined;

const readers: Readonly<Record<string, Reader>> = {
  ct: (lexer, next) => (next === '' ? undefined : ct(lexer)),
  fib: (lexer) => fib(lexer),
  rt: (lexer, next) =>
    ['classid', 'nexthop', 'mtu', 'ipsec', 'ip', 'ip6'].includes(next) ? rt(lexer) : undefined,
  tcp: (lexer, next) => (next === 'option' ? option(lexer, 'tcp option', tcpOptionFields) : undefined),
  ip: (lexer, next) => (next === 'option' ? option(lexer, 'ip option', ipOptionFields) : undefined),
  sctp: (lexer, next) => (next === 'chunk' ? option(lexer, 'sctp chunk', chunkFields) : undefined),
  dccp: (lexer, next) => (next === 'option' ? dccpOption(lexer) : undefined),
  arp: (lexer, next) => (next === 'saddr' || next === 'daddr' ? arpAddress(lexer) : undefined),
  exthdr: (lexer, next) => (next === '' ? undefined : twoWords(lexer, (_, name) => ({ exthdr: { name } }))),
  socket: (lexer, next) => (next === '' ? undefined : socket(lexer)),
  osf: (lexer) => osf(lexer),
  ipsec: (lexer, next) => (next === 'in' || next === 'out' ? ipsec(lexer) : undefined),
  numgen: (lexer) => numgen(lexer),
  symhash: (lexer) => symhash(lexer),
};

/** `ct state`, `ct original ip saddr`; before version 1 `ct original saddr`. */
function ct(lexer: Lexer): JsonObject {
  lexer.next();
  const first = takeName(lexer, 'a key of ct');
  const dir = first === 'original' || first === 'reply' ? first : undefined;
  const key = dir === undefined ? first : takeName(lexer, 'a key of ct');
  const whole = key === 'ip' || key === 'ip6' ? `${key} ${takeName(lexer, 'saddr or daddr')}` : key;
  return { ct: { key: whole, ...(dir === undefined ? {} : { dir }) } };
}

function fib(lexer: Lexer): JsonObject {
  lexer.next();
  const flags = [takeName(lexer, 'saddr or daddr')];
  while (skipSign(lexer, '.')) flags.push(takeName(lexer, 'a flag of fib'));
  const token = lexer.peek();
  const result = takeName(lexer, 'type, oif or oifname');
  if (!['type', 'oif', 'oifname'].includes(result)) throw new NotUnderstood(token, 'type, oif or oifname');
  return { fib: { result, flags } };
}

function rt(lexer: Lexer): JsonObject {
  lexer.next();
  const first = takeName(lexer);
  if (first !== 'ip' && first !== 'ip6') return { rt: { key: first } };
  return { rt: { key: takeName(lexer), family: first } };
}

function option(lexer: Lexer, kind: string, fields: ReadonlySet<string>): JsonObject {
  lexer.next();
  lexer.next();
  const token = lexer.peek();
  if (token.kind !== 'word') throw new NotUnderstood(token, `a name of ${kind}`);
  const name = lexer.next().text;
  const after = lexer.peek();
  return after.kind === 'word' && fields.has(after.text)
    ? { [kind]: { name, field: lexer.next().text } }
    : { [kind]: { name } };
}

function dccpOption(lexer: Lexer): JsonObject {
  lexer.next();
  lexer.next();
  return { 'dccp option': { type: takeNumber(lexer) } };
}

function arpAddress(lexer: Lexer): JsonObject {
  lexer.next();
  const side = lexer.next().text;
  return { payload: { protocol: 'arp', field: `${side} ${takeName(lexer, 'ip or ether')}` } };
}

function socket(lexer: Lexer): JsonObject {
  lexer.next();
  const key = takeName(lexer);
  if (key !== 'cgroupv2') return { socket: { key } };
  if (!skipWord(lexer, 'level')) throw new NotUnderstood(lexer.peek(), 'level');
  return { socket: { key, level: takeNumber(lexer) } };
}

function osf(lexer: Lexer): JsonObject {
  lexer.next();
  const ttl = skipWord(lexer, 'ttl') ? takeName(lexer) : undefined;
  return { osf: { key: takeName(lexer), ...(ttl === undefined ? {} : { ttl }) } };
}

function ipsec(lexer: Lexer): JsonObject {
  lexer.next();
  const dir = lexer.next().text;
  const spnum = skipWord(lexer, 'spnum') ? takeNumber(lexer) : 0;
  const first = takeName(lexer);
  const family = first === 'ip' || first === 'ip6' ? first : undefined;
  const key = family === undefined ? first : takeName(lexer);
  return { ipsec: { key, ...(family === undefined ? {} : { family }), dir, spnum } };
}

function numgen(lexer: Lexer): JsonObject {
  lexer.next();
  const mode = takeName(lexer, 'inc or random');
  return { numgen: { mode, ...spread(lexer), ...{ offset: takeOffset(lexer) ?? 0 } } };
}

function symhash(lexer: Lexer): JsonObject {
  lexer.next();
  const { mod } = spread(lexer);
  const offset = takeOffset(lexer);
  return { symhash: { mod, ...(offset === undefined ? {} : { offset }) } };
}

export function spread(lexer: Lexer): { readonly mod: number } {
  if (!skipWord(lexer, 'mod')) throw new NotUnderstood(lexer.peek(), 'mod');
  return { mod: takeNumber(lexer) };
}

export const takeOffset = (lexer: Lexer): number | undefined =>
  skipWord(lexer, 'offset') ? takeNumber(lexer) : undefined;
