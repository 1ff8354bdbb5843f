/** A live cluster's objects -> the files of a snapshot, and the gaps. Reads only; leaves nothing in the cluster. */
import type { Gap } from '../../model/gap.ts';
import { snapshotSchema } from '../../model/snapshot.ts';
import { mapLimit } from '../../system/exec.ts';
import { formatManifest, manifestFile } from '../manifest.ts';
import type { CollectedFiles } from '../sections.ts';
import type { Api } from './api.ts';
import { readConfigMaps } from './configmaps.ts';
import { discover, type ServedKind } from './discovery.ts';
import { noServer } from './errors.ts';
import type { Failure } from './failure.ts';
import { kindGap, partGap } from './kind-gaps.ts';
import { listFile, listName } from './kinds.ts';
import { type KindResult, readNamespaceObjects, readNamespaces, readWhole } from './read-kind.ts';

export interface CollectClusterOptions {
  /** Told what is under way: `reading pods: 12500`. */
  readonly say: (text: string) => void;
  /** Looked into where the account may not list a kind everywhere and may not list namespaces either. */
  readonly namespaces: readonly string[];
  readonly tools?: Readonly<Record<string, string>>;
}

/** Kinds that are read at the same time; `--qps` bounds them all together. */
const parallel = 4;

/** Throws PodpathError if the API server cannot be asked at all; whatever it refuses or fails to answer is a gap. */
export async function collectCluster(api: Api, options: CollectClusterOptions): Promise<CollectedFiles> {
  const takenAt = new Date().toISOString();
  const { connection } = api;
  options.say(`asking ${connection.name} what it serves`);
  const [version, discovered] = await Promise.all([api.get('/version'), discover(api)]);
  if ('failure' in discovered) throw noServer(connection, discovered.failure);
  const results = await readKinds(api, discovered.served, options);
  const files = new Map<string, string>();
  const gaps: Gap[] = [];
  for (const { kind, failure } of discovered.unclear) {
    gaps.push(kindGap(connection, kind, true, failure));
    if (kind.use === 'decides') files.set(listFile(kind), refusal(failure));
  }
  const placed = workloadPlaces(results);
  write(api, results, files, gaps);
  options.say('reading ConfigMaps');
  const maps = await readConfigMaps(api, placed);
  if (maps.text !== undefined) files.set('cluster/configmaps.json', maps.text);
  gaps.push(...maps.gaps);
  const manifest = formatManifest({
    schema: snapshotSchema,
    takenAt,
    source: { kind: 'cluster', name: connection.name },
    gaps,
    tools: {
      ...(version.ok ? { kubernetes: String(version.value.gitVersion ?? 'unknown') } : {}),
      ...options.tools,
    },
  });
  return { files: new Map([[manifestFile, manifest], ...files]), gaps };
}

async function readKinds(
  api: Api,
  served: readonly ServedKind[],
  { say, namespaces }: CollectClusterOptions,
): Promise<readonly KindResult[]> {
  const tell = (one: ServedKind) => (count: number) => say(`reading ${listName(one.kind)}: ${count}`);
  const [originals, copies] = split(served, ({ kind }) => kind.sameAs === undefined);
  const first = await mapLimit(originals, parallel, (one) => readWhole(api, one, tell(one)));
  const have = new Set(
    first.flatMap(({ state, served: { kind } }) => (state === 'whole' ? listName(kind) : [])),
  );
  // What Calico's API server could not show is read from its own objects.
  const wanted = copies.filter(
    ({ kind }) => !have.has(listName({ group: kind.sameAs ?? '', plural: kind.plural })),
  );
  const second = await mapLimit(wanted, parallel, (one) => readWhole(api, one, tell(one)));
  const got = new Set(
    second.flatMap(({ state, served: { kind } }) =>
      state === 'whole' ? listName({ group: kind.sameAs ?? '', plural: kind.plural }) : [],
    ),
  );
  const all = [...first, ...second].filter(
    (one) => one.state === 'whole' || !got.has(listName(one.served.kind)),
  );
  if (!all.some(isForbiddenSomewhere)) return all;
  const places = namespaceNames(all) ?? [...new Set([api.connection.namespace, ...namespaces])];
  return mapLimit(all, parallel, async (one) => {
    if (one.state !== 'failed' || one.failure.kind !== 'forbidden') return one;
    if (isNamespaceKind(one.served)) return readNamespaceObjects(api, one.served, places, one.failure);
    if (!isForbiddenSomewhere(one)) return one;
    return readNamespaces(api, one.served, places, one.failure, tell(one.served));
  });
}

const isNamespaceKind = ({ kind }: ServedKind): boolean => kind.group === '' && kind.plural === 'namespaces';

/** Forbidden as a whole; single namespaces may be allowed. */
const isForbiddenSomewhere = (one: KindResult): boolean =>
  one.state === 'failed' &&
  one.failure.kind === 'forbidden' &&
  one.served.namespaced &&
  one.served.kind.namespace === undefined;

function split<T>(items: readonly T[], test: (item: T) => boolean): readonly [T[], T[]] {
  return [items.filter(test), items.filter((item) => !test(item))];
}

/** Undefined where namespaces could not be listed. */
function namespaceNames(results: readonly KindResult[]): readonly string[] | undefined {
  const found = results.find(({ served }) => isNamespaceKind(served));
  return found?.state === 'whole' ? found.objects.names.map(({ name }) => name) : undefined;
}

/** Namespaces of DaemonSets and Deployments by name: agents of a CNI stand beside their ConfigMap. */
function workloadPlaces(results: readonly KindResult[]): ReadonlyMap<string, ReadonlySet<string>> {
  const places = new Map<string, Set<string>>();
  for (const one of results) {
    if (one.state === 'failed' || !/^(daemonsets|deployments)\.apps$/.test(listName(one.served.kind)))
      continue;
    for (const { name, namespace } of one.objects.names) {
      const known = places.get(name) ?? new Set();
      known.add(namespace);
      places.set(name, known);
    }
  }
  return places;
}

function write(api: Api, results: readonly KindResult[], files: Map<string, string>, gaps: Gap[]): void {
  const { connection } = api;
  const pods = results.find(({ served }) => listName(served.kind) === 'pods');
  for (const one of results) {
    const { kind, namespaced } = one.served;
    const file = listFile(kind);
    if (one.state === 'whole') {
      files.set(file, one.objects.text(one.resourceVersion));
      for (const note of new Set(one.notes))
        gaps.push({
          what: `one moment of the cluster's ${listName(kind)}`,
          where: `${file}: consistency`,
          why: note,
          todo: 'collect again when the API server is less busy, if it matters',
        });
      if (one.cut)
        gaps.push({
          what: `${listName(kind)} beyond the first ${kind.most}`,
          where: `${file}: the rest`,
          why: 'there are more, and only some were wanted',
          todo: `kubectl get ${listName(kind)} -A${connection.kubectlFlags}`,
        });
    } else if (one.state === 'some') {
      const usable = kind.use === 'informs' || covers(one.namespaces, pods);
      gaps.push(partGap(connection, kind, one.namespaces, one.failure, usable));
      files.set(file, usable ? one.objects.text('') : refusal(one.failure));
    } else {
      gaps.push(kindGap(connection, kind, namespaced, one.failure));
      // The Status stands in the place of the list, so that nobody takes what could not be read for empty.
      if (kind.use === 'decides') files.set(file, refusal(one.failure));
    }
  }
}

/** Lists of some namespaces mislead if pods of further ones are known: those would seem to have no policies. */
function covers(namespaces: ReadonlySet<string>, pods: KindResult | undefined): boolean {
  if (pods === undefined || pods.state === 'failed') return true;
  if (pods.state === 'whole') return false;
  return [...pods.namespaces].every((namespace) => namespaces.has(namespace));
}

/** As the API server says it (meta/v1 Status). */
const refusal = ({ kind, message, status }: Failure): string =>
  `${JSON.stringify({
    kind: 'Status',
    apiVersion: 'v1',
    status: 'Failure',
    reason: kind,
    message,
    ...(status === undefined ? {} : { code: status }),
  })}\n`;
