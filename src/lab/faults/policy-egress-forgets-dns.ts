import { defineFault, everyCni } from './fault.ts';
import { far, near, podName, podOf, webToApi } from './flows.ts';
import { deletePolicy, putPolicy } from './policies.ts';

/** The client may reach the server, and not the name server that would tell it where the server is. */
export const policyEgressForgetsDns = defineFault({
  name: 'policy-egress-forgets-dns',
  title: 'an egress policy admits the server and forgets DNS',
  cause: 'dns/blocked-by-policy',
  cnis: everyCni,
  repair: 'Add an egress rule for UDP and TCP port 53 to the kube-dns pods of namespace kube-system.',
  flow: (lab) => ({
    src: podName(podOf(lab, 'shop', 'web', near(lab))),
    dst: 'shop/svc/api',
    port: 80,
    protocol: 'tcp',
    hostName: 'api.shop.svc.cluster.local',
  }),
  works: (lab) => [
    webToApi(lab, near(lab), far(lab)),
    webToApi(lab, near(lab), near(lab)),
    { ...webToApi(lab, near(lab), far(lab)), src: podName(podOf(lab, 'shop', 'api', near(lab))) },
  ],
  break: (lab) =>
    putPolicy(lab, 'shop', 'web-egress', {
      podSelector: { matchLabels: { app: 'web' } },
      policyTypes: ['Egress'],
      egress: [
        { to: [{ podSelector: { matchLabels: { app: 'api' } } }], ports: [{ protocol: 'TCP', port: 8080 }] },
      ],
    }),
  mend: (lab) => deletePolicy(lab, 'shop', 'web-egress'),
});
