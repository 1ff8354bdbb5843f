/** Stopping an agent of the cluster on one node: its DaemonSet keeps away from nodes that say so (manifests/meta.ts). */
import { agentSwitch } from '../manifests/meta.ts';
import { until } from '../wait.ts';
import type { World } from './fault.ts';

/** Waits until the agent's pod is gone from the node. */
export async function stopAgent({ cluster }: World, agent: string, node: string): Promise<void> {
  await cluster.kubectlOut(['label', 'node', node, '--overwrite', `${agentSwitch(agent)}=off`]);
  await until(`${agent} is gone from ${node}`, 60_000, 250, async () => {
    const pods = await cluster.list('pods');
    const left = pods.some(
      ({ metadata, spec }) => metadata.labels?.['k8s-app'] === agent && spec.nodeName === node,
    );
    return left ? undefined : true;
  });
}

export async function startAgent({ cluster }: World, agent: string, node: string): Promise<void> {
  await cluster.kubectlOut(['label', 'node', node, `${agentSwitch(agent)}-`]);
  await cluster.untilReady();
}
