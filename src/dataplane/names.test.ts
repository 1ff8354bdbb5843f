import { describe, expect, it } from 'vitest';
import { cluster, namespace, service } from '../../test/support/objects.ts';
import { expandName } from '../model/resolver.ts';
import { formatAddress } from '../net/address.ts';
import { resolveName } from './names.ts';

const resolver = {
  nameservers: [],
  search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
  ndots: 5,
};
const objects = cluster({
  namespaces: [namespace('shop'), namespace('ops')],
  services: [service('shop/api', '10.96.0.20'), service('ops/tool', '10.96.0.30')],
});

describe('the resolver', () => {
  it.each([
    ['api', 5, ['api.shop.svc.cluster.local', 'api.svc.cluster.local', 'api.cluster.local', 'api']],
    ['api.', 5, ['api']],
    [
      'a.b.c.d.e.f',
      5,
      [
        'a.b.c.d.e.f',
        'a.b.c.d.e.f.shop.svc.cluster.local',
        'a.b.c.d.e.f.svc.cluster.local',
        'a.b.c.d.e.f.cluster.local',
      ],
    ],
    [
      'example.com',
      1,
      [
        'example.com',
        'example.com.shop.svc.cluster.local',
        'example.com.svc.cluster.local',
        'example.com.cluster.local',
      ],
    ],
  ] as const)('asks for %s with ndots %i in order', (name, ndots, asked) => {
    expect(expandName(name, { ...resolver, ndots })).toEqual(asked);
  });
});

describe('the cluster answers', () => {
  const answer = (name: string) => {
    const found = resolveName(objects, resolver, name);
    return found.state === 'found' ? found.addresses.map(formatAddress).join() : found.state;
  };
  it.each([
    ['api', '10.96.0.20'],
    ['api.shop', '10.96.0.20'],
    ['tool.ops.svc', '10.96.0.30'],
    ['api.shop.svc.cluster.local', '10.96.0.20'],
    ['api.shop.svc.cluster.local.', '10.96.0.20'],
    ['10-244-1-7.shop.pod', '10.244.1.7'],
    // Another namespace's short name, and a typing error in one of the cluster's own names.
    ['tool', 'none'],
    ['apj.shop', 'none'],
    ['apj.shop.svc.cluster.local', 'none'],
    // Only the upstream resolver knows.
    ['example.com', 'outside'],
  ] as const)('%s -> %s', (name, expected) => {
    expect(answer(name)).toBe(expected);
  });
});
