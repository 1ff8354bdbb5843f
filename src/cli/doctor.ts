import type { Command } from 'commander';
import { out, tint, unicodeOn, withOutputOption } from './context.ts';
import { exitCode } from './errors.ts';
import type { HostFact } from './host.ts';

export function register(program: Command): void {
  withOutputOption(
    program
      .command('doctor')
      .description('show what this host has, and what podpath can do on it')
      .option('--rbac', 'print the ClusterRole that podpath needs to read a cluster, for kubectl apply -f -'),
  )
    .addHelpText('after', '\nExits 0 if everything works here, the lab included; 3 if something is missing.')
    .action(async (options: { output: string; rbac?: boolean }) => {
      if (options.rbac === true) {
        const { clusterRole } = await import('../collect/kubernetes/rbac.ts');
        out(clusterRole());
        return;
      }
      const { examineHost } = await import('./host.ts');
      const facts = await examineHost();
      const complete = facts.every((f) => f.state === 'ok');
      if (options.output === 'json') {
        out(JSON.stringify({ apiVersion: 'podpath.dev/v1alpha1', kind: 'Host', complete, facts }, null, 2));
      } else out(render(facts));
      process.exitCode = complete ? exitCode.ok : exitCode.error;
    });
}

const titles: Readonly<Record<HostFact['group'], string>> = {
  host: 'Host',
  tools: 'Tools',
  kernel: 'Kernel',
};

/** The answer first, then one line a fact, then what to do. */
function render(facts: readonly HostFact[]): string {
  const lacking = facts.filter((f) => f.state !== 'ok');
  const answer =
    lacking.length === 0
      ? 'This host can do everything, the lab included.'
      : `Missing here: ${lacking.map((f) => f.name).join(', ')}. Recorded snapshots can be diagnosed all the same.`;
  const groups = (['host', 'tools', 'kernel'] as const).flatMap((group) => {
    const members = facts.filter((f) => f.group === group);
    return members.length === 0 ? [] : ['', tint('bold', titles[group]), ...members.map(line)];
  });
  const todo = [...new Set(lacking.flatMap((f) => (f.todo === undefined ? [] : [f.todo])))];
  return [
    tint('bold', answer),
    ...groups,
    ...(todo.length === 0 ? [] : ['', tint('bold', 'To do'), ...todo.map((t) => `  ${t}`)]),
  ].join('\n');
}

function line(f: HostFact): string {
  const mark = marks()[f.state];
  const found = f.state === 'ok' ? f.found : `${f.found} (needed for ${f.neededFor})`;
  return `  ${mark} ${f.name.padEnd(20)} ${found}`;
}

const marks = (): Readonly<Record<HostFact['state'], string>> =>
  unicodeOn()
    ? { ok: tint('green', '✓'), missing: tint('red', '✗'), unknown: tint('yellow', '?') }
    : { ok: tint('green', 'ok'), missing: tint('red', 'no'), unknown: tint('yellow', '? ') };
