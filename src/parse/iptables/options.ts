/** Groups the words of a rule into sections: core options, one section per match module, the target. */
import { quoteWord, type Token } from './tokens.ts';

export interface Option {
  /** With its dashes, `--dport`. */
  readonly name: string;
  readonly negate: boolean;
  readonly values: readonly string[];
}

/** A `-m NAME` or `-j NAME` with the options that belong to it. */
export interface Section {
  readonly opener: '-m' | '-j' | '-g';
  readonly name: string;
  readonly options: readonly Option[];
}

/** The section in normal form: single blanks, quotes only where they are needed. Made on demand: few rules need it. */
export const sectionText = ({ opener, name, options }: Section): string =>
  [opener, name, ...options.map(optionText)].join(' ');

export const optionText = ({ name, negate, values }: Option): string =>
  `${negate ? '! ' : ''}${[name, ...values.map(quoteWord)].join(' ')}`;

export interface RuleWords {
  readonly core: readonly Option[];
  readonly modules: readonly Section[];
  readonly target?: Section;
  readonly counters?: { readonly packets: number; readonly bytes: number };
  /** Options and words that stand nowhere they could belong to, quoted as needed. */
  readonly stray: readonly string[];
}

/** Core options by every spelling. */
const coreNames = new Map<string, string>([
  ['-s', '-s'],
  ['--src', '-s'],
  ['--source', '-s'],
  ['-d', '-d'],
  ['--dst', '-d'],
  ['--destination', '-d'],
  ['-i', '-i'],
  ['--in-interface', '-i'],
  ['-o', '-o'],
  ['--out-interface', '-o'],
  ['-p', '-p'],
  ['--proto', '-p'],
  ['--protocol', '-p'],
  ['-f', '-f'],
  ['--fragment', '-f'],
]);

/** Words that open a section. */
const openers = new Map<string, '-m' | '-j' | '-g'>([
  ['-m', '-m'],
  ['--match', '-m'],
  ['-j', '-j'],
  ['--jump', '-j'],
  ['-g', '-g'],
  ['--goto', '-g'],
]);

/**
 * Options whose value may look like an option (`--comment --foo`), with the number of their values. All others take every
 * word up to the next option.
 */
const fixedValues = new Map<string, number>([
  ['--comment', 1],
  ['--log-prefix', 1],
  ['--nflog-prefix', 1],
  ['--name', 1],
  ['--string', 1],
  ['--hashlimit-name', 1],
  ['--nfacct-name', 1],
]);

/** Modules that `-p` loads by itself: `-p tcp --dport 80` needs no `-m tcp`. */
const protocolModules = new Map<string, string>([
  ['tcp', 'tcp'],
  ['6', 'tcp'],
  ['udp', 'udp'],
  ['17', 'udp'],
  ['sctp', 'sctp'],
  ['132', 'sctp'],
  ['icmp', 'icmp'],
  ['1', 'icmp'],
  ['ipv6-icmp', 'icmp6'],
  ['icmpv6', 'icmp6'],
  ['58', 'icmp6'],
]);

interface Draft extends Section {
  readonly options: Option[];
}

/** `tokens` are the words after `-A CHAIN`. */
export function groupWords(tokens: readonly Token[]): RuleWords {
  const core: Option[] = [];
  const sections: Draft[] = [];
  const stray: string[] = [];
  let counters: RuleWords['counters'];
  let current: Draft | undefined;
  let negate = false;
  let i = 0;
  while (i < tokens.length) {
    const token = tokens[i] as Token;
    i++;
    if (token.text === '!' && !token.quoted) {
      negate = true;
      continue;
    }
    const opener = token.quoted ? undefined : openers.get(token.text);
    if (opener !== undefined) {
      const name = tokens[i]?.text ?? '';
      i++;
      current = { opener, name, options: [] };
      sections.push(current);
      negate = false;
      continue;
    }
    if (!isOption(token)) {
      stray.push(quoteWord(token.text));
      continue;
    }
    const option = readOption(tokens, i, negate, token.text);
    i = option.next;
    negate = false;
    // Of IPsec's policies --proto is an option of their own.
    const isOwn = token.text === '--proto' && current?.name === 'policy';
    const coreName = isOwn ? undefined : coreNames.get(token.text);
    if (coreName !== undefined) {
      core.push({ ...option.option, name: coreName });
      // iptables-save prints core options first; behind a section they end it.
      if (current?.opener === '-m' && current.options.length > 0) current = undefined;
    } else if (token.text === '-c' || token.text === '--set-counters') {
      counters = readCounters(option.option.values);
    } else {
      current ??= implicitSection(core, sections);
      if (current === undefined) stray.push(optionText(option.option));
      else current.options.push(option.option);
    }
  }
  const target = sections.find((section) => section.opener !== '-m');
  return {
    core,
    modules: sections.filter((section) => section.opener === '-m'),
    ...(target === undefined ? {} : { target }),
    ...(counters === undefined ? {} : { counters }),
    stray,
  };
}

/** Whether no word behind these can belong to them; they open one section at most. */
export function standsAlone(tokens: readonly Token[]): boolean {
  const isWord = (token: Token | undefined, words: ReadonlyMap<string, unknown>) =>
    token !== undefined && !token.quoted && words.has(token.text);
  const last = tokens.at(-1);
  if (isWord(last, openers) || isWord(last, fixedValues)) return false;
  return tokens.filter((token) => isWord(token, openers)).length < 2;
}

const isOption = (token: Token): boolean =>
  !token.quoted && token.text.length > 1 && token.text[0] === '-' && !/^-\d/.test(token.text);

function readOption(
  tokens: readonly Token[],
  from: number,
  negatedBefore: boolean,
  name: string,
): { option: Option; next: number } {
  let negate = negatedBefore;
  let i = from;
  // The old form: `-s ! 10.0.0.0/8`.
  if (tokens[i]?.text === '!' && tokens[i]?.quoted === false && !nextIsOption(tokens, i + 1)) {
    negate = true;
    i++;
  }
  const values: string[] = [];
  const fixed = fixedValues.get(name);
  while (i < tokens.length && values.length < (fixed ?? Number.POSITIVE_INFINITY)) {
    const token = tokens[i] as Token;
    if (fixed === undefined && (isOption(token) || (token.text === '!' && !token.quoted))) break;
    values.push(token.text);
    i++;
  }
  return { option: { name, negate, values }, next: i };
}

const nextIsOption = (tokens: readonly Token[], i: number): boolean => {
  const token = tokens[i];
  return token === undefined || isOption(token);
};

function implicitSection(core: readonly Option[], sections: Draft[]): Draft | undefined {
  const protocol = core.find((option) => option.name === '-p')?.values[0];
  const module = protocol === undefined ? undefined : protocolModules.get(protocol.toLowerCase());
  if (module === undefined) return undefined;
  const draft: Draft = { opener: '-m', name: module, options: [] };
  sections.push(draft);
  return draft;
}

function readCounters(values: readonly string[]): RuleWords['counters'] {
  const packets = Number(values[0]);
  const bytes = Number(values[1]);
  return Number.isSafeInteger(packets) && Number.isSafeInteger(bytes) ? { packets, bytes } : undefined;
}
