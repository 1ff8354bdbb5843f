/** Makes a world and its packets as small as they can be while the kernel and we still disagree. */
import { compare, RouteErrors } from './simulate-compare.ts';
import { askAgain, type Question } from './simulate-flows.ts';
import type { KernelNamespace } from './simulate-namespace.ts';
import { load, type WorldText } from './simulate-world.ts';

export interface Shrunk {
  readonly world: WorldText;
  readonly questions: readonly Question[];
}

/** More tries than this take longer than a person waits. */
const mostTries = 400;

export async function shrink(kernel: KernelNamespace, start: Shrunk, flow: number): Promise<Shrunk> {
  let best = start;
  let tries = 0;
  const fails = async (candidate: Shrunk): Promise<boolean> => {
    if (++tries > mostTries) return false;
    const netns = await load(kernel, candidate.world);
    if (typeof netns === 'string') return false;
    const { disagreements } = await compare(
      kernel,
      new ExhaustedErrors(),
      askAgain(netns, candidate.questions),
    );
    return disagreements.length > 0;
  };
  const attempt = async (candidate: Shrunk): Promise<boolean> => {
    if (!(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  await attempt({ ...best, questions: best.questions.filter((one) => one.flow === flow) });
  const parts = ['native', 'rules4', 'rules6', 'routing4', 'routing6', 'sets', 'settings'] as const;
  for (let round = 0; round < 3; round++) {
    const before = sizeOf(best);
    for (const part of parts)
      await fewer(best.world[part], (lines) => attempt({ ...best, world: { ...best.world, [part]: lines } }));
    await fewer(best.questions, (questions) => attempt({ ...best, questions }));
    if (sizeOf(best) === before) break;
  }
  return best;
}

/** The kernel's patience with senders is used up: a silence that depends on it is no finding. */
class ExhaustedErrors extends RouteErrors {
  protected override readonly patience: number = 0;
}

const sizeOf = ({ world, questions }: Shrunk): number =>
  questions.length + Object.values(world).reduce((sum, part) => sum + part.length, 0);

/** Leaves out runs of items, large ones first, for as long as `attempt` takes what is left. */
async function fewer<T>(
  items: readonly T[],
  attempt: (left: readonly T[]) => Promise<boolean>,
): Promise<void> {
  let left = items;
  if (left.length > 0 && (await attempt([]))) return;
  for (let run = Math.ceil(left.length / 2); run >= 1; run = run === 1 ? 0 : Math.ceil(run / 2))
    for (let at = 0; at < left.length; ) {
      const candidate = [...left.slice(0, at), ...left.slice(at + run)];
      if (candidate.length < left.length && candidate.length > 0 && (await attempt(candidate)))
        left = candidate;
      else at += run;
    }
}

export function describeShrunk({ world, questions }: Shrunk): string {
  const parts = (['settings', 'routing4', 'routing6', 'sets', 'rules4', 'rules6', 'native'] as const)
    .filter((part) => world[part].length > 0)
    .map((part) => `${part}:\n${world[part].map((line) => `  ${line}`).join('\n')}`);
  const packets = questions.map((one) =>
    JSON.stringify(one, (_, value: unknown) => (typeof value === 'bigint' ? value.toString() : value)),
  );
  return ['the smallest world in which they differ:', ...parts, 'packets:', ...packets].join('\n');
}
