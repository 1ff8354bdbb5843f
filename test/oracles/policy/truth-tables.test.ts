/** Truth tables of policy sets by feature: engine and reference agree on every cell, and some tables are written out by hand. */
import { describe, expect, it } from 'vitest';
import type { LineProtocol } from '../../../src/net/port-set.ts';
import { type PolicyEngine, policyEngine } from '../../../src/policy/index.ts';
import { referenceVerdict } from '../../../src/policy/reference/index.ts';
import {
  type PolicySet,
  plainAddresses,
  plainWorld,
  policySets,
  together,
  truthCells,
  truthPods,
} from './truth-tables.ts';
import { clusterTiersAround, tiersAround } from './truth-tables-admin.ts';
import { clusterFrom, mergeObjects } from './world.ts';

const engineOf = (set: PolicySet, ipBlockMatchesPods: boolean): PolicyEngine =>
  policyEngine(clusterFrom(mergeObjects(plainWorld, set.objects(plainAddresses))), {
    dialect: 'kubernetes',
    ipBlockMatchesPods,
  });

const marks = { allow: '.', deny: 'X', conditional: '?' } as const;

/** Every cell of both as one text: a row for each sender and port, a column for each receiver. */
function tables(engine: PolicyEngine): { engine: string; reference: string } {
  const text = { engine: '', reference: '' };
  for (const { src, dst, flow } of truthCells(engine.world.cluster)) {
    if (dst === 'x/a') {
      const row = `\n${flow.protocol} ${flow.port} ${src} `;
      text.engine += row;
      text.reference += row;
    }
    text.engine += marks[engine.verdict(flow).verdict];
    text.reference += marks[referenceVerdict(engine.world, flow)];
  }
  return text;
}

describe.each([true, false])('an ipBlock matches pods: %s', (matchesPods) => {
  it.each(policySets.map((set) => [set.name, set] as const))('%s', (_, set) => {
    for (const one of [set, together(set, tiersAround), together(set, clusterTiersAround)]) {
      const found = tables(engineOf(one, matchesPods));
      expect(found.engine, one.name).toBe(found.reference);
    }
  });
});

it('names are unique, and the tables are of many kinds', () => {
  expect(new Set(policySets.map(({ name }) => name)).size).toBe(policySets.length);
  expect(policySets.length).toBeGreaterThan(100);
  const distinct = new Set(policySets.map((set) => tables(engineOf(set, true)).engine));
  expect(distinct.size).toBeGreaterThan(70);
});

interface Expected {
  readonly set: string;
  readonly port?: readonly [LineProtocol, number];
  readonly ipBlockMatchesPods?: boolean;
  /** To x/a x/b x/c, y/a y/b y/c, z/a z/b z/c; a line for each sender in the same order, a group of three lines a namespace. */
  readonly table: string;
}

const onlySelf = `
  .XX ... ...
  X.X ... ...
  XX. ... ...`;

/** By hand, from the words of the API: what engine and reference could get wrong together. `.` passes, `X` does not, `?` is not decided. */
const byHand: readonly Expected[] = [
  {
    set: 'into x: pod b of namespace y',
    table: `${onlySelf}
      XXX ... ...
      ... ... ...
      XXX ... ...
      XXX ... ...
      XXX ... ...
      XXX ... ...`,
  },
  {
    set: 'into x: pod b, or namespace y',
    table: `
      .XX ... ...
      ... ... ...
      XX. ... ...
      ... ... ...
      ... ... ...
      ... ... ...
      XXX ... ...
      XXX ... ...
      XXX ... ...`,
  },
  {
    set: 'no egress from x/a',
    table: `
      .XX XXX XXX
      ${'... ... ...\n'.repeat(8)}`,
  },
  {
    set: 'an egress rule isolates ingress too',
    table: `${onlySelf}
      ${'XXX ... ...\n'.repeat(6)}`,
  },
  {
    set: 'ports into x from y: an empty item is all of TCP',
    table: `${onlySelf}
      ${'... ... ...\n'.repeat(3)}
      ${'XXX ... ...\n'.repeat(3)}`,
  },
  {
    set: 'ports into x from y: an empty item is all of TCP',
    port: ['UDP', 80],
    table: `${onlySelf}
      ${'XXX ... ...\n'.repeat(6)}`,
  },
  {
    set: 'ports out of x/a: a name by another protocol',
    port: ['TCP', 81],
    table: `
      .XX XXX XXX
      ${'... ... ...\n'.repeat(8)}`,
  },
  {
    set: 'into x: every address but one',
    ipBlockMatchesPods: true,
    table: `
      ... ... ...
      ... ... ...
      ... ... ...
      XXX ... ...
      ${'... ... ...\n'.repeat(5)}`,
  },
  {
    set: 'into x: every address but one',
    table: `${onlySelf}
      ${'XXX ... ...\n'.repeat(6)}`,
  },
  {
    set: 'into x: an exception that another block takes back',
    ipBlockMatchesPods: true,
    table: `${onlySelf}
      ${'XXX ... ...\n'.repeat(5)}
      ... ... ...`,
  },
  {
    set: 'both ends agree',
    table: `
      .XX ... XXX
      X.X ... XXX
      XX. ... XXX
      ... .XX ...
      ... X.X ...
      ... XX. ...
      ${'... XXX ...\n'.repeat(3)}`,
  },
  {
    set: 'all cut off but one way',
    table: `
      .XX X.X XXX
      X.X XXX XXX
      XX. XXX XXX
      XXX .XX XXX
      XXX X.X XXX
      XXX XX. XXX
      XXX XXX .XX
      XXX XXX X.X
      XXX XXX XX.`,
  },
  {
    set: 'pass leaves the whole tier',
    table: `${onlySelf}
      ${'... ... ...\n'.repeat(3)}
      ${'XXX ... ...\n'.repeat(3)}`,
  },
  {
    set: 'equal priorities that disagree',
    table: `
      ${'... ... ...\n'.repeat(6)}
      ${'??? ... ...\n'.repeat(3)}`,
  },
  {
    set: 'baseline is not asked where a NetworkPolicy is',
    table: `
      .XX XXX XXX
      X.X XXX XXX
      XX. XXX XXX
      .XX .XX XXX
      .XX X.X XXX
      .XX XX. XXX
      XXX XXX .XX
      XXX XXX X.X
      XXX XXX XX.`,
  },
  {
    set: 'a peer of an unknown kind: pass denies',
    table: `${onlySelf}
      ${'XXX ... ...\n'.repeat(6)}`,
  },
];

it.each(byHand.map((one) => [`${one.set}, ${(one.port ?? ['TCP', 80]).join(' ')}`, one] as const))(
  'by hand: %s',
  (_, { set: name, port = ['TCP', 80], ipBlockMatchesPods = false, table }) => {
    const set = policySets.find((one) => one.name === name);
    if (set === undefined) throw new Error(`no set ${name}`);
    const engine = engineOf(set, ipBlockMatchesPods);
    const rows = table.match(/[.X?]{3} [.X?]{3} [.X?]{3}/g) ?? [];
    expect(rows.length).toBe(truthPods.length);
    const cells = truthCells(engine.world.cluster).filter(
      ({ flow }) => flow.protocol === port[0] && flow.port === port[1],
    );
    for (const ask of [
      (flow: (typeof cells)[number]['flow']) => engine.verdict(flow).verdict,
      (flow: (typeof cells)[number]['flow']) => referenceVerdict(engine.world, flow),
    ]) {
      const found = truthPods.map((src) =>
        cells
          .filter((cell) => cell.src === src)
          .map(({ flow }) => marks[ask(flow)])
          .join('')
          .replace(/(...)(?=.)/g, '$1 '),
      );
      expect(found).toEqual(rows);
    }
  },
);
