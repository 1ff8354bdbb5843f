/** A token bucket, as client-go's flowcontrol: `qps` requests a second in the long run, `burst` at once. */
export interface Rate {
  /** Resolves when the next request may go. Rejects with the signal's reason. */
  take(signal: AbortSignal): Promise<void>;
  /** Nobody goes before `ms` have passed: the server asked for it. */
  pause(ms: number): void;
}

export function tokenBucket(qps: number, burst: number): Rate {
  let tokens = burst;
  let filled = performance.now();
  let pausedUntil = 0;
  // One waits at a time, the others behind: first come, first served.
  let queue: Promise<void> = Promise.resolve();
  const waitMs = (): number => {
    const now = performance.now();
    tokens = Math.min(burst, tokens + ((now - filled) / 1000) * qps);
    filled = now;
    const forToken = tokens >= 1 ? 0 : ((1 - tokens) / qps) * 1000;
    return Math.max(forToken, pausedUntil - now);
  };
  const next = async (signal: AbortSignal): Promise<void> => {
    for (let ms = waitMs(); ms > 0; ms = waitMs()) await pauseFor(ms, signal);
    tokens -= 1;
  };
  return {
    take: (signal) => {
      const turn = queue.then(() => next(signal));
      queue = turn.catch(() => {});
      return turn;
    },
    pause: (ms) => {
      pausedUntil = Math.max(pausedUntil, performance.now() + ms);
    },
  };
}

/** Rejects with the signal's reason as soon as it is aborted. */
export function pauseFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal.addEventListener('abort', stop, { once: true });
  });
}
