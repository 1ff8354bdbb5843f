/** Next hops that are in use must resolve: peers' node addresses and tunnel endpoints. A dead address that nobody has is no finding. */
import type { Finding } from '../model/finding.ts';
import type { Neighbour } from '../model/netns.ts';
import { formatAddress, sameAddress } from '../net/address.ts';
import {
  type CheckContext,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
  podSubject,
} from './check.ts';
import { neighboursOf, type Vtep, vteps } from './vteps.ts';

const failed = (neighbour: Neighbour): boolean =>
  neighbour.states.some((state) => state === 'FAILED' || state === 'INCOMPLETE');

export const neighbours = defineCheck({
  id: 'neighbours',
  title: 'Next hops to other nodes resolve',
  causes: ['route/neighbour-failed'],
  run: (context) => {
    const views = context.nodes();
    const onUnderlay = views.flatMap((view) => {
      if (context.need(view.netns.neighbours) === undefined) return [];
      return views.filter((peer) => peer !== view).flatMap((peer) => checkUnderlay(context, view, peer));
    });
    return [...onUnderlay, ...checkTunnels(context), ...checkPods(context, views)];
  },
});

function checkUnderlay({ world }: CheckContext, view: NodeView, peer: NodeView): Omit<Finding, 'check'>[] {
  const { netns } = view;
  if (netns.neighbours.state === 'unknown') return [];
  return netns.neighbours.value.flatMap((neighbour) => {
    if (!peer.node.internalAddresses.some((own) => sameAddress(own, neighbour.address))) return [];
    const carrier = [...world.devices(peer.netns).values()].find((device) =>
      device.addresses.some((own) => sameAddress(own.address, neighbour.address)),
    );
    const address = formatAddress(neighbour.address);
    if (failed(neighbour))
      return [
        finding(
          view,
          peer,
          neighbour,
          `${view.name} cannot resolve ${address} (${peer.name}) on ${neighbour.device}`,
        ),
      ];
    const wrong =
      neighbour.states.includes('PERMANENT') &&
      neighbour.mac !== undefined &&
      carrier?.mac !== undefined &&
      carrier.mac !== neighbour.mac;
    return wrong
      ? [
          finding(
            view,
            peer,
            neighbour,
            `${view.name} has a fixed neighbour entry for ${address} with MAC ${neighbour.mac}, but ${peer.name} has ${carrier.mac}`,
          ),
        ]
      : [];
  });
}

/** flannel and Calico write a fixed entry for each VTEP; without it the kernel has nobody to ask (the device does no ARP). */
function checkTunnels(context: CheckContext): Omit<Finding, 'check'>[] {
  const all = vteps(context);
  return all.flatMap((from) => {
    if (context.need(from.view.netns.neighbours) === undefined) return [];
    return all.flatMap((to) => {
      if (to === from) return [];
      const entries = neighboursOf(from, to);
      if (entries.length === 0 && from.device.up && to.device.up && !from.vxlan.learning)
        return absent(from, to);
      const bad = entries.find(failed);
      if (bad === undefined || entries.some((entry) => !failed(entry))) return [];
      const address = formatAddress(bad.address);
      return [
        finding(
          from.view,
          to.view,
          bad,
          `${from.view.name} cannot resolve the tunnel endpoint ${address} (${to.view.name}) on ${bad.device}`,
        ),
      ];
    });
  });
}

/** The VTEP's own address, where the device has one: without it nothing says which entry there should be. */
function absent(from: Vtep, to: Vtep): Omit<Finding, 'check'>[] {
  const own = to.device.addresses.find(({ scope }) => scope !== 'link');
  if (own === undefined) return [];
  return [
    {
      cause: 'route/neighbour-failed',
      severity: 'error',
      subject: deviceSubject(from.view.name, from.device.name),
      concerns: [nodeSubject(from.view.name), nodeSubject(to.view.name)],
      statement: `${from.view.name} has no neighbour entry for the tunnel endpoint ${formatAddress(own.address)} (${to.view.name}) on ${from.device.name}`,
      evidence: [
        observed(`${from.device.name} resolves nothing by itself: its agent writes an entry for each peer`),
        observed(`${to.view.name} has ${formatAddress(own.address)}`, to.device.source),
      ],
    },
  ];
}

/** Fixed entries between a node and its pods: ARP never corrects them. */
function checkPods(
  { snapshot, world, pods }: CheckContext,
  views: readonly NodeView[],
): Omit<Finding, 'check'>[] {
  return views.flatMap((view) => {
    const local = pods().filter((pod) => pod.node === view.name);
    const inside = local.flatMap((pod) => {
      const netns = snapshot.netns.get(`${view.name}/${pod.namespace}_${pod.name}`);
      return netns === undefined ? [] : [{ pod, netns }];
    });
    const macs = new Map<string, string>();
    for (const { netns } of [{ netns: view.netns }, ...inside])
      for (const { mac, addresses } of world.devices(netns).values())
        if (mac !== undefined)
          for (const { address, scope } of addresses)
            if (scope === 'global') macs.set(formatAddress(address), mac);
    return [{ netns: view.netns, pod: undefined }, ...inside].flatMap(({ netns, pod }) => {
      if (netns.neighbours.state === 'unknown') return [];
      return netns.neighbours.value.flatMap((entry): Omit<Finding, 'check'>[] => {
        const address = formatAddress(entry.address);
        const right = macs.get(address);
        const about = local.find((one) => one.addresses.some((own) => sameAddress(own, entry.address)));
        if (!entry.states.includes('PERMANENT') || entry.mac === undefined || right === undefined) return [];
        if (entry.mac === right || (pod === undefined && about === undefined)) return [];
        const holder = pod === undefined ? view.name : `${pod.namespace}/${pod.name}`;
        const base = finding(
          view,
          view,
          entry,
          `${holder} has a fixed neighbour entry for ${address} with MAC ${entry.mac}, but ${address} has ${right}`,
        );
        return [
          {
            ...base,
            ...(pod === undefined ? {} : { subject: podSubject(pod) }),
            concerns: about === undefined ? [] : [podSubject(about)],
          },
        ];
      });
    });
  });
}

const finding = (
  view: NodeView,
  peer: NodeView,
  neighbour: Neighbour,
  statement: string,
): Omit<Finding, 'check'> => ({
  cause: 'route/neighbour-failed',
  severity: 'error',
  subject: deviceSubject(view.name, neighbour.device),
  concerns: [nodeSubject(view.name), nodeSubject(peer.name)],
  statement,
  evidence: [observed(`the entry is ${neighbour.states.join(' ')}`, neighbour.source)],
});
