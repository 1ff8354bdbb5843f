import { across, type ClusterFault, everyCni, toPod, toService } from './fault.ts';
import { addPolicy, removePolicy } from './policies.ts';

const name = 'fault-default-deny';

export const policyDefaultDeny: ClusterFault = {
  name: 'policy-default-deny',
  title: 'a default deny arrives without the policy that would allow what is needed',
  cause: 'policy/denied-ingress',
  alsoAccepted: [],
  cnis: everyCni,
  broken: (world) => [
    across(world, 'node1', 'node2'),
    toService(world.pod('web', 'node2'), 'api', 81, { protocol: 'udp' }),
  ],
  kept: (world) => [
    toPod(world.pod('web', 'node1'), world.pod('ledger'), { port: 9000 }),
    // Another policy allows it.
    toService(world.pod('api', 'node1'), 'db', 5432),
  ],
  apply: (world) => addPolicy(world, name, { podSelector: {}, policyTypes: ['Ingress'] }),
  heal: (world) => removePolicy(world, name),
};
