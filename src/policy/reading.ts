/** Who enforces the policies, and how: read from what runs in the cluster. */
import type { Cluster, ConfigMap } from '../model/cluster.ts';
import { type Known, orElse } from '../model/known.ts';
import type { PolicyProgramNote } from './ir.ts';
import { type Dialect, defaultReading, type PolicyReading, type PolicyWorld } from './options.ts';

export interface FoundReading {
  readonly reading: PolicyReading;
  /** What the reading rests on, for people: `calico-node runs in kube-system`. */
  readonly because: readonly string[];
}

/** Choices that a user made win over what is found. */
export function readingOf(cluster: Cluster, chosen: Partial<PolicyReading> = {}): FoundReading {
  const because: string[] = [];
  const dialect = chosen.dialect ?? findDialect(cluster, because);
  const cilium = configMap(cluster, 'cilium-config');
  const mode = cilium?.data['enable-policy'];
  const reading: PolicyReading = {
    ...defaultReading,
    ipBlockMatchesPods: matchesPods(cluster, dialect, because),
    ...(mode === 'always' || mode === 'never' ? { ciliumEnforcement: mode } : {}),
    ciliumCidrMatchesNodes: (cilium?.data['policy-cidr-match-mode'] ?? '').includes('nodes'),
    istioRootNamespace: istioRoot(cluster) ?? defaultReading.istioRootNamespace,
    linkerdDefaultInboundPolicy: linkerdDefault(cluster) ?? defaultReading.linkerdDefaultInboundPolicy,
    ...chosen,
    dialect,
  };
  return { reading, because };
}

/** Labels of the agents, as their own manifests and charts set them. */
const agents: readonly (readonly [Dialect, label: string, value: string])[] = [
  ['calico', 'k8s-app', 'calico-node'],
  ['cilium', 'k8s-app', 'cilium'],
];

function findDialect(cluster: Cluster, because: string[]): Dialect {
  for (const [dialect, label, value] of agents)
    if (orElse(cluster.pods, []).some((pod) => pod.labels[label] === value)) {
      because.push(`pods labelled ${label}=${value} run in the cluster`);
      return dialect;
    }
  const calico = hasObjects(cluster.calico);
  const cilium = hasObjects(cluster.cilium);
  if (calico && cilium) {
    because.push('policies of both Calico and Cilium are there and no agent of either: read as Calico');
    return 'calico';
  }
  if (calico) because.push('there are Calico policies');
  if (cilium) because.push('there are Cilium policies');
  return calico ? 'calico' : cilium ? 'cilium' : 'kubernetes';
}

const hasObjects = (group: Known<object>): boolean =>
  group.state === 'known' &&
  Object.values(group.value).some((list) => Array.isArray(list) && list.length > 0);

function matchesPods(cluster: Cluster, dialect: Dialect, because: string[]): boolean {
  if (dialect === 'calico') return true;
  if (dialect === 'cilium') return false;
  // kube-router and Weave's npc fill their ipsets with the block itself, whoever owns the address.
  const byAddress = orElse(cluster.pods, []).some(
    (pod) => pod.labels['k8s-app'] === 'kube-router' || pod.labels.name === 'weave-net',
  );
  if (byAddress) because.push('its policy agent filters by address: an ipBlock matches pods too');
  return byAddress;
}

const configMap = (cluster: Cluster, name: string): ConfigMap | undefined =>
  orElse(cluster.configMaps, []).find((map) => map.name === name);

/** meshConfig.rootNamespace in the YAML of Istio's ConfigMap. */
const istioRoot = (cluster: Cluster): string | undefined =>
  /^rootNamespace:\s*"?([a-z0-9-]+)"?\s*$/m.exec(configMap(cluster, 'istio')?.data.mesh ?? '')?.[1];

function linkerdDefault(cluster: Cluster): PolicyReading['linkerdDefaultInboundPolicy'] | undefined {
  const values = configMap(cluster, 'linkerd-config')?.data.values ?? '';
  const found = /^\s+defaultInboundPolicy:\s*"?([a-z-]+)"?\s*$/m.exec(values)?.[1];
  switch (found) {
    case 'all-unauthenticated':
    case 'all-authenticated':
    case 'cluster-unauthenticated':
    case 'cluster-authenticated':
    case 'deny':
    case 'audit':
      return found;
    default:
      return undefined;
  }
}

/** Policies of a system that does not enforce this cluster's network: they are there and say nothing. */
export function unenforcedNotes({ cluster, reading }: PolicyWorld): readonly PolicyProgramNote[] {
  const systems = [
    ['calico', 'Calico', cluster.calico],
    ['cilium', 'Cilium', cluster.cilium],
  ] as const;
  return systems
    .filter(([dialect, , group]) => dialect !== reading.dialect && hasObjects(group))
    .map(([, name]) => ({
      text: `there are ${name} objects, and the cluster is read as one where ${name} does not enforce policies (${reading.dialect}): they are left out`,
    }));
}
