/**
 * The smallest policies that admit a denied flow. Whatever is made is put to the proof: the cluster is judged again with it, and it is
 * suggested only if it closes nothing.
 */
import type { Cluster, Pod } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { DirectionExplanation, PolicyAnswer } from '../../model/policy-explanation.ts';
import type { Manifest, PolicySuggestion, SuggestedKind } from '../../model/policy-suggestion.ts';
import { linePoint, noPorts } from '../../net/port-set.ts';
import { type FlowEnd, isEndpointPod, type PolicyFlow } from '../endpoint.ts';
import { answerPolicy, flowGroups } from '../explain/answer.ts';
import type { AskedPolicyFlows } from '../explain/ends.ts';
import { endText, explain } from '../explain/explain.ts';
import { ownerOf } from '../explain/owner.ts';
import type { PolicyEngine } from '../index.ts';
import type { Direction, PolicyId } from '../ir.ts';
import { adviceOn, placeBefore } from './advice.ts';
import { type Comparison, compareEngines, type IsAsked } from './compare.ts';
import { chooseLabels, type LabelChoice } from './labels.ts';
import { manifestOf, type PeerChoice, type Wanted } from './objects.ts';

export interface SuggestOptions {
  readonly kind: SuggestedKind;
  /** The cluster with the objects applied. */
  readonly apply: (cluster: Cluster, objects: readonly Manifest[]) => Cluster;
  readonly engineOf: (cluster: Cluster) => PolicyEngine;
}

/** Groups of pods that differ in labels need policies of their own; more than these are no small suggestion. */
const maxRounds = 8;

export function suggestPolicy(
  engine: PolicyEngine,
  asked: AskedPolicyFlows,
  options: SuggestOptions,
): PolicySuggestion {
  const { cluster } = engine.world;
  const before = answerPolicy(engine, asked);
  const advice = new Set<string>();
  const relies = new Set<string>();
  const tried = new Set<string>();
  let objects: readonly Manifest[] = [];
  let current = engine;
  for (let round = 0; round < maxRounds; round++) {
    const open = needs(current, asked).filter(({ key }) => !tried.has(key));
    const [first] = open;
    if (first === undefined) break;
    tried.add(first.key);
    const made = makeFor(current, first.flow, first.directions, options, objects);
    for (const text of made.advice) advice.add(text);
    if (made.objects.length === 0) continue;
    const next = options.engineOf(options.apply(cluster, [...objects, ...made.objects]));
    if (rank(next, first.flow) <= rank(current, first.flow)) {
      for (const text of adviceOn(current, first.flow, options.kind, first.directions)) advice.add(text);
      continue;
    }
    const { closed } = compareEngines(current, next, made.objects.map(idOf), () => noPorts);
    const [shut] = closed.flows;
    if (shut !== undefined) {
      advice.add(
        `${made.objects.map(titleOf).join(' and ')} would close other flows, ${shut.src} to ${shut.dst} on ${shut.ports} among them: change the policy that denies instead`,
      );
      continue;
    }
    for (const text of made.relies) relies.add(text);
    objects = [...objects, ...made.objects];
    current = next;
  }
  const after = objects.length === 0 ? before : answerPolicy(current, asked);
  const passes = after.groups.every(({ explanation }) => explanation.verdict === 'allow');
  const allowed = before.groups.every(({ explanation }) => explanation.verdict === 'allow');
  const side: Pick<Comparison, 'opened'> =
    objects.length === 0
      ? { opened: { flows: [], more: 0 } }
      : compareEngines(engine, current, objects.map(idOf), askedPorts(cluster, asked.flows));
  return {
    kind: options.kind,
    state: allowed ? 'allowed' : passes ? 'suggested' : objects.length > 0 ? 'partly' : 'none',
    before,
    after,
    objects,
    relies: [...relies],
    opened: side.opened,
    advice: passes ? [] : adviceFor(current, asked, options.kind, [...advice], after),
  };
}

function adviceFor(
  engine: PolicyEngine,
  asked: AskedPolicyFlows,
  kind: SuggestedKind,
  found: readonly string[],
  after: PolicyAnswer,
): readonly string[] {
  if (found.length > 0 || after.groups.length === 0) return found;
  return needs(engine, asked).flatMap(({ flow, directions }) => adviceOn(engine, flow, kind, directions));
}

interface Need {
  readonly key: string;
  readonly flow: PolicyFlow;
  /** Those that do not let it pass for certain, by layer. */
  readonly directions: readonly NeedDirection[];
}

export interface NeedDirection {
  readonly layer: string;
  readonly explanation: DirectionExplanation;
}

function needs(engine: PolicyEngine, asked: AskedPolicyFlows): Need[] {
  return flowGroups(engine, asked.flows).flatMap(({ flows: [flow] }): Need[] => {
    const { verdict, layers } = explain(engine, flow);
    if (verdict === 'allow') return [];
    const directions = layers
      .filter((layer) => layer.verdict !== 'allow')
      .flatMap(({ name, ways }) =>
        ways.flatMap((way) =>
          way.directions
            .filter((one) => one.verdict !== 'allow')
            .map((explanation): NeedDirection => ({ layer: name, explanation })),
        ),
      );
    return [{ key: `${endText(flow.src)}>${endText(flow.dst)}:${flow.port}`, flow, directions }];
  });
}

/** How far a flow gets: a certain step forward is worth keeping even where another layer still denies. */
function rank(engine: PolicyEngine, flow: PolicyFlow): number {
  const { layers, verdict } = explain(engine, flow);
  if (verdict === 'allow') return 1000;
  const worth = { allow: 2, conditional: 1, deny: 0 } as const;
  return layers
    .flatMap(({ ways }) => ways.flatMap(({ directions }) => directions))
    .reduce((sum, one) => sum + worth[one.verdict], 0);
}

interface MadeObjects {
  readonly objects: readonly Manifest[];
  readonly relies: readonly string[];
  readonly advice: readonly string[];
}

function makeFor(
  engine: PolicyEngine,
  flow: PolicyFlow,
  directions: readonly NeedDirection[],
  options: SuggestOptions,
  earlier: readonly Manifest[],
): MadeObjects {
  const ownLayer = options.kind === 'istio' ? 'istio' : 'network';
  const objects: Manifest[] = [];
  const relies: string[] = [];
  const advice: string[] = [];
  const seen = new Set<Direction>();
  for (const { layer, explanation } of directions) {
    const { direction } = explanation;
    if (layer !== ownLayer || seen.has(direction)) {
      if (layer !== ownLayer) advice.push(...adviceOn(engine, flow, options.kind, [{ layer, explanation }]));
      continue;
    }
    seen.add(direction);
    const wanted = wantedFor(engine, flow, explanation, options.kind, [...earlier, ...objects]);
    const made = 'why' in wanted ? wanted : manifestOf(options.kind, wanted.wanted);
    if ('why' in made) {
      advice.push(made.why);
      continue;
    }
    objects.push(made.object);
    if ('relies' in wanted) relies.push(...wanted.relies);
  }
  return { objects, relies, advice };
}

function wantedFor(
  engine: PolicyEngine,
  flow: PolicyFlow,
  explanation: DirectionExplanation,
  kind: SuggestedKind,
  earlier: readonly Manifest[],
): { readonly wanted: Wanted; readonly relies: readonly string[] } | { readonly why: string } {
  const { direction } = explanation;
  const { cluster } = engine.world;
  const [subject, other] = direction === 'egress' ? [flow.src, flow.dst] : [flow.dst, flow.src];
  if (subject.kind !== 'pod' || subject.pod.hostNetwork)
    return { why: `no policy of this kind selects ${endText(subject)}` };
  const { pod } = subject;
  if (kind !== 'admin' && !isolated(engine, pod, direction))
    return {
      why: `no policy isolates ${endText(subject)} for ${direction} (${explanation.reason.text}): a new one of this kind would be the first and close all its other flows; ${explanation.decidedBy === 'rule' ? 'try --kind admin, or edit that rule' : 'edit what denies it'}`,
    };
  const home = podsOf(cluster, pod.namespace);
  const owner = ownerOf(cluster, pod);
  // A pod that nobody isolates must not be selected: the new policy would close its other flows.
  const labels = chooseLabels(
    pod,
    home,
    (mate) => sameOwner(owner, ownerOf(cluster, mate)) && isolated(engine, mate, direction),
  );
  const peer = peerFor(cluster, other);
  if (peer === undefined) return { why: `the address of ${endText(other)} is not known` };
  const place = placeBefore(engine, flow, explanation, kind);
  if ('why' in place) return place;
  const wanted: Wanted = {
    direction,
    name: freshName(cluster, pod, other, direction, earlier),
    namespace: pod.namespace,
    subject: labels,
    peer,
    protocol: flow.protocol,
    port: flow.port,
    ...place,
  };
  return { wanted, relies: reliesOn(wanted) };
}

const sameOwner = (a: ReturnType<typeof ownerOf>, b: ReturnType<typeof ownerOf>): boolean =>
  a !== undefined && b !== undefined && a.kind === b.kind && a.name === b.name;

/** Pods of a namespace that a selector can select: those on their node's network are no more than addresses. */
const podsOf = (cluster: Cluster, namespace: string): readonly Pod[] =>
  orElse(cluster.pods, []).filter(
    (pod) => pod.namespace === namespace && !pod.hostNetwork && isEndpointPod(pod),
  );

function isolated({ universe, layers }: PolicyEngine, pod: Pod, direction: Direction): boolean {
  const id = universe.classOf({ kind: 'pod', pod });
  return (
    id !== undefined &&
    layers.some(({ rows }) => rows[direction].policiesOf(id).some(({ isolates }) => isolates))
  );
}

function peerFor(cluster: Cluster, end: FlowEnd): PeerChoice | undefined {
  if (end.kind === 'pod' && !end.pod.hostNetwork) {
    const { namespace, serviceAccount } = end.pod;
    const owner = ownerOf(cluster, end.pod);
    return {
      is: 'pods',
      namespace,
      serviceAccount: `${namespace}/${serviceAccount}`,
      labels: chooseLabels(end.pod, podsOf(cluster, namespace), (mate) =>
        sameOwner(owner, ownerOf(cluster, mate)),
      ),
    };
  }
  const addresses =
    end.kind === 'external'
      ? [end.address]
      : end.kind === 'node'
        ? end.node.internalAddresses
        : end.pod.addresses;
  return addresses.length === 0 ? undefined : { is: 'addresses', addresses };
}

function reliesOn({ peer, namespace, direction, subject }: Wanted): string[] {
  const side = direction === 'ingress' ? 'source' : 'destination';
  const all = (choice: LabelChoice, where: string): string[] =>
    Object.keys(choice.labels).length > 0
      ? []
      : [
          `there being no other pods in namespace ${where}: its pods have no labels to select them by, and pods to come are selected too`,
        ];
  if (peer.is === 'addresses')
    return [...all(subject, namespace), `the address of the ${side}, as the policy's enforcer sees it`];
  const label = `the label kubernetes.io/metadata.name=${peer.namespace} of the ${side}'s namespace, which the API server sets`;
  return [
    ...all(subject, namespace),
    ...all(peer.labels, peer.namespace),
    ...(peer.namespace === namespace ? [] : [label]),
  ];
}

const shortName = (cluster: Cluster, end: FlowEnd): string =>
  end.kind === 'pod'
    ? (ownerOf(cluster, end.pod)?.name ?? end.pod.name)
    : endText(end).replace(/^node\//, '');

/** `allow-api-from-web`, not yet taken by any policy of the namespace. */
function freshName(
  cluster: Cluster,
  pod: Pod,
  other: FlowEnd,
  direction: Direction,
  earlier: readonly Manifest[],
): string {
  const own = shortName(cluster, { kind: 'pod', pod });
  const stem = `allow-${own}-${direction === 'ingress' ? 'from' : 'to'}-${shortName(cluster, other)}`
    .toLowerCase()
    .replace(/[^a-z0-9-]+/g, '-')
    .slice(0, 58)
    .replace(/-+$/, '');
  const taken = new Set(
    [...orElse(cluster.networkPolicies, []), ...orElse(cluster.adminPolicies, [])].map(({ name }) => name),
  );
  for (const group of [
    orElse(cluster.calico, undefined)?.policies,
    orElse(cluster.cilium, undefined)?.policies,
  ])
    for (const { name } of group ?? []) taken.add(name);
  for (const { name } of orElse(cluster.istio, undefined)?.authorizationPolicies ?? []) taken.add(name);
  for (const object of earlier) taken.add(idOf(object).name);
  for (let i = 1; ; i++) {
    const name = i === 1 ? stem : `${stem}-${i}`;
    if (!taken.has(name)) return name;
  }
}

function idOf(object: Manifest): PolicyId {
  const { name, namespace } = object.metadata as { readonly name: string; readonly namespace?: string };
  const { tier } = object.spec as { readonly tier?: string };
  const own = object.apiVersion === 'projectcalico.org/v3' && name.startsWith(`${tier}.`);
  return {
    kind: String(object.kind),
    name: own ? name.slice((tier ?? '').length + 1) : name,
    ...(namespace === undefined ? {} : { namespace }),
  };
}

function titleOf(object: Manifest): string {
  const { kind, namespace, name } = idOf(object);
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

/** The asked flows, and those of the same workloads' other pods: what was meant. */
function askedPorts(cluster: Cluster, flows: readonly PolicyFlow[]): IsAsked {
  const named = (end: FlowEnd): string => {
    if (end.kind !== 'pod') return endText(end);
    const owner = ownerOf(cluster, end.pod);
    return owner === undefined ? endText(end) : `${end.pod.namespace}/${owner.kind}/${owner.name}`;
  };
  const points = new Map<string, Set<number>>();
  for (const { src, dst, protocol, port } of flows) {
    const key = `${named(src)} ${named(dst)}`;
    const known = points.get(key) ?? new Set<number>();
    points.set(key, known.add(linePoint(protocol, port)));
  }
  return (src, dst) =>
    [...(points.get(`${named(src)} ${named(dst)}`) ?? [])]
      .sort((a, b) => a - b)
      .flatMap((point) => [point, point + 1]);
}
