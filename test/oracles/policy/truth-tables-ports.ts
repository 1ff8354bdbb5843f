/** Sets of NetworkPolicies about ports, at the end that receives and at the end that sends. */
import type { JsonObject } from '../../../src/parse/json.ts';
import type { PolicySet } from './truth-tables.ts';
import { everyone, ns, pod, policies } from './truth-tables-peers.ts';

const lists: readonly (readonly [name: string, ...ports: readonly JsonObject[]])[] = [
  ['80, TCP where nothing is said', { port: 80 }],
  ['81 by UDP', { port: 81, protocol: 'UDP' }],
  ['80 by SCTP', { port: 80, protocol: 'SCTP' }],
  ['an empty item is all of TCP', {}],
  ['all of UDP', { protocol: 'UDP' }],
  ['all of SCTP', { protocol: 'SCTP' }],
  ['a range of both', { port: 80, endPort: 81 }],
  ['a range that ends at 80', { port: 1, endPort: 80, protocol: 'UDP' }],
  ['a range that begins at 81', { port: 81, endPort: 65535, protocol: 'SCTP' }],
  ['a name', { port: 'serve-80-tcp' }],
  ['a name by UDP', { port: 'serve-81-udp', protocol: 'UDP' }],
  ['a name by another protocol', { port: 'serve-81-udp' }],
  ['a name that no pod has', { port: 'http' }],
  ['two numbers', { port: 80 }, { port: 81 }],
  ['one number by two protocols', { port: 80 }, { port: 80, protocol: 'UDP' }],
  ['a name and a range', { port: 'serve-80-sctp', protocol: 'SCTP' }, { port: 81, endPort: 90 }],
  ['an endPort below the port', { port: 81, endPort: 80 }],
  ['an endPort after a name', { port: 'serve-80-tcp', endPort: 81 }],
];

const sets = lists.flatMap(([name, ...ports]): readonly PolicySet[] => [
  {
    name: `ports into x from y: ${name}`,
    objects: () => policies(['x', { ...everyone, ingress: [{ ports, from: [ns('y')] }] }]),
  },
  {
    name: `ports out of x/a: ${name}`,
    objects: () => policies(['x', { ...pod('a'), policyTypes: ['Egress'], egress: [{ ports }] }]),
  },
]);

export const egressPorts: readonly PolicySet[] = [
  ...sets,
  {
    name: 'a name with an ipBlock has no meaning on the way out',
    objects: () =>
      policies([
        'x',
        {
          ...everyone,
          policyTypes: ['Egress'],
          egress: [{ ports: [{ port: 'serve-80-tcp' }], to: [{ ipBlock: { cidr: '0.0.0.0/0' } }] }],
        },
      ]),
  },
  {
    name: 'a name with an ipBlock has its own meaning on the way in',
    objects: () =>
      policies([
        'x',
        {
          ...everyone,
          ingress: [{ ports: [{ port: 'serve-80-tcp' }], from: [{ ipBlock: { cidr: '0.0.0.0/0' } }] }],
        },
      ]),
  },
  {
    name: 'the two ends let different ports pass',
    objects: () =>
      policies(
        [
          'x',
          { ...everyone, policyTypes: ['Egress'], egress: [{ ports: [{ port: 80 }, { protocol: 'UDP' }] }] },
        ],
        ['y', { ...everyone, ingress: [{ ports: [{ port: 81 }, { protocol: 'UDP', port: 81 }] }] }],
      ),
  },
  {
    name: 'two policies with different ports and peers do not mix',
    objects: () =>
      policies(
        ['x', { ...everyone, ingress: [{ ports: [{ port: 80 }], from: [ns('y')] }] }],
        ['x', { ...everyone, ingress: [{ ports: [{ port: 81 }], from: [ns('z')] }] }],
      ),
  },
];
