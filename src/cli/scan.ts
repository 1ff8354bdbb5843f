import { type Command, Option } from 'commander';
import { out, withOutputOption } from './context.ts';
import { exitCode } from './errors.ts';
import { openSource, type SourceFlags, style, withSource } from './source.ts';

interface ScanFlags extends SourceFlags {
  readonly failOn: 'warning' | 'error' | 'never';
  readonly output: string;
}

export function register(program: Command): void {
  withOutputOption(
    withSource(program.command('scan').description('every check over the whole cluster, no flow given'))
      .option('-n, --namespace <ns>', "also looked into where the account may not list all of a cluster's")
      .addOption(
        new Option('--fail-on <severity>', 'exit 1 for findings of this severity and above')
          .choices(['warning', 'error', 'never'])
          .default('warning'),
      ),
  ).action(run);
}

async function run(flags: ScanFlags): Promise<void> {
  const { scanSnapshot } = await import('../diagnose/scan.ts');
  const { snapshot } = await openSource(flags);
  const started = performance.now();
  const found = scanSnapshot(snapshot);
  const scan = { ...found, durationMs: performance.now() - started };
  if (flags.output === 'json') {
    const { scanJson } = await import('../report/json.ts');
    out(JSON.stringify(scanJson(scan), null, 1));
  } else {
    const { scanText } = await import('../report/scan.ts');
    out(scanText(scan, style()));
  }
  const counts = scan.findings.filter((f) => f.severity === 'error' || flags.failOn === 'warning');
  process.exitCode = flags.failOn === 'never' || counts.length === 0 ? exitCode.ok : exitCode.found;
}
