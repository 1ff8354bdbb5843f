/** The command line of the test cluster; scripts/cluster.mjs runs it. */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { PodpathError } from '../../src/model/errors.ts';
import { execAttached } from '../../src/system/exec.ts';
import { downCluster, openCluster, prepareCluster, sweepClusters, upCluster } from './lifecycle.ts';
import type { ClusterCni, ClusterOptions, ClusterProxy } from './plan.ts';
import { namespacesOf, readRecord, traces } from './state.ts';

const usage = `usage: node scripts/cluster.mjs COMMAND [--name NAME]
  up [--cni flannel-vxlan|flannel-host-gw] [--proxy iptables|nftables] [--nodes 3]
  down        removes it, from any state
  status      what there is
  exec [--on node1|cp|admin] -- COMMAND ...     default: admin, with KUBECONFIG set and kubectl on the path
  kubeconfig  prints the file's name; it works in \`exec\` only
  build       only installs and builds what "up" needs, and keeps it
  sweep       removes what dead runs have left
`;
const say = (text: string) => process.stderr.write(`cluster: ${text}\n`);

/** Returns the exit code. */
export async function main(args: readonly string[], home: string): Promise<number> {
  const dash = args.indexOf('--');
  const [own, command] = dash < 0 ? [args, []] : [args.slice(0, dash), args.slice(dash + 1)];
  try {
    const { values, positionals } = parseArgs({
      args: [...own],
      allowPositionals: true,
      options: {
        name: { type: 'string', default: 'test' },
        cni: { type: 'string' },
        proxy: { type: 'string' },
        nodes: { type: 'string' },
        on: { type: 'string', default: 'admin' },
      },
    });
    const { name } = values;
    switch (positionals[0]) {
      case 'up':
        await up(
          {
            name,
            ...(values.cni === undefined ? {} : { cni: values.cni as ClusterCni }),
            ...(values.proxy === undefined ? {} : { proxy: values.proxy as ClusterProxy }),
            ...(values.nodes === undefined ? {} : { nodes: Number(values.nodes) }),
          },
          home,
        );
        return 0;
      case 'down':
        await downCluster(name);
        return 0;
      case 'status':
        return await status();
      case 'exec':
        return await run(name, values.on, command);
      case 'kubeconfig':
        process.stdout.write(`${(await openCluster(name)).kubeconfig}\n`);
        return 0;
      case 'build':
        await prepareCluster(home, say);
        return 0;
      case 'sweep':
        for (const swept of await sweepClusters()) say(`removed ${swept}`);
        return 0;
      default:
        process.stderr.write(usage);
        return 2;
    }
  } catch (error) {
    if (!(error instanceof PodpathError)) throw error;
    const { what, where, why, todo } = error.complaint;
    say(
      [what, ...(where === undefined ? [] : [`where: ${where}`]), `why: ${why}`, `what to do: ${todo}`].join(
        '\n  ',
      ),
    );
    return 3;
  }
}

async function up(options: ClusterOptions, home: string): Promise<void> {
  const started = performance.now();
  const timed = (text: string) => say(`${((performance.now() - started) / 1000).toFixed(1)} s: ${text}`);
  // After Ctrl-C nothing of it may stay: another process does what an exit handler has no time for.
  let isClaimed = false;
  const undo = () => {
    const down = [process.argv[1] ?? '', 'down', '--name', options.name];
    if (isClaimed) spawnSync(process.execPath, down, { stdio: 'inherit' });
  };
  process.once('exit', undo);
  try {
    const onProgress = (text: string) => {
      // Said once the name is taken: another's cluster of that name is never removed.
      isClaimed ||= text === 'wiring the machines';
      timed(text);
    };
    await upCluster({ ...options, home, onProgress });
    timed('all nodes and pods are ready');
  } finally {
    process.off('exit', undo);
  }
}

async function run(name: string, machine: string, command: readonly string[]): Promise<number> {
  const cluster = await openCluster(name);
  const path = `PATH=${cluster.binaries}:${process.env.PATH ?? ''}`;
  const env = ['env', `KUBECONFIG=${cluster.kubeconfig}`, path];
  return execAttached(await cluster.argv(machine, [...env, ...(command.length === 0 ? ['sh'] : command)]));
}

async function status(): Promise<number> {
  for (const name of traces()) {
    const record = await readRecord(name);
    const lines =
      record === undefined
        ? ['remains of a run that died']
        : [
            `${record.plan.cni}, kube-proxy ${record.plan.proxy}, folder ${record.plan.folder}`,
            record.ready
              ? (await (await openCluster(name)).unready()).join(', ') || 'all nodes and pods are ready'
              : 'not whole',
          ];
    process.stdout.write(`${name}: ${namespacesOf(name).length} namespaces; ${lines.join('; ')}\n`);
  }
  return 0;
}
