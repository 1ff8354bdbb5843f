/** `podpath netfilter`: packet-filter rules as they were recorded. One file a subcommand, each with `register(parent)`. */
import type { Command } from 'commander';
import * as diff from './netfilter-diff.ts';
import * as lint from './netfilter-lint.ts';
import * as show from './netfilter-show.ts';

/** In the order of the help. */
const subcommands: readonly { register(parent: Command): void }[] = [show, lint, diff];

export function register(program: Command): void {
  const netfilter = program
    .command('netfilter')
    .description(
      'the packet-filter rules of a host: iptables of both backends and nftables, from files, a snapshot or a lab',
    );
  for (const subcommand of subcommands) subcommand.register(netfilter);
}
