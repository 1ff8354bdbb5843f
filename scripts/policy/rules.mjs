// The rules of a made-up policy: what platform and application teams write, in about the shares in which they write it.

const dnsPorts = [
  { protocol: 'UDP', port: 53 },
  { protocol: 'TCP', port: 53 },
];

export function rulesFor(workload, around) {
  let at = around.random.below(total);
  for (const [weight, make] of kinds) {
    if (at < weight) return make(workload, around);
    at -= weight;
  }
  throw new Error('unreachable');
}

const ingress = (...rules) => ({ policyTypes: ['Ingress'], ingress: rules });
const egress = (...rules) => ({ policyTypes: ['Egress'], egress: rules });

/** By number, by name, or all. */
function portsOf(workload, random) {
  const http = workload.ports[0];
  if (random.chance(0.15)) return {};
  return {
    ports: [{ protocol: http.protocol, port: random.chance(0.2) ? http.name : http.containerPort }],
  };
}

const podsOf = (workload) => ({ podSelector: { matchLabels: workload.labels } });
const inNamespace = (name) => ({
  namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': name } },
});

const fromOwnApp = (workload, { random }) =>
  ingress({ from: [podsOf(random.pick(workload.namespace.workloads))], ...portsOf(workload, random) });

function toOwnApp(workload, { random }) {
  const other = random.pick(workload.namespace.workloads);
  return egress(
    { to: [podsOf(other)], ...portsOf(other, random) },
    { to: [{ ...inNamespace('kube-system'), podSelector: kubeDns }], ports: dnsPorts },
  );
}

const kubeDns = { matchLabels: { 'k8s-app': 'kube-dns' } };

function fromOtherNamespace(workload, { random, workloads }) {
  const other = random.pick(workloads);
  return ingress({
    from: [{ ...inNamespace(other.namespace.name), ...podsOf(other) }],
    ...portsOf(workload, random),
  });
}

const fromTeam = (workload, { random, namespaces }) =>
  ingress({
    from: [
      {
        namespaceSelector: { matchLabels: { team: random.pick(namespaces).labels.team } },
        podSelector: { matchLabels: { tier: 'frontend' } },
      },
    ],
    ...portsOf(workload, random),
  });

const scrapedByMonitoring = () =>
  ingress({
    from: [{ ...inNamespace('monitoring'), podSelector: { matchLabels: { app: 'prometheus' } } }],
    ports: [{ protocol: 'TCP', port: 'metrics' }],
  });

const dns = () => egress({ to: [{ ...inNamespace('kube-system'), podSelector: kubeDns }], ports: dnsPorts });

const fromIngress = (workload) =>
  ingress({
    from: [inNamespace('ingress')],
    ports: [{ protocol: 'TCP', port: workload.ports[0].containerPort }],
  });

/** Private ranges are the usual exception. */
function externalRanges(workload, { random }) {
  if (random.chance(0.5))
    return egress({
      to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'] } }],
      ports: [{ protocol: 'TCP', port: 443 }],
    });
  const base = `203.0.${random.below(64)}`;
  return ingress({
    from: [{ ipBlock: { cidr: `${base}.0/24`, except: [`${base}.${16 * random.below(16)}/28`] } }],
    ...portsOf(workload, random),
  });
}

const fromTiers = (workload, { random }) =>
  ingress({
    from: [
      {
        podSelector: {
          matchExpressions: [
            { key: 'tier', operator: random.chance(0.8) ? 'In' : 'NotIn', values: ['backend', 'batch'] },
          ],
        },
      },
    ],
    ...portsOf(workload, random),
  });

const portRange = (workload, { random }) =>
  ingress({
    from: [podsOf(random.pick(workload.namespace.workloads))],
    ports: [
      { protocol: random.pick(['TCP', 'UDP']), port: 30000, endPort: 30000 + 100 * (1 + random.below(9)) },
    ],
  });

const wholeNamespace = () => ingress({ from: [{ podSelector: {} }] });

/** [weight, what a policy for `workload` says: its directions with their rules]. */
const kinds = [
  [30, fromOwnApp],
  [12, toOwnApp],
  [10, fromOtherNamespace],
  [10, fromTeam],
  [9, scrapedByMonitoring],
  [8, dns],
  [6, fromIngress],
  [6, externalRanges],
  [4, fromTiers],
  [3, portRange],
  [2, wholeNamespace],
];
const total = kinds.reduce((sum, [weight]) => sum + weight, 0);
