import { stopDaemonIn } from '../machine.ts';
import { startKubelet } from '../node.ts';
import { until } from '../wait.ts';
import { across, type ClusterFault, everyCni, toService } from './fault.ts';

export const kubeletStopped: ClusterFault = {
  name: 'kubelet-stopped',
  title: 'the kubelet of a node has stopped: its pods run on, but count as not ready',
  cause: 'node/not-ready',
  alsoAccepted: ['service/not-ready', 'service/no-endpoints'],
  cnis: everyCni,
  // The database's only endpoint is on node2.
  broken: (world) => [toService(world.pod('api', 'node1'), 'db', 5432)],
  kept: (world) => [
    toService(world.pod('web', 'node1'), 'api', 80),
    across(world, 'node1', 'node2'),
    across(world, 'node3', 'node2'),
  ],
  async apply({ cluster }) {
    await stopDaemonIn(cluster.plan, cluster.machine('node2'), 'kubelet');
    await until('node2 is not ready', 90_000, 500, async () => {
      const lacks = await cluster.unready();
      return lacks.includes('Node node2') ? true : undefined;
    });
  },
  async heal({ cluster }) {
    const node = cluster.machine('node2');
    await stopDaemonIn(cluster.plan, node, 'kubelet');
    await startKubelet(cluster.plan, node, cluster.binaries);
    await cluster.untilReady();
  },
};
