/** One flow explained: every layer, direction, tier and policy that was asked, what decided, and what was missing. */
import type {
  DirectionExplanation,
  FlowVerdict,
  LayerExplanation,
  LayerWay,
  PolicyExplanation,
  PolicyPlace,
  Reason,
  TierExplanation,
} from '../../model/policy-explanation.ts';
import { placeTitle } from '../../model/policy-explanation.ts';
import { formatAddress } from '../../net/address.ts';
import { hasId } from '../../net/id-set.ts';
import { hasPort, type LineProtocol, linePoint } from '../../net/port-set.ts';
import { endpointOf, type FlowEnd, type PolicyFlow } from '../endpoint.ts';
import { type Engine, type EngineLayer, isExempt } from '../engine/engine.ts';
import type { EndpointClass } from '../engine/universe.ts';
import type { Direction, LoweredPolicy, PortRewrite } from '../ir.ts';
import type { FoundReading } from '../reading.ts';
import { compiledHits, type Decision, decideSpot, type Fate, type Spot } from './decide.ts';
import { type Explained, hintsOf } from './hints.ts';
import type { EndpointFacts } from './miss.ts';
import { type Denied, nearestMiss } from './nearest.ts';

/** `shop/web-1`, `node/node1`, `192.0.2.1`. */
export function endText(end: FlowEnd): string {
  switch (end.kind) {
    case 'pod':
      return `${end.pod.namespace}/${end.pod.name}`;
    case 'node':
      return `node/${end.node.name}`;
    case 'external':
      return formatAddress(end.address);
  }
}

/** The same verdict as `engine.verdict`, with all that led to it. Looks at the policies of the two ends only. */
export function explain(engine: Engine & Partial<FoundReading>, flow: PolicyFlow): PolicyExplanation {
  const { reading } = engine.world;
  const src = engine.universe.classOf(flow.src);
  const dst = engine.universe.classOf(flow.dst);
  const base = {
    flow: {
      src: endText(flow.src),
      dst: endText(flow.dst),
      protocol: flow.protocol,
      port: flow.port,
    },
    reading: {
      dialect: reading.dialect,
      ipBlockMatchesPods: reading.ipBlockMatchesPods,
      because: engine.because ?? [],
    },
  };
  if (src === undefined || dst === undefined) {
    const text = `${endText(src === undefined ? flow.src : flow.dst)} is not among the objects of the cluster`;
    return { ...base, verdict: 'conditional', conditions: [text], reason: { text }, layers: [], hints: [] };
  }
  const explained = engine.layers.map((layer) => explainLayer({ engine, flow, src, dst, layer }));
  const layers = explained.map(({ layer }) => layer);
  const { verdict, conditions } = combined(layers);
  const denied = layers
    .filter((layer) => layer.verdict === 'deny')
    .flatMap(({ ways }) => ways.flatMap(({ directions }) => directions))
    .find((direction) => direction.verdict === 'deny');
  return {
    ...base,
    verdict,
    conditions,
    reason: overallReason(layers, verdict, conditions, denied),
    layers,
    ...(denied?.nearest === undefined ? {} : { nearest: denied.nearest }),
    hints: hintsOf(
      { engine, flow, verdict },
      explained.flatMap(({ parts }) => parts),
    ),
  };
}

interface LayerCase {
  readonly engine: Engine;
  readonly flow: PolicyFlow;
  readonly src: number;
  readonly dst: number;
  readonly layer: EngineLayer;
}

function explainLayer(at: LayerCase): { layer: LayerExplanation; parts: readonly Explained[] } {
  const { flow, layer } = at;
  const { name, exemptsSelfAndOwnNode } = layer.compiled.layer;
  if (exemptsSelfAndOwnNode && isExempt(flow.src, flow.dst)) {
    const self = flow.src.kind === 'pod' && flow.dst.kind === 'pod' && flow.src.pod === flow.dst.pod;
    return {
      layer: { name, verdict: 'allow', conditions: [], exempt: self ? 'self' : 'own-node', ways: [] },
      parts: [],
    };
  }
  const parts: Explained[] = [];
  const ways = arrivals(at).map(({ rewrite, protocol, port }): LayerWay => {
    const own = (['egress', 'ingress'] as const).map((direction) =>
      explainDirection(at, direction, protocol, port),
    );
    parts.push(...own.map(({ part }) => part));
    return {
      ...(rewrite === undefined
        ? {}
        : {
            rewrite: {
              protocol: rewrite.to.protocol,
              port: rewrite.to.port,
              ...(rewrite.condition === undefined ? {} : { condition: rewrite.condition.text }),
            },
          }),
      directions: own.map(({ direction }) => direction),
    };
  });
  return { layer: { name, ...acrossWays(ways), ways }, parts };
}

interface Arrival {
  readonly protocol: LineProtocol;
  readonly port: number;
  readonly rewrite?: PortRewrite;
}

/** Under which ports the layer may see the flow. The last rewrite that holds comes first, and what it gives is rewritten by those before. */
function arrivals({ flow, src, dst, layer }: LayerCase): Arrival[] {
  const applying = layer.rewrites
    .filter((one) => hasId(one.src, src) && hasId(one.dst, dst))
    .map(({ rewrite }) => rewrite);
  const seen: Arrival[] = [];
  const follow = (arrival: Arrival, last: number): void => {
    for (let i = last; i >= 0; i--) {
      const rewrite = applying[i] as PortRewrite;
      if (!hasPort(rewrite.ports, linePoint(arrival.protocol, arrival.port))) continue;
      follow({ ...rewrite.to, rewrite }, i - 1);
      if (rewrite.condition === undefined) return;
    }
    seen.push(arrival);
  };
  follow({ protocol: flow.protocol, port: flow.port }, applying.length - 1);
  return seen;
}

function acrossWays(ways: readonly LayerWay[]): { verdict: FlowVerdict; conditions: readonly string[] } {
  const answers = ways.map(({ directions }) => combined(directions));
  const verdicts = new Set(answers.map(({ verdict }) => verdict));
  const [only] = answers;
  if (verdicts.size === 1 && only !== undefined) return only;
  const why = ways.flatMap(({ rewrite }) => rewrite?.condition ?? []);
  return {
    verdict: 'conditional',
    conditions: [...new Set([...why, ...answers.flatMap((one) => one.conditions)])],
  };
}

/** All of them must let the flow pass. */
function combined(
  parts: readonly { readonly verdict: FlowVerdict; readonly conditions: readonly string[] }[],
): {
  verdict: FlowVerdict;
  conditions: readonly string[];
} {
  if (parts.some(({ verdict }) => verdict === 'deny')) return { verdict: 'deny', conditions: [] };
  const open = parts.filter(({ verdict }) => verdict === 'conditional');
  if (open.length === 0) return { verdict: 'allow', conditions: [] };
  return { verdict: 'conditional', conditions: [...new Set(open.flatMap(({ conditions }) => conditions))] };
}

function explainDirection(
  { engine, flow, src, dst, layer }: LayerCase,
  direction: Direction,
  protocol: LineProtocol,
  port: number,
): { direction: DirectionExplanation; part: Explained } {
  const [subject, other] = direction === 'egress' ? [src, dst] : [dst, src];
  const spot: Spot = { layer, direction, subject, other, point: linePoint(protocol, port) };
  const decision = decideSpot(spot, compiledHits(engine, spot));
  const ends = direction === 'egress' ? [flow.src, flow.dst] : [flow.dst, flow.src];
  const denied: Denied = {
    engine,
    flow,
    direction,
    subject: factsOf(engine, ends[0] as FlowEnd, subject),
    other: factsOf(engine, ends[1] as FlowEnd, other),
    destination: engine.universe.classes[dst] as EndpointClass,
    protocol,
    port,
  };
  const { fate } = decision;
  const verdict = verdictOf(fate);
  const name = endText(ends[0] as FlowEnd);
  const nearest = verdict === 'deny' ? nearestOf(denied, decision) : undefined;
  return {
    part: { spot, decision, denied },
    direction: {
      direction,
      subject: name,
      verdict,
      conditions: fate.conditions.map(({ text }) => text),
      decidedBy: decidedBy(decision),
      reason: reasonOf(decision, direction, name),
      tiers: decision.tiers.map((_, t) => tierOf(decision, t, spot)),
      ...(nearest === undefined ? {} : { nearest }),
    },
  };
}

const verdictOf = ({ can }: Fate): FlowVerdict =>
  can.length === 1 ? (can[0] as 'allow' | 'deny') : 'conditional';

function factsOf({ universe }: Engine, end: FlowEnd, id: number): EndpointFacts {
  const title =
    end.kind === 'pod' ? `pod ${endText(end)}` : end.kind === 'node' ? `node ${end.node.name}` : endText(end);
  return {
    title,
    endpoint: endpointOf(end),
    traits: universe.classes[id]?.traits ?? [],
    labelsOf: universe.labelsOf,
  };
}

function nearestOf(denied: Denied, { fate, tiers }: Decision) {
  const asked = tiers.filter(({ reached }) => reached).flatMap(({ policies }) => policies);
  return nearestMiss(denied, asked, fate.by.is === 'rule' ? fate.by.hit.rule : undefined);
}

function decidedBy({ fate, tiers }: Decision): DirectionExplanation['decidedBy'] {
  if (fate.can.length > 1) return 'several';
  if (fate.by.is !== 'layer-end') return fate.by.is;
  return tiers.every(({ policies }) => policies.length === 0) ? 'open' : 'layer-end';
}

const placeOf = ({ id, origin }: LoweredPolicy, field?: string): PolicyPlace => ({
  ...id,
  ...(field === undefined || field === '' ? {} : { field }),
  ...(origin === undefined ? {} : { origin }),
});

function reasonOf(decision: Decision, direction: Direction, subject: string): Reason {
  const { fate, tiers } = decision;
  const { by } = fate;
  if (fate.can.length > 1) return { text: fate.conditions.map(({ text }) => text).join('; ') };
  switch (by.is) {
    case 'rule': {
      const place = placeOf(by.hit.policy.policy, by.hit.rule.field);
      return {
        text: `${placeTitle(place)} ${by.hit.rule.action === 'allow' ? 'allows' : 'denies'} it`,
        place,
      };
    }
    case 'tier-end': {
      const isolating = (tiers[by.tier]?.policies ?? []).filter(({ isolates }) => isolates);
      const [first, ...more] = isolating.map(({ policy }) => placeOf(policy, `spec.${direction}`));
      if (first === undefined) return { text: `${tiers[by.tier]?.tier.name} denies what no rule admits` };
      const names = [first, ...more].map(placeTitle);
      const shown =
        names.length <= 3 ? names.join(', ') : `${names.slice(0, 3).join(', ')} and ${names.length - 3} more`;
      return {
        text: `${shown} ${names.length === 1 ? 'isolates' : 'isolate'} ${subject} for ${direction} and no rule admits it`,
        place: first,
      };
    }
    case 'layer-end':
      return decidedBy(decision) === 'open'
        ? { text: `no policy selects ${subject} for ${direction}` }
        : { text: `no policy decides about ${direction} of ${subject}` };
  }
}

function tierOf({ tiers, asked }: Decision, t: number, { layer, direction }: Spot): TierExplanation {
  const { tier, reached, ended, policies, hits, isolates } = tiers[t] as Decision['tiers'][number];
  const all = layer.compiled.policies[direction];
  return {
    name: tier.name,
    reached,
    policies: policies.map((compiled) => {
      const { policy } = compiled;
      return {
        place: placeOf(policy),
        isolates: compiled.isolates,
        ...(policy.condition === undefined ? {} : { condition: policy.condition.text }),
        // Some rules are lowered to several.
        rules: new Set(policy[direction]?.rules.map(({ field }) => field)).size,
        matches: hits
          .filter((hit) => hit.policy === compiled)
          .map((hit) => ({
            place: placeOf(policy, hit.rule.field),
            action: hit.rule.action,
            ...(hit.condition === undefined ? {} : { condition: hit.condition.text }),
            asked: asked(hit),
          })),
      };
    }),
    others: countOfTier(all, t) - policies.length,
    end: isolates === 'yes' ? 'deny' : isolates === 'no' ? 'pass' : 'unsure',
    ends: ended,
  };
}

/** Counted once for each layer and direction: a list of policies never changes. */
const tierCounts = new WeakMap<object, ReadonlyMap<number, number>>();

function countOfTier(policies: readonly ({ readonly tier: number } | undefined)[], tier: number): number {
  let counts = tierCounts.get(policies);
  if (counts === undefined) {
    const made = new Map<number, number>();
    for (const one of policies) if (one !== undefined) made.set(one.tier, (made.get(one.tier) ?? 0) + 1);
    tierCounts.set(policies, made);
    counts = made;
  }
  return counts.get(tier) ?? 0;
}

function overallReason(
  layers: readonly LayerExplanation[],
  verdict: FlowVerdict,
  conditions: readonly string[],
  denied: DirectionExplanation | undefined,
): Reason {
  if (verdict === 'conditional') return { text: conditions.join('; ') };
  if (denied !== undefined) {
    const { nearest, decidedBy: by } = denied;
    // A policy for other pods is worth a look, but it is not why this flow is denied.
    if (nearest === undefined || nearest.missing === 'subject' || by === 'rule') return denied.reason;
    return { text: `${placeTitle(nearest.place)} ${nearest.admits}`, place: nearest.place };
  }
  const exempt = layers.find((layer) => layer.exempt !== undefined)?.exempt;
  if (exempt === 'self') return { text: 'a pod may always reach itself' };
  if (exempt === 'own-node') return { text: 'a pod and its own node may always reach each other' };
  const directions = layers.flatMap(({ ways }) => ways.flatMap((way) => way.directions));
  const ruled = directions.filter(({ decidedBy: by }) => by === 'rule');
  const [first, second] = ruled.map(({ reason }) => reason);
  if (first === undefined) {
    const open = directions.every(({ decidedBy: by }) => by === 'open');
    return { text: open ? 'no policy selects either end' : 'no policy denies it' };
  }
  return second === undefined
    ? first
    : {
        text: `${first.text}; ${second.text}`,
        ...(second.place === undefined ? {} : { place: second.place }),
      };
}
