/** Of the rules that could have admitted a denied flow the one that missed by least, and by which field. */
import type { Service } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { NearestMiss, PolicyHint, PolicyPlace } from '../../model/policy-explanation.ts';
import { placeTitle } from '../../model/policy-explanation.ts';
import {
  formatPorts,
  hasPort,
  type LineProtocol,
  linePoint,
  lineProtocols,
  portsOf,
} from '../../net/port-set.ts';
import { type PolicyFlow, resolveNamedPort } from '../endpoint.ts';
import type { CompiledPolicy } from '../engine/compile.ts';
import { resolvePorts } from '../engine/compile.ts';
import type { Engine } from '../engine/engine.ts';
import type { EndpointClass } from '../engine/universe.ts';
import type { Direction, LoweredPolicy, Ports, Rule } from '../ir.ts';
import { ofNamespace } from './by-namespace.ts';
import { costTo, distance, type EndpointFacts, hasText, type Unmet } from './miss.ts';

export interface Denied {
  readonly engine: Engine;
  readonly flow: PolicyFlow;
  readonly direction: Direction;
  readonly subject: EndpointFacts;
  readonly other: EndpointFacts;
  readonly destination: EndpointClass;
  /** The port as the layer sees it. */
  readonly protocol: LineProtocol;
  readonly port: number;
}

interface Candidate {
  readonly cost: number;
  readonly policy: LoweredPolicy;
  readonly rule: Rule;
  /** False: the policy does not even select the subject. */
  readonly selects: boolean;
  readonly portFits: boolean;
}

/** Before it decided: policies that select the subject, in order, and where to stop. */
export function nearestMiss(
  denied: Denied,
  asked: readonly CompiledPolicy[],
  decisive: Rule | undefined,
): NearestMiss | undefined {
  let best: Candidate | undefined;
  const consider = (policy: LoweredPolicy, rule: Rule, selects: boolean) => {
    // A rule without a field stands in no object: nobody wrote it, and nobody can change it.
    const written = rule.action === 'allow' && rule.field !== '';
    const found = written ? candidate(denied, policy, rule, selects) : undefined;
    if (found !== undefined && (best === undefined || found.cost < best.cost)) best = found;
  };
  search: for (const { policy } of asked)
    for (const rule of policy[denied.direction]?.rules ?? []) {
      if (rule === decisive) break search;
      consider(policy, rule, true);
    }
  if (decisive === undefined)
    for (const policy of neighbours(denied, asked))
      for (const rule of policy[denied.direction]?.rules ?? []) consider(policy, rule, false);
  if (best !== undefined) return described(denied, best);
  return decisive === undefined ? admitsNothing(denied, asked) : undefined;
}

/** Policies of the subject's namespace that do not select it: one label may be all that is wrong. */
function neighbours(
  { engine, direction, subject }: Denied,
  asked: readonly CompiledPolicy[],
): LoweredPolicy[] {
  const { namespace } = subject.endpoint;
  const selecting = new Set(asked.map(({ policy }) => policy));
  const found = engine.layers.flatMap(({ compiled }) =>
    ofNamespace(compiled.policies[direction], namespace, (one) => one?.policy.id.namespace).flatMap((one) =>
      one === undefined || selecting.has(one.policy) ? [] : [one.policy],
    ),
  );
  return found.length > maxNeighbours ? [] : found;
}

/** A namespace with more has no pattern that one rule's miss would show. */
const maxNeighbours = 500;

function candidate(
  denied: Denied,
  policy: LoweredPolicy,
  rule: Rule,
  selects: boolean,
): Candidate | undefined {
  const { subject, other, destination, protocol, port } = denied;
  const portFits = hasPort(resolvePorts(rule.ports, destination), linePoint(protocol, port));
  const asked = costTo(rule.peer, other) + (portFits ? 0 : portCost(rule.ports, denied));
  // A policy for other pods is near only if it would admit the flow.
  if (!selects && asked > 0) return undefined;
  const own = selects ? 0 : 0.3 + costTo(policy.subject, subject);
  const cost = asked + own + (rule.self === undefined ? 0 : costTo(rule.self, subject));
  return cost >= hopeless ? undefined : { cost, policy, rule, selects, portFits };
}

/** From here on the rule is about something else altogether. */
const hopeless = 20;

/** A wrong port is nearer than a wrong label; a right number under another protocol is nearer still. */
function portCost({ set }: Ports, { port }: Denied): number {
  return lineProtocols.some((other) => hasPort(set, linePoint(other, port))) ? 0.4 : 0.5;
}

const placeOf = ({ id, origin }: LoweredPolicy, field: string | undefined): PolicyPlace => ({
  ...id,
  ...(field === undefined || field === '' ? {} : { field }),
  ...(origin === undefined ? {} : { origin }),
});

function admitsNothing({ direction }: Denied, asked: readonly CompiledPolicy[]): NearestMiss | undefined {
  const [only, ...others] = asked.filter(({ isolates }) => isolates);
  if (only === undefined) return undefined;
  const { policy } = only;
  const place = placeOf(policy, `spec.${direction}`);
  const text =
    others.length === 0
      ? `has no ${direction} rule that admits anything`
      : `has no ${direction} rule that admits anything, nor ${others.length === 1 ? 'has the other that isolates' : `have the ${others.length} others that isolate`}`;
  return { place, missing: 'nothing-admitted', admits: 'admits nothing', text, more: 0 };
}

function described(denied: Denied, { policy, rule, selects, portFits }: Candidate): NearestMiss {
  const peer = distance(rule.peer, denied.other).unmet;
  const own = [...(selects ? [] : [policy.subject]), ...(rule.self === undefined ? [] : [rule.self])].flatMap(
    (expr) => distance(expr, denied.subject).unmet,
  );
  const [unmet] = peer.length > 0 ? peer : own;
  const part = peer.length > 0 ? 'peer' : own.length > 0 ? 'subject' : 'ports';
  const more = Math.max(0, peer.length + own.length + (portFits ? 0 : 1) - 1);
  const isStandard = policy.id.kind === 'NetworkPolicy';
  if (part === 'ports' || unmet === undefined) {
    const place = placeOf(policy, isStandard ? `${rule.field}.ports` : rule.field);
    const wants = portsText(rule.ports);
    const number = `${denied.port}/${denied.protocol}`;
    const named = missingNames(rule.ports, denied);
    const uses = `the flow uses ${number}`;
    return {
      place,
      missing: hasOtherProtocol(rule.ports, denied) ? 'protocol' : 'port',
      admits: `admits ${/^(every|no) /.test(wants) ? '' : 'port '}${wants} only`,
      text: `${place.field ?? ''} allows ${wants}, ${named ?? uses}`,
      more,
    };
  }
  if (part === 'subject') {
    const place = placeOf(policy, isStandard ? 'spec.podSelector' : unmet.field);
    return {
      place,
      missing: 'subject',
      admits: `would admit it but selects ${unmet.wants} only`,
      text: `${place.field === undefined ? 'it' : place.field} wants ${unmet.wants}, ${hasText(unmet, denied.subject)}`,
      more,
    };
  }
  const field =
    unmet.field === undefined ? rule.field : `${unmet.field}${isStandard ? partOf(unmet, denied) : ''}`;
  const place = placeOf(policy, field);
  return {
    place,
    missing: missingOf(unmet),
    admits: admitsText(unmet),
    text: `${field} ${fieldText(unmet, denied, isStandard)}`,
    more,
  };
}

/** Where a peer of a NetworkPolicy says what the leaf tests. */
function partOf({ leaf }: Unmet, { other }: Denied): string {
  if (leaf.is === 'label') return leaf.of === 'namespace' ? '.namespaceSelector' : '.podSelector';
  if (leaf.is !== 'address') return '';
  const outside = costTo({ ...leaf, except: [] }, other) > 0;
  return outside ? '.ipBlock' : '.ipBlock.except';
}

function fieldText(unmet: Unmet, { other }: Denied, isStandard: boolean): string {
  const has = hasText(unmet, other);
  // A peer without namespaceSelector means the policy's own namespace; people often think that it means all.
  if (isStandard && unmet.leaf.is === 'namespace' && !unmet.excluded)
    return `has no namespaceSelector, so it admits pods of ${unmet.leaf.names.join(', ')} only, and ${has}`;
  return `wants ${unmet.wants}, ${has}`;
}

function missingOf({ leaf }: Unmet): NearestMiss['missing'] {
  switch (leaf.is) {
    case 'label':
      return leaf.of === 'namespace' ? 'namespace-label' : leaf.of === 'self' ? 'pod-label' : 'identity';
    case 'namespace':
    case 'address':
      return leaf.is;
    case 'service-account':
    case 'trait':
      return 'identity';
    default:
      return 'peer-kind';
  }
}

function admitsText({ leaf, wants }: Unmet): string {
  if (leaf.is === 'label' && leaf.of === 'namespace') {
    if (leaf.key === nameLabel && leaf.test.op === 'in' && wants === `${nameLabel}=${leaf.test.values[0]}`)
      return `admits namespace ${leaf.test.values[0]} only`;
    return `admits namespaces with ${wants} only`;
  }
  if (leaf.is === 'namespace') return `admits pods of ${wants} only`;
  return `admits ${wants} only`;
}

const nameLabel = 'kubernetes.io/metadata.name';

/** `80/TCP, http/TCP`, `every port of UDP`. */
function portsText({ set, named, not }: Ports): string {
  const numbers = lineProtocols.flatMap((protocol) => {
    const ranges = portsOf(set, protocol);
    if (ranges === 'all') return [`every ${protocol} port`];
    return ranges.length === 0 ? [] : [`${formatPorts(set, protocol)}/${protocol}`];
  });
  const names = named.map(({ protocol, name }) => `${name}/${protocol}`);
  const some = [...numbers, ...names];
  const except = not === undefined ? '' : ` except ${portsText(not)}`;
  return `${some.length === 0 ? 'no port' : some.join(', ')}${except}`;
}

const hasOtherProtocol = ({ set }: Ports, { protocol, port }: Denied): boolean =>
  lineProtocols.some((other) => other !== protocol && hasPort(set, linePoint(other, port)));

function missingNames({ named }: Ports, { flow }: Denied): string | undefined {
  if (flow.dst.kind !== 'pod') return undefined;
  const absent = named.filter(
    ({ name, protocol }) => resolveNamedPort(flow.dst, name, protocol).length === 0,
  );
  const [first] = absent;
  if (first === undefined || absent.length < named.length) return undefined;
  return `no container of ${flow.dst.pod.namespace}/${flow.dst.pod.name} declares a port ${first.name}/${first.protocol}`;
}

/** A rule that names the port of a Service: policies see the target port, after the Service's address is translated. */
export function servicePortHint(denied: Denied, policies: readonly CompiledPolicy[]): PolicyHint | undefined {
  const { engine, flow, direction, other, protocol, port } = denied;
  if (flow.dst.kind !== 'pod') return undefined;
  const { pod } = flow.dst;
  const services = orElse(engine.world.cluster.services, []).filter(
    ({ namespace, selector }) => namespace === pod.namespace && selects(selector, pod.labels),
  );
  if (services.length === 0) return undefined;
  for (const { policy } of policies)
    for (const rule of policy[direction]?.rules ?? []) {
      if (rule.action !== 'allow' || rule.ports.set.length === 0 || costTo(rule.peer, other) > 0) continue;
      for (const service of services)
        for (const one of service.ports) {
          const target =
            typeof one.targetPort === 'number'
              ? [one.targetPort]
              : resolveNamedPort(flow.dst, one.targetPort, one.protocol);
          if (one.protocol !== protocol || one.port === port || !target.includes(port)) continue;
          if (!hasPort(rule.ports.set, linePoint(one.protocol, one.port))) continue;
          const place = placeOf(policy, `${rule.field}.ports`);
          return {
            code: 'service-port',
            place,
            text: `${placeTitle(place)} ${place.field} names ${one.port}, the port of Service ${service.namespace}/${service.name}; policies see the target port ${port}: write ${port}`,
          };
        }
    }
  return undefined;
}

function selects(selector: Service['selector'], labels: Service['selector']): boolean {
  const wanted = Object.entries(selector);
  return (
    wanted.length > 0 && wanted.every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value)
  );
}
