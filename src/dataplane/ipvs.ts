/**
 * IPVS, as kube-proxy's ipvs mode uses it: a Service's address is local (kube-ipvs0), and what INPUT or OUTPUT let pass is
 * sent on to a real server. Positions and order are those of ip_vs_ops4[] in net/netfilter/ipvs/ip_vs_core.c. The kernels
 * that tests run on have no IPVS: read in the source, not compared with a kernel.
 */
import type { RealServer, VirtualServer } from '../model/ipvs.ts';
import type { Netns } from '../model/netns.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { formatPrefix } from '../net/prefix.ts';
import { type Balanced, type Endpoint, findTowards, remember } from './balanced.ts';
import { type Cursor, cannotTell, lose, pass, remark, type Stage, step, wireBytes } from './cursor.ts';
import { type HookDevices, runHooks } from './hooks.ts';
import { ipvsAnswer, socketText, tracksIpvs, turned, untrackedBy } from './ipvs-answer.ts';
import { schedule } from './ipvs-schedule.ts';
import { isLocal, lookupRoute, sysctl } from './routing.ts';
import { findDevice } from './routing-tables.ts';
import { loseUntranslated, noVirtualServer } from './services.ts';
import type { World } from './world.ts';

/** NF_IP_PRI_NAT_SRC - 2 and - 1 at LOCAL_IN: after the filter table, before nat INPUT and the end of conntrack. */
const inputPriority = 98;
/** NF_IP_PRI_NAT_DST + 1 and + 2 at LOCAL_OUT: after nat OUTPUT, before the filter table. */
const outputPriority = -99;

const deviceName = 'kube-ipvs0';

/** INPUT with IPVS in its midst, for a packet that the namespace takes for its own. */
export function localIn(world: World, cursor: Cursor, device: string): readonly Stage[] {
  const deliver = (passed: Cursor): Stage => ({ at: 'deliver', cursor: passed, device });
  const devices = { inDevice: device };
  if (!takesPart(cursor))
    return runHooks(cursor, ['input'], devices).map((passed) => ('at' in passed ? passed : deliver(passed)));
  const rest = (at: Cursor): readonly Stage[] =>
    runHooks(at, ['input'], { ...devices, window: { from: inputPriority } }).map((passed) =>
      'at' in passed ? passed : deliver(passed),
    );
  return runHooks(cursor, ['input'], { ...devices, window: { to: inputPriority } }).flatMap((passed) => {
    if ('at' in passed) return [passed];
    const answer = ipvsAnswer(passed);
    if (answer !== undefined) return rest(answer);
    return balance(world, passed).flatMap((way): readonly Stage[] => {
      if (way.state === 'end') return [way.stage];
      return way.state === 'stolen' ? [{ at: 'send', cursor: way.cursor }] : rest(way.cursor);
    });
  });
}

/** OUTPUT with IPVS in its midst, for packets of the namespace itself. `routeMark` of the result asks for a new route. */
export function localOut(world: World, cursor: Cursor, devices: HookDevices): readonly (Cursor | Stage)[] {
  // A tunnel's outer packet has lost the connection (nf_reset_ct in skb_scrub_packet).
  if (cursor.byIpvs === true && cursor.packet.inner === undefined)
    return runHooks(cursor, ['output'], { ...devices, keepsTracking: true });
  if (!takesPart(cursor)) return runHooks(cursor, ['output'], devices);
  const rest = (at: Cursor): readonly (Cursor | Stage)[] =>
    runHooks(at, ['output'], { ...devices, window: { from: outputPriority }, keepsTracking: true }).map(
      (passed) =>
        'at' in passed || at.routeMark === undefined ? passed : { routeMark: at.routeMark, ...passed },
    );
  return runHooks(cursor, ['output'], { ...devices, window: { to: outputPriority } }).flatMap((passed) => {
    if ('at' in passed) return [passed];
    const answer = ipvsAnswer(passed);
    // ip_vs_route_me_harder(): the source is another now.
    if (answer !== undefined) return rest({ ...answer, routeMark: answer.packet.mark });
    return balance(world, passed).flatMap((way): readonly (Cursor | Stage)[] => {
      if (way.state === 'end') return [way.stage];
      if (way.state === 'pass') return rest(way.cursor);
      if (way.state === 'local') return rest({ ...way.cursor, routeMark: way.cursor.packet.mark });
      const { routeMark: _, ...stolen } = way.cursor;
      return [{ at: 'send', cursor: stolen }];
    });
  });
}

const balancedProtocols = new Set(['tcp', 'udp', 'sctp']);

/** False where IPVS leaves the packet alone, which is known: no table, another protocol, or it has had its turn. */
function takesPart({ netns, packet, byIpvs, connections }: Cursor): boolean {
  if (byIpvs === true) return false;
  const isPayload = balancedProtocols.has(packet.protocol) || packet.quoted !== undefined;
  if (!isPayload || packet.inner !== undefined) return false;
  if (netns.ipvs.state === 'unknown') return ipvsDevice(netns) !== undefined;
  return netns.ipvs.value.length > 0 || (connections.balanced ?? []).length > 0;
}

const ipvsDevice = (netns: Netns) =>
  netns.devices.state === 'known' ? findDevice(netns.devices.value, deviceName) : undefined;

type Way =
  | { readonly state: 'pass'; readonly cursor: Cursor }
  /** It is for a real server of this machine: the hook goes on with it. */
  | { readonly state: 'local'; readonly cursor: Cursor }
  /** NF_STOLEN: it goes out by LOCAL_OUT anew. */
  | { readonly state: 'stolen'; readonly cursor: Cursor }
  | { readonly state: 'end'; readonly stage: Stage };

const end = (stage: Stage): readonly Way[] => [{ state: 'end', stage }];

/** ip_vs_in_hook(): packets of known connections go where they went; a connection's first packet is scheduled. */
function balance(world: World, cursor: Cursor): readonly Way[] {
  const { netns, packet, connections } = cursor;
  if (netns.ipvs.state === 'unknown') return withoutTable(world, cursor, netns.ipvs.why);
  if (packet.quoted !== undefined) return errorTowards(cursor, packet.quoted);
  const known = findTowards(connections.balanced, netns.id, 'ipvs', packet);
  if (known !== undefined) return [transmit(world, cursor, known)];
  const server = findServer(netns.ipvs.value, packet);
  if (server === undefined) {
    const astray = noVirtualServer(world, cursor);
    return astray === undefined ? [{ state: 'pass', cursor }] : end(loseUntranslated(cursor, astray));
  }
  // tcp_conn_schedule(): only a SYN opens a connection, unless net.ipv4.vs.sloppy_tcp.
  const isFirst =
    packet.protocol !== 'tcp' ||
    ((packet.flags?.syn === true || sysctl(netns, 'net.ipv4.vs.sloppy_tcp') === '1') &&
      packet.flags?.rst !== true);
  if (!isFirst) return [{ state: 'pass', cursor }];
  const choices = schedule(server);
  if (choices.length === 0) return end(nobody(world, cursor, server));
  return choices.map(({ real, share, why }) => {
    const noted = remarked({ ...cursor, share: cursor.share * share }, server, why);
    return transmit(world, noted, connectionOf(noted, server, real), real, server);
  });
}

/** Schedulers that look at more than weights: what they look at changes from one connection to the next. */
const remarked = (cursor: Cursor, server: VirtualServer, why: string | undefined): Cursor =>
  why === undefined ? cursor : remark(cursor, step('nat', 'pass', why, { sources: [server.source] }));

function connectionOf(
  { netns, packet }: Cursor,
  { key }: VirtualServer,
  { address, port, method }: RealServer,
): Balanced {
  return {
    netns: netns.id,
    by: 'ipvs',
    protocol: packet.protocol,
    client: { address: packet.src, port: packet.srcPort },
    virtual: { address: packet.dst, port: packet.dstPort },
    real: { address, port: port === 0 ? packet.dstPort : port },
    ...(method === 'masq' && key.kind !== undefined ? {} : { untouched: true }),
  };
}

/** ip_vs_service_find(): firewall mark first, then address and port, then address and any port. */
function findServer(servers: readonly VirtualServer[], packet: Packet): VirtualServer | undefined {
  const byMark = servers.find(
    ({ key }) =>
      key.kind === 'fwmark' &&
      packet.mark !== 0 &&
      key.mark === packet.mark &&
      key.family === packet.dst.family,
  );
  if (byMark !== undefined) return byMark;
  const at = (port: number) =>
    servers.find(
      ({ key }) =>
        key.kind === 'address' &&
        key.protocol === packet.protocol &&
        key.port === port &&
        sameAddress(key.address, packet.dst),
    );
  return at(packet.dstPort) ?? at(0);
}

/** ip_vs_leave(): no real server takes it, so the caller is told at once, TCP too. */
function nobody(world: World, cursor: Cursor, server: VirtualServer): Stage {
  const { packet, netns } = cursor;
  const asked = `${formatAddress(packet.dst)}:${packet.dstPort}`;
  const service = world.service(packet.dst);
  const name = service === undefined ? '' : ` (Service ${service.namespace}/${service.name})`;
  const why =
    server.servers.length === 0
      ? 'has no real server'
      : `has only real servers of weight 0 (${server.servers.length})`;
  return lose(cursor, 'nat', 'no-endpoints', `the IPVS service ${asked}${name} of ${netns.id} ${why}`, {
    facts: {
      hook: cursor.inDevice === undefined ? 'output' : 'input',
      verdict: 'reject',
      rejectWith: packet.dst.family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable',
      owner: 'kube-proxy',
      ...(service === undefined ? {} : { service: `${service.namespace}/${service.name}` }),
    },
    sources: [server.source, ...server.servers.map((real) => real.source)],
  });
}

/** There is kube-ipvs0, and nobody recorded what it leads to. */
function withoutTable(world: World, cursor: Cursor, why: string): readonly Way[] {
  const { netns, packet } = cursor;
  const onDevice = ipvsDevice(netns)?.addresses.some((own) => sameAddress(own.address, packet.dst)) === true;
  if (!onDevice && !world.isNodePort(packet.dstPort, packet.protocol)) return [{ state: 'pass', cursor }];
  const asked = `${formatAddress(packet.dst)}:${packet.dstPort}`;
  return end(
    cannotTell(cursor, 'nat', `where IPVS of ${netns.id} sends ${asked} is not known: ${why}`, {
      facts: {
        what: `the IPVS table of ${netns.id}`,
        todo: 'run `ipvsadm -Sn` or `cat /proc/net/ip_vs` on the node and keep the output as ipvs.txt or proc-net-ip-vs.txt',
      },
    }),
  );
}

/** ip_vs_in_icmp(): an error about an answer goes to the real server that gave it. */
function errorTowards(cursor: Cursor, quoted: Packet): readonly Way[] {
  const { netns, packet, connections } = cursor;
  const found = findTowards(connections.balanced, netns.id, 'ipvs', turned(quoted));
  if (found === undefined || found.untouched === true) return [{ state: 'pass', cursor }];
  const { address, port } = found.real;
  const told: Cursor = {
    ...cursor,
    byIpvs: true,
    packet: { ...packet, dst: address, quoted: { ...quoted, src: address, srcPort: port } },
  };
  return [{ state: isLocal(netns, address) === true ? 'local' : 'stolen', cursor: told }];
}

/** ip_vs_nat_xmit(), and of the other methods what can be told. `real` and `server` are set for a connection's first packet. */
function transmit(
  world: World,
  cursor: Cursor,
  connection: Balanced,
  real?: RealServer,
  server?: VirtualServer,
): Way {
  const { netns, packet, connections } = cursor;
  const to = connection.real;
  const sources = [
    ...(server === undefined ? [] : [server.source]),
    ...(real === undefined ? [] : [real.source]),
  ];
  const kept = { ...connections, balanced: remember(connections.balanced, connection) };
  const text = `IPVS sends ${socketText(connection.virtual)} to ${socketText(to)}${shareText(server)}`;
  const chosen: Cursor = { ...pass(cursor, 'nat', text, { sources }), connections: kept };
  // ip_vs_null_xmit()
  if (real?.method === 'local' || (connection.untouched === true && isLocal(netns, to.address) === true))
    return { state: 'pass', cursor: { ...chosen, byIpvs: true } };
  if (connection.untouched === true) {
    const stage = cannotTell(
      chosen,
      'nat',
      `IPVS of ${netns.id} sends packets to ${socketText(to)} by tunnel or by route, which is not walked`,
      { facts: { what: `IPVS forwarding methods of ${netns.id}` }, sources },
    );
    return { state: 'end', stage };
  }
  const rewritten: Cursor = {
    ...chosen,
    byIpvs: true,
    steps: chosen.steps.map((one, i) =>
      i === chosen.steps.length - 1 ? { ...one, action: 'rewrite' as const } : one,
    ),
    packet: { ...packet, dst: to.address, dstPort: to.port },
    connections: tracksIpvs(netns) ? { ...kept, ...followed(chosen, to) } : untrackedBy(chosen),
  };
  if (isLocal(netns, to.address) === true) return { state: 'local', cursor: rewritten };
  const refused = fits(world, cursor, rewritten, to.address);
  if (refused !== undefined) return { state: 'end', stage: refused };
  // decrement_ttl(): what came from elsewhere ages here, since FORWARD is not passed.
  const ttl = cursor.inDevice === undefined ? packet.ttl : packet.ttl - 1;
  return { state: 'stolen', cursor: { ...rewritten, packet: { ...rewritten.packet, ttl } } };
}

/** __ip_vs_get_out_rt(): TTL and MTU are looked at before the address is changed, so errors speak of the Service's address. */
function fits(world: World, before: Cursor, after: Cursor, to: Address): Stage | undefined {
  const { packet, netns } = before;
  if (before.inDevice !== undefined && packet.ttl <= 1)
    return lose(before, 'route', 'ttl-exceeded', 'the time to live is used up', { facts: {} });
  const found = lookupRoute(netns, { dst: to, mark: 0 });
  if (found.state !== 'found') return undefined;
  const device = world.device(netns, found.nexthop.device ?? '');
  const mtu = Math.min(found.route.mtuBytes ?? Number.POSITIVE_INFINITY, device?.mtuBytes ?? 1500);
  const bytes = wireBytes(after);
  if (bytes <= mtu || (!packet.df && packet.dst.family === 4)) return undefined;
  const prefix = formatPrefix(found.route.dst);
  return lose(before, 'mtu', 'mtu-exceeded', `${bytes} bytes do not fit the route ${prefix} (MTU ${mtu})`, {
    facts: {
      device: device?.name ?? '',
      mtu: String(mtu),
      size: String(bytes),
      answers: 'icmp',
      node: netns.node,
    },
    sources: [found.route.source],
  });
}

/** ip_vs_update_conntrack(): a connection that is not in the table yet will be answered by the real server. */
function followed({ connections, netns }: Cursor, to: Endpoint): Pick<Cursor['connections'], 'inFlight'> {
  const { inFlight } = connections;
  const connection = inFlight?.netns === netns.id ? inFlight.tracking.connection : undefined;
  if (inFlight === undefined || connection === undefined) return {};
  if (connection.confirmed === true || inFlight.tracking.direction !== 'original') return {};
  const reply = { ...connection.reply, src: to.address, srcPort: to.port };
  return {
    inFlight: { ...inFlight, tracking: { ...inFlight.tracking, connection: { ...connection, reply } } },
  };
}

const shareText = (server: VirtualServer | undefined): string =>
  server === undefined ? '' : ` (${server.scheduler}${server.persistent ? ', persistent' : ''})`;
