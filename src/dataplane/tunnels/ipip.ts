/** IP in IP: ipip (Calico's tunl0), sit and ip6tnl. Unverified: see docs/simulate.md. */
import type { Device } from '../../model/netns.ts';
import type { IpTunnel } from '../../model/tunnel.ts';
import { type Address, formatAddress, isUnspecified } from '../../net/address.ts';
import type { Transport } from '../../net/packet.ts';
import { type Cursor, lose, type Stage } from '../cursor.ts';
import type { World } from '../world.ts';
import { chooseByEnds } from './ends.ts';
import {
  directedElsewhere,
  endpointDown,
  headerBytes,
  misdirection,
  nobodyOpens,
  open,
  parametersDiffer,
  takeUp,
  wrap,
} from './wrap.ts';

/** A destination option with the encapsulation limit, padded (ip6_tnl_xmit). */
const encapLimitBytes = 8;

/** ip_tunnel_xmit(), ip6_tnl_xmit() */
export function encapsulate(
  world: World,
  cursor: Cursor,
  device: Device,
  tunnel: IpTunnel,
  nextHop: Address,
): readonly Stage[] {
  const { packet } = cursor;
  if (tunnel.external) return [directedElsewhere(cursor, 'encap', device)];
  if (!tunnel.carries.includes(packet.dst.family)) {
    const text = `${device.name} (${tunnel.kind}) carries no IPv${packet.dst.family}`;
    return [
      lose(cursor, 'encap', 'tunnel-parameters-differ', text, {
        facts: { device: device.name, node: cursor.netns.node },
      }),
    ];
  }
  const outerFamily = tunnel.kind === 'ip6tnl' ? 6 : 4;
  // Without a remote the route's next hop is the other end (rt_nexthop): `10.244.2.0/26 via 10.0.0.2 dev tunl0 onlink`.
  const remote = tunnel.remote ?? nextHop;
  if (remote.family !== outerFamily || isUnspecified(remote)) {
    const text = `${device.name} has no remote address, and ${formatAddress(nextHop)} is none that it could send to`;
    return [
      lose(cursor, 'encap', 'neighbour-unresolved', text, {
        facts: { nextHop: formatAddress(nextHop), device: device.name, deviceKind: device.kind },
        sources: [device.source],
      }),
    ];
  }
  const expectedNode = world.nodeFor(packet.dst);
  const protocol: Transport = packet.src.family === 4 ? 'ipip' : 'ipv6';
  return wrap(world, cursor, device, {
    inner: { kind: 'ip', packet },
    remote,
    local: tunnel.local,
    protocol,
    overheadBytes: headerBytes(outerFamily) + (tunnel.encapLimit ? encapLimitBytes : 0),
    df: tunnel.pmtuDiscovery || (packet.df && packet.src.family === 4),
    mark: packet.mark,
    text: `${device.name} (${tunnel.kind}): ${tunnel.remote === undefined ? `next hop ${formatAddress(remote)}` : `remote ${formatAddress(remote)}`}`,
    facts: misdirection(world, remote, expectedNode),
    expectedNode,
    tooLarge: 'icmp',
  });
}

/** tunnel4_rcv(): the device whose ends fit; ipip and sit take their own protocol only. */
export function decapsulate(cursor: Cursor, devices: readonly Device[]): Stage {
  const { packet } = cursor;
  const inside = packet.protocol === 'ipip' ? 4 : 6;
  const name = packet.dst.family === 6 ? 'ip6tnl' : inside === 4 ? 'ipip' : 'sit';
  const candidates = devices.flatMap((device) => {
    const { tunnel } = device;
    const isKind = tunnel?.kind === 'ipip' || tunnel?.kind === 'sit' || tunnel?.kind === 'ip6tnl';
    if (!isKind || (tunnel.kind === 'ip6tnl') !== (packet.dst.family === 6)) return [];
    return tunnel.carries.includes(inside) ? [{ device, tunnel }] : [];
  });
  const facts = { protocol: packet.protocol, from: formatAddress(packet.src) };
  const external = candidates.find(({ tunnel }) => tunnel.external);
  if (external !== undefined) return directedElsewhere(cursor, 'decap', external.device);
  const chosen = chooseByEnds(candidates, packet);
  if (chosen === undefined) {
    const [other] = candidates;
    // tunnel4_rcv() answers with "port unreachable", to the other node only.
    if (other === undefined) return nobodyOpens(cursor, `${name} device that opens the packet`, facts);
    const { tunnel, device } = other;
    const has = `remote ${tunnel.remote === undefined ? 'any' : formatAddress(tunnel.remote)}, local ${tunnel.local === undefined ? 'any' : formatAddress(tunnel.local)}`;
    const text = `${cursor.netns.node}'s ${device.name} has ${has}; the packet goes from ${formatAddress(packet.src)} to ${formatAddress(packet.dst)}`;
    return parametersDiffer(cursor, device, text, { ...facts, has });
  }
  const { device } = chosen;
  if (!device.up) return endpointDown(cursor, device, facts);
  return takeUp(open(cursor, device, `${device.name} (${device.kind}) opens the packet`), device);
}
