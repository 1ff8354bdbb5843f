/** The few ConfigMaps that say how the pod network, the proxy, DNS and meshes are set up. Each is asked for by name; no list is read. */
import type { Gap } from '../../model/gap.ts';
import { isObject, type JsonObject } from '../../parse/json.ts';
import type { Api } from './api.ts';
import type { Failure } from './failure.ts';
import { canI } from './kind-gaps.ts';
import { knownConfigMaps } from './kinds.ts';
import { configMap } from './shapes.ts';

export interface ConfigMaps {
  /** `cluster/configmaps.json`; undefined if not one could be asked for. */
  readonly text?: string;
  readonly gaps: readonly Gap[];
}

/** `placed`: namespaces by the name of a workload. */
export async function readConfigMaps(
  api: Api,
  placed: ReadonlyMap<string, ReadonlySet<string>>,
): Promise<ConfigMaps> {
  const wanted = knownConfigMaps.flatMap(({ name, namespaces, beside }) =>
    [...new Set([...namespaces, ...(placed.get(beside) ?? [])])].map((namespace) => ({ name, namespace })),
  );
  const answers = await Promise.all(
    wanted.map(async (one) => ({
      ...one,
      outcome: await api.get(`/api/v1/namespaces/${one.namespace}/configmaps/${one.name}`),
    })),
  );
  const items: JsonObject[] = [];
  const gaps: Gap[] = [];
  for (const { name, namespace, outcome } of answers) {
    if (outcome.ok) items.push(configMap(withoutBinary(outcome.value)));
    // Most clusters have only some of these systems.
    else if (outcome.failure.kind !== 'missing') gaps.push(gapOf(api, name, namespace, outcome.failure));
  }
  if (gaps.length === wanted.length) return { gaps: [allOf(api, gaps[0])] };
  const text = JSON.stringify({ kind: 'ConfigMapList', apiVersion: 'v1', metadata: {}, items }, null, 1);
  return { text: `${text}\n`, gaps };
}

const withoutBinary = ({ binaryData: _, ...rest }: JsonObject): JsonObject =>
  isObject(rest.data) ? rest : { ...rest, data: {} };

const gapOf = ({ connection }: Api, name: string, namespace: string, failure: Failure): Gap => ({
  what: `the ConfigMap ${namespace}/${name}, if there is one`,
  where: `cluster/configmaps.json: ${namespace}/${name}`,
  why: failure.message,
  todo: canI(connection, 'get', `configmaps/${name}`, { namespace }),
});

const allOf = ({ connection }: Api, first: Gap | undefined): Gap => ({
  what: 'the ConfigMaps of the pod network, the Service proxy and DNS',
  where: 'cluster/configmaps.json',
  why: `${first?.why ?? 'they could not be read'}; without them some CNIs are told by their devices only`,
  todo: `${canI(connection, 'get', 'configmaps', { namespace: 'kube-system' })}; podpath doctor --rbac prints the rights`,
});
