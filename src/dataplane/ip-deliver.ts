/** Packets for this namespace: a tunnel, a socket, or nobody. */
import type { Netns } from '../model/netns.ts';
import type { Step } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import { addSteps, type Cursor, doubt, lose, pass, type Stage } from './cursor.ts';
import { formatSocket, listening } from './sockets.ts';
import { decapsulate } from './tunnel.ts';

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
  if (netns.sysctls.state === 'unknown') {
    const text = `whether ${netns.id} answers echo requests is not known: ${netns.sysctls.why}`;
    return accept(doubt(cursor, 'deliver', text, { facts: { what: `sysctls of ${netns.id}` } }));
  }
  if (netns.sysctls.value.get(key) !== '1') return accept(cursor, 'echo is answered');
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
