/** `policy lint` for people and as JSON: what is odd, policy by policy, with the line where it stands. */
import { policyText } from '../model/policy-diff.ts';
import type { LintFinding, LintSeverity, PolicyLint } from '../model/policy-lint.ts';
import { printable } from './connectivity.ts';
import { grouped } from './policy-diff.ts';
import { hang, heading, marks, type Style, type Tint } from './style.ts';

/** `policies/web.yaml:12`; undefined where the object is from no file. */
export type LintPlace = (finding: LintFinding) => string | undefined;

const severities: readonly LintSeverity[] = ['error', 'warning', 'info'];

/** `1 error, 2 warnings in 5 policies`, or `nothing found in 5 policies`. */
function lintHeadline({ findings, policies, notRun }: PolicyLint): string {
  const counts = severities.flatMap((severity) => {
    const count = findings.filter((finding) => finding.severity === severity).length;
    const name =
      severity === 'info' ? (count === 1 ? 'remark' : 'remarks') : count === 1 ? severity : `${severity}s`;
    return count === 0 ? [] : [`${count} ${name}`];
  });
  const left =
    notRun.length === 0 ? '' : `; ${notRun.length} ${notRun.length === 1 ? 'rule' : 'rules'} could not look`;
  return `${counts.length === 0 ? 'nothing found' : counts.join(', ')} in ${policies} ${policies === 1 ? 'policy' : 'policies'}${left}`;
}

export function lintText(lint: PolicyLint, place: LintPlace, style: Style): string {
  const lines = [style.tint('bold', lintHeadline(lint))];
  for (const [policy, findings] of grouped(lint.findings, ({ policy: name }) => policyText(name))) {
    lines.push('', heading(style, printable(policy)));
    for (const finding of findings) lines.push(...findingLines(finding, place(finding), style));
  }
  if (lint.notRun.length > 0) {
    const { bullet } = marks(style);
    lines.push('', heading(style, 'Not looked at'));
    for (const { rule, why } of lint.notRun)
      lines.push(...hang(`  ${bullet} `, printable(`${rule}: ${why}`), style));
  }
  return lines.join('\n');
}

const tints: Readonly<Record<LintSeverity, Tint>> = { error: 'red', warning: 'yellow', info: 'cyan' };

function findingLines(finding: LintFinding, at: string | undefined, style: Style): string[] {
  const { rule, severity, field, text, todo } = finding;
  const said = printable(field === '' ? text : `${field} ${text}`);
  const [first = '', ...rest] = hang(`  ${severity.padEnd(7)}  `, said, style);
  const indent = ' '.repeat(11);
  return [
    `  ${style.tint(tints[severity], severity.padEnd(7))}${first.slice(9)}`,
    ...rest,
    ...hang(`${indent}do: `, printable(todo), style),
    style.tint('dim', printable(`${indent}${at === undefined ? '' : `${at}  `}(${rule})`)),
  ];
}

const apiVersion = 'podpath.dev/v1alpha1';

/** docs/schema/policy-lint.json */
export function lintJson(lint: PolicyLint, place: LintPlace) {
  return {
    apiVersion,
    kind: 'PolicyLint' as const,
    summary: lintHeadline(lint),
    findings: lint.findings.map(({ origin: _, ...finding }, i) => {
      const at = place(lint.findings[i] as LintFinding);
      return { ...finding, ...(at === undefined ? {} : { at }) };
    }),
    rules: [...lint.rules],
    notRun: [...lint.notRun],
    policies: lint.policies,
  };
}
