import { describe, expect, test } from 'vitest';
import { parseConntrack } from './conntrack.ts';

/** Lines that conntrack 1.4.7 and Linux 6.18 printed, with accounting and time stamps on. */
const printed = {
  zone: 'ipv4     2 udp      17 99 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 packets=0 bytes=0 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 packets=0 bytes=0 mark=0 zone=5 delta-time=0 use=1 id=53265338',
  replyZone:
    'ipv4     2 udp      17 99 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=4 packets=3 bytes=180 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=4 dport=1 zone-reply=8 packets=1 bytes=60 mark=0 delta-time=0 use=2',
  gre: 'ipv4     2 gre      47 99 timeout=0, stream_timeout=0 src=10.0.0.1 dst=10.0.0.2 srckey=0x5 dstkey=0x6 packets=0 bytes=0 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 srckey=0x6 dstkey=0x5 packets=0 bytes=0 mark=0 zone=0 delta-time=0 use=2',
  icmpv6:
    'ipv6     10 icmpv6   58 99 src=fd00:0000:0000:0000:0000:0000:0000:0001 dst=fd00::2 type=128 code=0 id=9 [UNREPLIED] src=fd00::2 dst=fd00::1 type=129 code=0 id=9 mark=0 zone=0 use=2',
  unknown: 'unknown  99 99 src=10.0.0.1 dst=10.0.0.2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 mark=0 use=1',
  sctp: 'ipv4     2 sctp     132 99 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=5 dport=6 src=10.0.0.2 dst=10.0.0.1 sport=6 dport=5 [ASSURED] mark=0 use=1',
  offloaded:
    'tcp      6 src=10.0.0.1 dst=10.96.0.1 sport=9 dport=443 src=10.2.0.9 dst=10.0.0.1 sport=6443 dport=9 [OFFLOAD] mark=4 helper=ftp use=2',
};

const read = (line: string) => {
  const result = parseConntrack(line, 'f');
  if (!result.ok) throw new Error(result.error.message);
  return result.value[0];
};

describe('conntrack -L in all its forms', () => {
  test.each([
    ['zone', { protocol: 'udp', zone: { original: 5, reply: 5 }, expiresSeconds: 99 }],
    [
      'replyZone',
      {
        zone: { original: 0, reply: 8 },
        volume: { original: { packets: 3, bytes: 180 }, reply: { packets: 1, bytes: 60 } },
      },
    ],
    ['gre', { protocol: 'gre', original: { srcPort: 5, dstPort: 6 }, reply: { srcPort: 6, dstPort: 5 } }],
    [
      'icmpv6',
      { family: 6, original: { srcPort: 9, dstPort: 0x8000 }, reply: { srcPort: 9, dstPort: 0x8100 } },
    ],
    ['unknown', { protocol: '99', flags: ['UNREPLIED'] }],
    ['sctp', { protocol: 'sctp', state: 'ESTABLISHED', original: { dstPort: 6 } }],
    ['offloaded', { protocol: 'tcp', flags: ['OFFLOAD'], mark: 4, helper: 'ftp' }],
  ] as const)('%s', (name, expected) => {
    expect(read(printed[name])).toMatchObject(expected);
  });

  test('the default zone is no zone, and without accounting nothing is known of the traffic', () => {
    expect(read(printed.gre)).not.toHaveProperty('zone');
    expect(read(printed.unknown)).not.toHaveProperty('volume');
    expect(read(printed.offloaded)).not.toHaveProperty('expiresSeconds');
  });
});
