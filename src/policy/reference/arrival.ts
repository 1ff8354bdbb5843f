/**
 * Under which ports the network's policies see a flow between two pods of a mesh: its proxies carry the connection in one of their own.
 * Several ports where nobody can say which one it is.
 */
import type { Pod } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { PolicyFlow } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { enforcerOf } from './istio-facts.ts';
import { hasProxy, isListed } from './linkerd.ts';
import { ownNetworkPod } from './match.ts';

/** A Linkerd proxy is a container of the pod and comes first; ztunnel, on the node, takes what leaves the pod. */
export function arrivalPorts(world: PolicyWorld, flow: PolicyFlow): readonly number[] {
  if (flow.protocol !== 'TCP' || flow.src.kind !== 'pod' || flow.dst.kind !== 'pod') return [flow.port];
  const afterLinkerd = ownNetworkPod(flow.src)
    ? linkerdPorts(world, flow.src.pod, flow.dst.pod, flow.port)
    : [flow.port];
  const { src, dst } = flow;
  return [...new Set(afterLinkerd.flatMap((port) => ambientPorts(world, src.pod, dst.pod, port)))];
}

/**
 * Toward an opaque port the client's proxy uses the inbound port of the server's (endpoint_translator.go sets OpaqueTransport); newer
 * versions do toward every port (forceOpaqueTransport). What the server's proxy does not take in (`skip-inbound-ports`) goes plainly.
 */
function linkerdPorts(world: PolicyWorld, src: Pod, dst: Pod, port: number): readonly number[] {
  if (dst.hostNetwork || !hasProxy(world, src) || !hasProxy(world, dst)) return [port];
  const skips = setting(world, dst, 'skip-inbound-ports');
  if (skips !== 'unknown' && isListed(skips ?? '', port)) return [port];
  const opaque = setting(world, dst, 'opaque-ports');
  const client = setting(world, src, 'skip-outbound-ports');
  const certain =
    skips !== 'unknown' &&
    opaque !== 'unknown' &&
    isListed(opaque ?? defaultOpaquePorts, port) &&
    client !== 'unknown' &&
    (client ?? '').trim() === '';
  return certain ? [4143] : [port, 4143];
}

/** Helm's proxy.opaquePorts: protocols in which the server speaks first. */
const defaultOpaquePorts = '25,587,3306,4444,5432,6379,9300,11211';

/** The pod's annotation, else its namespace's, as the injector copies it to the pod. */
function setting(world: PolicyWorld, pod: Pod, name: string): string | undefined | 'unknown' {
  const key = `config.linkerd.io/${name}`;
  if (pod.annotations[key] !== undefined) return pod.annotations[key];
  const { namespaces } = world.cluster;
  if (namespaces.state === 'unknown') return 'unknown';
  return namespaces.value.find((one) => one.name === pod.namespace)?.annotations[key];
}

/** "HBONE ... port 15008" is all that a policy sees between ambient pods (istio.io/latest/docs/ambient/usage/networkpolicy). */
function ambientPorts(world: PolicyWorld, src: Pod, dst: Pod, port: number): readonly number[] {
  const found = new Set<number>();
  for (const from of memberships(world, src))
    for (const to of memberships(world, dst)) {
      if (from === 'ambient' && to === 'ambient') found.add(15008);
      else if ((from === 'ambient' && to === 'sidecar') || (from === 'sidecar' && to === 'ambient'))
        // Sidecars speak HBONE only where they were installed with it.
        found.add(15008).add(port);
      else found.add(port);
    }
  return [...found];
}

type Membership = 'no' | 'sidecar' | 'ambient';

/** What the pod may be to the mesh; several where its namespace's labels are not known and there is an ambient mesh. */
function memberships(world: PolicyWorld, pod: Pod): readonly Membership[] {
  const { cluster } = world;
  const enforcer = enforcerOf(cluster, pod);
  if (enforcer === 'ambient') return ['ambient'];
  if (enforcer !== 'none') return ['sidecar'];
  const open =
    cluster.namespaces.state === 'unknown' &&
    !pod.hostNetwork &&
    pod.labels['istio.io/dataplane-mode'] === undefined &&
    // A sidecar opts out of ambient; without any ztunnel nobody is in it.
    orElse(cluster.pods, []).some(
      ({ labels }) => labels.app === 'ztunnel' || labels['istio.io/dataplane-mode'] === 'ambient',
    );
  return open ? ['no', 'ambient'] : ['no'];
}
