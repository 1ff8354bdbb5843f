import { describe, expect, test } from 'vitest';
import type { Flow } from '../model/flow.ts';
import { address } from '../net/address.ts';
import { buildNetns } from '../parse/netns.ts';
import { initial } from './exchange.ts';

const files: Record<string, string> = {
  'ip-link.json': JSON.stringify([{ ifindex: 2, ifname: 'eth0', flags: ['UP', 'LOWER_UP'], mtu: 1500 }]),
  'ip-addr.json': JSON.stringify([
    { ifname: 'eth0', addr_info: [{ family: 'inet', local: '192.0.2.1', prefixlen: 24, scope: 'global' }] },
  ]),
  'ip-route.json': JSON.stringify([
    { dst: '10.244.0.0/16', dev: 'eth0', prefsrc: '10.244.1.0', flags: [] },
    { dst: 'default', dev: 'eth0', flags: [] },
    { type: 'local', dst: '192.0.2.1', dev: 'eth0', table: 'local', scope: 'host', flags: [] },
  ]),
  'ip-rule.json': JSON.stringify([
    { priority: 0, src: 'all', table: 'local' },
    { priority: 32766, src: 'all', table: 'main' },
  ]),
};
const internal = address('192.0.2.77');
const flow = (dst: string): Flow => ({
  src: { kind: 'node', name: 'node1', address: internal },
  dst: { kind: 'external', address: address(dst) },
  protocol: 'tcp',
  dstPort: 80,
});
const sourceOf = (dst: string, read = files) =>
  initial(
    { netns: buildNetns('node1', 'node1', undefined, (name) => read[name], ''), address: internal },
    flow(dst),
  ).packet.src;

describe('the source of what a node sends', () => {
  test.each([
    ['the source of the route', '10.244.2.5', '10.244.1.0'],
    ["the device's address", '8.8.8.8', '192.0.2.1'],
    ['the address itself, to itself', '192.0.2.1', '192.0.2.1'],
  ])('%s', (_name, dst, expected) => {
    expect(sourceOf(dst)).toEqual(address(expected));
  });

  test('its InternalIP where its routes are not known', () => {
    expect(sourceOf('8.8.8.8', { 'ip-addr.json': files['ip-addr.json'] ?? '' })).toEqual(internal);
  });
});
