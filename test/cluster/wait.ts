/** Waiting for something to become true. */
import { PodpathError } from '../../src/model/errors.ts';

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Asks again until there is an answer. Throws PodpathError, with the reason that was given last, after limitMs. */
export async function until<T>(
  what: string,
  limitMs: number,
  everyMs: number,
  ask: () => Promise<T | undefined>,
  why: () => string = () => 'it did not come about',
): Promise<T> {
  const started = performance.now();
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() - started > limitMs) {
      throw new PodpathError({
        code: 'cluster/too-late',
        what: `waited ${Math.round(limitMs / 1000)} s for: ${what}`,
        why: why(),
        todo: 'look at the logs below the folder that `node scripts/cluster.mjs status` names',
      });
    }
    await pause(everyMs);
  }
}
