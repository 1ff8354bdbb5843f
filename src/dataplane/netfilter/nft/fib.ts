/** nft's `fib`: what the routing tables say of an address of the packet. */
import type { NftExpr } from '../../../model/nft.ts';
import { type Address, isLinkLocal, isLoopback, isMulticast, sameAddress } from '../../../net/address.ts';
import { protocolNumber } from '../../../net/packet.ts';
import { addressType4 } from '../../address-type.ts';
import { lookupRoute } from '../../routing-lookup.ts';
import type { HookContext } from '../context.ts';
import type { Subject } from './fields.ts';
import { addressTypes, doubt, number, type Scalar } from './values.ts';

export function fibField({ result, flags }: Extract<NftExpr, { kind: 'fib' }>, subject: Subject): Scalar {
  const { packet, context } = subject;
  const address = flags.includes('saddr') ? packet.src : packet.dst;
  const device = flags.includes('iif')
    ? (context.inDevice ?? '')
    : flags.includes('oif')
      ? (context.outDevice ?? '')
      : undefined;
  if (result === 'type')
    return address.family === 4
      ? typeOfAddress4(context, address, device)
      : typeOfAddress6(subject, flags, device);
  return routeTo(address, flags, device, subject, result);
}

const type = (name: keyof typeof addressTypes): Scalar => number('address-type', addressTypes[name]);

/** nft_fib4_eval_type: the type in the local table, if it is on `device` where one is given. */
function typeOfAddress4({ netns }: HookContext, address: Address, device: string | undefined): Scalar {
  const found = addressType4(netns, address, device);
  if (found.state === 'unknown') return doubt(found.why);
  return Object.hasOwn(addressTypes, found.value)
    ? type(found.value as keyof typeof addressTypes)
    : doubt(`the type ${found.value} of a route is not understood`);
}

/** __nft_fib6_eval_type: a look-up of the own packet's way to the address; what no route leads to is unreachable. */
function typeOfAddress6(subject: Subject, flags: readonly string[], device: string | undefined): Scalar {
  const { packet, context } = subject;
  const [src, dst] = flags.includes('saddr') ? [packet.dst, packet.src] : [packet.src, packet.dst];
  const oif = isLinkLocal(dst) ? { oif: device ?? context.outDevice ?? context.inDevice } : {};
  const mark = flags.includes('mark') ? packet.mark : 0;
  const protocol = protocolNumber[packet.protocol];
  const route = lookupRoute(context.netns, { dst, src, mark, protocol, ...oif });
  if (route.state === 'unknown') return doubt(route.why);
  if (route.state === 'none') return type('unreachable');
  if (route.state === 'refused') return type(route.type === 'invalid' ? 'blackhole' : route.type);
  if (route.route.type === 'anycast') return type('anycast');
  if (device === undefined) {
    if (route.route.type === 'local') return type('local');
  } else {
    const { devices } = context.netns;
    if (devices.state === 'unknown') return doubt(devices.why);
    const own = devices.value.find(({ name }) => name === device)?.addresses ?? [];
    if (own.some((one) => sameAddress(one.address, dst))) return type('local');
  }
  return type(isMulticast(dst) ? 'multicast' : 'unicast');
}

/** nft_fib4_eval: the device that a packet to the address would leave by; empty, or 0, if there is no unicast route. */
function routeTo(
  address: Address,
  flags: readonly string[],
  device: string | undefined,
  { packet, context }: Subject,
  result: string,
): Scalar {
  const found = (name: string): Scalar =>
    result === 'oifname' ? { kind: 'name', name } : number('number', name === '' ? 0 : 1);
  if (isLoopback(packet.src) || context.inDevice === 'lo') return found(context.inDevice ?? '');
  const src = flags.includes('saddr') ? packet.dst : packet.src;
  const mark = flags.includes('mark') ? packet.mark : 0;
  // A lookup in the tables as for a packet that arrived: ip_route_output_key()'s own checks are not asked.
  const isBack = context.hook === 'forward' && flags.includes('saddr') && flags.includes('iif');
  const iif = address.family === 6 ? undefined : isBack ? context.outDevice : 'lo';
  const route = lookupRoute(context.netns, { dst: address, src, mark, iif });
  if (route.state === 'unknown') return doubt(route.why);
  if (route.state !== 'found' || route.route.type !== 'unicast') return found('');
  const devices = route.route.nexthops.flatMap((hop) => hop.device ?? []);
  if (device !== undefined) return found(devices.includes(device) ? device : '');
  return found(devices[0] ?? '');
}
