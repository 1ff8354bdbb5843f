/** MTUs of pod and tunnel devices, for the faults that change them. */
import type { Lab } from '../lab.ts';
import { ipBatch } from '../run.ts';
import type { LabNode } from '../state.ts';
import type { FaultArgs } from './fault.ts';
import { onNode } from './kernel.ts';

/** The devices' MTUs of every node, by node name: `eth0 1500\nveth1 1450`. */
export async function captureMtus(lab: Lab): Promise<FaultArgs> {
  const args: Record<string, string> = {};
  for (const node of lab.state.nodes) {
    const devices = JSON.parse(await onNode(node, 'ip', '-j', 'link', 'show')) as {
      ifname: string;
      mtu: number;
    }[];
    args[node.name] = devices
      .filter(({ ifname }) => ifname !== 'lo')
      .map(({ ifname, mtu }) => `${ifname} ${mtu}`)
      .join('\n');
  }
  return args;
}

/** Sets both ends of every pod's device pair. A bridge follows the least MTU of its ports by itself. */
export async function setPodMtus(lab: Lab, mtuBytes: number): Promise<void> {
  for (const pod of lab.state.pods) await ipBatch(pod.netns, [`link set eth0 mtu ${mtuBytes}`]);
  for (const node of lab.state.nodes) {
    const own = lab.state.pods.filter((pod) => pod.node === node.name);
    await ipBatch(
      node.netns,
      own.map((pod) => `link set ${pod.hostDevice} mtu ${mtuBytes}`),
    );
  }
}

/**
 * Sets a tunnel device's MTU to the underlay's. The kernel refuses that (it knows the overhead), but it does not look again
 * when the underlay's MTU shrinks: which is how such devices come about.
 */
export async function raiseTunnel(node: LabNode, device: string, underlayMtuBytes: number): Promise<void> {
  await ipBatch(node.netns, [
    `link set eth0 mtu ${underlayMtuBytes + 70}`,
    `link set ${device} mtu ${underlayMtuBytes}`,
    `link set eth0 mtu ${underlayMtuBytes}`,
  ]);
}

export async function restoreMtus(lab: Lab, args: FaultArgs): Promise<void> {
  for (const node of lab.state.nodes) {
    const before = new Map(
      (args[node.name] ?? '').split('\n').map((line) => line.split(' ') as [string, string]),
    );
    const own = lab.state.pods.filter((pod) => pod.node === node.name);
    for (const pod of own)
      await ipBatch(pod.netns, [
        `link set eth0 mtu ${before.get(pod.hostDevice) ?? '1450'}`,
        // Path MTUs that were learned meanwhile would outlive the fault by ten minutes.
        'route flush cache',
      ]);
    // Not the bridge: an MTU that was set by hand no longer follows its ports.
    await ipBatch(
      node.netns,
      [...before]
        .filter(([device]) => device !== 'cni0')
        .map(([device, mtu]) => `link set ${device} mtu ${mtu}`),
    );
  }
}
