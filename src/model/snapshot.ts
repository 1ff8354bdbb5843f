import type { Cluster } from './cluster.ts';
import type { ProbeResult } from './evidence.ts';
import type { Gap } from './gap.ts';
import type { Known } from './known.ts';
import type { Netns } from './netns.ts';

/** Version of the on-disk layout that this program writes and reads. */
export const snapshotSchema = 1;

export interface Snapshot {
  readonly schema: number;
  /** RFC 3339. */
  readonly takenAt: string;
  readonly source: { readonly kind: 'recorded' | 'lab' | 'cluster'; readonly name: string };
  readonly cluster: Cluster;
  /** Network namespaces by id: `node1`, `node1/shop_web-1`. Parsed when first read. */
  readonly netns: ReadonlyMap<string, Netns>;
  readonly probes: Known<readonly ProbeResult[]>;
  readonly gaps: readonly Gap[];
}
