/** Names and values of the fields that boxes have. */
import type { Family } from '../../../net/address.ts';
import { type FieldSet, memberSet, rangeSet } from './field-sets.ts';

export const addressField = (side: 'src' | 'dst', family: Family): string => `${side}${family}`;

export const protocols = (numbers: readonly number[]): FieldSet =>
  rangeSet(
    numbers.map((number) => [number, number] as const),
    256,
  );

/** Whoever has ports: TCP, UDP, DCCP, SCTP, UDP-Lite (xt_multiport's list). */
export const portProtocols: FieldSet = protocols([6, 17, 33, 132, 136]);

/** A condition that is true or false of a packet. */
export const truth = (value: boolean): FieldSet => memberSet(value ? 2 : 1, 3);

/** Later fragments have no transport header: no match on ports, types or flags ever holds for them. */
export const fragmentOf = (isFragment: boolean): readonly [string, FieldSet] => [
  'fragment',
  truth(isFragment),
];

const trackingStates = ['NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED'];
const everyState = 2 ** 20 - 1;

/** xt_conntrack: a state of the packet, or SNAT and DNAT of its connection. A bit for each state with each pair of those. */
export function stateSet(states: readonly string[]): FieldSet {
  let bits = 0;
  for (const [i, state] of trackingStates.entries())
    for (const nat of [0, 1, 2, 3]) {
      const holds =
        states.includes(state) ||
        (states.includes('SNAT') && (nat & 1) !== 0) ||
        (states.includes('DNAT') && (nat & 2) !== 0);
      if (holds) bits |= 1 << (i * 4 + nat);
    }
  return memberSet(bits, everyState);
}

/** `NEW` of a set of states: its first. */
export function stateName(set: FieldSet): string {
  if (set.kind !== 'members') return '';
  const first = 31 - Math.clz32(set.bits & -set.bits);
  return trackingStates[first >> 2] ?? '';
}
