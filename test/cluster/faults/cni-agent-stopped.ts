import { startAgent, stopAgent } from './agents.ts';
import { across, type ClusterFault } from './fault.ts';

export const cniAgentStopped: ClusterFault = {
  name: 'cni-agent-stopped',
  title: "flannel of one node does not run, and nobody restores the node's tunnel device",
  cause: 'overlay/device-missing',
  alsoAccepted: ['cni/agent-not-ready', 'route/missing'],
  cnis: ['flannel-vxlan'],
  broken: (world) => [across(world, 'node1', 'node2'), across(world, 'node2', 'node1')],
  kept: (world) => [across(world, 'node1', 'node1'), across(world, 'node2', 'node3')],
  async apply(world) {
    await stopAgent(world, 'flannel', 'node1');
    await world.cluster.must('node1', ['ip', 'link', 'del', 'flannel.1']);
  },
  heal: (world) => startAgent(world, 'flannel', 'node1'),
};
