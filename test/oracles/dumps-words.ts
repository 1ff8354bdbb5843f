/** What the rules of a dump name: the addresses, ports, devices and sets that packets near them have. */
import type { Match, Rule, Ruleset } from '../../src/model/netfilter.ts';
import type { Prefix } from '../../src/net/prefix.ts';

export interface Words {
  readonly rules: readonly Rule[];
  readonly prefixes: readonly Prefix[];
  readonly ports: readonly number[];
  readonly devices: readonly string[];
  /** Sets by name, with the most directions that a rule asks them for. */
  readonly sets: ReadonlyMap<string, number>;
}

export const rulesOf = (ruleset: Ruleset): readonly Rule[] =>
  ruleset.tables.flatMap(({ chains }) => [...chains.values()].flatMap((chain) => chain.rules));

/** A device for a name in a rule: `cali+` is met by `cali1`. */
export const deviceFor = (name: string): string =>
  (name.endsWith('+') ? `${name.slice(0, -1)}1` : name).slice(0, 15);

export function wordsOf(ruleset: Ruleset): Words {
  const rules = rulesOf(ruleset);
  const matches = rules.flatMap((rule) => rule.matches);
  const prefixes = new Map<string, Prefix>();
  const ports = new Set<number>();
  const devices = new Set<string>();
  const sets = new Map<string, number>();
  for (const match of matches) {
    if (match.kind === 'address') prefixes.set(`${match.prefix.value}/${match.prefix.length}`, match.prefix);
    if (match.kind === 'address-range')
      for (const value of [match.from, match.to])
        prefixes.set(`${value}`, { family: ruleset.family, value, length: ruleset.family === 4 ? 32 : 128 });
    if (match.kind === 'port') for (const port of portsOf(match)) ports.add(port);
    if (match.kind === 'device' && match.name !== 'lo' && match.name !== '+')
      devices.add(deviceFor(match.name));
    if (match.kind === 'set')
      sets.set(match.set, Math.max(sets.get(match.set) ?? 0, match.directions.length));
  }
  for (const { target } of rules) {
    if (target.kind !== 'dnat' && target.kind !== 'snat') continue;
    const { from, ports: range } = target.range;
    if (from !== undefined)
      prefixes.set(`${from}`, {
        family: ruleset.family,
        value: from,
        length: ruleset.family === 4 ? 32 : 128,
      });
    if (range !== undefined) ports.add(range.from);
  }
  return { rules, prefixes: [...prefixes.values()], ports: [...ports], devices: [...devices], sets };
}

/** Both ends of each range, and their neighbours outside. */
export const portsOf = (match: Extract<Match, { kind: 'port' }>): readonly number[] =>
  match.ranges
    .flatMap(({ from, to }) => [from, to, from - 1, to + 1])
    .filter((port) => port > 0 && port < 65_536);
