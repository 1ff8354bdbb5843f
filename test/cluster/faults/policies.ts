/** NetworkPolicies that break something, in the namespace shop. */
import type { World } from './fault.ts';

export const addPolicy = ({ cluster }: World, name: string, spec: object): Promise<void> =>
  cluster.apply([
    {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name, namespace: 'shop' },
      spec,
    },
  ]);

export async function removePolicy({ cluster }: World, name: string): Promise<void> {
  await cluster.kubectlOut(['delete', 'networkpolicy', name, '--namespace=shop', '--ignore-not-found']);
}
