import { across, type ClusterFault, everyCni, toService, type World } from './fault.ts';

const target = ({ cluster }: World, targetPort: number | string) =>
  cluster.kubectlOut([
    ...['patch', 'service', 'api', '--namespace=shop'],
    `--patch=${JSON.stringify({ spec: { ports: [{ port: 80, protocol: 'TCP', targetPort }] } })}`,
  ]);

export const serviceTargetPortWrong: ClusterFault = {
  name: 'service-target-port-wrong',
  title: 'a Service sends to a port that nothing listens on',
  cause: 'service/target-port-wrong',
  alsoAccepted: ['app/not-listening'],
  cnis: everyCni,
  broken: (world) => [toService(world.pod('web', 'node1'), 'api', 80)],
  kept: (world) => [
    toService(world.pod('web', 'node1'), 'api', 81, { protocol: 'udp' }),
    across(world, 'node1', 'node2'),
  ],
  apply: async (world) => void (await target(world, 8888)),
  heal: async (world) => void (await target(world, 'http')),
};
