/** One list, page by page: resumed where a connection broke, begun again where the server has forgotten the place. */
import { isObject, type JsonObject } from '../../parse/json.ts';
import type { Api } from './api.ts';
import type { Failure } from './failure.ts';

export interface ListRequest {
  /** `/api/v1/pods` */
  readonly path: string;
  readonly fieldSelector?: string;
  /** Stop after this many. */
  readonly most?: number;
}

export interface ListSink {
  /** The items of one page. */
  take(items: readonly JsonObject[]): void;
  /** All that was taken is void: the list begins again. */
  restart(): void;
}

export type ListEnd =
  | {
      readonly state: 'whole' | 'cut';
      readonly resourceVersion: string;
      readonly notes: readonly string[];
    }
  | { readonly state: 'failed'; readonly failure: Failure };

const pageItems = 500;
const fewestItems = 25;
/** A list that takes longer than the server keeps its place (5 to 10 minutes) would begin again for ever. */
const maxRestarts = 2;

export async function readList(api: Api, request: ListRequest, sink: ListSink): Promise<ListEnd> {
  let token = '';
  let limit = pageItems;
  let restarts = 0;
  let count = 0;
  const notes: string[] = [];
  for (;;) {
    const outcome = await api.get(pageUrl(request, limit, token));
    if (!outcome.ok) {
      const { failure } = outcome;
      if (failure.kind === 'gone' && token !== '') {
        if (restarts < maxRestarts || failure.continueToken === undefined) {
          if (restarts > maxRestarts) return { state: 'failed', failure };
          restarts++;
          token = '';
          count = 0;
          sink.restart();
          notes.push('the server had dropped the state that was being read (410 Gone); it was read anew');
        } else {
          token = failure.continueToken;
          notes.push('it was read from two states of the cluster, because the server kept none long enough');
        }
        continue;
      }
      // Large objects or a slow server: smaller pages may come in time. The token stays good.
      if ((failure.kind === 'timeout' || failure.kind === 'too-large') && limit > fewestItems) {
        limit = Math.max(fewestItems, Math.floor(limit / 4));
        continue;
      }
      return { state: 'failed', failure };
    }
    const page = readPage(outcome.value);
    if (page === undefined)
      return { state: 'failed', failure: { kind: 'malformed', message: 'the answer is no list' } };
    sink.take(page.items);
    count += page.items.length;
    if (page.token === '') return { state: 'whole', resourceVersion: page.resourceVersion, notes };
    if (request.most !== undefined && count >= request.most)
      return { state: 'cut', resourceVersion: page.resourceVersion, notes };
    token = page.token;
  }
}

function pageUrl({ path, fieldSelector }: ListRequest, limit: number, token: string): string {
  const query = new URLSearchParams({ limit: String(limit) });
  if (fieldSelector !== undefined) query.set('fieldSelector', fieldSelector);
  if (token !== '') query.set('continue', token);
  return `${path}?${query}`;
}

function readPage(
  value: JsonObject,
):
  | { readonly items: readonly JsonObject[]; readonly token: string; readonly resourceVersion: string }
  | undefined {
  // An empty list may be null.
  const items = value.items ?? [];
  const { metadata } = value;
  if (!Array.isArray(items) || !isObject(metadata)) return undefined;
  return {
    items: items.filter(isObject),
    token: typeof metadata.continue === 'string' ? metadata.continue : '',
    resourceVersion: typeof metadata.resourceVersion === 'string' ? metadata.resourceVersion : '',
  };
}
