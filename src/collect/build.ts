/** Files in memory -> Snapshot. The one way in: directories, archives and labs all come through here. */

import type { ProbeResult } from '../model/evidence.ts';
import type { Gap } from '../model/gap.ts';
import { type Known, known, unknown } from '../model/known.ts';
import { lazy } from '../model/lazy.ts';
import type { Netns } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { buildCluster } from '../parse/kubernetes/cluster.ts';
import { buildNetns } from '../parse/netns.ts';
import { parseProbes } from '../parse/probes.ts';
import type { SnapshotFiles } from './files.ts';
import { findGaps } from './gaps.ts';
import { clusterKind, netnsPath } from './layout.ts';
import { manifestFile, noManifest, parseManifest } from './manifest.ts';

/**
 * `origin` names the snapshot in errors. Only podpath.json is parsed here; all else when it is first read.
 * Throws PodpathError if podpath.json is missing, damaged or of another schema version.
 */
export function snapshotFromFiles(input: SnapshotFiles, origin: string): Snapshot {
  const { files } = input;
  const manifestText = files.get(manifestFile);
  if (manifestText === undefined) {
    const denied = input.unreadable.find((file) => file.path === manifestFile);
    throw noManifest(origin, [...files.keys()], denied?.why);
  }
  const manifest = parseManifest(manifestText, origin);
  const clusterFiles = new Map<string, string>();
  for (const [path, text] of files) {
    if (clusterKind(path) !== undefined) clusterFiles.set(path, text);
  }
  const cluster = buildCluster(clusterFiles);
  const probes = lazy(() => readProbes(files));
  const gaps = lazy(() => [...findGaps(input, cluster, manifest.gaps), ...probes().gaps]);
  return {
    schema: manifest.schema,
    takenAt: manifest.takenAt,
    source: manifest.source,
    cluster,
    netns: readNetns(files),
    get probes() {
      return probes().results;
    },
    get gaps() {
      return gaps();
    },
  };
}

/** Namespaces in the order of their ids, each node before its pods. */
function readNetns(files: ReadonlyMap<string, string>): ReadonlyMap<string, Netns> {
  const found = new Map<string, Netns>();
  for (const path of files.keys()) {
    const at = netnsPath(path);
    if (at === undefined || found.has(at.id)) continue;
    const { id, node, pod, prefix } = at;
    found.set(
      id,
      buildNetns(id, node, pod, (name) => files.get(prefix + name), prefix),
    );
  }
  return new Map([...found].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A file that cannot be understood is a gap while others can; if none can, the probes are unknown. */
function readProbes(files: ReadonlyMap<string, string>): {
  results: Known<readonly ProbeResult[]>;
  gaps: readonly Gap[];
} {
  const results: ProbeResult[] = [];
  const gaps: Gap[] = [];
  let understood = 0;
  for (const [path, text] of files) {
    if (!/^probes\/[^/]+\.json$/.test(path)) continue;
    const parsed = parseProbes(text, path);
    if (parsed.ok) {
      understood++;
      results.push(...parsed.value);
    } else
      gaps.push({
        what: 'probe results',
        where: path,
        why: parsed.error.message,
        todo: 'take the file from an undamaged copy, or probe again',
      });
  }
  if (understood > 0) return { results: known(results), gaps };
  const [damaged] = gaps;
  const why = damaged === undefined ? 'no probes were recorded' : `${damaged.where}: ${damaged.why}`;
  return { results: unknown(why), gaps };
}
