/** What Cilium's policies read of a cluster besides its pods: its name, and where its API server is. */
import type { Address } from '../net/address.ts';
import type { PolicyWorld } from './options.ts';

/** `cluster-name` of cilium-config; `default` is Cilium's own default. */
export function ciliumClusterName({ cluster }: PolicyWorld): string {
  const maps = cluster.configMaps.state === 'known' ? cluster.configMaps.value : [];
  return maps.find(({ name }) => name === 'cilium-config')?.data['cluster-name'] || 'default';
}

/** Endpoints of the Service default/kubernetes. Undefined where the cluster's objects do not tell. */
export function apiServerAddresses({ cluster }: PolicyWorld): readonly Address[] | undefined {
  if (cluster.endpointSlices.state === 'unknown') return undefined;
  const slices = cluster.endpointSlices.value.filter(
    ({ namespace, service }) => namespace === 'default' && service === 'kubernetes',
  );
  if (slices.length === 0) return undefined;
  return slices.flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses));
}
