/**
 * Expected results of another engine (np-guard/netpol-analyzer) in a form in which both can be compared by meaning: for each ordered
 * pair the set of ports, with the outside's addresses split at every border that either side knows.
 */
import type { Connection, Party } from '../../../src/model/connectivity.ts';
import { partyText } from '../../../src/model/connectivity.ts';
import { parseAddress } from '../../../src/net/address.ts';
import {
  intersectPorts,
  noPorts,
  type PortSet,
  portRange,
  samePorts,
  subtractPorts,
  unionPorts,
} from '../../../src/net/port-set.ts';
import { parsePrefix } from '../../../src/net/prefix.ts';

/** `src => dst` of workloads, or with an address range on one side. The other engine knows IPv4 only. */
export interface Flow {
  readonly src: End;
  readonly dst: End;
  readonly ports: PortSet;
}

/** First and last address. */
type Range = readonly [from: bigint, to: bigint];
type End = string | Range;

const protocols = ['TCP', 'UDP', 'SCTP'] as const;

/** Port 0 is no port that a flow can have. */
const allPorts: PortSet = protocols.reduce<PortSet>(
  (sum, protocol) => unionPorts(sum, portRange(protocol, 1, 65535)),
  noPorts,
);

/** `All Connections`, `No Connections`, `SCTP 1-65535,TCP 80,443,UDP 53`. */
export function portsOfText(text: string): PortSet {
  if (text === 'All Connections') return allPorts;
  if (text === 'No Connections') return noPorts;
  let protocol: (typeof protocols)[number] = 'TCP';
  let ports = noPorts;
  for (const part of text.split(',')) {
    const match = /^(?:(TCP|UDP|SCTP) )?(\d+)(?:-(\d+))?$/.exec(part.trim());
    if (match === null) throw new Error(`no ports: ${text}`);
    protocol = (match[1] ?? protocol) as typeof protocol;
    ports = unionPorts(ports, portRange(protocol, Number(match[2]), Number(match[3] ?? match[2])));
  }
  return ports;
}

/** `ns/name[Kind]` as it is, `a-b[External]` as a range. */
function endOfText(text: string): End {
  const range = /^([0-9.]+)-([0-9.]+)\[External\]$/.exec(text);
  if (range === null) return text;
  const [from, to] = [parseAddress(range[1] ?? ''), parseAddress(range[2] ?? '')];
  if (from === undefined || to === undefined) throw new Error(`no range: ${text}`);
  return [from.value, to.value];
}

const flowOf = (src: string, dst: string, ports: PortSet): Flow => ({
  src: endOfText(src),
  dst: endOfText(dst),
  ports,
});

/** The lines `a => b : conn` of a text output, up to the first line of another part. */
export function flowsOfText(text: string): Flow[] {
  const flows: Flow[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('Exposure Analysis')) break;
    const match = /^(\S+) => (\S+) : (.+)$/.exec(line.trim());
    if (match !== null) flows.push(flowOf(match[1] ?? '', match[2] ?? '', portsOfText(match[3] ?? '')));
  }
  return flows;
}

interface JsonFlow {
  readonly src: string;
  readonly dst: string;
  readonly conn: string;
}

export function flowsOfJson(text: string): Flow[] {
  const value = JSON.parse(text) as readonly JsonFlow[] | { readonly connlist_results: readonly JsonFlow[] };
  const list = 'connlist_results' in value ? value.connlist_results : value;
  return list.map(({ src, dst, conn }) => flowOf(src, dst, portsOfText(conn)));
}

/** Of an explain output what each pair may do: its `Allowed` lines, and the pairs that nothing restricts. */
export function flowsOfExplain(text: string): Flow[] {
  const flows: Flow[] = [];
  let pair: readonly [string, string] | undefined;
  let free = false;
  for (const line of text.split('\n')) {
    if (line.includes('All Connections due to the system default')) free = true;
    const header = /^Connections between (\S+) => (\S+):$/.exec(line);
    if (header !== null) {
      pair = [header[1] ?? '', header[2] ?? ''];
      // A pair of which everything is denied is an answer too.
      flows.push(flowOf(...pair, noPorts));
    }
    const allowed = /^\s*Allowed (.*?) due to /.exec(line);
    if (allowed !== null && pair !== undefined) flows.push(flowOf(...pair, explainedPorts(allowed[1] ?? '')));
    const open = /^(\S+) => (\S+)$/.exec(line.trim());
    if (free && open !== null) flows.push(flowOf(open[1] ?? '', open[2] ?? '', allPorts));
  }
  return flows;
}

/** `TCP:[1-79,81-65535], UDP, SCTP` */
function explainedPorts(text: string): PortSet {
  if (text === 'All Connections') return allPorts;
  let ports = noPorts;
  for (const [, protocol = '', list] of text.matchAll(/(TCP|UDP|SCTP)(?::\[([^\]]*)\])?/g))
    ports = unionPorts(ports, portsOfText(`${protocol} ${list ?? '1-65535'}`));
  return ports;
}

export interface Difference {
  readonly src: End;
  readonly dst: End;
  readonly before: PortSet;
  readonly after: PortSet;
}

/** The changes of a diff output. */
export function changesOfText(text: string): Difference[] {
  const changes: Difference[] = [];
  const pattern =
    /^diff-type: \w+, source: (\S+), destination: (\S+), ref1: (.*?), ref2: (.*?)(?:, workloads-diff-info: .*)?$/;
  for (const line of text.split('\n')) {
    const match = pattern.exec(line.trim());
    if (match === null) continue;
    changes.push({
      src: endOfText(match[1] ?? ''),
      dst: endOfText(match[2] ?? ''),
      before: portsOfText(match[3] ?? ''),
      after: portsOfText(match[4] ?? ''),
    });
  }
  return changes;
}

/** As changesOfText: the fields with commas in them are quoted. */
export function changesOfCsv(text: string): Difference[] {
  return text
    .split('\n')
    .slice(1)
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const cells = [...line.matchAll(/(?:^|,)(?:"([^"]*)"|([^,]*))/g)].map(
        (match) => match[1] ?? match[2] ?? '',
      );
      const [, src = '', dst = '', before = '', after = ''] = cells;
      return {
        src: endOfText(src),
        dst: endOfText(dst),
        before: portsOfText(before),
        after: portsOfText(after),
      };
    });
}

/** Ours in the same form. IPv6 and ICMP are left out, and so is a workload with itself: the other engine has none of them. */
export function ownFlows(connections: Iterable<Connection>): Flow[] {
  const flows: Flow[] = [];
  for (const { src, dst, protocol, ports, verdict } of connections) {
    if (verdict !== 'allow' || protocol === 'ICMP') continue;
    const [from, to] = [endOfParty(src), endOfParty(dst)];
    if (from === undefined || to === undefined || from === to) continue;
    const set = ports === 'all' ? portRange(protocol, 1, 65535) : portsOfText(`${protocol} ${ports}`);
    flows.push({ src: from, dst: to, ports: intersectPorts(set, allPorts) });
  }
  return flows;
}

function endOfParty(party: Party): End | undefined {
  if ('cidr' in party) {
    const prefix = parsePrefix(party.cidr);
    if (prefix === undefined) throw new Error(`no prefix: ${party.cidr}`);
    return prefix.family === 6
      ? undefined
      : [prefix.value, prefix.value + (1n << BigInt(32 - prefix.length)) - 1n];
  }
  return party.kind === 'IngressController' ? '{ingress-controller}' : partyText(party);
}

/** Where two sets of flows differ: `a => b : only the first: TCP 80`. Empty where they mean the same. */
export function compareFlows(
  expected: readonly Flow[],
  actual: readonly Flow[],
  names: readonly [string, string] = ['expected', 'ours'],
): string[] {
  const borders = bordersOf([...expected, ...actual]);
  const [a, b] = [splitFlows(expected, borders), splitFlows(actual, borders)];
  const problems: string[] = [];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const [left, right] = [a.get(key) ?? noPorts, b.get(key) ?? noPorts];
    if (samePorts(left, right)) continue;
    problems.push(`${key} : ${names[0]} ${printed(left)}, ${names[1]} ${printed(right)}`);
  }
  return problems.sort();
}

/** Where two states differ, in the form of a diff output, split at `borders`. */
export function changesBetween(before: readonly Flow[], after: readonly Flow[]): readonly Difference[] {
  const borders = bordersOf([...before, ...after]);
  const [a, b] = [splitFlows(before, borders), splitFlows(after, borders)];
  const changes: Difference[] = [];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const [left, right] = [a.get(key) ?? noPorts, b.get(key) ?? noPorts];
    if (samePorts(left, right)) continue;
    const [src = '', dst = ''] = key.split(' => ');
    changes.push({ src: endOfKey(src), dst: endOfKey(dst), before: left, after: right });
  }
  return changes;
}

/** Differences of differences: both states of each changed pair must be the same on both sides. */
export function compareChanges(expected: readonly Difference[], actual: readonly Difference[]): string[] {
  const flows = (list: readonly Difference[], side: 'before' | 'after'): Flow[] =>
    list.map((change) => ({ src: change.src, dst: change.dst, ports: change[side] }));
  return (['before', 'after'] as const).flatMap((side) =>
    compareFlows(flows(expected, side), flows(actual, side)).map((text) => `${side} ${text}`),
  );
}

function bordersOf(flows: readonly Flow[]): readonly bigint[] {
  const borders = new Set<bigint>();
  for (const flow of flows)
    for (const end of [flow.src, flow.dst])
      if (typeof end !== 'string') {
        borders.add(end[0]);
        borders.add(end[1] + 1n);
      }
  return [...borders].sort((a, b) => (a < b ? -1 : 1));
}

function splitFlows(flows: readonly Flow[], borders: readonly bigint[]): Map<string, PortSet> {
  const found = new Map<string, PortSet>();
  for (const { src, dst, ports } of flows)
    for (const from of piecesOf(src, borders))
      for (const to of piecesOf(dst, borders)) {
        const key = `${from} => ${to}`;
        found.set(key, unionPorts(found.get(key) ?? noPorts, ports));
      }
  return found;
}

function piecesOf(end: End, borders: readonly bigint[]): string[] {
  if (typeof end === 'string') return [end];
  const inside = borders.filter((border) => border >= end[0] && border <= end[1] + 1n);
  return inside.slice(1).map((to, i) => `${inside[i]}..${to - 1n}`);
}

function endOfKey(text: string): End {
  const range = /^(\d+)\.\.(\d+)$/.exec(text);
  return range === null ? text : [BigInt(range[1] ?? ''), BigInt(range[2] ?? '')];
}

const printed = (ports: PortSet): string => {
  if (samePorts(ports, allPorts)) return 'everything';
  if (ports.length === 0) return 'nothing';
  const missing = subtractPorts(allPorts, ports);
  const [set, word] = missing.length < ports.length ? [missing, 'all but '] : [ports, ''];
  const ranges: string[] = [];
  for (let i = 0; i < set.length; i += 2) ranges.push(`${set[i]}-${(set[i + 1] as number) - 1}`);
  return word + ranges.join(',');
};
