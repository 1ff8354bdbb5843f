/** Kinds that a newer one has replaced. */
import { orElse } from '../../model/known.ts';
import { defineRule, type Found } from './rule.ts';

export const deprecatedKind = defineRule({
  id: 'deprecated-kind',
  title: 'no policy is of a kind that has a successor',
  needsPods: false,
  run: ({ cluster }) => [
    ...orElse(cluster.adminPolicies, []).flatMap(({ kind, name, origin }): Found[] =>
      kind === 'ClusterNetworkPolicy'
        ? []
        : [
            {
              severity: 'info',
              policy: { kind, name },
              field: 'kind',
              text: `${kind} v1alpha1 is superseded by ClusterNetworkPolicy v1alpha2`,
              todo: `write it as a ClusterNetworkPolicy of the ${kind === 'AdminNetworkPolicy' ? 'Admin' : 'Baseline'} tier when your CNI reads that`,
              ...(origin === undefined ? {} : { origin }),
            },
          ],
    ),
    ...(cluster.linkerd.state === 'unknown' ? [] : cluster.linkerd.value.serverAuthorizations).map(
      ({ namespace, name, origin }): Found => ({
        severity: 'info',
        policy: { kind: 'ServerAuthorization', namespace, name },
        field: 'kind',
        text: "ServerAuthorization is superseded by Linkerd's AuthorizationPolicy",
        todo: 'write it as an AuthorizationPolicy with a MeshTLSAuthentication or NetworkAuthentication',
        ...(origin === undefined ? {} : { origin }),
      }),
    ),
  ],
});
