/** One `-A` line lowered to a rule. */
import type { Match, Rule, Target } from '../../model/netfilter.ts';
import type { SourceRef } from '../../model/source.ts';
import type { Family } from '../../net/address.ts';
import { lowerModule } from './matches.ts';
import { readNetwork, readProtocol } from './numbers.ts';
import { groupWords, type Option, optionText, type RuleWords } from './options.ts';
import { isExtension, lowerTarget } from './targets.ts';
import type { Token } from './tokens.ts';

export interface LoweredRule {
  readonly rule: Rule;
  /** What was not understood, one text each; the rule holds it as unknown. */
  readonly notes: readonly string[];
}

/** `tokens` follow `-A CHAIN`. `isChain` tells the user chains of the table. */
export function lowerRule(
  tokens: readonly Token[],
  family: Family,
  source: SourceRef,
  counters: Rule['counters'],
  isChain: (name: string) => boolean,
): LoweredRule {
  const words = groupWords(tokens);
  const notes: string[] = [];
  const matches: Match[] = [];
  for (const option of words.core) {
    const match = lowerCore(option, family);
    if (match?.kind === 'unknown') notes.push(`${match.why}: ${match.text}`);
    if (match !== undefined) matches.push(match);
  }
  const comments: string[] = [];
  for (const section of words.modules) {
    const lowered = lowerModule(section, family);
    matches.push(...lowered.matches);
    if (lowered.comment !== undefined) comments.push(lowered.comment);
    if (lowered.note !== undefined) notes.push(lowered.note);
  }
  if (words.stray.length > 0) {
    const text = words.stray.join(' ');
    const why = 'words that belong to no option';
    matches.push({ kind: 'unknown', text, why });
    notes.push(`${why}: ${text}`);
  }
  const { target, note } = readTarget(words, family, isChain);
  if (note !== undefined) notes.push(note);
  const counted = counters ?? words.counters;
  const rule: Rule = {
    matches,
    target,
    ...(comments.length === 0 ? {} : { comment: comments.join('; ') }),
    ...(counted === undefined ? {} : { counters: counted }),
    source,
  };
  return { rule, notes };
}

/** `-j` and `-g`; a rule without them goes on. */
export function readTarget(
  words: RuleWords,
  family: Family,
  isChain: (name: string) => boolean,
): { target: Target; note?: string } {
  if (words.target === undefined) return { target: { kind: 'continue', text: '' } };
  const section = words.target;
  if (section.opener === '-g') return { target: { kind: 'goto', chain: section.name } };
  // An undeclared name without options can only be a chain that the excerpt leaves out; the walk finds it missing.
  if (!isExtension(section.name) && (isChain(section.name) || section.options.length === 0))
    return { target: { kind: 'jump', chain: section.name } };
  return lowerTarget(section, family);
}

/** Undefined for conditions that are always true (`-p all`, `-s 0.0.0.0/0`). */
export function lowerCore(option: Option, family: Family): Match | undefined {
  const { name, negate, values } = option;
  const [value] = values;
  const unknownMatch = (why: string): Match => ({ kind: 'unknown', text: optionText(option), why });
  if (name === '-f') return values.length === 0 ? { kind: 'fragment', negate } : unknownMatch('stray value');
  if (value === undefined || values.length > 1) return unknownMatch('one value is needed');
  switch (name) {
    case '-s':
    case '-d': {
      const prefix = readNetwork(value, family);
      if (prefix === undefined) return unknownMatch('not an address or network of this family');
      if (prefix.length === 0 && !negate) return undefined;
      return { kind: 'address', negate, side: name === '-s' ? 'src' : 'dst', prefix };
    }
    case '-p': {
      const protocol = readProtocol(value);
      if (protocol === undefined) return unknownMatch('unknown protocol');
      if (protocol === 0) return negate ? unknownMatch('no protocol is all protocols') : undefined;
      return { kind: 'protocol', negate, protocol };
    }
    case '-i':
      return { kind: 'device', negate, direction: 'in', name: value };
    case '-o':
      return { kind: 'device', negate, direction: 'out', name: value };
    default:
      return unknownMatch('unknown option');
  }
}
