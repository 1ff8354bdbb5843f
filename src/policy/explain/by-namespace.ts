/** Things by namespace, found once for each list: an explanation looks at the policies of two pods, not at all of them. */

const indexes = new WeakMap<object, ReadonlyMap<string, readonly unknown[]>>();

/** The list's items of one namespace, in order. The list must not change afterwards. */
export function ofNamespace<T>(
  list: readonly T[],
  namespace: string,
  namespaceOf: (item: T) => string | undefined,
): readonly T[] {
  let index = indexes.get(list);
  if (index === undefined) {
    const made = new Map<string, T[]>();
    for (const item of list) {
      const key = namespaceOf(item);
      if (key === undefined) continue;
      const items = made.get(key);
      if (items === undefined) made.set(key, [item]);
      else items.push(item);
    }
    index = made;
    indexes.set(list, made);
  }
  return (index.get(namespace) ?? []) as readonly T[];
}
