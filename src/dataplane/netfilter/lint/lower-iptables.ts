/** Rules of iptables-save as programs. */
import type { Match, Rule, Ruleset, Table, TableName, Target } from '../../../model/netfilter.ts';
import { addressBits, type Family } from '../../../net/address.ts';
import type { FieldSet } from './field-sets.ts';
import { bitSet, complement, isEmpty, nameSet, rangeSet } from './field-sets.ts';
import { type Effect, type MarkChange, noChange, type Program, type ProgramRule } from './program.ts';
import { anyPacket, type Box, boxKey, meet } from './region.ts';
import { addressField, fragmentOf, portProtocols, protocols, stateSet, truth } from './vocabulary.ts';

export const lowerRuleset = (ruleset: Ruleset): readonly Program[] =>
  ruleset.tables.map((table) => lowerTable(ruleset, table));

const hooks = ['prerouting', 'input', 'forward', 'output', 'postrouting'];

/** enum nf_ip_hook_priorities; nat by its side. */
function priorityOf(table: TableName, hook: string): number {
  switch (table) {
    case 'raw':
      return -300;
    case 'mangle':
      return -150;
    case 'nat':
      return hook === 'prerouting' || hook === 'output' ? -100 : 100;
    case 'filter':
      return 0;
    case 'security':
      return 50;
  }
}

function lowerTable({ family, backend, file }: Ruleset, table: Table): Program {
  const chains = [...table.chains.values()];
  return {
    backend,
    family: family === 4 ? 'ip' : 'ip6',
    table: table.name,
    file,
    bases: chains
      .filter(({ name }) => hooks.includes(name.toLowerCase()) && name === name.toUpperCase())
      .map(({ name, policy }) => ({
        chain: name,
        hook: name.toLowerCase(),
        priority: priorityOf(table.name, name.toLowerCase()),
        nat: table.name === 'nat',
        ...(policy === undefined
          ? {}
          : { policy: policy === 'DROP' ? ('drop' as const) : ('accept' as const) }),
        devices: [],
      })),
    chains: new Map(
      chains.map(({ name, rules, source }) => [
        name,
        {
          name,
          source,
          declared: source.kind === 'file' && !/^(\[[0-9:]+\] )?(-A|--append)/.test(source.text),
          rules: rules.map((rule, index) => lowerRule(rule, index, family)),
        },
      ]),
    ),
  };
}

function lowerRule(rule: Rule, index: number, family: Family): ProgramRule {
  let box: Box | undefined = anyPacket;
  const volatile: string[] = [];
  const notUnderstood: string[] = [];
  for (const match of rule.matches) {
    const lowered = lowerMatch(match, family);
    if (lowered === 'volatile') volatile.push('text' in match ? match.text : JSON.stringify(match));
    else box = box === undefined ? undefined : meetFields(box, lowered);
    if (match.kind === 'unknown') notUnderstood.push(`${match.text}: ${match.why}`);
  }
  const { target } = rule;
  if (target.kind === 'unknown') notUnderstood.push(`${target.text}: ${target.why}`);
  const effect = effectOf(target);
  const mark = markOf(target);
  return {
    index,
    region: box === undefined ? [] : [box],
    ...(volatile.length === 0 ? {} : { volatile: volatile.sort().join(' ') }),
    effect,
    changes: changesOf(target),
    ...(mark === undefined ? {} : { mark }),
    sets: rule.matches.flatMap((match) => (match.kind === 'set' ? [match.set] : [])),
    notUnderstood,
    key: [box === undefined ? 'none' : boxKey(box), volatile.join(' '), targetKey(target)].join(' => '),
    ...(rule.comment === undefined ? {} : { comment: rule.comment }),
    ...(rule.counters === undefined ? {} : { counters: rule.counters }),
    source: rule.source,
  };
}

function meetFields(box: Box, fields: readonly (readonly [string, FieldSet])[]): Box | undefined {
  if (fields.some(([, set]) => isEmpty(set))) return undefined;
  return fields.reduce<Box | undefined>(
    (all, field) => (all === undefined ? undefined : meet(all, new Map([field]))),
    box,
  );
}

type Fields = readonly (readonly [string, FieldSet])[];

/** The fields that a match fixes; `volatile` where equal packets can differ in the answer. */
function lowerMatch(match: Match, family: Family): Fields | 'volatile' {
  const maybe = (negate: boolean, set: FieldSet): FieldSet => (negate ? complement(set) : set);
  switch (match.kind) {
    case 'protocol':
      return match.protocol === 0
        ? [['proto', maybe(match.negate, rangeSet([[0, 255]], 256))]]
        : [['proto', maybe(match.negate, protocols([match.protocol]))]];
    case 'address': {
      const { value, length } = match.prefix;
      const last = value + (1n << BigInt(addressBits(family) - length)) - 1n;
      return [[addressField(match.side, family), maybe(match.negate, addresses(value, last, family))]];
    }
    case 'address-range':
      return [
        [addressField(match.side, family), maybe(match.negate, addresses(match.from, match.to, family))],
      ];
    case 'device':
      return [[match.direction === 'in' ? 'iif' : 'oif', maybe(match.negate, deviceNames(match.name))]];
    case 'port': {
      const l4: Fields = [['proto', portProtocols], fragmentOf(false)];
      if (match.side === 'either')
        return [...l4, [`atom:ports ${JSON.stringify(match.ranges)}`, truth(!match.negate)]];
      const ranges = match.ranges.map(({ from, to }) => [from, to] as const);
      return [
        ...l4,
        [match.side === 'src' ? 'sport' : 'dport', maybe(match.negate, rangeSet(ranges, 65_536))],
      ];
    }
    case 'icmp-type':
      return [
        ['proto', protocols([family === 4 ? 1 : 58])],
        fragmentOf(false),
        ...(match.type === undefined
          ? []
          : [['icmp', maybe(match.negate, icmpTypes(match.type, match.code))] as const]),
      ];
    case 'tcp-flags':
      return [
        ['proto', protocols([6])],
        fragmentOf(false),
        ['flags', maybe(match.negate, bitSet(flagBits(match.set), flagBits(match.mask)))],
      ];
    case 'ct-state':
      return [['state', maybe(match.negate, stateSet(match.states))]];
    case 'mark':
    case 'connmark':
      return [[match.kind, maybe(match.negate, bitSet(match.value, match.mask))]];
    case 'set':
      return [[`set:${match.set} ${match.directions.join(',')}`, truth(!match.negate)]];
    case 'length':
      return [['length', maybe(match.negate, rangeSet([[match.from, match.to]], 65_536))]];
    case 'fragment':
      return [fragmentOf(!match.negate)];
    case 'statistic':
    case 'statistic-nth':
    case 'rate':
      return 'volatile';
    case 'always':
      return [];
    case 'module':
      return lowerModule(match);
    case 'unknown':
      return isSettled(match.text) ? [[`atom:${match.text}`, truth(true)]] : 'volatile';
    default: {
      // Any other condition is about the packet or its connection: the same words have the same answer.
      const { negate, ...rest } = match;
      return [
        [
          `atom:${JSON.stringify(rest, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value))}`,
          truth(!negate),
        ],
      ];
    }
  }
}

/** What the connection has carried and how many there are changes from packet to packet; all else is a fact of its own. */
function lowerModule({ negate, text, test }: Extract<Match, { kind: 'module' }>): Fields | 'volatile' {
  if (test.kind === 'connbytes' || test.kind === 'connlimit') return 'volatile';
  // Extensions of bpf read more than the packet: its mark, which other rules change.
  if (test.kind === 'bpf' && test.program.some(({ k }) => k >= 0xfffff000)) return 'volatile';
  // Negation and its absence can both be false where there is nothing to ask: they are no opposites.
  return [[`atom:${negate ? '! ' : ''}${text}`, truth(true)]];
}

/** Modules that say nothing about time or traffic: asked twice of one packet they answer alike. */
const isSettled = (text: string): boolean =>
  /^-m (owner|mac|pkttype|rpfilter|socket|cgroup|bpf|string|u32|policy|helper|realm|dscp|tos|ttl|hl|ecn|connlabel|devgroup|conntrack)\b/.test(
    text,
  );

const addresses = (from: bigint, to: bigint, family: Family): FieldSet =>
  rangeSet([[from, to]], 1n << BigInt(addressBits(family)));

const deviceNames = (name: string): FieldSet =>
  nameSet([name.endsWith('+') ? { text: name.slice(0, -1), exact: false } : { text: name, exact: true }]);

const icmpTypes = (type: number, code: number | undefined): FieldSet =>
  rangeSet(
    [code === undefined ? [type * 256, type * 256 + 255] : [type * 256 + code, type * 256 + code]],
    65_536,
  );

const flags = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'];

function flagBits(names: readonly string[]): number {
  if (names.includes('ALL')) return 63;
  return flags.reduce((bits, flag, i) => (names.includes(flag) ? bits | (1 << i) : bits), 0);
}

function effectOf(target: Target): Effect {
  switch (target.kind) {
    case 'accept':
    case 'drop':
      return { kind: 'verdict', verdict: target.kind };
    case 'reject':
      return { kind: 'verdict', verdict: `reject ${target.with}` };
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
      return { kind: 'verdict', verdict: targetKey(target) };
    case 'return':
      return { kind: 'return' };
    case 'jump':
    case 'goto':
      return { kind: target.kind, chain: target.chain };
    case 'tproxy':
    case 'unknown':
      return { kind: 'unknown', text: target.text };
    default:
      return { kind: 'continue' };
  }
}

/** The target with everything that it says; numbers of addresses as text. */
function targetKey(target: Target): string {
  return JSON.stringify(target, (_, value: unknown) => (typeof value === 'bigint' ? `${value}` : value));
}

function markOf(target: Target): MarkChange | undefined {
  if (target.kind === 'set-mark') return { field: 'mark', value: target.value, mask: target.mask };
  return target.kind === 'set-connmark'
    ? { field: 'connmark', value: target.value, mask: target.mask }
    : undefined;
}

const everything: ReadonlySet<string> = new Set(['*']);

function changesOf(target: Target): ReadonlySet<string> {
  switch (target.kind) {
    case 'continue':
      if (/^-[jg] SET\b/.test(target.text)) return new Set(['set:']);
      return /^-[jg] (TOS|DSCP|ECN|CLASSIFY|SECMARK)\b/.test(target.text) ? new Set(['atom:']) : noChange;
    case 'accept':
    case 'drop':
    case 'reject':
    case 'return':
    case 'jump':
    case 'goto':
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'redirect':
      return noChange;
    case 'set-mark':
    case 'restore-connmark':
      return new Set(['mark']);
    case 'set-connmark':
    case 'save-connmark':
      return new Set(['connmark']);
    case 'notrack':
    case 'ct-template':
      return new Set(['state', 'connmark']);
    case 'change-set':
      return new Set(['set:']);
    default:
      return everything;
  }
}
