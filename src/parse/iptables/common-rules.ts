/**
 * Rules of the shape that iptables-save prints: conditions of its own first, then modules, then the target. They are read part by
 * part, and parts that come again are looked up: a node has a hundred thousand rules made of few parts. Everything else is
 * left to `lowerRule`, which reads all shapes.
 */
import type { Match, Target } from '../../model/netfilter.ts';
import type { Family } from '../../net/address.ts';
import { lowerModule } from './matches.ts';
import { groupWords, standsAlone } from './options.ts';
import { lowerCore, readTarget } from './rule.ts';
import { isExtension } from './targets.ts';
import { tokenize } from './tokens.ts';

/** What a line says behind `-A CHAIN`. */
export interface RuleParts {
  readonly matches: readonly Match[];
  readonly target: Target;
  readonly comment: string | undefined;
}

/** Undefined: the line has another shape, or something in it is not understood. */
export type ReadRule = (text: string, from: number) => RuleParts | undefined;

const nothing: readonly Match[] = [];
const goesOn: Target = { kind: 'continue', text: '' };
const commentOpener = '-m comment --comment ';

export function commonRules(family: Family): ReadRule {
  const conditions = partCache((part) => readConditions(part, family));
  const modules = partCache((part) => readModule(part, family));
  const targets = partCache((part) => readTargetPart(part, family));
  return (text, from) => {
    // Escapes and tabs are rare; they and what else is odd are for the reader of all shapes.
    if (text.includes('\\', from) || text.includes('\t', from)) return undefined;
    let matches = nothing;
    let target: Target | undefined;
    let comment: string | undefined;
    let start = from;
    while (start < text.length) {
      const end = partEnd(text, start);
      if (end < 0) return undefined;
      const kind = openerAt(text, start);
      if (kind === 'm' && text.startsWith(commentOpener, start)) {
        const said = readComment(text, start + commentOpener.length, end);
        if (said === undefined) return undefined;
        comment = comment === undefined ? said : `${comment}; ${said}`;
      } else if (kind === undefined || kind === 'm') {
        const found = (kind === undefined ? conditions : modules)(text.slice(start, end));
        if (found === undefined) return undefined;
        matches = matches.length === 0 ? found : [...matches, ...found];
      } else {
        if (target !== undefined) return undefined;
        const part = text.slice(start, end);
        target = readJump(part) ?? targets(part);
        if (target === undefined) return undefined;
      }
      start = end + 1;
    }
    return { matches, target: target ?? goesOn, comment };
  };
}

/** Remembers what each text of a part was read as; undefined where the reader does not take it. */
function partCache<T>(read: (part: string) => T | undefined): (part: string) => T | undefined {
  const known = new Map<string, T | undefined>();
  return (part) => {
    const found = known.get(part);
    if (found !== undefined || known.has(part)) return found;
    const made = read(part);
    known.set(part, made);
    return made;
  };
}

const space = 32;
const dash = 45;

/** The letter of `-m `, `-j ` or `-g ` that begins at the index. */
function openerAt(text: string, at: number): 'm' | 'j' | 'g' | undefined {
  if (text.charCodeAt(at) !== dash || text.charCodeAt(at + 2) !== space) return undefined;
  const letter = text[at + 1];
  return letter === 'm' || letter === 'j' || letter === 'g' ? letter : undefined;
}

/** Index of the blank in front of the next part, or the end of the text; negative where a quote is left open. */
function partEnd(text: string, start: number): number {
  let at = start;
  let next = text.indexOf(' -', at);
  let quote = text.indexOf('"', at);
  for (;;) {
    // Each is looked for again only behind where it was found: a line of many quotes is read once.
    if (next >= 0 && next < at) next = text.indexOf(' -', at);
    if (quote >= 0 && quote < at) quote = text.indexOf('"', at);
    if (quote >= 0 && (next < 0 || quote < next)) {
      const closing = text.indexOf('"', quote + 1);
      if (closing < 0) return -1;
      at = closing + 1;
      continue;
    }
    if (next < 0) return text.length;
    if (openerAt(text, next + 1) !== undefined) return next;
    at = next + 2;
  }
}

/** One word, or one in quotes. */
function readComment(text: string, start: number, end: number): string | undefined {
  if (text[start] !== '"') {
    const word = text.slice(start, end);
    return word === '' || word.includes(' ') || word.includes('"') ? undefined : word;
  }
  return text.indexOf('"', start + 1) === end - 1 ? text.slice(start + 1, end - 1) : undefined;
}

/** What stands in front of modules and target, with the module that a protocol loads by itself. */
function readConditions(part: string, family: Family): readonly Match[] | undefined {
  const words = wordsOf(part);
  if (words === undefined || words.target !== undefined) return undefined;
  const matches: Match[] = [];
  for (const option of words.core) {
    const match = lowerCore(option, family);
    if (match?.kind === 'unknown') return undefined;
    if (match !== undefined) matches.push(match);
  }
  for (const section of words.modules) {
    const { matches: own, comment, note } = lowerModule(section, family);
    if (comment !== undefined || note !== undefined) return undefined;
    matches.push(...own);
  }
  return matches;
}

function readModule(part: string, family: Family): readonly Match[] | undefined {
  const words = wordsOf(part);
  const [section, ...more] = words?.modules ?? [];
  if (words === undefined || section === undefined || more.length > 0) return undefined;
  if (words.core.length > 0 || words.target !== undefined) return undefined;
  const { matches, comment, note } = lowerModule(section, family);
  return comment === undefined && note === undefined ? matches : undefined;
}

/** Most rules of large sets lead to a chain of their own. */
function readJump(part: string): Target | undefined {
  if (part[1] !== 'j') return undefined;
  const name = part.slice(3);
  return /^[A-Z0-9a-z_-]+$/.test(name) && !isExtension(name) ? { kind: 'jump', chain: name } : undefined;
}

/** Whether `-j NAME` with options is a chain only the whole table tells. */
function readTargetPart(part: string, family: Family): Target | undefined {
  const words = wordsOf(part);
  const section = words?.target;
  if (words === undefined || section === undefined) return undefined;
  if (words.core.length > 0 || words.modules.length > 0) return undefined;
  if (section.options.length > 0 && !isExtension(section.name)) return undefined;
  const { target, note } = readTarget(words, family, () => false);
  return note === undefined ? target : undefined;
}

/** Undefined where a word of the part may belong to the next one, or to none. */
function wordsOf(part: string) {
  const tokens = tokenize(part);
  if (tokens === undefined || !standsAlone(tokens)) return undefined;
  const words = groupWords(tokens);
  return words.stray.length > 0 || words.counters !== undefined ? undefined : words;
}
