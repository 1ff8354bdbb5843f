/** `podpath netfilter lint`: rules that cannot do what they are there for. */
import { type Command, Option } from 'commander';
import type { NetfilterSeverity } from '../model/netfilter-report.ts';
import { out, withOutputOption } from './context.ts';
import { exitCode } from './errors.ts';
import { type NetfilterFlags, openNetfilter, withNetfilterSource } from './netfilter-source.ts';
import { style } from './source.ts';

interface LintFlags extends NetfilterFlags {
  readonly failOn: NetfilterSeverity;
  readonly output: string;
}

export function register(parent: Command): void {
  withOutputOption(
    withNetfilterSource(
      parent
        .command('lint')
        .description(
          'rules that can never match, shadowed rules, chains that lead nowhere, two backends at once',
        ),
    ).addOption(
      new Option('--fail-on <severity>', 'exit 1 for findings of this severity and above')
        .choices(['error', 'warning', 'info'])
        .default('warning'),
    ),
  ).action(run);
}

const order: readonly NetfilterSeverity[] = ['info', 'warning', 'error'];

async function run(files: readonly string[], flags: LintFlags): Promise<void> {
  const { lintNetfilter } = await import('../dataplane/netfilter/lint/lint.ts');
  const { netfilterLintJson, netfilterLintText } = await import('../report/netfilter-lint.ts');
  const lints = (await openNetfilter(files, flags)).map((source) => ({
    name: source.name,
    lint: lintNetfilter(source),
  }));
  if (flags.output === 'json') out(JSON.stringify(netfilterLintJson(lints), null, 1));
  else out(netfilterLintText(lints, style()));
  const failing = lints.some(({ lint }) =>
    lint.findings.some(({ severity }) => order.indexOf(severity) >= order.indexOf(flags.failOn)),
  );
  process.exitCode = failing ? exitCode.found : exitCode.ok;
}
