import { across, type ClusterFault, type World } from './fault.ts';

const podsOfNode2 = async ({ cluster }: World): Promise<string> =>
  cluster.kubectlOut(['get', 'node', 'node2', '--output=jsonpath={.spec.podCIDR}']);

export const routeMissing: ClusterFault = {
  name: 'route-missing',
  title: "a node has no route to a peer's pods",
  cause: 'route/missing',
  alsoAccepted: [],
  // With host-gw flannel looks after its routes and puts it back within seconds.
  cnis: ['flannel-vxlan'],
  broken: (world) => [across(world, 'node1', 'node2')],
  kept: (world) => [across(world, 'node1', 'node3'), across(world, 'node3', 'node2')],
  async apply(world) {
    await world.cluster.must('node1', ['ip', 'route', 'del', await podsOfNode2(world)]);
  },
  async heal(world) {
    const prefix = await podsOfNode2(world);
    // As flannel writes it: the peer's tunnel device has the first address of the peer's prefix.
    const route = [prefix, 'via', prefix.replace(/\/.*/, ''), 'dev', 'flannel.1', 'onlink'];
    await world.cluster.must('node1', ['ip', 'route', 'replace', ...route]);
  },
};
