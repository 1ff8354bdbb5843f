/** A rule set in a normal form that iptables-restore accepts; reading it back gives the same rules. */
import type { Chain, Match, NatRange, PortRange, Rule, Ruleset, Target } from '../../model/netfilter.ts';
import { type Family, formatAddress } from '../../net/address.ts';
import { formatPrefix } from '../../net/prefix.ts';
import { printConntrack } from './conntrack-match.ts';
import { protocolText } from './numbers.ts';
import { quoteWord } from './tokens.ts';

/** Without tables the text is empty, as iptables-save prints it. */
export function printRuleset(ruleset: Ruleset): string {
  const lines: string[] = [];
  for (const table of ruleset.tables) {
    lines.push(`*${table.name}`);
    for (const chain of table.chains.values()) lines.push(`:${chain.name} ${chain.policy ?? '-'} [0:0]`);
    for (const chain of table.chains.values()) lines.push(...printChain(chain, ruleset.family));
    lines.push('COMMIT');
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

const printChain = (chain: Chain, family: Family): string[] =>
  chain.rules.map((rule) => printRule(chain.name, rule, family));

export function printRule(chain: string, rule: Rule, family: Family): string {
  const parts: string[] = [];
  if (rule.counters !== undefined) parts.push(`[${rule.counters.packets}:${rule.counters.bytes}]`);
  parts.push('-A', chain);
  const protocol = rule.matches.find((match) => match.kind === 'protocol' && !match.negate);
  const number = protocol?.kind === 'protocol' ? protocol.protocol : undefined;
  for (const match of rule.matches) parts.push(printMatch(match, family, number));
  if (rule.comment !== undefined) parts.push('-m comment --comment', quoteWord(rule.comment));
  parts.push(printTarget(rule.target, family));
  return parts.filter((part) => part !== '').join(' ');
}

function printMatch(match: Match, family: Family, protocol: number | undefined): string {
  switch (match.kind) {
    case 'rate':
    case 'always':
    case 'unknown':
    case 'owner':
    case 'module':
      return match.text;
    case 'ct-entry':
      return printConntrack(match, formatPrefix);
    case 'reverse-path':
      return printReversePath(match);
    case 'protocol':
    case 'address':
    case 'device':
    case 'fragment':
      return `${match.negate ? '! ' : ''}${printCore(match)}`;
    case 'port':
      return printPort(match, protocol);
    default: {
      const [module, ...option] = printOption(match, family);
      return `-m ${module} ${match.negate ? '! ' : ''}${option.join(' ')}`;
    }
  }
}

function printCore(match: Extract<Match, { kind: 'protocol' | 'address' | 'device' | 'fragment' }>): string {
  switch (match.kind) {
    case 'protocol':
      return `-p ${protocolText(match.protocol)}`;
    case 'address':
      return `${match.side === 'src' ? '-s' : '-d'} ${formatPrefix(match.prefix)}`;
    case 'device':
      return `${match.direction === 'in' ? '-i' : '-o'} ${quoteWord(match.name)}`;
    case 'fragment':
      return '-f';
  }
}

/** Module, then option and values. */
function printOption(
  match: Exclude<
    Match,
    {
      kind:
        | 'rate'
        | 'always'
        | 'unknown'
        | 'owner'
        | 'module'
        | 'ct-entry'
        | 'reverse-path'
        | 'protocol'
        | 'address'
        | 'device'
        | 'fragment'
        | 'port';
    }
  >,
  family: Family,
): readonly string[] {
  switch (match.kind) {
    case 'address-range':
      return ['iprange', `--${match.side}-range`, addressSpan(match.from, match.to, family, true)];
    case 'icmp-type': {
      const type = match.type === undefined ? 'any' : String(match.type);
      const text = match.code === undefined ? type : `${type}/${match.code}`;
      return family === 4 ? ['icmp', '--icmp-type', text] : ['icmp6', '--icmpv6-type', text];
    }
    case 'tcp-flags':
      return ['tcp', '--tcp-flags', flagText(match.mask), flagText(match.set)];
    case 'ct-state':
      return ['conntrack', '--ctstate', match.states.join(',')];
    case 'mark':
    case 'connmark':
      return [match.kind, '--mark', maskText(match.value, match.mask)];
    case 'set':
      return [
        'set',
        '--match-set',
        quoteWord(match.set),
        match.directions.join(','),
        ...(match.nomatch === undefined ? [] : ['--return-nomatch']),
      ];
    case 'addrtype':
      return [
        'addrtype',
        `--${match.side}-type`,
        match.types.join(','),
        ...(match.onDevice === undefined ? [] : [`--limit-iface-${match.onDevice}`]),
      ];
    // The negation of a probability stands before --probability, not before --mode.
    case 'statistic':
      return ['statistic', '--probability', String(match.probability), '--mode', 'random'];
    case 'statistic-nth':
      return ['statistic', '--every', String(match.every), '--packet', String(match.packet), '--mode', 'nth'];
    case 'physdev':
      return ['physdev', `--physdev-${match.condition}`];
    case 'physdev-name':
      return ['physdev', `--physdev-${match.direction}`, quoteWord(match.name)];
    case 'length':
      return ['length', '--length', `${match.from}:${match.to}`];
    case 'ttl': {
      const name = family === 4 ? 'ttl' : 'hl';
      return [name, `--${name}-${match.compare}`, String(match.value)];
    }
    case 'tos':
      return ['tos', '--tos', `${hex(match.value)}/${hex(match.mask)}`];
    case 'packet-type':
      return ['pkttype', '--pkt-type', match.type];
    case 'mac':
      return ['mac', '--mac-source', match.address];
  }
}

function printReversePath(match: Extract<Match, { kind: 'reverse-path' }>): string {
  const flags = [
    match.loose ? '--loose' : '',
    match.withMark ? '--validmark' : '',
    match.acceptLocal ? '--accept-local' : '',
    match.negate ? '--invert' : '',
  ];
  return ['-m rpfilter', ...flags.filter((flag) => flag !== '')].join(' ');
}

/** Protocols whose own module takes one port or range. */
const portModules = new Map<number, string>([
  [6, 'tcp'],
  [17, 'udp'],
  [33, 'dccp'],
  [132, 'sctp'],
]);

function printPort(match: Extract<Match, { kind: 'port' }>, protocol: number | undefined): string {
  const module = protocol === undefined ? undefined : portModules.get(protocol);
  const not = match.negate ? '! ' : '';
  const text = match.ranges.map((range) => rangeText(range, ':')).join(',');
  if (module !== undefined && match.side !== 'either' && match.ranges.length === 1)
    return `-m ${module} ${not}--${match.side === 'src' ? 'sport' : 'dport'} ${text}`;
  const option = match.side === 'either' ? 'ports' : match.side === 'src' ? 'sports' : 'dports';
  return `-m multiport ${not}--${option} ${text}`;
}

const rangeText = ({ from, to }: PortRange, separator: ':' | '-'): string =>
  from === to ? String(from) : `${from}${separator}${to}`;

const flagText = (flags: readonly string[]): string => (flags.length === 0 ? 'NONE' : flags.join(','));

const hex = (value: number): string => `0x${value.toString(16)}`;

const maskText = (value: number, mask: number): string =>
  mask === 0xffffffff ? hex(value) : `${hex(value)}/${hex(mask)}`;

/** `a-b`; a single address is printed once unless the option needs both. */
function addressSpan(from: bigint, to: bigint, family: Family, both: boolean): string {
  const text = (value: bigint) => formatAddress({ family, value });
  return from === to && !both ? text(from) : `${text(from)}-${text(to)}`;
}

function natText(range: NatRange, family: Family): string {
  const ports = range.ports === undefined ? '' : `:${rangeText(range.ports, '-')}`;
  if (range.from === undefined) return ports;
  const span = addressSpan(range.from, range.to ?? range.from, family, false);
  return family === 4 || ports === '' ? `${span}${ports}` : `[${span}]${ports}`;
}

function printTarget(target: Target, family: Family): string {
  switch (target.kind) {
    case 'continue':
    case 'unknown':
    case 'ct-template':
    case 'change-set':
    case 'tproxy':
      return target.text;
    case 'accept':
    case 'drop':
    case 'return':
    case 'notrack':
      return `-j ${plainNames[target.kind]}`;
    case 'reject':
      return `-j REJECT --reject-with ${quoteWord(target.with)}`;
    case 'jump':
      return `-j ${target.chain}`;
    case 'goto':
      return `-g ${target.chain}`;
    case 'dnat':
      return `-j DNAT --to-destination ${natText(target.range, family)}${target.range.random ? ' --random' : ''}`;
    case 'snat':
      return `-j SNAT --to-source ${natText(target.range, family)}${target.range.random ? ' --random-fully' : ''}`;
    case 'redirect':
    case 'masquerade':
      return `-j ${target.kind.toUpperCase()}${target.ports === undefined ? '' : ` --to-ports ${rangeText(target.ports, '-')}`}${target.random ? randomFlags[target.kind] : ''}`;
    case 'netmap':
      return `-j NETMAP --to ${formatPrefix(target.prefix)}`;
    case 'set-ttl': {
      const name = family === 4 ? 'ttl' : 'hl';
      return `-j ${name.toUpperCase()} --${name}-${target.how} ${target.value}`;
    }
    case 'set-tos':
      return `-j TOS --set-tos ${hex(target.value)}/${hex(target.mask)}`;
    case 'set-mark':
      return `-j MARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;
    case 'set-connmark':
      return `-j CONNMARK --set-xmark ${hex(target.value)}/${hex(target.mask)}`;
    case 'save-connmark':
    case 'restore-connmark':
      return `-j CONNMARK --${target.kind === 'save-connmark' ? 'save' : 'restore'}-mark --nfmask ${hex(target.nfmask)} --ctmask ${hex(target.ctmask)}`;
  }
}

/** REDIRECT knows one of the two, and both make a port up. */
const randomFlags = { redirect: ' --random', masquerade: ' --random-fully' } as const;

const plainNames = {
  accept: 'ACCEPT',
  drop: 'DROP',
  return: 'RETURN',
  notrack: 'CT --notrack',
} as const;
