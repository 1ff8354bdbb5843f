/** `policy diff` for people: what changed, under the policies that changed it. */
import { partyText } from '../model/connectivity.ts';
import type { ChangeGroup, ConnectionChange } from '../model/policy-diff.ts';
import { printable, problemText } from './connectivity.ts';
import {
  changeTotal,
  diffHeadline,
  diffPartyText,
  grouped,
  type PolicyDiffReport,
  policyCounts,
  portsText,
  reasonTexts,
} from './policy-diff.ts';
import { heading, marks, type Style, type Tint } from './style.ts';

const signs: Readonly<Record<ConnectionChange['change'], readonly [sign: string, tint: Tint]>> = {
  added: ['+', 'green'],
  removed: ['-', 'red'],
  changed: ['~', 'yellow'],
};

export function* policyDiffText(report: PolicyDiffReport, style: Style): Generator<string> {
  const { a, b, diff } = report;
  const total = changeTotal(report);
  yield `${style.tint('bold', diffHeadline(report))}\n`;
  if (total > 0) yield `${style.tint('dim', `from ${printable(a.name)} to ${printable(b.name)}`)}\n`;
  let left = total;
  for (const { reasons, changes, count } of groupsOf(report)) {
    left -= count;
    yield `\n${(reasons === '' ? 'No single policy is the reason' : printableLines(reasons))
      .split('\n')
      .map((line) => `${heading(style, line)}\n`)
      .join('')}`;
    yield* changeLines(changes, style);
    if (count > changes.length) yield `  and ${count - changes.length} more\n`;
  }
  if (left > 0) yield `\nAnd ${left} more connections for other reasons (-o csv or -o json lists all)\n`;
  yield* footer(report, diff.policies.length > 0 && total > 0, style);
}

interface TextGroup extends ChangeGroup {
  /** Lines. */
  readonly reasons: string;
}

/** Groups of which the reasons read the same are one. */
function groupsOf({ diff, entries, place }: PolicyDiffReport): readonly TextGroup[] {
  const groups = [...diff.groups, ...entries.map((change) => ({ changes: [change], count: 1 }))];
  const byText = grouped(groups, ({ changes: [first] }) =>
    first === undefined ? '' : reasonTexts(first, place).join('\n'),
  );
  return [...byText].map(([reasons, list]) => ({
    reasons,
    changes: list.flatMap(({ changes }) => changes),
    count: list.reduce((sum, { count }) => sum + count, 0),
  }));
}

const printableLines = (text: string): string => text.split('\n').map(printable).join('\n');

function* changeLines(changes: readonly ConnectionChange[], style: Style): Generator<string> {
  const { arrow } = marks(style);
  const rows = changes.map((change) => ({
    change,
    src: printable(diffPartyText(change.src, style.verbose)),
    dst: change.src === change.dst ? 'itself' : printable(diffPartyText(change.dst, style.verbose)),
  }));
  const width = (side: 'src' | 'dst') =>
    Math.min(
      70,
      rows.reduce((most, row) => Math.max(most, row[side].length), 0),
    );
  const widths = { src: width('src'), dst: width('dst') };
  for (const { change, src, dst } of rows) {
    const [sign, tint] = signs[change.change];
    const ports = printable(portsText(change.change === 'removed' ? change.before : change.after));
    const shown =
      change.change === 'changed' ? `${printable(portsText(change.before))} ${arrow} ${ports}` : ports;
    yield `  ${style.tint(tint, sign)} ${src.padEnd(widths.src)} ${arrow} ${dst.padEnd(widths.dst)}  ${shown}\n`;
  }
}

function* footer(
  { a, b, diff, notes }: PolicyDiffReport,
  policies: boolean,
  style: Style,
): Generator<string> {
  const lines: string[] = [];
  for (const [name, parties] of [
    [a.name, diff.onlyInA],
    [b.name, diff.onlyInB],
  ] as const)
    if (parties.length > 0) lines.push(`Only in ${name}: ${parties.map(partyText).join(', ')}`);
  if (policies) lines.push(`Policies: ${policyCounts(diff.policies)}`);
  if (diff.portlessOnly > 0)
    lines.push(
      `${diff.portlessOnly} more ${diff.portlessOnly === 1 ? 'pair differs' : 'pairs differ'} for ICMP or other protocols without ports (--icmp)`,
    );
  lines.push(...notes);
  for (const side of [a, b])
    if (side.problems.length > 0)
      lines.push(
        `Of ${side.name} the answer is without: ${side.problems.slice(0, 3).map(problemText).join('; ')}${side.problems.length > 3 ? ` and ${side.problems.length - 3} more` : ''}`,
      );
  if (lines.length > 0) yield `\n${lines.map((line) => `${style.tint('dim', printable(line))}\n`).join('')}`;
}
