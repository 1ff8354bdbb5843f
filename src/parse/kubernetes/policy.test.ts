import { describe, expect, it } from 'vitest';
import { prefix } from '../../net/prefix.ts';
import { readNetworkPolicy } from './policy.ts';

const policy = (spec: unknown) =>
  readNetworkPolicy({ metadata: { name: 'p', namespace: 'n' }, spec } as never);
const peers = (from: unknown) => policy({ ingress: [{ from }] });
const ports = (list: unknown) => policy({ ingress: [{ ports: list }] });
const fields = (read: ReturnType<typeof policy>) => read.problems.map((problem) => problem.field);

describe('defaults', () => {
  it.each([
    [{}, [], undefined],
    [undefined, [], undefined],
    [{ egress: [] }, [], undefined],
    [{ egress: [{}] }, [], [{ field: 'spec.egress[0]' }]],
    [{ ingress: null }, [], undefined],
    [{ ingress: [{}] }, [{ field: 'spec.ingress[0]' }], undefined],
    [{ policyTypes: ['Egress'], ingress: [{}] }, undefined, []],
    [{ policyTypes: ['Ingress', 'Egress'] }, [], []],
    [{ policyTypes: ['Ingress'], egress: [{}] }, [], undefined],
  ])('%j', (spec, ingress, egress) => {
    const read = policy(spec);
    expect([read.ingress, read.egress, read.problems]).toEqual([ingress, egress, []]);
  });
  it('selects every pod where the selector is left out', () => {
    expect(policy({}).podSelector).toEqual({ matchLabels: {}, matchExpressions: [] });
  });
});

describe('peers', () => {
  it.each([[undefined], [null], [[]]])('from %j is anybody', (from) => {
    expect(peers(from).ingress?.[0]).not.toHaveProperty('peers');
  });
  it('reads selectors and blocks', () => {
    const read = peers([
      { podSelector: {} },
      {
        namespaceSelector: { matchLabels: { a: '' } },
        podSelector: { matchExpressions: [{ key: 'k', operator: 'NotIn', values: ['v'] }] },
      },
      { ipBlock: { cidr: '10.1.2.3/8', except: ['10.9.0.0/16'] } },
    ]);
    expect(read.problems).toEqual([]);
    expect(read.ingress?.[0]?.peers).toMatchObject([
      { kind: 'pods', podSelector: { matchLabels: {} } },
      {
        kind: 'pods',
        namespaceSelector: { matchLabels: { a: '' } },
        podSelector: { matchExpressions: [{ key: 'k', operator: 'NotIn', values: ['v'] }] },
      },
      {
        kind: 'ip-block',
        cidr: prefix('10.0.0.0/8'),
        except: [prefix('10.9.0.0/16')],
        field: 'spec.ingress[0].from[2]',
      },
    ]);
    expect(read.ingress?.[0]?.peers?.[0]).not.toHaveProperty('namespaceSelector');
  });
  it.each([
    [{}, ''],
    [null, ''],
    ['x', ''],
    [{ ipBlock: { cidr: '10.0.0.0/8' }, podSelector: {} }, ''],
    [{ ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/16'] } }, '.ipBlock.except[0]'],
    [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.0.0.0/8'] } }, '.ipBlock.except[0]'],
    [{ ipBlock: { cidr: '10.0.0.0' } }, '.ipBlock.cidr'],
    [
      { podSelector: { matchExpressions: [{ key: 'k', operator: 'In' }] } },
      '.podSelector.matchExpressions[0].values',
    ],
    [
      { podSelector: { matchExpressions: [{ key: 'k', operator: 'Exists', values: ['a'] }] } },
      '.podSelector.matchExpressions[0].values',
    ],
    [
      { podSelector: { matchExpressions: [{ key: 'k', operator: 'Like' }] } },
      '.podSelector.matchExpressions[0].operator',
    ],
  ])('%j matches nobody and is named', (peer, field) => {
    const read = peers([peer]);
    expect(read.ingress?.[0]?.peers).toEqual([]);
    expect(fields(read)).toEqual([`spec.ingress[0].from[0]${field}`]);
  });
  it('names a wrong list instead of allowing all', () => {
    expect(peers('x').ingress?.[0]?.peers).toEqual([]);
    expect(fields(policy({ ingress: 'x' }))).toEqual(['spec.ingress']);
    expect(fields(policy({ ingress: [null] }))).toEqual(['spec.ingress[0]']);
  });
  it.each([
    [{ ingress: [{ form: [{ podSelector: {} }] }] }, 'spec.ingress[0].form'],
    [{ ingress: [{ from: [{ podSelector: {}, namespaces: {} }] }] }, 'spec.ingress[0].from[0].namespaces'],
    [
      { ingress: [{ from: [{ podSelector: { matchLabel: { a: 'b' } } }] }] },
      'spec.ingress[0].from[0].podSelector.matchLabel',
    ],
    [
      { ingress: [{ from: [{ ipBlock: { cidr: '10.0.0.0/8', not: [] } }] }] },
      'spec.ingress[0].from[0].ipBlock.not',
    ],
    [{ ingress: [{ ports: [{ ports: 80 }] }] }, 'spec.ingress[0].ports[0].ports'],
  ])('%j: a field that the API has not allows nobody and is named', (spec, field) => {
    const read = policy(spec);
    expect(fields(read)).toEqual([field]);
    const [rule] = read.ingress ?? [];
    expect(rule === undefined || rule.peers?.length === 0 || rule.ports?.length === 0).toBe(true);
  });
  it('names a misspelt section', () => {
    expect(fields(policy({ egres: [{}] }))).toEqual(['spec.egres']);
  });
  it('throws where nobody can say which pods are selected', () => {
    expect(() => policy({ podSelector: [] })).toThrow('spec.podSelector must be an object, is a list');
    expect(() => policy({ podSelector: { labels: {} } })).toThrow('spec.podSelector.labels is no field');
  });
});

describe('ports', () => {
  it.each([[undefined], [null], [[]]])('ports %j is every port', (list) => {
    expect(ports(list).ingress?.[0]).not.toHaveProperty('ports');
  });
  const field = 'spec.ingress[0].ports[0]';
  it.each([
    [{}, { protocol: 'TCP', field }],
    [{ protocol: 'UDP' }, { protocol: 'UDP', field }],
    [{ port: 80 }, { protocol: 'TCP', port: 80, field }],
    [
      { port: 'http', protocol: 'SCTP' },
      { protocol: 'SCTP', port: 'http', field },
    ],
    [
      { port: 80, endPort: 90 },
      { protocol: 'TCP', port: 80, endPort: 90, field },
    ],
    [
      { port: 80, endPort: 80 },
      { protocol: 'TCP', port: 80, endPort: 80, field },
    ],
  ])('%j', (port, expected) => expect(ports([port]).ingress?.[0]?.ports).toEqual([expected]));
  it.each([
    [{ port: 80, endPort: 79 }],
    [{ port: 'http', endPort: 90 }],
    [{ endPort: 90 }],
    [{ port: 0 }],
    [{ port: 70000 }],
    [{ port: '80' }],
    [{ port: {} }],
    [{ protocol: 'tcp' }],
    [null],
  ])('%j matches no port and is named', (port) => {
    const read = ports([port]);
    expect(read.ingress?.[0]?.ports).toEqual([]);
    expect(read.problems).toHaveLength(1);
  });
});
