import { startAgent, stopAgent } from './agents.ts';
import { across, type ClusterFault, everyCni, toService, type World } from './fault.ts';

/** The database moves to another address: a node without kube-proxy goes on sending to the old one. */
async function moveDatabase({ cluster }: World): Promise<void> {
  await cluster.kubectlOut(['delete', 'pod', '--namespace=shop', '--selector=app=db', '--wait=true']);
  await cluster.kubectlOut(['rollout', 'status', '--namespace=shop', 'deployment/db', '--timeout=60s'], {
    timeoutMs: 70_000,
  });
}

export const kubeProxyStopped: ClusterFault = {
  name: 'kube-proxy-stopped',
  title: 'kube-proxy of one node has stopped, and an endpoint has moved since',
  cause: 'service/rules-stale',
  alsoAccepted: ['service/rules-missing', 'cni/agent-not-ready'],
  cnis: everyCni,
  broken: (world) => [toService(world.pod('api', 'node1'), 'db', 5432)],
  kept: (world) => [
    toService(world.pod('api', 'node3'), 'db', 5432),
    toService(world.pod('web', 'node1'), 'api', 80),
    across(world, 'node1', 'node2'),
  ],
  async apply(world) {
    await stopAgent(world, 'kube-proxy', 'node1');
    await moveDatabase(world);
  },
  heal: (world) => startAgent(world, 'kube-proxy', 'node1'),
};
