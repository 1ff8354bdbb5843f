import { expect, test } from 'vitest';
import type { NetworkPolicy, Pod, PolicyPeer, PolicyRule, Selector } from '../model/cluster.ts';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { renderPolicies } from './netpol.ts';

const all: Selector = { matchLabels: {}, matchExpressions: [] };
const app = (value: string): Selector => ({ matchLabels: { app: value }, matchExpressions: [] });

const pod = (full: string, ip: string, ports: Pod['containers'][number]['ports'] = []): Pod => {
  const [namespace = '', name = ''] = full.split('/');
  return {
    namespace,
    name,
    labels: { app: name.replace(/-\d+$/, '') },
    annotations: {},
    serviceAccount: 'default',
    node: 'node1',
    hostNetwork: false,
    addresses: [address(ip), address(`fd00::${ip.split('.')[3]}`)],
    phase: 'Running',
    ready: true,
    terminating: false,
    containers: [{ name: 'main', ports, ready: true, restarts: 0 }],
    dnsPolicy: 'ClusterFirst',
  };
};

const pods = [
  pod('shop/web-1', '10.0.0.1'),
  pod('shop/api-1', '10.0.0.2', [{ name: 'http', port: 8080, protocol: 'TCP' }]),
  pod('shop/api-2', '10.0.0.3', [{ name: 'http', port: 9090, protocol: 'TCP' }]),
  { ...pod('shop/job-1', '10.0.0.4'), phase: 'Succeeded' },
  { ...pod('ops/agent-1', '10.0.0.5'), hostNetwork: true },
];

const peer = (fields: Omit<PolicyPeer & { kind: 'pods' }, 'kind' | 'field'>): PolicyPeer => ({
  kind: 'pods',
  field: '',
  ...fields,
});
const block = (cidr: string, ...except: string[]): PolicyPeer => ({
  kind: 'ip-block',
  cidr: prefix(cidr),
  except: except.map(prefix),
  field: '',
});

/** Renders one policy on shop's `api`; `rules` are the lines of its chains without marks, `sets` name -> entries. */
function render(
  spec: { ingress?: readonly PolicyRule[]; egress?: readonly PolicyRule[] },
  podSelector = app('api'),
) {
  const policy: NetworkPolicy = { namespace: 'shop', name: 'p', podSelector, problems: [], ...spec };
  const namespaces = [{ name: 'shop', labels: { 'kubernetes.io/metadata.name': 'shop' }, annotations: {} }];
  const text = renderPolicies(
    { pods, namespaces, networkPolicies: [policy] },
    { node: 'node1', families: [4], serviceCidrs: [] },
  );
  const sets = new Map<string, string[]>();
  for (const line of text.ipset.split('\n')) {
    const [verb, name = '', ...rest] = line.split(' ');
    if (verb === 'create') sets.set(name, []);
    if (verb === 'add') sets.get(name)?.push(rest.join(' ').replace(' timeout 0', ''));
  }
  const rules = text.v4
    .split('\n')
    .filter((line) => /^-A KUBE-NWPLCY-\w{16} .*-j MARK/.test(line))
    .map((line) =>
      line
        .replace(/^-A \S+ /, '')
        .replace(/ -j MARK.*/, '')
        .replace(/-m comment --comment "[^"]*" ?/, ''),
    )
    .map((line) =>
      line.replace(
        /-m set --match-set (\S+) (src|dst)/g,
        (_, set, side) => `${side}{${sets.get(set)?.join()}}`,
      ),
    )
    .map((line) => line.trim());
  return { text, rules };
}

const api = '{10.0.0.2,10.0.0.3}';

test.each<[string, Parameters<typeof render>[0], string[]]>([
  ['no rules admit nothing', { ingress: [] }, []],
  ['an empty rule admits all', { ingress: [{ field: '' }] }, [`dst${api}`]],
  ['a rule whose peers are all invalid admits nothing', { ingress: [{ peers: [], field: '' }] }, []],
  [
    'pods of the own namespace',
    { ingress: [{ peers: [peer({ podSelector: app('web') })], field: '' }] },
    [`src{10.0.0.1} dst${api}`],
  ],
  [
    'a finished or host-network pod is no peer',
    { ingress: [{ peers: [peer({ namespaceSelector: all })], field: '' }] },
    [`src{10.0.0.2,10.0.0.3,10.0.0.1} dst${api}`],
  ],
  [
    'peers and ports multiply; a protocol alone is all its ports; endPort is a range',
    {
      ingress: [
        {
          peers: [peer({ podSelector: app('web') }), block('192.168.0.0/16', '192.168.1.0/24')],
          ports: [
            { protocol: 'UDP', field: '' },
            { protocol: 'TCP', port: 80, endPort: 90, field: '' },
          ],
          field: '',
        },
      ],
    },
    [
      `-p udp src{10.0.0.1} dst${api}`,
      `-p tcp src{10.0.0.1} dst${api} -m tcp --dport 80:90`,
      `-p udp src{192.168.0.0/16,192.168.1.0/24 nomatch} dst${api}`,
      `-p tcp src{192.168.0.0/16,192.168.1.0/24 nomatch} dst${api} -m tcp --dport 80:90`,
    ],
  ],
  [
    'a named port means each destination pod’s own number',
    { ingress: [{ ports: [{ protocol: 'TCP', port: 'http', field: '' }], field: '' }] },
    ['-p tcp dst{10.0.0.2} -m tcp --dport 8080', '-p tcp dst{10.0.0.3} -m tcp --dport 9090'],
  ],
  [
    'a named port of another protocol matches nothing',
    { ingress: [{ ports: [{ protocol: 'UDP', port: 'http', field: '' }], field: '' }] },
    [],
  ],
  [
    'a named egress port resolves at the destination; an ipBlock has no names',
    {
      egress: [
        {
          peers: [peer({}), block('0.0.0.0/0')],
          ports: [{ protocol: 'TCP', port: 'http', field: '' }],
          field: '',
        },
      ],
    },
    [
      `-p tcp src${api} dst{10.0.0.2} -m tcp --dport 8080`,
      `-p tcp src${api} dst{10.0.0.3} -m tcp --dport 9090`,
    ],
  ],
  [
    'all of IPv4 is two halves, each with its holes; an IPv6 block is left to IPv6',
    { egress: [{ peers: [block('0.0.0.0/0', '128.0.0.0/1'), block('::/0')], field: '' }] },
    [`src${api} dst{0.0.0.0/1,128.0.0.0/1 nomatch}`],
  ],
])('%s', (_, spec, expected) => {
  expect(render(spec).rules).toEqual(expected);
});

test('ingress and egress have chains of their own, and only isolated directions lose their default', () => {
  const { text } = render({ ingress: [{ field: '' }], egress: [] });
  const firewall = text.v4
    .split('\n')
    .filter((line) =>
      /KUBE-POD-FW-\S+ -[sd] 10\.0\.0\.2\/32 -m comment --comment "(default|shop)/.test(line),
    );
  const targets = firewall.map((line) => line.replace(/.*-j /, ''));
  expect(new Set(targets).size).toBe(2);
  expect(targets).not.toContain('KUBE-NWPLCY-DEFAULT');
  expect(render({ egress: [] }).text.v4).toMatch(/-d 10\.0\.0\.2\/32 -m comment --comment "default ingress"/);
});

test('IPv6 rules use IPv6 sets and let neighbour discovery pass', () => {
  const policy: NetworkPolicy = {
    namespace: 'shop',
    name: 'p',
    podSelector: all,
    ingress: [{ peers: [peer({})], field: '' }],
    problems: [],
  };
  const text = renderPolicies(
    { pods, namespaces: [], networkPolicies: [policy] },
    { node: 'node1', families: [4, 6], serviceCidrs: [] },
  );
  expect(text.v6).toMatch(/--match-set inet6:KUBE-SRC-\S+ src/);
  expect(text.v6).toContain('--icmpv6-type 135');
  expect(text.ipset).toContain('add inet6:KUBE-SRC-');
});
