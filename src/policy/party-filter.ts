/** Words for parties: `shop`, `shop/web`, `web`, `10.0.0.0/8`, `external`, `ingress-controller`. */
import type { Cluster, Pod } from '../model/cluster.ts';
import { type Party, partyText } from '../model/connectivity.ts';
import { orElse } from '../model/known.ts';
import { overlaps, parsePrefix } from '../net/prefix.ts';
import { type WorkloadName, workloadNames } from './workload.ts';

/**
 * Undefined where the word names nobody. A word that a namespace and a workload share means both; a pod's name means its workload too,
 * for that is what it is listed as.
 */
export function partyFilter(cluster: Cluster, word: string): ((party: Party) => boolean) | undefined {
  if (word === 'external') return (party) => 'cidr' in party;
  if (word === 'ingress-controller')
    return (party) => !('cidr' in party) && party.kind === 'IngressController';
  const workloadOf = workloadNames(cluster);
  const namesOf = (pod: Pod): string[] => namesAs(pod, workloadOf(pod));
  const prefix = parsePrefix(word);
  if (prefix !== undefined) {
    const names = new Set(
      orElse(cluster.pods, [])
        .filter((pod) =>
          pod.addresses.some(({ family, value }) =>
            overlaps(prefix, { family, value, length: family === 4 ? 32 : 128 }),
          ),
        )
        .flatMap(namesOf),
    );
    return (party) => {
      if (!('cidr' in party)) return names.has(partyText(party));
      const own = parsePrefix(party.cidr);
      return own !== undefined && overlaps(own, prefix);
    };
  }
  const match = /^(?:([^/]+)\/)?([^/[]*)(?:\[(\w+)\])?$/.exec(word);
  if (match === null) return undefined;
  const [, namespace, name = '', kind] = match;
  const names = new Set<string>();
  for (const pod of orElse(cluster.pods, [])) {
    if (namespace !== undefined && pod.namespace !== namespace) continue;
    const wholeNamespace =
      namespace === undefined ? pod.namespace === name && kind === undefined : name === '' || name === '*';
    const named =
      (pod.name === name && (kind === undefined || kind === 'Pod')) ||
      [workloadOf(pod), pod.owner].some(
        (owner) => owner?.name === name && (kind === undefined || kind === owner.kind),
      );
    if (wholeNamespace || named) for (const one of namesOf(pod)) names.add(one);
  }
  return names.size === 0 ? undefined : (party) => names.has(partyText(party));
}

/** As itself and as its workload: which of them is listed depends on the verdicts. */
const namesAs = ({ namespace, name }: Pod, workload: WorkloadName | undefined): string[] => [
  partyText({ namespace, name, kind: 'Pod' }),
  ...(workload === undefined ? [] : [partyText({ namespace, ...workload })]),
];
