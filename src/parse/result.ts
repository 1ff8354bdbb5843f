/** What every parser returns: a value with remarks, or one coded error with its position. Parsers never throw. */
import { type Known, known, unknown } from '../model/known.ts';

interface Position {
  /** Stable, `iptables/unknown-match`. */
  readonly code: string;
  /** Path inside the snapshot. */
  readonly file: string;
  /** 1-based. */
  readonly line?: number;
  /** 1-based. */
  readonly column?: number;
  readonly message: string;
}

/** A line or field that was not understood; it is kept as unknown in the value, or named here because it has no place there. */
export interface ParseNote extends Position {}

/** Why there is no value at all. */
export interface ParseError extends Position {}

export type Parsed<T> =
  | { readonly ok: true; readonly value: T; readonly notes: readonly ParseNote[] }
  | { readonly ok: false; readonly error: ParseError };

export const parsed = <T>(value: T, notes: readonly ParseNote[] = []): Parsed<T> => ({
  ok: true,
  value,
  notes: notes.map(bounded),
});

export const failed = (error: ParseError): Parsed<never> => ({ ok: false, error: bounded(error) });

/** A message may quote a word of the text, and a damaged text may be one word of megabytes. */
function bounded<T extends Position>(position: T): T {
  return position.message.length <= maxMessage
    ? position
    : { ...position, message: `${position.message.slice(0, maxMessage)}...` };
}
const maxMessage = 480;

/** `nodes/node1/ip-rule.json:3:17: message`. */
export function formatPosition(position: ParseNote | ParseError): string {
  const line = position.line === undefined ? '' : `:${position.line}`;
  const column = position.line === undefined || position.column === undefined ? '' : `:${position.column}`;
  return `${position.file}${line}${column}: ${position.message}`;
}

/** The parsed value as a fact; an error is the reason why it is unknown. */
export const toKnown = <T>(result: Parsed<T>): Known<T> =>
  result.ok ? known(result.value) : unknown(formatPosition(result.error));

/** Long lines are cut in messages: a binary file must not fill the screen. */
export const excerpt = (text: string, limit = 120): string => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not reach a terminal
  const clean = text.slice(0, limit + 1).replace(/[\u0000-\u001f\u007f-\u009f]/g, '?');
  return clean.length > limit ? `${clean.slice(0, limit)}...` : clean;
};
