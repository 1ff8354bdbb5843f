import { across, type ClusterFault, everyCni, type World } from './fault.ts';

const set = async ({ cluster }: World, value: 0 | 1) =>
  void (await cluster.must('node2', ['sysctl', '-q', '-w', `net.ipv4.ip_forward=${value}`]));

export const ipForwardOff: ClusterFault = {
  name: 'ip-forward-off',
  title: 'a node does not forward',
  cause: 'route/ip-forward-off',
  alsoAccepted: [],
  cnis: everyCni,
  broken: (world) => [across(world, 'node1', 'node2'), across(world, 'node2', 'node1')],
  kept: (world) => [across(world, 'node1', 'node3'), across(world, 'node3', 'node1')],
  apply: (world) => set(world, 0),
  heal: (world) => set(world, 1),
};
