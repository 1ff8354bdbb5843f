/** Istio's facts about endpoints, as traits that the lowered rules test. */
import type { Labels, Pod, Service } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type {
  IstioAuthorizationPolicy,
  IstioDestinationRule,
  IstioObjects,
} from '../../model/policies/istio.ts';
import {
  complementPorts,
  everyPort,
  noPorts,
  type PortSet,
  portRange,
  unionPorts,
} from '../../net/port-set.ts';
import type { PolicyEndpoint, TraitSource } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { type PortKey, peerModes, portKeys } from './istio-mtls.ts';
import { groupBy, hasAll, neverCreated } from './lookup.ts';

/** Names of traits. `source...` is how an endpoint calls, `at...` is who enforces where it is called. */
export const traits = {
  sourceSidecar: 'istio/source-sidecar',
  sourceAmbient: 'istio/source-ambient',
  /** Its namespace's labels say whether it is an ambient pod, and they are not known. */
  sourceMaybeAmbient: 'istio/source-maybe-ambient',
  atSidecar: 'istio/at-sidecar',
  atAmbient: 'istio/at-ambient',
  atGateway: 'istio/at-gateway',
  /** An ambient pod with a waypoint before it. */
  relayed: 'istio/relayed',
  tlsOverride: 'istio/tls-override',
  bypass: (key: string) => `istio/bypass/${key}`,
  protocols: (key: string) => `istio/protocols/${key}`,
  attached: (policy: IstioAuthorizationPolicy) => `istio/attached/${policy.namespace}/${policy.name}`,
  strict: (port: PortKey, by: string) => `istio/strict/${port}/${by}`,
  maybeStrict: (port: PortKey, by: string) => `istio/maybe-strict/${port}/${by}`,
  disabled: (port: PortKey) => `istio/disabled/${port}`,
  maybeDisabled: (port: PortKey) => `istio/maybe-disabled/${port}`,
} as const;

/** Ports whose protocol the pod's Services tell. What all others carry is found out from the first bytes. */
export interface KnownProtocols {
  /** The same for pods with the same ports. */
  readonly key: string;
  readonly http: PortSet;
  readonly tcp: PortSet;
}

/** What is computed once for a cluster, and for each of its pods when asked. */
export interface IstioView {
  readonly objects: IstioObjects;
  readonly of: (pod: Pod) => PodFacts;
}

export interface PodFacts {
  readonly source: 'sidecar' | 'ambient' | undefined;
  readonly enforcer: 'sidecar' | 'ambient' | 'gateway' | 'waypoint' | undefined;
  /** Ports that the proxy does not see. */
  readonly bypass: PortSet;
  readonly protocols: KnownProtocols;
  /** `namespace/name`. */
  readonly waypoints: ReadonlySet<string>;
  readonly waypointServices: ReadonlySet<string>;
  readonly tlsOverride: boolean;
}

export function istioView(world: PolicyWorld): IstioView | undefined {
  const { istio, services, namespaces } = world.cluster;
  if (istio.state === 'unknown' || services.state === 'unknown' || namespaces.state === 'unknown')
    return undefined;
  const spaces = new Map(namespaces.value.map(({ name, labels }) => [name, labels] as const));
  const servicesIn = groupBy(
    services.value.filter(({ selector }) => Object.keys(selector).length > 0),
    ({ namespace }) => namespace,
  );
  const overrides = istio.value.destinationRules.filter((rule) => rule.overridesTls);
  const spaceOf = (pod: Pod): Labels => spaces.get(pod.namespace) ?? {};
  const made = new Map<Pod, PodFacts>();
  const make = (pod: Pod): PodFacts => {
    const near = servicesIn.get(pod.namespace) ?? [];
    const own = near.filter(({ selector }) => hasAll(pod.labels, selector));
    return podFacts(pod, spaceOf(pod), own, overrides);
  };
  return {
    objects: istio.value,
    of: (pod) => {
      const facts = made.get(pod) ?? make(pod);
      made.set(pod, facts);
      return facts;
    },
  };
}

/** How each pod calls; it needs neither policies nor Services. Without any ztunnel nobody is ambient. */
export function istioSources(world: PolicyWorld): (pod: Pod) => PodFacts['source'] | 'maybe-ambient' {
  const { namespaces } = world.cluster;
  if (namespaces.state === 'known') {
    const spaces = new Map(namespaces.value.map(({ name, labels }) => [name, labels] as const));
    return (pod) => sourceOf(memberKind(pod, spaces.get(pod.namespace) ?? {}));
  }
  const ambientIsThere = orElse(world.cluster.pods, []).some(
    ({ labels }) => labels.app === 'ztunnel' || labels[ambientMode] === 'ambient',
  );
  return (pod) => {
    const source = sourceOf(memberKind(pod, {}));
    const open = source === undefined && ambientIsThere && !pod.hostNetwork && !(ambientMode in pod.labels);
    return open ? 'maybe-ambient' : source;
  };
}

const ambientMode = 'istio.io/dataplane-mode';

const sourceOf = (kind: PodFacts['enforcer']): PodFacts['source'] =>
  kind === undefined || kind === 'ambient' ? kind : 'sidecar';

/** How the pod is part of the mesh. */
function memberKind(pod: Pod, space: Labels): PodFacts['enforcer'] {
  const isProxy = ({ name }: { readonly name: string }) => name === 'istio-proxy';
  if (pod.containers.some(isProxy)) {
    if (pod.labels['gateway.istio.io/managed'] === 'istio.io-mesh-controller') return 'waypoint';
    // A gateway is a proxy without an application.
    const isGateway = 'gateway.networking.k8s.io/gateway-name' in pod.labels || pod.containers.every(isProxy);
    return isGateway ? 'gateway' : pod.hostNetwork ? undefined : 'sidecar';
  }
  if (!pod.hostNetwork && neverCreated(pod) && asksForSidecar(pod, space)) return 'sidecar';
  const mode = pod.labels[ambientMode];
  const ambient = mode === 'ambient' || (mode !== 'none' && space[ambientMode] === 'ambient');
  return ambient && !pod.hostNetwork ? 'ambient' : undefined;
}

/** The webhook's choice: `false` and `disabled` win, then any wish for a sidecar. */
function asksForSidecar(pod: Pod, space: Labels): boolean {
  const own = pod.labels['sidecar.istio.io/inject'] ?? pod.annotations['sidecar.istio.io/inject'];
  const refused = own === 'false' || space['istio-injection'] === 'disabled';
  const wished =
    own === 'true' ||
    space['istio-injection'] === 'enabled' ||
    'istio.io/rev' in space ||
    'istio.io/rev' in pod.labels;
  return wished && !refused;
}

function podFacts(
  pod: Pod,
  space: Labels,
  services: readonly Service[],
  overrides: readonly IstioDestinationRule[],
): PodFacts {
  const enforcer = memberKind(pod, space);
  const waypoint = (own: Labels): string | undefined => {
    const labels = own['istio.io/use-waypoint'] ? own : space;
    const name = labels['istio.io/use-waypoint'] ?? '';
    if (name === '' || name === 'none') return undefined;
    return `${labels['istio.io/use-waypoint-namespace'] ?? pod.namespace}/${name}`;
  };
  const served = services.filter((service) => waypoint(service.labels ?? {}) !== undefined);
  const all = [waypoint(pod.labels), ...served.map((service) => waypoint(service.labels ?? {}))];
  return {
    source: sourceOf(enforcer),
    enforcer: pod.hostNetwork ? undefined : enforcer,
    bypass: bypassOf(pod, enforcer),
    // A gateway's listeners have protocols of their own.
    protocols: knownProtocols(enforcer === 'sidecar' ? protocolsOf(pod, services) : new Map()),
    waypoints: new Set(enforcer === 'ambient' ? all.filter((name) => name !== undefined) : []),
    waypointServices: new Set(enforcer === 'ambient' ? served.map(({ name }) => name) : []),
    tlsOverride: overrides.some((rule) => services.some((service) => hostMeans(rule, service))),
  };
}

type Carried = 'http' | 'tcp' | 'sniffed';

function knownProtocols(ports: ReadonlyMap<number, Carried>): KnownProtocols {
  const those = (wanted: Carried): PortSet =>
    [...ports]
      .filter(([, carries]) => carries === wanted)
      .reduce<PortSet>((sum, [port]) => unionPorts(sum, portRange('TCP', port, port)), noPorts);
  const [http, tcp] = [those('http'), those('tcp')];
  return { key: `${http.join()}/${tcp.join()}`, http, tcp };
}

/** Target ports, and what the Services agree that they carry. */
function protocolsOf(pod: Pod, services: readonly Service[]): ReadonlyMap<number, Carried> {
  const found = new Map<number, Carried>();
  for (const { ports } of services)
    for (const { protocol, name, appProtocol, port, targetPort } of ports) {
      if (protocol !== 'TCP') continue;
      const carries = carried(appProtocol ?? name, port);
      for (const target of targetsOf(pod, targetPort)) {
        const before = found.get(target);
        found.set(target, before === undefined || before === carries ? carries : 'sniffed');
      }
    }
  return found;
}

function targetsOf(pod: Pod, target: number | string): readonly number[] {
  if (typeof target === 'number') return [target];
  return pod.hostNetwork
    ? []
    : pod.containers
        .flatMap(({ ports }) => ports)
        .filter(({ name, protocol }) => name === target && protocol === 'TCP')
        .map(({ port }) => port);
}

const carriedBy: Readonly<Record<string, 'http' | 'tcp'>> = {
  http: 'http',
  http2: 'http',
  http_proxy: 'http',
  grpc: 'http',
  tcp: 'tcp',
  tls: 'tcp',
  https: 'tcp',
  mongo: 'tcp',
  redis: 'tcp',
  mysql: 'tcp',
  'kubernetes.io/h2c': 'http',
  'kubernetes.io/ws': 'http',
  'kubernetes.io/wss': 'tcp',
};

/** By the appProtocol or the port name up to its first dash (pkg/config/kube/conversion.go). */
function carried(text: string, port: number): Carried {
  const name = text.toLowerCase();
  if (name.startsWith('grpc-web')) return 'http';
  const key = name.startsWith('kubernetes.io/') ? name : (name.split('-')[0] ?? '');
  if (Object.hasOwn(carriedBy, key)) return carriedBy[key] ?? 'sniffed';
  return port === 25 || port === 53 || port === 3306 || port === 27017 ? 'tcp' : 'sniffed';
}

/** The proxy's own ports are never redirected; annotations add to them or name the only ones that are. */
function bypassOf(pod: Pod, enforcer: PodFacts['enforcer']): PortSet {
  if (enforcer === undefined) return noPorts;
  if (enforcer === 'ambient')
    return pod.annotations['ambient.istio.io/bypass-inbound-capture'] === 'true' ? everyPort : noPorts;
  const statusPorts = unionPorts(portRange('TCP', 15020, 15021), portRange('TCP', 15090, 15090));
  if (enforcer !== 'sidecar') return statusPorts;
  const listed = (text: string): PortSet =>
    text
      .split(',')
      .map((part) => part.trim())
      .filter((part) => /^[0-9]+$/.test(part) && Number(part) <= 65535)
      .reduce<PortSet>((sum, part) => unionPorts(sum, portRange('TCP', Number(part), Number(part))), noPorts);
  const excluded = listed(pod.annotations['traffic.sidecar.istio.io/excludeInboundPorts'] ?? '');
  const only = pod.annotations['traffic.sidecar.istio.io/includeInboundPorts']?.trim() ?? '*';
  const left = only === '*' ? noPorts : complementPorts(listed(only));
  return unionPorts(statusPorts, unionPorts(excluded, left));
}

function hostMeans(rule: IstioDestinationRule, { namespace, name }: Service): boolean {
  const full = `${name}.${namespace}.svc.cluster.local`;
  if (rule.host.startsWith('*')) return full.endsWith(rule.host.slice(1));
  return rule.host === full || (rule.host === name && rule.namespace === namespace);
}

export const bypassKey = (set: PortSet): string => set.join();

/** Facts of pods; nothing for nodes and the outside. Without policies only how a pod is part of the mesh is told. */
export const istioTraits: TraitSource = (world) => {
  const sources = istioSources(world);
  const sourceTraits = ({ end }: PolicyEndpoint): readonly string[] =>
    end.kind === 'pod' ? callsAs[sources(end.pod) ?? 'plain'] : [];
  const view = istioView(world);
  if (view === undefined) return sourceTraits;
  const { objects } = view;
  const policies = objects.authorizationPolicies.length + objects.peerAuthentications.length > 0;
  const modes = peerModes(objects.peerAuthentications, world.reading.istioRootNamespace);
  const keys = portKeys(objects.peerAuthentications);
  const targeted = objects.authorizationPolicies.filter(({ targetRefs }) => targetRefs.length > 0);
  return (endpoint) => {
    const { end } = endpoint;
    const found = [...sourceTraits(endpoint)];
    if (!policies || end.kind !== 'pod' || found.length === 0) return found;
    const facts = view.of(end.pod);
    if (facts.enforcer === undefined) return found;
    if (facts.enforcer === 'sidecar') found.push(traits.atSidecar);
    if (facts.enforcer === 'ambient') found.push(traits.atAmbient);
    if (facts.enforcer === 'gateway') found.push(traits.atGateway);
    if (facts.waypoints.size > 0) found.push(traits.relayed);
    if (facts.tlsOverride) found.push(traits.tlsOverride);
    if (facts.bypass.length > 0) found.push(traits.bypass(bypassKey(facts.bypass)));
    if (facts.enforcer !== 'ambient') found.push(traits.protocols(facts.protocols.key));
    for (const policy of targeted)
      if (isAttached(policy, end.pod, facts, world.reading.istioRootNamespace))
        found.push(traits.attached(policy));
    if (facts.enforcer === 'sidecar' || facts.enforcer === 'ambient')
      for (const key of keys) found.push(...modeTraits(key, modes(end.pod, key)));
    return found;
  };
};

const callsAs: Readonly<Record<'sidecar' | 'ambient' | 'maybe-ambient' | 'plain', readonly string[]>> = {
  sidecar: [traits.sourceSidecar],
  ambient: [traits.sourceAmbient],
  'maybe-ambient': [traits.sourceMaybeAmbient],
  plain: [],
};

function modeTraits(key: PortKey, found: ReturnType<ReturnType<typeof peerModes>>): readonly string[] {
  const strict = found.filter(({ mode }) => mode === 'STRICT');
  const disabled = found.filter(({ mode }) => mode === 'DISABLE');
  const name = strict.length === found.length ? traits.strict : traits.maybeStrict;
  return [
    ...new Set(strict.map(({ by }) => name(key, by))),
    ...(disabled.length === 0
      ? []
      : [disabled.length === found.length ? traits.disabled(key) : traits.maybeDisabled(key)]),
  ];
}

/** A policy with targetRefs is for waypoints and gateways (pilot/pkg/model/policyattachment.go). */
function isAttached(policy: IstioAuthorizationPolicy, pod: Pod, facts: PodFacts, root: string): boolean {
  const { enforcer, waypoints, waypointServices } = facts;
  const isProxy = enforcer === 'gateway' || enforcer === 'waypoint';
  return policy.targetRefs.some(({ group, kind, name }) => {
    if (group === '' && kind === 'Service')
      return policy.namespace === pod.namespace && waypointServices.has(name);
    if (group !== 'gateway.networking.k8s.io') return false;
    if (kind === 'GatewayClass')
      return (
        policy.namespace === root &&
        name === 'istio-waypoint' &&
        (enforcer === 'waypoint' || waypoints.size > 0)
      );
    if (kind !== 'Gateway') return false;
    const itself =
      isProxy &&
      pod.namespace === policy.namespace &&
      pod.labels['gateway.networking.k8s.io/gateway-name'] === name;
    return itself || waypoints.has(`${policy.namespace}/${name}`);
  });
}
