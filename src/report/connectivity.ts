/** What every format of `policy list` shares: connections folded into rows, and what is said beside them. */
import { type Connection, type Party, partyText } from '../model/connectivity.ts';
import { type Address, addressBits, formatAddress } from '../net/address.ts';
import { formatPrefix, makePrefix, parsePrefix } from '../net/prefix.ts';

export interface ConnectivityReport {
  /** Connections of one pair follow one another. Read once. */
  readonly connections: Iterable<Connection>;
  /** How the policies were read: the dialect and its choices, and what they rest on. */
  readonly reading: Readonly<Record<string, string | boolean | readonly string[]>>;
  /** Parts of the input that the answer is without. */
  readonly problems: readonly ConnectivityProblem[];
  /** Remarks that hold for the whole answer. */
  readonly notes: readonly string[];
}

export interface ConnectivityProblem {
  readonly text: string;
  readonly file?: string;
  /** 1-based. */
  readonly line?: number;
  /** 1-based. */
  readonly column?: number;
  readonly field?: string;
}

/** `netpols.yaml:12: NetworkPolicy shop/web: spec.ingress[0] ...` */
export const problemText = ({ file, line, text }: ConnectivityProblem): string =>
  `${file === undefined ? '' : `${file}${line === undefined ? '' : `:${line}`}: `}${text}`;

/** One pair with all its ports of one verdict. */
export interface ConnectivityRow {
  readonly src: Party;
  readonly dst: Party;
  /** `TCP 80,443; UDP 53`, or `everything` for all ports of TCP, UDP and SCTP. */
  readonly ports: string;
  readonly verdict: Connection['verdict'];
  readonly why: string;
}

/** Folds the lines of one pair that differ in their protocol only. */
export function* rowsOf(connections: Iterable<Connection>): Generator<ConnectivityRow> {
  let open: Connection[] = [];
  for (const connection of connections) {
    const [first] = open;
    if (first !== undefined && !(samePair(first, connection) && open.length < maxLinesOfPair)) {
      yield* pairRows(open);
      open = [];
    }
    open.push(connection);
  }
  yield* pairRows(open);
}

/** Four protocols with two verdicts. */
const maxLinesOfPair = 8;

const sameParty = (a: Party, b: Party): boolean => a === b || partyText(a) === partyText(b);
const samePair = (a: Connection, b: Connection): boolean =>
  sameParty(a.src, b.src) && sameParty(a.dst, b.dst);

function* pairRows(connections: readonly Connection[]): Generator<ConnectivityRow> {
  for (const verdict of ['allow', 'conditional'] as const) {
    const reasons = new Map<string, Connection[]>();
    for (const connection of connections) {
      if (connection.verdict !== verdict) continue;
      const list = reasons.get(connection.why ?? '') ?? [];
      reasons.set(connection.why ?? '', list);
      list.push(connection);
    }
    for (const [why, list] of reasons) {
      const [first] = list;
      if (first !== undefined) yield { src: first.src, dst: first.dst, ports: portsText(list), verdict, why };
    }
  }
}

function portsText(connections: readonly Connection[]): string {
  const whole = new Set(connections.filter(({ ports }) => ports === 'all').map(({ protocol }) => protocol));
  const everything = (['TCP', 'UDP', 'SCTP'] as const).every((protocol) => whole.has(protocol));
  const rest = connections.filter(({ protocol }) => !everything || protocol === 'ICMP');
  const parts = rest.map(({ protocol, ports }) =>
    ports === 'all' ? (protocol === 'ICMP' ? 'ICMP' : `all ${protocol}`) : `${protocol} ${ports}`,
  );
  return (everything ? ['everything', ...parts] : parts).join('; ');
}

/** Neighbouring prefixes as ranges: `0.0.0.0-9.255.255.255`. A range that is one prefix stays one. */
export function rangeTexts(cidrs: readonly string[]): readonly string[] {
  const ranges = cidrs.flatMap((text) => {
    const prefix = parsePrefix(text);
    if (prefix === undefined) return [];
    const size = 1n << BigInt(addressBits(prefix.family) - prefix.length);
    return [{ family: prefix.family, from: prefix.value, to: prefix.value + size }];
  });
  ranges.sort((a, b) => a.family - b.family || (a.from < b.from ? -1 : 1));
  const joined: { family: Address['family']; from: bigint; to: bigint }[] = [];
  for (const range of ranges) {
    const last = joined.at(-1);
    if (last !== undefined && last.family === range.family && range.from <= last.to) {
      if (range.to > last.to) last.to = range.to;
    } else joined.push({ ...range });
  }
  return joined.map(({ family, from, to }) => {
    const size = to - from;
    const length = addressBits(family) - (size.toString(2).length - 1);
    const isPrefix = (size & (size - 1n)) === 0n && from % size === 0n;
    if (isPrefix) return formatPrefix(makePrefix({ family, value: from }, length));
    return `${formatAddress({ family, value: from })}-${formatAddress({ family, value: to - 1n })}`;
  });
}

/** Names come from manifests of strangers: what would move a terminal's cursor is shown as a question mark. */
export const printable = (text: string): string => text.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, '?');
