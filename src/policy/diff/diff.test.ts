import { describe, expect, it } from 'vitest';
import {
  cluster,
  ipBlock,
  namespace,
  pod,
  podsPeer,
  policy,
  rules,
  selector,
} from '../../../test/support/objects.ts';
import type { Cluster, NetworkPolicy } from '../../model/cluster.ts';
import { type ConnectionChange, policyText } from '../../model/policy-diff.ts';
import { diffPartyText, portsText, reasonTexts } from '../../report/policy-diff.ts';
import { policyEngine } from '../index.ts';
import { diffConnectivity } from './diff.ts';

const app = (name: string) => selector({ app: name });
const owned = (id: string, ip: string, name: string, more = {}) =>
  pod(id, ip, { owner: { kind: 'Deployment', name }, labels: { app: name }, ...more });
const web = owned('shop/web-1', '10.1.0.1', 'web');
const db = owned('shop/db-1', '10.1.0.2', 'db');
const base = (policies: readonly NetworkPolicy[], more: Parameters<typeof cluster>[0] = {}): Cluster =>
  cluster({ namespaces: [namespace('shop')], pods: [web, db], networkPolicies: policies, ...more });
const admit = (name: string, port: number, from = app('web')) =>
  policy(`shop/${name}`, {
    podSelector: app('db'),
    ingress: rules('ingress', { peers: [podsPeer(from)], ports: [{ protocol: 'TCP', port }] }),
  });
const deny = policy('shop/deny', { ingress: [] });

const diff = (a: Cluster, b: Cluster) =>
  diffConnectivity(policyEngine(a, { dialect: 'kubernetes' }), policyEngine(b, { dialect: 'kubernetes' }));
/** `+ src -> dst before => after (reasons)` of each change. */
const shown = ({ change, src, dst, before, after, ...rest }: ConnectionChange) =>
  `${change} ${diffPartyText(src)} -> ${diffPartyText(dst)}: ${portsText(before)} => ${portsText(after)} (${reasonTexts({ change, src, dst, before, after, ...rest }, () => undefined).join('; ')})`;

describe('diff', () => {
  it('names the policy that was added, removed or edited, and not those beside it', () => {
    const a = base([deny, admit('db', 80)]);
    expect(diff(a, base([deny])).changes.map(shown)).toEqual([
      'removed shop/web[Deployment] -> shop/db[Deployment]: TCP 80 => nothing (NetworkPolicy shop/db was removed (spec.ingress[0]))',
    ]);
    expect(diff(base([deny]), a).changes.map(shown)).toEqual([
      'added shop/web[Deployment] -> shop/db[Deployment]: nothing => TCP 80 (NetworkPolicy shop/db was added (spec.ingress[0]))',
    ]);
    expect(diff(a, base([deny, admit('db', 443), admit('more', 80)])).changes.map(shown)).toEqual([
      'changed shop/web[Deployment] -> shop/db[Deployment]: TCP 80 => TCP 80,443 (NetworkPolicy shop/db was edited (spec.ingress[0]))',
    ]);
  });

  it('names the labels that changed where the policies are the same', () => {
    const a = base([deny, admit('db', 80)]);
    const b = base([deny, admit('db', 80)], { pods: [{ ...web, labels: { app: 'wob' } }, db] });
    expect(diff(a, b).changes.map(shown)).toEqual([
      'removed shop/web[Deployment] -> shop/db[Deployment]: TCP 80 => nothing (NetworkPolicy shop/db is the same (spec.ingress[0]); labels of shop/web[Deployment] (app: web -> wob) changed)',
    ]);
  });

  it('by meaning: other names, order and spelling of selectors make no difference', () => {
    const same = selector({}, [{ key: 'app', operator: 'In', values: ['web', 'nobody'] }]);
    const { changes, inside, policies } = diff(
      base([deny, admit('db', 80)]),
      base([admit('db', 80, same), { ...deny, name: 'closed' }]),
    );
    expect([changes, inside]).toEqual([[], []]);
    expect(
      policies.map(({ policy: name, how, to }) => `${policyText(name)} ${how} ${to?.name ?? ''}`),
    ).toEqual(['NetworkPolicy shop/db edited ', 'NetworkPolicy shop/deny renamed closed']);
  });

  it('of addresses outside only those that differ, in the fewest prefixes', () => {
    const out = (...except: string[]) =>
      policy('shop/out', {
        podSelector: app('web'),
        egress: rules('egress', { peers: [ipBlock('10.0.0.0/8', ...except)] }),
      });
    expect(diff(base([out()]), base([out('10.64.0.0/10')])).changes.map(shown)).toEqual([
      'removed shop/web[Deployment] -> 10.64.0.0/10: everything => nothing (NetworkPolicy shop/out was edited (spec.egress[0]))',
    ]);
  });

  it('workloads of one side only are said, with what they may do', () => {
    const more = owned('shop/api-1', '10.1.0.3', 'api');
    const { changes, onlyInB } = diff(
      base([deny, admit('db', 80)]),
      base([deny, admit('db', 80)], { pods: [web, db, more] }),
    );
    expect(onlyInB.map(({ name }) => name)).toEqual(['api']);
    expect(changes.map(shown)).toEqual([
      'added shop/api[Deployment] -> 0.0.0.0/0: nothing => everything (shop/api[Deployment] is new)',
    ]);
  });

  it('the pods of a workload among themselves are a change of their own', () => {
    const { changes, inside } = diff(
      base([]),
      base([
        policy('shop/p', {
          podSelector: app('db'),
          ingress: rules('ingress', { peers: [podsPeer(app('web')), ipBlock('0.0.0.0/0')] }),
        }),
      ]),
    );
    expect(changes).toEqual([]);
    expect(inside.map(shown)).toEqual([
      'removed shop/db[Deployment] -> shop/db[Deployment]: everything => nothing (NetworkPolicy shop/p was added)',
    ]);
  });

  it('replicas with other names are the same workload', () => {
    const again = [owned('shop/web-9', '10.1.0.9', 'web'), owned('shop/web-8', '10.1.0.8', 'web'), db];
    const { changes, inside, onlyInA, onlyInB } = diff(base([deny]), base([deny], { pods: again }));
    expect([changes, inside, onlyInA, onlyInB]).toEqual([[], [], [], []]);
  });
});
