import type { Lab, RawObject } from '../lab.ts';
import { hostOf } from '../plan.ts';
import type { LabNode } from '../state.ts';
import { defineFault } from './fault.ts';
import { across, far, near, nodeAt, webToApi, within } from './flows.ts';
import { ipv4Of, onNode, peerMac, routeTo, setRoute, tunnelOf, words } from './kernel.ts';

const twin = (lab: Lab): LabNode => nodeAt(lab, 2);
/** The nodes that must choose between the two. */
const others = (lab: Lab): LabNode[] =>
  lab.state.nodes.filter((node) => node !== far(lab) && node !== twin(lab));
const vtepOf = (node: LabNode): string => hostOf(ipv4Of(node).podCidr, 0);

type NodeSpec = { podCIDR?: string; podCIDRs?: string[] };

/**
 * A second node registered with a pod prefix that is taken: its bridge has the prefix too, and the peers follow the later
 * announcement. Pods that the second node had before keep their addresses and their routes.
 */
export const duplicatePodCidr = defineFault({
  name: 'duplicate-pod-cidr',
  title: 'two nodes have the same pod prefix, and the peers route it to one of them',
  cause: 'cidr/duplicate-pod-cidr',
  cnis: ['flannel-vxlan', 'flannel-host-gw'],
  minNodes: 3,
  repair: 'Drain one of the nodes, delete its Node object, and let it register with a prefix of its own.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), twin(lab)]),
  ],
  capture: async (lab) => {
    const nodes = await lab.objects<RawObject & { spec: NodeSpec }>('nodes');
    const args: Record<string, string> = {
      spec: JSON.stringify(nodes.find(({ metadata }) => metadata.name === twin(lab).name)?.spec ?? {}),
    };
    for (const node of [...others(lab), twin(lab)])
      args[node.name] = await routeTo(node, ipv4Of(far(lab)).podCidr);
    if (lab.state.cni === 'flannel-vxlan') {
      args.mac = await peerMac(near(lab), tunnelOf(lab).device, far(lab));
      args.twinMac = await peerMac(near(lab), tunnelOf(lab).device, twin(lab));
    }
    return args;
  },
  async break(lab, args) {
    const { podCidr } = ipv4Of(far(lab));
    await setNodeSpec(lab, (spec) => ({
      ...spec,
      podCIDR: podCidr,
      podCIDRs: [podCidr, ...(spec.podCIDRs ?? []).slice(1)],
    }));
    for (const node of others(lab)) await claim(lab, node, ipv4Of(twin(lab)).address, args.twinMac);
    await onNode(twin(lab), 'ip', '-4', 'route', 'del', ...words(args[twin(lab).name] ?? ''));
    await onNode(twin(lab), 'ip', 'addr', 'replace', bridgeAddress(lab), 'dev', 'cni0');
  },
  async mend(lab, args) {
    await setNodeSpec(lab, () => JSON.parse(args.spec ?? '{}') as NodeSpec);
    const there = await onNode(twin(lab), 'ip', '-4', '-o', 'addr', 'show', 'dev', 'cni0');
    if (there.includes(` ${bridgeAddress(lab)} `))
      await onNode(twin(lab), 'ip', 'addr', 'del', bridgeAddress(lab), 'dev', 'cni0');
    for (const node of [...others(lab), twin(lab)]) await setRoute(node, args[node.name] ?? '');
    if (args.mac !== undefined)
      for (const node of others(lab)) await claim(lab, node, ipv4Of(far(lab)).address, args.mac);
  },
});

const bridgeAddress = (lab: Lab): string => {
  const { podCidr } = ipv4Of(far(lab));
  return `${hostOf(podCidr, 1)}${podCidr.slice(podCidr.indexOf('/'))}`;
};

/** Flannel names a VTEP by its prefix's first address, so the later claim of the prefix replaces the earlier one's neighbour. */
async function claim(lab: Lab, node: LabNode, address: string, mac: string | undefined): Promise<void> {
  if (mac === undefined) await setRoute(node, `${ipv4Of(far(lab)).podCidr} via ${address} dev eth0`);
  else
    await onNode(
      node,
      'ip',
      'neigh',
      'replace',
      vtepOf(far(lab)),
      'lladdr',
      mac,
      'dev',
      tunnelOf(lab).device,
      'nud',
      'permanent',
    );
}

async function setNodeSpec(lab: Lab, change: (spec: NodeSpec) => NodeSpec): Promise<void> {
  const nodes = await lab.objects<RawObject & { spec: NodeSpec }>('nodes');
  await lab.writeObjects(
    'nodes',
    nodes.map((node) =>
      node.metadata.name === twin(lab).name ? { ...node, spec: change(node.spec) } : node,
    ),
  );
}
