/** What an answer of the API server means: its status code, and the Status object in its body. */
import { isObject, type JsonObject } from '../../parse/json.ts';
import type { Failure, FailureKind } from './failure.ts';
import { redactText } from './redact.ts';
import type { Answer } from './transport.ts';

export type Outcome =
  | { readonly ok: true; readonly value: JsonObject }
  | { readonly ok: false; readonly failure: Failure; readonly retryAfterMs?: number };

export function outcomeOf(answer: Answer): Outcome {
  const value = parse(answer.body);
  if (answer.status === 200) {
    if (value !== undefined) return { ok: true, value };
    return failed('malformed', 200, `the answer is no JSON object: ${excerpt(answer.body)}`);
  }
  const message = messageOf(value) ?? excerpt(answer.body);
  const kind = kindOf(answer.status);
  const failure: Failure = {
    kind,
    status: answer.status,
    message: message === '' ? `the server answered with status ${answer.status}` : message,
    ...(kind === 'gone' ? tokenOf(value) : {}),
  };
  const retryAfterMs = retryAfter(answer.headers['retry-after']);
  return { ok: false, failure, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) };
}

const failed = (kind: FailureKind, status: number, message: string): Outcome => ({
  ok: false,
  failure: { kind, status, message },
});

function kindOf(status: number): FailureKind {
  switch (status) {
    case 401:
      return 'unauthenticated';
    case 403:
      return 'forbidden';
    case 404:
      return 'missing';
    case 410:
      return 'gone';
    case 429:
      return 'throttled';
    case 408:
      return 'timeout';
    default:
      return status >= 500 ? 'server' : 'malformed';
  }
}

function parse(body: string): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(body);
    return isObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const messageOf = (value: JsonObject | undefined): string | undefined =>
  typeof value?.message === 'string' && value.message !== '' ? redactText(value.message) : undefined;

/** A proxy's page of HTML says enough in its first words. */
const excerpt = (body: string): string =>
  redactText(
    body
      .replace(/<[^>]*>|\p{Cc}+/gu, ' ')
      .replace(/ +/g, ' ')
      .trim()
      .slice(0, 200),
  );

/** ListAccessor of the Status: a list may go on from the server's present state (apiserver, handleListError). */
function tokenOf(value: JsonObject | undefined): { continueToken?: string } {
  const meta = isObject(value?.metadata) ? value.metadata : {};
  return typeof meta.continue === 'string' && meta.continue !== '' ? { continueToken: meta.continue } : {};
}

/** RFC 9110: seconds, or a date, which the API server never sends. */
function retryAfter(value: string | undefined): number | undefined {
  const seconds = Number(value);
  return value === undefined || !Number.isFinite(seconds) || seconds < 0 ? undefined : seconds * 1000;
}
