/** Reads one kind: all of it, or where that is forbidden the namespaces that the account may read. */
import type { Api } from './api.ts';
import type { ServedKind } from './discovery.ts';
import type { Failure } from './failure.ts';
import { ObjectList } from './objects.ts';
import { readList } from './pages.ts';

export type KindResult =
  | {
      readonly state: 'whole';
      readonly served: ServedKind;
      readonly objects: ObjectList;
      readonly resourceVersion: string;
      readonly notes: readonly string[];
      /** There are more: only `most` were wanted. */
      readonly cut: boolean;
    }
  | {
      readonly state: 'some';
      readonly served: ServedKind;
      readonly objects: ObjectList;
      /** Namespaces that were read, and those that could not be, with the first reason. */
      readonly namespaces: ReadonlySet<string>;
      readonly others: readonly string[];
      readonly failure: Failure;
    }
  | { readonly state: 'failed'; readonly served: ServedKind; readonly failure: Failure };

/** Told how many objects are there so far. */
export type Tell = (count: number) => void;

export async function readWhole(api: Api, served: ServedKind, tell: Tell): Promise<KindResult> {
  const { kind } = served;
  const objects = new ObjectList(served);
  const end = await readList(
    api,
    { path: listPath(served, kind.namespace), ...limitsOf(served) },
    sinkFor(objects, tell),
  );
  if (end.state === 'failed') return { state: 'failed', served, failure: end.failure };
  const { resourceVersion, notes } = end;
  return { state: 'whole', served, objects, resourceVersion, notes, cut: end.state === 'cut' };
}

/** `failure` is why the whole list could not be read; it stays where no namespace can be read either. */
export async function readNamespaces(
  api: Api,
  served: ServedKind,
  namespaces: readonly string[],
  failure: Failure,
  tell: Tell,
): Promise<KindResult> {
  const objects = new ObjectList(served);
  const read = new Set<string>();
  const others: string[] = [];
  let first: Failure | undefined;
  for (const namespace of namespaces) {
    const part = new ObjectList(served);
    const end = await readList(
      api,
      { path: listPath(served, namespace), ...limitsOf(served) },
      sinkFor(part, (count) => tell(objects.count + count)),
    );
    if (end.state === 'failed') {
      others.push(namespace);
      first ??= end.failure;
    } else {
      objects.append(part);
      read.add(namespace);
    }
  }
  if (read.size === 0) return { state: 'failed', served, failure };
  return { state: 'some', served, objects, namespaces: read, others, failure: first ?? failure };
}

/** Namespaces one by one: who may read inside of one may nearly always read itself. */
export async function readNamespaceObjects(
  api: Api,
  served: ServedKind,
  namespaces: readonly string[],
  failure: Failure,
): Promise<KindResult> {
  const objects = new ObjectList(served);
  const read = new Set<string>();
  const others: string[] = [];
  for (const namespace of namespaces) {
    const outcome = await api.get(`${served.root}/namespaces/${namespace}`);
    if (outcome.ok) {
      objects.add([outcome.value]);
      read.add(namespace);
    } else others.push(namespace);
  }
  if (read.size === 0) return { state: 'failed', served, failure };
  return { state: 'some', served, objects, namespaces: read, others, failure };
}

const listPath = ({ root, kind }: ServedKind, namespace: string | undefined): string =>
  `${root}/${namespace === undefined ? '' : `namespaces/${namespace}/`}${kind.plural}`;

const limitsOf = ({ kind }: ServedKind): { fieldSelector?: string; most?: number } => ({
  ...(kind.fieldSelector === undefined ? {} : { fieldSelector: kind.fieldSelector }),
  ...(kind.most === undefined ? {} : { most: kind.most }),
});

const sinkFor = (objects: ObjectList, tell: Tell) => ({
  take: (items: Parameters<ObjectList['add']>[0]) => {
    objects.add(items);
    tell(objects.count);
  },
  restart: () => objects.clear(),
});
