/** Brings rendered iptables and ipset text into a namespace that may already hold an older version of it, and foreign rules. */
import { PodpathError } from '../model/errors.ts';
import type { ExecOptions, ExecResult } from '../system/exec.ts';

/** Runs a command in the namespace. */
export type Run = (argv: readonly string[], options?: ExecOptions) => Promise<ExecResult>;

export interface ApplyOptions {
  /** Chains that the writer of the text made earlier and may remove now. */
  readonly owns: (chain: string) => boolean;
  /** True where the namespace is known to hold no rules: spares the look at them. */
  readonly fresh?: boolean;
}

/**
 * Restores `text` without flushing what others wrote: own chains are replaced, jumps from built-in chains are added only if
 * they are not there, chains that are no longer wanted go. Throws PodpathError if the tool refuses.
 */
export async function applyRules(
  run: Run,
  family: 4 | 6,
  text: string,
  options: ApplyOptions,
): Promise<void> {
  const tool = family === 4 ? 'iptables' : 'ip6tables';
  const current = options.fresh ? '' : await must(run, [`${tool}-save`]);
  await must(run, [`${tool}-restore`, '--noflush', '-w', '5'], fitRules(text, current, options.owns));
}

/** The text for `--noflush`, given what iptables-save prints now. Pure. */
export function fitRules(wanted: string, current: string, owns: (chain: string) => boolean): string {
  const now = readSave(current);
  let table = '';
  const out: string[] = [];
  const names = new Set(
    readSave(wanted).flatMap((line) => (line.chain ? [`${line.table} ${line.chain}`] : [])),
  );
  for (const line of wanted.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const jump = jumpRule(line);
    if (jump !== undefined && now.some((other) => other.table === table && other.jump === jump)) continue;
    if (line === 'COMMIT') {
      const stale = now.flatMap(({ table: where, chain }) =>
        where === table && chain !== undefined && owns(chain) && !names.has(`${table} ${chain}`)
          ? [chain]
          : [],
      );
      // Emptied first, all of them: a chain that another still jumps to cannot be removed.
      out.push(...stale.map((chain) => `:${chain} - [0:0]`), ...stale.map((chain) => `-X ${chain}`));
    }
    out.push(line);
  }
  return out.join('\n');
}

interface SaveLine {
  readonly table: string;
  readonly chain?: string;
  readonly jump?: string;
}

function readSave(text: string): SaveLine[] {
  let table = '';
  const lines: SaveLine[] = [];
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const chain = /^:(\S+)/.exec(line)?.[1];
    const jump = jumpRule(line);
    if (chain !== undefined) lines.push({ table, chain });
    if (jump !== undefined) lines.push({ table, jump });
  }
  return lines;
}

/** A rule of a built-in chain, whether appended or inserted: `FORWARD -m comment ... -j KUBE-FORWARD`. */
function jumpRule(line: string): string | undefined {
  const rule = /^-(?:A|I) (PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) (?:1 )?(.*)$/.exec(line);
  return rule === null ? undefined : `${rule[1]} ${rule[2]}`;
}

/** Creates and fills sets; call before the rules that use them. */
export async function applySets(run: Run, text: string): Promise<void> {
  if (text !== '') await must(run, ['ipset', 'restore'], text);
}

/** Destroys the sets that `owns` names and `wanted` does not create; call after the rules that used them are gone. */
export async function dropStaleSets(run: Run, wanted: string, owns: (set: string) => boolean): Promise<void> {
  const keep = new Set([...wanted.matchAll(/^create (\S+)/gm)].map((match) => match[1] ?? ''));
  const names = (await must(run, ['ipset', 'list', '-n'])).split('\n');
  const stale = names.filter((name) => name !== '' && owns(name) && !keep.has(name));
  if (stale.length > 0)
    await must(run, ['ipset', 'restore'], stale.map((name) => `destroy ${name}\n`).join(''));
}

async function must(run: Run, argv: readonly string[], input?: string): Promise<string> {
  const result = await run(argv, input === undefined ? {} : { input });
  if (result.code === 0) return result.stdout;
  throw new PodpathError({
    code: 'lab/rules-refused',
    what: `${argv[0]} failed in the lab`,
    where: result.argv.join(' '),
    why: result.startError ?? (result.stderr.trim() || `exit code ${result.code}`),
    todo: 'Look at the rules with `podpath lab exec NAME NODE -- iptables-save`; `podpath lab down NAME` removes the lab.',
  });
}
