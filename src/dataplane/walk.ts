/**
 * A flow's whole way, there and back: the first packet, its answer, and then full-size packets in both directions over
 * the connection that those two made. Every way a Service or a multipath route can go becomes a branch.
 */
import type { Flow } from '../model/flow.ts';
import type { Branch, Disposition, Hop, Reason, Step, Verdict } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import { type Exchange, exchange, initial, type Start, smallBytes, whereIs } from './exchange.ts';
import { shrinking, transfer } from './path-mtu.ts';
import type { World } from './world.ts';

/** Walks a flow. `start` is the source's namespace; a source outside the snapshot has none and cannot be walked. */
export function walk(world: World, flow: Flow, start: Start): readonly Branch[] {
  const base = initial(start, flow);
  const branches: Branch[] = [];
  if (flow.protocol !== 'tcp' && flow.sizeBytes !== undefined && flow.sizeBytes > smallBytes) {
    // A datagram of the size that is asked about is the first of its connection.
    const large = { ...base, packet: { ...base.packet, lengthBytes: flow.sizeBytes } };
    return shrinking(world, large, flow, start).map((result) => branchOf(world, result, flow, 'full'));
  }
  const wantsSmall = flow.sizeBytes === undefined || flow.sizeBytes <= smallBytes;
  for (const opened of exchange(world, { at: 'send', cursor: base }, flow, start.netns)) {
    if (wantsSmall || opened.answer === 'unreachable') branches.push(branchOf(world, opened, flow, 'small'));
    if (opened.answer === 'unreachable' || (flow.sizeBytes !== undefined && flow.sizeBytes <= smallBytes))
      continue;
    for (const full of transfer(world, opened, flow, start))
      branches.push(branchOf(world, full, flow, 'full'));
  }
  return branches;
}

function branchOf(world: World, result: Exchange, flow: Flow, size: Branch['size']): Branch {
  const fragmented = result.remarks.find((noted) => noted.reason === 'fragment-lost');
  const uncertain = result.answer === 'reachable' && fragmented !== undefined;
  const broken =
    uncertain && fragmented !== undefined
      ? { direction: whereIs(result.forward, fragmented), step: fragmented }
      : result.broken;
  const hop =
    broken === undefined
      ? undefined
      : holder(broken.direction === 'forward' ? result.forward : result.back, broken.step);
  const owner = world.owners(result.target.dst)[0];
  const viaService =
    result.target.dst.value !== flow.dst.address.value || result.target.dstPort !== flow.dstPort;
  const name = owner?.pod === undefined ? '' : `${owner.pod.namespace}/${owner.pod.name} `;
  return {
    share: result.share,
    size,
    answer: uncertain ? 'unknown' : result.answer,
    disposition: broken === undefined ? 'delivered' : dispositionOf(broken.step, broken.direction),
    trace: { forward: result.forward, back: result.back },
    remarks: result.remarks,
    ...(viaService ? { backend: `${name}${formatAddress(result.target.dst)}:${result.target.dstPort}` } : {}),
    ...(broken === undefined || hop === undefined
      ? {}
      : { broken: { direction: broken.direction, hop, step: broken.step } }),
  };
}

const holder = (hops: readonly Hop[], step: Step): Hop | undefined =>
  hops.find((hop) => hop.steps.includes(step)) ?? hops.at(-1);

const dispositions: Readonly<Record<Reason, Disposition>> = {
  'no-route': 'no-route',
  'route-blackhole': 'blackholed',
  'wrong-next-hop': 'no-route',
  'ip-forward-off': 'not-forwarding',
  'rp-filter': 'rpf-failed',
  'martian-source': 'martian',
  'routing-loop': 'loop',
  'ttl-exceeded': 'loop',
  'device-down': 'no-route',
  'device-missing': 'no-route',
  'neighbour-unresolved': 'neighbour-unreachable',
  'neighbour-wrong-mac': 'neighbour-unreachable',
  'no-host-for-address': 'neighbour-unreachable',
  'hairpin-off': 'filtered',
  'fdb-missing': 'tunnel-lost',
  'fdb-wrong': 'tunnel-lost',
  'vtep-mac-mismatch': 'tunnel-lost',
  'tunnel-endpoint-missing': 'tunnel-lost',
  'tunnel-endpoint-down': 'tunnel-lost',
  'tunnel-parameters-differ': 'tunnel-lost',
  'rule-drop': 'filtered',
  'rule-reject': 'filtered',
  'chain-policy-drop': 'filtered',
  'no-endpoints': 'no-endpoints',
  'service-rules-missing': 'no-route',
  'mtu-exceeded': 'mtu-exceeded',
  'fragment-lost': 'fragment-lost',
  'not-listening': 'refused',
  'loopback-only': 'refused',
  'policy-ingress': 'denied-ingress',
  'policy-egress': 'denied-egress',
  'reply-untranslated': 'return-lost',
  'wrong-host': 'no-route',
  'unknown-state': 'insufficient-info',
};

/** A reply's loss is return-lost, except for sizes: those say more than the direction. */
function dispositionOf(step: Step, direction: 'forward' | 'back'): Disposition {
  const own = dispositions[step.reason ?? 'unknown-state'];
  const keeps = own === 'insufficient-info' || own === 'mtu-exceeded' || own === 'fragment-lost';
  return direction === 'back' && !keeps ? 'return-lost' : own;
}

/** The answer over all branches: one that fails makes the flow unreachable, one that is not known makes it unknown. */
export function conclude(branches: readonly Branch[]): Pick<Verdict, 'answer' | 'disposition' | 'trace'> {
  const shown =
    branches.find((branch) => branch.answer === 'unreachable') ??
    branches.find((branch) => branch.answer === 'unknown') ??
    branches[0];
  if (shown === undefined)
    return { answer: 'unknown', disposition: 'insufficient-info', trace: { forward: [], back: [] } };
  return { answer: shown.answer, disposition: shown.disposition, trace: shown.trace };
}
