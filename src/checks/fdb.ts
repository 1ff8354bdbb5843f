/** A VXLAN device without learning sends a frame only where its forwarding database says. */
import type { Finding } from '../model/finding.ts';
import type { FdbEntry } from '../model/netns.ts';
import { formatAddress, sameAddress } from '../net/address.ts';
import { type CheckContext, defineCheck, deviceSubject, nodeSubject, observed } from './check.ts';
import { endpointAddresses, neighboursOf, type Vtep, vteps } from './vteps.ts';
import { announcedAddress } from './wrong-interface.ts';

/** The entry for every MAC that has none of its own (flood). */
const defaultMac = '00:00:00:00:00:00';

export const fdb = defineCheck({
  id: 'fdb',
  title: 'Tunnel devices know every peer’s address',
  causes: ['overlay/fdb-missing', 'overlay/fdb-wrong'],
  run: (context) => {
    const all = vteps(context);
    return all.flatMap((from) => {
      if (from.vxlan.learning || from.vxlan.remote !== undefined) return [];
      const entries = context.need(from.view.netns.fdb);
      if (entries === undefined) return [];
      const own = entries.filter((entry) => entry.device === from.device.name && entry.remote !== undefined);
      return all.filter((to) => to !== from).flatMap((to) => checkPair(context, from, to, own));
    });
  },
});

function checkPair(
  context: CheckContext,
  from: Vtep,
  to: Vtep,
  entries: readonly FdbEntry[],
): Omit<Finding, 'check'>[] {
  // The MAC that frames really carry: what the neighbour table says, right or wrong (vtep-mac judges that).
  const mac = neighboursOf(from, to).find((entry) => entry.mac !== undefined)?.mac ?? to.mac;
  const found = entries.filter((entry) => entry.mac === mac || entry.mac === defaultMac);
  const right = endpointAddresses(to);
  const where = `${to.device.name} of ${to.view.name} (${mac})`;
  const base = {
    severity: 'error' as const,
    subject: deviceSubject(from.view.name, from.device.name),
    concerns: [nodeSubject(from.view.name), nodeSubject(to.view.name)],
  };
  if (found.length === 0) {
    return [
      {
        ...base,
        cause: 'overlay/fdb-missing',
        statement: `${from.device.name} of ${from.view.name} has no forwarding entry for ${where}`,
        evidence: [
          observed(`none of ${entries.length} entries of ${from.device.name} has the MAC ${mac}`),
          observed(`${to.device.name} of ${to.view.name} has MAC ${to.mac}`, to.device.source),
        ],
      },
    ];
  }
  if (found.some((entry) => right.some((a) => entry.remote !== undefined && sameAddress(a, entry.remote))))
    return [];
  const entry = found[0];
  const remote = entry?.remote;
  if (entry === undefined || remote === undefined) return [];
  // Peers follow what the node announces: then the announcement is the cause (wrong-interface).
  const announced = announcedAddress(context, to.view);
  if (announced !== undefined && sameAddress(announced, remote)) return [];
  const owner = context.world.nodeFor(remote);
  return [
    {
      ...base,
      cause: 'overlay/fdb-wrong',
      statement: `${from.device.name} of ${from.view.name} sends frames for ${where} to ${formatAddress(remote)}${owner === undefined ? ', which no node has' : ` (${owner})`}`,
      evidence: [
        observed(`the entry leads to ${formatAddress(remote)}`, entry.source),
        observed(`${to.view.name} has ${right.map(formatAddress).join(', ')}`, to.device.source),
      ],
    },
  ];
}
