/** Collects a snapshot from a lab: the same commands that run on a real node, in each of its network namespaces. */
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Lab } from '../lab/lab.ts';
import { PodpathError } from '../model/errors.ts';
import type { Gap } from '../model/gap.ts';
import { type Snapshot, snapshotSchema } from '../model/snapshot.ts';
import { mapLimit } from '../system/exec.ts';
import { snapshotFromFiles } from './build.ts';
import { collectScript, readSections } from './commands.ts';
import { netnsPrefix, podFolder } from './layout.ts';
import { formatManifest, manifestFile } from './manifest.ts';
import { type CollectedFiles, filesOfSections } from './sections.ts';

export interface CollectOptions {
  /** Ids of the namespaces to enter, `node1` or `node1/shop_web-1`. Default: all. */
  readonly netns?: readonly string[];
  /** Programs and their versions, to be written into podpath.json. */
  readonly tools?: Readonly<Record<string, string>>;
  /** Further files, such as probes/results.json. */
  readonly extra?: ReadonlyMap<string, string>;
}

/** A namespace takes about 50 ms; its commands wait for the kernel more than for a core. */
const parallel = availableParallelism() * 2;
const timeoutMs = 60_000;
/** conntrack prints about 150 bytes an entry; a full table of a large node has a million. */
const maxOutputBytes = 256 * 1024 * 1024;

/**
 * Everything a snapshot of the lab holds, podpath.json included, and what could not be seen. A failing command is a gap;
 * PodpathError only if no namespace at all could be read.
 */
export async function collectLab(lab: Lab, options: CollectOptions = {}): Promise<CollectedFiles> {
  const takenAt = new Date().toISOString();
  const all = namespacesOf(lab);
  const asked = options.netns === undefined ? undefined : new Set(options.netns);
  const wanted = all.filter(({ id }) => asked === undefined || asked.has(id));
  const files = new Map<string, string>();
  const gaps: Gap[] = notAskedFor(all, wanted);
  const [cluster, collected] = await Promise.all([
    readCluster(lab.dir),
    mapLimit(wanted, parallel, (netns) => collectNetns(lab, netns)),
  ]);
  if (wanted.length > 0 && collected.every((one) => one.files.size === 0))
    throw noAccess(lab, collected[0]?.gaps[0]);
  for (const one of collected) {
    for (const [path, text] of one.files) files.set(path, text);
    gaps.push(...one.gaps);
  }
  const manifest = formatManifest({
    schema: snapshotSchema,
    takenAt,
    source: { kind: 'lab', name: lab.state.name },
    gaps,
    tools: options.tools ?? {},
  });
  return { files: new Map([[manifestFile, manifest], ...cluster, ...files, ...(options.extra ?? [])]), gaps };
}

/** The lab as it is now, as a snapshot in memory: written out and read again it would be the same. */
export async function snapshotOfLab(lab: Lab, options: CollectOptions = {}): Promise<Snapshot> {
  const { files } = await collectLab(lab, options);
  return snapshotFromFiles({ files, unreadable: [] }, `lab ${lab.state.name}`);
}

interface LabNetns {
  /** As in the snapshot. */
  readonly id: string;
  readonly node: string;
  /** Name for `ip netns exec`. */
  readonly netns: string;
  readonly prefix: string;
  readonly scope: 'node' | 'pod';
}

function namespacesOf(lab: Lab): LabNetns[] {
  const { nodes, pods } = lab.state;
  const nodeNetns = new Set(nodes.map((node) => node.netns));
  return [
    ...nodes.map(
      ({ name, netns }): LabNetns => ({
        id: name,
        node: name,
        netns,
        prefix: netnsPrefix(name),
        scope: 'node',
      }),
    ),
    ...pods
      // A hostNetwork pod lives in its node's namespace.
      .filter((pod) => !nodeNetns.has(pod.netns))
      .map(
        (pod): LabNetns => ({
          id: `${pod.node}/${podFolder(pod.namespace, pod.name)}`,
          node: pod.node,
          netns: pod.netns,
          prefix: netnsPrefix(pod.node, pod),
          scope: 'pod',
        }),
      ),
  ];
}

async function collectNetns(lab: Lab, { id, netns, prefix, scope }: LabNetns): Promise<CollectedFiles> {
  // Unguessable: a rule's comment or a socket's name could otherwise end a section early.
  const delimiter = `podpath-${randomUUID()}`;
  const argv = ['sh', '-c', collectScript(scope), 'podpath', delimiter];
  const result = await lab.exec(netns, argv, { timeoutMs, maxOutputBytes });
  const sections = readSections(result.stdout, result.stderr, delimiter);
  if (sections.size > 0) return filesOfSections(id, prefix, scope, sections);
  const why =
    result.startError === undefined
      ? result.stderr.trim().split('\n')[0] || `exit code ${result.code}`
      : `ip could not be started (${result.startError})`;
  return {
    files: new Map(),
    gaps: [
      {
        what: `the network namespace of ${id}`,
        where: prefix,
        why: `it could not be entered: ${why}`,
        todo: `ip netns exec ${netns} true`,
      },
    ],
  };
}

/** Not one namespace could be read: a snapshot would hold nothing but this reason. */
const noAccess = (lab: Lab, first: Gap | undefined): PodpathError =>
  new PodpathError({
    code: 'collect/no-access',
    what: `nothing could be collected from lab ${lab.state.name}`,
    ...(first === undefined ? {} : { where: first.where }),
    why: first?.why ?? 'its namespaces printed nothing',
    todo: `Run podpath as root on the host that runs the lab; nothing was written. (${first?.todo ?? 'podpath lab list'} shows it.)`,
  });

/** Said once a node, in the place where a reader would miss them. */
function notAskedFor(all: readonly LabNetns[], wanted: readonly LabNetns[]): Gap[] {
  const left = all.filter((netns) => !wanted.includes(netns));
  const why = 'only some namespaces were asked for';
  const todo = 'collect the whole lab';
  const gaps: Gap[] = left
    .filter(({ scope }) => scope === 'node')
    .map(({ id, prefix }) => ({ what: `the network state of node ${id}`, where: prefix, why, todo }));
  for (const node of new Set(left.filter(({ scope }) => scope === 'pod').map((netns) => netns.node))) {
    const pods = left.filter((netns) => netns.scope === 'pod' && netns.node === node);
    gaps.push({
      what: `the network namespaces of ${pods.length} pods on ${node}`,
      where: `nodes/${node}/pods/`,
      why,
      todo,
    });
  }
  return gaps;
}

/** The lab keeps its objects as a snapshot does: `cluster/pods.json` -> text. */
async function readCluster(dir: string): Promise<Map<string, string>> {
  const folder = join(dir, 'cluster');
  const names = (await readdir(folder)).filter((name) => /^[a-z0-9.-]+\.json$/.test(name)).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')));
  return new Map(names.map((name, i) => [`cluster/${name}`, texts[i] ?? '']));
}
