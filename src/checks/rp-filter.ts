/** A strict reverse-path filter drops pods' packets that arrive by another device than the node would answer by. */
import { reversePathCheck } from '../dataplane/routing.ts';
import type { Finding } from '../model/finding.ts';
import { type Address, formatAddress } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import {
  type CheckContext,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
} from './check.ts';
import { arrivalDevice } from './paths.ts';

export const rpFilter = defineCheck({
  id: 'rp-filter',
  title: 'Reverse-path filters accept the pods’ packets',
  causes: ['route/rp-filter'],
  run: (context) => {
    const views = context.nodes();
    return views.flatMap((view) =>
      views.filter((peer) => peer !== view).flatMap((peer) => checkPair(context, view, peer)),
    );
  },
});

function checkPair(context: CheckContext, view: NodeView, peer: NodeView): Omit<Finding, 'check'>[] {
  const here = firstPodAddress(context, view);
  const there = firstPodAddress(context, peer);
  if (here === undefined || there === undefined) return [];
  const device = arrivalDevice(context, view, peer, here);
  if (device === undefined) return [];
  const check = reversePathCheck(view.netns, probePacket(there, here), device);
  if (check.state === 'unknown')
    context.skip(`the reverse path of ${view.name} cannot be told: ${check.why}`);
  if (check.state !== 'fail') return [];
  return [
    {
      cause: 'route/rp-filter',
      severity: 'error',
      subject: deviceSubject(view.name, device),
      concerns: [nodeSubject(view.name), nodeSubject(peer.name)],
      statement: `${view.name} drops packets of ${peer.name}'s pods on ${device}: ${check.why}`,
      evidence: [
        ...check.sources.map((source) =>
          observed(`this decides the reverse path of ${formatAddress(there)}`, source),
        ),
        ...dropCounter(view),
      ],
    },
  ];
}

/** The kernel counts what the filter drops; zero does not acquit, the traffic may not have been tried. */
function dropCounter({ netns, name }: NodeView): Finding['evidence'] {
  const count =
    netns.counters.state === 'known' ? netns.counters.value.get('TcpExtIPReversePathFilter') : undefined;
  return count === undefined || count === 0
    ? []
    : [
        observed(
          `${name} has dropped ${count} packets by its reverse-path filter (TcpExtIPReversePathFilter)`,
        ),
      ];
}

const firstPodAddress = (context: CheckContext, view: NodeView): Address | undefined =>
  context
    .pods()
    .filter((pod) => pod.node === view.name)
    .flatMap((pod) => pod.addresses)
    .find((address) => address.family === 4);

const probePacket = (src: Address, dst: Address): Packet => ({
  src,
  dst,
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 80,
  flags: { syn: true },
  lengthBytes: 60,
  df: true,
  ttl: 63,
  mark: 0,
});
