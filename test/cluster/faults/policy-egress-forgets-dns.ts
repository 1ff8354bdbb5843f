import { across, type ClusterFault, everyCni, toService } from './fault.ts';
import { addPolicy, removePolicy } from './policies.ts';

const name = 'fault-egress';

export const policyEgressForgetsDns: ClusterFault = {
  name: 'policy-egress-forgets-dns',
  title: 'an egress policy allows the application, but not the name server',
  cause: 'dns/blocked-by-policy',
  alsoAccepted: ['policy/denied-egress'],
  cnis: everyCni,
  broken: (world) => [toService(world.pod('web', 'node1'), 'api', 80, { hostName: 'api' })],
  kept: (world) => [toService(world.pod('web', 'node1'), 'api', 80), across(world, 'node1', 'node2')],
  apply: (world) =>
    addPolicy(world, name, {
      podSelector: { matchLabels: { app: 'web' } },
      policyTypes: ['Egress'],
      egress: [{ to: [{ podSelector: { matchLabels: { app: 'api' } } }] }],
    }),
  heal: (world) => removePolicy(world, name),
};
