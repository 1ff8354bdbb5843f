/** Many flows at once: pods that are the same to every policy are explained once. */
import type { ExplainedGroup, FlowVerdict, PolicyAnswer } from '../../model/policy-explanation.ts';
import type { PolicyFlow } from '../endpoint.ts';
import { type Engine, isExempt } from '../engine/engine.ts';
import type { FoundReading } from '../reading.ts';
import type { AskedPolicyFlows } from './ends.ts';
import { endText, explain } from './explain.ts';

/** Flows with the same answer for the same reasons; never empty. */
export interface FlowGroup {
  readonly flows: readonly [PolicyFlow, ...PolicyFlow[]];
}

/** Pairs of classes, and apart from them the pairs that pass whatever the policies say. */
export function flowGroups({ universe }: Engine, flows: readonly PolicyFlow[]): readonly FlowGroup[] {
  const groups = new Map<string, [PolicyFlow, ...PolicyFlow[]]>();
  for (const flow of flows) {
    const exempt = isExempt(flow.src, flow.dst);
    const key = `${universe.classOf(flow.src)}>${universe.classOf(flow.dst)}:${flow.protocol}${flow.port}${exempt}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [flow]);
    else group.push(flow);
  }
  return [...groups.values()].map((group) => ({ flows: group }));
}

const badness: Readonly<Record<FlowVerdict, number>> = { deny: 0, conditional: 1, allow: 2 };

/** Groups that are explained; more of them have no common answer that a person could read. */
const maxGroups = 200;

export function answerPolicy(engine: Engine & Partial<FoundReading>, asked: AskedPolicyFlows): PolicyAnswer {
  const groups = flowGroups(engine, asked.flows);
  const explained = groups.slice(0, maxGroups).map(
    ({ flows }): ExplainedGroup => ({
      sources: names(flows.map(({ src }) => endText(src))),
      destinations: names(flows.map(({ dst }) => endText(dst))),
      explanation: explain(engine, flows[0]),
    }),
  );
  const unseen = groups.slice(maxGroups).reduce((sum, { flows }) => sum + flows.length, 0);
  return {
    src: asked.src,
    dst: asked.dst,
    groups: explained.sort((a, b) => badness[a.explanation.verdict] - badness[b.explanation.verdict]),
    leftOut: asked.leftOut + unseen,
    remarks: asked.remarks,
  };
}

const names = (all: readonly string[]): string[] => [...new Set(all)].sort();
