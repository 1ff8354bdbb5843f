import { describe, expect, it } from 'vitest';
import type { Connection, Party } from '../model/connectivity.ts';
import { type ConnectivityReport, rangeTexts, rowsOf } from './connectivity.ts';
import { connectivityCsv } from './connectivity-csv.ts';
import { connectivityDot } from './connectivity-dot.ts';
import { connectivityHtml } from './connectivity-html.ts';
import { connectivityJson } from './connectivity-json.ts';
import { connectivityMarkdown } from './connectivity-md.ts';
import { connectivityText } from './connectivity-text.ts';
import { connectivityReport } from './schema.ts';
import { plainStyle } from './style.ts';

const web: Party = { namespace: 'shop', name: 'web', kind: 'Deployment' };
const db: Party = { namespace: 'data', name: 'db', kind: 'StatefulSet' };
const all = (src: Party, dst: Party): Connection[] =>
  (['TCP', 'UDP', 'SCTP'] as const).map((protocol) => ({
    src,
    dst,
    protocol,
    ports: 'all',
    verdict: 'allow',
  }));

const connections: readonly Connection[] = [
  { src: web, dst: db, protocol: 'TCP', ports: '5432,6000-6010', verdict: 'allow' },
  { src: web, dst: db, protocol: 'UDP', ports: 'all', verdict: 'allow' },
  { src: web, dst: db, protocol: 'TCP', ports: '80', verdict: 'conditional', why: 'only HTTP GET /' },
  ...all(web, { cidr: '0.0.0.0/5' }),
  ...all(web, { cidr: '8.0.0.0/7' }),
  ...all(web, { cidr: '11.0.0.0/8' }),
  ...all(db, web),
];

const report = (more: Partial<ConnectivityReport> = {}): ConnectivityReport => ({
  connections,
  reading: { dialect: 'kubernetes', ipBlockMatchesPods: false, because: [] },
  problems: [],
  notes: [],
  ...more,
});

const text = (parts: Iterable<string>): string => [...parts].join('');

/** Names that would be markup, a formula, another statement or a cursor movement if they got through. */
const hostile: Party = {
  namespace: '=1+1|calc',
  name: '"><script>x</script>\u001b[2J`*[a](b)\n"];evil',
  kind: 'Pod',
};
const hostileReport = report({ connections: all(hostile, web), notes: ['<b>', '\u001b[1m'] });

describe('rows', () => {
  it('folds protocols of one pair, not its verdicts', () => {
    expect([...rowsOf(connections)].map(({ ports, verdict }) => [ports, verdict])).toEqual([
      ['TCP 5432,6000-6010; all UDP', 'allow'],
      ['TCP 80', 'conditional'],
      ['everything', 'allow'],
      ['everything', 'allow'],
      ['everything', 'allow'],
      ['everything', 'allow'],
    ]);
  });

  it.each([
    [
      ['0.0.0.0/5', '8.0.0.0/7', '11.0.0.0/8'],
      ['0.0.0.0-9.255.255.255', '11.0.0.0/8'],
    ],
    [['128.0.0.0/1', '0.0.0.0/1'], ['0.0.0.0/0']],
    [['10.0.0.0/24', '10.0.1.0/24'], ['10.0.0.0/23']],
    [['10.0.1.0/24', '10.0.2.0/24'], ['10.0.1.0-10.0.2.255']],
    [
      ['::/0', '10.0.0.1/32'],
      ['10.0.0.1/32', '::/0'],
    ],
  ])('%j are %j', (cidrs, ranges) => {
    expect(rangeTexts(cidrs)).toEqual(ranges);
  });
});

it('text: the answer first, aligned, ranges instead of prefixes', () => {
  const problems = [
    { text: 'NetworkPolicy shop/x: spec.ingress[0].from[0] names no peer', file: 'a.yaml', line: 3 },
  ];
  expect(text(connectivityText(report({ problems }), plainStyle))).toMatchInlineSnapshot(`
    "3 connections are allowed, 1 connection on a condition. What is not listed is denied.

      FROM                  TO                                 PORTS
    + shop/web[Deployment]  data/db[StatefulSet]               TCP 5432,6000-6010; all UDP
    ? shop/web[Deployment]  data/db[StatefulSet]               TCP 80  (only HTTP GET /)
    + shop/web[Deployment]  0.0.0.0-9.255.255.255, 11.0.0.0/8  everything
    + data/db[StatefulSet]  shop/web[Deployment]               everything

    Policies read as: kubernetes; an ipBlock means addresses outside the cluster.
    The answer is without one part of the input that could not be used.
    "
  `);
});

it('text: nothing allowed is said in words', () => {
  expect(text(connectivityText(report({ connections: [] }), plainStyle))).toMatch(
    /^No connection is allowed\.\n/,
  );
});

it('text: names cannot move the cursor', () => {
  expect(text(connectivityText(hostileReport, plainStyle))).not.toContain('\u001b');
});

describe('json', () => {
  it('is what its schema says, and holds every connection', () => {
    const problems = [{ text: 'x', file: 'a.yaml', line: 1, field: 'spec' }];
    const value: unknown = JSON.parse(text(connectivityJson(report({ problems, notes: ['n'] }))));
    expect(connectivityReport.parse(value)).toMatchObject({
      kind: 'Connectivity',
      connections,
      problems,
      notes: ['n'],
    });
  });

  it('is JSON without connections too', () => {
    expect(JSON.parse(text(connectivityJson(report({ connections: [] }))))).toMatchObject({
      connections: [],
    });
  });
});

describe('csv', () => {
  it('quotes what needs it', () => {
    expect(text(connectivityCsv(report({ connections: connections.slice(0, 3) }))).split('\r\n')).toEqual([
      'source,destination,protocol,ports,verdict,why',
      'shop/web[Deployment],data/db[StatefulSet],TCP,"5432,6000-6010",allow,',
      'shop/web[Deployment],data/db[StatefulSet],UDP,all,allow,',
      'shop/web[Deployment],data/db[StatefulSet],TCP,80,conditional,only HTTP GET /',
      '',
    ]);
  });

  it('begins no cell with a formula and keeps one line a connection', () => {
    const lines = text(connectivityCsv(hostileReport)).trimEnd().split('\r\n');
    expect(lines).toHaveLength(4);
    for (const line of lines.slice(1)) expect(line).toMatch(/^"'=1\+1/);
  });
});

it('md: one row a pair, no markup from names', () => {
  const lines = text(connectivityMarkdown(hostileReport)).split('\n');
  expect(lines[2]).toBe(
    '| =1+1\\|calc/"&gt;&lt;script&gt;x&lt;/script&gt;?\\[2J\\`\\*\\[a\\]\\(b\\)?"\\];evil\\[Pod\\] | shop/web\\[Deployment\\] | everything | allow |'.replace(
      '=1+1',
      '=1\\+1',
    ),
  );
  expect(lines.filter((line) => line.startsWith('|'))).toHaveLength(3);
});

describe('dot', () => {
  it('puts parties in a box for their namespace', () => {
    const dot = text(connectivityDot(report()));
    expect(dot).toContain(
      '"shop/web[Deployment]" -> "data/db[StatefulSet]" [label="TCP 5432,6000-6010; all UDP"];',
    );
    expect(dot).toContain('[label="TCP 80", style=dashed, tooltip="only HTTP GET /"];');
    expect(dot).toMatch(/subgraph cluster_0 \{\n {4}label="shop";/);
  });

  it('ends no string early', () => {
    const dot = text(connectivityDot(hostileReport));
    const outside = dot.replace(/"(?:[^"\\]|\\.)*"/g, '""');
    expect(outside).not.toMatch(/evil|script/);
  });
});

describe('html', () => {
  it('escapes everything that comes from names, and needs nothing from elsewhere', () => {
    const page = text(connectivityHtml(hostileReport));
    expect(page).not.toMatch(/<script|<b>|https?:|src=|url\(/);
    expect(page).not.toContain('\u001b');
    expect(page).toContain('&lt;script&gt;x&lt;/script&gt;');
  });

  it('shows pairs by their shade, and denied ones', () => {
    const page = text(connectivityHtml(report()));
    expect(page).toMatch(
      /<td class="all" title="data\/db\[StatefulSet\] to shop\/web\[Deployment\]&#10;everything">/,
    );
    expect(page).toMatch(
      /<td class="some" title="shop\/web\[Deployment\] to data\/db\[StatefulSet\]&#10;TCP 5432/,
    );
    expect(page).toMatch(/<td class="none" title="data\/db\[StatefulSet\] to 11\.0\.0\.0\/8&#10;denied">/);
  });

  it('folds pods into namespaces and ranges into one where there are too many', () => {
    const many = Array.from({ length: 300 }, (_, i): Connection[] =>
      all({ namespace: `n${i % 3}`, name: `p${i}`, kind: 'Pod' }, { cidr: `10.${i % 200}.0.0/16` }),
    ).flat();
    const page = text(connectivityHtml(report({ connections: many })));
    expect(page.match(/<tr><th scope="row">/g)).toHaveLength(3);
    expect(page).toMatch(/<td class="all" title="n0\/\* to outside&#10;n0\/p0\[Pod\]/);
    expect(page).toContain('more">');
  });
});
