/** The whole connectivity, expanded: each workload with each other one, and with the addresses outside. */
import type { Connection, Party } from '../model/connectivity.ts';
import { partyText } from '../model/connectivity.ts';
import type { Family } from '../net/address.ts';
import {
  formatPorts,
  intersectPorts,
  type LineProtocol,
  lineProtocols,
  type PortSet,
  portsOf,
} from '../net/port-set.ts';
import { formatPrefix, type Prefix } from '../net/prefix.ts';
import { candidates } from './candidates.ts';
import type { Cell } from './engine/cell.ts';
import type { Engine } from './engine/engine.ts';
import { ownPrefixes, rangePrefixes } from './engine/prefix-tree.ts';
import type { Row } from './engine/rows.ts';
import { workloadNames } from './workload.ts';

export interface ConnectivityOptions {
  /** Pods of one owner as one party (the default), or each for itself. */
  readonly by?: 'workload' | 'pod';
  /** Only connections from, or to, these parties. */
  readonly from?: (party: Party) => boolean;
  readonly to?: (party: Party) => boolean;
  /** Only what touches these ports; the ports themselves are printed whole. */
  readonly ports?: PortSet;
  /** ICMP too. Off by default: NetworkPolicy leaves it open. */
  readonly icmp?: boolean;
  /** A workload's pods among themselves. */
  readonly self?: boolean;
}

/** A party inside the cluster, and the classes that its pods are in. */
export interface Unit {
  readonly party: Party & { readonly kind: string };
  readonly members: readonly Member[];
  readonly classes: readonly number[];
}

interface Member {
  readonly party: Party;
  readonly class: number;
  readonly families: readonly Family[];
}

/**
 * Connections in the order of their source, then destination; made as they are read. Pods of one owner are one party in a connection
 * only if all of them have it alike; otherwise that connection is listed pod by pod.
 */
export function* connectivity(engine: Engine, options: ConnectivityOptions = {}): Generator<Connection> {
  const units = unitsOf(engine, options.by ?? 'workload');
  const shown = printer(options);
  const outside = outsideParties(engine);
  const wanted = (party: Party, side: 'from' | 'to') => options[side]?.(party) ?? true;
  const isDestination = units.map((unit) => wanted(unit.party, 'to'));
  // A rewrite lets ports share the fate of another one, which the options may not ask for.
  const rewrites = engine.layers.some((layer) => layer.rewrites.length > 0);
  const says = rewrites ? (cell: Cell) => cell.allow.length + cell.maybe.length > 0 : shown.says;
  const reachable = reachableUnits(engine, units, says);
  for (const [at, src] of units.entries()) {
    if (wanted(src.party, 'from')) {
      for (const to of reachable(src))
        if ((to !== at || (options.self ?? false)) && isDestination[to])
          yield* pairs(engine, src, units[to] as Unit, shown.lines);
      for (const group of outside(src, 'egress'))
        for (const cidr of group.cidrs)
          if (wanted({ cidr }, 'to')) yield* shown.lines(group.party, { cidr }, group.cell);
    }
    if (isDestination[at])
      for (const group of outside(src, 'ingress'))
        for (const cidr of group.cidrs)
          if (wanted({ cidr }, 'from')) yield* shown.lines({ cidr }, group.party, group.cell);
  }
}

/** Parties inside the cluster by name. */
export function unitsOf(engine: Engine, by: 'workload' | 'pod'): readonly Unit[] {
  const { classes, podsTo } = engine.universe;
  const workloadOf = workloadNames(engine.world.cluster);
  const units = new Map<string, { party: Unit['party']; members: Member[] }>();
  for (let id = 0; id < podsTo; id++)
    for (const end of classes[id]?.members ?? []) {
      if (end.kind !== 'pod') continue;
      const { namespace, name, addresses } = end.pod;
      const owner = by === 'pod' ? undefined : workloadOf(end.pod);
      const own = { namespace, name, kind: 'Pod' };
      const party = owner === undefined ? own : { namespace, name: owner.name, kind: owner.kind };
      const key = partyText(party);
      const unit = units.get(key) ?? { party, members: [] };
      units.set(key, unit);
      unit.members.push({
        party: own,
        class: id,
        families: [...new Set(addresses.map(({ family }) => family))],
      });
    }
  return [...units]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { party, members }]) => ({
      party,
      members,
      classes: [...new Set(members.map((member) => member.class))],
    }));
}

/** Numbers of the units, ascending, that a source may have something to say to. */
function reachableUnits(
  engine: Engine,
  units: readonly Unit[],
  says: (cell: Cell) => boolean,
): (src: Unit) => readonly number[] {
  const unitsOfClass: number[][] = Array.from({ length: engine.universe.podsTo }, () => []);
  for (const [at, unit] of units.entries()) for (const id of unit.classes) unitsOfClass[id]?.push(at);
  const reached = candidates(engine, says);
  const marks = new Int32Array(units.length);
  let round = 0;
  return (src) => {
    round++;
    const found: number[] = [];
    for (const from of src.classes)
      for (const to of reached(from))
        for (const at of unitsOfClass[to] ?? []) {
          if (marks[at] === round) continue;
          marks[at] = round;
          found.push(at);
        }
    return found.sort((a, b) => a - b);
  };
}

type Show = (src: Party, dst: Party, cell: Cell) => Iterable<Connection>;

function* pairs(engine: Engine, src: Unit, dst: Unit, shown: Show): Generator<Connection> {
  const first = engine.cell(src.classes[0] as number, dst.classes[0] as number);
  const same = src.classes.every((from) => dst.classes.every((to) => engine.cell(from, to) === first));
  if (same) {
    yield* shown(src.party, dst.party, first);
    return;
  }
  for (const from of src.members)
    for (const to of dst.members)
      if (from !== to) yield* shown(from.party, to.party, engine.cell(from.class, to.class));
}

/** One cell's connections, a line for each protocol and verdict. */
function printer(options: ConnectivityOptions): {
  readonly lines: Show;
  readonly says: (cell: Cell) => boolean;
} {
  const protocols = lineProtocols.filter(
    (protocol) => protocol !== 'ICMPv6' && (protocol !== 'ICMP' || options.icmp === true),
  );
  const known = new Map<Cell, readonly Omit<Connection, 'src' | 'dst'>[]>();
  const describe = (cell: Cell) => {
    const lines = known.get(cell) ?? protocols.flatMap((protocol) => linesOf(cell, protocol, options.ports));
    known.set(cell, lines);
    return lines;
  };
  return {
    lines: (src, dst, cell) => describe(cell).map((line) => ({ src, dst, ...line })),
    says: (cell) => describe(cell).length > 0,
  };
}

export function linesOf(
  cell: Cell,
  protocol: LineProtocol,
  filter: PortSet | undefined,
): Omit<Connection, 'src' | 'dst'>[] {
  const lines: Omit<Connection, 'src' | 'dst'>[] = [];
  const touches = (set: PortSet) =>
    portsOf(set, protocol).length > 0 &&
    (filter === undefined || portsOf(intersectPorts(set, filter), protocol).length > 0);
  const name = protocol as Connection['protocol'];
  // ICMP types are no ports: they are told apart in `explain` only.
  const ports = (set: PortSet) => (protocol === 'ICMP' ? 'all' : formatPorts(set, protocol));
  if (touches(cell.allow)) lines.push({ protocol: name, ports: ports(cell.allow), verdict: 'allow' });
  if (touches(cell.maybe)) {
    const reasons = cell.conditions
      .filter((part) => portsOf(part.ports, protocol).length > 0)
      .map(({ condition }) => condition.text);
    lines.push({ protocol: name, ports: ports(cell.maybe), verdict: 'conditional', why: reasons.join('; ') });
  }
  return lines;
}

interface OutsideGroup {
  readonly party: Party;
  readonly cidrs: readonly string[];
  readonly cell: Cell;
}

/** The outside's addresses as one subject sees them: the fewest prefixes for each answer. */
function outsideParties(
  engine: Engine,
): (unit: Unit, direction: 'egress' | 'ingress') => Iterable<OutsideGroup> {
  const { universe } = engine;
  const { nodes } = universe.tree;
  const own = nodes.map((_, at) => ownPrefixes(nodes, at));
  const families = familiesInUse(engine);
  const texts = new Map<string, readonly string[]>();
  const cidrsOf = (ids: readonly number[]): readonly string[] => {
    const key = ids.join();
    const known = texts.get(key) ?? merged(ids.flatMap((at) => own[at] as Prefix[])).map(formatPrefix);
    texts.set(key, known);
    return known;
  };
  const cellOf = (id: number, at: number, direction: 'egress' | 'ingress'): Cell =>
    direction === 'egress'
      ? engine.cell(id, universe.outsideFrom + at)
      : engine.cell(universe.outsideFrom + at, id);
  const keyOf = outsideKeys(engine);
  const made = new Map<string, readonly Omit<OutsideGroup, 'party'>[]>();
  const groupsFor = (party: Party, id: number, of: readonly Family[], direction: 'egress' | 'ingress') => {
    const key = `${direction} ${of.join()} ${keyOf(id, direction)}`;
    const known = made.get(key) ?? makeGroups(id, of, direction);
    made.set(key, known);
    return known.map((group) => ({ party, ...group }));
  };
  const makeGroups = (id: number, of: readonly Family[], direction: 'egress' | 'ingress') => {
    const groups = new Map<Cell, number[]>();
    for (const [at, { prefix, empty }] of nodes.entries()) {
      if (empty || !of.includes(prefix.family)) continue;
      const cell = cellOf(id, at, direction);
      const group = groups.get(cell);
      if (group === undefined) groups.set(cell, [at]);
      else group.push(at);
    }
    return [...groups].map(([cell, ids]) => ({ cidrs: cidrsOf(ids), cell }));
  };
  const familiesOf = (members: readonly Member[]) => {
    const known = new Set(members.flatMap((member) => member.families));
    return known.size > 0 ? [...known] : families;
  };
  return function* (unit, direction) {
    const [first] = unit.classes as readonly [number];
    const key = keyOf(first, direction);
    const alike = unit.classes.every(
      (id) =>
        keyOf(id, direction) === key ||
        nodes.every((_, at) => cellOf(id, at, direction) === cellOf(first, at, direction)),
    );
    if (alike) yield* groupsFor(unit.party, first, familiesOf(unit.members), direction);
    else
      for (const member of unit.members)
        yield* groupsFor(member.party, member.class, familiesOf([member]), direction);
  };
}

/**
 * Classes with the same key have the same answers towards the outside. The rows of a class tell, unless an address outside has rules of
 * its own or a rewrite looks at both ends; then each class is a key.
 */
function outsideKeys({ layers, universe }: Engine): (id: number, direction: 'egress' | 'ingress') => string {
  const constant = (direction: 'egress' | 'ingress') =>
    layers.every(({ rows, rewrites }) => {
      if (rewrites.length > 0) return false;
      for (let id = universe.outsideFrom; id < universe.classes.length; id++)
        if (rows[direction].of(id).starts.length > 1) return false;
      return true;
    });
  const byRow = { egress: constant('ingress'), ingress: constant('egress') };
  const numbers = new Map<Row, number>();
  const numberOf = (row: Row): number => {
    const number = numbers.get(row) ?? numbers.size;
    numbers.set(row, number);
    return number;
  };
  return (id, direction) =>
    byRow[direction] ? layers.map(({ rows }) => numberOf(rows[direction].of(id))).join() : `class ${id}`;
}

/** IPv6 only where a pod or a policy speaks it. Pods of manifests have no addresses to tell. */
export function familiesInUse({ universe }: Engine): readonly Family[] {
  const pods = universe.classes.slice(0, universe.podsTo).flatMap(({ members }) => members);
  const six =
    pods.some((end) => end.kind === 'pod' && end.pod.addresses.some(({ family }) => family === 6)) ||
    universe.facts.prefixes.some(({ family }) => family === 6);
  return six ? [4, 6] : [4];
}

/** Neighbouring and overlapping prefixes joined into the fewest. */
export function merged(prefixes: readonly Prefix[]): Prefix[] {
  const out: Prefix[] = [];
  for (const family of [4, 6] as const) {
    const bits = family === 4 ? 32n : 128n;
    const ranges = prefixes
      .filter((one) => one.family === family)
      .map((one) => [one.value, one.value + (1n << (bits - BigInt(one.length)))] as [bigint, bigint])
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
    let open: [bigint, bigint] | undefined;
    for (const range of ranges) {
      if (open !== undefined && range[0] <= open[1]) open[1] = range[1] > open[1] ? range[1] : open[1];
      else {
        if (open !== undefined) out.push(...rangePrefixes(family, ...open));
        open = range;
      }
    }
    if (open !== undefined) out.push(...rangePrefixes(family, ...open));
  }
  return out;
}
