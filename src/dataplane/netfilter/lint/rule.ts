/** What a rule of the linter gets, and what it says. */

import type { Known } from '../../../model/known.ts';
import type { IpSet } from '../../../model/netfilter.ts';
import type { NetfilterFinding, RulePlace } from '../../../model/netfilter-report.ts';
import type { SourceRef } from '../../../model/source.ts';
import type { Prefix } from '../../../net/prefix.ts';
import { ownerOf, type RuleOwner } from '../owner.ts';
import { type Program, type ProgramChain, type ProgramRule, ruleText } from './program.ts';
import type { Reach } from './reach.ts';

/** The rules of one namespace. */
export interface LintInput {
  readonly programs: readonly Reach[];
  readonly ipsets: Known<readonly IpSet[]>;
  /** Of the cluster, where it is known. */
  readonly podNetworks: readonly Prefix[];
}

export interface LintRule {
  readonly id: string;
  readonly run: (input: LintInput) => readonly NetfilterFinding[];
  /** Why it cannot look; undefined if it can. */
  readonly cannotRun?: (input: LintInput) => string | undefined;
}

export function placeOf(source: SourceRef): RulePlace {
  if (source.kind !== 'file') return { file: '', text: '' };
  const text = ruleText({ source });
  return { file: source.file, ...(source.line === undefined ? {} : { line: source.line }), text };
}

/** Who wrote a rule, or a chain where none is given; `foreign` where no known program did. */
export const ownerIn = (program: Program, chain: ProgramChain, rule?: ProgramRule): RuleOwner =>
  ownerOf(
    chain.name,
    rule,
    program.backend === 'nftables' ? `${program.family} ${program.table}` : program.table,
  );

type Said = Pick<NetfilterFinding, 'rule' | 'severity' | 'text' | 'todo'> & {
  readonly because?: readonly SourceRef[];
};

/** A finding about a rule, or about the chain where there is none. */
export function finding(
  program: Program,
  chain: ProgramChain,
  rule: ProgramRule | undefined,
  said: Said,
): NetfilterFinding {
  const { because = [], ...rest } = said;
  return {
    ...rest,
    backend: program.backend,
    family: program.family,
    table: program.table,
    chain: chain.name,
    owner: ownerIn(program, chain, rule),
    place: placeOf(rule?.source ?? chain.source),
    because: because.map(placeOf),
  };
}

export function* rulesOf(program: Program): Generator<readonly [ProgramChain, ProgramRule]> {
  for (const chain of program.chains.values()) for (const rule of chain.rules) yield [chain, rule];
}
