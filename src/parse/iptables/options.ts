/** Groups the words of a rule into sections: core options, one section per match module, the target. */
import { renderToken, type Token } from './tokens.ts';

export interface Option {
  /** With its dashes, `--dport`. */
  readonly name: string;
  readonly negate: boolean;
  readonly values: readonly string[];
}

/** A `-m NAME` or `-j NAME` with the options that belong to it. */
export interface Section {
  readonly name: string;
  readonly options: readonly Option[];
  /** As written, in normal spacing. */
  readonly text: string;
}

export interface RuleWords {
  readonly core: readonly Option[];
  readonly modules: readonly Section[];
  readonly target?: { readonly via: '-j' | '-g'; readonly section: Section };
  readonly counters?: { readonly packets: number; readonly bytes: number };
  /** Options that stand nowhere they could belong to. */
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

interface Draft {
  readonly opener: '-m' | '-j' | '-g';
  readonly name: string;
  readonly options: Option[];
  readonly words: string[];
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
      current = { opener, name, options: [], words: [opener, name] };
      sections.push(current);
      negate = false;
      continue;
    }
    if (!isOption(token)) {
      stray.push(token.text);
      continue;
    }
    const option = readOption(tokens, i, negate, token.text);
    i = option.next;
    negate = false;
    const coreName = coreNames.get(token.text);
    if (coreName !== undefined) {
      core.push({ ...option.option, name: coreName });
      // iptables-save prints core options first; behind a section they end it.
      if (current?.opener === '-m' && current.options.length > 0) current = undefined;
    } else if (token.text === '-c' || token.text === '--set-counters') {
      counters = readCounters(option.option.values);
    } else {
      current ??= implicitSection(core, sections);
      if (current === undefined) stray.push(...option.words);
      else {
        current.options.push(option.option);
        current.words.push(...option.words);
      }
    }
  }
  const target = sections.find((section) => section.opener !== '-m');
  return {
    core,
    modules: sections.filter((section) => section.opener === '-m').map(finish),
    ...(target === undefined || target.opener === '-m'
      ? {}
      : { target: { via: target.opener, section: finish(target) } }),
    ...(counters === undefined ? {} : { counters }),
    stray,
  };
}

const finish = (draft: Draft): Section => ({
  name: draft.name,
  options: draft.options,
  text: draft.words.join(' '),
});

const isOption = (token: Token): boolean =>
  !token.quoted && token.text.length > 1 && token.text[0] === '-' && !/^-\d/.test(token.text);

function readOption(
  tokens: readonly Token[],
  from: number,
  negatedBefore: boolean,
  name: string,
): { option: Option; words: string[]; next: number } {
  let negate = negatedBefore;
  let i = from;
  // The old form: `-s ! 10.0.0.0/8`.
  if (tokens[i]?.text === '!' && tokens[i]?.quoted === false && !nextIsOption(tokens, i + 1)) {
    negate = true;
    i++;
  }
  const values: string[] = [];
  const words = negate ? ['!', name] : [name];
  const fixed = fixedValues.get(name);
  while (i < tokens.length && values.length < (fixed ?? Number.POSITIVE_INFINITY)) {
    const token = tokens[i] as Token;
    if (fixed === undefined && (isOption(token) || (token.text === '!' && !token.quoted))) break;
    values.push(token.text);
    words.push(renderToken(token));
    i++;
  }
  return { option: { name, negate, values }, words, next: i };
}

const nextIsOption = (tokens: readonly Token[], i: number): boolean => {
  const token = tokens[i];
  return token === undefined || isOption(token);
};

function implicitSection(core: readonly Option[], sections: Draft[]): Draft | undefined {
  const protocol = core.find((option) => option.name === '-p')?.values[0];
  const module = protocol === undefined ? undefined : protocolModules.get(protocol.toLowerCase());
  if (module === undefined) return undefined;
  const draft: Draft = { opener: '-m', name: module, options: [], words: ['-m', module] };
  sections.push(draft);
  return draft;
}

function readCounters(values: readonly string[]): RuleWords['counters'] {
  const packets = Number(values[0]);
  const bytes = Number(values[1]);
  return Number.isSafeInteger(packets) && Number.isSafeInteger(bytes) ? { packets, bytes } : undefined;
}
