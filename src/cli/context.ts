/**
 * The terminal as the commands see it. Results go to stdout, progress and remarks to stderr, so that a pipe gets the result only.
 * Colour: NO_COLOR, TERM=dumb and a stream that is no terminal turn it off; `--color always|never` decides over all of them.
 */
import { type Command, Option } from 'commander';

export type When = 'auto' | 'always' | 'never';

/** What the global options and the environment say about output. Fixed once per run, before any command acts. */
export interface OutputSettings {
  readonly color: When;
  /** 0 unless -v was given; each -v adds one. */
  readonly verbosity: number;
}

let settings: OutputSettings = { color: 'auto', verbosity: 0 };

/** Called by main with the parsed global options. */
export function configureOutput(next: OutputSettings): void {
  settings = next;
}

export const verbosity = (): number => settings.verbosity;

type Stream = NodeJS.WriteStream;

/** Whether colour codes may be written to the stream. */
export function colorOn(stream: Stream = process.stdout): boolean {
  if (settings.color !== 'auto') return settings.color === 'always';
  // https://no-color.org: set and not empty.
  if ((process.env.NO_COLOR ?? '') !== '' || process.env.TERM === 'dumb') return false;
  return stream.isTTY === true;
}

/** Whether characters beyond ASCII can be shown: the locale says UTF-8 and the terminal is not a dumb one. */
export function unicodeOn(): boolean {
  if (process.env.TERM === 'dumb' || process.env.TERM === 'linux') return false;
  const locale = process.env.LC_ALL || process.env.LC_CTYPE || process.env.LANG || '';
  return /utf-?8/i.test(locale);
}

/** Columns of the terminal, or of COLUMNS, or 100. At least 60. */
export const widthColumns = (): number =>
  Math.max(60, process.stdout.columns ?? (Number(process.env.COLUMNS) || 100));

export type Tint = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

const codes: Readonly<Record<Tint, readonly [number, number]>> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  cyan: [36, 39],
};

/** Wraps text in a colour where the stream takes colours. */
export function tint(how: Tint, text: string, stream: Stream = process.stdout): string {
  if (!colorOn(stream)) return text;
  const [open, close] = codes[how];
  return `\u001b[${open}m${text}\u001b[${close}m`;
}

/** Writes a result to stdout, ending its last line. */
export function out(text: string): void {
  process.stdout.write(text.endsWith('\n') ? text : `${text}\n`);
}

/** Writes a remark to stderr. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Progress of one long step: a spinner on a terminal, one plain line a message elsewhere. */
export interface Progress {
  update(text: string): void;
  /** Ends the step; `text` stays on the screen, without it the spinner vanishes. */
  done(text?: string): void;
}

const frames = { unicode: ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'], ascii: ['|', '/', '-', '\\'] };
const frameMs = 80;

/** Starts showing progress on stderr. */
export function progress(text: string): Progress {
  const stream = process.stderr;
  if (stream.isTTY !== true || process.env.TERM === 'dumb') {
    note(text);
    return {
      update: note,
      done: (last) => {
        if (last !== undefined) note(last);
      },
    };
  }
  const pictures = unicodeOn() ? frames.unicode : frames.ascii;
  const started = performance.now();
  let shown = text;
  const draw = () => {
    const frame = pictures[Math.floor((performance.now() - started) / frameMs) % pictures.length] ?? '';
    // \r and "erase to the end of line": the line is drawn over itself.
    stream.write(
      `\r\u001b[K${tint('cyan', frame, stream)} ${shown.slice(0, Math.max(20, (stream.columns ?? 80) - 3))}`,
    );
  };
  const timer = setInterval(draw, frameMs);
  // The spinner alone must not keep the process alive.
  timer.unref();
  const wipe = () => stream.write('\r\u001b[K');
  const forget = onInterrupt(() => {
    clearInterval(timer);
    wipe();
  });
  draw();
  return {
    update: (next) => {
      shown = next;
    },
    done: (last) => {
      clearInterval(timer);
      forget();
      wipe();
      if (last !== undefined) note(last);
    },
  };
}

export type Cleanup = () => void | Promise<void>;

const cleanups = new Set<Cleanup>();

/** Runs `cleanup` if the process is interrupted. Returns a function that forgets it: call that when the work is done. */
export function onInterrupt(cleanup: Cleanup): () => void {
  cleanups.add(cleanup);
  return () => {
    cleanups.delete(cleanup);
  };
}

const signalCode = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

let ending = false;

/** Whether a signal is ending the program: what fails from then on fails for that reason. */
export const isInterrupted = (): boolean => ending;

/** Ctrl-C and kill run the cleanups, newest first, and end with 128 + signal; a second signal ends at once. */
export function handleSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (ending) process.exit(signalCode[signal]);
      ending = true;
      void runCleanups().finally(() => process.exit(signalCode[signal]));
    });
  }
}

async function runCleanups(): Promise<void> {
  for (const cleanup of [...cleanups].reverse()) {
    cleanups.delete(cleanup);
    try {
      await cleanup();
    } catch (error) {
      // The other cleanups still have to run.
      note(`podpath: cleaning up failed: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

export type OutputFormat = 'text' | 'json' | 'yaml';

/** Adds kubectl's -o to a command that has more than one form of output. */
export function withOutputOption(
  command: Command,
  formats: readonly OutputFormat[] = ['text', 'json'],
): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print the result').choices(formats).default('text'),
  );
}
