/** Rules of iptables for the search: their conditions in words. */
import type { Chain, Match, Rule, Target } from '../../../model/netfilter.ts';
import { type Address, formatAddress } from '../../../net/address.ts';
import { protocolNumber } from '../../../net/packet.ts';
import { contains, formatPrefix } from '../../../net/prefix.ts';
import { statesOf } from '../entry-matches.ts';
import { evaluateMatch, type Subject } from '../matches.ts';
import type { Chains, Condition, Effect } from './view.ts';

export const chainsOf = (chains: ReadonlyMap<string, Chain>): Chains => ({
  rules: (name) =>
    (chains.get(name)?.rules ?? []).map((rule) => ({
      rule,
      looks: () => [{ rule, conditions: conditionsOf(rule), effects: effectsOf(rule.target) }],
    })),
});

const conditionsOf = (rule: Rule): readonly Condition[] =>
  rule.matches.filter(({ kind }) => kind !== 'always').map(conditionOf);

function effectsOf(target: Target): readonly Effect[] {
  switch (target.kind) {
    case 'accept':
    case 'return':
      return [{ kind: target.kind }];
    case 'drop':
    case 'reject':
      return [{ kind: 'end' }];
    case 'jump':
    case 'goto':
      return [{ kind: 'enter', chain: target.chain }];
    case 'set-mark':
      return [{ kind: 'mark', value: target.value, mask: target.mask }];
    default:
      return [{ kind: 'none' }];
  }
}

function conditionOf(match: Match): Condition {
  const positive = !('negate' in match) || !match.negate;
  return {
    holds: (subject) => evaluateMatch(match, subject),
    needs: (subject) => needsOf(match, subject),
    distance: distanceOf(match),
    ...(match.kind === 'mark' ? { mark: match } : {}),
    ...(match.kind === 'ct-state' && positive ? { isVain: isAnswerOnly(match.states) } : {}),
    ...(match.kind === 'icmp-type' ? { isVain: ({ packet }: Subject) => packet.icmp === undefined } : {}),
    ...(match.kind === 'device' && match.name === 'lo' && positive ? { isVain: () => true } : {}),
    ...(match.kind === 'address' && positive ? { isVain: isOtherEnd(match) } : {}),
  };
}

/** `-s POD` in a rule that stands beside `-d POD`: it is about what the pod sends, and this packet is for the pod. */
const isOtherEnd =
  ({ side, prefix }: Extract<Match, { kind: 'address' }>) =>
  ({ packet }: Subject): boolean =>
    prefix.length === (prefix.family === 4 ? 32 : 128) &&
    contains(prefix, side === 'src' ? packet.dst : packet.src);

/** What a new connection's packet never has. */
const isAnswerOnly =
  (states: readonly string[]) =>
  ({ tracking }: Subject): boolean =>
    tracking.state === 'NEW' && !states.includes('NEW');

function distanceOf(match: Match): number {
  switch (match.kind) {
    case 'mark':
      return 0.8;
    case 'port':
    case 'protocol':
    case 'icmp-type':
      return 1;
    case 'set':
      return 1.2;
    case 'address':
    case 'address-range':
      return match.side === 'src' ? 1.5 : 2;
    case 'device':
    case 'addrtype':
      return 2.5;
    case 'ct-state':
      return 3;
    default:
      return 2;
  }
}

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
const marked = (value: number, mask: number): string =>
  mask >>> 0 === 0xffffffff ? hex(value) : `${hex(value)}/${hex(mask)}`;
const sides = { src: 'source', dst: 'destination' } as const;

/** What a match asks for, and what the packet has instead. */
function needsOf(match: Match, { context, packet, tracking }: Subject): string {
  const not = 'negate' in match && match.negate ? 'not ' : '';
  const own = (side: 'src' | 'dst') => formatAddress(packet[side]);
  switch (match.kind) {
    case 'port': {
      const ranges = match.ranges
        .map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`))
        .join(',');
      const side = match.side === 'either' ? 'source or destination' : sides[match.side];
      const has =
        match.side === 'either'
          ? `${packet.srcPort} and ${packet.dstPort}`
          : match.side === 'src'
            ? packet.srcPort
            : packet.dstPort;
      return `${side} port ${not}${ranges}; the packet has ${has}`;
    }
    case 'protocol':
      return `protocol ${not}${protocolName(match.protocol)}; the packet is ${packet.protocol}`;
    case 'address':
      return `${sides[match.side]} ${not}${prefixText(match.prefix)}; the packet has ${own(match.side)}`;
    case 'address-range': {
      const end = (value: bigint): string => formatAddress({ ...packet.src, value } as Address);
      return `${sides[match.side]} ${not}${end(match.from)}-${end(match.to)}; the packet has ${own(match.side)}`;
    }
    case 'device': {
      const name = match.direction === 'in' ? context.inDevice : context.outDevice;
      const way = match.direction === 'in' ? 'comes in by' : 'goes out by';
      return `${not}${match.direction === 'in' ? 'in' : 'out'} by ${match.name}; the packet ${way} ${name ?? 'none'}`;
    }
    case 'mark':
      return `mark ${not}${marked(match.value, match.mask)}; the packet has ${hex(packet.mark)}`;
    case 'connmark':
      return `connection mark ${not}${marked(match.value, match.mask)}; it is ${hex(tracking.connection?.mark ?? 0)}`;
    case 'ct-state':
      return `state ${not}${match.states.join(',')}; the packet is ${statesOf(tracking).join(',')}`;
    case 'set': {
      const key = match.directions
        .map((side, at) => (at === 0 ? own(side) : String(side === 'src' ? packet.srcPort : packet.dstPort)))
        .join(',');
      return not === ''
        ? `${match.directions.map((side) => sides[side]).join(' and ')} in set ${match.set}; it does not hold ${key}`
        : `${match.directions.map((side) => sides[side]).join(' and ')} not in set ${match.set}; it holds ${key}`;
    }
    case 'addrtype':
      return `${sides[match.side]} address ${not}of type ${match.types.join(',')}; the packet has ${own(match.side)}`;
    case 'icmp-type': {
      const code = match.code === undefined ? '' : `/${match.code}`;
      const has = packet.icmp === undefined ? packet.protocol : `${packet.icmp.type}/${packet.icmp.code}`;
      return `ICMP type ${not}${match.type ?? 'any'}${code}; the packet is ${has}`;
    }
    case 'tcp-flags':
      return `TCP flags ${not}${match.set.join(',')} of ${match.mask.join(',')}`;
    case 'length':
      return `length ${not}${match.from}-${match.to}; the packet has ${packet.lengthBytes} bytes`;
    default:
      return `${not}${'text' in match ? match.text : match.kind.replaceAll('-', ' ')}`;
  }
}

const protocolName = (wanted: number): string =>
  Object.entries(protocolNumber).find(([, value]) => value === wanted)?.[0] ?? String(wanted);

function prefixText(prefix: Parameters<typeof formatPrefix>[0]): string {
  return formatPrefix(prefix).replace(/\/(32|128)$/, (all) =>
    prefix.family === 4 || all === '/128' ? '' : all,
  );
}
