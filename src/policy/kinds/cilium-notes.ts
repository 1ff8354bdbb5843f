/** What is said beside every answer about Cilium's policies: parts left out, and what an answer takes for granted. */
import type { Pod } from '../../model/cluster.ts';
import type {
  CiliumPeer,
  CiliumPolicy,
  CiliumRequirement,
  CiliumRule,
  CiliumSpec,
} from '../../model/policies/cilium.ts';
import { apiServerAddresses, ciliumSwitch, type Switch } from '../cilium-facts.ts';
import { isEndpointPod, resolveNamedPort } from '../endpoint.ts';
import type { PolicyProgramNote } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';

export function ciliumNotes(world: PolicyWorld): readonly PolicyProgramNote[] {
  const { cilium } = world.cluster;
  if (cilium.state === 'unknown') return adminNote(world);
  const { policies, cidrGroups } = cilium.value;
  const ofGroups = cidrGroups.flatMap(({ name, problems, origin }) =>
    problems.map(({ field, why }) => ({
      policy: { kind: 'CiliumCIDRGroup', name },
      ...(origin === undefined ? {} : { origin }),
      field,
      text: `${field} ${why}`,
    })),
  );
  return [...policies.flatMap((policy) => policyNotes(world, policy)), ...ofGroups, ...adminNote(world)];
}

function policyNotes(world: PolicyWorld, policy: CiliumPolicy): readonly PolicyProgramNote[] {
  const { kind, namespace, name, origin, problems, specs } = policy;
  const at = {
    policy: { kind, ...(namespace === undefined ? {} : { namespace }), name },
    ...(origin === undefined ? {} : { origin }),
  };
  return [
    ...problems.map(({ field, why }) => ({ field, text: `${field} ${why}` })),
    ...specs.flatMap((spec) => specNotes(world, spec)),
  ].map((note) => ({ ...at, ...note }));
}

type Note = Pick<PolicyProgramNote, 'field' | 'text'>;

function specNotes(world: PolicyWorld, spec: CiliumSpec): readonly Note[] {
  const { subject, field, ingress, egress } = spec;
  const notes: Note[] = [];
  const firewall = ciliumSwitch(world, 'enable-host-firewall');
  if (subject.kind === 'nodes' && firewall !== 'on')
    notes.push({
      field,
      text:
        firewall === 'off'
          ? 'this host policy has no effect: enable-host-firewall is off in cilium-config'
          : 'this host policy takes effect only where the host firewall is on (enable-host-firewall); that is taken for granted',
    });
  for (const one of subject.selector) notes.push(...identityNote(one, `${field}.endpointSelector`));
  const rules = (section: typeof ingress): readonly CiliumRule[] =>
    section === undefined ? [] : [...section.allow, ...section.deny];
  for (const rule of rules(ingress)) notes.push(...ruleNotes(world, rule));
  for (const rule of rules(egress)) notes.push(...ruleNotes(world, rule), ...namedPortNotes(world, rule));
  return notes;
}

function ruleNotes(world: PolicyWorld, rule: CiliumRule): readonly Note[] {
  const notes = (rule.peers ?? []).flatMap((peer) => peerNotes(world, peer));
  if (rule.requires.length === 0) return notes;
  const removed = 'fromRequires and toRequires are judged as Cilium up to 1.18 does; 1.19 refuses them';
  return [...notes, { field: rule.field, text: removed }];
}

function peerNotes(world: PolicyWorld, peer: CiliumPeer): readonly Note[] {
  const { field } = peer;
  switch (peer.kind) {
    case 'endpoints':
      return peer.selector.flatMap((one) => identityNote(one, field));
    case 'nodes': {
      const text = nodeSwitch[ciliumSwitch(world, 'enable-node-selector-labels')];
      return text === undefined ? [] : [{ field, text }];
    }
    case 'cidr-groups': {
      const { cilium } = world.cluster;
      const groups = cilium.state === 'known' ? cilium.value.cidrGroups : [];
      if (typeof peer.groups !== 'string' || groups.some(({ name }) => name === peer.groups)) return [];
      return [{ field, text: `there is no CiliumCIDRGroup ${peer.groups}: it matches nothing` }];
    }
    case 'services':
      return serviceNotes(world, peer);
    case 'entity':
      if (peer.entity !== 'kube-apiserver' || apiServerAddresses(world) !== undefined) return [];
      return [
        {
          field,
          text: 'the EndpointSlice of default/kubernetes was not collected: who the API server is is not known',
        },
      ];
    default:
      return [];
  }
}

const nodeSwitch: Readonly<Record<Switch, string | undefined>> = {
  on: undefined,
  off: 'Cilium refuses this policy: enable-node-selector-labels is off in cilium-config',
  'not known': 'nodes are selected only where enable-node-selector-labels is on; that is taken for granted',
};

function serviceNotes(world: PolicyWorld, peer: CiliumPeer & { kind: 'services' }): readonly Note[] {
  const { services } = world.cluster;
  if (services.state === 'unknown' || typeof peer.services !== 'string') return [];
  const found = services.value.some(
    ({ namespace, name }) =>
      name === peer.services && (peer.namespace === undefined || peer.namespace === namespace),
  );
  const where = peer.namespace === undefined ? '' : `${peer.namespace}/`;
  return found
    ? []
    : [{ field: peer.field, text: `there is no Service ${where}${peer.services}: it matches nothing` }];
}

/** Labels that Cilium leaves out of identities unless it is configured otherwise (defaultLabelPrefixCfg in pkg/labelsfilter). */
const leftOut =
  /^(io\.kubernetes(?!\.pod\.namespace$)|kubernetes\.io|statefulset\.kubernetes\.io\/pod-name|apps\.kubernetes\.io\/pod-index|batch\.kubernetes\.io\/(job-completion-index|controller-uid)|.*beta\.kubernetes\.io|k8s\.io|pod-template-generation|pod-template-hash|controller-revision-hash|controller-uid|annotation|etcd_node|topology\.kubernetes\.io)/;

function identityNote({ source, key }: CiliumRequirement, field: string): readonly Note[] {
  if ((source !== 'any' && source !== 'k8s') || !leftOut.test(key)) return [];
  const text = `Cilium leaves the label ${key} out of a pod's identity unless its option \`labels\` says otherwise: a selector that reads it then finds no such label`;
  return [{ field, text }];
}

function namedPortNotes({ cluster }: PolicyWorld, rule: CiliumRule): readonly Note[] {
  const pods = cluster.pods.state === 'known' ? cluster.pods.value.filter(isEndpointPod) : [];
  const isAmbiguous = (name: string, protocol: 'TCP' | 'UDP' | 'SCTP'): boolean => {
    const numbers = (pod: Pod) => resolveNamedPort({ kind: 'pod', pod }, name, protocol);
    return new Set(pods.flatMap(numbers)).size > 1;
  };
  const names = (rule.ports ?? []).flatMap(({ ports, field }) =>
    ports.flatMap((port) =>
      port.kind === 'named' && port.protocols.some((protocol) => isAmbiguous(port.name, protocol))
        ? [{ name: port.name, field }]
        : [],
    ),
  );
  return names.map(({ name, field }) => ({
    field,
    text: `pods differ in the number of the port ${name}: Cilium before 1.20 ignores such a name in egress rules`,
  }));
}

function adminNote(world: PolicyWorld): readonly PolicyProgramNote[] {
  const { adminPolicies } = world.cluster;
  if (adminPolicies.state === 'unknown') return [];
  const old = adminPolicies.value.find(({ kind }) => kind !== 'ClusterNetworkPolicy');
  const current = adminPolicies.value.find(({ kind }) => kind === 'ClusterNetworkPolicy');
  const notes: PolicyProgramNote[] = [];
  if (old !== undefined)
    notes.push({
      policy: { kind: old.kind, name: old.name },
      text: 'Cilium does not enforce AdminNetworkPolicy and BaselineAdminNetworkPolicy; they are judged as their API says',
    });
  if (current !== undefined && ciliumSwitch(world, 'enable-k8s-cluster-network-policy') !== 'on')
    notes.push({
      policy: { kind: current.kind, name: current.name },
      text: 'Cilium enforces ClusterNetworkPolicy from 1.20 on, with enable-k8s-cluster-network-policy; that is taken for granted',
    });
  return notes;
}
