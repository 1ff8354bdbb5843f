/** What Istio knows of a pod, told one pod at a time. */
import type { Cluster, Labels, Pod, Service } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { IstioMtlsMode, IstioObjects, IstioPeerAuthentication } from '../../model/policies/istio.ts';
import { namespaceLabelsOf, resolveNamedPort } from '../endpoint.ts';

/** Who enforces policies at a pod. */
export type Enforcer = 'none' | 'sidecar' | 'ambient' | 'gateway' | 'waypoint';

export function enforcerOf(cluster: Cluster, pod: Pod): Enforcer {
  const proxies = pod.containers.filter(({ name }) => name === 'istio-proxy');
  if (proxies.length > 0) {
    if (pod.labels['gateway.istio.io/managed'] === 'istio.io-mesh-controller') return 'waypoint';
    const isGateway =
      pod.labels['gateway.networking.k8s.io/gateway-name'] !== undefined ||
      proxies.length === pod.containers.length;
    if (isGateway) return 'gateway';
    return pod.hostNetwork ? 'none' : 'sidecar';
  }
  if (pod.hostNetwork) return 'none';
  if (isToBeInjected(cluster, pod)) return 'sidecar';
  const own = pod.labels['istio.io/dataplane-mode'];
  if (own === 'ambient') return 'ambient';
  if (own === 'none') return 'none';
  const labels = orElse<Labels>(namespaceLabelsOf(cluster, pod.namespace), {});
  return labels['istio.io/dataplane-mode'] === 'ambient' ? 'ambient' : 'none';
}

/**
 * A manifest that no API server has seen yet has no proxy in it: the webhook adds it on creation, by the pod's label, else by the
 * namespace's (istio.io/latest/docs/setup/additional-setup/sidecar-injection).
 */
function isToBeInjected(cluster: Cluster, pod: Pod): boolean {
  if (pod.origin === undefined || pod.node !== '' || pod.addresses.length > 0) return false;
  const labels = orElse<Labels>(namespaceLabelsOf(cluster, pod.namespace), {});
  const inject = pod.labels['sidecar.istio.io/inject'] ?? pod.annotations['sidecar.istio.io/inject'];
  if (inject === 'false' || labels['istio-injection'] === 'disabled') return false;
  return (
    inject === 'true' ||
    labels['istio-injection'] === 'enabled' ||
    labels['istio.io/rev'] !== undefined ||
    pod.labels['istio.io/rev'] !== undefined
  );
}

/** Ports whose traffic does not pass the proxy. A sidecar's own status and metrics ports never do (injection-template.yaml). */
export function bypassesProxy(pod: Pod, enforcer: Enforcer, port: number): boolean {
  if (enforcer === 'ambient') return pod.annotations['ambient.istio.io/bypass-inbound-capture'] === 'true';
  if ([15020, 15021, 15090].includes(port)) return true;
  if (enforcer !== 'sidecar') return false;
  const numbers = (text: string) => text.split(',').map((part) => Number(part.trim() || Number.NaN));
  const excluded = pod.annotations['traffic.sidecar.istio.io/excludeInboundPorts'] ?? '';
  if (numbers(excluded).includes(port)) return true;
  const included = pod.annotations['traffic.sidecar.istio.io/includeInboundPorts'] ?? '*';
  return included.trim() !== '*' && !numbers(included).includes(port);
}

const servicesOf = (cluster: Cluster, pod: Pod): readonly Service[] =>
  orElse(cluster.services, []).filter(
    ({ namespace, selector }) =>
      namespace === pod.namespace &&
      Object.keys(selector).length > 0 &&
      Object.entries(selector).every(([key, value]) => pod.labels[key] === value),
  );

/** `unknown`: no Service says, and the sidecar finds out from the first bytes. */
export type AppProtocol = 'http' | 'tcp' | 'unknown';

/** pkg/config/kube/conversion.go ConvertProtocol: the appProtocol, else the port name up to its first dash. */
export function appProtocolOf(cluster: Cluster, pod: Pod, port: number): AppProtocol {
  const said = new Set<AppProtocol>();
  for (const service of servicesOf(cluster, pod))
    for (const one of service.ports) {
      if (one.protocol !== 'TCP') continue;
      const targets =
        typeof one.targetPort === 'number'
          ? [one.targetPort]
          : resolveNamedPort({ kind: 'pod', pod }, one.targetPort, 'TCP');
      if (targets.includes(port)) said.add(protocolNamed(one.appProtocol ?? one.name, one.port));
    }
  const [only] = said;
  return said.size === 1 && only !== undefined ? only : 'unknown';
}

function protocolNamed(name: string, servicePort: number): AppProtocol {
  const lower = name.toLowerCase();
  if (lower === 'kubernetes.io/h2c' || lower === 'kubernetes.io/ws') return 'http';
  if (lower === 'kubernetes.io/wss') return 'tcp';
  if (/^(http|http2|http_proxy|grpc)(-|$)|^grpc-web/.test(lower)) return 'http';
  if (/^(tcp|tls|https|mongo|redis|mysql)(-|$)/.test(lower)) return 'tcp';
  // Servers on these ports speak first, so nothing is sniffed there.
  return [25, 53, 3306, 27017].includes(servicePort) ? 'tcp' : 'unknown';
}

/** `namespace/name` of the waypoints that traffic to the pod may pass: of its Services, or of itself. */
export function waypointsOf(cluster: Cluster, pod: Pod): ReadonlySet<string> {
  const found = new Set<string>();
  for (const labels of [pod.labels, ...servicesOf(cluster, pod).map((service) => service.labels ?? {})]) {
    const name = waypointFor(cluster, pod.namespace, labels);
    if (name !== undefined) found.add(name);
  }
  return found;
}

/** The object's own label counts before its namespace's; `none` opts out. */
function waypointFor(cluster: Cluster, namespace: string, own: Labels): string | undefined {
  const ofNamespace = orElse<Labels>(namespaceLabelsOf(cluster, namespace), {});
  const labels = own['istio.io/use-waypoint'] ? own : ofNamespace;
  const name = labels['istio.io/use-waypoint'];
  if (!name || name === 'none') return undefined;
  return `${labels['istio.io/use-waypoint-namespace'] ?? namespace}/${name}`;
}

/** Services of the pod that send through a waypoint. */
export const waypointServices = (cluster: Cluster, pod: Pod): readonly string[] =>
  servicesOf(cluster, pod)
    .filter((service) => waypointFor(cluster, pod.namespace, service.labels ?? {}) !== undefined)
    .map(({ name }) => name);

/** True if some DestinationRule of the pod's Services tells clients to use another TLS than the mesh's. */
export const tlsOverridden = (cluster: Cluster, objects: IstioObjects, pod: Pod): boolean =>
  objects.destinationRules.some(
    (rule) =>
      rule.overridesTls &&
      servicesOf(cluster, pod).some(({ namespace, name }) => {
        const full = `${name}.${namespace}.svc.cluster.local`;
        if (rule.host.startsWith('*')) return full.endsWith(rule.host.slice(1));
        // Short names are looked up in the rule's own namespace.
        return rule.host.includes('.')
          ? rule.host === full
          : rule.host === name && rule.namespace === namespace;
      }),
  );

export type EffectiveMode = Exclude<IstioMtlsMode, 'UNSET'>;

/**
 * The modes that the port may have. Port before workload before namespace before mesh; UNSET inherits; nothing at all is PERMISSIVE.
 * More than one where objects without a creation time compete, of which the oldest would count.
 */
export function mtlsModes(
  objects: IstioObjects,
  root: string,
  pod: Pod,
  port: number,
): ReadonlySet<EffectiveMode> {
  const everywhere = (one: IstioPeerAuthentication) => Object.keys(one.matchLabels).length === 0;
  const all = objects.peerAuthentications;
  const mesh = oldest(all.filter((one) => one.namespace === root && everywhere(one)));
  // In the root namespace a selector is ignored (peer_authentication.proto).
  const own = pod.namespace === root ? [] : all.filter((one) => one.namespace === pod.namespace);
  const space = oldest(own.filter(everywhere));
  const workload = oldest(
    own.filter(
      (one) =>
        !everywhere(one) &&
        Object.entries(one.matchLabels).every(([key, value]) => pod.labels[key] === value),
    ),
  );
  const modes = new Set<EffectiveMode>();
  for (const a of mesh)
    for (const b of space)
      for (const c of workload) {
        const chain = [c?.ports.find((one) => one.port === port)?.mode, c?.mode, b?.mode, a?.mode];
        const mode = chain.find((one) => one !== undefined && one !== 'UNSET') ?? 'PERMISSIVE';
        for (const one of mode === 'unknown' ? (['DISABLE', 'PERMISSIVE', 'STRICT'] as const) : [mode])
          modes.add(one);
      }
  return modes;
}

/** The one that counts: the oldest, by name where they are of one age. Every one that may be it, where ages are not known. */
function oldest(list: readonly IstioPeerAuthentication[]): readonly (IstioPeerAuthentication | undefined)[] {
  if (list.length === 0) return [undefined];
  const byAge = list
    .filter((one) => one.created !== undefined)
    .sort((a, b) => compare(a.created ?? '', b.created ?? '') || compare(a.name, b.name));
  return [...list.filter((one) => one.created === undefined), ...byAge.slice(0, 1)];
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
