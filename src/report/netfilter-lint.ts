/** `netfilter lint` for people and as JSON. */
import type {
  NetfilterFinding,
  NetfilterLint,
  NetfilterSeverity,
  RulePlace,
} from '../model/netfilter-report.ts';
import { printable } from './connectivity.ts';
import { hang, heading, type Style, type Tint } from './style.ts';

/** One namespace's findings; the name is empty for files. */
export interface NamedLint {
  readonly name: string;
  readonly lint: NetfilterLint;
}

const severities: readonly NetfilterSeverity[] = ['error', 'warning', 'info'];
const words: Readonly<Record<NetfilterSeverity, readonly [string, string]>> = {
  error: ['error', 'errors'],
  warning: ['warning', 'warnings'],
  info: ['remark', 'remarks'],
};
const tints: Readonly<Record<NetfilterSeverity, Tint>> = { error: 'red', warning: 'yellow', info: 'cyan' };

export const plural = (count: number, [one, more]: readonly [string, string]): string =>
  `${count} ${count === 1 ? one : more}`;

/** `1 error, 2 warnings in 180 rules`, or `nothing found in 180 rules`. */
function netfilterLintHeadline(lints: readonly NamedLint[]): string {
  const findings = lints.flatMap(({ lint }) => lint.findings);
  const counts = severities.flatMap((severity) => {
    const count = findings.filter((one) => one.severity === severity).length;
    return count === 0 ? [] : [plural(count, words[severity])];
  });
  const rules = lints.reduce((sum, { lint }) => sum + lint.ruleCount, 0);
  return `${counts.length === 0 ? 'nothing found' : counts.join(', ')} in ${plural(rules, ['rule', 'rules'])}`;
}

/** Remarks are listed only where more is wanted, or nothing else was found. */
export function netfilterLintText(lints: readonly NamedLint[], style: Style): string {
  const lines = [style.tint('bold', netfilterLintHeadline(lints))];
  const all = lints.flatMap(({ lint }) => lint.findings);
  const isBrief = !style.verbose && all.some(({ severity }) => severity !== 'info');
  for (const { name, lint } of lints) {
    const shown = lint.findings.filter(({ severity }) => !isBrief || severity !== 'info');
    if (name !== '' && shown.length + lint.notRun.length > 0) lines.push('', heading(style, printable(name)));
    for (const finding of shown) lines.push(...findingLines(finding, style));
    for (const { rule, why } of lint.notRun)
      lines.push(...hang('  ', printable(`not looked at: ${rule} ${why}`), style));
  }
  const hidden = isBrief ? all.filter(({ severity }) => severity === 'info').length : 0;
  if (hidden > 0) lines.push('', `${plural(hidden, words.info)} more with -v`);
  return lines.join('\n');
}

const at = ({ file, line }: RulePlace): string => (line === undefined ? file : `${file}:${line}`);

function findingLines(finding: NetfilterFinding, style: Style): string[] {
  const { rule, severity, family, table, chain, text, todo, place, because } = finding;
  const [first = '', ...rest] = hang(
    `${severity.padEnd(7)}  `,
    printable(`${family} ${table} ${chain}: ${text}`),
    style,
  );
  const source = (one: RulePlace) => style.tint('dim', printable(`         ${at(one)}: ${one.text}`));
  return [
    '',
    `${style.tint(tints[severity], severity.padEnd(7))}${first.slice(7)}`,
    ...rest,
    source(place),
    ...because.filter((one) => at(one) !== at(place) || one.text !== place.text).map(source),
    ...hang('         do: ', printable(`${todo} (${rule})`), style),
  ];
}

const apiVersion = 'podpath.dev/v1alpha1';

/** docs/schema/netfilter-lint.json */
export function netfilterLintJson(lints: readonly NamedLint[]) {
  return {
    apiVersion,
    kind: 'NetfilterLint' as const,
    summary: netfilterLintHeadline(lints),
    namespaces: lints.map(({ name, lint }) => ({
      name,
      files: [...lint.files],
      rules: lint.ruleCount,
      findings: [...lint.findings],
      notRun: [...lint.notRun],
    })),
  };
}
