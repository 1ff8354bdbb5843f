/** One test a rule; the numbers are the lines of the semantics list in docs. */
import { describe, expect, it } from 'vitest';
import {
  cluster,
  ipBlock,
  namespace,
  node,
  type PartialRule,
  pod,
  podsPeer,
  policy,
  ports,
  rules,
  selector,
} from '../../test/support/objects.ts';
import type { Cluster, NetworkPolicy, Pod } from '../model/cluster.ts';
import type { Endpoint, FlowProtocol } from '../model/flow.ts';
import { orElse, unknown } from '../model/known.ts';
import { address, sameAddress } from '../net/address.ts';
import type { PolicyDecision, PolicyOptions, PolicyQuery, PolicyVerdict } from './decision.ts';
import type { FlowEnd } from './endpoint.ts';
import { policyEngine } from './index.ts';
import { decide } from './reference.ts';

const web = pod('shop/web', '10.244.1.2', { labels: { app: 'web', tier: 'front' } });
const api = pod('shop/api', '10.244.2.2', {
  node: 'node2',
  containers: ports([8080, 'http'], [8081, 'ping', 'UDP']),
});
const tool = pod('ops/tool', '10.244.1.3', { labels: { app: 'tool' } });
const agent = pod('ops/agent', '10.0.0.1', { hostNetwork: true });
const job = pod('shop/job', '10.244.1.9', { phase: 'Succeeded' });
const objects = {
  pods: [web, api, tool, agent, job],
  namespaces: [namespace('shop', { team: 'store' }), namespace('ops')],
  nodes: [node('node1', '10.0.0.1', '10.244.1.0/24'), node('node2', '10.0.0.2', '10.244.2.0/24')],
};
const withPolicies = (...networkPolicies: NetworkPolicy[]): Cluster =>
  cluster({ ...objects, networkPolicies });

const at = (p: Pod): Endpoint => ({
  kind: 'pod',
  namespace: p.namespace,
  name: p.name,
  address: p.addresses[0] ?? address('0.0.0.0'),
});
const outside = (text: string): Endpoint => ({ kind: 'external', address: address(text) });

function ask(
  policies: NetworkPolicy[] | Cluster,
  src: Pod | Endpoint,
  dst: Pod | Endpoint,
  port = 8080,
  protocol: FlowProtocol = 'tcp',
  options: PolicyOptions = {},
): PolicyDecision {
  const end = (e: Pod | Endpoint) => ('kind' in e ? e : at(e));
  const world = Array.isArray(policies) ? withPolicies(...policies) : policies;
  const query = { src: end(src), dst: end(dst), protocol, dstPort: port };
  const decision = decide(world, query, options);
  const engine = engineVerdict(world, query, options);
  if (engine !== undefined) expect(engine, 'the engine').toBe(decision.verdict);
  return decision;
}

/** Every rule is asked of the engine too. Undefined for ends that it has no name for: Services, finished pods. */
function engineVerdict(
  world: Cluster,
  { src, dst, protocol, dstPort }: PolicyQuery,
  options: PolicyOptions,
): PolicyVerdict | undefined {
  const [from, to] = [flowEnd(world, src), flowEnd(world, dst)];
  if (from === undefined || to === undefined) return undefined;
  const engine = policyEngine(world, { ipBlockMatchesPods: options.ipBlockMatchesPods ?? true });
  const line = protocol.toUpperCase() as 'TCP' | 'UDP' | 'SCTP' | 'ICMP';
  const { verdict } = engine.verdict({ src: from, dst: to, protocol: line, port: dstPort });
  return verdict === 'conditional' ? 'unknown' : verdict;
}

function flowEnd(world: Cluster, end: Endpoint): FlowEnd | undefined {
  const pods = orElse(world.pods, []).filter((p) => p.phase === 'Running');
  switch (end.kind) {
    case 'pod': {
      const found = pods.find((p) => p.namespace === end.namespace && p.name === end.name);
      return found && { kind: 'pod', pod: found };
    }
    case 'node': {
      const found = orElse(world.nodes, []).find(({ name }) => name === end.name);
      return found && { kind: 'node', node: found };
    }
    case 'external': {
      const owner = pods.find((p) => p.addresses.some((own) => sameAddress(own, end.address)));
      return owner === undefined ? end : { kind: 'pod', pod: owner };
    }
    case 'service':
      return undefined;
  }
}
const verdict = (...args: Parameters<typeof ask>) => ask(...args).verdict;

/** A policy on shop/api with these ingress rules. */
const onApi = (...list: PartialRule[]) =>
  policy('shop/p', { podSelector: selector({ app: 'api' }), ingress: rules('ingress', ...list) });
const fromWeb = (...list: PartialRule[]) =>
  policy('shop/e', { podSelector: selector({ app: 'web' }), egress: rules('egress', ...list) });
const tcp = (port?: number | string, endPort?: number) => ({
  protocol: 'TCP' as const,
  ...(port === undefined ? {} : { port }),
  ...(endPort === undefined ? {} : { endPort }),
});

describe('NetworkPolicy v1', () => {
  it('1: a policy without egress rules or types isolates ingress only', () => {
    expect(verdict([onApi()], api, tool)).toBe('allow');
    expect(verdict([onApi()], tool, api)).toBe('deny');
  });
  it('2: a policy of type Egress alone never isolates ingress', () => {
    expect(verdict([policy('shop/e', { egress: [] })], tool, api)).toBe('allow');
  });
  it('3: an isolating direction without rules allows nothing', () => {
    expect(ask([onApi()], web, api).ingress).toEqual({
      isolated: true,
      isolatingPolicies: [{ namespace: 'shop', name: 'p' }],
      verdict: 'deny',
    });
  });
  it('4: the empty rule allows everything', () => {
    expect(verdict([onApi({})], outside('8.8.8.8'), api, 1, 'sctp')).toBe('allow');
  });
  it('5: no peers is any source; an empty namespaceSelector is pods only', () => {
    expect(verdict([onApi({ ports: [tcp()] })], outside('8.8.8.8'), api)).toBe('allow');
    const pods = onApi({ peers: [podsPeer(undefined, selector())] });
    expect(verdict([pods], outside('8.8.8.8'), api)).toBe('deny');
    expect(verdict([pods], tool, api)).toBe('allow');
  });
  it('6: no ports is every port of every protocol', () => {
    const p = onApi({ peers: [podsPeer(selector())] });
    for (const protocol of ['tcp', 'udp', 'sctp', 'icmp'] as const)
      expect(verdict([p], web, api, 1, protocol)).toBe('allow');
  });
  it('7: UDP without a number is all UDP and no TCP', () => {
    const p = onApi({ ports: [{ protocol: 'UDP' }] });
    expect([verdict([p], web, api, 9, 'udp'), verdict([p], web, api, 9, 'tcp')]).toEqual(['allow', 'deny']);
  });
  it('8: a port that names nothing is all TCP, not all protocols', () => {
    const p = onApi({ ports: [tcp()] });
    expect([verdict([p], web, api, 9, 'tcp'), verdict([p], web, api, 9, 'udp')]).toEqual(['allow', 'deny']);
  });
  it('9: an empty podSelector selects every pod of the namespace', () => {
    const p = policy('shop/all', { ingress: [] });
    expect([verdict([p], tool, web), verdict([p], tool, api)]).toEqual(['deny', 'deny']);
  });
  it('10: podSelector alone is the own namespace; namespaceSelector alone is all pods of those namespaces', () => {
    expect(verdict([onApi({ peers: [podsPeer(selector({ app: 'tool' }))] })], tool, api)).toBe('deny');
    const p = onApi({ peers: [podsPeer(undefined, selector({ 'kubernetes.io/metadata.name': 'ops' }))] });
    expect([verdict([p], tool, api), verdict([p], web, api)]).toEqual(['allow', 'deny']);
  });
  it('11: both selectors in one item are ANDed, two items are ORed', () => {
    const ops = selector({ 'kubernetes.io/metadata.name': 'ops' });
    const isWeb = selector({ app: 'web' });
    expect(verdict([onApi({ peers: [podsPeer(isWeb, ops)] })], web, api)).toBe('deny');
    const either = onApi({ peers: [podsPeer(isWeb), podsPeer(undefined, ops)] });
    expect([verdict([either], web, api), verdict([either], tool, api)]).toEqual(['allow', 'allow']);
  });
  it('12: invalid peers are left out, match nothing and are named', () => {
    const p = { ...onApi({ peers: [] }), problems: [{ field: 'spec.ingress[0].from[0]', why: 'empty' }] };
    const decision = ask([p], web, api);
    expect(decision.verdict).toBe('deny');
    expect(decision.notes).toEqual([
      {
        code: 'invalid-policy',
        text: 'shop/p spec.ingress[0].from[0] is invalid and matches nothing: empty',
      },
    ]);
  });
  it.each([
    ['NotIn', 'allow'],
    ['DoesNotExist', 'allow'],
    ['In', 'deny'],
    ['Exists', 'deny'],
  ] as const)('13: %s with the key absent: %s', (operator, expected) => {
    const expression = selector({}, [{ key: 'absent', operator, values: ['x'] }]);
    expect(verdict([onApi({ peers: [podsPeer(expression)] })], web, api)).toBe(expected);
  });
  it('14: an empty value needs the key present and empty', () => {
    const p = onApi({ peers: [podsPeer(selector({ mark: '' }))] });
    expect(verdict([p], web, api)).toBe('deny');
    const marked = { ...web, labels: { ...web.labels, mark: '' } };
    expect(verdict(cluster({ ...objects, pods: [marked, api], networkPolicies: [p] }), marked, api)).toBe(
      'allow',
    );
  });
  it('15: labels and expressions are ANDed, also on one key', () => {
    const both = (value: string) =>
      onApi({
        peers: [podsPeer(selector({ app: 'web' }, [{ key: 'app', operator: 'In', values: [value] }]))],
      });
    expect([verdict([both('web')], web, api), verdict([both('x')], web, api)]).toEqual(['allow', 'deny']);
  });
  it('16: a namespace whose object is left out still has its name label', () => {
    const p = onApi({ peers: [podsPeer(undefined, selector({ 'kubernetes.io/metadata.name': 'ops' }))] });
    expect(verdict(cluster({ ...objects, namespaces: [], networkPolicies: [p] }), tool, api)).toBe('allow');
  });
  it('17: whether ipBlock matches a pod is a dialect, and a verdict that hangs on it says so', () => {
    const p = onApi({ peers: [ipBlock('10.244.0.0/16')] });
    const strict = ask([p], web, api);
    const identity = ask([p], web, api, 8080, 'tcp', { ipBlockMatchesPods: false });
    expect([strict.verdict, identity.verdict]).toEqual(['allow', 'deny']);
    expect([strict.notes[0]?.code, identity.notes[0]?.code]).toEqual([
      'ip-block-dialect',
      'ip-block-dialect',
    ]);
    expect(ask([p], outside('10.244.9.9'), api, 8080, 'tcp', { ipBlockMatchesPods: false }).notes).toEqual(
      [],
    );
  });
  it('18: except subtracts from its own block only', () => {
    const hole = ipBlock('10.0.0.0/8', '10.1.0.0/16');
    expect(verdict([onApi({ peers: [hole] })], outside('10.1.2.3'), api)).toBe('deny');
    expect(verdict([onApi({ peers: [hole, ipBlock('10.1.2.0/24')] })], outside('10.1.2.3'), api)).toBe(
      'allow',
    );
  });
  it('19: all of IPv4 is none of IPv6', () => {
    expect(verdict([onApi({ peers: [ipBlock('0.0.0.0/0')] })], outside('2001:db8::1'), api)).toBe('deny');
    expect(verdict([onApi({ peers: [ipBlock('::/0')] })], outside('2001:db8::1'), api)).toBe('allow');
  });
  it('20: endPort is inclusive', () => {
    const p = onApi({ ports: [tcp(8000, 8080)] });
    expect([7999, 8000, 8080, 8081].map((port) => verdict([p], web, api, port))).toEqual([
      'deny',
      'allow',
      'allow',
      'deny',
    ]);
  });
  it('21: a named port is the destination pod’s, in egress rules too', () => {
    expect(verdict([onApi({ ports: [tcp('http')] })], web, api, 8080)).toBe('allow');
    expect(verdict([fromWeb({ ports: [tcp('http')] })], web, api, 8080)).toBe('allow');
    expect(verdict([fromWeb({ ports: [tcp('http')] })], web, tool, 8080)).toBe('deny');
  });
  it('22: the name counts with its protocol, over all containers', () => {
    expect(verdict([onApi({ ports: [tcp('ping')] })], web, api, 8081)).toBe('deny');
    const twice = { ...api, containers: [...ports([80, 'http']), ...ports([8080, 'http'])] };
    const world = cluster({
      ...objects,
      pods: [web, twice],
      networkPolicies: [onApi({ ports: [tcp('http')] })],
    });
    expect([80, 8080, 81].map((port) => verdict(world, web, twice, port))).toEqual([
      'allow',
      'allow',
      'deny',
    ]);
  });
  it('23: a name that the destination lacks is no match', () => {
    expect(verdict([onApi({ ports: [tcp('nope')] })], web, api)).toBe('deny');
  });
  it('24: a named port beside an egress ipBlock matches no address', () => {
    const p = fromWeb({ peers: [ipBlock('0.0.0.0/0')], ports: [tcp('http')] });
    expect([verdict([p], web, outside('8.8.8.8')), verdict([p], web, api)]).toEqual(['deny', 'deny']);
  });
  it('25: ports that no container declares are reachable', () => {
    expect(verdict([onApi({ ports: [tcp(9999)] })], web, api, 9999)).toBe('allow');
  });
  it('26: egress and ingress must both allow', () => {
    const decision = ask([fromWeb(), onApi({})], web, api);
    expect([decision.egress.verdict, decision.ingress.verdict, decision.verdict]).toEqual([
      'deny',
      'allow',
      'deny',
    ]);
  });
  it('27: replies need no rule: the answering side’s own isolation is not asked', () => {
    expect(verdict([policy('shop/e', { podSelector: selector({ app: 'api' }), egress: [] })], web, api)).toBe(
      'allow',
    );
  });
  it('28: a pod reaches itself', () => {
    const decision = ask([policy('shop/all', { ingress: [], egress: [] })], api, api);
    expect([decision.verdict, decision.ingress.exempt, decision.notes[0]?.code]).toEqual([
      'allow',
      'self',
      'self',
    ]);
  });
  it('29: the own node always reaches its pods, another node does not', () => {
    const from = (name: string, ip: string): Endpoint => ({ kind: 'node', name, address: address(ip) });
    const decision = ask([onApi()], from('node2', '10.0.0.2'), api);
    expect([decision.verdict, decision.ingress.exempt]).toEqual(['allow', 'own-node']);
    expect(verdict([onApi()], from('node1', '10.0.0.1'), api)).toBe('deny');
  });
  it('30: hostNetwork pods are no subjects, and as peers only an address', () => {
    expect(verdict([policy('ops/all', { ingress: [], egress: [] })], agent, api)).toBe('allow');
    const labels = onApi({ peers: [podsPeer(selector(), selector())] });
    expect(ask([labels], agent, api).notes.map((note) => note.code)).toEqual(['host-network']);
    expect([
      verdict([labels], agent, api),
      verdict([onApi({ peers: [ipBlock('10.0.0.1/32')] })], agent, api),
    ]).toEqual(['deny', 'allow']);
  });
  it('31: finished pods are no endpoints, terminating ones are', () => {
    expect(ask([], web, job).ingress).toMatchObject({
      verdict: 'unknown',
      why: expect.stringContaining('finished'),
    });
    const leaving = { ...api, terminating: true };
    const world = cluster({ ...objects, pods: [web, leaving], networkPolicies: [onApi()] });
    expect(verdict(world, web, leaving)).toBe('deny');
  });
  it('32: a Service is not judged: its backends are', () => {
    const svc: Endpoint = { kind: 'service', namespace: 'shop', name: 'api', address: address('10.96.0.5') };
    expect(ask([], web, svc).ingress).toMatchObject({
      verdict: 'unknown',
      why: expect.stringContaining('backend'),
    });
  });
  it('33: SCTP stands alone; ICMP of an isolated pod is nobody’s promise', () => {
    expect(verdict([onApi({ ports: [{ protocol: 'SCTP', port: 8080 }] })], web, api, 8080, 'tcp')).toBe(
      'deny',
    );
    const icmp = ask([onApi({ ports: [tcp()] })], web, api, 0, 'icmp');
    expect([icmp.verdict, icmp.notes[0]?.code]).toEqual(['unknown', 'icmp']);
    expect(verdict([], web, api, 0, 'icmp')).toBe('allow');
  });
  it('34: a podSelector never crosses its namespace', () => {
    expect(verdict([policy('shop/all', { ingress: [] })], web, tool)).toBe('allow');
  });
  it('35: pods of one owner with different labels are judged apart', () => {
    const owner = { kind: 'ReplicaSet', name: 'api' };
    const canary = { ...pod('shop/api-2', '10.244.2.3', { labels: { app: 'canary' } }), owner };
    const world = cluster({ ...objects, pods: [web, { ...api, owner }, canary], networkPolicies: [onApi()] });
    expect([verdict(world, web, api), verdict(world, web, canary)]).toEqual(['deny', 'allow']);
  });
});

describe('unknown stays unknown', () => {
  it.each(['pods', 'networkPolicies'] as const)('without %s', (key) => {
    const decision = ask({ ...withPolicies(), [key]: unknown('not collected') }, web, api);
    expect(decision).toMatchObject({ verdict: 'unknown', ingress: { why: 'not collected' } });
  });
  it('without namespaces, except where the name label decides', () => {
    const byLabel = onApi({ peers: [podsPeer(undefined, selector({ team: 'store' }))] });
    const byName = onApi({
      peers: [podsPeer(undefined, selector({ 'kubernetes.io/metadata.name': 'shop' }))],
    });
    const blind = (p: NetworkPolicy) => ({ ...withPolicies(p), namespaces: unknown('forbidden') });
    expect([verdict(blind(byLabel), web, api), verdict(blind(byName), web, api)]).toEqual([
      'unknown',
      'allow',
    ]);
    expect(verdict(blind(byName), tool, api)).toBe('deny');
  });
  it('an absent pod', () => {
    expect(ask([], web, pod('shop/gone', '10.244.1.77')).ingress.why).toBe(
      'pod shop/gone is not in the snapshot',
    );
  });
});

describe('the nearest rule', () => {
  const nearest = (p: NetworkPolicy, src: Pod = web, port = 8080, protocol: FlowProtocol = 'tcp') =>
    ask([p], src, api, port, protocol).ingress.nearest;

  it.each([
    [
      'namespace-label',
      onApi({ peers: [podsPeer(undefined, selector({ name: 'shop' }))] }),
      'shop/p spec.ingress[0].from[0].namespaceSelector wants name=shop, namespace shop has no label name',
    ],
    [
      'pod-label',
      onApi({ peers: [podsPeer(selector({ app: 'wep' }))] }),
      'shop/p spec.ingress[0].from[0].podSelector wants app=wep, pod shop/web has app=web',
    ],
    [
      'port',
      onApi({ ports: [tcp(80)] }),
      'shop/p spec.ingress[0].ports[0] allows 80/TCP, the flow uses 8080/TCP',
    ],
    [
      'protocol',
      onApi({ ports: [{ protocol: 'UDP', port: 8080 }] }),
      'shop/p spec.ingress[0].ports[0] allows 8080/UDP, the flow uses 8080/TCP',
    ],
    [
      'peer',
      onApi({ peers: [ipBlock('192.168.0.0/16')] }),
      'shop/p spec.ingress[0].from[0].ipBlock wants 192.168.0.0/16, the other end is 10.244.1.2',
    ],
  ] as const)('%s', (missing, p, text) => {
    expect(nearest(p)).toMatchObject({ missing, text, policy: { namespace: 'shop', name: 'p' } });
  });
  it('prefers a wrong port over a wrong label over a foreign address', () => {
    const p = onApi(
      { peers: [ipBlock('192.168.0.0/16')] },
      { peers: [podsPeer(selector({ app: 'x' }))] },
      { peers: [podsPeer(selector({ app: 'web' }))], ports: [tcp(80)] },
    );
    expect(nearest(p)?.field).toBe('spec.ingress[2].ports[0]');
  });
  it('says that a lone podSelector stays in its namespace', () => {
    const p = onApi({ peers: [podsPeer(selector({ app: 'tool' }))] });
    expect(nearest(p, tool)?.text).toContain('has no namespaceSelector, so it admits pods of shop only');
  });
});
