/** Moves one packet from stage to stage until every variant of it has ended. */
import type { Step } from '../model/verdict.ts';
import { bridgeOn } from './bridge.ts';
import { type Cursor, closeHop, copyOf, type End, type Stage } from './cursor.ts';
import { byCilium } from './ebpf/cilium.ts';
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

type Ended = Extract<Stage, { at: 'end' }>;

/** Moves a packet until every variant of it has ended. */
export const run = (world: World, first: Stage): readonly Arrival[] =>
  runUntil(world, first, isEnd).map(({ cursor, end }) => ({ cursor: unturned(cursor), end }));

/** Nobody has had a turn with what is sent next. */
function unturned(cursor: Cursor): Cursor {
  if (cursor.byIpvs === undefined && cursor.byCilium === undefined) return cursor;
  const next = copyOf(cursor);
  next.byIpvs = undefined;
  next.byCilium = undefined;
  return next;
}

const isEnd = (stage: Stage): stage is Ended => stage.at === 'end';

/** Moves a packet until every variant of it has ended or is at a stage where the caller takes it over. */
export function runUntil<Last extends Stage>(
  world: World,
  first: Stage,
  isLast: (stage: Stage) => stage is Last,
): readonly (Last | Ended)[] {
  const queue: Stage[] = [first];
  const last: (Last | Ended)[] = [];
  for (let stages = 0; queue.length > 0; stages++) {
    const stage = queue.pop() as Stage;
    if (isEnd(stage) || isLast(stage)) last.push(stage);
    else if (stages > maxStages || stage.cursor.hops.length > maxHops) last.push(endless(stage.cursor));
    else queue.push(...(byCilium(world, stage) ?? next(world, stage)));
  }
  return last;
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

function endless(cursor: Cursor): Ended {
  const step: Step = {
    kind: 'route',
    action: 'lost',
    reason: 'routing-loop',
    text: `the packet goes round in circles (${cursor.hops.length} hops)`,
  };
  const closed = closeHop({ ...cursor, steps: [...cursor.steps, step] });
  return { at: 'end', cursor: closed, end: { kind: 'lost', step } };
}
