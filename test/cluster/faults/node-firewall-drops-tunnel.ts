import { tunnelPort } from '../plan.ts';
import { across, type ClusterFault, type World } from './fault.ts';

const rule = ['INPUT', '--protocol', 'udp', '--dport', String(tunnelPort), '--jump', 'DROP'];
const remove = async ({ cluster }: World) =>
  void (await cluster.exec('node2', ['iptables', '-w', '--delete', ...rule]));

export const nodeFirewallDropsTunnel: ClusterFault = {
  name: 'node-firewall-drops-tunnel',
  title: "the firewall of a node drops the tunnel's UDP port",
  cause: 'overlay/port-blocked',
  alsoAccepted: ['firewall/node-rule'],
  cnis: ['flannel-vxlan'],
  broken: (world) => [across(world, 'node1', 'node2'), across(world, 'node2', 'node3')],
  kept: (world) => [across(world, 'node1', 'node3'), across(world, 'node2', 'node2')],
  async apply(world) {
    await remove(world);
    await world.cluster.must('node2', ['iptables', '-w', '--insert', ...rule]);
  },
  heal: remove,
};
