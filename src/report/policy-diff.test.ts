import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ConnectionChange, NamedParty } from '../model/policy-diff.ts';
import type { PolicyLint } from '../model/policy-lint.ts';
import type { PolicyDiffReport } from './policy-diff.ts';
import { policyDiffCsv } from './policy-diff-csv.ts';
import { policyDiffDot } from './policy-diff-dot.ts';
import { policyDiffHtml } from './policy-diff-html.ts';
import { policyDiffJson } from './policy-diff-json.ts';
import { policyDiffMarkdown } from './policy-diff-md.ts';
import { policyDiffText } from './policy-diff-text.ts';
import { lintJson, lintText } from './policy-lint.ts';
import { policyDiffReport, policyLintReport } from './policy-schema.ts';
import { plainStyle } from './style.ts';

const web: NamedParty = { namespace: 'shop', name: 'web', kind: 'Deployment' };
/** Names that would be markup, a formula or another statement if they got through. */
const hostile: NamedParty = { namespace: '=1+1', name: '"><script>\u001b[2J|`"]', kind: 'Pod' };
const tcp = (ports: string) => [{ protocol: 'TCP' as const, ports, verdict: 'allow' as const }];
const origin = { file: 'p.yaml', document: 0, path: '' };
const policy = { kind: 'NetworkPolicy', namespace: 'shop', name: 'web' };
const changes: readonly ConnectionChange[] = [
  {
    change: 'changed',
    src: web,
    dst: hostile,
    before: tcp('80'),
    after: tcp('80,443'),
    because: [{ policy, how: 'edited', direction: 'egress', after: { field: 'spec.egress[0]', origin } }],
  },
  {
    change: 'added',
    src: { cidrs: ['10.0.0.0/9', '10.128.0.0/9'] },
    dst: web,
    before: [],
    after: tcp('80'),
    newEnd: web,
    because: [],
  },
];
const side = (name: string) => ({ name, reading: { dialect: 'kubernetes', because: [] }, problems: [] });
const counted = (list: readonly ConnectionChange[]) =>
  Object.fromEntries(
    list.map(({ change }) => [change, list.filter((other) => other.change === change).length]),
  );
const report = (list: readonly ConnectionChange[]): PolicyDiffReport => ({
  a: side('a'),
  b: side('b'),
  diff: {
    changes: list,
    counts: { added: 0, removed: 0, changed: 0, ...counted(list) },
    groups: list.map((change) => ({ changes: [change], count: 1 })),
    inside: [],
    onlyInA: [],
    onlyInB: [web],
    policies: [{ policy, how: 'edited', after: origin }],
    portlessOnly: 1,
  },
  entries: [],
  notes: [],
  place: ({ origin: from }) => (from === undefined ? undefined : `${from.file}:12`),
});
const all = (parts: Iterable<string>) => [...parts].join('');

describe('policy diff', () => {
  it('is text with the counts first', () => {
    expect(
      all(policyDiffText(report(changes), plainStyle)).replace(hostile.name.replace('\u001b', '?'), 'X'),
    ).toBe(`1 connection added, 0 removed, 1 changed
from a to b

NetworkPolicy shop/web was edited (p.yaml:12)
  ~ shop/web[Deployment] -> =1+1/X[Pod]  TCP 80 -> TCP 80,443

shop/web[Deployment] is new
  + 10.0.0.0/8 -> shop/web[Deployment]  TCP 80

Only in b: shop/web[Deployment]
Policies: 1 edited
1 more pair differs for ICMP or other protocols without ports (--icmp)
`);
    expect(all(policyDiffText(report([]), plainStyle))).toContain(
      'No difference: policies changed (1 edited), connectivity did not.',
    );
  });

  it('is JSON of its schema', () => {
    expect(policyDiffReport.parse(JSON.parse(all(policyDiffJson(report(changes))))).changes).toHaveLength(2);
  });

  it.each([
    ['csv', policyDiffCsv],
    ['md', policyDiffMarkdown],
    ['dot', policyDiffDot],
    ['html', policyDiffHtml],
  ] as const)('%s keeps names from being more than names', (_, print) => {
    const text = all(print(report(changes)));
    expect(text).toContain('TCP 80,443');
    expect(text).not.toContain('\u001b');
    if (print !== policyDiffCsv && print !== policyDiffDot) expect(text).not.toContain('<script>');
    if (print === policyDiffDot) expect(text).not.toContain('/"><');
    if (print === policyDiffCsv)
      expect(text.split('\r\n')[1]).toMatch(/^changed,shop\/web\[Deployment\],"'=1\+1\/""><script>/);
  });
});

describe('policy lint', () => {
  const lint: PolicyLint = {
    findings: [
      {
        rule: 'service-port',
        severity: 'error',
        policy,
        field: 'spec.ingress[0].ports[0]',
        text: 'names 80',
        todo: 'write 8080',
        origin,
      },
    ],
    rules: ['service-port'],
    notRun: [{ rule: 'no-effect', why: 'no pods' }],
    policies: 2,
  };
  it('is text by policy, with the line', () => {
    expect(lintText(lint, () => 'p.yaml:12', plainStyle)).toBe(`1 error in 2 policies; 1 rule could not look

NetworkPolicy shop/web
  error    spec.ingress[0].ports[0] names 80
           do: write 8080
           p.yaml:12  (service-port)

Not looked at
  - no-effect: no pods`);
  });
  it('is JSON of its schema', () => {
    expect(policyLintReport.parse(lintJson(lint, () => 'p.yaml:12')).findings[0]?.at).toBe('p.yaml:12');
  });
});

it.each([
  ['policy-diff', policyDiffReport, 'podpath policy diff -o json'],
  ['policy-lint', policyLintReport, 'podpath policy lint -o json'],
] as const)('docs/schema/%s.json is up to date', async (name, schema, title) => {
  // Published schemas allow fields that later versions add.
  const json = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      if (jsonSchema.type === 'object' && jsonSchema.additionalProperties === false)
        delete jsonSchema.additionalProperties;
    },
  });
  const { $schema, ...rest } = json;
  await expect(`${JSON.stringify({ $schema, title, ...rest }, undefined, 2)}\n`).toMatchFileSnapshot(
    `../../docs/schema/${name}.json`,
  );
});
