/** Which of the kinds that podpath reads this cluster serves, and under which path. */
import { isObject, type JsonObject } from '../../parse/json.ts';
import type { Api } from './api.ts';
import type { Failure } from './failure.ts';
import { type CollectedKind, collectedKinds } from './kinds.ts';

export interface ServedKind {
  readonly kind: CollectedKind;
  /** `/apis/networking.k8s.io/v1` */
  readonly root: string;
  /** `networking.k8s.io/v1`, as lists name it. */
  readonly apiVersion: string;
  /** `NetworkPolicy` */
  readonly name: string;
  readonly namespaced: boolean;
}

export interface Discovered {
  readonly served: readonly ServedKind[];
  /** Kinds of groups that are there and did not say what they hold: an aggregated API server that is down. */
  readonly unclear: readonly { readonly kind: CollectedKind; readonly failure: Failure }[];
}

interface Version {
  readonly group: string;
  readonly root: string;
  readonly apiVersion: string;
}

/** The failure of /apis itself is the caller's: then nothing is known. */
export async function discover(api: Api): Promise<Discovered | { readonly failure: Failure }> {
  const groups = await api.get('/apis');
  if (!groups.ok) return { failure: groups.failure };
  const versions: Version[] = [
    { group: '', root: '/api/v1', apiVersion: 'v1' },
    ...groupVersions(groups.value),
  ];
  const wanted = versions.filter(({ group }) => collectedKinds.some((kind) => kind.group === group));
  const answers = await Promise.all(
    wanted.map(async (version) => ({ version, outcome: await api.get(version.root) })),
  );
  const served: ServedKind[] = [];
  const unclear: { kind: CollectedKind; failure: Failure }[] = [];
  for (const kind of collectedKinds) {
    const found = answers.flatMap(({ version, outcome }) =>
      version.group === kind.group && outcome.ok ? resource(kind, version, outcome.value) : [],
    );
    const [first] = found;
    if (first !== undefined) {
      served.push(first);
      continue;
    }
    const failed = answers.find(({ version, outcome }) => version.group === kind.group && !outcome.ok);
    // A group without the kind has no such objects: an older version of the system, or a part that is not installed.
    if (failed !== undefined && !failed.outcome.ok && failed.outcome.failure.kind !== 'missing')
      unclear.push({ kind, failure: failed.outcome.failure });
  }
  return { served, unclear };
}

/** The preferred version of each group first, then the others: a kind may be served in one of those only. */
function groupVersions(list: JsonObject): Version[] {
  const groups = Array.isArray(list.groups) ? list.groups : [];
  return groups.flatMap((entry: unknown): Version[] => {
    if (!isObject(entry) || typeof entry.name !== 'string') return [];
    const group = entry.name;
    const preferred = isObject(entry.preferredVersion) ? entry.preferredVersion.groupVersion : undefined;
    const all = (Array.isArray(entry.versions) ? entry.versions : []).flatMap((version: unknown) =>
      isObject(version) && typeof version.groupVersion === 'string' ? [version.groupVersion] : [],
    );
    const ordered = [...new Set([...(typeof preferred === 'string' ? [preferred] : []), ...all])];
    return ordered.map((apiVersion) => ({ group, root: `/apis/${apiVersion}`, apiVersion }));
  });
}

function resource(kind: CollectedKind, { root, apiVersion }: Version, list: JsonObject): ServedKind[] {
  const resources = Array.isArray(list.resources) ? list.resources : [];
  return resources.flatMap((entry: unknown): ServedKind[] => {
    if (!isObject(entry) || entry.name !== kind.plural || typeof entry.kind !== 'string') return [];
    if (Array.isArray(entry.verbs) && !entry.verbs.includes('list')) return [];
    return [{ kind, root, apiVersion, name: entry.kind, namespaced: entry.namespaced === true }];
  });
}
