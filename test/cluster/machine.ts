/** A machine of the cluster: a process tree with network, mount, PID, UTS and IPC namespaces of its own. */
import { spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { inNetns, must } from '../../src/lab/run.ts';
import { PodpathError } from '../../src/model/errors.ts';
import { type ExecOptions, type ExecResult, exec } from '../../src/system/exec.ts';
import { type Machine, machineFolder, type Plan } from './plan.ts';
import { until } from './wait.ts';

/** Starts process 1 of the machine and waits until its directories stand. Returns its process number. */
export async function startMachine(plan: Plan, machine: Machine, initScript: string): Promise<number> {
  const folder = machineFolder(plan, machine);
  await mkdir(join(folder, 'logs'), { recursive: true });
  await rm(join(folder, 'init.pid'), { force: true });
  const argv = [
    ...['nsenter', `--net=/run/netns/${machine.netns}`],
    ...[
      'unshare',
      '--mount',
      '--propagation',
      'private',
      '--uts',
      '--ipc',
      '--pid',
      '--fork',
      '--kill-child',
    ],
    ...['sh', initScript, folder, machine.name],
  ];
  spawnDetached(argv, join(folder, 'logs/init.log'));
  const pid = await until(`machine ${machine.name} stands`, 20_000, 20, () => initOf(plan, machine)).catch(
    async (error: unknown) => {
      const log = await readFile(join(folder, 'logs/init.log'), 'utf8').catch(() => '');
      throw log === '' ? error : new Error(`machine ${machine.name}: ${log.trim()}`);
    },
  );
  return pid;
}

/** The number of the machine's process 1; undefined if it does not run. */
async function initOf(plan: Plan, machine: Machine): Promise<number | undefined> {
  const text = await readFile(join(machineFolder(plan, machine), 'init.pid'), 'utf8').catch(() => '');
  const pid = Number(text);
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  // The number may belong to another process by now: the machine's folder stands in the arguments of the right one.
  const args = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return args.split('\0').includes(machineFolder(plan, machine)) ? pid : undefined;
}

/** The arguments that run a command in the machine. Throws PodpathError if the machine is gone. */
export async function inMachine(
  plan: Plan,
  machine: Machine,
  argv: readonly string[],
): Promise<readonly string[]> {
  if (machine.name === plan.admin.name) return inNetns(machine.netns, argv);
  const pid = await initOf(plan, machine);
  if (pid === undefined) {
    throw new PodpathError({
      code: 'cluster/machine-gone',
      what: `machine ${machine.name} of cluster ${plan.name} does not run`,
      why: 'its first process has ended',
      todo: `make the cluster again: node scripts/cluster.mjs down --name ${plan.name}, then up`,
    });
  }
  const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid'];
  return ['nsenter', '--target', String(pid), ...namespaces, '--wd=/', '--', ...argv];
}

export const execIn = async (
  plan: Plan,
  machine: Machine,
  argv: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> => exec(await inMachine(plan, machine, argv), options);

export const mustIn = async (
  plan: Plan,
  machine: Machine,
  argv: readonly string[],
  options: ExecOptions = {},
): Promise<ExecResult> => must(await inMachine(plan, machine, argv), options);

/** Starts a daemon of the machine. Its output goes to logs/NAME.log, its number (of the machine's) to /run/NAME.pid. */
export async function startDaemonIn(
  plan: Plan,
  machine: Machine,
  name: string,
  argv: readonly string[],
): Promise<void> {
  const script = 'echo $$ >"/run/$0.pid"; exec "$@"';
  spawnDetached(
    await inMachine(plan, machine, ['sh', '-c', script, name, ...argv]),
    join(machineFolder(plan, machine), `logs/${name}.log`),
  );
}

/** Ends a daemon of the machine and waits until it is gone. Does nothing if it does not run. */
export async function stopDaemonIn(plan: Plan, machine: Machine, name: string): Promise<void> {
  const script =
    'pid=$(cat "/run/$0.pid" 2>/dev/null) || exit 0; kill "$pid" 2>/dev/null || exit 0; for i in $(seq 100); do kill -0 "$pid" 2>/dev/null || exit 0; sleep 0.1; done; kill -9 "$pid"';
  await mustIn(plan, machine, ['sh', '-c', script, name]);
}

function spawnDetached(argv: readonly string[], logFile: string): void {
  const log = openSync(logFile, 'a');
  const child = spawn(argv[0] ?? '', argv.slice(1), {
    stdio: ['ignore', log, log],
    detached: true,
    cwd: '/',
    env: { ...process.env, LC_ALL: 'C' },
  });
  child.on('error', () => {});
  child.unref();
}
