/** How failures are shown: a PodpathError in at most four short lines, a usage error in one, a defect in two. Never a stack unless -v. */
import { CommanderError } from 'commander';
import { type Complaint, PodpathError } from '../model/errors.ts';
import { isInterrupted, note, out, tint, verbosity } from './context.ts';

export const exitCode = {
  /** Reachable, or nothing found. */
  ok: 0,
  /** Unreachable, or findings. */
  found: 1,
  /** Could not tell. */
  unknown: 2,
  /** Usage or access error. */
  error: 3,
  /** Ctrl-C. */
  interrupted: 130,
} as const;

const apiVersion = 'podpath.dev/v1alpha1';

/** Prints the failure and returns the exit code for it. */
export function reportError(error: unknown, argv: readonly string[]): number {
  if (error instanceof CommanderError) return reportUsage(error, argv);
  const told = error instanceof PodpathError && error.complaint.code.endsWith('/interrupted');
  if (isInterrupted() && !told) return exitCode.interrupted;
  if (error instanceof PodpathError) {
    if (wantsJson(argv)) printJson(error.complaint);
    else printComplaint(error.complaint);
    if (verbosity() > 0) note(tint('dim', stackOf(error), process.stderr));
    return exitCode.error;
  }
  return reportDefect(error, argv);
}

function reportUsage(error: CommanderError, argv: readonly string[]): number {
  // Help and version that were asked for; commander has printed them.
  if (error.exitCode === 0) return exitCode.ok;
  // A command group without its subcommand: commander has printed the group's help on stderr.
  if (error.code === 'commander.help') return exitCode.error;
  const message = usageMessage(error.message);
  if (wantsJson(argv)) {
    printJson({ code: 'usage', what: 'wrong usage', why: message, todo: 'run: podpath --help' });
  } else note(`${prefix()} ${message}`);
  return exitCode.error;
}

/** Commander's text as one line: `error: unknown command 'x'\n(Did you mean y?)` -> `unknown command 'x': did you mean y?` */
function usageMessage(text: string): string {
  const [first = '', ...rest] = text.replace(/^error: /, '').split('\n');
  const hint = rest
    .map((line) => line.trim().replace(/^\((.*)\)$/, '$1'))
    .filter((line) => line !== '')
    .join(' ');
  if (hint === '') return `${first} (podpath --help shows the usage)`;
  return `${first}: ${hint.charAt(0).toLowerCase()}${hint.slice(1)}`;
}

function printComplaint(complaint: Complaint): void {
  note(`${prefix()} ${complaint.what}`);
  if (complaint.where !== undefined) note(`  where: ${complaint.where}`);
  note(`  why: ${complaint.why}`);
  note(`  do: ${complaint.todo}`);
}

const prefix = (): string => tint('red', 'podpath:', process.stderr);

function printJson(complaint: Complaint): void {
  const { code, what, where, why, todo } = complaint;
  out(JSON.stringify({ apiVersion, kind: 'Error', code, what, where, why, todo }, null, 2));
}

function reportDefect(error: unknown, argv: readonly string[]): number {
  const message = (error instanceof Error ? error.message : String(error)).split('\n')[0] ?? '';
  const todo =
    'repeat the command with -v and report its output, with `podpath version` and, if you can, the snapshot';
  if (wantsJson(argv)) printJson({ code: 'defect', what: 'podpath has a defect', why: message, todo });
  else {
    note(`${prefix()} podpath has a defect: ${message}`);
    note(`  do: ${todo}`);
  }
  if (verbosity() > 0) note(stackOf(error));
  return exitCode.error;
}

const stackOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

/** Read from the words themselves: a usage error may end the parsing before the option is known. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf('--');
  const words = end === -1 ? argv : argv.slice(0, end);
  return words.some(
    (word, i) =>
      word === '-ojson' ||
      word === '-o=json' ||
      word === '--output=json' ||
      ((word === '-o' || word === '--output') && words[i + 1] === 'json'),
  );
}
