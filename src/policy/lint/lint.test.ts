import { describe, expect, it } from 'vitest';
import {
  cluster,
  ipBlock,
  namespace,
  node,
  pod,
  podsPeer,
  policy,
  ports,
  rules,
  selector,
  service,
} from '../../../test/support/objects.ts';
import type { Cluster, NetworkPolicy } from '../../model/cluster.ts';
import { unknown } from '../../model/known.ts';
import type { AdminPolicy, AdminRule } from '../../model/policies/admin.ts';
import { policyEngine } from '../index.ts';
import { lintPolicies } from './lint.ts';

const nodes = [node('node1', '192.168.0.1', '10.1.0.0/24')];
const namespaces = [namespace('shop', { team: 'sales' }), namespace('data'), namespace('kube-system')];
const web = pod('shop/web', '10.1.0.1', { containers: ports([8080, 'http']) });
const db = pod('data/db', '10.1.0.2', { containers: ports([5432]) });
const agent = pod('shop/agent', '192.168.0.1', { hostNetwork: true });
const dns = pod('kube-system/dns', '10.1.0.3', { labels: { 'k8s-app': 'kube-dns' } });
const dnsService = service('kube-system/kube-dns', '10.96.0.10', {
  selector: { 'k8s-app': 'kube-dns' },
  ports: [{ name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 }],
});
const services = [
  service('shop/web', '10.96.0.1', { ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 8080 }] }),
];

type More = Parameters<typeof cluster>[0];
const base = (networkPolicies: readonly NetworkPolicy[], more: More = {}): Cluster =>
  cluster({ nodes, namespaces, pods: [web, db, agent, dns], services, networkPolicies, ...more });

/** `rule severity field text` of each finding. */
const lint = (given: Cluster) =>
  lintPolicies(policyEngine(given, { dialect: 'kubernetes' })).findings.map(
    ({ rule, severity, field, text }) => `${rule} ${severity} ${field}: ${text}`,
  );

const app = (name: string) => selector({ app: name });
const isSales = selector({ team: 'sales' });
const toWeb = (...list: Parameters<typeof rules>[1][]) =>
  policy('shop/p', { podSelector: app('web'), ingress: rules('ingress', ...list) });

describe('policies in which nothing is odd', () => {
  it.each<[string, readonly NetworkPolicy[]]>([
    [
      'one that admits a namespace',
      [toWeb({ peers: [podsPeer(undefined, isSales)], ports: [{ protocol: 'TCP', port: 8080 }] })],
    ],
    ['a default deny', [policy('shop/deny', { ingress: [] })]],
    [
      'a default deny that others add to',
      [policy('shop/deny', { ingress: [] }), toWeb({ peers: [podsPeer(app('db'), selector())] })],
    ],
    ['addresses outside', [toWeb({ peers: [ipBlock('0.0.0.0/0', '10.0.0.0/8')] })]],
    [
      'the pods of another namespace',
      [toWeb({ peers: [podsPeer(app('db'), selector({ 'kubernetes.io/metadata.name': 'data' }))] })],
    ],
  ])('%s', (_, policies) => {
    expect(lint(base(policies))).toEqual([]);
  });
});

describe('findings', () => {
  it.each<[string, NetworkPolicy, string]>([
    [
      'a subject with a misspelt label',
      policy('shop/p', { podSelector: app('webb'), ingress: [] }),
      'subject-matches-nothing warning spec.podSelector: selects app=webb, and no pod of namespace shop has that',
    ],
    [
      '30 a subject of pods on the network of their node',
      policy('shop/p', { podSelector: app('agent'), ingress: [] }),
      "subject-matches-nothing warning spec.podSelector: selects app=agent, which only pods on their node's network have (shop/agent): NetworkPolicies do not apply to those",
    ],
    [
      'a namespace named by a label that it has not',
      toWeb({ peers: [podsPeer(undefined, selector({ name: 'data' }))] }),
      'peer-matches-nothing warning spec.ingress[0].from[0].namespaceSelector: wants namespaces with name=data, and there is none; namespace data has kubernetes.io/metadata.name=data',
    ],
    [
      '10 a pod of another namespace without a namespaceSelector',
      toWeb({ peers: [podsPeer(app('db'))] }),
      'peer-matches-nothing warning spec.ingress[0].from[0].podSelector: wants app=db, and no pod of namespace shop has that; pod data/db of another namespace has it',
    ],
    [
      '11 two items where one was meant',
      toWeb({
        peers: [
          podsPeer(undefined, selector({ 'kubernetes.io/metadata.name': 'data' })),
          podsPeer(app('db')),
        ],
      }),
      'peer-and-or warning spec.ingress[0].from[1]: is an item of its own and means pods with app=db in namespace shop, of which there are none; spec.ingress[0].from[0] admits every pod of namespaces with kubernetes.io/metadata.name=data',
    ],
    [
      '11 one item where two were meant',
      toWeb({ peers: [podsPeer(app('web'), selector({ 'kubernetes.io/metadata.name': 'data' }))] }),
      'peer-and-or warning spec.ingress[0].from[0]: wants app=web in namespaces with kubernetes.io/metadata.name=data, and no pod there has that; pods of namespace shop have it',
    ],
    [
      "32 a Service's port",
      toWeb({ ports: [{ protocol: 'TCP', port: 80 }] }),
      'service-port error spec.ingress[0].ports[0]: names 80, the port of Service shop/web; policies see the port of the pods behind it, 8080',
    ],
    [
      '23 a name that no container declares',
      toWeb({ ports: [{ protocol: 'TCP', port: 'https' }] }),
      'named-port-unresolved error spec.ingress[0].ports[0]: names the port https of TCP, which no container of the destination pod declares: it matches nothing',
    ],
    [
      '22 a name of another protocol',
      toWeb({ ports: [{ protocol: 'UDP', port: 'http' }] }),
      'named-port-unresolved error spec.ingress[0].ports[0]: names the port http of UDP, which no container of the destination pod declares; they declare it for TCP: it matches nothing',
    ],
    [
      '17 an ipBlock of pods',
      toWeb({ peers: [ipBlock('10.1.0.2/32')] }),
      'ip-block-of-pods warning spec.ingress[0].from[0]: names addresses of pod data/db',
    ],
    [
      'an except that leaves nothing',
      toWeb({ peers: [ipBlock('192.0.2.0/24', '192.0.2.0/24')] }),
      'ip-block-of-pods warning spec.ingress[0].from[0]: matches no address: its except covers all of 192.0.2.0/24',
    ],
    [
      'a rule that another one covers',
      toWeb(
        { peers: [podsPeer(app('db'), selector())], ports: [{ protocol: 'TCP', port: 8080 }] },
        { peers: [podsPeer(undefined, selector())] },
      ),
      'shadowed-rule info spec.ingress[0]: decides nothing: spec.ingress[1] matches all that it matches',
    ],
    [
      '2 rules that policyTypes leaves out',
      policy('shop/p', { podSelector: app('web'), egress: rules('egress', {}), ignored: ['ingress'] }),
      'policy-types error spec.ingress: is ignored: policyTypes does not name Ingress',
    ],
    [
      '12 an invalid part',
      policy('shop/p', {
        podSelector: app('web'),
        ingress: [],
        problems: [{ field: 'spec.ingress[0].from[0]', why: 'is empty' }],
      }),
      'invalid-part error spec.ingress[0].from[0]: is empty',
    ],
  ])('%s', (_, one, wanted) => {
    const found = lint(base([one]));
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(wanted);
  });

  it('says of manifests without nodes that others may have what nobody has here', () => {
    const given = base([toWeb({ peers: [podsPeer(undefined, selector({ team: 'legal' }))] })], { nodes: [] });
    expect(lint(given)).toEqual([
      'peer-matches-nothing info spec.ingress[0].from[0].namespaceSelector: wants namespaces with team=legal, and there is none among these objects',
    ]);
  });

  it('finds the policy without which all would be the same, once of two', () => {
    const twice = ['shop/one', 'shop/two'].map((id) => ({
      ...toWeb({ peers: [podsPeer(undefined, isSales)] }),
      name: id.slice(5),
    }));
    expect(lint(base(twice))).toEqual([
      expect.stringMatching(
        /^no-effect info : changes nothing: without it NetworkPolicy (one|two) says the same/,
      ),
    ]);
  });
});

describe('DNS', () => {
  const toDb = {
    peers: [podsPeer(app('db'), selector())],
    ports: [{ protocol: 'TCP' as const, port: 5432 }],
  };
  const toDns = { peers: [podsPeer(undefined, selector())], ports: [{ protocol: 'UDP' as const, port: 53 }] };
  const out = (...list: Parameters<typeof rules>[1][]) =>
    policy('shop/p', { podSelector: app('web'), egress: rules('egress', ...list) });
  it.each<[string, NetworkPolicy, More, number]>([
    ['is forgotten', out(toDb), { services: [dnsService] }, 1],
    ['is admitted', out(toDb, toDns), { services: [dnsService] }, 0],
    ['is forgotten where it is not among the objects', out(toDb), {}, 1],
    ['is admitted where it is not among the objects', out(toDb, toDns), {}, 0],
    [
      'is not needed by pods that may reach nobody',
      policy('shop/p', { podSelector: app('web'), egress: [] }),
      {},
      0,
    ],
    [
      'is not asked by pods with a resolver of their own',
      out(toDb),
      { pods: [{ ...web, dnsPolicy: 'None' }, db] },
      0,
    ],
    ['is not needed for addresses outside', out({ peers: [ipBlock('192.0.2.0/24')] }), {}, 0],
  ])('%s', (_, one, more, count) => {
    expect(lint(base([one], more)).filter((text) => text.startsWith('dns-forgotten'))).toHaveLength(count);
  });
});

describe('admin policies', () => {
  const rule = (action: AdminRule['action'], field: string, more: Partial<AdminRule> = {}): AdminRule => ({
    action,
    understood: true,
    peers: [
      { kind: 'pods', namespaceSelector: selector(), podSelector: selector(), field: `${field}.from[0]` },
    ],
    field,
    ...more,
  });
  const admin = (name: string, rank: number, ...ingress: AdminRule[]): AdminPolicy => ({
    kind: 'ClusterNetworkPolicy',
    name,
    tier: 'admin',
    rank,
    subject: { namespaceSelector: selector(), podSelector: selector() },
    ingress,
    egress: [],
    problems: [],
  });
  it('a rule behind one that matches more decides nothing', () => {
    const one = admin('a', 1, rule('deny', 'spec.ingress[0]'), rule('allow', 'spec.ingress[1]'));
    expect(lint(base([], { adminPolicies: [one] }))).toEqual([
      'shadowed-rule warning spec.ingress[1]: decides nothing: spec.ingress[0] comes first and matches all that it matches',
    ]);
  });
  it('says which policies have too many rules to compare each with each', () => {
    const many = Array.from({ length: 501 }, (_, i) => rule('deny', `spec.ingress[${i}]`));
    const { findings, notRun } = lintPolicies(
      policyEngine(base([], { adminPolicies: [admin('a', 1, ...many)] })),
    );
    expect(notRun).toContainEqual({
      rule: 'shadowed-rule',
      why: 'more than 500 rules of one direction: ClusterNetworkPolicy a',
    });
    expect(findings.filter((one) => one.rule === 'shadowed-rule')).toEqual([]);
  });
  it('36 equal priorities are said only where they disagree', () => {
    const [deny, allow] = [
      admin('a', 1, rule('deny', 'spec.ingress[0]')),
      admin('b', 1, rule('allow', 'spec.ingress[0]')),
    ];
    const equal = (...list: AdminPolicy[]) =>
      lint(base([], { adminPolicies: list })).filter((text) => text.startsWith('equal-priority'));
    expect(equal(deny, allow)).toHaveLength(1);
    expect(equal(deny, { ...allow, rank: 2 })).toEqual([]);
    expect(equal(deny, { ...deny, name: 'b' })).toEqual([]);
  });
  it('names the kinds that have a successor', () => {
    const old = { ...admin('a', 1, rule('deny', 'spec.ingress[0]')), kind: 'AdminNetworkPolicy' as const };
    expect(lint(base([], { adminPolicies: [old] }))).toEqual([
      'deprecated-kind info kind: AdminNetworkPolicy v1alpha1 is superseded by ClusterNetworkPolicy v1alpha2',
    ]);
  });
});

it('does not look where pods are not known', () => {
  const given = { ...base([toWeb({ peers: [podsPeer(app('nobody'))] })]), pods: unknown('no list') };
  const { findings, notRun, rules: ran } = lintPolicies(policyEngine(given, { dialect: 'kubernetes' }));
  expect(findings).toEqual([]);
  expect(notRun.map(({ rule }) => rule)).toContain('peer-matches-nothing');
  expect(ran).toContain('invalid-part');
});
