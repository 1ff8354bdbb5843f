/** The least that an account needs to read what podpath reads: read-only, no Secrets, ConfigMaps by name. */
import { collectedKinds, knownConfigMaps } from './kinds.ts';

const roleName = 'podpath-reader';

/** A ClusterRole as YAML, ready for `kubectl apply -f -`. One rule an API group; groups that a cluster lacks do no harm. */
export function clusterRole(): string {
  const groups = new Map<string, Set<string>>();
  for (const { group, plural } of collectedKinds) {
    const resources = groups.get(group) ?? new Set();
    resources.add(plural);
    groups.set(group, resources);
  }
  const rules = [...groups].flatMap(([group, resources]) => [
    `  - apiGroups: ["${group}"]`,
    `    resources: [${[...resources].join(', ')}]`,
    '    verbs: [get, list]',
  ]);
  const names = [...new Set(knownConfigMaps.map(({ name }) => name))];
  return `${[
    '# What podpath reads of a cluster: no Secrets, nothing is changed. Bind it with',
    `#   kubectl create clusterrolebinding ${roleName} --clusterrole=${roleName} --user=NAME`,
    'apiVersion: rbac.authorization.k8s.io/v1',
    'kind: ClusterRole',
    'metadata:',
    `  name: ${roleName}`,
    'rules:',
    ...rules,
    '  # Only the configuration of the pod network, the Service proxy, DNS and meshes.',
    '  - apiGroups: [""]',
    '    resources: [configmaps]',
    `    resourceNames: [${names.join(', ')}]`,
    '    verbs: [get]',
    '  # Every authenticated account has these by default (system:discovery).',
    '  - nonResourceURLs: [/version, /api, /api/*, /apis, /apis/*]',
    '    verbs: [get]',
  ].join('\n')}\n`;
}
