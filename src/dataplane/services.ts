/** Services on the walk: what their objects promise, where kube-proxy's own rules cannot be read or are missing. */

import type { Netns } from '../model/netns.ts';
import { backendsOf, servicePort } from '../model/services.ts';
import { objectRef } from '../model/source.ts';
import type { Reason } from '../model/verdict.ts';
import { type Family, formatAddress, sameAddress } from '../net/address.ts';
import { type Cursor, cannotTell, lose, type Stage, type StepDetail } from './cursor.ts';
import { whyUnsaved } from './netfilter/evaluate.ts';
import type { World } from './world.ts';

type Astray = readonly [reason: Reason, text: string, detail: StepDetail];

/** A packet that is still addressed to a Service after PREROUTING: no rule translated it, so it will go astray. */
export function untranslatedService(world: World, cursor: Cursor): Astray | undefined {
  const { packet, netns } = cursor;
  if (netns.pod !== undefined) return undefined;
  const service = world.service(packet.dst);
  if (service === undefined) return undefined;
  const name = `${service.namespace}/${service.name}`;
  const port = servicePort(service, packet.dstPort, packet.protocol);
  const sources = [objectRef('Service', service.namespace, service.name, 'spec.ports')];
  if (port === undefined) {
    const text = `Service ${name} has no port ${packet.protocol}/${packet.dstPort}`;
    return ['service-rules-missing', text, { facts: { service: name, declared: 'no' }, sources }];
  }
  const declared = backendsOf(world.snapshot.cluster, service, port, packet.dst.family);
  if (declared.length === 0) {
    return [
      'no-endpoints',
      `Service ${name} has no ready endpoints for ${packet.protocol}/${packet.dstPort}`,
      { facts: { service: name }, sources },
    ];
  }
  const isLocal = service.internalTrafficPolicy === 'Local';
  if (isLocal && !declared.some(({ node }) => node === undefined || node === netns.node)) {
    // kube-proxy drops this in KUBE-SERVICES of the filter table; a policy agent's rule may accept it before.
    const text = `Service ${name} has internalTrafficPolicy Local, and none of its ready endpoints is on ${netns.node}`;
    return ['no-endpoints', text, { facts: { service: name, node: netns.node, policy: 'Local' }, sources }];
  }
  return [
    'service-rules-missing',
    `${netns.id} does not translate ${formatAddress(packet.dst)}:${packet.dstPort} (Service ${name})`,
    { facts: { service: name, node: netns.node }, sources },
  ];
}

/** Lost, unless rules that were not seen may translate it after all. */
export function loseUntranslated(cursor: Cursor, [reason, text, detail]: Astray): Stage {
  const { netns, packet } = cursor;
  const unseen = whyUnseen(netns, packet.dst.family);
  if (reason !== 'service-rules-missing' || unseen === undefined)
    return lose(cursor, 'nat', reason, text, detail);
  const doubtful = `no rule that was recorded translates ${formatAddress(packet.dst)}:${packet.dstPort} on ${netns.id}, and not all were: ${unseen}`;
  return cannotTell(cursor, 'nat', doubtful, { facts: { what: `packet filter rules of ${netns.id}` } });
}

function whyUnseen(netns: Netns, family: Family): string | undefined {
  const { rulesets, nftTables } = netns;
  if (rulesets.state === 'unknown') return rulesets.why;
  return nftTables.state === 'unknown' ? nftTables.why : whyUnsaved(netns, family);
}

/** A packet for a Service's address on kube-ipvs0 that no virtual server takes: the node itself would answer for the Service. */
export function noVirtualServer(world: World, cursor: Cursor): Astray | undefined {
  const { packet, netns } = cursor;
  const device = world.device(netns, 'kube-ipvs0');
  if (device?.addresses.some((own) => sameAddress(own.address, packet.dst)) !== true) return undefined;
  return untranslatedService(world, cursor);
}
