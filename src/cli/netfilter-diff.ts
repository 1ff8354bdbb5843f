/** `podpath netfilter diff`: what two saves of rules do differently. */
import { stat } from 'node:fs/promises';
import type { Command } from 'commander';
import type { RecordedRules } from '../dataplane/netfilter/lint/lint.ts';
import { PodpathError } from '../model/errors.ts';
import { out, withOutputOption } from './context.ts';
import { exitCode } from './errors.ts';
import { ofSnapshot, readRuleFiles } from './netfilter-source.ts';
import { style } from './source.ts';

interface DiffFlags {
  readonly node?: string;
  readonly pod?: string;
  readonly output: string;
}

export function register(parent: Command): void {
  withOutputOption(
    parent
      .command('diff')
      .description(
        'how two saves differ by meaning: counters, order that cannot matter and generated names aside',
      )
      .argument('<a>', 'iptables-save or nft -j output, or a snapshot')
      .argument('<b>', 'the same')
      .option('--node <name>', 'of snapshots: the node whose rules are compared')
      .option('--pod <ns/name>', "of snapshots: the pod whose own namespace's rules are compared"),
  ).action(run);
}

async function run(a: string, b: string, flags: DiffFlags): Promise<void> {
  const { diffNetfilter } = await import('../dataplane/netfilter/diff.ts');
  const { meansTheSame, netfilterDiffJson, netfilterDiffText } = await import('../report/netfilter-diff.ts');
  const diff = diffNetfilter(await side(a, flags), await side(b, flags));
  if (flags.output === 'json') out(JSON.stringify(netfilterDiffJson(diff), null, 1));
  else out(netfilterDiffText(diff, style()));
  process.exitCode = meansTheSame(diff) ? exitCode.ok : exitCode.found;
}

/** A file of rules, or one namespace of a snapshot. */
async function side(path: string, flags: DiffFlags): Promise<RecordedRules> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder && !/\.(tar\.gz|tgz|tar|zip)$/.test(path)) return readRuleFiles([path]);
  const { readSnapshot } = await import('../collect/read.ts');
  const [first, ...more] = ofSnapshot(await readSnapshot(path), flags);
  if (first === undefined || more.length > 0)
    throw new PodpathError({
      code: 'usage/which-node',
      what: `${path} has the rules of several nodes`,
      why: 'one namespace is compared with one',
      todo: 'name it with --node or --pod',
    });
  return first;
}
