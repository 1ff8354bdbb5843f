import { across, type ClusterFault, type World } from './fault.ts';

const largeBytes = 200_000;
const underlayMtu = 1500;
/** VXLAN's headers take 50 bytes. */
const rightMtu = underlayMtu - 50;

/**
 * Sets every pod's device at both ends, the bridge and the tunnel, on every node. The kernel refuses a tunnel device without room for its
 * own headers (vxlan_dev_configure's max_mtu), but does not look again when the underlay's MTU shrinks: how such devices come about.
 */
async function setMtu({ cluster }: World, bytes: number): Promise<void> {
  const script = `set -e
    ip link set eth0 mtu ${underlayMtu + 50}
    for ns in $(ls /run/netns); do ip -n "$ns" link set eth0 mtu ${bytes}; ip -n "$ns" route flush cache; done
    for dev in $(ip -o link show master cni0 | sed 's/^[0-9]*: \\([^@:]*\\).*/\\1/') cni0 flannel.1; do ip link set "$dev" mtu ${bytes}; done
    ip link set eth0 mtu ${underlayMtu}`;
  for (const { name } of cluster.plan.nodes) await cluster.must(name, ['sh', '-c', script]);
}

const large = (world: World, from: string, to: string) => ({
  ...across(world, from, to),
  sizeBytes: largeBytes,
});

/** A full-size packet becomes two fragments on the underlay, which drops fragments (fabric.ts). */
export const podMtuTooLarge: ClusterFault = {
  name: 'pod-mtu-too-large',
  title: "pods' and tunnels' MTU is the underlay's, without room for the tunnel's headers",
  cause: 'mtu/too-large-for-overlay',
  alsoAccepted: ['mtu/pmtud-blackhole'],
  cnis: ['flannel-vxlan'],
  broken: (world) => [large(world, 'node1', 'node2'), large(world, 'node2', 'node1')],
  kept: (world) => [across(world, 'node1', 'node2'), large(world, 'node1', 'node1')],
  apply: (world) => setMtu(world, underlayMtu),
  heal: (world) => setMtu(world, rightMtu),
};
