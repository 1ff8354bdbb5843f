/** The lab that podpath recorded itself (demo/recording.tar.gz), with some of its files changed. */
import { fileURLToPath } from 'node:url';
import { snapshotFromFiles } from '../../src/collect/build.ts';
import type { SnapshotFiles } from '../../src/collect/files.ts';
import { readSnapshotFiles } from '../../src/collect/open.ts';
import { World } from '../../src/dataplane/world.ts';
import { investigate } from '../../src/diagnose/investigate.ts';
import { askedFlows } from '../../src/diagnose/question.ts';
import type { Verdict } from '../../src/model/verdict.ts';

/** Undefined takes the file away. */
export type Edit = (text: string | undefined) => string | undefined;
export type Edits = Readonly<Record<string, Edit>>;

export const recordedLab = (): Promise<SnapshotFiles> =>
  readSnapshotFiles(fileURLToPath(new URL('../../demo/recording.tar.gz', import.meta.url)));

/** Edits in their order. */
export function edited(recorded: SnapshotFiles, ...all: readonly Edits[]): SnapshotFiles {
  const files = new Map(recorded.files);
  for (const edits of all)
    for (const [path, edit] of Object.entries(edits)) {
      const text = edit(files.get(path));
      if (text === undefined) files.delete(path);
      else files.set(path, text);
    }
  return { ...recorded, files };
}

/** Walks a flow; names are those of the namespace shop. */
export function askRecording(recorded: SnapshotFiles, src: string, dst: string): Verdict {
  const snapshot = snapshotFromFiles(recorded, 'test');
  const { flows } = askedFlows(snapshot, { src, dst, namespace: 'shop' });
  return investigate(new World(snapshot), flows[0]).verdict;
}

/** The first branch of each backend that failed, else its last: `shop/api-2 10.244.2.3:8080 reachable 0.33`. */
export function backendsOf({ branches }: Verdict): readonly string[] {
  const names = [...new Set(branches.map((branch) => branch.backend ?? ''))];
  return names
    .map((name) => {
      const own = branches.filter((branch) => (branch.backend ?? '') === name);
      const shown = own.find((branch) => branch.answer !== 'reachable') ?? own.at(-1);
      const reason = shown?.broken === undefined ? '' : ` ${shown.broken.step.reason}`;
      return `${name} ${shown?.answer} ${shown?.share.toFixed(2)}${reason}`;
    })
    .toSorted();
}

export const inJson =
  (change: (list: Record<string, unknown>[]) => readonly unknown[]): Edit =>
  (text) =>
    JSON.stringify(change(JSON.parse(text ?? '[]') as Record<string, unknown>[]));
