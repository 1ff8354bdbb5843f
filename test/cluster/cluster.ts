/** A cluster that stands: commands in its machines, kubectl, objects, flows between pods. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../../src/lab/run.ts';
import { PodpathError } from '../../src/model/errors.ts';
import { type ExecOptions, type ExecResult, exec } from '../../src/system/exec.ts';
import { startApiServer, stopApiServer } from './control-plane.ts';
import { execIn, inMachine, mustIn } from './machine.ts';
import type { KubeObject } from './manifests/meta.ts';
import { adminKubeconfig, type Machine, machineFolder, type Plan } from './plan.ts';
import { until } from './wait.ts';

export class Cluster {
  readonly plan: Plan;
  readonly binaries: string;

  constructor(plan: Plan, binaries: string) {
    this.plan = plan;
    this.binaries = binaries;
  }

  get kubeconfig(): string {
    return adminKubeconfig(this.plan);
  }

  /** `node2`, `cp` or `admin`. Throws PodpathError naming those that exist. */
  machine(name: string): Machine {
    const all = [this.plan.controlPlane, ...this.plan.nodes, this.plan.admin];
    const found = all.find((machine) => machine.name === name);
    if (found !== undefined) return found;
    throw new PodpathError({
      code: 'cluster/no-machine',
      what: `cluster ${this.plan.name} has no machine "${name}"`,
      why: `it has ${all.map((machine) => machine.name).join(', ')}`,
      todo: 'name one of these',
    });
  }

  /** The arguments that run a command in a machine. */
  argv(machine: string, argv: readonly string[]): Promise<readonly string[]> {
    return inMachine(this.plan, this.machine(machine), argv);
  }

  /** Runs a command on a node, the control plane, or where administrators sit. Never rejects but for a machine that is gone. */
  exec(machine: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return execIn(this.plan, this.machine(machine), argv, options);
  }

  must(machine: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return mustIn(this.plan, this.machine(machine), argv, options);
  }

  /** kubectl as administrator, or with another kubeconfig. */
  async kubectl(
    args: readonly string[],
    options: ExecOptions & { kubeconfig?: string } = {},
  ): Promise<ExecResult> {
    const { kubeconfig = this.kubeconfig, ...rest } = options;
    const argv = [join(this.binaries, 'kubectl'), `--kubeconfig=${kubeconfig}`, ...args];
    return exec(await this.argv('admin', argv), rest);
  }

  /** kubectl that must succeed: its standard output. */
  async kubectlOut(args: readonly string[], options: ExecOptions = {}): Promise<string> {
    const argv = [join(this.binaries, 'kubectl'), `--kubeconfig=${this.kubeconfig}`, ...args];
    return (await must(await this.argv('admin', argv), options)).stdout;
  }

  /** Makes objects; those that are there already must not be among them. */
  async create(objects: readonly KubeObject[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await this.kubectlOut(['create', '--filename=-', '--validate=false'], {
      input: JSON.stringify(list),
      timeoutMs: 120_000,
    });
  }

  async apply(objects: readonly KubeObject[]): Promise<void> {
    const list = { apiVersion: 'v1', kind: 'List', items: objects };
    await this.kubectlOut(['apply', '--server-side', '--force-conflicts', '--filename=-'], {
      input: JSON.stringify(list),
      timeoutMs: 120_000,
    });
  }

  async list(kind: string, namespace?: string): Promise<LooseObject[]> {
    const scope = namespace === undefined ? ['--all-namespaces'] : ['--namespace', namespace];
    return (
      JSON.parse(await this.kubectlOut(['get', kind, ...scope, '--output=json'])) as { items: LooseObject[] }
    ).items;
  }

  /** Waits until all nodes and all pods are ready, every one that is wanted there. */
  async untilReady(limitMs = 240_000): Promise<void> {
    let lacks: string[] = [];
    await until(
      'all nodes and pods are ready',
      limitMs,
      800,
      async () => {
        lacks = await this.unready();
        return lacks.length === 0 ? true : undefined;
      },
      () => `not ready: ${lacks.join(', ')}`,
    );
  }

  /** What is not as it should be, in words; empty if all is. */
  async unready(): Promise<string[]> {
    const result = await this.kubectl([
      ...['get', 'nodes,daemonsets,deployments,pods', '--all-namespaces', '--output=json'],
    ]);
    if (result.code !== 0) return [result.stderr.trim()];
    const { items } = JSON.parse(result.stdout) as { items: LooseObject[] };
    const nodes = items.filter(({ kind }) => kind === 'Node');
    return [
      ...(nodes.length === this.plan.nodes.length
        ? []
        : [`${nodes.length} nodes of ${this.plan.nodes.length}`]),
      ...items
        .filter((item) => !isReady(item, nodes.length))
        .map((item) => `${item.kind} ${item.metadata.name}`),
    ];
  }

  /** Ends the API server; what runs on the nodes goes on. */
  stopApiServer(): Promise<void> {
    return stopApiServer(this.plan);
  }

  /** Starts it again and waits until it serves. */
  startApiServer(): Promise<void> {
    return startApiServer(this.plan, this.binaries);
  }

  /** Where the logs of a machine's daemons lie. */
  async logs(machine: string): Promise<string[]> {
    const folder = join(machineFolder(this.plan, this.machine(machine)), 'logs');
    return (await readdir(folder)).map((file) => join(folder, file));
  }
}

/** An object as the API returns it, read loosely: tests look at single fields. */
export interface LooseObject {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly generation?: number;
  };
  readonly spec: Readonly<Record<string, unknown>>;
  readonly status?: Readonly<Record<string, unknown>>;
}

function isReady({ kind, metadata, spec, status = {} }: LooseObject, nodes: number): boolean {
  const conditions = (status.conditions ?? []) as readonly { type: string; status: string }[];
  const holds = (type: string) => conditions.some((c) => c.type === type && c.status === 'True');
  const current = status.observedGeneration === metadata.generation;
  switch (kind) {
    case 'DaemonSet':
      return current && status.desiredNumberScheduled === nodes && status.numberReady === nodes;
    case 'Deployment':
      return current && (spec.replicas === 0 || status.readyReplicas === spec.replicas);
    default:
      return holds('Ready');
  }
}
