/** `podpath policy`: what the policies mean. One file a subcommand, each with `register(parent)`. */
import type { Command } from 'commander';
import * as diff from './policy-diff.ts';
import * as explain from './policy-explain.ts';
import * as lint from './policy-lint.ts';
import * as list from './policy-list.ts';
import * as suggest from './policy-suggest.ts';

/** In the order of the help. */
const subcommands: readonly { register(parent: Command): void }[] = [list, diff, lint, explain, suggest];

export function register(program: Command): void {
  const policy = program
    .command('policy')
    .description('what the network policies mean, of every kind: from manifests, a snapshot or a lab');
  for (const subcommand of subcommands) subcommand.register(policy);
}
