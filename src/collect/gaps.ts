/** What a snapshot leaves unseen, derived from the files that it has not. Same gaps are told once for all namespaces. */
import type { Cluster, Pod } from '../model/cluster.ts';
import type { Gap } from '../model/gap.ts';
import type { SnapshotFiles } from './files.ts';
import { clusterKinds, netnsFiles, netnsPath, netnsPrefix, podFolder } from './layout.ts';

export function findGaps(input: SnapshotFiles, cluster: Cluster, recorded: readonly Gap[]): readonly Gap[] {
  const netns = groupByNetns(input.files.keys());
  const derived = [
    ...unreadable(input),
    ...missingKinds(input.files, cluster),
    ...missingNodes(netns, cluster),
    ...missingPods(netns, cluster),
    ...missingFiles(netns),
  ];
  // What the collecting program explained itself is not explained again.
  const explained = new Set(recorded.map((gap) => gap.where));
  return [...recorded, ...derived.filter((gap) => !explained.has(gap.where))];
}

interface RecordedNetns {
  readonly id: string;
  readonly prefix: string;
  readonly ofPod: boolean;
  readonly files: Set<string>;
}

function groupByNetns(paths: Iterable<string>): Map<string, RecordedNetns> {
  const found = new Map<string, RecordedNetns>();
  for (const path of paths) {
    const at = netnsPath(path);
    if (at === undefined) continue;
    const netns = found.get(at.id) ?? {
      id: at.id,
      prefix: at.prefix,
      ofPod: at.pod !== undefined,
      files: new Set(),
    };
    netns.files.add(at.file);
    found.set(at.id, netns);
  }
  return found;
}

const unreadable = (input: SnapshotFiles): Gap[] =>
  input.unreadable.map(({ path, why }) => ({
    what: `the content of ${path}`,
    where: path,
    why: `the file is there but cannot be read: ${why}`,
    todo: `make it readable (chmod u+r) or run podpath as its owner`,
  }));

function missingKinds(files: ReadonlyMap<string, string>, cluster: Cluster): Gap[] {
  const pods = cluster.pods.state === 'known' ? cluster.pods.value : undefined;
  return clusterKinds
    .filter(({ plural, owner }) => {
      if (files.has(`cluster/${plural}.json`)) return false;
      // Workloads are looked up from the pods that they own: without such a pod nothing is missed.
      return owner === undefined || pods === undefined || pods.some((pod) => pod.owner?.kind === owner);
    })
    .map(({ plural }) => ({
      what: `the cluster's ${plural}`,
      where: `cluster/${plural}.json`,
      why: 'the snapshot has no such file: it was not collected, or the collecting user may not list them',
      todo: `kubectl get ${plural} -A -o json > cluster/${plural}.json`,
    }));
}

function missingNodes(netns: ReadonlyMap<string, RecordedNetns>, cluster: Cluster): Gap[] {
  if (cluster.nodes.state !== 'known') return [];
  const names = cluster.nodes.value.map((node) => node.name);
  // Thousands of nodes of a cluster of which only the objects were read lack the same.
  if (names.length > 3 && !names.some((name) => netns.has(name)))
    return [
      {
        what: `the network state of all ${names.length} nodes (${names.slice(0, 2).join(', ')}, ...)`,
        where: 'nodes/',
        why: 'the snapshot has no files of any node: only the objects of the cluster were collected',
        todo: 'collect the snapshot again with access to the nodes',
      },
    ];
  return cluster.nodes.value
    .filter((node) => !netns.has(node.name))
    .map((node) => ({
      what: `the network state of node ${node.name}`,
      where: netnsPrefix(node.name),
      why: 'the cluster has this node and the snapshot has no files of it: the node was not reached when it was taken',
      todo: `collect the snapshot again with access to ${node.name}`,
    }));
}

/** Running pods that have a network namespace of their own. Finished pods have given theirs back; hostNetwork pods have none. */
const hasOwnNetns = (pod: Pod): boolean =>
  !pod.hostNetwork && pod.node !== '' && pod.phase === 'Running' && pod.addresses.length > 0;

function missingPods(netns: ReadonlyMap<string, RecordedNetns>, cluster: Cluster): Gap[] {
  if (cluster.pods.state !== 'known') return [];
  const perNode = new Map<string, string[]>();
  for (const pod of cluster.pods.value) {
    // A node without any files has its own gap, which covers its pods.
    if (!hasOwnNetns(pod) || !netns.has(pod.node)) continue;
    if (netns.has(`${pod.node}/${podFolder(pod.namespace, pod.name)}`)) continue;
    const missed = perNode.get(pod.node) ?? [];
    missed.push(`${pod.namespace}/${pod.name}`);
    perNode.set(pod.node, missed);
  }
  return [...perNode].map(([node, pods]) => ({
    what: `the network namespaces of ${enumerate(pods, 'pods')} on ${node}`,
    where: `nodes/${node}/pods/`,
    why: 'the pods run there and the snapshot has no files of them: they started later, or their namespaces were not entered',
    todo: 'collect the snapshot again; pods are entered from their node (`nsenter -t PID -n`)',
  }));
}

/** One gap a file name, naming the namespaces that lack it. */
function missingFiles(netns: ReadonlyMap<string, RecordedNetns>): Gap[] {
  const gaps: Gap[] = [];
  for (const { file, holds, command, inContainer, otherForm } of netnsFiles) {
    for (const ofPod of [false, true]) {
      const all = [...netns.values()].filter((one) => one.ofPod === ofPod);
      const lacking = all.filter(
        ({ files }) => !files.has(file) && (otherForm === undefined || !files.has(otherForm)),
      );
      const [first] = lacking;
      if (first === undefined) continue;
      const kind = ofPod ? 'pods' : 'nodes';
      const who =
        lacking.length === all.length && all.length > 1
          ? `all ${all.length} ${kind}`
          : enumerate(
              lacking.map((one) => one.id),
              kind,
            );
      gaps.push({
        what: `${holds} of ${who}`,
        where: lacking.length === 1 ? `${first.prefix}${file}` : `nodes/${ofPod ? '*/pods/' : ''}*/${file}`,
        why:
          ofPod && inContainer
            ? 'it stands in the file system of the container, not in its network namespace, and was not collected'
            : `the snapshot has no such file there: \`${command}\` was not run or its program was not installed`,
        todo:
          ofPod && inContainer
            ? `kubectl exec -n NAMESPACE POD -- ${command}`
            : `run \`${command}\` there and keep its output as ${file}`,
      });
    }
  }
  return gaps;
}

/** `a, b and c`, or the first two and how many more. */
function enumerate(names: readonly string[], kind: string): string {
  if (names.length > 3) return `${names.length} ${kind} (${names.slice(0, 2).join(', ')}, ...)`;
  return names.length < 2 ? names.join('') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
}
