import { describe, expect, it } from 'vitest';
import { cluster, pod, policy, ports, rules, selector, service } from '../../test/support/objects.ts';
import { partyText } from '../model/connectivity.ts';
import type { EntryPoint } from '../model/ingress.ts';
import { entryConnections } from './entry.ts';
import { connectivity, policyEngine } from './index.ts';
import { partyFilter } from './party-filter.ts';
import { workloadNames } from './workload.ts';

const owned = (id: string, ip: string, kind: string, name: string, more = {}) =>
  pod(id, ip, { owner: { kind, name }, ...more });
const workload = (kind: string, name: string, owner?: { kind: string; name: string }) => ({
  kind,
  namespace: 'shop',
  name,
  labels: {},
  desired: 1,
  ready: 1,
  ...(owner === undefined ? {} : { owner }),
});

describe('workloadNames', () => {
  const web = owned('shop/web-1', '10.0.0.1', 'ReplicaSet', 'web-5d8');
  const deployment = { kind: 'Deployment', name: 'web' };
  it.each([
    [
      'both there',
      [workload('ReplicaSet', 'web-5d8', deployment), workload('Deployment', 'web')],
      deployment,
    ],
    ['no Deployment', [workload('ReplicaSet', 'web-5d8', deployment)], web.owner],
    ['no ReplicaSet', [workload('Deployment', 'web')], web.owner],
  ])('%s', (_, workloads, expected) => {
    expect(workloadNames(cluster({ workloads }))(web)).toEqual(expected);
  });

  it('a node owns mirror pods that have nothing in common', () => {
    expect(workloadNames(cluster({}))(owned('kube-system/etcd', '10.0.0.2', 'Node', 'n1'))).toBeUndefined();
  });
});

describe('entryConnections', () => {
  const entry = (value: number | string, of: 'service' | 'target' = 'service'): EntryPoint => ({
    kind: 'Ingress',
    namespace: 'shop',
    name: 'front',
    backends: [{ service: 'web', port: { of, value }, field: 'spec.defaultBackend' }],
  });
  const containers = ports([8080, 'http'], [9090, 'admin']);
  const web = (name: string, ip: string, labels: Record<string, string> = {}) =>
    owned(`shop/${name}`, ip, 'ReplicaSet', 'web', { labels: { app: 'web', ...labels }, containers });
  const objects = (networkPolicies: Parameters<typeof cluster>[0]['networkPolicies'] = []) =>
    cluster({
      pods: [web('web-1', '10.0.0.1'), web('web-2', '10.0.0.2', { shut: 'yes' })],
      services: [
        service('shop/web', '10.96.0.1', {
          selector: { app: 'web' },
          ports: [{ name: 'front', port: 80, protocol: 'TCP', targetPort: 'http' }],
        }),
      ],
      networkPolicies,
    });
  const found = (world: ReturnType<typeof cluster>, point: EntryPoint, by?: 'pod') =>
    entryConnections(world, [point], (one) => policyEngine(one), by).map(
      ({ src, dst, protocol, ports }) => `${partyText(src)} ${partyText(dst)} ${protocol} ${ports}`,
    );

  it.each([
    ['a number of the Service', 80, 'service'],
    ['a name of the Service', 'front', 'service'],
    ['a target port, for which ingress-nginx looks too', 'http', 'service'],
    ['a target port of a Route', 'http', 'target'],
  ] as const)('%s reaches the pods behind it, as one workload', (_, value, of) => {
    expect(found(objects(), entry(value, of))).toEqual([
      'ingress-controller[IngressController] shop/web[ReplicaSet] TCP 8080',
    ]);
  });

  it('a port that the Service has not reaches nobody', () => {
    expect(found(objects(), entry(81))).toEqual([]);
  });

  it('pods of one workload that are not reached alike are listed apart', () => {
    const shut = policy('shop/shut', { podSelector: selector({ shut: 'yes' }), ingress: [] });
    expect(found(objects([shut]), entry(80))).toEqual([
      'ingress-controller[IngressController] shop/web-1[Pod] TCP 8080',
    ]);
  });

  it.each([
    ['any source', {}, 2],
    ['pods of any namespace', { peers: [{ kind: 'pods', namespaceSelector: selector(), field: '' }] }, 2],
    ['pods of the own namespace', { peers: [{ kind: 'pods', podSelector: selector(), field: '' }] }, 0],
  ] as const)('a rule for %s', (_, rule, count) => {
    const some = policy('shop/some', { ingress: rules('ingress', rule) });
    expect(found(objects([some]), entry(80), 'pod')).toHaveLength(count);
  });
});

describe('partyFilter', () => {
  const world = cluster({
    pods: [
      owned('shop/web-1', '10.0.0.1', 'ReplicaSet', 'web'),
      pod('shop/job', '10.0.0.2'),
      pod('web/other', '10.0.1.1'),
    ],
  });
  const named = (word: string) => {
    const filter = partyFilter(world, word);
    return (
      filter && [
        ...new Set([...connectivity(policyEngine(world), { from: filter })].map(({ src }) => partyText(src))),
      ]
    );
  };

  it.each([
    ['shop', ['shop/job[Pod]', 'shop/web[ReplicaSet]']],
    ['shop/web', ['shop/web[ReplicaSet]']],
    ['shop/web-1', ['shop/web[ReplicaSet]']],
    ['web', ['shop/web[ReplicaSet]', 'web/other[Pod]']],
    ['shop/web[ReplicaSet]', ['shop/web[ReplicaSet]']],
    ['shop/web[Deployment]', undefined],
    ['10.0.0.0/24', ['shop/job[Pod]', '0.0.0.0/0', 'shop/web[ReplicaSet]']],
    ['external', ['0.0.0.0/0']],
    ['nobody', undefined],
  ])('%s', (word, expected) => {
    expect(named(word)?.sort()).toEqual(expected?.sort());
  });
});
