/** What the explanation says about small clusters: who decides, what was missing, and which mistake is near. */
import { describe, expect, it } from 'vitest';
import {
  cluster,
  ipBlock,
  namespace,
  pod,
  podsPeer,
  policy,
  ports,
  rules,
  selector,
  service,
} from '../../../test/support/objects.ts';
import type { NetworkPolicy } from '../../model/cluster.ts';
import { address } from '../../net/address.ts';
import type { LineProtocol } from '../../net/port-set.ts';
import type { FlowEnd } from '../endpoint.ts';
import { policyEngine } from '../index.ts';
import { explain } from './explain.ts';

const web = pod('shop/web', '10.0.0.2', { labels: { app: 'web', tier: 'front' } });
const api = pod('shop/api', '10.0.0.3', { containers: ports([8080, 'http']) });
const batch = pod('jobs/batch', '10.0.1.2', { labels: { app: 'web' } });
const host = pod('shop/agent', '192.168.0.1', { hostNetwork: true });
const ends: Readonly<Record<string, FlowEnd>> = {
  web: { kind: 'pod', pod: web },
  api: { kind: 'pod', pod: api },
  batch: { kind: 'pod', pod: batch },
  host: { kind: 'pod', pod: host },
  outside: { kind: 'external', address: address('192.0.2.7') },
};

interface Asked {
  readonly src?: string;
  readonly dst?: string;
  readonly port?: number;
  readonly protocol?: LineProtocol;
  readonly matchesPods?: boolean;
}

function ask(
  policies: readonly NetworkPolicy[],
  { src = 'web', dst = 'api', port = 8080, protocol = 'TCP', matchesPods = false }: Asked = {},
) {
  const engine = policyEngine(
    cluster({
      pods: [web, api, batch, host],
      namespaces: [namespace('shop', { team: 'a' }), namespace('jobs')],
      services: [
        service('shop/api', '10.96.0.1', {
          ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 'http' }],
        }),
      ],
      networkPolicies: policies,
    }),
    { dialect: 'kubernetes', ipBlockMatchesPods: matchesPods },
  );
  const flow = { src: ends[src] as FlowEnd, dst: ends[dst] as FlowEnd, protocol, port };
  const found = explain(engine, flow);
  expect(found.verdict).toBe(engine.verdict(flow).verdict);
  return found;
}

type Rule = Parameters<typeof rules>[1];
const onApi = (...list: readonly Rule[]): NetworkPolicy =>
  policy('shop/p', { podSelector: selector({ app: 'api' }), ingress: rules('ingress', ...list) });

describe('what was missing', () => {
  it.each<[string, readonly NetworkPolicy[], Asked, string, string]>([
    [
      'a label of the source',
      [onApi({ peers: [podsPeer(selector({ app: 'frontend' }))] })],
      {},
      'NetworkPolicy shop/p admits app=frontend only',
      'spec.ingress[0].from[0].podSelector wants app=frontend, pod shop/web has app=web',
    ],
    [
      'a key that the source has not',
      [onApi({ peers: [podsPeer(selector({ app: 'web', role: 'x' }))] })],
      {},
      'NetworkPolicy shop/p admits app=web,role=x only',
      'spec.ingress[0].from[0].podSelector wants app=web,role=x, pod shop/web has no label role',
    ],
    [
      'a label that the source must not have',
      [onApi({ peers: [podsPeer(selector({}, [{ key: 'tier', operator: 'NotIn', values: ['front'] }]))] })],
      {},
      'NetworkPolicy shop/p admits tier!=front only',
      'spec.ingress[0].from[0].podSelector wants tier!=front, pod shop/web has tier=front',
    ],
    [
      'a namespace label',
      [onApi({ peers: [podsPeer(undefined, selector({ team: 'a' }))] })],
      { src: 'batch' },
      'NetworkPolicy shop/p admits namespaces with team=a only',
      'spec.ingress[0].from[0].namespaceSelector wants team=a, namespace jobs has no label team',
    ],
    [
      'the namespace itself',
      [onApi({ peers: [podsPeer(selector({ app: 'web' }))] })],
      { src: 'batch' },
      'NetworkPolicy shop/p admits pods of namespace shop only',
      'spec.ingress[0].from[0] has no namespaceSelector, so it admits pods of shop only, and pod jobs/batch is in jobs',
    ],
    [
      'the port',
      [onApi({ ports: [{ protocol: 'TCP', port: 443 }] })],
      {},
      'NetworkPolicy shop/p admits port 443/TCP only',
      'spec.ingress[0].ports allows 443/TCP, the flow uses 8080/TCP',
    ],
    [
      'the protocol',
      [onApi({ ports: [{ protocol: 'UDP', port: 8080 }] })],
      {},
      'NetworkPolicy shop/p admits port 8080/UDP only',
      'spec.ingress[0].ports allows 8080/UDP, the flow uses 8080/TCP',
    ],
    [
      'a port name that nobody declares',
      [onApi({ ports: [{ protocol: 'TCP', port: 'web' }] })],
      {},
      'NetworkPolicy shop/p admits port web/TCP only',
      'spec.ingress[0].ports allows web/TCP, no container of shop/api declares a port web/TCP',
    ],
    [
      'the address',
      [onApi({ peers: [ipBlock('198.51.100.0/24')] })],
      { src: 'outside' },
      'NetworkPolicy shop/p admits 198.51.100.0/24 only',
      'spec.ingress[0].from[0].ipBlock wants 198.51.100.0/24, the other end is 192.0.2.7',
    ],
    [
      'a hole in the block',
      [onApi({ peers: [ipBlock('192.0.2.0/24', '192.0.2.0/28')] })],
      { src: 'outside' },
      'NetworkPolicy shop/p admits 192.0.2.0/24 except 192.0.2.0/28 only',
      'spec.ingress[0].from[0].ipBlock.except wants 192.0.2.0/24 except 192.0.2.0/28, the other end is 192.0.2.7, in 192.0.2.0/28',
    ],
    [
      'a pod, and the source is none',
      [onApi({ peers: [podsPeer(selector())] })],
      { src: 'outside' },
      'NetworkPolicy shop/p admits pods only',
      'spec.ingress[0].from[0] wants pods, 192.0.2.7 is an address outside the cluster',
    ],
    [
      'any rule at all',
      [policy('shop/closed', { ingress: [] })],
      {},
      'NetworkPolicy shop/closed admits nothing',
      'has no ingress rule that admits anything',
    ],
    [
      'any rule of any policy',
      [
        policy('shop/a', { ingress: [] }),
        policy('shop/b', { ingress: [] }),
        policy('shop/c', { ingress: [] }),
      ],
      {},
      'NetworkPolicy shop/a admits nothing',
      'has no ingress rule that admits anything, nor have the 2 others that isolate',
    ],
    [
      'the subject: another policy would admit it',
      [
        policy('shop/closed', { ingress: [] }),
        policy('shop/q', { podSelector: selector({ app: 'apis' }), ingress: rules('ingress', {}) }),
      ],
      {},
      'NetworkPolicy shop/closed isolates shop/api for ingress and no rule admits it',
      'spec.podSelector wants app=apis, pod shop/api has app=api',
    ],
    [
      'the nearest of several: a wrong port before a wrong label',
      [
        onApi(
          { peers: [podsPeer(selector({ app: 'x' }))] },
          { peers: [podsPeer(selector({ app: 'web' }))], ports: [{ protocol: 'TCP', port: 1 }] },
        ),
      ],
      {},
      'NetworkPolicy shop/p admits port 1/TCP only',
      'spec.ingress[1].ports allows 1/TCP, the flow uses 8080/TCP',
    ],
  ])('%s', (_, policies, asked, reason, text) => {
    const found = ask(policies, asked);
    expect(found.reason.text).toBe(reason);
    expect(found.nearest?.text).toBe(text);
  });
});

it('lists every policy that was asked, and how many were not', () => {
  const found = ask([
    onApi({ peers: [podsPeer(selector({ app: 'web' }))] }),
    policy('shop/all', { ingress: [] }),
    policy('jobs/other', { ingress: [] }),
  ]);
  const [, ingress] = found.layers[0]?.ways[0]?.directions ?? [];
  expect(found.reason.text).toBe('NetworkPolicy shop/p allows it');
  expect(ingress).toMatchObject({
    decidedBy: 'rule',
    tiers: [
      {
        name: 'NetworkPolicy',
        others: 1,
        policies: [
          { place: { name: 'p' }, matches: [{ action: 'allow', asked: true }] },
          { place: { name: 'all' }, rules: 0, matches: [] },
        ],
      },
    ],
  });
});

it('says what passes without any policy', () => {
  expect(ask([]).reason.text).toBe('no policy selects either end');
  const self = ask([policy('shop/closed', { ingress: [], egress: [] })], { src: 'api' });
  expect([self.verdict, self.layers[0]?.exempt]).toEqual(['allow', 'self']);
});

describe('mistakes', () => {
  const hints = (policies: readonly NetworkPolicy[], asked: Asked = {}) =>
    ask(policies, asked).hints.map(({ code, text }) => `${code}: ${text}`);

  it('11 both selectors in one item must match: the hint says which one does', () => {
    const both = onApi({ peers: [podsPeer(selector({ app: 'web' }), selector({ team: 'a' }))] });
    expect(hints([both], { src: 'batch' })).toEqual([
      expect.stringMatching(/^peers-and-or: .*in one item: both must match, and only the podSelector does/),
    ]);
    expect(hints([both])).toEqual([]);
  });

  it('11 two items are alternatives: the hint says which one admits more than was meant', () => {
    const either = onApi({
      peers: [podsPeer(undefined, selector({ team: 'a' })), podsPeer(selector({ app: 'x' }))],
    });
    expect(hints([either])).toEqual([
      expect.stringMatching(/^peers-and-or: .*from\[0\] admits every pod of the namespaces/),
    ]);
  });

  it('17 an ipBlock that holds a pod: the hint says that the verdict rests on the reading', () => {
    const block = onApi({ peers: [ipBlock('10.0.0.0/8')] });
    expect(hints([block])).toEqual([
      expect.stringMatching(/^ip-block-reading: .*does not match pods; if it did, the flow would pass/),
    ]);
    expect(hints([block], { matchesPods: true })).toEqual([
      expect.stringMatching(/^ip-block-reading: .*matches pods too; if it did not, the flow would be denied/),
    ]);
    expect(hints([block, onApi({})])).toEqual([]);
  });

  it('32 the Service port in place of the target port', () => {
    expect(hints([onApi({ ports: [{ protocol: 'TCP', port: 80 }] })])).toEqual([
      expect.stringMatching(
        /^service-port: .*names 80, the port of Service shop\/api; policies see the target port 8080/,
      ),
    ]);
    expect(hints([onApi({ ports: [{ protocol: 'TCP', port: 81 }] })])).toEqual([]);
  });

  it('30 a hostNetwork source is an address', () => {
    expect(hints([onApi({ peers: [podsPeer(selector())] })], { src: 'host' })).toEqual([]);
    const other = pod('shop/agent2', '192.168.0.2', { hostNetwork: true, node: 'node2' });
    const engine = policyEngine(
      cluster({ pods: [api, other], networkPolicies: [onApi({ peers: [podsPeer(selector())] })] }),
    );
    const found = explain(engine, {
      src: { kind: 'pod', pod: other },
      dst: ends.api as FlowEnd,
      protocol: 'TCP',
      port: 8080,
    });
    expect(found.hints.map(({ code }) => code)).toEqual(['host-network']);
    expect(found.verdict).toBe('deny');
  });

  it('an invalid part admits nothing, and that is said', () => {
    const broken = {
      ...onApi({ peers: [] }),
      problems: [{ field: 'spec.ingress[0].from[0]', why: 'is empty' }],
    };
    expect(hints([broken])).toContainEqual(
      'invalid-part: NetworkPolicy shop/p spec.ingress[0].from[0] is empty; it admits nothing',
    );
  });
});
