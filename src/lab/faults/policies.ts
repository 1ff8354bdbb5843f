/** NetworkPolicy objects of the lab, for the faults that change them. */
import type { Lab, RawObject } from '../lab.ts';
import { objectMeta } from '../object-meta.ts';

const plural = 'networkpolicies.networking.k8s.io';

export type Policy = RawObject & { readonly spec: unknown };

const is =
  (namespace: string, name: string) =>
  ({ metadata }: RawObject): boolean =>
    metadata.namespace === namespace && metadata.name === name;

export async function findPolicy(lab: Lab, namespace: string, name: string): Promise<Policy | undefined> {
  return (await lab.objects<Policy>(plural)).find(is(namespace, name));
}

/** Creates the policy or changes its spec, and has every node enforce it. */
export async function putPolicy(lab: Lab, namespace: string, name: string, spec: unknown): Promise<void> {
  const policies = await lab.objects<Policy>(plural);
  const fresh: Policy = {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'NetworkPolicy',
    metadata: objectMeta(lab.state, 'NetworkPolicy', { namespace, name }),
    spec,
  };
  const here = is(namespace, name);
  const changed = policies.map((policy) => (here(policy) ? { ...policy, spec } : policy));
  await lab.writeObjects(plural, policies.some(here) ? changed : [...policies, fresh]);
  await lab.syncPolicies();
}

export async function deletePolicy(lab: Lab, namespace: string, name: string): Promise<void> {
  const policies = await lab.objects<Policy>(plural);
  await lab.writeObjects(
    plural,
    policies.filter((policy) => !is(namespace, name)(policy)),
  );
  await lab.syncPolicies();
}
