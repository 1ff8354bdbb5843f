import { conclude, walk } from '../dataplane/walk.ts';
import { World } from '../dataplane/world.ts';
import type { Flow } from '../model/flow.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Answer } from '../model/verdict.ts';
import { netnsIdOf } from './endpoint.ts';

const order: Readonly<Record<Answer, number>> = { unreachable: 0, unknown: 1, reachable: 2 };

/** Of several flows the first that fails, else the first that cannot be told, else the first. */
export function worstFlow(snapshot: Snapshot, flows: readonly [Flow, ...Flow[]]): Flow {
  if (flows.length === 1) return flows[0];
  const world = new World(snapshot);
  let worst = flows[0];
  let worstAnswer: Answer = 'reachable';
  for (const flow of flows) {
    const netns = world.netns(netnsIdOf(snapshot, flow.src) ?? '');
    const { answer } = conclude(
      netns === undefined ? [] : walk(world, flow, { netns, address: flow.src.address }),
    );
    if (order[answer] < order[worstAnswer]) [worst, worstAnswer] = [flow, answer];
    if (worstAnswer === 'unreachable') break;
  }
  return worst;
}
