/** Each node's CNI agent keeps its routes, devices and rules: where it is down, they go stale. */
import type { Pod } from '../model/cluster.ts';
import { objectRef } from '../model/source.ts';
import { declared, defineCheck, nodeSubject, podSubject } from './check.ts';

export const cniAgent = defineCheck({
  id: 'cni-agent',
  title: 'The pod network’s agent runs on every node',
  causes: ['cni/agent-not-ready'],
  run: ({ snapshot, need, cni }) => {
    const detected = need(cni);
    const pods = need(snapshot.cluster.pods);
    const nodes = need(snapshot.cluster.nodes);
    if (detected === undefined || pods === undefined || nodes === undefined) return [];
    const agents = pods.filter(
      (pod) => detected.cni.isAgent(pod) && pod.phase !== 'Succeeded' && pod.phase !== 'Failed',
    );
    // No agent anywhere: the network is made by other means (a static lab, an agent outside Kubernetes).
    if (agents.length === 0) return [];
    return nodes.flatMap((node) => {
      const own = agents.filter((pod) => pod.node === node.name);
      const [first] = own;
      if (own.some((pod) => pod.ready)) return [];
      return [
        {
          cause: 'cni/agent-not-ready' as const,
          severity: 'error' as const,
          subject: first === undefined ? nodeSubject(node.name) : podSubject(first),
          concerns: [nodeSubject(node.name)],
          statement:
            first === undefined
              ? `${node.name} has no ${detected.cni.name} agent`
              : `the ${detected.cni.name} agent of ${node.name} is not ready`,
          evidence: own.map((pod) =>
            declared(describe(pod), objectRef('Pod', pod.namespace, pod.name, 'status')),
          ),
        },
      ];
    });
  },
});

function describe(pod: Pod): string {
  const waiting = pod.containers.find((container) => container.waiting !== undefined);
  const restarts = pod.containers.reduce((sum, container) => sum + container.restarts, 0);
  return `${pod.namespace}/${pod.name} is ${pod.phase}, not ready${waiting === undefined ? '' : `: ${waiting.waiting}`}, ${restarts} restarts`;
}
