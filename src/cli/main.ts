#!/usr/bin/env node
/** Entry of `podpath` and `kubectl-podpath`. Commands load what they need when they run: --help reads this file's bundle only. */
import { basename } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import * as completion from './completion.ts';
import { configureOutput, handleSignals, type When } from './context.ts';
import * as demo from './demo.ts';
import * as diagnose from './diagnose.ts';
import * as doctor from './doctor.ts';
import { reportError } from './errors.ts';
import * as lab from './lab.ts';
import * as netfilter from './netfilter.ts';
import * as policy from './policy.ts';
import * as scan from './scan.ts';
import * as simulate from './simulate.ts';
import * as snapshot from './snapshot.ts';
import * as trace from './trace.ts';
import * as version from './version.ts';

/** Every command, in the order of the help. */
const commands: readonly { register(program: Command): void }[] = [
  diagnose,
  trace,
  simulate,
  scan,
  policy,
  netfilter,
  snapshot,
  lab,
  demo,
  doctor,
  completion,
  version,
];

function createProgram(name: string): Command {
  const program = new Command(name)
    .description("Why can't this pod reach that pod? The cause, the proof, and a repair that can be undone.")
    .version(version.version, '--version', 'print the version')
    .option('-v, --verbose', 'say more; again for still more', (_, count: number) => count + 1, 0)
    .option('--color <when>', 'auto, always or never', parseWhen, 'auto')
    .configureHelp({ showGlobalOptions: true })
    // Errors are printed in one place, reportError.
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .addHelpText('after', help)
    .hook('preAction', () => {
      const options = program.opts<{ verbose: number; color: When }>();
      configureOutput({ color: options.color, verbosity: options.verbose });
    });
  for (const command of commands) command.register(program);
  for (const child of program.commands) inherit(child, program);
  return program;
}

/** A command added as an object of its own does not inherit these settings. */
function inherit(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
}

function parseWhen(value: string): When {
  if (value === 'auto' || value === 'always' || value === 'never') return value;
  throw new InvalidArgumentError('It is one of auto, always, never.');
}

const help = `
Exit codes:
  0  reachable, or nothing found      1  unreachable, or findings
  2  could not tell                   3  usage or access error`;

/** Runs one command line; resolves to the exit code. */
async function run(argv: readonly string[]): Promise<number> {
  const name = basename(process.argv[1] ?? '').startsWith('kubectl-podpath') ? 'kubectl podpath' : 'podpath';
  const program = createProgram(name);
  try {
    if (argv.length === 0) program.outputHelp();
    else await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    return reportError(error, argv);
  }
  return typeof process.exitCode === 'number' ? process.exitCode : 0;
}

// The reader of a pipe went away (`podpath ... | head`): nobody is left to write for.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? 0);
    throw error;
  });
}
handleSignals();
const argv = process.argv.slice(2);
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => process.exit(reportError(error, argv)));
}
process.exitCode = await run(argv);
