/** Which namespaces a question touches, judged by the objects alone: the rest of a large cluster need not be read. */
import { podNetnsId, World } from '../dataplane/world.ts';
import { orElse } from '../model/known.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { formatEndpoint, netnsIdOf } from './endpoint.ts';
import { askedFlows, type Question } from './question.ts';

/**
 * Ids of the pods' namespaces that the flows start in, end in, may be balanced to, or ask for names. `objects` is a
 * snapshot without any namespace. Nodes are not listed: packets that go astray may meet any of them.
 */
export function concernedPods(objects: Snapshot, question: Question): ReadonlySet<string> {
  const { flows } = askedFlows(objects, question);
  const wanted = new Set<string>();
  for (const flow of flows) {
    for (const end of [flow.src, flow.dst]) {
      const id = netnsIdOf(objects, end);
      if (id !== undefined) wanted.add(id);
      if (end.kind === 'service') for (const id of backendsOf(objects, formatEndpoint(end))) wanted.add(id);
    }
  }
  for (const id of backendsOf(objects, 'kube-system/svc/kube-dns')) wanted.add(id);
  return wanted;
}

/** Namespaces of the pods behind a Service, written `NS/svc/NAME`. */
function backendsOf(objects: Snapshot, service: string): string[] {
  const world = new World(objects);
  return orElse(objects.cluster.endpointSlices, [])
    .filter((slice) => `${slice.namespace}/svc/${slice.service}` === service)
    .flatMap((slice) => slice.endpoints.flatMap((endpoint) => endpoint.addresses))
    .flatMap((address) => world.owners(address))
    .flatMap(({ pod }) => (pod === undefined ? [] : [podNetnsId(pod.node, pod.namespace, pod.name)]));
}
