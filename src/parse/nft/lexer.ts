/** Words of nft's own language (nft(8)), one after the other: what `nft list ruleset` prints is never longer than the text itself. */

export type TokenKind =
  /** Names and keywords; a trailing `*` belongs to it. */
  | 'word'
  /** In quotes; the text is without them. */
  | 'string'
  | 'number'
  /** IPv4, IPv6 or MAC. */
  | 'address'
  /** `1m30s`. */
  | 'time'
  /** `@name`. */
  | 'set'
  /** `@nh,96,32`. */
  | 'raw'
  /** `# xt_multiport`: an extension of iptables, printed as a comment although it decides. */
  | 'xt'
  | 'sign'
  | 'newline'
  /** A character that nft never prints here. */
  | 'odd'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** Offset of its first character. */
  readonly at: number;
  /** 1-based. */
  readonly line: number;
}

export interface Lexer {
  /** The token after the next `ahead` ones. */
  readonly peek: (ahead?: number) => Token;
  readonly next: () => Token;
  /** Braces opened and not closed by the tokens taken. */
  readonly depth: () => number;
  /** The handle of the last comment `# handle N` passed, once. */
  readonly takeHandle: () => number | undefined;
  readonly columnOf: (token: Token) => number;
  readonly slice: (from: Token, to: Token) => string;
}

const address =
  /(?:[0-9a-f]{1,2}:){5}[0-9a-f]{1,2}(?![\w:])|(?=[0-9a-f]{0,4}:[0-9a-f]{0,4}:)[0-9a-f:]{2,39}(?:\.\d{1,3}){0,3}(?![\w.:])|\d{1,3}(?:\.\d{1,3}){3}(?![\w.])/iy;
const time = /(?:\d{1,12}(?:ms|w|d|h|m|s)){1,6}(?!\w)/y;
const number = /(?:0x[0-9a-f]+|\d+)(?!\w)/iy;
/** tc handles, `1:2`. */
const classid = /[0-9a-f]{1,4}:[0-9a-f]{1,4}(?![\w:.])/iy;
const word = /(?:[a-z_][\w/\-.]*|\d\w*)\*?/iy;
const raw = /@(?:ll|nh|th|ih),\d{1,9},\d{1,9}/y;
const setName = /@[\w.][\w/\-.]*/y;
const sign = /==|!=|<=|>=|<<|>>|[{}()[\];,=<>!&|^/*.:-]/y;
const xtComment = /#[ \t]*(?:xt_|(?:match|target|xt) )[\w-]+/iy;
const handleComment = /#[ \t]*handle (\d{1,15})[ \t\r]*(?=\n|$)/y;

const startsAddress = /[0-9a-f:]/i;

export function lex(text: string): Lexer {
  let at = 0;
  let line = 1;
  let handle: number | undefined;
  let depth = 0;
  const ahead: Token[] = [];

  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(text)?.[0];
  };
  const take = (kind: TokenKind, found: string, shown = found): Token => {
    const token = { kind, text: shown, at, line };
    at += found.length;
    return token;
  };
  const lineEnd = (): number => {
    const end = text.indexOf('\n', at);
    return end < 0 ? text.length : end;
  };

  function read(): Token {
    for (;;) {
      const char = text[at];
      if (char === undefined) return { kind: 'end', text: '', at, line };
      if (char === ' ' || char === '\t' || char === '\r') at++;
      else if (char === '\\' && /^\\\r?\n/.test(text.slice(at, at + 3))) {
        at = lineEnd() + 1;
        line++;
      } else if (char === '#') {
        const found = comment();
        if (found !== undefined) return found;
      } else break;
    }
    const char = text[at] ?? '';
    if (char === '\n') {
      const token = take('newline', char);
      line++;
      return token;
    }
    if (char === '"') return quoted();
    return plain(char);
  }

  /** Comments are skipped; the handle is kept, and extensions of iptables are no comments. */
  function comment(): Token | undefined {
    const xt = match(xtComment);
    if (xt !== undefined) return take('xt', xt, xt.replace(/^#[ \t]*/, ''));
    const found = match(handleComment);
    if (found !== undefined) handle = Number(/\d+/.exec(found)?.[0]);
    at = lineEnd();
    return undefined;
  }

  /** nft knows no escapes: a string ends at the next quote, in its line. */
  function quoted(): Token {
    const end = text.indexOf('"', at + 1);
    if (end < 0 || end > lineEnd()) return take('odd', '"');
    return take('string', text.slice(at, end + 1), text.slice(at + 1, end));
  }

  function plain(char: string): Token {
    if (char === '@') {
      const bits = match(raw);
      if (bits !== undefined) return take('raw', bits);
      const name = match(setName);
      return name === undefined ? take('odd', char) : take('set', name, name.slice(1));
    }
    if (startsAddress.test(char)) {
      const found = match(address);
      if (found !== undefined) return take('address', found);
    }
    if (char >= '0' && char <= '9') {
      const digits = match(classid);
      if (digits !== undefined) return take('string', digits);
      const duration = match(time);
      if (duration !== undefined) return take('time', duration);
      const value = match(number);
      if (value !== undefined) return take('number', value);
    }
    const name = match(word);
    if (name !== undefined) return take('word', name);
    const found = match(sign);
    return found === undefined ? take('odd', char) : take('sign', found);
  }

  const peek = (count = 0): Token => {
    while (ahead.length <= count) ahead.push(read());
    return ahead[count] ?? read();
  };
  return {
    peek,
    next: () => {
      const token = peek();
      ahead.shift();
      if (token.kind === 'sign') depth += token.text === '{' ? 1 : token.text === '}' ? -1 : 0;
      return token;
    },
    depth: () => depth,
    takeHandle: () => {
      const found = handle;
      handle = undefined;
      return found;
    },
    columnOf: (token) => token.at - text.lastIndexOf('\n', token.at - 1),
    slice: (from, to) => text.slice(from.at, to.at),
  };
}
