/** The text report of `podpath scan`: what is wrong, the worst first, and how much was looked at. */
import type { Finding } from '../model/finding.ts';
import type { Scan } from '../model/scan.ts';
import { formatSource } from '../model/source.ts';
import { hang, heading, marks, type Style } from './style.ts';
import { gapLines, sections } from './text.ts';

export function scanText(scan: Scan, style: Style): string {
  return sections([
    [answerLine(scan, style)],
    severityLines(scan, 'error', style),
    severityLines(scan, 'warning', style),
    notRunLines(scan, style),
    gapLines(scan.gaps, style, true),
  ]);
}

/** `2 findings (1 error, 1 warning) in 3 nodes, 12 pods; 3 checks` or `nothing found in ...`. */
export function scanHeadline(scan: Scan): string {
  const errors = scan.findings.filter((finding) => finding.severity === 'error').length;
  const warnings = scan.findings.length - errors;
  const kinds = [counted(errors, 'error'), counted(warnings, 'warning')].filter(
    (text) => !text.startsWith('0 '),
  );
  const found = kinds.length === 0 ? 'nothing found' : kinds.join(' and ');
  return `${found} in ${lookedAt(scan)}`;
}

function lookedAt(scan: Scan): string {
  const { nodes, pods, services, policies } = scan.lookedAt;
  const parts = [
    ...(nodes === undefined ? [] : [counted(nodes, 'node')]),
    ...(pods === undefined ? [] : [counted(pods, 'pod')]),
    ...(services === undefined ? [] : [counted(services, 'Service')]),
    ...(policies === undefined ? [] : [counted(policies, 'policy', 'policies')]),
  ];
  const objects = parts.length === 0 ? 'an unknown number of objects' : parts.join(', ');
  const notRun = scan.notRun.length === 0 ? '' : `, ${counted(scan.notRun.length, 'check')} could not look`;
  return `${objects} by ${counted(scan.checks.length, 'check')}${notRun}`;
}

const counted = (count: number, one: string, many = `${one}s`): string =>
  `${count} ${count === 1 ? one : many}`;

function answerLine(scan: Scan, style: Style): string {
  const worst = scan.findings.some((finding) => finding.severity === 'error') ? 'red' : 'yellow';
  const isWhole = scan.notRun.length === 0;
  const tint = scan.findings.length > 0 ? worst : isWhole ? 'green' : 'yellow';
  return style.tint('bold', style.tint(tint, scanHeadline(scan)));
}

function severityLines(scan: Scan, severity: Finding['severity'], style: Style): string[] {
  const findings = scan.findings.filter((finding) => finding.severity === severity);
  if (findings.length === 0) return [];
  const title = severity === 'error' ? 'Errors (pods are cut off now)' : 'Warnings';
  return [heading(style, title), ...findings.flatMap((finding) => findingLines(finding, style))];
}

function findingLines(finding: Finding, style: Style): string[] {
  const { broken, unsure } = marks(style);
  const [mark, tint] =
    finding.severity === 'error' ? ([broken, 'red'] as const) : ([unsure, 'yellow'] as const);
  // The mark is coloured after wrapping: colour codes must not count as columns.
  const [first = '', ...rest] = hang(`  ${mark} `, finding.statement, style);
  const lines = [`  ${style.tint(tint, mark)}${first.slice(3)}`, ...rest];
  lines.push(style.tint('dim', `    ${finding.cause}  (check ${finding.check})`));
  if (!style.verbose) return lines;
  return [
    ...lines,
    ...finding.evidence.flatMap((evidence) => [
      ...hang(`    ${evidence.how.padEnd(11)}`, evidence.statement, style),
      ...(evidence.source === undefined
        ? []
        : hang(' '.repeat(15), formatSource(evidence.source), style).map((line) => style.tint('dim', line))),
    ]),
  ];
}

function notRunLines(scan: Scan, style: Style): string[] {
  if (scan.notRun.length === 0) return [];
  const { bullet } = marks(style);
  return [
    heading(style, 'Not checked'),
    ...scan.notRun.flatMap(({ check, why }) => hang(`  ${bullet} `, `${check}: ${why}`, style)),
  ];
}
