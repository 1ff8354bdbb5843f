import { expect, it } from 'vitest';
import { z } from 'zod';
import type { NetfilterDiff, NetfilterFinding, NetfilterRules } from '../model/netfilter-report.ts';
import { netfilterDiffJson, netfilterDiffText } from './netfilter-diff.ts';
import { netfilterLintJson, netfilterLintText } from './netfilter-lint.ts';
import { netfilterDiffReport, netfilterLintReport, netfilterShowReport } from './netfilter-schema.ts';
import { netfilterShowJson, netfilterShowText } from './netfilter-show.ts';
import { plainStyle } from './style.ts';

const place = (line: number, text: string) => ({ file: 'rules.txt', line, text });

const finding = (severity: NetfilterFinding['severity'], text: string): NetfilterFinding => ({
  rule: 'shadowed-rule',
  severity,
  backend: 'nft',
  family: 'ip',
  table: 'filter',
  chain: 'FORWARD',
  owner: 'foreign',
  text,
  todo: 'remove it',
  place: place(7, '-A FORWARD -s 10.1.0.0/16 -j ACCEPT'),
  because: [place(6, '-A FORWARD -s 10.0.0.0/8 -j DROP\u001b[31m')],
});
const lints = [
  {
    name: 'node1',
    lint: {
      findings: [finding('warning', 'no packet comes to it'), finding('info', 'a remark')],
      files: ['rules.txt'],
      ruleCount: 2,
      notRun: [],
    },
  },
];

const at = { family: 'ip', table: 'filter', chain: 'FORWARD' };
const diff: NetfilterDiff = {
  tables: [
    {
      family: 'ip',
      table: 'filter',
      backends: ['legacy', 'nft'],
      changes: [
        { ...at, kind: 'removed', text: 'rule 1', a: place(6, '-A FORWARD -j DROP') },
        {
          ...at,
          kind: 'added',
          text: 'rule 2',
          subject: 'Service shop/api',
          b: place(8, '-A FORWARD -p tcp -j DROP'),
        },
      ],
      meaning: { state: 'different', hook: 'forward', packet: 'udp any -> any', a: 'drop', b: 'accept' },
      renamed: [['KUBE-SVC-A', 'KUBE-SVC-B']],
      reordered: 1,
    },
  ],
};

const rules: NetfilterRules = {
  files: ['rules.txt'],
  chains: [
    {
      backend: 'nft',
      family: 'ip',
      table: 'nat',
      name: 'PREROUTING',
      owner: 'built-in',
      base: { hook: 'prerouting', priority: -100, policy: 'ACCEPT', devices: [] },
      place: place(2, ':PREROUTING ACCEPT [0:0]'),
      calledBy: [],
      reachable: true,
      rules: [
        {
          place: place(4, '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES'),
          owner: 'kube-proxy',
          comment: 'kubernetes service portals',
          counters: { packets: 7, bytes: 420 },
          targets: ['KUBE-SERVICES'],
          unknown: [],
        },
      ],
    },
    {
      backend: 'nft',
      family: 'ip',
      table: 'nat',
      name: 'KUBE-SERVICES',
      owner: 'kube-proxy',
      place: place(3, ':KUBE-SERVICES - [0:0]'),
      calledBy: ['PREROUTING'],
      reachable: true,
      rules: [
        {
          place: place(5, '-A KUBE-SERVICES -m strange --option 1 -j ACCEPT'),
          owner: 'kube-proxy',
          subject: 'Service shop/api:http',
          targets: [],
          unknown: ['match module strange is not known'],
        },
      ],
    },
  ],
};

it('lint: worst first in sight, remarks counted', () => {
  expect(netfilterLintText(lints, plainStyle)).toBe(
    [
      '1 warning, 1 remark in 2 rules',
      '',
      'node1',
      '',
      'warning  ip filter FORWARD: no packet comes to it',
      '         rules.txt:7: -A FORWARD -s 10.1.0.0/16 -j ACCEPT',
      '         rules.txt:6: -A FORWARD -s 10.0.0.0/8 -j DROP?[31m',
      '         do: remove it (shadowed-rule)',
      '',
      '1 remark more with -v',
    ].join('\n'),
  );
  expect(netfilterLintText(lints, { ...plainStyle, verbose: true })).toContain('a remark');
});

it('diff: rules under their chain, then a packet', () => {
  expect(netfilterDiffText(diff, plainStyle)).toBe(
    [
      '2 differences',
      '',
      'ip filter (legacy in A, nft in B)',
      '  FORWARD',
      '    - -A FORWARD -j DROP',
      '      rules.txt:6, rule 1',
      '    + -A FORWARD -p tcp -j DROP  # Service shop/api',
      '      rules.txt:8, rule 2',
      '  Packets are treated differently at forward, such as:',
      '    udp any -> any: A drop, B accept',
      '  1 rule stands in another order, which no packet can tell',
      '  KUBE-SVC-A is now called KUBE-SVC-B',
    ].join('\n'),
  );
});

it('show: the tree from the hook, and one chain with who leads to it', () => {
  expect(netfilterShowText([{ name: '', rules }], undefined, plainStyle)).toBe(
    [
      'prerouting',
      '  ip nat PREROUTING (nft, priority -100, policy ACCEPT)',
      '        4  -j KUBE-SERVICES  # kubernetes service portals  [7 packets]',
      '      KUBE-SERVICES  [kube-proxy]',
      '            5  -m strange --option 1 -j ACCEPT  # Service shop/api:http  ? match module strange is not known',
    ].join('\n'),
  );
  expect(netfilterShowText([{ name: '', rules }], 'KUBE-SERVICES', plainStyle)).toMatch(
    /^led to by\n {2}PREROUTING 4: -j KUBE-SERVICES\nKUBE-SERVICES/,
  );
});

/** Published schemas allow fields that later versions add; the reports here have no others. */
function published(schema: z.ZodType, title: string): string {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      delete jsonSchema.additionalProperties;
    },
  });
  return `${JSON.stringify({ $schema, title, ...rest }, undefined, 2)}\n`;
}

it.each([
  ['netfilter-lint', netfilterLintReport, netfilterLintJson(lints), 'podpath netfilter lint -o json'],
  ['netfilter-diff', netfilterDiffReport, netfilterDiffJson(diff), 'podpath netfilter diff -o json'],
  [
    'netfilter-show',
    netfilterShowReport,
    netfilterShowJson([{ name: '', rules }], undefined),
    'podpath netfilter show -o json',
  ],
] as const)(
  'docs/schema/%s.json is up to date, and the report has that shape',
  async (name, schema, json, title) => {
    expect(schema.parse(json)).toEqual(json);
    await expect(published(schema, title)).toMatchFileSnapshot(`../../docs/schema/${name}.json`);
  },
);
