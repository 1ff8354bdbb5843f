/** Every check on a small healthy cluster with one thing broken: exactly the expected causes, and nothing else is accused. */
import { describe, expect, it } from 'vitest';
import {
  ipBlock,
  namespace,
  node,
  type PartialRule,
  pod,
  podsPeer,
  policy,
  rules,
  selector,
  service,
} from '../../test/support/objects.ts';
import {
  api,
  type Change,
  dnsPod,
  fdbEntry,
  filter,
  healthyObjects,
  kubeProxyNat,
  listener,
  makeSnapshot,
  neighbour,
  route,
  ruleset,
  vtepMacOf,
  web,
} from '../../test/support/snapshot.ts';
import { type Known, known, mapKnown, unknown } from '../model/known.ts';
import type { Device, Netns } from '../model/netns.ts';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { checks } from './registry.ts';
import { runChecks } from './run.ts';

const where = <T>(fact: Known<readonly T[]>, keep: (item: T) => boolean) =>
  mapKnown(fact, (list) => list.filter(keep));
const plus = <T>(fact: Known<readonly T[]>, ...more: T[]) => mapKnown(fact, (list) => [...list, ...more]);
const editDevice = (name: string, more: Partial<Device>) => (n: Netns) => ({
  devices: mapKnown(n.devices, (list) => list.map((d) => (d.name === name ? { ...d, ...more } : d))),
});
const editRoute =
  (dst: string, ...replacement: ReturnType<typeof route>[]) =>
  (n: Netns) => ({
    routes: mapKnown(n.routes, (list) => [
      ...list.filter(
        (r) => r.table !== 'main' || r.dst.value !== prefix(dst).value || r.dst.length !== prefix(dst).length,
      ),
      ...replacement,
    ]),
  });
const sysctl = (key: string, value: string) => (n: Netns) => ({
  sysctls: mapKnown(n.sysctls, (map) => new Map([...map, [key, value]])),
});
const rulesText =
  (...texts: string[]) =>
  () => ({ rulesets: known(texts.map((text) => ruleset(text))) });
const objects = healthyObjects();
const nodes = objects.nodes ?? [];
const vxlan = { kind: 'vxlan', vni: 1, port: 8472, learning: false, df: 'unset', external: false } as const;
const without = <T extends { readonly name: string }>(list: readonly T[] | undefined, name: string) =>
  (list ?? []).filter((item) => item.name !== name);
const onApi = (...list: PartialRule[]) =>
  policy('shop/p', { podSelector: selector({ app: 'api' }), ingress: rules('ingress', ...list) });

const raw = (...lines: string[]): string =>
  ['*raw', ':PREROUTING ACCEPT [0:0]', ':OUTPUT ACCEPT [0:0]', ...lines, 'COMMIT', ''].join('\n');

const broken: readonly [title: string, causes: readonly string[], subject: string, change: Change][] = [
  [
    'tunnel device gone',
    ['overlay/device-missing'],
    'node2/flannel.1',
    {
      netns: {
        node2: (n) => ({
          devices: where(n.devices, (d) => d.name !== 'flannel.1'),
          routes: where(n.routes, (r) => r.nexthops[0]?.device !== 'flannel.1'),
          neighbours: where(n.neighbours, (e) => e.device !== 'flannel.1'),
          fdb: known([]),
        }),
      },
    },
  ],
  [
    'tunnel device down',
    ['overlay/device-down'],
    'node2/flannel.1',
    {
      netns: {
        node2: (n) => ({
          ...editDevice('flannel.1', { up: false, carrier: false })(n),
          routes: where(n.routes, (r) => r.nexthops[0]?.device !== 'flannel.1'),
        }),
      },
    },
  ],
  [
    'VNI differs',
    ['overlay/parameters-differ'],
    'node3/flannel.1',
    { netns: { node3: editDevice('flannel.1', { tunnel: { ...vxlan, vni: 7 } }) } },
  ],
  [
    'tunnel port differs',
    ['overlay/parameters-differ'],
    'node3/flannel.1',
    { netns: { node3: editDevice('flannel.1', { tunnel: { ...vxlan, port: 8473 } }) } },
  ],
  [
    'VTEP MAC changed',
    ['overlay/vtep-mac-mismatch'],
    'node2/flannel.1',
    { netns: { node2: editDevice('flannel.1', { mac: '02:aa:aa:aa:aa:aa' }) } },
  ],
  [
    'one peer remembers a wrong MAC',
    ['overlay/vtep-mac-mismatch'],
    'node1/flannel.1',
    {
      netns: {
        node1: (n) => ({
          neighbours: plus(
            where(n.neighbours, (e) => e.mac !== vtepMacOf(2)),
            neighbour('10.244.2.0', 'flannel.1', '02:aa:aa:aa:aa:aa', 'PERMANENT'),
          ),
          fdb: plus(n.fdb, fdbEntry('02:aa:aa:aa:aa:aa', '10.0.0.2')),
        }),
      },
    },
  ],
  [
    'FDB entry gone',
    ['overlay/fdb-missing'],
    'node1/flannel.1',
    { netns: { node1: (n) => ({ fdb: where(n.fdb, (e) => e.mac !== vtepMacOf(2)) }) } },
  ],
  [
    'FDB entry to another node',
    ['overlay/fdb-wrong'],
    'node1/flannel.1',
    {
      netns: {
        node1: (n) => ({
          fdb: plus(
            where(n.fdb, (e) => e.mac !== vtepMacOf(2)),
            fdbEntry(vtepMacOf(2), '10.0.0.3'),
          ),
        }),
      },
    },
  ],
  [
    'tunnel port dropped on arrival',
    ['overlay/port-blocked'],
    'node2',
    {
      netns: {
        node2: rulesText(filter('ACCEPT', '-A INPUT -p udp -m udp --dport 8472 -j DROP') + kubeProxyNat),
      },
    },
  ],
  [
    'tunnel port dropped on sending',
    ['overlay/port-blocked'],
    'node2',
    {
      netns: {
        node2: rulesText(filter('ACCEPT', '-A OUTPUT -p udp -m udp --dport 8472 -j REJECT') + kubeProxyNat),
      },
    },
  ],
  ['route gone', ['route/missing'], 'node1', { netns: { node1: editRoute('10.244.2.0/24') } }],
  [
    'route to a wrong node',
    ['route/wrong-next-hop'],
    'node1',
    { netns: { node1: editRoute('10.244.2.0/24', route('10.244.2.0/24', 'flannel.1', '10.244.3.0')) } },
  ],
  [
    'route into the own bridge',
    ['route/wrong-next-hop'],
    'node1',
    { netns: { node1: editRoute('10.244.2.0/24', route('10.244.2.0/24', 'cni0')) } },
  ],
  [
    'a narrower route shadows',
    ['route/shadowed'],
    'node1',
    {
      netns: {
        node1: (n) => ({ routes: plus(n.routes, route('10.244.2.2/32', 'flannel.1', '10.244.3.0')) }),
      },
    },
  ],
  [
    'blackhole route',
    ['route/blackhole'],
    'node1',
    {
      netns: {
        node1: editRoute(
          '10.244.2.0/24',
          route('10.244.2.0/24', undefined, undefined, { type: 'blackhole' }),
        ),
      },
    },
  ],
  [
    'forwarding off',
    ['route/ip-forward-off'],
    'node2',
    { netns: { node2: sysctl('net.ipv4.ip_forward', '0') } },
  ],
  [
    'forwarding off on one device',
    ['route/ip-forward-off'],
    'node2/cni0',
    { netns: { node2: sysctl('net.ipv4.conf.cni0.forwarding', '0') } },
  ],
  [
    'strict reverse path over an asymmetric route',
    ['route/rp-filter'],
    'node2/flannel.1',
    {
      netns: {
        node2: (n) => ({
          ...sysctl('net.ipv4.conf.flannel/1.rp_filter', '1')(n),
          ...editRoute('10.244.1.0/24', route('10.244.1.0/24', 'eth0', '10.0.0.1'))(n),
        }),
      },
    },
  ],
  [
    'a peer does not answer',
    ['route/neighbour-failed'],
    'node1/eth0',
    {
      netns: {
        node1: (n) => ({
          neighbours: plus(
            where(n.neighbours, (e) => e.address.value !== address('10.0.0.2').value),
            neighbour('10.0.0.2', 'eth0', undefined, 'FAILED'),
          ),
        }),
      },
    },
  ],
  [
    'FORWARD policy DROP',
    ['netfilter/forward-drop'],
    'node2',
    {
      netns: {
        node2: rulesText(
          filter('DROP', '-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT') + kubeProxyNat,
        ),
      },
    },
  ],
  [
    'a rule drops everything',
    ['netfilter/forward-drop'],
    'node2',
    { netns: { node2: rulesText(filter('ACCEPT', '-A FORWARD -j DROP') + kubeProxyNat) } },
  ],
  [
    'a foreign rule drops a port',
    ['netfilter/foreign-rule'],
    'node2',
    {
      netns: {
        node2: rulesText(
          raw('-A PREROUTING -p tcp -m tcp --dport 8080 -j DROP'),
          filter('ACCEPT') + kubeProxyNat,
        ),
      },
    },
  ],
  [
    'both backends hold rules',
    ['netfilter/mixed-backends'],
    'node2',
    {
      netns: {
        node2: (n) => ({
          rulesets: plus(n.rulesets, ruleset(filter('ACCEPT', '-A INPUT -i lo -j ACCEPT'), 'legacy')),
        }),
      },
    },
  ],
  [
    'tunnel MTU too large',
    ['mtu/too-large-for-overlay'],
    'node1/flannel.1',
    {
      netns: Object.fromEntries(
        ['node1', 'node2', 'node3'].map((id) => [id, editDevice('flannel.1', { mtuBytes: 1500 })]),
      ),
    },
  ],
  [
    'one tunnel MTU smaller',
    ['mtu/differs-between-nodes'],
    'node2/flannel.1',
    { netns: { node2: editDevice('flannel.1', { mtuBytes: 1400 }) } },
  ],
  [
    'fragmentation needed is filtered',
    ['mtu/pmtud-blackhole'],
    'node1',
    {
      netns: {
        'node1/shop_web': editDevice('eth0', { mtuBytes: 1500 }),
        node1: rulesText(
          filter('ACCEPT', '-A OUTPUT -p icmp -m icmp --icmp-type 3/4 -j DROP') + kubeProxyNat,
        ),
      },
    },
  ],
  [
    'conntrack nearly full',
    ['conntrack/table-full'],
    'node2',
    {
      netns: {
        node2: (n) => ({
          sysctls: mapKnown(
            n.sysctls,
            (m) =>
              new Map([
                ...m,
                ['net.netfilter.nf_conntrack_count', '999'],
                ['net.netfilter.nf_conntrack_max', '1000'],
              ]),
          ),
        }),
      },
    },
  ],
  [
    'two nodes share a pod CIDR',
    ['cidr/duplicate-pod-cidr'],
    'node3',
    {
      cluster: {
        nodes: [...without(nodes, 'node3'), node('node3', '10.0.0.3', '10.244.2.0/24')],
        pods: [web, api, dnsPod],
      },
    },
  ],
  [
    'pod CIDR over the node network',
    ['cidr/overlaps-node-network', 'cidr/pod-outside-node-cidr'],
    'node4',
    {
      cluster: {
        nodes: [...nodes, node('node4', '10.0.1.4', '10.0.0.128/25')],
        pods: [web, api, dnsPod, pod('shop/x', '10.244.9.9', { node: 'node4' })],
      },
    },
  ],
  [
    'two pods, one address',
    ['cidr/duplicate-pod-ip'],
    'shop/twin',
    {
      cluster: { pods: [web, api, dnsPod, pod('shop/twin', '10.244.1.2', { node: 'node1' })] },
    },
  ],
  [
    'namespace label missing',
    ['namespace/label-missing'],
    'shop/p',
    { cluster: { networkPolicies: [onApi({ peers: [podsPeer(undefined, selector({ name: 'ops' }))] })] } },
  ],
  [
    'peer selects no pod',
    ['policy/selector-matches-nothing'],
    'shop/p',
    { cluster: { networkPolicies: [onApi({ peers: [podsPeer(selector({ app: 'wep' }))] })] } },
  ],
  [
    'policy names the Service port',
    ['policy/service-port-not-target-port'],
    'shop/p',
    { cluster: { networkPolicies: [onApi({ ports: [{ protocol: 'TCP', port: 80 }] })] } },
  ],
  [
    'named port unresolved',
    ['policy/named-port-unresolved'],
    'shop/p',
    { cluster: { networkPolicies: [onApi({ ports: [{ protocol: 'TCP', port: 'grpc' }] })] } },
  ],
  [
    'egress forgets DNS',
    ['dns/blocked-by-policy'],
    'shop/e',
    {
      cluster: {
        networkPolicies: [
          policy('shop/e', {
            podSelector: selector({ app: 'web' }),
            egress: rules('egress', { peers: [podsPeer(selector({ app: 'api' }))] }),
          }),
        ],
      },
    },
  ],
  [
    'Service selector mistyped',
    ['service/selector-mismatch'],
    'shop/api',
    {
      cluster: {
        services: [
          ...without(objects.services, 'api'),
          service('shop/api', '10.96.0.20', { selector: { app: 'apii' } }),
        ],
        endpointSlices: without(objects.endpointSlices, 'api-1'),
      },
    },
  ],
  [
    'Service selects nobody',
    ['service/no-endpoints'],
    'shop/db',
    { cluster: { services: [...(objects.services ?? []), service('shop/db', '10.96.0.30')] } },
  ],
  [
    'pods not ready',
    ['service/not-ready'],
    'shop/db',
    {
      cluster: {
        services: [...(objects.services ?? []), service('shop/db', '10.96.0.30')],
        pods: [web, api, dnsPod, pod('shop/db', '10.244.1.5', { ready: false })],
      },
    },
  ],
  [
    'target port name unknown',
    ['service/target-port-wrong'],
    'shop/api',
    {
      cluster: {
        services: [
          ...without(objects.services, 'api'),
          service('shop/api', '10.96.0.20', {
            ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 'web' }],
          }),
        ],
      },
    },
  ],
  [
    'target port not served',
    ['service/target-port-wrong'],
    'shop/api',
    {
      cluster: {
        services: [
          ...without(objects.services, 'api'),
          service('shop/api', '10.96.0.20', {
            ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 8888 }],
          }),
        ],
      },
    },
  ],
  [
    'Service rules missing',
    ['service/rules-missing'],
    'node1',
    {
      netns: { node1: rulesText(filter('ACCEPT') + kubeProxyNat.replace('10.96.0.20', '10.96.0.99')) },
    },
  ],
  [
    'Service rules stale',
    ['service/rules-stale'],
    'node1',
    { netns: { node1: rulesText(filter('ACCEPT') + kubeProxyNat.replace('10.244.2.2', '10.244.2.9')) } },
  ],
  [
    'loopback only',
    ['app/loopback-only'],
    'shop/api',
    { netns: { 'node2/shop_api': () => ({ sockets: known([listener(8080, '127.0.0.1')]) }) } },
  ],
  [
    'nothing listens',
    ['app/not-listening'],
    'shop/api',
    { netns: { 'node2/shop_api': () => ({ sockets: known([]) }) } },
  ],
  [
    'DNS pods down',
    ['dns/coredns-down'],
    'kube-system/kube-dns',
    { cluster: { pods: [web, api, { ...dnsPod, ready: false }] } },
  ],
  [
    'DNS without endpoints',
    ['dns/no-endpoints'],
    'kube-system/kube-dns',
    { cluster: { endpointSlices: without(objects.endpointSlices, 'kube-dns-1') } },
  ],
  [
    'node not ready',
    ['node/not-ready'],
    'node2',
    {
      cluster: {
        nodes: nodes.map((n) =>
          n.name === 'node2'
            ? { ...n, conditions: { Ready: { status: 'Unknown', reason: 'NodeStatusUnknown', message: '' } } }
            : n,
        ),
      },
    },
  ],
  [
    'network unavailable',
    ['node/network-unavailable'],
    'node2',
    {
      cluster: {
        nodes: nodes.map((n) =>
          n.name === 'node2'
            ? {
                ...n,
                conditions: {
                  ...n.conditions,
                  NetworkUnavailable: { status: 'True', reason: 'NoRouteCreated', message: '' },
                },
              }
            : n,
        ),
      },
    },
  ],
  [
    'agent crash-loops',
    ['cni/agent-not-ready'],
    'kube-system/agent2',
    {
      cluster: {
        pods: [
          web,
          api,
          dnsPod,
          ...[1, 2, 3].map((i) =>
            pod(`kube-system/agent${i}`, `10.0.0.${i}`, {
              node: `node${i}`,
              hostNetwork: true,
              ready: i !== 2,
              labels: { app: 'flannel' },
            }),
          ),
        ],
      },
    },
  ],
];

describe('one thing broken', () => {
  it.each(broken)('%s', (_, causes, subject, change) => {
    const { findings } = runChecks(makeSnapshot(change));
    expect([...new Set(findings.map((f) => f.cause))].toSorted()).toEqual([...causes].toSorted());
    expect(findings.map((f) => f.subject.name)).toContain(subject);
    for (const finding of findings) {
      expect(finding.evidence.length, finding.statement).toBeGreaterThan(0);
      expect(checks.find((check) => check.id === finding.check)?.causes).toContain(finding.cause);
    }
  });
});

const healthy: readonly [string, Change][] = [
  ['as it is', {}],
  [
    'default deny on purpose',
    { cluster: { networkPolicies: [policy('shop/deny', { ingress: [], egress: [] })] } },
  ],
  [
    'policies that admit what they should',
    {
      cluster: {
        networkPolicies: [
          onApi({
            peers: [podsPeer(undefined, selector({ 'kubernetes.io/metadata.name': 'shop' }))],
            ports: [{ protocol: 'TCP', port: 'http' }],
          }),
          policy('shop/out', { egress: rules('egress', { peers: [ipBlock('10.244.0.0/16')] }) }),
        ],
      },
    },
  ],
  [
    'a namespace that nobody selects',
    { cluster: { namespaces: [...(objects.namespaces ?? []), namespace('idle')] } },
  ],
  [
    'finished pods may leave their address to others',
    { cluster: { pods: [web, api, dnsPod, pod('shop/job', '10.244.1.2', { phase: 'Succeeded' })] } },
  ],
  [
    'hostNetwork pods share their node’s address',
    {
      cluster: {
        pods: [
          web,
          api,
          dnsPod,
          ...['a', 'b'].map((x) => pod(`ops/${x}`, '10.0.0.1', { hostNetwork: true })),
        ],
      },
    },
  ],
  ['a loose reverse path', { netns: { node2: sysctl('net.ipv4.conf.all.rp_filter', '2') } }],
  ['strict reverse path, symmetric routes', { netns: { node2: sysctl('net.ipv4.conf.all.rp_filter', '1') } }],
  [
    'legacy backend listed but empty',
    { netns: { node2: (n) => ({ rulesets: plus(n.rulesets, ruleset(filter('ACCEPT'), 'legacy')) }) } },
  ],
  [
    'kube-proxy drops invalid packets',
    {
      netns: {
        node2: rulesText(
          filter('ACCEPT', '-A FORWARD -m conntrack --ctstate INVALID -j DROP') + kubeProxyNat,
        ),
      },
    },
  ],
  [
    'FORWARD policy DROP with a rule for pods',
    { netns: { node2: rulesText(filter('DROP', '-A FORWARD -s 10.244.0.0/16 -j ACCEPT') + kubeProxyNat) } },
  ],
  [
    'a foreign rule on a device that is not there',
    {
      netns: {
        node2: rulesText(
          filter('ACCEPT', '-A FORWARD -i docker0 -p tcp -m tcp --dport 8080 -j DROP') + kubeProxyNat,
        ),
      },
    },
  ],
  [
    'a larger underlay',
    { netns: Object.fromEntries([1, 2, 3].map((n) => [`node${n}`, editDevice('eth0', { mtuBytes: 9000 })])) },
  ],
];

describe('no false alarm', () => {
  it.each(healthy)('%s', (_, change) => {
    expect(runChecks(makeSnapshot(change)).findings).toEqual([]);
  });
});

describe('what is not known', () => {
  it('is never a finding: it is noted', () => {
    const blind = Object.fromEntries(
      ['node1', 'node2', 'node3', 'node2/shop_api'].map((id) => [
        id,
        () => ({
          devices: unknown('no devices'),
          routes: unknown('no routes'),
          neighbours: unknown('no neighbours'),
          fdb: unknown('no fdb'),
          rulesets: unknown('no rules'),
          sysctls: unknown('no sysctls'),
          sockets: unknown('no sockets'),
        }),
      ]),
    );
    const { findings, notRun } = runChecks(makeSnapshot({ netns: blind }));
    expect(findings).toEqual([]);
    const reasons = notRun.map(({ check, why }) => `${check}: ${why}`).join('\n');
    for (const why of [
      'ip-forward: no sysctls',
      'listening: no sockets',
      'fdb: no devices',
      'service-rules: no rules',
      'neighbours: no neighbours',
    ])
      expect(reasons).toContain(why);
  });
  it('holds for the objects too', () => {
    const snapshot = makeSnapshot();
    const nothing = Object.fromEntries(Object.keys(objects).map((key) => [key, unknown(`no ${key}`)]));
    const { findings, notRun } = runChecks({ ...snapshot, cluster: { ...snapshot.cluster, ...nothing } });
    expect(findings).toEqual([]);
    expect(notRun.map(({ check }) => check)).toContain('services');
  });
  it('a device list with the tunnel of a peer unrecorded is no missing device', () => {
    const { findings } = runChecks(
      makeSnapshot({ netns: { node2: () => ({ devices: unknown('timed out') }) } }),
    );
    expect(findings.filter((f) => f.cause.startsWith('overlay/'))).toEqual([]);
  });
});

it('check ids are unique', () => {
  expect(new Set(checks.map((check) => check.id)).size).toBe(checks.length);
});
