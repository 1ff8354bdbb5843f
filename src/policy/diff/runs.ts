/** One number for each class, kept as runs of classes with the same one. */

export interface Runs {
  /** Classes from starts[i] to starts[i + 1], exclusive, have values[i]. starts[0] is 0. */
  readonly starts: Int32Array;
  readonly values: readonly number[];
  /** The same for each class, where there was room for it. */
  readonly flat: Int32Array | undefined;
}

/** Numbers that may be written out, of all runs together: 200 MB. */
const room = 50_000_000;

/** Most of the time goes into reading runs of pods: as long as there is room they are written out. `size` is the number of pods' classes. */
export function runsMaker(size: number): (starts: Int32Array, values: readonly number[]) => Runs {
  let left = room;
  return (starts, values) => {
    left -= size;
    if (left < 0) return { starts, values, flat: undefined };
    const flat = new Int32Array(size);
    for (let i = 0; i < values.length; i++)
      flat.fill(values[i] as number, starts[i] as number, starts[i + 1] ?? size);
    return { starts, values, flat };
  };
}

export function valueAt({ starts, values, flat }: Runs, id: number): number {
  if (flat !== undefined && id < flat.length) return flat[id] as number;
  let low = 0;
  let high = starts.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] as number) <= id) low = middle;
    else high = middle;
  }
  return values[low] as number;
}
