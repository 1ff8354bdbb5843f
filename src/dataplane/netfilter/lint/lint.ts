/** What is odd about the rules of one namespace. */
import type { Known } from '../../../model/known.ts';
import type { IpSet, Ruleset } from '../../../model/netfilter.ts';
import type { NetfilterFinding, NetfilterLint } from '../../../model/netfilter-report.ts';
import type { NftTable } from '../../../model/nft.ts';
import type { Prefix } from '../../../net/prefix.ts';
import { lowerRuleset } from './lower-iptables.ts';
import { lowerNftTable } from './lower-nft.ts';
import type { Program } from './program.ts';
import { reachOf } from './reach.ts';
import type { LintInput } from './rule.ts';
import { netfilterLintRules } from './rules/registry.ts';

/** The rules of one namespace, as far as they were recorded. */
export interface RecordedRules {
  readonly rulesets: readonly Ruleset[];
  readonly nftTables: readonly NftTable[];
  readonly ipsets: Known<readonly IpSet[]>;
  /** Empty where the cluster is not known. */
  readonly podNetworks: readonly Prefix[];
}

/** Tables that iptables-nft made stand in both forms; they are read once, as iptables prints them. */
export function programsOf({
  rulesets,
  nftTables,
}: Pick<RecordedRules, 'rulesets' | 'nftTables'>): readonly Program[] {
  const native = nftTables.filter((table) => !isPrinted(table, rulesets));
  return [...rulesets.flatMap(lowerRuleset), ...native.map(lowerNftTable)];
}

const isPrinted = (table: NftTable, rulesets: readonly Ruleset[]): boolean =>
  table.baseChains.every(({ name, hook }) => name === hook.toUpperCase()) &&
  rulesets.some(
    ({ backend, family, tables }) =>
      backend === 'nft' &&
      table.family === (family === 4 ? 'ip' : 'ip6') &&
      tables.some(({ name }) => name === table.name),
  );

export function lintNetfilter(rules: RecordedRules): NetfilterLint {
  const programs = programsOf(rules);
  const input: LintInput = {
    programs: programs.map(reachOf),
    ipsets: rules.ipsets,
    podNetworks: rules.podNetworks,
  };
  const findings = netfilterLintRules.flatMap(({ run }) => run(input));
  return {
    findings: findings.sort(inFileOrder),
    files: [...new Set(programs.map(({ file }) => file))],
    ruleCount: programs.reduce((sum, program) => sum + ruleCountOf(program), 0),
    notRun: netfilterLintRules.flatMap(({ id, cannotRun }) => {
      const why = cannotRun?.(input);
      return why === undefined ? [] : [{ rule: id, why }];
    }),
  };
}

const ruleCountOf = ({ chains }: Program): number =>
  [...chains.values()].reduce((sum, { rules }) => sum + rules.length, 0);

const inFileOrder = (a: NetfilterFinding, b: NetfilterFinding): number =>
  a.place.file < b.place.file
    ? -1
    : a.place.file > b.place.file
      ? 1
      : (a.place.line ?? 0) - (b.place.line ?? 0);
