/** Words of one iptables-save line, and their way back to text. */

export interface Token {
  readonly text: string;
  /** Written in quotes: never an option, also if it starts with a dash. */
  readonly quoted: boolean;
}

/**
 * Splits as iptables-restore does: blanks separate words, double quotes hold them, a backslash escapes the next character
 * inside quotes only, and a closing quote ends the word. Undefined if a quote is left open.
 */
export function tokenize(line: string): Token[] | undefined {
  const tokens: Token[] = [];
  if (!line.includes('"')) {
    // A plain separator splits several times faster than an expression, and iptables-save writes no tabs.
    const words = line.includes('\t') ? line.split(/[ \t]+/) : line.split(' ');
    for (const word of words) if (word !== '') tokens.push({ text: word, quoted: false });
    return tokens;
  }
  let word = '';
  for (let i = 0; i < line.length; i++) {
    const c = line[i] ?? '';
    if (c === '"') {
      const end = closingQuote(line, i + 1);
      if (end < 0) return undefined;
      tokens.push({ text: word + unescapeQuoted(line.slice(i + 1, end)), quoted: true });
      word = '';
      i = end;
    } else if (c === ' ' || c === '\t') {
      if (word !== '') tokens.push({ text: word, quoted: false });
      word = '';
    } else word += c;
  }
  if (word !== '') tokens.push({ text: word, quoted: false });
  return tokens;
}

function closingQuote(line: string, from: number): number {
  for (let i = from; i < line.length; i++) {
    if (line[i] === '\\') i++;
    else if (line[i] === '"') return i;
  }
  return -1;
}

const unescapeQuoted = (text: string): string => (text.includes('\\') ? text.replace(/\\(.)/g, '$1') : text);

/** As iptables-save quotes: only words that need it. */
export const quoteWord = (text: string): string =>
  /^[A-Za-z0-9_.,:/+=@%[\]()*!?-]+$/.test(text) && !/^(!$|-)/.test(text)
    ? text
    : `"${text.replace(/[\\"]/g, '\\$&')}"`;
