/** The flows that faults name, between the lab's default applications: web and api, one of each on every node. */
import { PodpathError } from '../../model/errors.ts';
import type { Lab } from '../lab.ts';
import type { LabNode, LabPod } from '../state.ts';
import type { FaultFlow } from './fault.ts';

/** Past what buffers on the way can hold: a transfer of this size stalls if full-size packets are lost. */
const largeBytes = 100_000;

/** The client's node of most faults. */
export const near = (lab: Lab): LabNode => nodeAt(lab, 0);
/** The server's node, where most faults sit. */
export const far = (lab: Lab): LabNode => nodeAt(lab, 1);
/** A node that most faults leave alone. */
export const third = (lab: Lab): LabNode | undefined => lab.state.nodes[2];

export function nodeAt(lab: Lab, index: number): LabNode {
  const node = lab.state.nodes[index];
  if (node !== undefined) return node;
  throw new PodpathError({
    code: 'lab/too-small',
    what: `lab ${lab.state.name} has no node ${index + 1}`,
    why: `it has ${lab.state.nodes.length}`,
    todo: 'build a lab of 3 nodes: podpath lab up',
  });
}

/** The first pod of an application of the namespace, on the node if one is given. Throws PodpathError if there is none. */
export function podOf(lab: Lab, namespace: string, app: string, node?: LabNode): LabPod {
  const pod = lab.state.pods.find(
    (candidate) =>
      candidate.namespace === namespace &&
      candidate.name.startsWith(`${app}-`) &&
      (node === undefined || candidate.node === node.name),
  );
  if (pod !== undefined) return pod;
  throw new PodpathError({
    code: 'lab/no-such-pod',
    what: `no pod ${namespace}/${app}-* ${node === undefined ? '' : `on ${node.name} `}in lab ${lab.state.name}`,
    why: 'the fault is about one of the default applications',
    todo: 'build a lab with the default applications: podpath lab up',
  });
}

export const podName = (pod: LabPod): string => `${pod.namespace}/${pod.name}`;

const http = (src: LabPod, dst: LabPod): FaultFlow => ({
  src: podName(src),
  dst: podName(dst),
  port: 8080,
  protocol: 'tcp',
});

/** web on one node asks api on another (or the same). */
export const webToApi = (lab: Lab, from: LabNode, to: LabNode): FaultFlow =>
  http(podOf(lab, 'shop', 'web', from), podOf(lab, 'shop', 'api', to));

/** The same by UDP. */
export const webToApiUdp = (lab: Lab, from: LabNode, to: LabNode): FaultFlow => ({
  ...webToApi(lab, from, to),
  port: 8081,
  protocol: 'udp',
});

export const large = (flow: FaultFlow): FaultFlow => ({ ...flow, sizeBytes: largeBytes });

/** Both ways between web and api of one node: no tunnel and no node route is in play. */
export const within = (lab: Lab, node: LabNode): FaultFlow[] => {
  const [web, api] = [podOf(lab, 'shop', 'web', node), podOf(lab, 'shop', 'api', node)];
  return [http(web, api), http(api, web)];
};

/** web of each listed pair asks api of the other end; nothing for nodes that the lab does not have. */
export const across = (
  lab: Lab,
  ...pairs: [from: LabNode | undefined, to: LabNode | undefined][]
): FaultFlow[] =>
  pairs.flatMap(([from, to]) => (from === undefined || to === undefined ? [] : [webToApi(lab, from, to)]));
