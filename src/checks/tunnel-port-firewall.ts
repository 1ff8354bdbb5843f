/** The tunnel's own packets must pass the nodes' packet filters. */
import type { Tunnel } from '../cni/cni.ts';
import type { Finding } from '../model/finding.ts';
import {
  type CheckContext,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
} from './check.ts';
import { decisiveSource, firstPacket, type Passage, passHooks } from './packets.ts';

export const tunnelPortFirewall = defineCheck({
  id: 'tunnel-port-firewall',
  title: 'Nodes accept the tunnel’s packets',
  causes: ['overlay/port-blocked'],
  run: (context) => {
    const detected = context.need(context.cni);
    const tunnel = detected?.tunnel;
    if (tunnel === undefined || (tunnel.port === undefined && tunnel.kind !== 'ipip')) return [];
    const views = context.nodes().filter(({ netns }) => context.need(netns.rulesets) !== undefined);
    return views.flatMap((view) => {
      for (const peer of views) {
        if (peer === view) continue;
        const finding = checkPair(context, view, peer, tunnel);
        // One is enough: the rule names the port, and says itself whether it names the peer.
        if (finding !== undefined) return [finding];
      }
      return [];
    });
  },
});

function checkPair(
  { world, skip }: CheckContext,
  view: NodeView,
  peer: NodeView,
  tunnel: Tunnel,
): Omit<Finding, 'check'> | undefined {
  const device = world.underlay(view.netns)?.name;
  const here = view.node.internalAddresses[0];
  const there = peer.node.internalAddresses.find((address) => address.family === here?.family);
  if (device === undefined || here === undefined || there === undefined) return undefined;
  const protocol = tunnel.kind === 'ipip' ? 'ipip' : 'udp';
  const port = tunnel.port ?? 0;
  const arriving = passHooks(view.netns, ['prerouting', 'input'], firstPacket(there, here, protocol, port), {
    inDevice: device,
  });
  const leaving = passHooks(view.netns, ['output', 'postrouting'], firstPacket(here, there, protocol, port), {
    outDevice: device,
  });
  for (const { state, why } of [arriving, leaving].filter((p) => p.state === 'unknown'))
    skip(`whether ${view.name} passes the tunnel's packets cannot be told (${state}): ${why}`);
  const what = tunnel.kind === 'ipip' ? 'IPIP' : `UDP ${port}`;
  if (arriving.state === 'lost')
    return blocked(
      view,
      peer,
      tunnel,
      arriving,
      `${view.name} drops the tunnel's packets (${what}) that arrive`,
    );
  if (leaving.state === 'lost')
    return blocked(
      view,
      peer,
      tunnel,
      leaving,
      `${view.name} drops the tunnel's packets (${what}) that it sends`,
    );
  return undefined;
}

const blocked = (
  view: NodeView,
  peer: NodeView,
  tunnel: Tunnel,
  loss: Extract<Passage, { state: 'lost' }>,
  statement: string,
): Omit<Finding, 'check'> => ({
  cause: 'overlay/port-blocked',
  severity: 'error',
  subject: nodeSubject(view.name),
  concerns: [deviceSubject(view.name, tunnel.device), nodeSubject(peer.name)],
  statement,
  evidence: [
    observed(
      loss.decisive?.policy === true
        ? `no rule accepts it, and the policy of ${loss.decisive.chainStack[0]} is DROP`
        : `this rule ends it at ${loss.hook}`,
      decisiveSource(view.netns, loss.decisive),
    ),
  ],
});
