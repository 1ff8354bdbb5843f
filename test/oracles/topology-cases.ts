/** What random damage taught: one damage and one flow each, on a lab of two nodes, with what Linux does then. */
import type { Lab } from '../../src/lab/lab.ts';
import type { LabCni } from '../../src/lab/state.ts';
import type { Command, Damage } from './topology-damages.ts';
import type { Asked } from './topology-flows.ts';

export interface Case {
  readonly name: string;
  readonly cni: LabCni;
  readonly damage: (lab: Lab) => Damage;
  readonly undo: (lab: Lab) => Damage;
  readonly flow: Asked;
  readonly expected: 'reachable' | 'unreachable';
}

const on = (at: string, ...lines: string[]): Command[] => lines.map((line) => ({ at, line }));
const port = (lab: Lab, pod: string): string => lab.pod(pod).hostDevice;

const flow = (src: string, dst: string, kind: Asked['kind'], more: Partial<Asked> = {}): Asked => ({
  src,
  dst,
  kind,
  family: 4,
  port: kind === 'icmp' ? 0 : kind === 'udp' ? 8081 : 8080,
  ...more,
});

const gatewayOf = (lab: Lab): string => (lab.node('node1').addresses[0] ?? '').replace(/\d+$/, '1');
const far6 = (lab: Lab): string => lab.pod('shop/api-2').addresses[1] ?? '';
const db = { port: 5432 } as const;
const nothing = (): Damage => [];

export const cases: readonly Case[] = [
  {
    name: 'two isolated bridge ports do not hear each other',
    cni: 'flannel-vxlan',
    damage: (lab) =>
      ['shop/web-2', 'shop/api-2'].flatMap((pod) =>
        on('node2', `bridge link set dev ${port(lab, pod)} isolated on`),
      ),
    undo: (lab) =>
      ['shop/web-2', 'shop/api-2'].flatMap((pod) =>
        on('node2', `bridge link set dev ${port(lab, pod)} isolated off`),
      ),
    flow: flow('shop/web-2', 'shop/api-2', 'tcp'),
    expected: 'unreachable',
  },
  {
    name: 'an isolated bridge port still hears the bridge itself',
    cni: 'flannel-vxlan',
    damage: (lab) => on('node2', `bridge link set dev ${port(lab, 'shop/api-2')} isolated on`),
    undo: (lab) => on('node2', `bridge link set dev ${port(lab, 'shop/api-2')} isolated off`),
    flow: flow('ops/toolbox-1', 'shop/api-2', 'tcp'),
    expected: 'reachable',
  },
  {
    name: 'a bridge port in state disabled passes nothing',
    cni: 'flannel-vxlan',
    damage: (lab) => on('node2', `bridge link set dev ${port(lab, 'shop/api-2')} state 0`),
    undo: (lab) => on('node2', `bridge link set dev ${port(lab, 'shop/api-2')} state 3`),
    flow: flow('ops/toolbox-1', 'shop/api-2', 'tcp'),
    expected: 'unreachable',
  },
  {
    name: 'a tunnel address that is also the subnet-router anycast address takes answers',
    cni: 'flannel-vxlan',
    damage: nothing,
    undo: nothing,
    flow: flow('node1', 'shop/api-2', 'tcp', { family: 6 }),
    expected: 'reachable',
  },
  {
    name: 'a pod that ignores echo requests',
    cni: 'flannel-vxlan',
    damage: () => on('shop/api-2', 'sysctl -q -w net/ipv4/icmp_echo_ignore_all=1'),
    undo: () => on('shop/api-2', 'sysctl -q -w net/ipv4/icmp_echo_ignore_all=0'),
    flow: flow('ops/toolbox-1', 'shop/api-2', 'icmp'),
    expected: 'unreachable',
  },
  {
    name: 'an echo reply has no DF: routers fragment it',
    cni: 'flannel-vxlan',
    damage: (lab) => on('node1', `ip link set ${port(lab, 'shop/web-1')} mtu 600`),
    undo: (lab) => on('node1', `ip link set ${port(lab, 'shop/web-1')} mtu 1430`),
    flow: flow('ops/toolbox-1', 'shop/api-2', 'icmp', { sizeBytes: 1290 }),
    expected: 'reachable',
  },
  {
    name: 'a large first packet is NEW, not ESTABLISHED',
    cni: 'flannel-vxlan',
    damage: () =>
      on(
        'ops/toolbox-1',
        'iptables -w 5 -t mangle -I POSTROUTING -p icmp -m conntrack --ctstate ESTABLISHED -j DROP',
      ),
    undo: () => on('ops/toolbox-1', 'iptables -w 5 -t mangle -F'),
    flow: flow('ops/toolbox-1', 'shop/api-2', 'icmp', { sizeBytes: 1290 }),
    expected: 'reachable',
  },
  {
    name: 'hairpin off: a pod that is its own backend is bridged back to where it came from',
    cni: 'flannel-vxlan',
    damage: (lab) => on('node2', `bridge link set dev ${port(lab, 'shop/db-1')} hairpin off`),
    undo: (lab) => on('node2', `bridge link set dev ${port(lab, 'shop/db-1')} hairpin on`),
    flow: flow('shop/db-1', 'shop/svc/db', 'tcp', db),
    expected: 'unreachable',
  },
  {
    name: 'a Service with its backend on the same bridge needs ip_forward',
    cni: 'flannel-vxlan',
    damage: () => on('node2', 'sysctl -q -w net/ipv4/ip_forward=0'),
    undo: () => on('node2', 'sysctl -q -w net/ipv4/ip_forward=1'),
    flow: flow('shop/api-2', 'shop/svc/db', 'tcp', db),
    expected: 'unreachable',
  },
  {
    name: 'over IPv6 such a Service needs no forwarding',
    cni: 'flannel-vxlan',
    damage: () => on('node2', 'sysctl -q -w net/ipv6/conf/all/forwarding=0'),
    undo: () => on('node2', 'sysctl -q -w net/ipv6/conf/all/forwarding=1'),
    flow: flow('shop/api-2', 'shop/svc/db', 'tcp', { ...db, family: 6 }),
    expected: 'reachable',
  },
  {
    name: 'isolated ports part a pod from a Service backend on the same bridge',
    cni: 'flannel-vxlan',
    damage: (lab) =>
      ['shop/api-2', 'shop/db-1'].flatMap((pod) =>
        on('node2', `bridge link set dev ${port(lab, pod)} isolated on`),
      ),
    undo: (lab) =>
      ['shop/api-2', 'shop/db-1'].flatMap((pod) =>
        on('node2', `bridge link set dev ${port(lab, pod)} isolated off`),
      ),
    flow: flow('shop/api-2', 'shop/svc/db', 'tcp', db),
    expected: 'unreachable',
  },
  {
    name: 'a veth passes four bytes more than its MTU: room for a VLAN tag',
    cni: 'calico-vxlan',
    damage: (lab) => on('node1', `ip link set ${port(lab, 'ops/toolbox-1')} mtu 1426`),
    undo: (lab) => on('node1', `ip link set ${port(lab, 'ops/toolbox-1')} mtu 1430`),
    flow: flow('ops/toolbox-1', 'node1', 'icmp', { sizeBytes: 1430 }),
    expected: 'reachable',
  },
  {
    name: 'a device with an MTU below 1280 takes no IPv6',
    cni: 'calico-vxlan',
    damage: () => on('node1', 'ip link set vxlan-v6.calico mtu 1200'),
    undo: nothing,
    flow: flow('ops/toolbox-1', 'node2', 'icmp', { family: 6 }),
    expected: 'unreachable',
  },
  {
    name: 'proxy ARP wants a route out of another device: no default route, no 169.254.1.1',
    cni: 'calico-vxlan',
    damage: () => on('node1', 'ip route del default'),
    undo: (lab) => on('node1', `ip route add default via ${gatewayOf(lab)}`),
    flow: flow('ops/toolbox-1', 'shop/api-1', 'tcp'),
    expected: 'unreachable',
  },
  {
    name: 'proxy ARP wants forwarding on the asked device',
    cni: 'calico-vxlan',
    damage: (lab) => on('node1', `sysctl -q -w net/ipv4/conf/${port(lab, 'ops/toolbox-1')}/forwarding=0`),
    undo: (lab) => on('node1', `sysctl -q -w net/ipv4/conf/${port(lab, 'ops/toolbox-1')}/forwarding=1`),
    flow: flow('ops/toolbox-1', 'node1', 'icmp'),
    expected: 'unreachable',
  },
  {
    name: 'a next hop that is also an own address of the device: its advertisement is not believed',
    cni: 'flannel-vxlan',
    damage: (lab) => [
      ...on('node1', `ip -6 route add ${far6(lab)}/128 via ${lab.node('node2').addresses[1]} dev eth0`),
      ...on('node1', `ip addr add ${lab.node('node2').addresses[1]}/128 dev eth0 nodad`),
    ],
    undo: (lab) => [
      ...on('node1', `ip addr del ${lab.node('node2').addresses[1]}/128 dev eth0`),
      ...on('node1', `ip -6 route del ${far6(lab)}/128`),
    ],
    flow: flow('ops/toolbox-1', 'shop/api-2', 'tcp', { family: 6 }),
    expected: 'unreachable',
  },
  {
    name: 'a node’s own TCP learns from its VXLAN device what fits the underlay',
    cni: 'flannel-vxlan',
    damage: (lab) => on('node1', `ip route add ${lab.node('node2').addresses[0]}/32 dev eth0 mtu 1400`),
    undo: (lab) => on('node1', `ip route del ${lab.node('node2').addresses[0]}/32 dev eth0`),
    flow: flow('node1', 'shop/api-2', 'tcp-up'),
    expected: 'reachable',
  },
];
