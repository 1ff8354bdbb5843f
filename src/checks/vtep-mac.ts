/** Peers address tunnelled frames to the MAC that they remember: it must be the device's own. */
import type { Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import type { Neighbour } from '../model/netns.ts';
import { objectRef } from '../model/source.ts';
import { formatAddress } from '../net/address.ts';
import { type CheckContext, declared, defineCheck, deviceSubject, nodeSubject, observed } from './check.ts';
import { neighboursOf, type Vtep, vteps } from './vteps.ts';

export const vtepMac = defineCheck({
  id: 'vtep-mac',
  title: 'Tunnel devices have the MAC addresses that their peers send to',
  causes: ['overlay/vtep-mac-mismatch'],
  run: (context) => {
    const all = vteps(context);
    return all.flatMap((vtep) => {
      const beliefs = all
        .filter((peer) => peer !== vtep && context.need(peer.view.netns.neighbours) !== undefined)
        .flatMap((peer) => neighboursOf(peer, vtep).map((entry) => ({ peer, entry })));
      const wrong = beliefs.filter(({ entry }) => entry.mac !== undefined && entry.mac !== vtep.mac);
      const announced = announcedMac(context, vtep);
      const stale = announced !== undefined && announced !== vtep.mac;
      if (wrong.length === 0 && !stale) return [];
      // Everybody agrees on another MAC: the device changed. Otherwise the one node that differs is wrong.
      const deviceChanged = stale || (wrong.length === beliefs.length && wrong.length > 1);
      return deviceChanged
        ? [changed(vtep, wrong, announced)]
        : wrong.map((belief) => mistaken(vtep, belief));
    });
  },
});

interface Belief {
  readonly peer: Vtep;
  readonly entry: Neighbour;
}

function announcedMac({ cni }: CheckContext, { view }: Vtep): string | undefined {
  return orElse(cni, undefined)?.cni.announcedMac?.(view.node.annotations);
}

const formatEntry = ({ peer, entry }: Belief): string =>
  `${peer.view.name} sends to ${formatAddress(entry.address)} with MAC ${entry.mac ?? 'none'}`;

function changed(
  vtep: Vtep,
  wrong: readonly Belief[],
  announced: string | undefined,
): Omit<Finding, 'check'> {
  const believed = wrong[0]?.entry.mac ?? announced ?? '';
  return {
    cause: 'overlay/vtep-mac-mismatch',
    severity: 'error',
    subject: deviceSubject(vtep.view.name, vtep.device.name),
    concerns: [nodeSubject(vtep.view.name), ...wrong.map(({ peer }) => nodeSubject(peer.view.name))],
    statement: `${vtep.device.name} of ${vtep.view.name} has MAC ${vtep.mac}, ${wrong.length > 0 ? 'its peers send to' : 'its node announces'} ${believed}`,
    evidence: [
      observed(`${vtep.device.name} has MAC ${vtep.mac}`, vtep.device.source),
      ...(announced === undefined || announced === vtep.mac
        ? []
        : [
            declared(
              `node ${vtep.view.name} announces ${announced}`,
              objectRef('Node', undefined, vtep.view.name, 'metadata.annotations'),
            ),
          ]),
      ...wrong.map((belief) => observed(formatEntry(belief), belief.entry.source)),
    ],
  };
}

function mistaken(vtep: Vtep, belief: Belief): Omit<Finding, 'check'> {
  const { peer } = belief;
  return {
    cause: 'overlay/vtep-mac-mismatch',
    severity: 'error',
    subject: deviceSubject(peer.view.name, peer.device.name),
    concerns: [
      nodeSubject(peer.view.name),
      nodeSubject(vtep.view.name),
      deviceSubject(vtep.view.name, vtep.device.name),
    ],
    statement: `${formatEntry(belief)}, but ${vtep.device.name} of ${vtep.view.name} has ${vtep.mac}`,
    evidence: [
      observed(formatEntry(belief), belief.entry.source),
      observed(`${vtep.device.name} of ${vtep.view.name} has MAC ${vtep.mac}`, vtep.device.source),
    ],
  };
}
