/**
 * Cilium's programs on the walk: what they do at a pod's device (bpf_lxc.c), at the tunnel (bpf_overlay.c) and where the node's
 * own stack hands packets to pods (bpf_host.c), from dumps of their maps. Read in Cilium's source; no test kernel runs it.
 */
import type { LxcEntry } from '../../model/cilium-maps.ts';
import type { Device } from '../../model/netns.ts';
import { formatAddress, sameAddress } from '../../net/address.ts';
import { swappedPorts } from '../../net/made-up.ts';
import type { Packet } from '../../net/packet.ts';
import { type Balanced, findBack, findTowards, remember } from '../balanced.ts';
import { type Cursor, cannotTell, lose, pass, type Stage, step } from '../cursor.ts';
import { lookupRoute } from '../routing.ts';
import { ethernetBytes, headerBytes, misdirection, open, udpBytes, wrap } from '../tunnels/wrap.ts';
import type { World } from '../world.ts';
import { endpointAt, hostIdentity, ipcacheAt, serviceAt } from './maps.ts';
import { enforce, identityOf } from './policy.ts';
import { socketText, translate } from './services.ts';
import {
  bypassesStack,
  hasEndpointRoutes,
  isPodDevice,
  notDumped,
  runsCilium,
  translatesAtSockets,
  tunnelOf,
} from './setup.ts';

type Endpoint = Extract<LxcEntry, { kind: 'endpoint' }>;

const endpointCommand = 'cilium-dbg bpf endpoint list';
const endpointFile = 'cilium-bpf-endpoint.txt';
const ipcacheCommand = 'cilium-dbg bpf ipcache list';
const ipcacheFile = 'cilium-bpf-ipcache.txt';

/** What Cilium makes of the stage; undefined where the kernel goes on as ever. */
export function byCilium(world: World, stage: Stage): readonly Stage[] | undefined {
  const { cursor } = stage;
  if (!runsCilium(cursor.netns)) return undefined;
  const { packet } = cursor;
  switch (stage.at) {
    case 'ip-in':
      if (cursor.byCilium === true || packet.inner !== undefined) return undefined;
      return isPodDevice(stage.device.name)
        ? fromPod(world, cursor, stage.device)
        : fromNetwork(world, cursor, stage.device);
    case 'transmit':
      return packet.inner === undefined && (isPodDevice(stage.device) || stage.device === 'cilium_host')
        ? fromStack(world, cursor, stage.device)
        : undefined;
    case 'send':
      return fromHost(world, cursor);
    case 'deliver':
      return packet.inner === undefined ? toHost(world, cursor, stage.device) : fromTunnel(world, cursor);
    default:
      return undefined;
  }
}

/** handle_ipv4_from_lxc() */
function fromPod(world: World, cursor: Cursor, device: Device): readonly Stage[] {
  const { netns, packet, connections } = cursor;
  const list = netns.ciliumEndpoints;
  if (list.state === 'unknown')
    return [
      notDumped(
        cursor,
        'route',
        `the endpoint behind ${device.name}`,
        endpointCommand,
        endpointFile,
        list.why,
      ),
    ];
  const own = list.value.filter(
    (one): one is Endpoint => one.kind === 'endpoint' && one.ifindex === device.index,
  );
  const [endpoint] = own;
  if (endpoint === undefined) {
    const text = `${device.name} (ifindex ${device.index}) belongs to no endpoint that the dump shows`;
    return [cannotTell(cursor, 'route', text, { facts: { what: `endpoints of ${netns.id}` } })];
  }
  const ofFamily = own.filter(({ address }) => address.family === packet.src.family);
  if (ofFamily.length > 0 && !ofFamily.some(({ address }) => sameAddress(address, packet.src))) {
    const text = `Invalid source ip: ${formatAddress(packet.src)} is not the endpoint's (${ofFamily.map(({ address }) => formatAddress(address)).join(', ')})`;
    return [
      lose(cursor, 'route', 'martian-source', text, {
        facts: { device: device.name },
        sources: [endpoint.source],
      }),
    ];
  }
  const about = packet.quoted === undefined ? packet : turned(packet.quoted);
  const answered = findBack(connections.balanced, netns.id, 'cilium', about);
  if (answered?.hiddenBy !== undefined) {
    const { client, virtual } = answered;
    const back = { ...packet, src: virtual.address, srcPort: virtual.port, dst: client.address };
    return toEndpoint(world, { ...noteAnswer(cursor, back), packet: back }, endpoint, hostIdentity, true);
  }
  const isAnswer = answered !== undefined || packet.quoted !== undefined;
  if (isAnswer) return route(world, cursor, device, endpoint, true);
  return translate(world, cursor, translatesAtSockets(world) === true ? 'socket' : 'tc').flatMap((way) => {
    if ('at' in way) return [way];
    // A pod that reaches itself is never asked (ct_state.loopback).
    if (sameAddress(way.packet.dst, endpoint.address))
      return toEndpoint(world, way, endpoint, hostIdentity, true);
    const allowed = enforce(way, endpoint.id, 'egress', identityOf(way, way.packet.dst));
    return 'at' in allowed ? [allowed] : route(world, tracked(allowed), device, endpoint, false);
  });
}

const turned = (packet: Packet): Packet => ({
  ...packet,
  src: packet.dst,
  dst: packet.src,
  ...swappedPorts(packet, packet.icmp !== undefined),
});

/** ct_create4(): the answer will not be asked for policies. */
function tracked(cursor: Cursor): Cursor {
  const { netns, packet, connections } = cursor;
  const to = { address: packet.dst, port: packet.dstPort };
  const entry: Balanced = {
    netns: netns.id,
    by: 'cilium',
    protocol: packet.protocol,
    client: { address: packet.src, port: packet.srcPort },
    virtual: to,
    real: to,
  };
  // The translated connection says more, and stands there already.
  if (findBack(connections.balanced, netns.id, 'cilium', turned(packet)) !== undefined) return cursor;
  return { ...cursor, connections: { ...connections, balanced: remember(connections.balanced, entry) } };
}

/** Where a pod's packet goes once it may: to a pod of this node, into the tunnel, or to the node's stack. */
function route(
  world: World,
  cursor: Cursor,
  device: Device,
  from: Endpoint,
  isAnswer: boolean,
): readonly Stage[] {
  const { netns, packet } = cursor;
  const list = netns.ciliumEndpoints;
  const local = list.state === 'known' ? endpointAt(list.value, packet.dst) : undefined;
  const onward: Stage = { at: 'ip-in', cursor: { ...cursor, byCilium: true }, device };
  if (local?.kind === 'host') return [onward];
  if (local?.kind === 'endpoint' && !hasEndpointRoutes(world))
    return toEndpoint(world, aged(cursor), local, from.identity, isAnswer);
  const tunnel = tunnelOf(world, netns);
  if (tunnel !== undefined && local === undefined) {
    const cache = netns.ciliumIpcache;
    if (cache.state === 'unknown') {
      const what = `behind which node ${formatAddress(packet.dst)} is`;
      return [notDumped(cursor, 'route', what, ipcacheCommand, ipcacheFile, cache.why)];
    }
    const entry = ipcacheAt(cache.value, packet.dst);
    if (entry?.tunnelEndpoint !== undefined && !entry.flags.includes('skiptunnel'))
      return intoTunnel(world, aged(cursor), from.identity);
  }
  const bypass = bypassesStack(world);
  if (bypass === false || hasEndpointRoutes(world)) return [onward];
  if (bypass === 'unknown') {
    const text = `whether packets of pods pass the rules of ${netns.id} is not known: cilium-config was not recorded`;
    return [
      cannotTell(cursor, 'route', text, {
        facts: {
          what: `Cilium's host routing on ${netns.id}`,
          todo: 'collect the ConfigMap kube-system/cilium-config, or run `cilium-dbg status --verbose` (Host Routing)',
        },
      }),
    ];
  }
  return straightOut(aged(cursor), device);
}

/** fib_redirect(): the node's routes, and none of its rules. */
function straightOut(cursor: Cursor, device: Device): readonly Stage[] {
  const { netns, packet } = cursor;
  const found = lookupRoute(netns, { dst: packet.dst, src: packet.src, mark: 0, iif: device.name });
  const to = formatAddress(packet.dst);
  if (found.state === 'unknown')
    return [
      cannotTell(cursor, 'route', `the route to ${to} cannot be told: ${found.why}`, {
        facts: { what: `routes of ${netns.id}` },
      }),
    ];
  const out = found.state === 'found' ? found.nexthop.device : undefined;
  if (found.state !== 'found' || out === undefined)
    return [
      lose(cursor, 'route', 'no-route', `FIB lookup failed: ${netns.id} has no route to ${to}`, {
        facts: { destination: to },
      }),
    ];
  const { gateway } = found.nexthop;
  const text = `Cilium routes it by ${out}${gateway === undefined ? '' : ` via ${formatAddress(gateway)}`}, past the rules of the node`;
  const noted = pass({ ...cursor, byCilium: true }, 'route', text, { sources: [found.route.source] });
  return [{ at: 'transmit', cursor: noted, device: out, nextHop: gateway ?? packet.dst }];
}

/** ipv4_l3(): the time to live goes down by one. */
const aged = (cursor: Cursor): Cursor => ({
  ...cursor,
  packet: { ...cursor.packet, ttl: cursor.packet.ttl - 1 },
});

/** encap_and_redirect_with_nodeid(): the sender's identity is the VNI. */
function intoTunnel(world: World, cursor: Cursor, identity: number | undefined): readonly Stage[] {
  const { netns, packet } = cursor;
  const tunnel = tunnelOf(world, netns);
  const cache = netns.ciliumIpcache;
  const entry = cache.state === 'known' ? ipcacheAt(cache.value, packet.dst) : undefined;
  const remote = entry?.tunnelEndpoint;
  if (tunnel === undefined || remote === undefined || entry === undefined) throw new TypeError('no tunnel');
  if (entry.encryptKey !== 0)
    return [
      cannotTell(
        cursor,
        'encap',
        `packets to ${formatAddress(remote)} are encrypted (key ${entry.encryptKey}), which is not walked`,
        {
          facts: { what: `Cilium's encryption on ${netns.id}` },
          sources: [entry.source],
        },
      ),
    ];
  const vni = identity ?? 0;
  const expectedNode = world.nodeFor(packet.dst);
  const dstMac = '00:00:00:00:00:00';
  return wrap(world, cursor, tunnel.device, {
    inner: { kind: tunnel.kind, packet, vni, dstMac },
    remote,
    protocol: 'udp',
    srcPort: 49152,
    dstPort: tunnel.port,
    overheadBytes: headerBytes(remote.family) + udpBytes + 8 + ethernetBytes,
    df: false,
    mark: 0,
    text: `${tunnel.device.name}: ${formatAddress(packet.dst)} is behind ${formatAddress(remote)} (identity ${identity ?? '?'}), UDP ${tunnel.port}`,
    facts: misdirection(world, remote, expectedNode),
    sources: [entry.source],
    expectedNode,
  });
}

/** handle_ipv4() of bpf_overlay.c */
function fromTunnel(world: World, cursor: Cursor): readonly Stage[] | undefined {
  const { netns, packet } = cursor;
  const { inner } = packet;
  const tunnel = tunnelOf(world, netns);
  if (tunnel === undefined || inner?.kind !== tunnel.kind || packet.dstPort !== tunnel.port) return undefined;
  if (!tunnel.device.up)
    return [
      lose(cursor, 'decap', 'tunnel-endpoint-down', `${tunnel.device.name} of ${netns.node} is down`, {
        facts: { node: netns.node, device: tunnel.device.name },
        sources: [tunnel.device.source],
      }),
    ];
  const text = `${tunnel.device.name} opens the packet (identity ${inner.vni})`;
  const opened: Cursor = { ...open(cursor, tunnel.device, text), inDevice: tunnel.device.name };
  const list = netns.ciliumEndpoints;
  if (list.state === 'unknown') {
    const what = `the endpoint ${formatAddress(opened.packet.dst)}`;
    return [notDumped(opened, 'route', what, endpointCommand, endpointFile, list.why)];
  }
  const local = endpointAt(list.value, opened.packet.dst);
  if (local?.kind === 'endpoint') return toEndpoint(world, aged(opened), local, inner.vni, false);
  return [{ at: 'ip-in', cursor: { ...opened, byCilium: true }, device: tunnel.device }];
}

/** From outside of the node: with BPF host routing straight to the pod; else up the stack. */
function fromNetwork(world: World, cursor: Cursor, device: Device): readonly Stage[] | undefined {
  const { netns, packet, connections } = cursor;
  if (device.kind === 'loopback' || /^cilium_/.test(device.name)) return undefined;
  const services = netns.ciliumServices;
  const isNew = findBack(connections.balanced, netns.id, 'cilium', packet) === undefined;
  if (isNew && services.state === 'known' && serviceAt(services.value, packet) !== undefined)
    return [
      cannotTell(
        cursor,
        'nat',
        `${socketText(packet)} is translated by Cilium on ${netns.id} for callers from outside, which is not walked`,
        {
          facts: { what: `Cilium's node-port translation on ${netns.id}` },
        },
      ),
    ];
  const list = netns.ciliumEndpoints;
  const local = list.state === 'known' ? endpointAt(list.value, packet.dst) : undefined;
  if (local?.kind !== 'endpoint' || bypassesStack(world) !== true || hasEndpointRoutes(world))
    return undefined;
  return toEndpoint(world, aged(cursor), local, identityOf(cursor, packet.src), false);
}

/** The node's stack gives a packet to cilium_host, or with endpoint routes to the pod's device. */
function fromStack(world: World, cursor: Cursor, device: string): readonly Stage[] | undefined {
  const { netns, packet } = cursor;
  const list = netns.ciliumEndpoints;
  if (list.state === 'unknown')
    return [
      notDumped(cursor, 'route', `the endpoint behind ${device}`, endpointCommand, endpointFile, list.why),
    ];
  const local = endpointAt(list.value, packet.dst);
  const identity = cursor.inDevice === undefined ? hostIdentity : identityOf(cursor, packet.src);
  if (local?.kind === 'endpoint') return toEndpoint(world, cursor, local, identity, false);
  const cache = netns.ciliumIpcache;
  if (cache.state === 'unknown') {
    const what = `behind which node ${formatAddress(packet.dst)} is`;
    return [notDumped(cursor, 'route', what, ipcacheCommand, ipcacheFile, cache.why)];
  }
  const remote = ipcacheAt(cache.value, packet.dst)?.tunnelEndpoint;
  if (remote !== undefined && tunnelOf(world, netns) !== undefined)
    return intoTunnel(world, cursor, identity);
  const text = `${netns.id} gives ${formatAddress(packet.dst)} to ${device}, and Cilium's maps name nobody there`;
  return [
    lose(cursor, 'route', 'no-host-for-address', text, {
      facts: { nextHop: formatAddress(packet.dst), device, deviceKind: 'cilium' },
    }),
  ];
}

/** ipv4_local_delivery(), and ipv4_policy() of the pod that it is for. `isAllowed` by the connection that it answers. */
function toEndpoint(
  world: World,
  cursor: Cursor,
  endpoint: Endpoint,
  identity: number | undefined,
  isAllowed: boolean,
): readonly Stage[] {
  const { netns, packet, connections } = cursor;
  const about = packet.quoted === undefined ? packet : turned(packet.quoted);
  const answered = findBack(connections.balanced, netns.id, 'cilium', about);
  if (answered === undefined && !isAllowed) {
    const allowed = enforce(cursor, endpoint.id, 'ingress', identity);
    return 'at' in allowed ? [allowed] : redirect(world, tracked(allowed), endpoint);
  }
  if (answered === undefined) return redirect(world, cursor, endpoint);
  const { virtual } = answered;
  // lb4_rev_nat(): the client hears the address that it called.
  const back: Packet =
    packet.quoted === undefined
      ? { ...packet, src: virtual.address, srcPort: virtual.port }
      : { ...packet, quoted: { ...packet.quoted, dst: virtual.address, dstPort: virtual.port } };
  return redirect(world, { ...noteAnswer(cursor, back), packet: back }, endpoint);
}

const noteAnswer = (cursor: Cursor, back: Packet): Cursor =>
  sameAddress(back.src, cursor.packet.src)
    ? cursor
    : {
        ...cursor,
        steps: [
          ...cursor.steps,
          step(
            'nat',
            'rewrite',
            `Cilium gives the answer of ${formatAddress(cursor.packet.src)} the Service's address ${formatAddress(back.src)}:${back.srcPort}`,
          ),
        ],
      };

/** redirect_ep(): onto the pod's device. */
function redirect(world: World, cursor: Cursor, endpoint: Endpoint): readonly Stage[] {
  const { netns } = cursor;
  const device = [...world.devices(netns).values()].find(({ index }) => index === endpoint.ifindex);
  if (device === undefined) {
    const text = `endpoint ${endpoint.id} is behind ifindex ${endpoint.ifindex}, which ${netns.id} does not have`;
    return [
      lose(cursor, 'route', 'device-missing', text, {
        facts: { device: String(endpoint.ifindex), deviceKind: 'veth' },
        sources: [endpoint.source],
      }),
    ];
  }
  const text = `Cilium delivers to endpoint ${endpoint.id} by ${device.name}`;
  const noted = pass(cursor, 'route', text, { sources: [endpoint.source] });
  return [{ at: 'frame-out', cursor: noted, device, dstMac: endpoint.mac }];
}

/** bpf_sock.c: a process of the node connects to a Service. */
function fromHost(world: World, cursor: Cursor): readonly Stage[] | undefined {
  const { netns, packet, connections } = cursor;
  if (packet.inner !== undefined || cursor.byCilium === true || cursor.inDevice !== undefined)
    return undefined;
  const services = netns.ciliumServices;
  const isService =
    findTowards(connections.balanced, netns.id, 'cilium', packet) !== undefined ||
    (services.state === 'known' && serviceAt(services.value, packet) !== undefined);
  const sockets = translatesAtSockets(world);
  if (!isService || sockets === false) return undefined;
  if (sockets === 'unknown')
    return [
      cannotTell(
        cursor,
        'nat',
        `whether Cilium translates ${socketText(packet)} at the sockets of ${netns.id} is not known`,
        {
          facts: {
            what: `Cilium's kube-proxy replacement on ${netns.id}`,
            todo: 'collect the ConfigMap kube-system/cilium-config',
          },
        },
      ),
    ];
  return translate(world, cursor, 'socket').map((way) =>
    'at' in way ? way : { at: 'send', cursor: { ...way, byCilium: true } },
  );
}

/** The socket of the node that called a Service hears the Service's address (cil_sock4_recvmsg, getpeername). */
function toHost(_world: World, cursor: Cursor, device: string): readonly Stage[] | undefined {
  const { netns, packet, connections } = cursor;
  const answered = findBack(connections.balanced, netns.id, 'cilium', packet);
  if (answered === undefined || sameAddress(answered.virtual.address, packet.src)) return undefined;
  const { address, port } = answered.virtual;
  const back = { ...packet, src: address, srcPort: port };
  return [{ at: 'deliver', cursor: { ...noteAnswer(cursor, back), packet: back }, device }];
}
