/** Services by Cilium's load-balancing maps: lb4_local() at the pod's device, or the same when a socket connects. */
import type { LbBackend, LbService } from '../../model/cilium-maps.ts';
import { formatAddress, sameAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import { type Balanced, findTowards, remember } from '../balanced.ts';
import { type Cursor, cannotTell, lose, remark, type Stage, step } from '../cursor.ts';
import type { World } from '../world.ts';
import { serviceAt } from './maps.ts';
import { notDumped } from './setup.ts';

/** IPV4_LOOPBACK: the source that a pod sees when it reaches itself through a Service. */
const loopback4 = { family: 4, value: 0xa9fe2a01n } as const;

const portProtocols: ReadonlySet<string> = new Set(['tcp', 'udp', 'sctp']);

/** Each backend with its share; the packet as it is where it is for no Service. */
export function translate(world: World, cursor: Cursor, where: 'socket' | 'tc'): readonly (Cursor | Stage)[] {
  const { netns, packet, connections } = cursor;
  if (!portProtocols.has(packet.protocol)) return [cursor];
  const known = findTowards(connections.balanced, netns.id, 'cilium', packet);
  if (known !== undefined) return [rewritten(cursor, known, where)];
  const services = netns.ciliumServices;
  if (services.state === 'unknown') {
    if (world.service(packet.dst) === undefined && !world.isNodePort(packet.dstPort, packet.protocol))
      return [cursor];
    const what = `where Cilium sends ${socketText(packet)}`;
    return [notDumped(cursor, 'nat', what, 'cilium-dbg bpf lb list', 'cilium-bpf-lb.txt', services.why)];
  }
  const service = serviceAt(services.value, packet);
  return service === undefined ? [cursor] : toBackends(world, cursor, service, where);
}

function toBackends(
  world: World,
  cursor: Cursor,
  service: LbService,
  where: 'socket' | 'tc',
): readonly (Cursor | Stage)[] {
  const { packet } = cursor;
  const sources = [service.source];
  if (service.flags.includes('l7-load-balancer'))
    return [
      cannotTell(cursor, 'nat', `${socketText(packet)} goes to Cilium's L7 proxy, which is not walked`, {
        facts: { what: "what Cilium's L7 proxy does" },
        sources,
      }),
    ];
  const slots = service.backends.length + service.missing.length;
  if (slots === 0) return [noBackend(world, cursor, service)];
  const share = cursor.share / slots;
  const noted = service.flags.some((flag) => /^session ?affinity$/i.test(flag))
    ? remark(cursor, step('nat', 'pass', affinityText, { sources }))
    : cursor;
  return [
    ...service.backends.map((backend) => {
      const connection = connectionOf(cursor, backend);
      return rewritten({ ...noted, share }, connection, where, [...sources, backend.source]);
    }),
    // lb4_lookup_backend() finds nothing: DROP_NO_SERVICE.
    ...service.missing.map((source) =>
      lose(
        { ...noted, share },
        'nat',
        'no-endpoints',
        `Service backend not found: ${source.kind === 'file' ? source.text : ''}`,
        {
          facts: { owner: 'cilium' },
          sources: [source],
        },
      ),
    ),
  ];
}

const affinityText = 'the Service has session affinity: a client that was there before keeps its backend';

/** DROP_NO_SERVICE, or since 1.16 an answer: service-no-backend-response is `reject` unless it is set. */
function noBackend(world: World, cursor: Cursor, service: LbService): Stage {
  const of = world.service(cursor.packet.dst);
  const name = of === undefined ? '' : ` (Service ${of.namespace}/${of.name})`;
  return lose(
    cursor,
    'nat',
    'no-endpoints',
    `Service backend not found: ${socketText(cursor.packet)}${name} has no backends`,
    {
      facts: { owner: 'cilium', ...(of === undefined ? {} : { service: `${of.namespace}/${of.name}` }) },
      sources: [service.source],
    },
  );
}

function connectionOf({ netns, packet }: Cursor, { address, port }: LbBackend): Balanced {
  const isItself = sameAddress(address, packet.src) && packet.src.family === 4;
  return {
    netns: netns.id,
    by: 'cilium',
    protocol: packet.protocol,
    client: { address: packet.src, port: packet.srcPort },
    virtual: { address: packet.dst, port: packet.dstPort },
    real: { address, port },
    ...(isItself ? { hiddenBy: loopback4 } : {}),
  };
}

function rewritten(
  cursor: Cursor,
  connection: Balanced,
  where: 'socket' | 'tc',
  sources: readonly LbBackend['source'][] = [],
): Cursor {
  const { packet, connections } = cursor;
  const { real, hiddenBy } = connection;
  const to = { ...packet, dst: real.address, dstPort: real.port };
  const by = where === 'socket' ? 'Cilium (at the socket)' : 'Cilium';
  return {
    ...cursor,
    packet: hiddenBy === undefined ? to : { ...to, src: hiddenBy },
    connections: { ...connections, balanced: remember(connections.balanced, connection) },
    steps: [
      ...cursor.steps,
      step('nat', 'rewrite', `${by} sends ${socketText(packet)} to ${socketText(to)}`, { sources }),
    ],
  };
}

export const socketText = ({ dst, dstPort }: Packet): string =>
  dst.family === 4 ? `${formatAddress(dst)}:${dstPort}` : `[${formatAddress(dst)}]:${dstPort}`;
