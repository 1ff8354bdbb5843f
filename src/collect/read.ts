/** Reads a snapshot from a directory, .tar.gz, .tar or .zip. */
import type { Snapshot } from '../model/snapshot.ts';
import { snapshotFromFiles } from './build.ts';
import { readSnapshotFiles } from './open.ts';

/** Every failure is a PodpathError that names the file: missing, foreign, damaged, too large, unsafe, wrong schema. */
export async function readSnapshot(path: string): Promise<Snapshot> {
  return snapshotFromFiles(await readSnapshotFiles(path), path);
}
