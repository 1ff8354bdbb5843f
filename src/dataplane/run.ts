/** Moves one packet from stage to stage until every variant of it has ended. */
import type { Step } from '../model/verdict.ts';
import { bridgeOn } from './bridge.ts';
import { type Cursor, closeHop, type End, type Stage } from './cursor.ts';
import { frameIn, frameOut, transmit } from './frames.ts';
import { deliver, ipIn, send } from './ip.ts';
import type { World } from './world.ts';

/** One packet's end: where its last hop is, and what became of it. */
export interface Arrival {
  readonly cursor: Cursor;
  readonly end: End;
}

/** More stages than this are a loop or a rule set that forks without end. */
const maxStages = 4_000;

const maxHops = 48;

/** Moves a packet until every variant of it has ended. */
export function run(world: World, first: Stage): readonly Arrival[] {
  const queue: Stage[] = [first];
  const arrivals: Arrival[] = [];
  for (let stages = 0; queue.length > 0; stages++) {
    const stage = queue.pop() as Stage;
    if (stage.at === 'end') arrivals.push({ cursor: stage.cursor, end: stage.end });
    else if (stages > maxStages || stage.cursor.hops.length > maxHops) arrivals.push(endless(stage.cursor));
    else queue.push(...next(world, stage));
  }
  return arrivals;
}

function next(world: World, stage: Exclude<Stage, { at: 'end' }>): readonly Stage[] {
  switch (stage.at) {
    case 'send':
      return send(world, stage.cursor);
    case 'transmit':
      return transmit(world, stage.cursor, stage.device, stage.nextHop, stage.mtuBytes);
    case 'bridge-on':
      return bridgeOn(world, stage.cursor, stage.device, stage.nextHop, stage.inPort);
    case 'frame-out':
      return frameOut(world, stage.cursor, stage.device, stage.dstMac);
    case 'frame-in':
      return frameIn(world, stage.cursor, stage.device, stage.dstMac);
    case 'ip-in':
      return ipIn(world, stage.cursor, stage.device, stage.physIn);
    case 'deliver':
      return deliver(stage.cursor, stage.device);
  }
}

function endless(cursor: Cursor): Arrival {
  const step: Step = {
    kind: 'route',
    action: 'lost',
    reason: 'routing-loop',
    text: `the packet goes round in circles (${cursor.hops.length} hops)`,
  };
  const closed = closeHop({ ...cursor, steps: [...cursor.steps, step] });
  return { cursor: closed, end: { kind: 'lost', step } };
}
