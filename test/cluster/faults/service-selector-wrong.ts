import { across, type ClusterFault, everyCni, toService, type World } from './fault.ts';

const select = ({ cluster }: World, app: string) =>
  cluster.kubectlOut([
    ...['patch', 'service', 'api', '--namespace=shop'],
    `--patch=${JSON.stringify({ spec: { selector: { app } } })}`,
  ]);

export const serviceSelectorWrong: ClusterFault = {
  name: 'service-selector-wrong',
  title: 'the selector of a Service has a spelling mistake',
  cause: 'service/selector-mismatch',
  alsoAccepted: ['service/no-endpoints'],
  cnis: everyCni,
  broken: (world) => [
    toService(world.pod('web', 'node1'), 'api', 80),
    toService(world.pod('web', 'node2'), 'api', 81, { protocol: 'udp' }),
  ],
  kept: (world) => [across(world, 'node1', 'node2'), toService(world.pod('api', 'node1'), 'db', 5432)],
  apply: async (world) => void (await select(world, 'appi')),
  heal: async (world) => void (await select(world, 'api')),
};
