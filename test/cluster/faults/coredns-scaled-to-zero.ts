import { across, type ClusterFault, everyCni, toService, type World } from './fault.ts';

const scale = ({ cluster }: World, replicas: number) =>
  cluster.kubectlOut(['scale', '--namespace=kube-system', 'deployment/coredns', `--replicas=${replicas}`]);

export const corednsScaledToZero: ClusterFault = {
  name: 'coredns-scaled-to-zero',
  title: 'CoreDNS has no replica',
  cause: 'dns/coredns-down',
  alsoAccepted: ['dns/no-endpoints'],
  cnis: everyCni,
  broken: (world) => [toService(world.pod('web', 'node1'), 'api', 80, { hostName: 'api' })],
  kept: (world) => [toService(world.pod('web', 'node1'), 'api', 80), across(world, 'node1', 'node2')],
  async apply(world) {
    await scale(world, 0);
    await world.cluster.untilReady();
  },
  async heal(world) {
    await scale(world, 2);
    await world.cluster.untilReady();
  },
};
