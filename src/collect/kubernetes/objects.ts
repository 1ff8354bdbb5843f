/** The objects of one kind as text: slimmed page by page, so that no more than a page of whole objects is in memory. */
import { isObject, type JsonObject } from '../../parse/json.ts';
import type { ServedKind } from './discovery.ts';

export class ObjectList {
  readonly #served: ServedKind;
  #pages: string[] = [];
  #count = 0;
  /** Kept for kinds that are few. */
  #names: { readonly name: string; readonly namespace: string }[] = [];

  constructor(served: ServedKind) {
    this.#served = served;
  }

  get count(): number {
    return this.#count;
  }

  add(items: readonly JsonObject[]): void {
    if (items.length === 0) return;
    const { slim } = this.#served.kind;
    this.#pages.push(items.map((item) => JSON.stringify(slim(item))).join(',\n'));
    this.#count += items.length;
    if (keepsNames.has(this.#served.kind.plural)) for (const item of items) this.#names.push(nameOf(item));
  }

  /** Of namespaces, daemonsets and deployments only. */
  get names(): readonly { readonly name: string; readonly namespace: string }[] {
    return this.#names;
  }

  /** Takes over what the other has. */
  append(other: ObjectList): void {
    for (const page of other.#pages) this.#pages.push(page);
    this.#count += other.#count;
    this.#names.push(...other.#names);
    other.clear();
  }

  clear(): void {
    this.#pages = [];
    this.#names = [];
    this.#count = 0;
  }

  /** As `kubectl get -o json` and the API print a typed list. Lets go of the pages. */
  text(resourceVersion: string): string {
    const { apiVersion, name } = this.#served;
    const head = `{"kind":${JSON.stringify(`${name}List`)},"apiVersion":${JSON.stringify(apiVersion)},"metadata":{"resourceVersion":${JSON.stringify(resourceVersion)}},"items":[`;
    const text = `${head}\n${this.#pages.join(',\n')}\n]}\n`;
    this.clear();
    return text;
  }
}

/** Where other objects are looked for is told by these. */
const keepsNames = new Set(['namespaces', 'daemonsets', 'deployments']);

function nameOf({ metadata }: JsonObject): { readonly name: string; readonly namespace: string } {
  const meta = isObject(metadata) ? metadata : {};
  return { name: String(meta.name ?? ''), namespace: String(meta.namespace ?? '') };
}
