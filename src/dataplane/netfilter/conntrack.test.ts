import { describe, expect, test } from 'vitest';
import { address } from '../../net/address.ts';
import type { Packet, TcpFlags } from '../../net/packet.ts';
import { type Connections, confirm, emptyConnections, track } from './conntrack.ts';
import { setMapping, translate } from './mapping.ts';

const packet = (change: Partial<Packet> = {}): Packet => ({
  src: address('10.0.0.1'),
  dst: address('10.0.0.2'),
  protocol: 'udp',
  srcPort: 1000,
  dstPort: 53,
  lengthBytes: 60,
  df: true,
  ttl: 64,
  mark: 0,
  ...change,
});

const back = (of: Packet): Packet => ({
  ...of,
  src: of.dst,
  dst: of.src,
  srcPort: of.dstPort,
  dstPort: of.srcPort,
});
const tableAfter = (...packets: readonly Packet[]): Connections =>
  packets.reduce((table, entry) => confirm(table, track(table, 'n', entry)), emptyConnections());

describe('what opens a connection', () => {
  test.each<[string, Partial<Packet>, string]>([
    ['UDP', {}, 'NEW'],
    ['a SYN', { protocol: 'tcp', flags: { syn: true } }, 'NEW'],
    ['a stray ACK, picked up', { protocol: 'tcp', flags: { ack: true } }, 'NEW'],
    ['a stray SYN-ACK', { protocol: 'tcp', flags: { syn: true, ack: true } }, 'INVALID'],
    ['a stray RST', { protocol: 'tcp', flags: { rst: true } }, 'INVALID'],
    ['a stray FIN', { protocol: 'tcp', flags: { fin: true, ack: true } }, 'INVALID'],
    ['an echo request', { protocol: 'icmp', icmp: { type: 8, code: 0, id: 1 } }, 'NEW'],
    ['a stray echo reply', { protocol: 'icmp', icmp: { type: 0, code: 0, id: 1 } }, 'INVALID'],
    [
      'an error about nothing known',
      { protocol: 'icmp', icmp: { type: 3, code: 4 }, quoted: packet() },
      'INVALID',
    ],
    ['a neighbour solicitation', { protocol: 'icmpv6', icmp: { type: 135, code: 0 } }, 'UNTRACKED'],
  ])('%s', (_name, change, expected) => {
    expect(track(emptyConnections(), 'n', packet(change)).state).toBe(expected);
  });

  test('with tcp_loose off a stray ACK is INVALID', () => {
    const ack = packet({ protocol: 'tcp', flags: { ack: true } });
    expect(track(emptyConnections(), 'n', ack, { tcpLoose: false }).state).toBe('INVALID');
  });
});

describe('an open connection', () => {
  const tcp = (flags: TcpFlags): Packet => packet({ protocol: 'tcp', flags });

  test('is NEW until a reply was seen, and known in its own namespace only', () => {
    const first = packet();
    expect(track(tableAfter(first), 'n', first).state).toBe('NEW');
    expect(track(tableAfter(first), 'n', back(first))).toMatchObject({
      state: 'ESTABLISHED',
      direction: 'reply',
    });
    expect(track(tableAfter(first, back(first)), 'n', first).state).toBe('ESTABLISHED');
    expect(track(tableAfter(first), 'other', back(first)).state).toBe('NEW');
  });

  test('takes an ACK only after a SYN-ACK: an asymmetric path makes it INVALID', () => {
    const [syn, ack] = [tcp({ syn: true }), tcp({ ack: true })];
    expect(track(tableAfter(syn), 'n', ack).state).toBe('INVALID');
    expect(track(tableAfter(syn, back(tcp({ syn: true, ack: true }))), 'n', ack).state).toBe('ESTABLISHED');
  });

  test('has errors about its packets RELATED, if they go to the sender', () => {
    const first = packet();
    const error = packet({
      protocol: 'icmp',
      icmp: { type: 3, code: 4 },
      quoted: first,
      src: address('10.9.9.9'),
    });
    expect(track(tableAfter(first), 'n', { ...error, dst: first.src }).state).toBe('RELATED');
    expect(track(tableAfter(first), 'n', { ...error, dst: address('10.0.0.77') }).state).toBe('INVALID');
  });
});

test('a mapping translates both directions, and the packet that an error quotes', () => {
  const first = packet();
  const tracking = track(emptyConnections(), 'n', first);
  if (tracking.connection === undefined) throw new Error('no connection');
  const connection = setMapping(tracking.connection, 'dst', { address: address('10.0.0.9'), port: 5353 });
  const sent = translate({ ...tracking, connection }, 'dst', first);
  expect(sent).toMatchObject({ dst: address('10.0.0.9'), dstPort: 5353, src: first.src });
  const table = confirm(emptyConnections(), { ...tracking, connection });
  const reply = back(sent);
  expect(translate(track(table, 'n', reply), 'src', reply)).toMatchObject({ src: first.dst, srcPort: 53 });
  const error = packet({
    src: sent.dst,
    dst: first.src,
    protocol: 'icmp',
    icmp: { type: 3, code: 3 },
    quoted: sent,
  });
  const seen = translate(track(table, 'n', error), 'src', error);
  expect(seen.quoted).toMatchObject({ dst: first.dst, dstPort: 53 });
});
