import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode, type RecordType } from 'dns-packet';
import { afterAll, expect, test } from 'vitest';
import { answerQuery, cluster } from './dns.ts';

const dir = mkdtempSync(join(tmpdir(), 'podpath-dns-'));
mkdirSync(join(dir, 'cluster'));
afterAll(() => rmSync(dir, { recursive: true }));

const write = (file: string, items: unknown[]) =>
  writeFileSync(join(dir, 'cluster', file), JSON.stringify({ items }));
const service = (name: string, clusterIP: string, ...clusterIPs: string[]) => ({
  metadata: { namespace: 'shop', name },
  spec: { clusterIP, clusterIPs },
});
write('services.json', [
  service('api', '10.96.0.7', '10.96.0.7', 'fd00::7'),
  service('peers', 'None', 'None'),
]);
write('endpointslices.discovery.k8s.io.json', [
  {
    metadata: { namespace: 'shop', labels: { 'kubernetes.io/service-name': 'peers' } },
    endpoints: [{ addresses: ['10.244.1.2'] }, { addresses: ['10.244.2.2'] }],
  },
]);

function ask(name: string, type: RecordType, names = cluster(dir)): [rcode: string, ...data: string[]] {
  const reply = answerQuery(
    encode({ type: 'query', id: 7, flags: 0x0100, questions: [{ name, type }] }),
    names,
  );
  if (reply === undefined) throw new Error('no answer');
  const { id, rcode, answers } = decode(reply) as unknown as {
    id: number;
    rcode: string;
    answers: { data: string }[];
  };
  expect(id).toBe(7);
  return [rcode, ...answers.map(({ data }) => data)];
}

test.each<[string, RecordType, string[]]>([
  ['api.shop.svc.cluster.local', 'A', ['NOERROR', '10.96.0.7']],
  ['API.Shop.svc.cluster.local', 'A', ['NOERROR', '10.96.0.7']],
  ['api.shop.svc.cluster.local', 'AAAA', ['NOERROR', 'fd00::7']],
  ['api.shop.svc.cluster.local', 'MX', ['NOERROR']],
  ['peers.shop.svc.cluster.local', 'A', ['NOERROR', '10.244.1.2', '10.244.2.2']],
  ['peers.shop.svc.cluster.local', 'AAAA', ['NOERROR']],
  ['nothing.shop.svc.cluster.local', 'A', ['NXDOMAIN']],
  ['api.shop', 'A', ['NXDOMAIN']],
  ['api.shop.svc.cluster.local.shop.svc.cluster.local', 'A', ['NXDOMAIN']],
  ['example.com', 'A', ['NXDOMAIN']],
])('%s %s', (name, type, expected) => {
  expect(ask(name, type)).toEqual(expected);
});

test('the objects are read again when they have changed', async () => {
  const names = cluster(dir);
  expect(ask('late.shop.svc.cluster.local', 'A', names)).toEqual(['NXDOMAIN']);
  await new Promise((resolve) => setTimeout(resolve, 20));
  write('services.json', [service('late', '10.96.0.9', '10.96.0.9')]);
  expect(ask('late.shop.svc.cluster.local', 'A', names)).toEqual(['NOERROR', '10.96.0.9']);
});

test('bytes that are no query get no answer, and too long an answer is cut with TC', () => {
  const many = Array.from({ length: 60 }, (_, index) => `10.0.0.${index}`);
  for (const bytes of [Buffer.alloc(0), Buffer.from('x'), Buffer.alloc(12, 0xff)])
    expect(answerQuery(bytes, () => many)).toBeUndefined();
  const query = encode({ type: 'query', id: 1, questions: [{ name: 'a.b', type: 'A' }] });
  const short = decode(answerQuery(query, () => many) ?? Buffer.alloc(0));
  expect([short.flag_tc, short.answers?.length]).toEqual([true, 0]);
  expect(decode(answerQuery(query, () => many, 65_535) ?? Buffer.alloc(0)).answers).toHaveLength(60);
});
