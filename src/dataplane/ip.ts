/** Layer 3 inside one namespace: sending, receiving, forwarding, delivering. The order of checks is the kernel's. */
import type { Device, Netns } from '../model/netns.ts';
import type { Step } from '../model/verdict.ts';
import { type Address, formatAddress, isUnspecified } from '../net/address.ts';
import { formatPrefix } from '../net/prefix.ts';
import { addSteps, type Cursor, cannotTell, doubt, lose, pass, type Stage, wireBytes } from './cursor.ts';
import { runHooks } from './hooks.ts';
import {
  checkAddresses,
  type InputCheck,
  isLocal,
  lookupRoute,
  type RouteResult,
  reversePathCheck,
  type SkippedRoute,
  sysctl,
  sysctlDevice,
} from './routing.ts';
import { untranslatedService } from './services.ts';
import { formatSocket, listening } from './sockets.ts';
import { decapsulate } from './tunnel.ts';
import type { World } from './world.ts';

type Found = Extract<RouteResult, { state: 'found' }>;

/** ip_local_out(): a packet that starts here. */
export const send = (world: World, cursor: Cursor): readonly Stage[] =>
  sendRouted(world, cursor, outputRoute(cursor));

/** The same where the route is chosen already. Without a source the packet takes the one that the route's next hop prefers. */
export const sendRouted = (world: World, cursor: Cursor, result: RouteResult): readonly Stage[] =>
  ways(cursor, result).flatMap((way) =>
    sendBy(world, isUnspecified(way.cursor.packet.src) ? withSource(way) : way.cursor, way.result),
  );

function withSource({ cursor, result }: { readonly cursor: Cursor; readonly result: RouteResult }): Cursor {
  const [hop] = result.state === 'found' ? result.alternatives : [];
  return hop?.source === undefined ? cursor : { ...cursor, packet: { ...cursor.packet, src: hop.source } };
}

function sendBy(world: World, cursor: Cursor, way: RouteResult): readonly Stage[] {
  const routed = findRoute(cursor, way);
  if ('at' in routed) return [routed];
  const { route } = routed;
  return runHooks(routed.cursor, ['output'], outDevices(route)).flatMap((result) => {
    if ('at' in result) return [result];
    const { routeMark, ...rest } = result;
    if (routeMark === undefined) return leave(world, result, route);
    // ip_route_me_harder().
    return ways(rest, outputRoute(rest, routeMark)).flatMap((other) => {
      const again = findRoute(other.cursor, other.result);
      return 'at' in again ? [again] : leave(world, again.cursor, again.route);
    });
  });
}

/** A multipath route: each next hop with its share of the flows. Which one a flow's hash takes no dump shows. */
function ways(
  cursor: Cursor,
  result: RouteResult,
): readonly { readonly cursor: Cursor; readonly result: RouteResult }[] {
  if (result.state !== 'found' || result.alternatives.length < 2) return [{ cursor, result }];
  return result.alternatives.map((alternative) => ({
    cursor: { ...cursor, share: cursor.share * alternative.share },
    result: { ...result, nexthop: alternative.nexthop, alternatives: [alternative] },
  }));
}

/** What rules see as the outgoing device: for own addresses lo, whatever device their route names (__ip_route_output_key). */
function outDevices(found: Found): { outDevice?: string } {
  const device = ['local', 'anycast'].includes(found.route.type) ? 'lo' : found.nexthop.device;
  return device === undefined ? {} : { outDevice: device };
}

/** POSTROUTING, then out of the device; or around by the loopback device. */
function leave(world: World, cursor: Cursor, found: Found): readonly Stage[] {
  const local = ['local', 'anycast'].includes(found.route.type);
  const deviceName = local ? 'lo' : found.nexthop.device;
  if (deviceName === undefined) {
    return [
      cannotTell(cursor, 'route', 'the route names no device', {
        facts: { what: 'a route without device' },
        sources: [found.route.source],
      }),
    ];
  }
  const inDevice = cursor.inDevice === undefined ? {} : { inDevice: cursor.inDevice };
  const nextHop = found.nexthop.gateway === undefined ? {} : { nextHop: found.nexthop.gateway };
  return runHooks(cursor, ['postrouting'], { outDevice: deviceName, ...nextHop, ...inDevice }).map(
    (result) => {
      if ('at' in result) return result;
      if (local) {
        const lo = world.device(result.netns, 'lo');
        return lo === undefined
          ? cannotTell(result, 'route', 'the loopback device was not recorded', {
              facts: { what: `devices of ${result.netns.id}` },
            })
          : { at: 'ip-in', cursor: { ...result, inDevice: 'lo' }, device: lo };
      }
      return {
        at: 'transmit',
        cursor: result,
        device: deviceName,
        nextHop: found.nexthop.gateway ?? result.packet.dst,
        ...(found.route.mtuBytes === undefined ? {} : { mtuBytes: found.route.mtuBytes }),
      };
    },
  );
}

/** The way of the namespace's own packet. */
const outputRoute = ({ netns, packet }: Cursor, mark = packet.mark): RouteResult =>
  lookupRoute(netns, { src: packet.src, dst: packet.dst, mark });

/** Routing with its failures turned into ends. */
function findRoute(
  cursor: Cursor,
  result: RouteResult,
): { readonly cursor: Cursor; readonly route: Found } | Stage {
  const { packet, netns } = cursor;
  const dst = formatAddress(packet.dst);
  if (result.state === 'unknown') {
    return cannotTell(cursor, 'route', `the route to ${dst} cannot be told: ${result.why}`, {
      facts: { what: `routes of ${netns.id}` },
    });
  }
  if (result.state === 'none') {
    return lose(
      cursor,
      'route',
      'no-route',
      `${netns.id} has no route to ${dst}${skippedText(result.skipped)}`,
      {
        facts: { destination: dst },
        sources: result.skipped.map((skipped) => skipped.route.source),
      },
    );
  }
  if (result.state === 'refused') return refusedRoute(cursor, result, dst);
  const { route, nexthop } = result;
  const via = nexthop.gateway === undefined ? '' : ` via ${formatAddress(nexthop.gateway)}`;
  const text =
    route.type === 'local'
      ? `${dst} is local`
      : `route ${route.dst.length === 0 ? 'default' : formatPrefix(route.dst)}${via} dev ${nexthop.device ?? '?'}`;
  const facts = {
    prefix: formatPrefix(route.dst),
    device: nexthop.device ?? '',
    ...(nexthop.gateway === undefined ? {} : { gateway: formatAddress(nexthop.gateway) }),
  };
  return {
    cursor: route.type === 'local' ? cursor : pass(cursor, 'route', text, { sources: [route.source], facts }),
    route: result,
  };
}

const skippedText = (skipped: readonly SkippedRoute[]): string =>
  skipped.length === 0
    ? ''
    : ` (${skipped.map((s) => `the one by ${s.device} is unusable: ${s.why}`).join('; ')})`;

function refusedRoute(
  cursor: Cursor,
  result: Extract<RouteResult, { state: 'refused' }>,
  dst: string,
): Stage {
  const { route, rule, type } = result;
  const prefix = route === undefined ? `rule ${rule?.priority ?? '?'}` : formatPrefix(route.dst);
  const source = route?.source ?? rule?.source;
  return lose(cursor, 'route', 'route-blackhole', `${cursor.netns.id} has a ${type} route ${prefix}`, {
    facts: { type, destination: dst, prefix },
    ...(source === undefined ? {} : { sources: [source] }),
  });
}

/** ip_rcv(): PREROUTING, the routing decision, then INPUT or forwarding. */
export function ipIn(world: World, cursor: Cursor, device: Device, physIn?: string): readonly Stage[] {
  const arrived: Cursor = { ...cursor, inDevice: cursor.inDevice ?? device.name };
  const off = cursor.packet.src.family === 6 ? whyNoIpv6(cursor.netns, device) : undefined;
  if (off !== undefined) {
    const facts = { device: device.name, deviceKind: device.kind };
    return [lose(arrived, 'receive', 'device-down', off, { facts, sources: [device.source] })];
  }
  // ip6_rcv_core() looks at the addresses before any rule does, ip_route_input_slow() after PREROUTING.
  const sound =
    cursor.packet.src.family === 6 && device.kind !== 'loopback'
      ? judged(arrived, device, checkAddresses(cursor.netns, cursor.packet, device.name))
      : arrived;
  if ('at' in sound) return [sound];
  const devices = { inDevice: device.name, ...(physIn === undefined ? {} : { physIn }) };
  return runHooks(sound, ['prerouting'], devices).flatMap((result) => {
    if ('at' in result) return [result];
    const isRedirected = result.packet.dst.value !== cursor.packet.dst.value;
    const bridged = physIn !== undefined && isRedirected ? staysOnBridge(result, device, physIn) : undefined;
    return bridged === undefined ? decide(world, result, device) : [bridged];
  });
}

/** ip6_rcv_core() drops where a device has no IPv6: switched off, or with an MTU below IPv6's least (addrconf_notify). */
function whyNoIpv6(netns: Netns, device: Device): string | undefined {
  if (device.kind === 'loopback') return undefined;
  if (device.mtuBytes < 1280) return `${device.name} takes no IPv6: its MTU ${device.mtuBytes} is below 1280`;
  const key = `net.ipv6.conf.${sysctlDevice(device.name)}.disable_ipv6`;
  return sysctl(netns, key) === '1' ? `${device.name} takes no IPv6: ${key} = 1` : undefined;
}

/**
 * br_nf_pre_routing_finish(): with bridge-nf-call-iptables a frame whose destination DNAT changed to an address on the
 * same bridge is bridged, not forwarded: no ICMP errors, but port isolation and hairpin count. IPv4 needs ip_forward all
 * the same: without it ip_route_input() gives an error route, which is not the bridge's.
 */
function staysOnBridge(cursor: Cursor, device: Device, inPort: string): Stage | undefined {
  const { netns, packet } = cursor;
  const key = `net.bridge.bridge-nf-call-${packet.src.family === 4 ? 'iptables' : 'ip6tables'}`;
  if (sysctl(netns, key) !== '1' || isLocal(netns, packet.dst) !== false) return undefined;
  if (packet.src.family === 4 && forwards(netns, device.name, 4).state === 'no') return undefined;
  const query = { dst: packet.dst, src: packet.src, mark: packet.mark, iif: device.name };
  const routed = lookupRoute(netns, query);
  if (routed.state !== 'found' || routed.route.type !== 'unicast' || routed.nexthop.device !== device.name)
    return undefined;
  const checked = checkSource(cursor, device);
  if ('at' in checked) return checked;
  const nextHop = routed.nexthop.gateway ?? packet.dst;
  return { at: 'bridge-on', cursor: checked, device, nextHop, inPort };
}

/** ip_route_input_slow(): the order of its checks decides whether a sender is told, or hears nothing. */
function decide(world: World, cursor: Cursor, device: Device): readonly Stage[] {
  const { netns, packet } = cursor;
  // Packets that come by the loopback device were checked when they were sent.
  const isLooped = device.kind === 'loopback';
  const isJudged = isLooped || packet.src.family === 6;
  const addressed = isJudged ? cursor : judged(cursor, device, checkAddresses(netns, packet, device.name));
  if ('at' in addressed) return [addressed];
  const { dst, src, mark } = packet;
  const result = lookupRoute(netns, { dst, src, mark, iif: device.name });
  const local = takes(netns, dst, result);
  if (local === 'unknown') {
    return [
      cannotTell(addressed, 'route', `local addresses of ${netns.id} are not known`, {
        facts: { what: `routes of ${netns.id}` },
      }),
    ];
  }
  if (!local) return ways(addressed, result).flatMap((way) => forward(world, way.cursor, device, way.result));
  const checked = isLooped ? addressed : checkSource(addressed, device);
  if ('at' in checked) return [checked];
  return runHooks(checked, ['input'], { inDevice: device.name }).map((passed) =>
    'at' in passed ? passed : { at: 'deliver', cursor: passed, device: device.name },
  );
}

/** Whether the namespace itself takes packets for the address; broadcasts among them. */
function takes(netns: Netns, dst: Address, result: RouteResult): boolean | 'unknown' {
  if (result.state === 'found' && ['local', 'anycast', 'broadcast'].includes(result.route.type)) return true;
  return isLocal(netns, dst);
}

/** fib_validate_source(): own addresses as source, and the reverse-path filter. */
const checkSource = (cursor: Cursor, device: Device): Cursor | Stage =>
  judged(cursor, device, reversePathCheck(cursor.netns, cursor.packet, device.name));

function judged(cursor: Cursor, device: Device, result: InputCheck): Cursor | Stage {
  const { netns, packet } = cursor;
  switch (result.state) {
    case 'pass':
      return cursor;
    case 'unknown':
      return doubt(cursor, 'route', `whether ${netns.id} accepts the source cannot be told: ${result.why}`, {
        facts: { what: `rp_filter of ${netns.id}` },
      });
    case 'martian':
      return lose(cursor, 'route', 'martian-source', result.why, {
        facts: { device: device.name, src: formatAddress(packet.src) },
        sources: result.sources,
      });
    case 'fail':
      return lose(cursor, 'route', 'rp-filter', result.why, { facts: result.facts, sources: result.sources });
  }
}

/** ip_forward() and, where there is no way, ip_error(): who does not forward says nothing. IPv6 refuses before it looks at that. */
function forward(world: World, cursor: Cursor, device: Device, result: RouteResult): readonly Stage[] {
  const { netns, packet } = cursor;
  const isWay = result.state === 'found' || result.state === 'unknown';
  if (!isWay && packet.dst.family === 6) {
    const refused = findRoute(cursor, result);
    if ('at' in refused) return [refused];
  }
  const allowed = forwards(netns, device.name, packet.dst.family);
  if (allowed.state === 'no') {
    return [
      lose(cursor, 'route', 'ip-forward-off', `${netns.id} does not forward: ${allowed.sysctl} = 0`, {
        facts: { sysctl: allowed.sysctl, device: device.name },
        sources: [{ kind: 'file', file: `nodes/${netns.id}/sysctl.txt`, text: `${allowed.sysctl} = 0` }],
      }),
    ];
  }
  const known =
    allowed.state === 'yes'
      ? cursor
      : doubt(cursor, 'route', `whether ${netns.id} forwards is not known: ${allowed.why}`, {
          facts: { what: `sysctls of ${netns.id}` },
        });
  const checked = isWay ? checkSource(known, device) : known;
  if ('at' in checked) return [checked];
  const routed = findRoute(checked, result);
  if ('at' in routed) return [routed];
  if (packet.ttl <= 1) {
    return [lose(routed.cursor, 'route', 'ttl-exceeded', 'the time to live is used up', { facts: {} })];
  }
  const aged = { ...routed.cursor, packet: { ...packet, ttl: packet.ttl - 1 } };
  const tooBig = exceedsMtu(world, aged, routed.route);
  if (tooBig !== undefined) return [tooBig];
  const untranslated = untranslatedService(world, aged);
  const devices = { inDevice: device.name, ...outDevices(routed.route) };
  return runHooks(aged, ['forward'], devices).flatMap((passed) => {
    if ('at' in passed) return [passed];
    // Only a packet that no rule refuses tells that the Service's rules are missing.
    if (untranslated !== undefined) return [lose(passed, 'nat', ...untranslated)];
    return leave(world, passed, routed.route);
  });
}

type Forwards =
  | { readonly state: 'yes' }
  | { readonly state: 'no'; readonly sysctl: string }
  | { readonly state: 'unknown'; readonly why: string };

/** IN_DEV_FORWARD of the device a packet came by. Writing ip_forward sets all of them, so the device's own key decides. */
function forwards(netns: Netns, device: string, family: 4 | 6): Forwards {
  if (netns.sysctls.state === 'unknown') return { state: 'unknown', why: netns.sysctls.why };
  const { value } = netns.sysctls;
  const general = family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding';
  if (value.get(general) === '0') return { state: 'no', sysctl: general };
  const own = `net.ipv${family}.conf.${device.replaceAll('.', '/')}.forwarding`;
  // IPv6 looks at conf/all alone for forwarding between devices (ip6_forward).
  if (family === 4 && value.get(own) === '0') return { state: 'no', sysctl: own };
  if (value.get(general) === undefined && value.get(own) === undefined)
    return { state: 'unknown', why: `${general} is not in the list` };
  return { state: 'yes' };
}

/** ip_exceeds_mtu() in ip_forward(): before the FORWARD hook; a DF packet is answered with ICMP 3/4. */
function exceedsMtu(world: World, cursor: Cursor, found: Found): Stage | undefined {
  const { packet } = cursor;
  const device = world.device(cursor.netns, found.nexthop.device ?? '');
  if (device === undefined) return undefined;
  // ip6_dst_mtu_maybe_forward() asks the device only; ip6_fragment() then minds the route's MTU, after the hooks.
  // IPv4 takes the route's MTU instead of the device's, also where it is larger (ip_dst_mtu_maybe_forward).
  const mtu = (packet.src.family === 4 ? found.route.mtuBytes : undefined) ?? device.mtuBytes;
  if (wireBytes(cursor) <= mtu || (!packet.df && packet.src.family === 4)) return undefined;
  return lose(
    cursor,
    'mtu',
    'mtu-exceeded',
    `${packet.lengthBytes} bytes do not fit ${device.name} (MTU ${mtu})`,
    {
      facts: {
        device: device.name,
        mtu: String(mtu),
        size: String(packet.lengthBytes),
        answers: 'icmp',
        node: cursor.netns.node,
      },
      sources: [device.source],
    },
  );
}

/** A packet for this namespace: a tunnel opens it, a socket takes it, or nobody does. */
export function deliver(cursor: Cursor, device: string): readonly Stage[] {
  const { packet, netns } = cursor;
  if (packet.inner !== undefined) return [decapsulate(cursor)];
  if (packet.protocol === 'icmp' || packet.protocol === 'icmpv6') return [takeIcmp(cursor)];
  // Data of a connection that exists needs no listener, nor does the answer to the socket that asked.
  const { client } = cursor;
  const isAnswer = client?.netnsId === netns.id && client.port === packet.dstPort;
  if (isAnswer || packet.flags?.ack === true) return [accept(cursor, 'the connection takes it')];
  const found = listening(netns, packet, device);
  const wants = `${packet.protocol}/${packet.dstPort}`;
  switch (found.state) {
    case 'yes':
      return [
        accept(
          pass(cursor, 'deliver', `${formatSocket(found.socket)} listens`, {
            sources: [found.socket.source],
          }),
        ),
      ];
    case 'no':
      return [
        lose(cursor, 'deliver', 'not-listening', `nothing listens on ${wants}`, {
          facts: { port: wants },
          sources: [{ kind: 'file', file: `${socketFile(netns)}`, text: `no entry for ${wants}` }],
        }),
      ];
    case 'elsewhere':
      return [
        lose(
          cursor,
          'deliver',
          found.loopbackOnly ? 'loopback-only' : 'not-listening',
          `${found.sockets.map(formatSocket).join(', ')} listens, nothing on ${formatAddress(packet.dst)}:${packet.dstPort}`,
          {
            facts: { port: wants, listening: found.sockets.map(formatSocket).join(', ') },
            sources: found.sockets.map((socket) => socket.source),
          },
        ),
      ];
    case 'unknown':
      return [
        accept(
          doubt(cursor, 'deliver', `whether anything listens on ${wants} is not known: ${found.why}`, {
            facts: { what: `sockets of ${netns.id}` },
          }),
        ),
      ];
  }
}

/** icmp_echo() and icmpv6_rcv() keep silent where a sysctl says so; everything else that is ICMP is taken. */
function takeIcmp(cursor: Cursor): Stage {
  const { packet, netns } = cursor;
  const six = packet.protocol === 'icmpv6';
  if (packet.icmp?.type !== (six ? 128 : 8)) return accept(cursor, 'the sender takes it');
  const key = six ? 'net.ipv6.icmp.echo_ignore_all' : 'net.ipv4.icmp_echo_ignore_all';
  if (netns.sysctls.state === 'unknown' || netns.sysctls.value.get(key) !== '1')
    return accept(cursor, 'echo is answered');
  return lose(cursor, 'deliver', 'not-listening', `${netns.id} does not answer echo requests: ${key} = 1`, {
    facts: { sysctl: key },
    sources: [
      { kind: 'file', file: socketFile(netns).replace(/ss\.txt$/, 'sysctl.txt'), text: `${key} = 1` },
    ],
  });
}

const socketFile = (netns: Netns): string =>
  netns.pod === undefined
    ? `nodes/${netns.node}/ss.txt`
    : `nodes/${netns.node}/pods/${netns.pod.namespace}_${netns.pod.name}/ss.txt`;

function accept(cursor: Cursor, text?: string): Stage {
  const steps: Step[] = text === undefined ? [] : [{ kind: 'deliver', action: 'pass', text }];
  return { at: 'end', cursor: addSteps(cursor, steps), end: { kind: 'delivered' } };
}
