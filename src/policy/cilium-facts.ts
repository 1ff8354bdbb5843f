/** What Cilium's policies read of a cluster besides its pods: the agent's configuration, and where the API server is. */
import type { Address } from '../net/address.ts';
import type { PolicyWorld } from './options.ts';

/** Undefined where the ConfigMap was not collected. */
function configOf({ cluster }: PolicyWorld): Readonly<Record<string, string>> | undefined {
  const maps = cluster.configMaps.state === 'known' ? cluster.configMaps.value : [];
  return maps.find(({ name }) => name === 'cilium-config')?.data;
}

/** `cluster-name` of cilium-config; `default` is Cilium's own default. */
export const ciliumClusterName = (world: PolicyWorld): string =>
  configOf(world)?.['cluster-name'] || 'default';

export type Switch = 'on' | 'off' | 'not known';

/** An option that is off unless the configuration switches it on. */
export function ciliumSwitch(
  world: PolicyWorld,
  option: 'enable-host-firewall' | 'enable-node-selector-labels' | 'enable-k8s-cluster-network-policy',
): Switch {
  const config = configOf(world);
  if (config === undefined) return 'not known';
  return config[option] === 'true' ? 'on' : 'off';
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
