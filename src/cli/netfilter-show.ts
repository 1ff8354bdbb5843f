/** `podpath netfilter show`: the rules in the order in which packets meet them. */
import type { Command } from 'commander';
import { PodpathError } from '../model/errors.ts';
import { out, withOutputOption } from './context.ts';
import { type NetfilterFlags, openNetfilter, withNetfilterSource } from './netfilter-source.ts';
import { style } from './source.ts';

interface ShowFlags extends NetfilterFlags {
  readonly chain?: string;
  readonly output: string;
}

export function register(parent: Command): void {
  withOutputOption(
    withNetfilterSource(
      parent
        .command('show')
        .description('the chains hook by hook as packets meet them, with what each rule is about'),
    ).option('--chain <name>', 'this chain, who leads to it, and what it leads to'),
  ).action(run);
}

async function run(files: readonly string[], flags: ShowFlags): Promise<void> {
  const { describeRules } = await import('../dataplane/netfilter/lint/describe.ts');
  const { netfilterShowJson, netfilterShowText } = await import('../report/netfilter-show.ts');
  const all = (await openNetfilter(files, flags)).map((source) => ({
    name: source.name,
    rules: describeRules(source),
  }));
  const { chain } = flags;
  if (chain !== undefined && !all.some(({ rules }) => rules.chains.some(({ name }) => name === chain)))
    throw new PodpathError({
      code: 'usage/no-chain',
      what: `there is no chain ${chain}`,
      why: 'none of the tables has it',
      todo: 'podpath netfilter show without --chain lists them',
    });
  if (flags.output === 'json') out(JSON.stringify(netfilterShowJson(all, chain), null, 1));
  else out(netfilterShowText(all, chain, style()));
}
