import type { Lab } from '../lab.ts';
import type { LabPod } from '../state.ts';
import { defineFault, everyCni } from './fault.ts';
import { across, far, near, podName, podOf, within } from './flows.ts';
import { findPolicy, putPolicy } from './policies.ts';

const [namespace, name] = ['payments', 'ledger-from-shop'] as const;

/** The selector names a label that somebody meant to put on the namespace; only kubernetes.io/metadata.name is there by itself. */
export const policyNamespaceLabel = defineFault({
  name: 'policy-namespace-label',
  title: 'a policy admits a namespace by a label that the namespace does not have',
  cause: 'namespace/label-missing',
  cnis: everyCni,
  repair:
    'Label the namespace (kubectl label namespace shop name=shop), or select it by kubernetes.io/metadata.name.',
  flow: (lab) => ({
    src: podName(podOf(lab, 'shop', 'web', near(lab))),
    dst: podName(distantLedger(lab)),
    port: 9000,
    protocol: 'tcp',
  }),
  works: (lab) => [...within(lab, near(lab)), ...across(lab, [near(lab), far(lab)])],
  capture: async (lab) => ({ spec: JSON.stringify((await findPolicy(lab, namespace, name))?.spec) }),
  break: (lab) =>
    putPolicy(lab, namespace, name, {
      podSelector: { matchLabels: { app: 'ledger' } },
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [
            {
              namespaceSelector: { matchLabels: { name: 'shop' } },
              podSelector: { matchLabels: { app: 'web' } },
            },
          ],
          ports: [{ protocol: 'TCP', port: 9000 }],
        },
      ],
    }),
  mend: (lab, { spec = '{}' }) => putPolicy(lab, namespace, name, JSON.parse(spec)),
});

/** A ledger pod on another node than the client's, where the lab has one. */
function distantLedger(lab: Lab): LabPod {
  const ledgers = lab.state.pods.filter(
    (pod) => pod.namespace === namespace && pod.name.startsWith('ledger-'),
  );
  return ledgers.find((pod) => pod.node !== near(lab).name) ?? podOf(lab, namespace, 'ledger');
}
