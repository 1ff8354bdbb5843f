/** A pod's device, its other end on the node, and its way out. */
import type { Pod } from '../model/cluster.ts';
import type { Finding } from '../model/finding.ts';
import type { Device, Netns } from '../model/netns.ts';
import { sameAddress } from '../net/address.ts';
import { type CheckContext, defineCheck, type NodeView, nodeSubject, observed, podSubject } from './check.ts';

export const podWiring = defineCheck({
  id: 'pod-wiring',
  title: 'Pods are connected to their node',
  causes: ['cni/pod-not-wired'],
  run: (context) => {
    const pods = context.pods().filter((pod) => pod.phase === 'Running' && !pod.terminating);
    return context.nodes().flatMap((view) => {
      if (context.need(view.netns.devices) === undefined) return [];
      return pods
        .filter((pod) => pod.node === view.name && pod.addresses.length > 0)
        .flatMap((pod) => checkPod(context, view, pod));
    });
  },
});

function checkPod(context: CheckContext, view: NodeView, pod: Pod): Omit<Finding, 'check'>[] {
  const { world, snapshot } = context;
  const netns = snapshot.netns.get(`${view.name}/${pod.namespace}_${pod.name}`);
  if (netns === undefined || netns.devices.state === 'unknown') return [];
  const own = netns.devices.value.find(({ addresses }) =>
    addresses.some(({ address }) => pod.addresses.some((a) => sameAddress(a, address))),
  );
  const name = `${pod.namespace}/${pod.name}`;
  const make = (statement: string, evidence: Finding['evidence']): Omit<Finding, 'check'>[] => [
    {
      cause: 'cni/pod-not-wired',
      severity: 'error',
      subject: podSubject(pod),
      concerns: [nodeSubject(view.name)],
      statement,
      evidence,
    },
  ];
  // Only veth pairs are wired in a way that both ends show; other address trouble is for pod-cidr.
  if (own === undefined || own.kind !== 'veth' || own.peerIndex === undefined) return [];
  if (!own.up)
    return make(`${own.name} of ${name} is down`, [observed(`${own.name} lacks the UP flag`, own.source)]);
  const peer = world.peer({ netns, device: own })?.device;
  if (peer === undefined)
    return make(`${own.name} of ${name} has no other end on ${view.name}`, [
      observed(
        `no device of ${view.name} is the peer of ${own.name} (index ${own.peerIndex ?? '?'})`,
        own.source,
      ),
    ]);
  if (!peer.up)
    return make(`${peer.name}, the end of ${name} on ${view.name}, is down`, [
      observed(`${peer.name} lacks the UP flag`, peer.source),
    ]);
  const bridge = peer.master === undefined ? usualBridge(context, view, peer) : undefined;
  if (bridge !== undefined)
    return make(`${peer.name}, the end of ${name} on ${view.name}, is no port of ${bridge}`, [
      observed(`${peer.name} has no master, the other pods' devices have ${bridge}`, peer.source),
    ]);
  return hasWayOut(netns, pod)
    ? []
    : make(`${name} has no default route`, [observed(`no route of ${name} leads beyond its own network`)]);
}

/** The bridge that every other veth device of the node is a port of. */
function usualBridge({ world }: CheckContext, { netns }: NodeView, peer: Device): string | undefined {
  const others = [...world.devices(netns).values()].filter(
    (device) =>
      device.kind === 'veth' &&
      device.name !== peer.name &&
      world.peer({ netns, device })?.netns.pod !== undefined,
  );
  const [first] = others;
  return first?.master !== undefined && others.every(({ master }) => master === first.master)
    ? first.master
    : undefined;
}

function hasWayOut(netns: Netns, pod: Pod): boolean {
  const family = pod.addresses[0]?.family ?? 4;
  const routes = family === 4 ? netns.routes : netns.routes6;
  if (routes.state === 'unknown') return true;
  return routes.value.some(
    ({ dst, nexthops }) => dst.length === 0 || nexthops.some((hop) => hop.gateway !== undefined),
  );
}
