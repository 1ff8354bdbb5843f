/** Objects of many manifests, of any kind and in any order -> one Cluster. */
import type { Cluster, ObjectOrigin, ObjectProblem } from '../../model/cluster.ts';
import { describe, isObject, type JsonObject } from '../json.ts';
import { parsed } from '../result.ts';
import { clusterOf, type FoundObject } from './cluster.ts';
import type { Manifest } from './documents.ts';
import { assumedVersion, mayDecideTraffic, pluralOf } from './kinds.ts';
import { repairPod } from './repair.ts';
import { fillSelectors, isAdminList } from './repair-admin.ts';
import { type FoundObjects, isWorkloadList, templatePods } from './templates.ts';

/** Gathers the objects of one file after another. */
export class Collection {
  readonly #lists = new Map<string, List>();
  /** By apiVersion and kind: there are few of them and many objects. */
  readonly #plurals = new Map<string, string>();
  readonly #problems: ObjectProblem[] = [];
  readonly #remarks: ObjectProblem[] = [];
  #count = 0;

  /** Kubernetes objects so far, of whatever kind. */
  get count(): number {
    return this.#count;
  }

  add(file: string, manifest: Manifest): void {
    for (const { index, value } of manifest.documents) this.#open(value, { file, document: index, path: '' });
  }

  /** Lists are opened; items of a typed list have its kind. A stack and not recursion: nesting comes from the input. */
  #open(root: unknown, at: ObjectOrigin): void {
    const stack: { value: unknown; origin: ObjectOrigin; inherited: Inherited }[] = [];
    const visit = (value: unknown, origin: ObjectOrigin, inherited: Inherited) => {
      if (listItems(value) === undefined) this.#take(value, origin, inherited);
      else stack.push({ value, origin, inherited });
    };
    visit(root, at, {});
    for (let next = stack.pop(); next !== undefined; next = stack.pop()) {
      const { value, origin } = next;
      const items = listItems(value) ?? [];
      if (this.#count + items.length > maxObjects || stack.length > maxLists) {
        this.#problems.push({ text: `more than ${maxObjects} objects: the rest is left out`, origin });
        return;
      }
      const inherited = isObject(value) ? typeOfItems(value) : {};
      const path = isObject(value) ? (origin.path === '' ? 'items' : `${origin.path}.items`) : origin.path;
      const { file, document } = origin;
      for (let i = 0; i < items.length; i++)
        visit(items[i], { file, document, path: `${path}[${i}]` }, inherited);
    }
  }

  #take(value: unknown, origin: ObjectOrigin, inherited: Inherited): void {
    if (!isObject(value)) {
      // Other text in YAML's clothes: a file of notes is no object and no mistake, an item of a list is one.
      if (origin.path !== '')
        this.#problems.push({ text: `${origin.path} must be an object, is ${describe(value)}`, origin });
      return;
    }
    const kind = textOf(value.kind) ?? inherited.kind;
    const apiVersion = textOf(value.apiVersion) ?? inherited.apiVersion ?? assumedVersion(kind ?? '');
    if (kind === undefined || apiVersion === undefined) {
      const looksLikeOne = kind !== undefined || apiVersion !== undefined || 'spec' in value;
      if (looksLikeOne && isObject(value.metadata))
        this.#problems.push({
          text: `${titleOf(value, kind ?? 'object')}: ${kind === undefined ? 'kind' : 'apiVersion'} is missing, so nobody can say what it is`,
          field: kind === undefined ? 'kind' : 'apiVersion',
          origin,
        });
      return;
    }
    this.#count += 1;
    const type = `${apiVersion} ${kind}`;
    const plural = this.#plurals.get(type) ?? pluralOf(apiVersion, kind);
    this.#plurals.set(type, plural);
    const named = withName(value);
    const object =
      named.kind === kind && named.apiVersion === apiVersion ? named : { ...named, kind, apiVersion };
    const known = this.#lists.get(plural);
    const list = known ?? { found: [], places: new Map<string, number>() };
    if (known === undefined) this.#lists.set(plural, list);
    this.#put(list, { object, origin });
  }

  /** An object that is there twice: the later one counts, as with kubectl apply; it is said unless they are the same. */
  #put({ found, places }: List, next: FoundObject): void {
    const meta = isObject(next.object.metadata) ? next.object.metadata : {};
    if (typeof meta.name !== 'string') {
      found.push(next);
      return;
    }
    const namespace =
      typeof meta.namespace === 'string' && meta.namespace !== '' ? meta.namespace : 'default';
    const key = `${namespace}/${meta.name}`;
    const place = places.get(key);
    if (place === undefined) {
      places.set(key, found.length);
      found.push(next);
      return;
    }
    const old = found[place];
    found[place] = next;
    if (old === undefined || sameObject(old.object, next.object)) return;
    this.#problems.push({
      text: `${titleOf(next.object, String(next.object.kind))}: is also in ${old.origin?.file ?? 'another file'}; this later one counts`,
      origin: next.origin as ObjectOrigin,
    });
  }

  /** The raw objects of one list, `ingresses.networking.k8s.io`. */
  list(plural: string): readonly FoundObject[] {
    return this.#lists.get(plural)?.found ?? [];
  }

  /** Every kind that has no object counts as empty: manifests are all there is. */
  build(): Collected {
    const lists = this.#completed();
    const asked = new Set<string>();
    const cluster = clusterOf((plural) => {
      asked.add(plural);
      return { where: 'the manifests', objects: parsed(lists.get(plural) ?? []) };
    });
    const problems = cluster.problems.filter((problem) => !problem.text.startsWith('ConfigMap '));
    return {
      cluster,
      problems: [...this.#problems, ...problems, ...this.#notUnderstood(asked)],
      remarks: this.#remarks,
    };
  }

  /** With the pods of workloads that have none, and the namespaces that were left out. */
  #completed(): FoundObjects {
    const lists = new Map<string, readonly FoundObject[]>(
      [...this.#lists].map(([plural, { found }]) => [plural, found]),
    );
    const pods = [...(lists.get('pods') ?? []), ...templatePods(lists)];
    lists.set(
      'pods',
      pods.map((found) => this.#repaired(found)),
    );
    for (const [plural, list] of lists)
      if (isAdminList(plural))
        lists.set(
          plural,
          list.map((found) => this.#filled(found)),
        );
    const namespaces = new Set(
      (lists.get('namespaces') ?? []).map(({ object }) => metaText(object, 'name') ?? ''),
    );
    const missing = new Set<string>();
    for (const plural of ['pods', 'networkpolicies.networking.k8s.io'])
      for (const { object } of lists.get(plural) ?? []) {
        const name = metaText(object, 'namespace') || 'default';
        if (!namespaces.has(name)) missing.add(name);
      }
    const made = [...missing].map((name) => ({ object: { kind: 'Namespace', metadata: { name } } }));
    lists.set('namespaces', [...(lists.get('namespaces') ?? []), ...made]);
    return lists;
  }

  #repaired(found: FoundObject): FoundObject {
    const { object, problems } = repairPod(found.object);
    const at = found.origin === undefined ? {} : { origin: found.origin };
    for (const { field, why } of problems)
      this.#problems.push({ text: `${titleOf(object, 'Pod')}: ${field} ${why}`, field, ...at });
    return object === found.object ? found : { object, ...at };
  }

  #filled(found: FoundObject): FoundObject {
    const { object, fields } = fillSelectors(found.object);
    const at = found.origin === undefined ? {} : { origin: found.origin };
    for (const field of fields)
      this.#remarks.push({
        text: `${titleOf(object, String(object.kind))}: ${field} is left out, which the API does not allow; it is read as empty, which selects all`,
        field,
        ...at,
      });
    return fields.length === 0 ? found : { object, ...at };
  }

  /** Objects of kinds that nobody asked for although they may decide about traffic. */
  #notUnderstood(asked: ReadonlySet<string>): ObjectProblem[] {
    const problems: ObjectProblem[] = [];
    for (const [plural, { found }] of this.#lists) {
      if (asked.has(plural) || isWorkloadList(plural)) continue;
      for (const { object, origin } of found) {
        const kind = String(object.kind);
        const apiVersion = String(object.apiVersion);
        if (!mayDecideTraffic(apiVersion, kind)) continue;
        problems.push({
          text: `${titleOf(object, kind)}: unknown kind ${kind} of ${apiVersion}; it is not evaluated`,
          field: 'kind',
          ...(origin === undefined ? {} : { origin }),
        });
      }
    }
    return problems;
  }
}

/** One kind's objects, and the place of each by `namespace/name`. */
interface List {
  readonly found: FoundObject[];
  readonly places: Map<string, number>;
}

export interface Collected {
  readonly cluster: Cluster;
  /** What the cluster lacks because it was broken or unknown. */
  readonly problems: readonly ObjectProblem[];
  /** What is in the cluster although a server would not have taken it as it stands. */
  readonly remarks: readonly ObjectProblem[];
}

interface Inherited {
  readonly kind?: string;
  readonly apiVersion?: string;
}

/** More than any cluster has: aliases in lists of lists can make a small file stand for more. */
const maxObjects = 5_000_000;
const maxLists = 100_000;

/** The items of a `List`, a `PodList` or a bare list; undefined for anything else. */
function listItems(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value as readonly unknown[];
  if (!isObject(value)) return undefined;
  const { kind, items } = value;
  const isList = typeof kind === 'string' ? kind.endsWith('List') : kind === undefined;
  if (Array.isArray(items) && isList) return items as readonly unknown[];
  return (items === null || items === undefined) && typeof kind === 'string' && /^[A-Za-z]*List$/.test(kind)
    ? []
    : undefined;
}

/** `PodList` of v1 holds Pods of v1. A plain `List` says nothing about its items. */
function typeOfItems(list: JsonObject): Inherited {
  const kind = textOf(list.kind);
  if (kind === undefined || kind === 'List') return {};
  const apiVersion = textOf(list.apiVersion);
  return { kind: kind.slice(0, -'List'.length), ...(apiVersion === undefined ? {} : { apiVersion }) };
}

/** Objects for `kubectl create` may have metadata.generateName only. */
function withName(object: JsonObject): JsonObject {
  const meta = object.metadata;
  if (!isObject(meta) || textOf(meta.name) !== undefined) return object;
  const stem = textOf(meta.generateName);
  return stem === undefined ? object : { ...object, metadata: { ...meta, name: stem.replace(/-$/, '') } };
}

const textOf = (value: unknown): string | undefined =>
  typeof value === 'string' && value !== '' ? value : undefined;

const metaText = (object: JsonObject, key: string): string | undefined =>
  isObject(object.metadata) ? textOf(object.metadata[key]) : undefined;

/** `NetworkPolicy shop/web`, as far as the object tells. */
function titleOf(object: JsonObject, kind: string): string {
  const namespace = metaText(object, 'namespace');
  const name = metaText(object, 'name') ?? '(without a name)';
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

function sameObject(a: JsonObject, b: JsonObject): boolean {
  try {
    return JSON.stringify(a) === JSON.stringify(b);
  } catch {
    return false;
  }
}
