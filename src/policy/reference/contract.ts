/**
 * The slow, obvious oracle that the engine is compared with: each kind decides one flow straight from the objects in normal form, in
 * the words of its documentation, without the intermediate form that the engine runs on.
 */
import type { FlowEnd, PolicyFlow } from '../endpoint.ts';
import type { Direction } from '../ir.ts';

export type Outcome = 'allow' | 'deny' | 'conditional';

/** One direction of a flow. `subject` is the source for egress and the destination for ingress. */
export interface DirectedFlow {
  readonly flow: PolicyFlow;
  readonly direction: Direction;
  readonly subject: FlowEnd;
  readonly other: FlowEnd;
}

export const directed = (flow: PolicyFlow, direction: Direction): DirectedFlow => ({
  flow,
  direction,
  subject: direction === 'egress' ? flow.src : flow.dst,
  other: direction === 'egress' ? flow.dst : flow.src,
});

/** Two answers of which nobody knows which one holds. */
export const either = (a: Outcome, b: Outcome): Outcome => (a === b ? a : 'conditional');

/** Both must let the flow pass. A denial is certain whatever the other says. */
export const bothAllow = (a: Outcome, b: Outcome): Outcome =>
  a === 'deny' || b === 'deny'
    ? 'deny'
    : a === 'conditional' || b === 'conditional'
      ? 'conditional'
      : 'allow';
