import { describe, expect, it } from 'vitest';
import type { ProbeResult } from '../model/evidence.ts';
import type { Flow } from '../model/flow.ts';
import { address } from '../net/address.ts';
import { readReply } from './dns.ts';
import { readPing } from './icmp.ts';
import { readProbes } from './read.ts';
import { recordedFor } from './recorded.ts';
import { readSocketInfo } from './socket-info.ts';

const flow: Flow = {
  src: { kind: 'pod', namespace: 'shop', name: 'web-1', address: address('10.244.1.5') },
  dst: { kind: 'pod', namespace: 'shop', name: 'api-2', address: address('10.244.2.6') },
  protocol: 'tcp',
  dstPort: 8080,
};
const result = (change: Partial<ProbeResult>): ProbeResult => ({
  src: 'shop/web-1',
  dst: '10.244.2.6',
  kind: 'tcp',
  port: 8080,
  sizeBytes: 0,
  outcome: 'ok',
  ms: 900,
  command: 'true',
  output: '',
  ...change,
});
const bulk = (change: Partial<ProbeResult>) =>
  result({ sizeBytes: 100_000, bulk: 'from-src', output: 'connected, then 0 bytes received', ...change });
const ping = (change: Partial<ProbeResult>) => result({ kind: 'icmp', port: 0, ...change });
const dns = (name: string, rcode: string | undefined, answers: string[] = []) =>
  result({
    kind: 'dns',
    dst: name,
    port: 53,
    outcome: rcode === undefined ? 'timeout' : 'ok',
    dns: { server: '10.96.0.10', transport: 'udp', answers, ...(rcode === undefined ? {} : { rcode }) },
  });
const named: Flow = { ...flow, hostName: 'api' };

describe('the answer of the probes', () => {
  it.each<[string, Flow, ProbeResult[], string, RegExp]>([
    ['nothing was sent', flow, [], 'unknown', /no probe tried/],
    ['only others were probed', flow, [result({ src: 'shop/x' })], 'unknown', /no probe tried/],
    ['a ping is not the flow', flow, [ping({})], 'unknown', /no probe tried/],
    ['handshake and transfer pass', flow, [result({}), bulk({})], 'reachable', /handshake .* passed/],
    ['timeout', flow, [result({ outcome: 'timeout' })], 'unreachable', /got no answer in 900 ms/],
    ['refused', flow, [result({ outcome: 'refused' })], 'unreachable', /was refused/],
    [
      'could not be tried',
      flow,
      [result({ outcome: 'error', output: 'x' })],
      'unknown',
      /could not be tried/,
    ],
    ['one of two', flow, [result({}), result({ outcome: 'timeout' })], 'unreachable', /1 of 2 tries failed/],
    [
      'stalled transfer',
      flow,
      [result({}), bulk({ outcome: 'timeout' })],
      'unreachable',
      /small packets pass/,
    ],
    ['transfer not served', flow, [result({}), bulk({ outcome: 'error' })], 'reachable', /passed/],
    [
      'large ping lost, transfer passes',
      flow,
      [result({}), bulk({}), ping({ df: true, sizeBytes: 1450, outcome: 'timeout' })],
      'reachable',
      /passed/,
    ],
    [
      'large ping lost, no transfer',
      flow,
      [result({}), ping({ df: true, sizeBytes: 1450, outcome: 'timeout' })],
      'unknown',
      /1450 bytes that must not be fragmented/,
    ],
    [
      'the size asked about is lost',
      { ...flow, sizeBytes: 1500 },
      [result({}), ping({ df: true, sizeBytes: 1500, outcome: 'too-big', output: 'mtu = 1450' })],
      'unreachable',
      /too big \(mtu = 1450\)/,
    ],
    [
      'a transfer without its handshake',
      flow,
      [result({}), bulk({ outcome: 'timeout', output: 'no answer to the SYN in 900 ms' })],
      'unreachable',
      /^1 of 2 tries failed/,
    ],
    [
      'a UDP server silent to much',
      { ...flow, protocol: 'udp' },
      [
        result({ kind: 'udp' }),
        result({ kind: 'udp', sizeBytes: 1422, outcome: 'timeout' }),
        ping({ df: true, sizeBytes: 1450 }),
      ],
      'reachable',
      /UDP datagram .* was answered/,
    ],
    [
      'a silent UDP server',
      { ...flow, protocol: 'udp' },
      [result({ kind: 'udp', outcome: 'timeout' })],
      'unknown',
      /UDP datagram .* got no answer/,
    ],
    [
      'a refused datagram',
      { ...flow, protocol: 'udp' },
      [result({ kind: 'udp', outcome: 'refused' })],
      'unreachable',
      /was refused/,
    ],
    [
      'the name resolves',
      named,
      [result({}), dns('api.shop', 'NOERROR', ['10.96.1.2'])],
      'reachable',
      /passed/,
    ],
    [
      'no such name',
      named,
      [result({}), dns('api.shop', 'NXDOMAIN')],
      'unreachable',
      /no nameserver knows api/,
    ],
    ['no nameserver answers', named, [result({}), dns('api', undefined)], 'unreachable', /got no answer/],
  ])('%s', (_, asked, results, answer, because) => {
    const reading = readProbes(asked, results);
    expect(reading).toMatchObject({ answer, because: expect.stringMatching(because) });
    expect(reading.evidence).toHaveLength(results.length);
  });
});

it('picks the probes of one flow from a recording', () => {
  const own = [result({}), bulk({}), ping({})];
  const others = [
    result({ src: 'shop/x' }),
    result({ dst: '10.244.9.9' }),
    result({ port: 81 }),
    dns('db', 'NOERROR'),
  ];
  expect(recordedFor(flow, [...others, ...own])).toEqual(own);
  const service: Flow = {
    ...named,
    dst: { kind: 'service', namespace: 'shop', name: 'api', address: address('10.96.0.20') },
  };
  // In full as the Service is called; a Service of that name elsewhere is another one.
  const asked = ['api', 'api.shop.svc.cluster.local', 'api.ops.svc.cluster.local', 'db'];
  const kept = recordedFor(
    service,
    asked.map((name) => dns(name, 'NOERROR')),
  );
  expect(kept.map((one) => one.dst)).toEqual(asked.slice(0, 2));
});

describe('what ping prints', () => {
  it.each([
    [0, '64 bytes from 10.0.0.1: icmp_seq=1 ttl=64 time=0.05 ms', '', 'ok'],
    [1, '1 packets transmitted, 0 received, 100% packet loss', '', 'timeout'],
    [1, 'From 10.0.0.9 icmp_seq=1 Frag needed and DF set (mtu = 1450)', '', 'too-big'],
    [1, '', 'ping: local error: message too long, mtu=1400', 'too-big'],
    [1, 'From fd00::9: icmp_seq=1 Packet too big: mtu=1430', '', 'too-big'],
    [1, 'From 10.0.0.9 icmp_seq=1 Destination Host Unreachable', '', 'unreachable'],
    [1, 'From 10.0.0.9 icmp_seq=1 Packet filtered', '', 'unreachable'],
    [2, '', 'ping: connect: Network is unreachable', 'unreachable'],
    [2, '', 'ping: invalid argument', 'error'],
  ])('exit %i, "%s%s" is %s', (code, stdout, stderr, outcome) => {
    expect(readPing({ code, stdout, stderr, timedOut: false }).outcome).toBe(outcome);
  });
});

it('reads the counters of a connection, absent ones as zero', () => {
  const text =
    'ESTAB 0 95000 10.0.0.1:40000 10.0.0.2:80\n\t cubic mss:1448 cwnd:1 bytes_sent:14480 bytes_acked:2897 retrans:1/3';
  expect(readSocketInfo(text)).toEqual({ ackedBytes: 2896, retransmits: 3, mssBytes: 1448 });
  expect(readSocketInfo('ESTAB 0 0 a b\n\t cubic mss:536')).toEqual({
    ackedBytes: 0,
    retransmits: 0,
    mssBytes: 536,
  });
});

it('does not take noise for a DNS answer', () => {
  expect(readReply(Buffer.from('noise'), 1).outcome).toBe('error');
});
