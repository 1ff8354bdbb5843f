/** Every node must have a route to every other node's pods, and it must lead to that node. */

import type { RouteResult } from '../dataplane/routing.ts';
import type { CauseId, Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import { contains, formatPrefix, nthAddress, overlaps } from '../net/prefix.ts';
import {
  type CheckContext,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
  sharesCidr,
} from './check.ts';
import { nodeOfGateway, queryFromPods, routeFromPods } from './paths.ts';
import { shadowingRule } from './shadowing.ts';

type Found = Extract<RouteResult, { state: 'found' }>;

interface Target {
  readonly address: Address;
  /** How the target is called: the pod CIDR, or a pod's address. */
  readonly name: string;
}

export const nodeRoutes = defineCheck({
  id: 'node-routes',
  title: 'Every node routes every other node’s pods to that node',
  causes: [
    'route/missing',
    'route/wrong-next-hop',
    'route/blackhole',
    'route/shadowed',
    'route/rule-shadows',
  ],
  run: (context) => {
    const cni = orElse(context.cni, undefined);
    if (cni?.cni.bypassesKernelRoutes === true) {
      context.skip(`${cni.cni.name} does not forward pod packets by the kernel's routes`);
      return [];
    }
    const views = context.nodes();
    const pairs = views
      .filter((view) => tunnelIsUsable(context, view))
      .flatMap((view) =>
        views
          // A CIDR that two nodes share leads to one of them at best: the sharing is the cause (pod-cidr).
          .filter(
            (peer) => peer !== view && !views.some((other) => other !== peer && sharesCidr(other, peer)),
          )
          .map((peer) => ({ view, peer })),
      );
    const asked = pairs.map((pair) => ({
      ...pair,
      answers: targets(context, pair.peer, cni?.cni.usesNodePodCidrs === true).map((target) => ({
        target,
        result: routeFromPods(context, pair.view, target.address),
      })),
    }));
    // Where the network around routes pod CIDRs (cloud route tables), nodes hold a default route only, and that is right.
    const nodesHoldRoutes = asked.some(({ answers }) =>
      answers.some(({ result }) => result.state === 'found' && result.route.dst.length > 0),
    );
    return asked.flatMap(({ view, peer, answers }) => {
      const findings = new Map<string, Omit<Finding, 'check'>>();
      for (const { target, result } of answers) {
        if (result.state === 'unknown')
          context.skip(`the routes of ${view.name} cannot be followed: ${result.why}`);
        const finding = judge(context, view, peer, target, result, nodesHoldRoutes);
        // One finding a cause and pair: pods behind one broken route break together.
        if (finding !== undefined && !findings.has(finding.cause)) findings.set(finding.cause, finding);
      }
      return [...findings.values()];
    });
  },
});

/** Routes vanish with their device: the missing device is the cause, and its own check names it. */
function tunnelIsUsable({ cni, world }: CheckContext, view: NodeView): boolean {
  const tunnel = orElse(cni, undefined)?.tunnel;
  if (tunnel === undefined || tunnel.kind !== 'vxlan' || view.netns.devices.state === 'unknown') return true;
  const device = world.device(view.netns, tunnel.device);
  return device?.up === true;
}

function targets(context: CheckContext, peer: NodeView, byCidr: boolean): Target[] {
  const pods = context
    .pods()
    .filter((pod) => pod.node === peer.name)
    .flatMap((pod) => pod.addresses)
    .map((address) => ({ address, name: formatAddress(address) }));
  if (!byCidr) return pods;
  // The first host address: the bridge's own, so it stands for the whole CIDR and nothing more specific shadows it.
  const cidrs = peer.node.podCidrs.map((cidr) => ({
    address: nthAddress(cidr, 1),
    name: formatPrefix(cidr),
  }));
  return [...cidrs, ...pods];
}

function judge(
  context: CheckContext,
  view: NodeView,
  peer: NodeView,
  target: Target,
  result: RouteResult,
  nodesHoldRoutes: boolean,
): Omit<Finding, 'check'> | undefined {
  const make = (cause: CauseId, statement: string, evidence: Finding['evidence'], device?: string) => ({
    cause,
    severity: 'error' as const,
    subject: nodeSubject(view.name),
    concerns: [nodeSubject(peer.name), ...(device === undefined ? [] : [deviceSubject(view.name, device)])],
    statement,
    evidence,
  });
  const where = `${target.name} (${peer.name})`;
  const rule = shadowingRule(view.netns, queryFromPods(context, view, target.address));
  const right = result.state === 'found' && result.route.dst.length > 0 && leadsTo(context, result, peer);
  if (rule !== undefined && !right)
    return make(
      'route/rule-shadows',
      `routing rule ${rule.priority} of ${view.name} takes packets for ${where} away from the main table, which has a route`,
      [observed(`this rule decides where packets to ${formatAddress(target.address)} go`, rule.source)],
    );
  switch (result.state) {
    case 'unknown':
      return undefined;
    case 'none':
      return make('route/missing', `${view.name} has no route to ${where}`, [
        observed(`a lookup of ${formatAddress(target.address)} on ${view.name} finds no route`),
        ...skippedRoutes(result.skipped),
      ]);
    case 'refused':
      return make('route/blackhole', `${view.name} has a ${result.type} route for ${where}`, [
        observed(
          `packets to ${formatAddress(target.address)} end in this ${result.type}`,
          result.route?.source,
        ),
      ]);
    case 'found':
      return judgeRoute(context, view, peer, target, result, nodesHoldRoutes, make);
  }
}

const skippedRoutes = (skipped: Found['skipped']): Finding['evidence'] =>
  skipped.map(({ route, device, why }) =>
    observed(`the route by ${device} is not used: ${why.replaceAll('-', ' ')}`, route.source),
  );

function judgeRoute(
  context: CheckContext,
  view: NodeView,
  peer: NodeView,
  target: Target,
  result: Found,
  nodesHoldRoutes: boolean,
  make: (
    cause: CauseId,
    statement: string,
    evidence: Finding['evidence'],
    device?: string,
  ) => Omit<Finding, 'check'>,
): Omit<Finding, 'check'> | undefined {
  const { world } = context;
  const where = `${target.name} (${peer.name})`;
  const evidence = [
    observed(
      `a lookup of ${formatAddress(target.address)} on ${view.name} finds this route`,
      result.route.source,
    ),
    ...skippedRoutes(result.skipped),
  ];
  if (result.route.dst.length === 0) {
    if (!nodesHoldRoutes) return undefined;
    return make(
      'route/missing',
      `${view.name} has no route to ${where}: only the default route fits`,
      evidence,
    );
  }
  for (const { nexthop } of result.alternatives) {
    const device = nexthop.device === undefined ? undefined : world.device(view.netns, nexthop.device);
    if (nexthop.gateway === undefined) {
      // A bridge of the node itself leads to local pods only.
      if (device?.kind === 'bridge')
        return make(
          wrongCause(result, peer),
          `${view.name} sends packets for ${where} to its own bridge ${device.name}`,
          evidence,
          device.name,
        );
      continue;
    }
    const leadsTo = nodeOfGateway(world, nexthop.gateway);
    if (leadsTo === peer.name) continue;
    const gateway = formatAddress(nexthop.gateway);
    if (leadsTo === undefined && !isStray(context, view, peer, nexthop.gateway)) continue;
    return make(
      wrongCause(result, peer),
      `${view.name} sends packets for ${where} to ${leadsTo === undefined ? `${gateway}, which no node has` : `${gateway} (${leadsTo})`}`,
      leadsTo === undefined ? evidence : [...evidence, observed(`${gateway} is an address of ${leadsTo}`)],
      device?.name,
    );
  }
  return undefined;
}

const leadsTo = ({ world }: CheckContext, { nexthop }: Found, peer: NodeView): boolean =>
  nexthop.gateway !== undefined && nodeOfGateway(world, nexthop.gateway) === peer.name;

/** A route inside the peer's pod CIDR shadows the right one; any other is simply wrong. */
const wrongCause = (result: Found, peer: NodeView): CauseId =>
  peer.node.podCidrs.some((cidr) => overlaps(cidr, result.route.dst) && result.route.dst.length > cidr.length)
    ? 'route/shadowed'
    : 'route/wrong-next-hop';

/** True if nobody has the gateway although the peer itself is a neighbour on the same network: a router would be a detour. */
function isStray(context: CheckContext, view: NodeView, peer: NodeView, gateway: Address): boolean {
  const underlay = context.world.underlay(view.netns);
  if (underlay === undefined) return false;
  const direct = peer.node.internalAddresses.some((address) =>
    underlay.addresses.some((own) => contains(own.prefix, address)),
  );
  const entries = orElse(view.netns.neighbours, []).filter(({ address }) => sameAddress(address, gateway));
  const resolves = entries.some(
    ({ mac, states }) => mac !== undefined && !states.includes('FAILED') && !states.includes('INCOMPLETE'),
  );
  if (!direct || resolves) return false;
  // Nobody was asked for it yet: then it is a stray where routes to other nodes' pods lead to nodes.
  return entries.length > 0 || otherRoutesLeadToNodes(context, view, peer);
}

const otherRoutesLeadToNodes = (context: CheckContext, view: NodeView, peer: NodeView): boolean =>
  orElse(view.netns.routes, []).some(
    ({ dst, nexthops }) =>
      dst.length > 0 &&
      nexthops.some(({ gateway }) => {
        const owner = gateway === undefined ? undefined : context.world.nodeFor(gateway);
        return owner !== undefined && owner !== view.name && owner !== peer.name;
      }),
  );
