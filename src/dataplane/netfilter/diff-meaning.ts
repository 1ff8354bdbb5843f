/** Whether two tables treat every packet alike: proven, disproven with a packet, or not known. */
import type { NetfilterMeaning } from '../../model/netfilter-report.ts';
import { type Address, formatAddress } from '../../net/address.ts';
import { type Decision, decisionKey, decisionsOf, type MarkNow } from './lint/decisions.ts';
import { bitSet, sample, TooComplex } from './lint/field-sets.ts';
import type { BaseChain, Program } from './lint/program.ts';
import { type Box, meet } from './lint/region.ts';
import { stateName } from './lint/vocabulary.ts';

export function compareMeaning(a: Program, b: Program): NetfilterMeaning {
  let doubt: string | undefined;
  for (const { hook, one, two } of hooksOf(a, b)) {
    const meaning = compareHook(a, b, hook, one, two);
    if (meaning.state === 'different') return meaning;
    if (meaning.state === 'unknown') doubt ??= meaning.why;
  }
  return doubt === undefined ? { state: 'equal' } : { state: 'unknown', why: doubt };
}

function hooksOf(a: Program, b: Program) {
  const key = ({ hook, nat, priority }: BaseChain) => `${hook} ${nat} ${priority}`;
  const keys = new Set([...a.bases, ...b.bases].map(key));
  return [...keys].map((one) => ({
    hook: one.split(' ')[0] ?? '',
    one: a.bases.filter((base) => key(base) === one),
    two: b.bases.filter((base) => key(base) === one),
  }));
}

/** More pairs than this take too long. */
const maxPairs = 6_000_000;

function compareHook(
  a: Program,
  b: Program,
  hook: string,
  one: readonly BaseChain[],
  two: readonly BaseChain[],
): NetfilterMeaning {
  const [before, after] = [one[0], two[0]];
  if (one.length > 1 || two.length > 1 || before === undefined || after === undefined)
    return { state: 'unknown', why: `${hook} has other base chains` };
  try {
    const [left, right] = [decisionsOf(a, before), decisionsOf(b, after)];
    if (left.length * right.length > maxPairs) throw new TooComplex();
    return compareDecisions(hook, left, right);
  } catch (error) {
    if (!(error instanceof TooComplex)) throw error;
    return { state: 'unknown', why: `${hook} has too many ways, or rules whose effect is not followed` };
  }
}

function compareDecisions(
  hook: string,
  left: readonly Decision[],
  right: readonly Decision[],
): NetfilterMeaning {
  let doubt: string | undefined;
  for (const one of left)
    for (const two of right) {
      if (decisionKey(one) === decisionKey(two)) continue;
      const both = meet(one.box, two.box);
      if (both === undefined) continue;
      const different = (packet: Box, a: string, b: string): NetfilterMeaning => ({
        state: 'different',
        hook,
        packet: packetText(packet),
        a,
        b,
      });
      if (one.verdict !== two.verdict)
        return different(both, verdictText(one.verdict), verdictText(two.verdict));
      if (one.log !== two.log)
        doubt ??= `at ${hook} sets, marks or rates are handled differently for ${packetText(both)}`;
      else
        for (const field of ['mark', 'connmark'] as const) {
          const value = tellsApart(both, field, one.marks[field], two.marks[field]);
          if (value === undefined) continue;
          const ends = (decision: Decision) =>
            `${verdictText(decision.verdict)} with ${field} 0x${markAfter(decision.marks[field], value).toString(16)}`;
          return different(new Map(both).set(field, bitSet(value, 0xffffffff)), ends(one), ends(two));
        }
    }
  return doubt === undefined ? { state: 'equal' } : { state: 'unknown', why: doubt };
}

const markAfter = ({ fixed, value }: MarkNow, mark: number): number => ((mark & ~fixed) ^ value) >>> 0;

/** A mark of the box that the two ways leave behind differently; undefined if there is none. */
function tellsApart(box: Box, field: 'mark' | 'connmark', one: MarkNow, two: MarkNow): number | undefined {
  const set = box.get(field);
  const cubes = set?.kind === 'bits' ? set.cubes : [{ mask: 0, value: 0 }];
  for (const { mask, value } of cubes) {
    if (markAfter(one, value) !== markAfter(two, value)) return value;
    // With its free bits clear both end alike: one of them set may end differently.
    for (let bit = 0; bit < 32; bit++) {
      const set1 = (value | (1 << bit)) >>> 0;
      if (((mask >>> bit) & 1) === 0 && markAfter(one, set1) !== markAfter(two, set1)) return set1;
    }
  }
  return undefined;
}

/** `dnat 10.0.0.1` of `{"kind":"dnat","range":{"from":"167772161"...}}`. */
function verdictText(verdict: string): string {
  if (!verdict.startsWith('{')) return verdict;
  const { kind, how, range } = JSON.parse(verdict) as {
    kind?: string;
    how?: string;
    range?: { from?: string; ports?: { from: number } };
  };
  const name = how ?? kind ?? verdict;
  if (range === undefined) return name;
  const value = range.from === undefined ? undefined : BigInt(range.from);
  const address: Address | undefined =
    value === undefined ? undefined : { family: value >> 32n === 0n ? 4 : 6, value };
  const port = range.ports === undefined ? '' : `:${range.ports.from}`;
  return `${name} ${address === undefined ? '' : formatAddress(address)}${port}`;
}

const protocolNames: Readonly<Record<string, string>> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '58': 'icmpv6',
  '132': 'sctp',
};

/** One packet of the box: only what the box says. `tcp 10.0.0.1 -> 10.0.0.2:80, in eth0, NEW`. */
function packetText(box: Box): string {
  const parts: string[] = [];
  const value = (field: string) => {
    const set = box.get(field);
    return set === undefined ? undefined : sample(set);
  };
  const end = (side: 'src' | 'dst'): string => {
    const family = box.has(`${side}6`) ? 6 : 4;
    const text = value(`${side}${family}`);
    const address = text === undefined ? 'any' : formatAddress({ family, value: BigInt(text) });
    const port = value(side === 'src' ? 'sport' : 'dport');
    return port === undefined ? address : `${address} port ${port}`;
  };
  const proto = value('proto');
  parts.push(
    `${proto === undefined ? 'any' : (protocolNames[proto] ?? `protocol ${proto}`)} ${end('src')} -> ${end('dst')}`,
  );
  for (const [field, name] of [
    ['iif', 'in'],
    ['oif', 'out'],
    ['mark', 'mark'],
    ['connmark', 'connmark'],
  ] as const) {
    const text = value(field);
    if (text !== undefined && text !== '') parts.push(`${name} ${text}`);
  }
  const state = box.get('state');
  if (state !== undefined) parts.push(stateName(state));
  for (const [field, set] of box) {
    const name = /^(set|atom|chance):(.*)$/.exec(field)?.[2];
    if (name !== undefined) parts.push(`${sample(set) === '1' ? '' : 'not '}(${name})`);
  }
  return parts.join(', ');
}
