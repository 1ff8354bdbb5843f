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
} from './check.ts';
import { neighboursOf, vteps } from './vteps.ts';

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
    return [...onUnderlay, ...checkTunnels(context)];
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
