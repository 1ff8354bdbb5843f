/** Pod packets that the policies allow, sent through the packet filter of the nodes that forward them. */
import type { Decisive } from '../dataplane/netfilter/context.ts';
import { ownerOf, type RuleOwner } from '../dataplane/netfilter/owner.ts';
import type { World } from '../dataplane/world.ts';
import type { ContainerPort, Pod } from '../model/cluster.ts';
import type { FlowProtocol } from '../model/flow.ts';
import type { Address } from '../net/address.ts';
import { judgePolicies } from '../policy/judge.ts';
import type { CheckContext, NodeView } from './check.ts';
import { firstPacket, passHooks } from './packets.ts';
import { arrivalDevice, podDevice, routeFromPods } from './paths.ts';

export interface Loss {
  readonly view: NodeView;
  readonly src: Pod;
  readonly dst: Pod;
  readonly protocol: FlowProtocol;
  readonly port: number;
  readonly verdict: 'drop' | 'reject';
  readonly decisive: Decisive;
  /** Whose rule it is; `built-in` is a chain's policy. */
  readonly owner: RuleOwner;
}

/** A hundred packets a node show any rule that a few do not; more only take time. */
const mostPacketsPerNode = 120;
/** Stands for "any port" where a pod declares none. */
const anyPort: ContainerPort = { port: 80, protocol: 'TCP' };

const cache = new WeakMap<World, readonly Loss[]>();

/** Every loss found, in the order of the nodes. Computed once a snapshot: several checks read it. */
export function podTrafficLosses(context: CheckContext): readonly Loss[] {
  const done = cache.get(context.world);
  if (done !== undefined) return done;
  const pods = context.pods().filter((pod) => pod.addresses.length > 0);
  const views = context.nodes();
  const losses = views
    .filter(({ netns }) => context.need(netns.rulesets) !== undefined)
    .flatMap((view) =>
      attempts(pods, view)
        .slice(0, mostPacketsPerNode)
        .flatMap((attempt) => lossOf(context, view, views, attempt)),
    );
  cache.set(context.world, losses);
  return losses;
}

interface Attempt {
  readonly src: Pod;
  readonly dst: Pod;
  readonly port: ContainerPort;
}

const portsOf = (pod: Pod): readonly ContainerPort[] => {
  const declared = pod.containers.flatMap((container) => container.ports);
  return declared.length > 0 ? declared : [anyPort];
};

/** Into every local pod and port from some remote pods, and out of every local pod to every distinct remote port. */
function attempts(pods: readonly Pod[], view: NodeView): Attempt[] {
  const local = pods.filter((pod) => pod.node === view.name);
  const remote = pods.filter((pod) => pod.node !== view.name);
  const sources = distinctBy(remote, (pod) => `${pod.namespace} ${JSON.stringify(pod.labels)}`).slice(0, 4);
  const into = local.flatMap((dst) =>
    portsOf(dst).flatMap((port) => sources.map((src) => ({ src, dst, port }))),
  );
  const targets = distinctBy(
    remote.flatMap((dst) => portsOf(dst).map((port) => ({ dst, port }))),
    ({ port }) => `${port.protocol} ${port.port}`,
  );
  const out = local.flatMap((src) => targets.map(({ dst, port }) => ({ src, dst, port })));
  return interleave(into, out);
}

function distinctBy<T>(list: readonly T[], key: (item: T) => string): T[] {
  const seen = new Map<string, T>();
  for (const item of list) if (!seen.has(key(item))) seen.set(key(item), item);
  return [...seen.values()];
}

const interleave = <T>(a: readonly T[], b: readonly T[]): T[] =>
  Array.from({ length: Math.max(a.length, b.length) }, (_, i) => [a[i], b[i]]).flatMap((pair) =>
    pair.filter((item) => item !== undefined),
  );

function lossOf(context: CheckContext, view: NodeView, views: readonly NodeView[], attempt: Attempt): Loss[] {
  const { src, dst, port } = attempt;
  const to = dst.addresses[0];
  const from = src.addresses.find((address) => address.family === to?.family);
  if (from === undefined || to === undefined) return [];
  const protocol = port.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp';
  const ends = { src: endpoint(src, from), dst: endpoint(dst, to) };
  // What a policy denies is dropped on purpose, and what nobody knows to be allowed is no finding.
  const decision = judgePolicies(context.snapshot.cluster, { ...ends, protocol, dstPort: port.port });
  if (decision.verdict !== 'allow') return [];
  const crossing = devicesOf(context, view, views, attempt, from, to);
  if (crossing === undefined) return [];
  const passage = passHooks(
    view.netns,
    ['prerouting', 'forward', 'postrouting'],
    firstPacket(from, to, protocol, port.port),
    crossing,
  );
  if (passage.state !== 'lost' || passage.decisive === undefined) return [];
  const { decisive, verdict } = passage;
  const owner = ownerOf(decisive.chainStack.at(-1) ?? '', decisive.rule, decisive.table);
  return [{ view, src, dst, protocol, port: port.port, verdict, decisive, owner }];
}

const endpoint = ({ namespace, name }: Pod, address: Address) =>
  ({ kind: 'pod', namespace, name, address }) as const;

function devicesOf(
  context: CheckContext,
  view: NodeView,
  views: readonly NodeView[],
  { src, dst }: Attempt,
  from: Address,
  to: Address,
): { readonly inDevice: string; readonly outDevice: string } | undefined {
  if (dst.node === view.name) {
    const peer = views.find(({ name }) => name === src.node);
    const inDevice = peer === undefined ? undefined : arrivalDevice(context, view, peer, to);
    const outDevice = podDevice(view.netns, to);
    return inDevice === undefined || outDevice === undefined ? undefined : { inDevice, outDevice };
  }
  const inDevice = podDevice(view.netns, from);
  const route = routeFromPods(context, view, to);
  const outDevice = route.state === 'found' ? route.nexthop.device : undefined;
  return inDevice === undefined || outDevice === undefined ? undefined : { inDevice, outDevice };
}
