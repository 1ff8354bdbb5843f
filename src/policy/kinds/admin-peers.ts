/** Subjects and peers of the admin policies as endpoint expressions, with a condition where objects that they read are not known. */
import type { Selector } from '../../model/cluster.ts';
import type { AdminPeer, AdminPods } from '../../model/policies/admin.ts';
import { addressBits } from '../../net/address.ts';
import { makePrefix } from '../../net/prefix.ts';
import { selectorExpr } from '../expr.ts';
import { and, type Condition, type EndpointExpr, kinds, not } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { matchesSelector } from '../selector.ts';

export interface Match {
  readonly expr: EndpointExpr;
  /** Set: an endpoint of `expr` may match or not. */
  readonly condition?: Condition;
}

/** Pods with a network of their own: hostNetwork pods are neither subjects nor pod peers. */
export function lowerPods(world: PolicyWorld, { namespaceSelector, podSelector }: AdminPods): Match {
  const { expr, condition } = lowerNamespaces(world, namespaceSelector);
  return {
    expr: and(kinds('pod'), expr, selectorExpr(podSelector)),
    ...(condition === undefined ? {} : { condition }),
  };
}

const nameLabel = 'kubernetes.io/metadata.name';

/** Where namespaces are not known, only their names are: requirements on the label that repeats the name are judged by it. */
function lowerNamespaces(world: PolicyWorld, selector: Selector): Match {
  const { namespaces } = world.cluster;
  if (namespaces.state === 'known') return { expr: selectorExpr(selector, 'namespace') };
  const { matchLabels, matchExpressions } = selector;
  const byName: EndpointExpr[] = [];
  for (const [key, value] of Object.entries(matchLabels))
    if (key === nameLabel) byName.push({ is: 'namespace', names: [value] });
  for (const { key, operator, values } of matchExpressions) {
    if (key !== nameLabel) continue;
    if (operator === 'In') byName.push({ is: 'namespace', names: values });
    if (operator === 'NotIn') byName.push(not({ is: 'namespace', names: values }));
    if (operator === 'DoesNotExist') byName.push({ is: 'none' });
  }
  const keys = [...Object.keys(matchLabels), ...matchExpressions.map(({ key }) => key)];
  if (keys.every((key) => key === nameLabel)) return { expr: and(...byName) };
  return { expr: and(...byName), condition: notCollected('namespaces', namespaces.why) };
}

const notCollected = (what: string, why: string): Condition => ({
  code: 'not-collected',
  text: `it selects by labels of ${what}, which are not known: ${why}`,
});

/** Endpoints that are addresses and nothing more to the policies. */
const addressesOnly = kinds('node', 'host-pod', 'external');

export function lowerPeer(world: PolicyWorld, peer: AdminPeer): readonly Match[] {
  switch (peer.kind) {
    case 'pods':
      return [lowerPods(world, peer)];
    case 'networks':
      // "Note that cluster-internal traffic will be checked against the rule as well."
      return [{ expr: { is: 'address', prefixes: peer.prefixes, except: [] } }];
    case 'nodes':
      return lowerNodes(world, peer.nodeSelector);
    case 'domains':
      return [
        {
          expr: peer.mayBePods ? kinds('pod', 'node', 'host-pod', 'external') : addressesOnly,
          condition: {
            code: 'fqdn',
            text: `only for addresses that DNS gave for ${peer.names.join(', ')}`,
          },
        },
      ];
  }
}

/** The nodes, and whatever else has an address of theirs: hostNetwork pods. */
function lowerNodes(world: PolicyWorld, selector: Selector): readonly Match[] {
  const labelled = { expr: and(kinds('node'), selectorExpr(selector)) };
  const { nodes } = world.cluster;
  if (nodes.state === 'unknown')
    return [labelled, { expr: addressesOnly, condition: notCollected('nodes', nodes.why) }];
  const prefixes = nodes.value
    .filter((node) => matchesSelector(selector, node.labels))
    .flatMap((node) => [...node.internalAddresses, ...(node.externalAddresses ?? [])])
    .map((one) => makePrefix(one, addressBits(one.family)));
  if (prefixes.length === 0) return [labelled];
  return [labelled, { expr: and(addressesOnly, { is: 'address', prefixes, except: [] }) }];
}
