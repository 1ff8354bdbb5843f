import { describe, expect, test } from 'vitest';
import { unknown } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import { address } from '../net/address.ts';
import type { Packet } from '../net/packet.ts';
import { buildNetns } from '../parse/netns.ts';
import { isLocal, lookupRoute, reversePathCheck } from './routing.ts';

const device = (ifindex: number, ifname: string, flags = ['UP', 'LOWER_UP']) => ({
  ifindex,
  ifname,
  flags,
  mtu: 1500,
  link_type: 'ether',
});
const routes = [
  { dst: 'default', gateway: '192.0.2.254', dev: 'eth0' },
  { dst: '192.0.2.0/24', dev: 'eth0', scope: 'link', prefsrc: '192.0.2.1' },
  { dst: '10.244.2.0/24', gateway: '10.244.2.0', dev: 'flannel.1', flags: ['onlink'] },
  { dst: '10.244.3.0/24', dev: 'down0' },
  { type: 'blackhole', dst: '10.244.9.0/24' },
  { type: 'local', dst: '192.0.2.1', dev: 'eth0', table: 'local', scope: 'host' },
];

function netns(sysctls: string): Netns {
  const files: Record<string, string> = {
    'ip-link.json': JSON.stringify([device(2, 'eth0'), device(3, 'flannel.1'), device(4, 'down0', [])]),
    'ip-addr.json': JSON.stringify([
      { ifname: 'eth0', addr_info: [{ family: 'inet', local: '192.0.2.1', prefixlen: 24, scope: 'global' }] },
    ]),
    'ip-route.json': JSON.stringify(routes.map((route) => ({ flags: [], ...route }))),
    'ip-rule.json': JSON.stringify([
      { priority: 0, src: 'all', table: 'local' },
      { priority: 32766, src: 'all', table: 'main' },
    ]),
    'sysctl.txt': sysctls,
  };
  return buildNetns('node1', 'node1', undefined, (name) => files[name], 'nodes/node1/');
}

const sysctls = `net.ipv4.conf.all.rp_filter = 0
net.ipv4.conf.eth0.rp_filter = 1
net.ipv4.conf.flannel/1.rp_filter = 0
`;

describe('lookupRoute', () => {
  test.each([
    ['10.244.2.7', 'found', 'flannel.1'],
    ['8.8.8.8', 'found', 'eth0'],
    ['10.244.9.1', 'refused', undefined],
    // The device is down: its route is passed over for the default route.
    ['10.244.3.1', 'found', 'eth0'],
  ])('%s is %s by %s', (dst, state, name) => {
    const result = lookupRoute(netns(sysctls), { dst: address(dst) });
    expect(result.state).toBe(state);
    expect(result.state === 'found' ? result.nexthop.device : undefined).toBe(name);
  });

  test('routes that were not collected are unknown', () => {
    const where = { ...netns(sysctls), routes: unknown('ip-route.json was not collected') };
    expect(lookupRoute(where, { dst: address('8.8.8.8') })).toEqual({
      state: 'unknown',
      why: 'ip-route.json was not collected',
    });
  });

  test('isLocal', () => {
    expect(isLocal(netns(sysctls), address('192.0.2.1'))).toBe(true);
    expect(isLocal(netns(sysctls), address('192.0.2.2'))).toBe(false);
  });
});

describe('reversePathCheck', () => {
  const packet = (src: string, dst = '8.8.8.8'): Packet => ({
    src: address(src),
    dst: address(dst),
    protocol: 'udp',
    srcPort: 1,
    dstPort: 2,
    lengthBytes: 60,
    df: true,
    ttl: 64,
    mark: 0,
  });
  test.each([
    ['strict, the route back is elsewhere', '10.244.2.7', 'eth0', 'fail'],
    ['strict, the right device', '198.51.100.1', 'eth0', 'pass'],
    ['off, any device', '198.51.100.1', 'flannel.1', 'pass'],
    ['an address of our own', '192.0.2.1', 'flannel.1', 'martian'],
    ['a loopback source', '127.0.0.1', 'eth0', 'martian'],
    ['a device without recorded setting', '198.51.100.1', 'down0', 'unknown'],
  ])('%s', (_name, src, inDevice, expected) => {
    expect(reversePathCheck(netns(sysctls), packet(src), inDevice).state).toBe(expected);
  });

  test('a failure names the device expected and the setting that decided', () => {
    const result = reversePathCheck(netns(sysctls), packet('10.244.2.7'), 'eth0');
    expect(result).toMatchObject({
      facts: {
        device: 'eth0',
        mode: '1',
        expectedDevice: 'flannel.1',
        sysctl: 'net.ipv4.conf.eth0.rp_filter',
      },
    });
  });
});
