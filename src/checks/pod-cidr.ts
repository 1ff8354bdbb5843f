/** Address plans: every node its own pod CIDR, every pod inside it, and no overlap with nodes or Services. */

import type { Node, Pod } from '../model/cluster.ts';
import type { CauseId, Finding, Subject } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import { objectRef } from '../model/source.ts';
import { type Address, formatAddress } from '../net/address.ts';
import { contains, formatPrefix, overlaps, type Prefix } from '../net/prefix.ts';
import { type CheckContext, declared, defineCheck, nodeSubject, observed, podSubject } from './check.ts';

export const podCidr = defineCheck({
  id: 'pod-cidr',
  title: 'Pod addresses are planned without overlap',
  causes: [
    'cidr/duplicate-pod-cidr',
    'cidr/overlaps-node-network',
    'cidr/overlaps-service-cidr',
    'cidr/pod-outside-node-cidr',
    'cidr/duplicate-pod-ip',
  ],
  run: (context) => {
    const nodes = context.need(context.snapshot.cluster.nodes) ?? [];
    const duplicates = duplicateCidrs(nodes);
    const shared = new Set(duplicates.flatMap(({ concerns }) => concerns.map(({ name }) => name)));
    // Pods of a node whose CIDR was given away are outside it: the shared CIDR is the cause.
    const settled = nodes.filter((node) => !shared.has(node.name));
    return [
      ...duplicates,
      ...overlapsNodes(context, nodes),
      ...overlapsServices(context, nodes),
      ...outside(context, settled),
      ...duplicateAddresses(context),
    ];
  },
});

const cidrRef = (node: Node) => objectRef('Node', undefined, node.name, 'spec.podCIDRs');

const error = (
  cause: CauseId,
  subject: Subject,
  concerns: readonly Subject[],
  statement: string,
  evidence: Finding['evidence'],
): Omit<Finding, 'check'> => ({ cause, severity: 'error', subject, concerns, statement, evidence });

function duplicateCidrs(nodes: readonly Node[]): Omit<Finding, 'check'>[] {
  return nodes.flatMap((a, i) =>
    nodes
      .slice(i + 1)
      .flatMap((b) =>
        a.podCidrs.flatMap((mine) =>
          b.podCidrs
            .filter((theirs) => overlaps(mine, theirs))
            .map((theirs) =>
              error(
                'cidr/duplicate-pod-cidr',
                nodeSubject(b.name),
                [nodeSubject(a.name), nodeSubject(b.name)],
                `${a.name} and ${b.name} share pod addresses: ${formatPrefix(mine)}${formatPrefix(mine) === formatPrefix(theirs) ? '' : ` and ${formatPrefix(theirs)}`}`,
                [
                  declared(`${a.name} has pod CIDR ${formatPrefix(mine)}`, cidrRef(a)),
                  declared(`${b.name} has pod CIDR ${formatPrefix(theirs)}`, cidrRef(b)),
                ],
              ),
            ),
        ),
      ),
  );
}

function overlapsNodes({ world }: CheckContext, nodes: readonly Node[]): Omit<Finding, 'check'>[] {
  const networks = world.nodeNamespaces().flatMap((netns) => {
    const device = world.underlay(netns);
    const own = world.node(netns.node)?.internalAddresses ?? [];
    return (device?.addresses ?? [])
      .filter(({ address }) => own.some((o) => o.family === address.family && o.value === address.value))
      .map(({ prefix }) => ({ prefix, node: netns.node, device }));
  });
  return nodes.flatMap((node) =>
    node.podCidrs.flatMap((cidr) => {
      const clash = networks.find(({ prefix }) => overlaps(prefix, cidr));
      if (clash === undefined) return [];
      return [
        error(
          'cidr/overlaps-node-network',
          nodeSubject(node.name),
          [nodeSubject(clash.node)],
          `the pod CIDR ${formatPrefix(cidr)} of ${node.name} overlaps the node network ${formatPrefix(clash.prefix)}`,
          [
            declared(`${node.name} has pod CIDR ${formatPrefix(cidr)}`, cidrRef(node)),
            observed(`${clash.node} is connected to ${formatPrefix(clash.prefix)}`, clash.device?.source),
          ],
        ),
      ];
    }),
  );
}

function overlapsServices(
  { snapshot, need }: CheckContext,
  nodes: readonly Node[],
): Omit<Finding, 'check'>[] {
  const services = need(snapshot.cluster.services) ?? [];
  return nodes.flatMap((node) =>
    node.podCidrs.flatMap((cidr) => {
      const clash = services.find((service) => service.clusterIps.some((ip) => contains(cidr, ip)));
      if (clash === undefined) return [];
      const name = `${clash.namespace}/${clash.name}`;
      return [
        error(
          'cidr/overlaps-service-cidr',
          nodeSubject(node.name),
          [{ kind: 'service', name }],
          `the pod CIDR ${formatPrefix(cidr)} of ${node.name} holds the address of Service ${name}`,
          [
            declared(`${node.name} has pod CIDR ${formatPrefix(cidr)}`, cidrRef(node)),
            declared(
              `Service ${name} has ${clash.clusterIps.map(formatAddress).join(', ')}`,
              objectRef('Service', clash.namespace, clash.name, 'spec.clusterIPs'),
            ),
          ],
        ),
      ];
    }),
  );
}

function outside(context: CheckContext, nodes: readonly Node[]): Omit<Finding, 'check'>[] {
  if (orElse(context.cni, undefined)?.cni.usesNodePodCidrs !== true) return [];
  const pods = context.pods();
  const fits = (cidrs: readonly Prefix[], address: Address) =>
    cidrs.every((cidr) => cidr.family !== address.family) || cidrs.some((cidr) => contains(cidr, address));
  return nodes.flatMap((node) => {
    const stray = pods
      .filter((pod) => pod.node === node.name)
      .filter((pod) => pod.addresses.some((address) => !fits(node.podCidrs, address)));
    const cidrs = node.podCidrs.map(formatPrefix).join(', ');
    const strayPods = stray.map((pod) =>
      error(
        'cidr/pod-outside-node-cidr',
        podSubject(pod),
        [nodeSubject(node.name)],
        `${pod.namespace}/${pod.name} has ${pod.addresses.map(formatAddress).join(', ')}, outside the pod CIDR of ${node.name} (${cidrs})`,
        [
          declared('the pod has this address', objectRef('Pod', pod.namespace, pod.name, 'status.podIPs')),
          declared(`${node.name} has pod CIDR ${cidrs}`, cidrRef(node)),
        ],
      ),
    );
    return [...strayPods, ...strayBridges(context, node)];
  });
}

const bridgeNames = new Set(['cni0', 'cbr0', 'kube-bridge']);

/** A bridge that outlived the node's former CIDR still has its gateway address: pods cannot reach it. */
function strayBridges({ snapshot, world }: CheckContext, node: Node): Omit<Finding, 'check'>[] {
  const netns = snapshot.netns.get(node.name);
  if (netns === undefined || node.podCidrs.length === 0) return [];
  return [...world.devices(netns).values()]
    .filter(({ name }) => bridgeNames.has(name))
    .flatMap((device) =>
      device.addresses
        .filter(
          ({ address, scope }) =>
            scope !== 'link' && node.podCidrs.some((cidr) => cidr.family === address.family),
        )
        .filter(({ address }) => !node.podCidrs.some((cidr) => contains(cidr, address)))
        .map(({ address }) =>
          error(
            'cidr/pod-outside-node-cidr',
            { kind: 'device', name: `${node.name}/${device.name}` },
            [nodeSubject(node.name)],
            `${device.name} of ${node.name} has ${formatAddress(address)}, outside the node's pod CIDR`,
            [
              observed(`${device.name} has ${formatAddress(address)}`, device.source),
              declared(
                `${node.name} has pod CIDR ${node.podCidrs.map(formatPrefix).join(', ')}`,
                cidrRef(node),
              ),
            ],
          ),
        ),
    );
}

function duplicateAddresses(context: CheckContext): Omit<Finding, 'check'>[] {
  const owners = new Map<string, Pod>();
  return context
    .pods()
    .filter((pod) => pod.phase === 'Running' && !pod.terminating)
    .flatMap((pod) =>
      pod.addresses.flatMap((address) => {
        const text = formatAddress(address);
        const first = owners.get(text);
        if (first === undefined) {
          owners.set(text, pod);
          return [];
        }
        return [
          error(
            'cidr/duplicate-pod-ip',
            podSubject(pod),
            [podSubject(first)],
            `${first.namespace}/${first.name} and ${pod.namespace}/${pod.name} both have ${text}`,
            [first, pod].map(({ namespace, name }) =>
              declared(
                `${namespace}/${name} has ${text}`,
                objectRef('Pod', namespace, name, 'status.podIPs'),
              ),
            ),
          ),
        ];
      }),
    );
}
