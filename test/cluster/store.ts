/** The images, imported once: a containerd's folder that every node of every cluster starts with. */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { must } from '../../src/lab/run.ts';
import type { Binaries } from './binaries.ts';
import { writeImages } from './images.ts';
import { containerdConfig } from './node.ts';

/** Raise it when images.ts changes: the store is named after it and the binaries. */
const imagesVersion = 1;

/**
 * Imports with a containerd in namespaces of its own, where it sees nothing of the host's network; all of it ends with the script.
 * Arguments: DRAFT ARCHIVE.
 */
const importScript = `set -eu
draft=$1 archive=$2
umount --recursive --lazy /run/netns 2>/dev/null || true
mount -t tmpfs run /run
mkdir -p "$draft/own" "$draft/work" "$draft/root"
mount -t overlay -o "lowerdir=/var/lib,upperdir=$draft/own,workdir=$draft/work" overlay /var/lib
mkdir -p /var/lib/containerd
mount --bind "$draft/root" /var/lib/containerd
mount -t proc proc /proc
ip link set lo up
containerd --config "$draft/containerd.toml" >"$draft/log" 2>&1 &
pid=$!
for i in $(seq 300); do ctr version >/dev/null 2>&1 && break; sleep 0.1; done
ctr -n k8s.io images import --snapshotter overlayfs "$archive"
kill $pid
wait $pid || true
`;

/** The folder with the imported images; made where it is not there. Throws PodpathError. */
export async function ensureStore(binaries: Binaries, say: (text: string) => void): Promise<string> {
  const parent = join(binaries.folder, '..');
  const store = join(parent, `images-${imagesVersion}`);
  if (existsSync(store)) return store;
  say('making the images: once');
  const draft = await mkdtemp(join(parent, 'importing-'));
  try {
    const archive = join(draft, 'images.tar');
    await writeImages(archive, binaries, join(draft, 'drafts'));
    await writeFile(join(draft, 'containerd.toml'), containerdConfig());
    await mkdir(join(draft, 'root'), { recursive: true });
    const namespaces = [
      '--mount',
      '--propagation',
      'private',
      '--net',
      '--pid',
      '--ipc',
      '--fork',
      '--kill-child',
    ];
    await must(['unshare', ...namespaces, 'sh', '-c', importScript, 'import', draft, archive], {
      timeoutMs: 300_000,
    });
    await rename(join(draft, 'root'), store).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  return store;
}
