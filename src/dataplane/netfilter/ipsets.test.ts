import { describe, expect, test } from 'vitest';
import { address } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import { buildNetns } from '../../parse/netns.ts';
import { inSet, type SetDirection, type SetQuery } from './ipsets.ts';

const packet: Packet = {
  src: address('10.1.0.2'),
  dst: address('10.2.0.5'),
  protocol: 'tcp',
  srcPort: 1024,
  dstPort: 80,
  lengthBytes: 60,
  df: true,
  ttl: 64,
  mark: 0x1234,
};

const withSets = (text: string) =>
  buildNetns('n', 'n', undefined, (file) => (file === 'ipset.txt' ? text : undefined), 'nodes/n/');

function ask(text: string, directions: string, more: Partial<SetQuery> = {}) {
  const list = directions.split(',') as SetDirection[];
  return inSet(withSets(text), 's', { packet, inDevice: 'eth0', directions: list, ...more });
}

/** Types that not every kernel of the tests has: ip_set_hash_ipmark.c, _netnet.c, _netportnet.c, _mac.c, _ipmac.c, bitmap_ipmac.c. */
describe('set types', () => {
  test.each([
    ['hash:ip,mark', 'add s 10.1.0.2,0x1234', 'src,src', true],
    ['hash:ip,mark', 'add s 10.1.0.2,0x34', 'src,src', false],
    ['hash:ip,mark markmask 0xff', 'add s 10.1.0.2,0x34', 'src,src', true],
    ['hash:net,net', 'add s 10.1.0.0/24,10.2.0.0/16', 'src,dst', true],
    ['hash:net,net', 'add s 10.1.0.0/24,10.3.0.0/16', 'src,dst', false],
    ['hash:net,net', 'add s 10.1.0.0/24,10.2.0.0/16\nadd s 10.1.0.2,10.2.0.0/24 nomatch', 'src,dst', false],
    ['hash:net,port,net', 'add s 10.1.0.0/24,tcp:80,10.2.0.0/16', 'src,dst,dst', true],
    ['hash:net,port,net', 'add s 10.1.0.0/24,udp:80,10.2.0.0/16', 'src,dst,dst', false],
    ['hash:ip,mac', 'add s 10.1.0.9,02:00:00:00:00:01', 'src,src', false],
    ['bitmap:ip,mac range 10.1.0.0/16', 'add s 10.1.0.2', 'src,src', true],
    ['hash:ip family inet6', 'add s fd00::1', 'src', false],
  ])('%s with %s', (type, adds, directions, expected) => {
    expect(ask(`create s ${type}\n${adds}\n`, directions)).toBe(expected);
  });

  test('a MAC address decides only where the frame has one', () => {
    const set = 'create s hash:ip,mac\nadd s 10.1.0.2,02:00:00:00:00:01\n';
    expect(ask(set, 'src,src')).toHaveProperty('doubt');
    expect(ask(set, 'src,src', { framed: false })).toBe(false);
    expect(ask(set, 'src,src', { inDevice: undefined })).toBe(false);
  });
});

test('a lookup costs the same in a set of 100,000', () => {
  const adds = Array.from(
    { length: 100_000 },
    (_, i) => `add s 10.${i >> 16}.${(i >> 8) & 255}.${i & 255},tcp:80`,
  );
  const netns = withSets(`create s hash:ip,port\n${adds.join('\n')}\n`);
  const query: SetQuery = { packet, directions: ['src', 'dst'] };
  expect(inSet(netns, 's', query)).toBe(true);
  const start = performance.now();
  for (let i = 0; i < 10_000; i++) inSet(netns, 's', query);
  expect(performance.now() - start).toBeLessThan(1_000);
});
