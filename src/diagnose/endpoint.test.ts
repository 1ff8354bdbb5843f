import { describe, expect, it } from 'vitest';
import { pod, ports } from '../../test/support/objects.ts';
import { healthyObjects, makeSnapshot } from '../../test/support/snapshot.ts';
import { PodpathError } from '../model/errors.ts';
import { known } from '../model/known.ts';
import { formatAddress } from '../net/address.ts';
import { formatEndpoint, resolveEndpoint, splitTarget } from './endpoint.ts';
import { askedFlows } from './question.ts';

const owner = { kind: 'DaemonSet', name: 'agent' };
const snapshot = makeSnapshot({
  cluster: {
    pods: [
      ...(healthyObjects().pods ?? []),
      pod('shop/agent-1', '10.244.1.9', { owner }),
      pod('shop/agent-2', '10.244.2.9', {
        owner,
        node: 'node2',
        containers: ports([1, 'a'], [2, 'b', 'UDP']),
      }),
      pod('shop/old', '10.244.2.2', { phase: 'Succeeded' }),
    ],
    workloads: [{ kind: 'DaemonSet', namespace: 'shop', name: 'agent', labels: {}, desired: 2, ready: 2 }],
  },
});
const resolver = known({
  nameservers: [],
  search: ['shop.svc.cluster.local', 'svc.cluster.local', 'cluster.local'],
  ndots: 5,
});
const options = { snapshot, namespace: 'shop', resolver };

const complaint = (act: () => unknown): { code: string; todo: string } => {
  try {
    act();
  } catch (error) {
    if (error instanceof PodpathError) return error.complaint;
    throw error;
  }
  return { code: 'none', todo: '' };
};

describe('an endpoint', () => {
  it.each([
    ['shop/web', ['shop/web']],
    ['web', ['shop/web']],
    ['shop/pod/web', ['shop/web']],
    ['svc/api', ['shop/svc/api']],
    ['svc/shop/api', ['shop/svc/api']],
    ['kube-system/svc/kube-dns', ['kube-system/svc/kube-dns']],
    ['shop/ds/agent', ['shop/agent-1', 'shop/agent-2']],
    ['node/node2', ['node2']],
    ['10.244.2.2', ['shop/api']],
    ['10.96.0.20', ['shop/svc/api']],
    ['10.0.0.3', ['node3']],
    ['192.0.2.1', ['192.0.2.1']],
    ['api.shop', ['shop/svc/api']],
  ] as const)('%s is %j', (text, expected) => {
    expect(resolveEndpoint(text, options).endpoints.map(formatEndpoint)).toEqual(expected);
  });

  it.each([
    ['shop/wen', 'endpoint/not-found', 'did you mean shop/web'],
    ['shop/agent', 'endpoint/ambiguous', 'shop/agent-1, shop/agent-2, shop/ds/agent'],
    ['shop/old', 'endpoint/not-found', ''],
    ['shop/foo/web', 'endpoint/kind', 'shop/pod/web'],
    ['shop/svc/apj', 'endpoint/not-found', 'shop/svc/api'],
    ['node/node9', 'endpoint/not-found', 'node1'],
    ['a//b', 'endpoint/malformed', ''],
    ['a/b/c/d', 'endpoint/malformed', ''],
    ['', 'endpoint/malformed', ''],
    ['example.com', 'endpoint/outside-name', ''],
  ] as const)('%s is refused as %s', (text, code, todo) => {
    const found = complaint(() => resolveEndpoint(text, options));
    expect(found.code).toBe(code);
    expect(found.todo).toContain(todo);
  });

  it('a name that the cluster does not know is no error: DNS is part of the flow', () => {
    expect(resolveEndpoint('kube-dns', options).notFound?.[0]).toBe('kube-dns.shop.svc.cluster.local');
  });
});

describe('a destination', () => {
  it.each([
    ['shop/api:80', { host: 'shop/api', port: 80 }],
    ['shop/api', { host: 'shop/api' }],
    ['[fd00::1]:53', { host: 'fd00::1', port: 53 }],
    ['fd00::1', { host: 'fd00::1' }],
  ])('%s', (text, expected) => {
    expect(splitTarget(text)).toEqual(expected);
  });
  it.each(['shop/api:0', 'shop/api:65536', 'shop/api:http', 'shop/api:', '[fd00::1]:x'])(
    '%s has no port',
    (text) => {
      expect(complaint(() => splitTarget(text)).code).toBe('endpoint/port');
    },
  );
});

describe('a question', () => {
  const ask = (src: string, dst: string) => askedFlows(snapshot, { src, dst, namespace: 'default' });
  it('takes the only declared port, and pings what declares none', () => {
    expect(ask('shop/web', 'shop/api').flows[0]).toMatchObject({ protocol: 'tcp', dstPort: 8080 });
    expect(ask('shop/api', 'shop/web').flows[0]).toMatchObject({ protocol: 'icmp', dstPort: 0 });
  });
  it('asks which of several ports', () => {
    const found = complaint(() => ask('shop/web', 'shop/agent-2'));
    expect(found).toMatchObject({
      code: 'endpoint/no-port',
      todo: expect.stringContaining('shop/agent-2:1'),
    });
  });
  it('is every pair of a workload', () => {
    const { flows } = ask('shop/ds/agent', 'shop/api:8080');
    expect(flows.map((flow) => formatAddress(flow.src.address))).toEqual(['10.244.1.9', '10.244.2.9']);
  });
});
