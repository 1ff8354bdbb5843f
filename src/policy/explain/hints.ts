/** What people get wrong near the rule in question, and where the verdict rests on a reading of the API. */
import type { NetworkPolicy, PolicyPeer, Selector } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { FlowVerdict, PolicyHint, PolicyPlace } from '../../model/policy-explanation.ts';
import { placeTitle } from '../../model/policy-explanation.ts';
import { hasPort } from '../../net/port-set.ts';
import type { PolicyFlow } from '../endpoint.ts';
import { resolvePorts } from '../engine/compile.ts';
import type { Engine } from '../engine/engine.ts';
import type { LoweredPolicy } from '../ir.ts';
import { lowerNetworkPolicy } from '../kinds/network-policy.ts';
import { matchesSelector } from '../selector.ts';
import { ofNamespace } from './by-namespace.ts';
import { compiledHits, type Decision, decideSpot, type HitsOf, type Spot } from './decide.ts';
import { costTo, type EndpointFacts } from './miss.ts';
import { type Denied, servicePortHint } from './nearest.ts';

/** One direction of one layer, decided. */
export interface Explained {
  readonly spot: Spot;
  readonly decision: Decision;
  readonly denied: Denied;
}

interface Question {
  readonly engine: Engine;
  readonly flow: PolicyFlow;
  readonly verdict: FlowVerdict;
}

export function hintsOf(question: Question, parts: readonly Explained[]): PolicyHint[] {
  const typed = typedPolicies(question.engine, parts);
  const hints = parts.flatMap((part) => [
    ...invalidParts(part, typed),
    ...(part.decision.fate.can.includes('deny') ? deniedHints(part, typed) : allowedHints(part, typed)),
  ]);
  const reading = readingHint(question, parts, typed);
  return [...hints, ...(reading === undefined ? [] : [reading]), ...hostHints(parts)];
}

type Typed = ReadonlyMap<string, NetworkPolicy>;

const keyOf = ({ namespace, name }: { readonly namespace?: string; readonly name: string }): string =>
  `${namespace ?? ''}/${name}`;

/** The consulted NetworkPolicies as objects. */
function typedPolicies({ world }: Engine, parts: readonly Explained[]): Typed {
  const found = new Map<string, NetworkPolicy>();
  const wanted = parts.flatMap(consulted).filter(({ id }) => id.kind === 'NetworkPolicy');
  const list = orElse(world.cluster.networkPolicies, none);
  for (const namespace of new Set(wanted.map(({ id }) => id.namespace ?? '')))
    for (const policy of ofNamespace(list, namespace, (one) => one.namespace))
      found.set(keyOf(policy), policy);
  return found;
}

const none: readonly NetworkPolicy[] = [];

const consulted = ({ decision }: Explained): readonly LoweredPolicy[] =>
  decision.tiers.flatMap(({ policies }) => policies.map(({ policy }) => policy));

const typedOf = (part: Explained, typed: Typed): readonly NetworkPolicy[] =>
  consulted(part)
    .filter(({ id }) => id.kind === 'NetworkPolicy')
    .flatMap(({ id }) => typed.get(keyOf(id)) ?? []);

const placeIn = ({ namespace, name, origin }: NetworkPolicy, field: string): PolicyPlace => ({
  kind: 'NetworkPolicy',
  namespace,
  name,
  field,
  ...(origin === undefined ? {} : { origin }),
});

function invalidParts(part: Explained, typed: Typed): PolicyHint[] {
  const own = typedOf(part, typed).flatMap((policy) =>
    policy.problems
      .filter(({ field }) => field.startsWith(`spec.${part.spot.direction}`))
      .map(({ field, why }): PolicyHint => {
        const place = placeIn(policy, field);
        return {
          code: 'invalid-part',
          place,
          text: `${placeTitle(place)} ${field} ${why}; it admits nothing`,
        };
      }),
  );
  const others = consulted(part).filter(({ id }) => id.kind !== 'NetworkPolicy');
  const noted = part.denied.engine.program.notes.flatMap((note): PolicyHint[] => {
    const { policy } = note;
    if (
      policy === undefined ||
      !others.some(({ id }) => id.kind === policy.kind && keyOf(id) === keyOf(policy))
    )
      return [];
    const place: PolicyPlace = {
      ...policy,
      ...(note.field === undefined ? {} : { field: note.field }),
      ...(note.origin === undefined ? {} : { origin: note.origin }),
    };
    return [{ code: 'invalid-part', place, text: `${placeTitle(place)} ${note.text}` }];
  });
  return [...own, ...noted];
}

function deniedHints(part: Explained, typed: Typed): PolicyHint[] {
  const asked = part.decision.tiers.flatMap(({ policies }) => policies);
  const service = servicePortHint(part.denied, asked);
  const both = typedOf(part, typed).flatMap((policy) =>
    peersOf(policy, part).flatMap((peer) => andHint(policy, peer, part)),
  );
  return [...(service === undefined ? [] : [service]), ...both.slice(0, 1)];
}

const peersOf = (policy: NetworkPolicy, { spot }: Explained): readonly PolicyPeer[] =>
  (policy[spot.direction] ?? []).flatMap(({ peers }) => peers ?? []);

/** Both selectors in one item, of which the other end matches one only. */
function andHint(policy: NetworkPolicy, peer: PolicyPeer, { denied }: Explained): PolicyHint[] {
  if (peer.kind !== 'pods' || peer.podSelector === undefined || peer.namespaceSelector === undefined)
    return [];
  const { other } = denied;
  if (other.endpoint.kind !== 'pod') return [];
  const pods = matchesSelector(peer.podSelector, other.endpoint.labels);
  const spaces = inNamespace(peer.namespaceSelector, other);
  if (pods === spaces) return [];
  const place = placeIn(policy, peer.field);
  return [
    {
      code: 'peers-and-or',
      place,
      text: `${placeTitle(place)} ${peer.field} has podSelector and namespaceSelector in one item: both must match, and only the ${spaces ? 'namespaceSelector' : 'podSelector'} does; as two items either would do`,
    },
  ];
}

const inNamespace = (wanted: Selector, { endpoint, labelsOf }: EndpointFacts): boolean =>
  matchesSelector(wanted, labelsOf(endpoint, 'namespace') ?? {});

function admits(policy: NetworkPolicy, peer: PolicyPeer & { kind: 'pods' }, other: EndpointFacts): boolean {
  const { kind, namespace, labels } = other.endpoint;
  if (kind !== 'pod') return false;
  if (peer.podSelector !== undefined && !matchesSelector(peer.podSelector, labels)) return false;
  return peer.namespaceSelector === undefined
    ? namespace === policy.namespace
    : inNamespace(peer.namespaceSelector, other);
}

/** Two items where one was meant: the one that names a whole namespace admits more than the other seems to ask for. */
function allowedHints(part: Explained, typed: Typed): PolicyHint[] {
  const { fate } = part.decision;
  if (fate.by.is !== 'rule' || fate.by.hit.policy.policy.id.kind !== 'NetworkPolicy') return [];
  const { rule, policy } = fate.by.hit;
  const object = typed.get(keyOf(policy.policy.id));
  const peers = (
    object?.[part.spot.direction]?.find(({ field }) => field === rule.field)?.peers ?? []
  ).filter((peer) => peer.kind === 'pods');
  const wide = peers.find((peer) => peer.podSelector === undefined && peer.namespaceSelector !== undefined);
  const narrow = peers.find((peer) => peer.namespaceSelector === undefined && peer.podSelector !== undefined);
  if (object === undefined || wide === undefined || narrow === undefined) return [];
  if (!admits(object, wide, part.denied.other) || admits(object, narrow, part.denied.other)) return [];
  const place = placeIn(object, wide.field);
  return [
    {
      code: 'peers-and-or',
      place,
      text: `${placeTitle(place)} ${wide.field} admits every pod of the namespaces that it names: its items are alternatives, and ${narrow.field} narrows nothing; for both at once put the podSelector into the same item`,
    },
  ];
}

/** Where a NetworkPolicy's ipBlock holds the address of a pod, CNIs differ, and the verdict may depend on it. */
function readingHint(
  { engine, flow, verdict }: Question,
  parts: readonly Explained[],
  typed: Typed,
): PolicyHint | undefined {
  const now = engine.world.reading.ipBlockMatchesPods;
  if (flow.src.kind !== 'pod' || flow.dst.kind !== 'pod') return undefined;
  let differs = false;
  let place: PolicyPlace | undefined;
  const verdicts = parts.map((part) => {
    const blocks = typedOf(part, typed).flatMap((policy) =>
      peersOf(policy, part)
        .filter((peer) => peer.kind === 'ip-block')
        .map((peer) => placeIn(policy, peer.field)),
    );
    if (blocks.length === 0) return part.decision.fate.can;
    const other = decideSpot(part.spot, otherReading(engine, part, typed, !now)).fate.can;
    if (other.join() !== part.decision.fate.can.join()) {
      differs = true;
      place ??= blocks[0];
    }
    return other;
  });
  if (!differs || place === undefined) return undefined;
  const can = verdicts.some((one) => one.length === 1 && one[0] === 'deny')
    ? 'deny'
    : verdicts.some((one) => one.length > 1)
      ? 'conditional'
      : 'allow';
  if (can === verdict) return undefined;
  const would = {
    allow: 'the flow would pass',
    deny: 'the flow would be denied',
    conditional: 'it could not be told',
  }[can];
  return {
    code: 'ip-block-reading',
    place,
    text: `read so that an ipBlock ${now ? 'matches pods too' : 'does not match pods'}; if it did${now ? ' not' : ''}, ${would}. The API leaves this to the CNI: ${placeTitle(place)} ${place.field}`,
  };
}

/** The consulted NetworkPolicies lowered under the other reading and judged on the two ends themselves. */
function otherReading(
  engine: Engine,
  { spot, denied }: Explained,
  typed: Typed,
  matchesPods: boolean,
): HitsOf {
  const compiled = compiledHits(engine, spot);
  return (policy) => {
    const object = policy.policy.id.kind === 'NetworkPolicy' ? typed.get(keyOf(policy.policy.id)) : undefined;
    if (object === undefined) return compiled(policy);
    const rules = lowerNetworkPolicy(object, matchesPods)[spot.direction]?.rules ?? [];
    return rules
      .filter(
        (rule) =>
          costTo(rule.peer, denied.other) === 0 &&
          hasPort(resolvePorts(rule.ports, denied.destination), spot.point),
      )
      .map((rule) => ({ policy, rule }));
  };
}

/** NetworkPolicy does not say what a pod on its node's network is to a policy. */
function hostHints(parts: readonly Explained[]): PolicyHint[] {
  const host = parts.find(
    ({ decision, denied }) =>
      denied.other.endpoint.kind === 'host-pod' && decision.tiers.some(({ policies }) => policies.length > 0),
  );
  if (host === undefined) return [];
  const { title } = host.denied.other;
  return [
    {
      code: 'host-network',
      text: `${title} is on its node's network: to NetworkPolicies it is its node's address, and pod selectors do not match it`,
    },
  ];
}
