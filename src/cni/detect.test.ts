import { expect, it } from 'vitest';
import { node, pod } from '../../test/support/objects.ts';
import { device, makeSnapshot } from '../../test/support/snapshot.ts';
import { known, mapKnown, orElse, unknown } from '../model/known.ts';
import type { Device, Netns } from '../model/netns.ts';
import { detectCni } from './detect.ts';

const plain = [1, 2, 3].map((n) => node(`node${n}`, `10.0.0.${n}`, `10.244.${n}.0/24`));
/** The healthy cluster with other devices in place of cni0 and flannel.1, and without flannel's annotations. */
const withDevices = (...extra: Device[]) =>
  makeSnapshot({
    cluster: { nodes: plain },
    netns: Object.fromEntries(
      plain.map(({ name }) => [
        name,
        (n: Netns) => ({
          devices: mapKnown(n.devices, (list) => [
            ...list.filter((d) => !/^(cni0|flannel)/.test(d.name)),
            ...extra,
          ]),
        }),
      ]),
    ),
  });
const vxlan = (vni: number, port: number) =>
  ({ kind: 'vxlan', vni, port, learning: false, df: 'unset', external: false }) as const;
const tunl0 = device(9, 'tunl0', 'ipip', 1480, {
  addresses: orElse(makeSnapshot().netns.get('node1')?.devices ?? known([]), [])[1]?.addresses ?? [],
});

it.each([
  ['flannel', { kind: 'vxlan', device: 'flannel.1', port: 8472, vni: 1 }, makeSnapshot()],
  [
    'calico',
    { kind: 'vxlan', device: 'vxlan.calico', port: 4789, vni: 4096 },
    withDevices(device(9, 'vxlan.calico', 'vxlan', 1450, { tunnel: vxlan(4096, 4789) })),
  ],
  ['calico', { kind: 'ipip', device: 'tunl0' }, withDevices(device(8, 'cali0123', 'veth', 1480), tunl0)],
  ['cilium', undefined, withDevices(device(9, 'cilium_host', 'veth', 1500))],
  [
    'cilium',
    { kind: 'vxlan', device: 'cilium_vxlan', port: 8472 },
    withDevices(device(9, 'cilium_vxlan', 'vxlan', 1500)),
  ],
  [
    'weave',
    { kind: 'vxlan', device: 'vxlan-6784', port: 6784 },
    withDevices(device(9, 'weave', 'bridge', 1376)),
  ],
  ['kube-router', undefined, withDevices(device(9, 'kube-bridge', 'bridge', 1500))],
  ['bridge', undefined, withDevices(device(9, 'cni0', 'bridge', 1500))],
] as const)('recognises %s (%o)', (name, tunnel, snapshot) => {
  const detected = detectCni(snapshot);
  expect(detected.state === 'known' ? [detected.value.cni.name, detected.value.tunnel] : detected).toEqual([
    name,
    tunnel,
  ]);
});

it('does not guess', () => {
  expect(detectCni(withDevices()).state).toBe('unknown');
  const blind = makeSnapshot({
    cluster: { nodes: plain, pods: [pod('shop/web', '10.244.1.2')] },
    netns: Object.fromEntries(plain.map(({ name }) => [name, () => ({ devices: unknown('not collected') })])),
  });
  expect(detectCni(blind).state).toBe('unknown');
});

it('reads flannel’s announcement, and survives a damaged one', () => {
  const detected = detectCni(makeSnapshot());
  const mac = detected.state === 'known' ? detected.value.cni.announcedMac : undefined;
  const key = 'flannel.alpha.coreos.com/backend-data';
  expect([
    mac?.({ [key]: '{"VtepMAC":"AA:BB:CC:DD:EE:FF"}' }),
    mac?.({ [key]: '{"VtepMAC":7' }),
    mac?.({}),
  ]).toEqual(['aa:bb:cc:dd:ee:ff', undefined, undefined]);
});
