/** `podpath policy lint`: what is odd about the policies. */
import { type Command, Option } from 'commander';
import type { LintFinding, LintSeverity } from '../model/policy-lint.ts';
import { out, verbosity, withOutputOption } from './context.ts';
import { exitCode } from './errors.ts';
import {
  noteProblems,
  openPolicySource,
  type PolicySource,
  type PolicySourceFlags,
  withPolicySource,
} from './policy-source.ts';
import { style } from './source.ts';

interface LintFlags extends PolicySourceFlags {
  readonly failOn: LintSeverity;
  readonly output: string;
}

export function register(parent: Command): void {
  withOutputOption(
    withPolicySource(
      parent
        .command('lint')
        .description(
          'mistakes in policies: selectors that match nothing, rules without effect, forgotten DNS',
        )
        .argument('[dir]', 'manifests: a directory, one file, or - for standard input'),
    ).addOption(
      new Option('--fail-on <severity>', 'exit 1 for findings of this severity and above')
        .choices(['error', 'warning', 'info'])
        .default('warning'),
    ),
  ).action(run);
}

const order: readonly LintSeverity[] = ['info', 'warning', 'error'];

async function run(dir: string | undefined, flags: LintFlags): Promise<void> {
  const { lintPolicies } = await import('../policy/lint/lint.ts');
  const { lintJson, lintText } = await import('../report/policy-lint.ts');
  const source = await openPolicySource(dir, flags);
  const lint = lintPolicies(source.engine);
  const place = await placesOf(lint.findings, source);
  // What is wrong with a policy is a finding; what could not be read at all is said beside them.
  const said = new Set(lint.findings.map(({ field }) => field));
  noteProblems(
    source.problems.filter(({ field }) => field === undefined || !said.has(field)),
    verbosity() > 0,
  );
  if (flags.output === 'json') out(JSON.stringify(lintJson(lint, place), null, 1));
  else out(lintText(lint, place, style()));
  const failing = lint.findings.some(
    ({ severity }) => order.indexOf(severity) >= order.indexOf(flags.failOn),
  );
  process.exitCode = failing ? exitCode.found : exitCode.ok;
}

async function placesOf(
  findings: readonly LintFinding[],
  { locate }: PolicySource,
): Promise<(finding: LintFinding) => string | undefined> {
  const places = new Map<LintFinding, string>();
  for (const finding of findings) {
    if (finding.origin === undefined) continue;
    const { file, line } = await locate(finding.origin, finding.field);
    places.set(finding, line === undefined ? file : `${file}:${line}`);
  }
  return (finding) => places.get(finding);
}
