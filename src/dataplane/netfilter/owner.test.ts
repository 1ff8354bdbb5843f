import { expect, test } from 'vitest';
import { decodeComment, formatSubject, ownerOf } from './owner.ts';

test.each([
  ['KUBE-FORWARD', undefined, 'kube-proxy'],
  ['KUBE-POD-FW-2LYUA5YEYZYF5NXK', undefined, 'kube-router'],
  ['cali-FORWARD', undefined, 'calico'],
  ['CILIUM_FORWARD', undefined, 'cilium'],
  ['FLANNEL-FWD', undefined, 'flannel'],
  ['DOCKER-USER', undefined, 'docker'],
  ['ufw-user-input', undefined, 'ufw'],
  ['AWS-SNAT-CHAIN-0', undefined, 'aws-vpc-cni'],
  ['FORWARD', 'flanneld forward', 'flannel'],
  ['FORWARD', 'kubernetes forwarding rules', 'kube-proxy'],
  ['FORWARD', 'kube-router netpol - TEMCG2JMHZYE7H7T', 'kube-router'],
  ['FORWARD', 'company policy 7', 'foreign'],
  ['FORWARD', '', 'foreign'],
])('%s "%s" is of %s', (chain, comment, owner) => {
  expect(ownerOf(chain, comment === undefined ? {} : { comment })).toBe(owner);
});

test('a built-in policy belongs to nobody', () => {
  expect(ownerOf('FORWARD')).toBe('built-in');
});

test.each([
  ['shop/api:http cluster IP', 'KUBE-SERVICES', 'Service shop/api:http', { about: 'cluster-ip' }],
  ['payments/ledger cluster IP', 'KUBE-SERVICES', 'Service payments/ledger', { about: 'cluster-ip' }],
  ['shop/api:http has no endpoints', 'KUBE-SERVICES', 'Service shop/api:http', { about: 'no-endpoints' }],
  [
    'shop/api:http has no local endpoints',
    'KUBE-EXTERNAL-SERVICES',
    'Service shop/api:http',
    { about: 'no-endpoints' },
  ],
  [
    'shop/api:http -> 10.244.1.4:8080',
    'KUBE-SVC-RUKNB3TURLFC6SGL',
    'Service shop/api:http',
    { endpoint: '10.244.1.4:8080' },
  ],
  ['shop/web-k74cn reject', 'KUBE-POD-FW-2LYUA5YEYZYF5NXK', 'pod shop/web-k74cn', { about: 'reject' }],
  ['shop/db-from-api policy', 'KUBE-POD-FW-2LYUA5YEYZYF5NXK', 'NetworkPolicy shop/db-from-api', {}],
  [
    'shop/db-from-api ingress pods np',
    'KUBE-NWPLCY-OQNBYKV4FL5M6A4B',
    'NetworkPolicy shop/db-from-api',
    { direction: 'ingress' },
  ],
  [
    'cali:abc Policy shop/knp.default.deny ingress',
    'cali-tw-cali123',
    'NetworkPolicy shop/deny',
    { direction: 'ingress' },
  ],
])('%s in %s', (comment, chain, text, detail) => {
  const subject = decodeComment(comment, chain);
  expect(subject).toMatchObject(detail);
  expect(subject && formatSubject(subject)).toBe(text);
});

test.each([
  ['kubernetes service portals', 'KUBE-SERVICES'],
  ['default ingress', 'KUBE-POD-FW-2LYUA5YEYZYF5NXK'],
  ['my/own note', 'FORWARD'],
  [undefined, 'KUBE-SERVICES'],
])('%s in %s names nothing', (comment, chain) => {
  expect(decodeComment(comment, chain)).toBeUndefined();
});
