/**
 * What a Calico rule matches, one flow at a time, as Felix does it: a selector stands for the addresses of all endpoints and network
 * sets whose labels it matches, so an end of a flow matches if it is such an endpoint or has an address in such a set.
 */
import type { Labels, Pod, Service } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import {
  type CalicoEntity,
  type CalicoIcmp,
  type CalicoPort,
  type CalicoRule,
  type CalicoSelector,
  noCalicoObjects,
} from '../../model/policies/calico.ts';
import { sameAddress } from '../../net/address.ts';
import { contains } from '../../net/prefix.ts';
import {
  type FlowEnd,
  isEndpointPod,
  namespaceLabelsOf,
  type PolicyFlow,
  resolveNamedPort,
} from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { addressesOf, hasAddressIn, hasAddressOf, ownNetworkPod } from './match.ts';
import { type Tri, triAll, triAny, triIf, triNot } from './tri.ts';

/** A label's value; `unknown` where the object that would have it was not collected. */
type Found = { readonly value: string } | 'absent' | 'unknown';

/** All labels that Calico sees on something: its own, and those it inherits. */
type LabelLookup = (key: string) => Found;

const found = (labels: Labels, key: string): Found =>
  Object.hasOwn(labels, key) ? { value: labels[key] as string } : 'absent';

/** `namespace` and `service-account`: keys get the prefix under which endpoints inherit those labels. */
export type SelectorContext = 'endpoint' | 'namespace' | 'service-account';

const prefixes: Readonly<Record<SelectorContext, string>> = {
  endpoint: '',
  namespace: 'pcns.',
  'service-account': 'pcsa.',
};

export function selectorMatches(
  selector: CalicoSelector,
  labels: LabelLookup,
  context: SelectorContext,
): Tri {
  const value = (key: string, test: (text: string) => boolean, whenAbsent: boolean): Tri => {
    const label = labels(prefixes[context] + key);
    if (label === 'unknown') return 'maybe';
    return triIf(label === 'absent' ? whenAbsent : test(label.value));
  };
  switch (selector.is) {
    case 'all':
      // A namespaceSelector all() means everything that is in a namespace, global() everything that is not.
      return context === 'namespace' ? triIf(labels('projectcalico.org/namespace') !== 'absent') : 'yes';
    case 'global':
      return triIf(labels('projectcalico.org/namespace') === 'absent');
    case 'has':
      return value(selector.key, () => true, false);
    case 'equals':
      return value(selector.key, (text) => text === selector.value, false);
    case 'differs':
      return value(selector.key, (text) => text !== selector.value, true);
    case 'in':
      return value(selector.key, (text) => selector.values.includes(text), false);
    case 'not-in':
      return value(selector.key, (text) => !selector.values.includes(text), true);
    case 'contains':
      return value(selector.key, (text) => text.includes(selector.text), false);
    case 'starts-with':
      return value(selector.key, (text) => text.startsWith(selector.text), false);
    case 'ends-with':
      return value(selector.key, (text) => text.endsWith(selector.text), false);
    case 'not':
      return triNot(selectorMatches(selector.of, labels, context));
    case 'and':
      return triAll(selector.of.map((part) => selectorMatches(part, labels, context)));
    case 'or':
      return triAny(selector.of.map((part) => selectorMatches(part, labels, context)));
  }
}

/** libcalico-go/lib/backend/k8s/conversion: Calico's own labels, the pod's, then those of its namespace and service account. */
export function podLabels({ cluster }: PolicyWorld, pod: Pod): LabelLookup {
  return (key) => {
    if (key === 'projectcalico.org/namespace') return { value: pod.namespace };
    if (key === 'projectcalico.org/orchestrator') return { value: 'k8s' };
    // A name of 63 characters or more is no label's value.
    if (key === 'projectcalico.org/serviceaccount')
      return pod.serviceAccount.length < 63 ? { value: pod.serviceAccount } : 'absent';
    const own = found(pod.labels, key);
    if (own !== 'absent') return own;
    if (key.startsWith('pcns.')) return namespaceLabel(cluster, pod.namespace, key.slice('pcns.'.length));
    if (!key.startsWith('pcsa.')) return 'absent';
    const accountKey = key.slice('pcsa.'.length);
    if (accountKey === 'projectcalico.org/name') return { value: pod.serviceAccount };
    if (cluster.serviceAccounts.state === 'unknown') return 'unknown';
    const account = cluster.serviceAccounts.value.find(
      ({ namespace, name }) => namespace === pod.namespace && name === pod.serviceAccount,
    );
    return account === undefined ? 'absent' : found(account.labels, accountKey);
  };
}

function namespaceLabel(cluster: PolicyWorld['cluster'], namespace: string, key: string): Found {
  if (key === 'projectcalico.org/name') return { value: namespace };
  const labels = namespaceLabelsOf(cluster, namespace);
  if (labels.state === 'known') return found(labels.value, key);
  return key === 'kubernetes.io/metadata.name' ? { value: namespace } : 'unknown';
}

/** True for an end that is a pod which `test` accepts, or has an address of a network set or host endpoint which it accepts. */
function stands(world: PolicyWorld, end: FlowEnd, test: (labels: LabelLookup) => Tri): Tri {
  const { networkSets, hostEndpoints, profiles } = orElse(world.cluster.calico, noCalicoObjects);
  const answers: Tri[] = [];
  const pod = ownNetworkPod(end);
  if (pod !== undefined) answers.push(test(podLabels(world, pod)));
  for (const { namespace, labels, nets } of networkSets) {
    if (!hasAddressIn(end, nets)) continue;
    answers.push(
      test((key) => {
        if (key === 'projectcalico.org/namespace' && namespace !== undefined) return { value: namespace };
        const own = found(labels, key);
        if (own !== 'absent' || namespace === undefined || !key.startsWith('pcns.')) return own;
        return namespaceLabel(world.cluster, namespace, key.slice('pcns.'.length));
      }),
    );
  }
  for (const endpoint of hostEndpoints) {
    if (!hasAddressOf(end, endpoint.expectedIps)) continue;
    answers.push(
      test((key) => {
        const own = found(endpoint.labels, key);
        if (own !== 'absent') return own;
        const giver = profiles.find(
          ({ name, labelsToApply }) =>
            endpoint.profiles.includes(name) && found(labelsToApply, key) !== 'absent',
        );
        return giver === undefined ? 'absent' : found(giver.labelsToApply, key);
      }),
    );
  }
  return triAny(answers);
}

/** `home`: the namespace of the policy, undefined for global ones and profiles. */
export function ruleMatches(
  world: PolicyWorld,
  flow: PolicyFlow,
  rule: CalicoRule,
  home: string | undefined,
): Tri {
  if (rule.invalid !== undefined) return rule.action === 'Allow' || rule.action === 'Log' ? 'no' : 'maybe';
  const { source, destination } = rule;
  return triAll([
    triIf(protocolMatches(flow, rule)),
    familyMatches(world, flow, rule),
    entityMatches(world, flow.src, source, home),
    entityMatches(world, flow.dst, destination, home),
    triIf(destination.ports === undefined || destination.ports.some((port) => isPort(flow, port))),
    triIf(destination.notPorts === undefined || !destination.notPorts.some((port) => isPort(flow, port))),
    // Nobody knows which port a client sends from.
    source.ports === undefined && source.notPorts === undefined ? 'yes' : hasPorts(flow) ? 'maybe' : 'no',
    destination.service === undefined ? 'yes' : toService(world, flow, destination.service),
    source.service === undefined ? 'yes' : fromService(world, flow.src, source.service),
    rule.http === undefined ? 'yes' : 'maybe',
  ]);
}

const numbers = { TCP: 6, UDP: 17, SCTP: 132, ICMP: 1, ICMPv6: 58 } as const;

function protocolMatches(flow: PolicyFlow, { protocol, notProtocol, icmp, notIcmp }: CalicoRule): boolean {
  const number = numbers[flow.protocol];
  if (protocol !== undefined && number !== protocol) return false;
  if (notProtocol !== undefined && number === notProtocol) return false;
  const isIcmp = (wanted: CalicoIcmp) =>
    Math.floor(flow.port / 256) === wanted.type && (wanted.code ?? flow.port % 256) === flow.port % 256;
  return (icmp === undefined || isIcmp(icmp)) && (notIcmp === undefined || !isIcmp(notIcmp));
}

const hasPorts = ({ protocol }: PolicyFlow): boolean =>
  protocol === 'TCP' || protocol === 'UDP' || protocol === 'SCTP';

function isPort(flow: PolicyFlow, wanted: CalicoPort): boolean {
  if (!hasPorts(flow)) return false;
  if ('name' in wanted) return resolveNamedPort(flow.dst, wanted.name, flow.protocol).includes(flow.port);
  return wanted.from <= flow.port && flow.port <= wanted.to;
}

/**
 * Felix renders a rule for IPv4 and for IPv6, and leaves it out of the family that its ipVersion or its prefixes, negated ones too, do
 * not speak of (FilterRuleToIPVersion). Two dual-stack ends may talk in either.
 */
function familyMatches(world: PolicyWorld, flow: PolicyFlow, rule: CalicoRule): Tri {
  const { source, destination } = rule;
  const lists = [source.nets, source.notNets, destination.nets, destination.notNets];
  const wanted = rule.ipVersion ?? lists.find((nets) => nets !== undefined)?.[0]?.family;
  if (wanted === undefined) return 'yes';
  const possible = ([4, 6] as const).filter(
    (family) =>
      speaks(world, flow.src, family) &&
      speaks(world, flow.dst, family) &&
      flow.protocol !== (family === 4 ? 'ICMPv6' : 'ICMP'),
  );
  if (!possible.includes(wanted)) return 'no';
  return possible.length === 1 ? 'yes' : 'maybe';
}

/** An end without a known address may have what other pods have; where no pod's address is known, either. */
function speaks(world: PolicyWorld, end: FlowEnd, family: 4 | 6): boolean {
  const own = addressesOf(end);
  if (own.length > 0) return own.some((one) => one.family === family);
  const seen = orElse(world.cluster.pods, []).flatMap(({ addresses }) => addresses);
  return seen.length === 0 || seen.some((one) => one.family === family);
}

function entityMatches(
  world: PolicyWorld,
  end: FlowEnd,
  entity: CalicoEntity,
  home: string | undefined,
): Tri {
  const { nets, notNets, selector, notSelector, namespaceSelector, serviceAccounts } = entity;
  const answers: Tri[] = [];
  if (nets !== undefined) answers.push(triIf(hasAddressIn(end, nets)));
  if (notNets !== undefined)
    answers.push(triIf(!addressesOf(end).some((one) => notNets.some((net) => contains(net, one)))));
  if (notSelector !== undefined)
    answers.push(triNot(stands(world, end, (labels) => selectorMatches(notSelector, labels, 'endpoint'))));
  const chooses = [selector, namespaceSelector, serviceAccounts].some((one) => one !== undefined);
  // "Any of the selector fields, NotSelector included, limits a namespaced policy's rule to its namespace" (GetEntityRuleSelector).
  if (chooses || (notSelector !== undefined && home !== undefined))
    answers.push(
      stands(world, end, (labels) =>
        triAll([
          namespaceSelector === undefined
            ? isHome(labels, home)
            : selectorMatches(namespaceSelector, labels, 'namespace'),
          selector === undefined ? 'yes' : selectorMatches(selector, labels, 'endpoint'),
          serviceAccounts === undefined ? 'yes' : accountsMatch(serviceAccounts, labels),
        ]),
      ),
    );
  return triAll(answers);
}

function isHome(labels: LabelLookup, home: string | undefined): Tri {
  if (home === undefined) return 'yes';
  const label = labels('projectcalico.org/namespace');
  return triIf(typeof label === 'object' && label.value === home);
}

/** Names and selector are joined with AND. */
function accountsMatch(
  { names, selector }: NonNullable<CalicoEntity['serviceAccounts']>,
  labels: LabelLookup,
): Tri {
  const name = labels('projectcalico.org/serviceaccount');
  return triAll([
    triIf(names.length === 0 || (typeof name === 'object' && names.includes(name.value))),
    selector === undefined ? 'yes' : selectorMatches(selector, labels, 'service-account'),
  ]);
}

type ServiceName = NonNullable<CalicoEntity['service']>;

/** Where the Service's EndpointSlices are not among the objects, its selector says the same. */
function backing(
  { cluster }: PolicyWorld,
  { namespace, name }: ServiceName,
):
  | { readonly kind: 'slices'; readonly slices: ReturnType<typeof slicesOf> }
  | { readonly kind: 'pods'; readonly service: Service; readonly pods: readonly Pod[] }
  | { readonly kind: 'none' | 'unknown' } {
  const slices = slicesOf(cluster, namespace, name);
  if (slices.length > 0) return { kind: 'slices', slices };
  if (cluster.services.state === 'unknown') return { kind: 'unknown' };
  const service = cluster.services.value.find((one) => one.namespace === namespace && one.name === name);
  if (service === undefined) return { kind: 'none' };
  const wanted = Object.entries(service.selector);
  if (wanted.length === 0) return { kind: cluster.endpointSlices.state === 'unknown' ? 'unknown' : 'none' };
  const pods = orElse(cluster.pods, []).filter(
    (pod) =>
      isEndpointPod(pod) &&
      pod.namespace === namespace &&
      wanted.every(([key, value]) => Object.hasOwn(pod.labels, key) && pod.labels[key] === value),
  );
  return { kind: 'pods', service, pods };
}

const slicesOf = (cluster: PolicyWorld['cluster'], namespace: string, service: string) =>
  orElse(cluster.endpointSlices, []).filter(
    (slice) => slice.namespace === namespace && slice.service === service,
  );

/** An end is a pod behind a Service if it is that pod, or has the address of one on its node's network. */
const isPodBehind = (end: FlowEnd, pod: Pod): boolean =>
  pod.hostNetwork
    ? addressesOf(end).some((one) => pod.addresses.some((own) => sameAddress(own, one)))
    : end.kind === 'pod' && end.pod === pod;

/** "Only to each endpoint's port": address, protocol and port of one endpoint. Whether it is ready makes no difference. */
function toService(world: PolicyWorld, { dst, protocol, port }: PolicyFlow, name: ServiceName): Tri {
  const behind = backing(world, name);
  switch (behind.kind) {
    case 'slices':
      return triIf(
        behind.slices.some(
          (slice) =>
            slice.endpoints.some(({ addresses }) => hasAddressOf(dst, addresses)) &&
            slice.ports.some((one) => one.protocol === protocol && one.port === port),
        ),
      );
    case 'pods':
      return triIf(
        behind.pods.some(
          (pod) =>
            isPodBehind(dst, pod) &&
            behind.service.ports.some(
              (one) =>
                one.protocol === protocol &&
                (typeof one.targetPort === 'number'
                  ? one.targetPort === port
                  : containerPorts(pod, one.targetPort, protocol).includes(port)),
            ),
        ),
      );
    case 'none':
      return 'no';
    case 'unknown':
      return 'maybe';
  }
}

/** A Service resolves its target port's name on pods of either kind. */
const containerPorts = (pod: Pod, name: string, protocol: string): readonly number[] =>
  pod.containers
    .flatMap(({ ports }) => ports)
    .filter((one) => one.name === name && one.protocol === protocol)
    .map((one) => one.port);

function fromService(world: PolicyWorld, src: FlowEnd, name: ServiceName): Tri {
  const behind = backing(world, name);
  switch (behind.kind) {
    case 'slices':
      return triIf(
        behind.slices.some((slice) => slice.endpoints.some(({ addresses }) => hasAddressOf(src, addresses))),
      );
    case 'pods':
      return triIf(behind.pods.some((pod) => isPodBehind(src, pod)));
    case 'none':
      return 'no';
    case 'unknown':
      return 'maybe';
  }
}
