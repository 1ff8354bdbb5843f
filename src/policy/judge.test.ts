/** Kinds beside NetworkPolicy in the diagnosis' question; NetworkPolicy alone stays with the reference. */
import { describe, expect, it } from 'vitest';
import { clusterFrom } from '../../test/oracles/policy/world.ts';
import { cluster, namespace, pod, policy, selector } from '../../test/support/objects.ts';
import type { Cluster } from '../model/cluster.ts';
import { unknown } from '../model/known.ts';
import { address } from '../net/address.ts';
import { policyTitle } from './decision.ts';
import { judgePolicies } from './judge.ts';
import { decide } from './reference.ts';

const base = cluster({
  pods: [pod('shop/web', '10.1.0.1'), pod('shop/api', '10.2.0.1', { node: 'node2' })],
  namespaces: [namespace('shop')],
  networkPolicies: [
    policy('shop/allow-all', {
      podSelector: selector({ app: 'api' }),
      ingress: [{ field: 'spec.ingress[0]' }],
    }),
  ],
});
const at = (name: string, ip: string) =>
  ({ kind: 'pod', namespace: 'shop', name, address: address(ip) }) as const;
const query = {
  src: at('web', '10.1.0.1'),
  dst: at('api', '10.2.0.1'),
  protocol: 'tcp',
  dstPort: 8080,
} as const;

const lockdown = clusterFrom({
  'adminnetworkpolicies.policy.networking.k8s.io': [
    {
      kind: 'AdminNetworkPolicy',
      metadata: { name: 'lockdown' },
      spec: {
        priority: 1,
        subject: { namespaces: {} },
        ingress: [{ action: 'Deny', from: [{ namespaces: {} }] }],
      },
    },
  ],
});
const denyingCilium = clusterFrom({
  'ciliumnetworkpolicies.cilium.io': [
    {
      kind: 'CiliumNetworkPolicy',
      metadata: { name: 'no-web', namespace: 'shop' },
      spec: {
        endpointSelector: { matchLabels: { app: 'api' } },
        ingressDeny: [{ fromEndpoints: [{ matchLabels: { app: 'web' } }] }],
      },
    },
  ],
});

describe('judgePolicies', () => {
  it('NetworkPolicy alone is judged by the reference', () => {
    expect(judgePolicies(base, query)).toEqual(decide(base, query));
  });

  const cases: readonly (readonly [string, Cluster, title: string])[] = [
    [
      'an admin policy that denies',
      { ...base, adminPolicies: lockdown.adminPolicies },
      'AdminNetworkPolicy lockdown',
    ],
    ['a Cilium deny rule', { ...base, cilium: denyingCilium.cilium }, 'CiliumNetworkPolicy shop/no-web'],
  ];
  it.each(cases)('%s decides over an allowing NetworkPolicy, and is named', (_, world, title) => {
    const { verdict, egress, ingress } = judgePolicies(world, query);
    expect([verdict, egress.verdict, ingress.verdict]).toEqual(['deny', 'allow', 'deny']);
    expect(ingress.isolatingPolicies.map(policyTitle)).toEqual([title]);
    expect(ingress.decidedBy).toContain(title);
  });

  it('a kind that could not be read makes the verdict unknown', () => {
    const { verdict } = judgePolicies({ ...base, adminPolicies: unknown('not permitted') }, query);
    expect(verdict).toBe('unknown');
  });
});
