import { defineFault, everyCni } from './fault.ts';
import { far, near, podName, podOf, webToApi } from './flows.ts';
import { deletePolicy, putPolicy } from './policies.ts';

/** The first half of "default deny, then allow what is needed", without the second. */
export const policyDefaultDeny = defineFault({
  name: 'policy-default-deny',
  title: 'a default-deny policy isolates a namespace, and no policy admits the client',
  cause: 'policy/denied-ingress',
  cnis: everyCni,
  repair: 'Add a NetworkPolicy that admits the client to the port, or narrow the default-deny policy.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    // Other policies admit these two; policies add up.
    {
      src: podName(podOf(lab, 'shop', 'web')),
      dst: podName(podOf(lab, 'payments', 'ledger')),
      port: 9000,
      protocol: 'tcp',
    },
    {
      src: podName(podOf(lab, 'shop', 'api')),
      dst: podName(podOf(lab, 'shop', 'db')),
      port: 5432,
      protocol: 'tcp',
    },
  ],
  break: (lab) => putPolicy(lab, 'shop', 'default-deny', { podSelector: {}, policyTypes: ['Ingress'] }),
  mend: (lab) => deletePolicy(lab, 'shop', 'default-deny'),
});
