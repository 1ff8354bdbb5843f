/** Names and NetworkPolicies. */
import {
  byName,
  denies,
  emptySlices,
  node,
  policy,
  rejected,
  unready,
  unreadySlices,
} from './mutations-objects.ts';
import { both, type Mutation, viaService, webToApi } from './mutations-support.ts';

export const nameFaults: readonly Mutation[] = [
  {
    name: 'the DNS pods crash',
    on: both,
    apply: (at) => {
      at.objects('pods', (pod) => {
        if (pod.metadata.labels?.['k8s-app'] !== 'kube-dns') return;
        unready(pod, 'Running', 'CrashLoopBackOff');
        at.files.set(`nodes/${pod.spec.nodeName}/pods/kube-system_${pod.metadata.name}/ss.txt`, '');
      });
      unreadySlices(at, 'kube-dns');
      rejected(at, 'kube-system/kube-dns', '10.96.0.10');
    },
    flow: (at) => byName(at),
    causes: ['dns/coredns-down'],
  },
  {
    name: 'the DNS deployment has no pods',
    on: both,
    apply: (at) => {
      for (const path of [...at.files.keys()])
        if (path.includes('pods/kube-system_coredns')) at.files.delete(path);
      at.objects('pods', (pod) => pod.metadata.labels?.['k8s-app'] !== 'kube-dns');
      emptySlices(at, 'kube-dns');
      rejected(at, 'kube-system/kube-dns', '10.96.0.10');
    },
    flow: (at) => byName(at),
    causes: ['dns/coredns-down', 'dns/no-endpoints'],
  },
  {
    name: 'the DNS pods crash, asked at the Service',
    on: both,
    apply: (at) => {
      at.objects('pods', (pod) => {
        if (pod.metadata.labels?.['k8s-app'] === 'kube-dns') unready(pod, 'Running', 'CrashLoopBackOff');
      });
      unreadySlices(at, 'kube-dns');
      rejected(at, 'kube-system/kube-dns', '10.96.0.10');
    },
    flow: (at) => ({ src: at.id('web', 1), dst: 'kube-system/svc/kube-dns', port: 53, protocol: 'udp' }),
    causes: ['dns/coredns-down', 'dns/no-endpoints'],
  },
  {
    name: 'the DNS Service selects nobody',
    on: both,
    apply: (at) => {
      at.one('services', 'kube-system/kube-dns', (service) => {
        service.spec.selector = { 'k8s-app': 'core-dns' };
      });
      emptySlices(at, 'kube-dns');
      rejected(at, 'kube-system/kube-dns', '10.96.0.10');
    },
    flow: (at) => byName(at),
    causes: ['dns/no-endpoints', 'service/selector-mismatch'],
  },
  {
    name: 'the pod asks a nameserver that nobody is',
    on: both,
    apply: (at) => {
      at.one('pods', at.id('web', 1), (pod) => {
        pod.spec.dnsPolicy = 'None';
        pod.spec.dnsConfig = {
          nameservers: ['10.96.0.11'],
          searches: ['shop.svc.cluster.local', 'svc.cluster.local'],
        };
      });
    },
    flow: (at) => byName(at),
    causes: ['dns/pod-config-wrong'],
    works: (at) => [webToApi(at), byName(at, 2)],
    quiet: true,
  },
  {
    name: 'the pod’s resolv.conf names a dead nameserver',
    on: both,
    apply: (at) =>
      at.files.set(
        `${at.folder('web', 1)}/resolv.conf`,
        'nameserver 10.96.0.11\nsearch shop.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n',
      ),
    flow: (at) => byName(at),
    causes: ['dns/pod-config-wrong'],
    works: (at) => [webToApi(at), byName(at, 2)],
    quiet: true,
  },
  {
    name: 'the pod uses its node’s resolver',
    on: both,
    apply: (at) => {
      at.one('pods', at.id('web', 1), (pod) => {
        pod.spec.dnsPolicy = 'Default';
      });
    },
    flow: (at) => byName(at),
    causes: ['dns/pod-config-wrong'],
    works: (at) => [webToApi(at), byName(at, 2)],
    quiet: true,
  },
  {
    name: 'a name that no Service has',
    on: both,
    apply: () => {},
    flow: (at) => ({ src: at.id('web', 1), dst: 'apii.shop.svc.cluster.local', port: 80 }),
    causes: ['dns/name-wrong'],
    quiet: true,
  },
  {
    name: 'a short name of another namespace',
    on: both,
    apply: () => {},
    flow: (at) => ({ src: at.id('web', 1), dst: 'ledger', port: 9000 }),
    causes: ['namespace/short-name'],
    quiet: true,
  },
  {
    name: 'an egress policy forgets DNS',
    on: both,
    apply: (at) => {
      at.add(
        'networkpolicies.networking.k8s.io',
        policy('shop', 'web-egress', {
          podSelector: { matchLabels: { app: 'web' } },
          policyTypes: ['Egress'],
          egress: [{ to: [{ podSelector: { matchLabels: { app: 'api' } } }] }],
        }),
      );
      for (const n of [1, 2, 3]) denies(at, 'web', n, 'egress');
    },
    flow: (at) => byName(at),
    meets: 'timeout',
    causes: ['dns/blocked-by-policy'],
    works: (at) => [{ src: at.id('toolbox', 1), dst: at.id('api', 2), port: 8080 }],
  },
  {
    name: 'an egress policy admits nothing',
    on: both,
    apply: (at) => {
      at.add(
        'networkpolicies.networking.k8s.io',
        policy('shop', 'web-closed', {
          podSelector: { matchLabels: { app: 'web' } },
          policyTypes: ['Egress'],
        }),
      );
      for (const n of [1, 2, 3]) denies(at, 'web', n, 'egress');
    },
    flow: webToApi,
    meets: 'refused',
    causes: ['policy/denied-egress'],
    scanToo: ['dns/blocked-by-policy'],
    quiet: true,
    works: (at) => [{ src: at.id('toolbox', 1), dst: at.id('api', 2), port: 8080 }],
  },
  {
    name: 'an ingress policy admits another application only',
    on: both,
    apply: (at) => {
      at.add(
        'networkpolicies.networking.k8s.io',
        policy('shop', 'api-from-db', {
          podSelector: { matchLabels: { app: 'api' } },
          policyTypes: ['Ingress'],
          ingress: [{ from: [{ podSelector: { matchLabels: { app: 'db' } } }] }],
        }),
      );
      for (const n of [1, 2, 3]) denies(at, 'api', n, 'ingress');
    },
    flow: viaService,
    meets: 'refused',
    causes: ['policy/denied-ingress'],
    quiet: true,
    works: (at) => [{ src: at.id('web', 1), dst: at.id('ledger', 2), port: 9000 }],
  },
  {
    name: 'an ingress policy selects a label that no pod has',
    on: both,
    apply: (at) => {
      at.add(
        'networkpolicies.networking.k8s.io',
        policy('shop', 'api-from-wbe', {
          podSelector: { matchLabels: { app: 'api' } },
          policyTypes: ['Ingress'],
          ingress: [{ from: [{ podSelector: { matchLabels: { app: 'wbe' } } }] }],
        }),
      );
      for (const n of [1, 2, 3]) denies(at, 'api', n, 'ingress');
    },
    flow: webToApi,
    meets: 'refused',
    causes: ['policy/selector-matches-nothing'],
    works: (at) => [{ src: at.id('web', 1), dst: at.id('ledger', 2), port: 9000 }],
  },
  {
    name: 'a policy admits the Service’s port, not the container’s',
    on: both,
    apply: (at) => {
      at.add(
        'networkpolicies.networking.k8s.io',
        policy('shop', 'api-port', {
          podSelector: { matchLabels: { app: 'api' } },
          policyTypes: ['Ingress'],
          ingress: [
            {
              from: [{ podSelector: { matchLabels: { app: 'web' } } }],
              ports: [{ protocol: 'TCP', port: 80 }],
            },
          ],
        }),
      );
      for (const n of [1, 2, 3]) denies(at, 'api', n, 'ingress');
    },
    flow: viaService,
    meets: 'refused',
    causes: ['policy/service-port-not-target-port'],
    works: (at) => [{ src: at.id('web', 1), dst: at.id('ledger', 2), port: 9000 }],
  },
  {
    name: 'a policy names a port that no container declares',
    on: both,
    apply: (at) => {
      at.add(
        'networkpolicies.networking.k8s.io',
        policy('shop', 'api-named', {
          podSelector: { matchLabels: { app: 'api' } },
          policyTypes: ['Ingress'],
          ingress: [
            {
              from: [{ podSelector: { matchLabels: { app: 'web' } } }],
              ports: [{ protocol: 'TCP', port: 'https' }],
            },
          ],
        }),
      );
      for (const n of [1, 2, 3]) denies(at, 'api', n, 'ingress');
    },
    flow: webToApi,
    meets: 'refused',
    causes: ['policy/named-port-unresolved'],
    works: (at) => [{ src: at.id('web', 1), dst: at.id('ledger', 2), port: 9000 }],
  },
  {
    name: 'a policy selects a namespace by a label that it lacks',
    on: both,
    apply: (at) => {
      at.one('networkpolicies.networking.k8s.io', 'payments/ledger-from-shop', (object) => {
        object.spec.ingress = [
          {
            from: [
              {
                namespaceSelector: { matchLabels: { zone: 'front' } },
                podSelector: { matchLabels: { app: 'web' } },
              },
            ],
            ports: [{ port: 9000, protocol: 'TCP' }],
          },
        ];
      });
      at.text(`${node(3)}/ipset.txt`, (text) =>
        text
          .split('\n')
          .filter((line) => !line.startsWith('add KUBE-SRC-ARJP5S6KZQJ3WWML'))
          .join('\n'),
      );
    },
    flow: (at) => ({ src: at.id('web', 1), dst: at.id('ledger', 3), port: 9000 }),
    meets: 'refused',
    causes: ['namespace/label-missing'],
    scanToo: ['policy/selector-matches-nothing'],
    works: (at) => [webToApi(at)],
  },
];
