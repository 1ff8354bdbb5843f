/** `podpath lab`: pod networks on this kernel, to break and to heal. What they do is in src/lab; here are words and output. */
import type { Command } from 'commander';
import { Option } from 'commander';
import type { Fault } from '../lab/faults/fault.ts';
import type { Lab, UpOptions } from '../lab/lab.ts';
import type { LabCni, LabState } from '../lab/state.ts';
import { note, type OutputFormat, onInterrupt, out, progress, withOutputOption } from './context.ts';

const apiVersion = 'podpath.dev/v1alpha1';

interface Output {
  readonly output: OutputFormat;
}

interface UpFlags extends Output {
  readonly nodes?: number;
  readonly pods?: number;
  readonly cni?: LabCni;
  readonly dualStack?: boolean;
  readonly underlayMtu?: number;
  readonly podCidr?: string;
  readonly serviceCidr?: string;
  readonly nodeCidr?: string;
  readonly ownerPid?: number;
}

export function register(program: Command): void {
  const lab = program
    .command('lab')
    .description('pod networks of Linux network namespaces on this kernel, to break and to heal');
  registerUp(lab);
  lab
    .command('down')
    .argument('[name]', 'the lab', 'lab')
    .option('--all', 'remove every lab')
    .description('remove a lab: namespaces, processes, state')
    .action(down);
  withOutputOption(lab.command('list').alias('ls').description('the labs that are up')).action(list);
  lab
    .command('exec')
    .argument('<name>', 'the lab')
    .argument('<where>', 'a node, or NAMESPACE/POD')
    .argument('[command...]', 'after --; a shell if left out')
    .description('run a command inside a node or pod')
    .action(execInside);
  lab
    .command('break')
    .argument('<name>', 'the lab')
    .argument('<fault>', 'a fault; `podpath lab faults` lists them')
    .description('apply a fault')
    .action(breakLab);
  lab
    .command('heal')
    .argument('<name>', 'the lab')
    .argument('[fault]', 'a fault; every applied one if left out')
    .description('take a fault back')
    .action(heal);
  withOutputOption(lab.command('faults').description('the faults that a lab can have')).action(listFaults);
}

function registerUp(lab: Command): void {
  const count = (text: string): number => (/^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN);
  withOutputOption(lab.command('up'))
    .argument('[name]', 'a name of its own for the lab', 'lab')
    .description('build a lab: nodes, pods, Services, NetworkPolicies, servers that listen')
    .addOption(new Option('--nodes <count>', 'nodes (default 3)').argParser(count))
    .addOption(
      new Option('--pods <count>', 'pods in all (default and least: 2 a node and 6)').argParser(count),
    )
    .addOption(
      new Option('--cni <name>', 'pod network (default flannel-vxlan)').choices([
        'flannel-vxlan',
        'flannel-host-gw',
        'calico-vxlan',
        'calico-bgp',
      ]),
    )
    .option('--dual-stack', 'IPv6 beside IPv4')
    .addOption(
      new Option('--underlay-mtu <bytes>', "MTU of the nodes' network (default 1500)").argParser(count),
    )
    .option('--pod-cidr <prefix>', 'pod network, a /24 a node (default 10.244.0.0/16)')
    .option('--service-cidr <prefix>', 'Service addresses (default 10.96.0.0/16)')
    .option('--node-cidr <prefix>', 'node addresses (default 10.99.0.0/24)')
    .addOption(
      new Option(
        '--owner-pid <pid>',
        'the next `lab up` or `lab list` removes the lab if this process is gone',
      ).argParser(count),
    )
    .action(up);
}

async function up(name: string, flags: UpFlags): Promise<void> {
  const { upLab } = await import('../lab/lab.ts');
  const stop = new AbortController();
  const shown = progress(`building the lab ${name}`);
  const options = { ...upOptions(name, flags), signal: stop.signal };
  const building = upLab({ ...options, onProgress: (text) => shown.update(text) });
  const forget = onInterrupt(async () => {
    stop.abort();
    // Its own clean-up removes what was made.
    await building.catch(() => {});
  });
  try {
    const started = performance.now();
    const lab = await building;
    shown.done();
    if (flags.output === 'json') printJson('Lab', { lab: lab.state });
    else out(describe(lab.state, `up in ${((performance.now() - started) / 1000).toFixed(1)} s`));
  } catch (error) {
    shown.done();
    throw error;
  } finally {
    forget();
  }
}

/** Flags that were not given stay absent: the lab's defaults are its own. */
function upOptions(name: string, flags: UpFlags): UpOptions {
  const { nodes, pods, cni, dualStack, underlayMtu, podCidr, serviceCidr, nodeCidr, ownerPid } = flags;
  return {
    name,
    ...(nodes === undefined ? {} : { nodes }),
    ...(pods === undefined ? {} : { pods }),
    ...(cni === undefined ? {} : { cni }),
    ...(dualStack === undefined ? {} : { dualStack }),
    ...(underlayMtu === undefined ? {} : { underlayMtuBytes: underlayMtu }),
    ...(podCidr === undefined ? {} : { podCidr }),
    ...(serviceCidr === undefined ? {} : { serviceCidr }),
    ...(nodeCidr === undefined ? {} : { nodeCidr }),
    ...(ownerPid === undefined ? {} : { ownerPid }),
  };
}

function describe(state: LabState, remark: string): string {
  const { name, nodes, pods, cni, families } = state;
  const workloads = new Map<string, number>();
  for (const pod of pods) {
    const workload = `${pod.namespace}/${pod.name.replace(/-[0-9]+$/, '')}`;
    workloads.set(workload, (workloads.get(workload) ?? 0) + 1);
  }
  const shown = [...workloads]
    .slice(0, 8)
    .map(([workload, count]) => (count > 1 ? `${workload} x${count}` : workload));
  const more = workloads.size > shown.length ? `, and ${workloads.size - shown.length} more workloads` : '';
  return [
    `lab ${name}: ${nodes.length} nodes, ${pods.length} pods, ${cni}${families.length > 1 ? ', dual-stack' : ''}, ${remark}`,
    `  pods   ${shown.join(', ')}${more}`,
    `  try    podpath diagnose --lab ${name} shop/web-1 shop/api-${Math.min(2, nodes.length)}:8080`,
    `         podpath lab break ${name} route-missing`,
    `         podpath lab down ${name}`,
  ].join('\n');
}

async function down(name: string, flags: { readonly all?: boolean }): Promise<void> {
  const { downLab } = await import('../lab/lab.ts');
  const names = flags.all === true ? await (await import('../lab/store.ts')).labNames() : [name];
  for (const each of names) {
    await downLab(each);
    note(`lab ${each} is removed`);
  }
}

async function list(flags: Output): Promise<void> {
  const { listLabs, sweepLabs } = await import('../lab/lab.ts');
  for (const name of await sweepLabs()) note(`lab ${name} is removed: the process that owned it is gone`);
  const labs = await listLabs();
  if (flags.output === 'json') printJson('LabList', { labs });
  else if (labs.length === 0) note('no lab is up; `podpath lab up` makes one');
  else out(labs.map(listLine).join('\n'));
}

function listLine(state: LabState): string {
  const faults = state.faults.map((fault) => fault.name).join(', ');
  const size = `${state.nodes.length} nodes, ${state.pods.length} pods`;
  return `${state.name.padEnd(20)}  ${state.cni.padEnd(15)}  ${size}${faults === '' ? '' : `  broken by ${faults}`}`;
}

async function execInside(name: string, where: string, command: readonly string[]): Promise<void> {
  const { openLab } = await import('../lab/lab.ts');
  const { execAttached } = await import('../system/exec.ts');
  const { inNetns } = await import('../lab/run.ts');
  const lab = await openLab(name);
  const { netns } = where.includes('/') ? lab.pod(where) : lab.node(where);
  const argv = command.length > 0 ? command : [process.env.SHELL ?? '/bin/sh'];
  process.exitCode = await execAttached(inNetns(netns, argv));
}

async function breakLab(name: string, faultName: string): Promise<void> {
  const [lab, fault] = await labAndFault(name, faultName);
  await fault.apply(lab);
  const flow = fault.flow(lab);
  const destination = `${flow.hostName ?? flow.dst}${flow.port === 0 ? '' : `:${flow.port}`}`;
  const protocol = flow.protocol === 'tcp' ? '' : ` --protocol ${flow.protocol}`;
  out(
    [
      `lab ${name} is broken: ${fault.title}`,
      `  see    podpath diagnose --lab ${name} ${flow.src} ${destination}${protocol}`,
      `  heal   podpath lab heal ${name} ${fault.name}`,
    ].join('\n'),
  );
}

async function heal(name: string, faultName: string | undefined): Promise<void> {
  const { openLab } = await import('../lab/lab.ts');
  if (faultName !== undefined) {
    const [lab, fault] = await labAndFault(name, faultName);
    await fault.heal(lab);
    out(`lab ${name}: ${fault.name} is healed`);
    return;
  }
  const lab = await openLab(name);
  const applied = lab.state.faults.map((fault) => fault.name);
  if (applied.length === 0) note(`lab ${name} has no fault`);
  // The newest first: a later fault may stand on an earlier one.
  for (const each of applied.reverse()) {
    const [, fault] = await labAndFault(name, each);
    await fault.heal(lab);
    out(`lab ${name}: ${each} is healed`);
  }
}

async function labAndFault(name: string, faultName: string): Promise<[Lab, Fault]> {
  const [{ openLab }, { faults }] = await Promise.all([
    import('../lab/lab.ts'),
    import('../lab/faults/registry.ts'),
  ]);
  const fault = faults.find((candidate) => candidate.name === faultName);
  if (fault !== undefined) return [await openLab(name), fault];
  const [{ PodpathError }, { nearestNames }] = await Promise.all([
    import('../model/errors.ts'),
    import('../model/nearest.ts'),
  ]);
  const near = nearestNames(
    faultName,
    faults.map((candidate) => candidate.name),
  );
  throw new PodpathError({
    code: 'lab/no-fault',
    what: `there is no fault ${faultName}`,
    why: near.length > 0 ? `the nearest names are ${near.join(', ')}` : 'no fault has a name like it',
    todo: near[0] === undefined ? 'podpath lab faults lists them' : `did you mean ${near[0]}?`,
  });
}

async function listFaults(flags: Output): Promise<void> {
  const { faults } = await import('../lab/faults/registry.ts');
  const shown = faults.map(({ name, title, cause, cnis, repair }) => ({ name, title, cause, cnis, repair }));
  if (flags.output === 'json') printJson('FaultList', { faults: shown });
  else {
    const width = Math.max(...shown.map(({ name }) => name.length));
    out(shown.map(({ name, title }) => `${name.padEnd(width)}  ${title}`).join('\n'));
  }
}

const printJson = (kind: string, content: object): void =>
  out(JSON.stringify({ apiVersion, kind, ...content }, null, 2));
