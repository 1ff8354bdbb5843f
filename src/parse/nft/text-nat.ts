/** dnat, snat, masquerade, redirect and tproxy in nft's own words. */
import type { JsonObject } from '../json.ts';
import type { Lexer } from './lexer.ts';
import { type Json, readExpression } from './text-expression.ts';
import { expectSign, expectWord, isSign, isWord, skipSign, skipWord, takeFlags } from './words.ts';

const natFlags: ReadonlySet<string> = new Set(['random', 'fully-random', 'persistent']);

/** `dnat ip to 10.0.0.1-10.0.0.5:80-90 random,persistent`, `dnat ip prefix to ...`, `redirect to :8080`. */
export function readNat(lexer: Lexer, how: string): JsonObject {
  const family = readFamily(lexer);
  const kind = natKind(lexer);
  const to = skipWord(lexer, 'to') ? target(lexer) : {};
  const flags =
    natFlags.has(lexer.peek().text) && lexer.peek().kind === 'word' ? takeFlags(lexer) : undefined;
  const value = {
    ...(family === undefined ? {} : { family }),
    ...to,
    ...(kind === 'prefix' ? { flags: 'netmap', type_flags: kind } : flags === undefined ? {} : { flags }),
  };
  return { [how]: Object.keys(value).length === 0 ? null : value };
}

function readFamily(lexer: Lexer): string | undefined {
  const token = lexer.peek();
  return isWord(token, 'ip') || isWord(token, 'ip6') ? lexer.next().text : undefined;
}

/** What the map or address stands for; older versions say it where newer ones leave it out. */
function natKind(lexer: Lexer): 'prefix' | undefined {
  if (skipWord(lexer, 'prefix')) return 'prefix';
  if (skipWord(lexer, 'addr')) {
    expectSign(lexer, '.');
    expectWord(lexer, 'port');
  }
  skipWord(lexer, 'interval');
  return undefined;
}

/** `10.0.0.1`, `[fe80::1]:80`, `:80`, `tcp dport map { ... }`. */
function target(lexer: Lexer): { readonly addr?: Json; readonly port?: Json } {
  const addr = isSign(lexer.peek(), ':') ? undefined : address(lexer);
  const port = skipSign(lexer, ':') ? readExpression(lexer) : undefined;
  return { ...(addr === undefined ? {} : { addr }), ...(port === undefined ? {} : { port }) };
}

function address(lexer: Lexer): Json {
  if (!skipSign(lexer, '[')) return readExpression(lexer);
  const from = readExpression(lexer);
  expectSign(lexer, ']');
  if (!skipSign(lexer, '-')) return from;
  // `[fe80::1]-[fe80::5]:80`
  expectSign(lexer, '[');
  const to = readExpression(lexer);
  expectSign(lexer, ']');
  return { range: [from, to] };
}

export function readTproxy(lexer: Lexer): JsonObject {
  const family = readFamily(lexer);
  expectWord(lexer, 'to');
  return { tproxy: { ...(family === undefined ? {} : { family }), ...target(lexer) } };
}
