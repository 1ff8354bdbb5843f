/** The API server as the collector sees it: GET of a path, at a bounded rate, tried again where that may help. */
import type { Connection } from './connection.ts';
import { ApiError, type Failure, isPassing } from './failure.ts';
import { pauseFor, type Rate } from './rate.ts';
import { type Outcome, outcomeOf } from './status.ts';
import { get } from './transport.ts';

export type { Outcome } from './status.ts';

export interface Api {
  readonly connection: Connection;
  /** `/api/v1/pods?limit=500`. Throws only if interrupted; every other failure is an outcome. */
  get(path: string): Promise<Outcome>;
  /** Requests sent so far, second tries included. */
  readonly requests: number;
}

export interface ApiOptions {
  readonly rate: Rate;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly userAgent: string;
  /** Told of waits that a person would wonder about. */
  readonly say?: (text: string) => void;
}

/** Waits before the second, third ... try: an API server that restarts is away for ten to twenty seconds. */
const backOffMs = [250, 500, 1_000, 2_000, 4_000, 8_000] as const;
/** A throttling server is alive, and says when to come back; a 5xx is often one aggregated API that will stay broken. */
const maxTries = ({ kind }: Failure): number => (kind === 'throttled' ? 30 : kind === 'server' ? 5 : 7);
/** A server that never answered is more often the wrong one than one that restarts. */
const maxFirstTries = 2;
/** A server that asks for more is as good as away. */
const maxRetryAfterMs = 60_000;
/** Five hundred pods of 50 kB each, ten times over. */
const maxBytes = 256 * 1024 * 1024;

export function openApi(connection: Connection, options: ApiOptions): Api {
  const { rate, timeoutMs, signal, userAgent, say } = options;
  let requests = 0;
  /** Once it has been away through all tries, the rest is asked once each: the run must end. */
  let away = false;
  let met = false;

  const once = async (path: string): Promise<Outcome & { readonly generation: number }> => {
    await rate.take(signal);
    let generation = 0;
    try {
      const credentials = await connection.credentials(signal);
      const { agent, headers } = credentials;
      generation = credentials.generation;
      requests++;
      const answer = await get(new URL(connection.base + path), {
        agent,
        headers: { ...headers, Accept: 'application/json', 'User-Agent': userAgent },
        timeoutMs,
        signal,
        maxBytes,
      });
      if (answer.status !== 401) connection.accepted(generation);
      return { ...outcomeOf(answer), generation };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (error.failure.kind === 'interrupted') throw error;
      return { ok: false, failure: error.failure, generation };
    }
  };

  const tried = async (path: string): Promise<Outcome> => {
    let timeouts = 0;
    for (let attempt = 0; ; attempt++) {
      const outcome = await once(path);
      if (outcome.ok) {
        away = false;
        met = true;
        return outcome;
      }
      const { failure } = outcome;
      const tries = met || failure.status !== undefined ? maxTries(failure) : maxFirstTries;
      // A token that ran out while we read: exec plugins and token files give another one.
      if (failure.kind === 'unauthenticated' && connection.renew(outcome.generation)) continue;
      if (failure.kind === 'timeout') timeouts++;
      const waitMs = backOffMs[Math.min(attempt, backOffMs.length - 1)] ?? 0;
      // A time-out is long already; whoever asks may want to ask for less.
      if (!isPassing(failure) || attempt >= tries - 1 || away || timeouts >= 2) {
        if (failure.kind === 'unreachable') away = true;
        return outcome;
      }
      await hold(outcome.retryAfterMs, waitMs, failure);
    }
  };

  const hold = async (retryAfterMs: number | undefined, waitMs: number, failure: Failure): Promise<void> => {
    if (retryAfterMs !== undefined) {
      const ms = Math.min(retryAfterMs, maxRetryAfterMs);
      // The server is busy for all of us, not for this request only.
      rate.pause(ms);
      if (ms >= 1_000) say?.(`the API server asks to wait ${Math.round(ms / 1000)} s`);
    } else {
      if (waitMs >= 2_000) say?.(`${failure.message}; trying again`);
      // Half of it by chance, so that many clients do not come back at once.
      await pauseFor(waitMs * (0.5 + Math.random() / 2), signal);
    }
  };

  return {
    connection,
    get: tried,
    get requests() {
      return requests;
    },
  };
}
