/**
 * The images of the cluster, as one OCI archive: no registry is needed. Layers are plain tar files of the Go programs and of the host's
 * own tools, with the libraries that `ldd` names.
 */
import { createHash } from 'node:crypto';
import { createReadStream, existsSync } from 'node:fs';
import { copyFile, mkdir, readdir, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { must } from '../../src/lab/run.ts';
import { exec } from '../../src/system/exec.ts';
import type { Binaries } from './binaries.ts';
import { whereIs } from './host.ts';

export type ImageName = 'pause' | 'server' | 'toolbox' | 'kube-proxy' | 'flannel' | 'kube-router' | 'coredns';

export const imageOf = (name: ImageName): string => `podpath.test/${name}:1`;

type LayerName = 'tool' | 'shell' | 'network' | 'kube-proxy' | 'flanneld' | 'kube-router' | 'coredns';

interface ImageSpec {
  readonly layers: readonly LayerName[];
  readonly entrypoint: readonly string[];
}

/** `server` holds one static program and nothing else, as many real images do; `toolbox` is the same with a shell and tools. */
const images: Readonly<Record<ImageName, ImageSpec>> = {
  pause: { layers: ['tool'], entrypoint: ['/bin/tool', 'pause'] },
  server: { layers: ['tool'], entrypoint: ['/bin/tool', 'serve'] },
  toolbox: { layers: ['tool', 'shell', 'network'], entrypoint: ['/bin/tool', 'pause'] },
  'kube-proxy': { layers: ['shell', 'network', 'kube-proxy'], entrypoint: ['/usr/local/bin/kube-proxy'] },
  flannel: { layers: ['shell', 'network', 'flanneld'], entrypoint: ['/usr/local/bin/flanneld'] },
  'kube-router': { layers: ['shell', 'network', 'kube-router'], entrypoint: ['/usr/local/bin/kube-router'] },
  coredns: { layers: ['shell', 'network', 'coredns'], entrypoint: ['/usr/local/bin/coredns'] },
};

/** Host programs of the network layer; several names of one program are links, as on the host. */
const networkTools = [
  'ip',
  'ss',
  'bridge',
  'ipset',
  'conntrack',
  'nft',
  'ethtool',
  'xtables-legacy-multi',
  'xtables-nft-multi',
];
const xtables: Readonly<Record<string, string>> = Object.fromEntries(
  ['iptables', 'ip6tables'].flatMap((tool) =>
    ['', '-save', '-restore'].flatMap((end) => [
      // What Debian's alternatives choose unless told otherwise.
      [`${tool}${end}`, 'xtables-nft-multi'],
      [`${tool}-nft${end}`, 'xtables-nft-multi'],
      [`${tool}-legacy${end}`, 'xtables-legacy-multi'],
    ]),
  ),
);

/** Writes the archive. The folder is for drafts and is emptied. */
export async function writeImages(archive: string, binaries: Binaries, folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  const blobs = join(folder, 'oci/blobs/sha256');
  await mkdir(blobs, { recursive: true });
  const layers = new Map<LayerName, Descriptor>();
  for (const name of new Set(Object.values(images).flatMap((image) => image.layers))) {
    const root = join(folder, `layer-${name}`);
    await mkdir(root, { recursive: true });
    await fillLayer(name, root, binaries);
    layers.set(name, await packLayer(root, blobs));
  }
  const manifests: object[] = [];
  for (const [name, image] of Object.entries(images)) {
    const used = image.layers.flatMap((layer) => layers.get(layer) ?? []);
    const manifest = await writeManifest(blobs, used, image.entrypoint);
    const ref = imageOf(name as ImageName);
    manifests.push({
      ...manifest,
      platform: { os: 'linux', architecture: architecture() },
      annotations: { 'io.containerd.image.name': ref, 'org.opencontainers.image.ref.name': ref },
    });
  }
  const oci = join(folder, 'oci');
  await writeFile(join(oci, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(join(oci, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  await must(['tar', '-C', oci, '-cf', archive, '.'], { timeoutMs: 120_000 });
}

const architecture = (): string => (process.arch === 'arm64' ? 'arm64' : 'amd64');

async function fillLayer(name: LayerName, root: string, binaries: Binaries): Promise<void> {
  const program = (from: string, to: string) => copyProgram(join(binaries.folder, from), root, to);
  switch (name) {
    case 'tool':
      await program('tool', '/bin/tool');
      await mkdir(join(root, 'etc'));
      await writeFile(join(root, 'etc/passwd'), 'root:x:0:0:root:/:/sbin/nologin\n');
      return;
    case 'shell': {
      const busybox = whereIs('busybox') ?? 'busybox';
      await copyProgram(busybox, root, '/bin/busybox');
      const { stdout } = await must([busybox, '--list']);
      // Names that the network layer brings for real must not be there twice.
      const own = new Set(['busybox', ...networkTools, ...Object.keys(xtables)]);
      for (const applet of stdout.split('\n').filter((line) => line !== '' && !own.has(line)))
        await symlink('busybox', join(root, 'bin', applet));
      await mkdir(join(root, 'tmp'), { mode: 0o777 });
      return;
    }
    case 'network':
      for (const tool of networkTools) {
        const from = whereIs(tool);
        if (from !== undefined) await copyProgram(from, root, `/usr/sbin/${tool}`);
      }
      for (const [link, target] of Object.entries(xtables))
        await symlink(target, join(root, 'usr/sbin', link));
      return copyExtensions(root);
    case 'kube-proxy':
      return program('kubernetes', '/usr/local/bin/kube-proxy');
    case 'flanneld':
    case 'kube-router':
    case 'coredns':
      return program(name, `/usr/local/bin/${name}`);
  }
}

/** Copies a program and the libraries that it is linked with, each to where the program looks for it. */
async function copyProgram(from: string, root: string, to: string): Promise<void> {
  await copyInto(from, root, to);
  for (const library of await librariesOf(from)) await copyInto(library, root, library);
}

async function copyInto(from: string, root: string, to: string): Promise<void> {
  const target = join(root, to);
  if (existsSync(target)) return;
  await mkdir(dirname(target), { recursive: true });
  await copyFile(await realpath(from), target);
}

/** ldd fails for a static program: it has none. */
async function librariesOf(program: string): Promise<string[]> {
  const { stdout } = await exec(['ldd', program]);
  return [...stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map((match) => match[1] ?? '');
}

/** iptables loads a shared object for each match and target. */
async function copyExtensions(root: string): Promise<void> {
  const { stdout } = await must(['dpkg', '-L', 'iptables']);
  for (const file of stdout.split('\n').filter((line) => /\/xtables\/lib.*\.so$/.test(line)))
    await copyInto(file, root, file);
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

/** The same files give the same bytes: names sorted, no times, all owned by root. */
async function packLayer(root: string, blobs: string): Promise<Descriptor> {
  const file = join(blobs, `${basename(root)}.tar`);
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner'];
  await must(['tar', '-C', root, ...same, '-cf', file, ...(await readdir(root)).sort()], {
    timeoutMs: 120_000,
  });
  await rm(root, { recursive: true });
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const digest = hash.digest('hex');
  await rename(file, join(blobs, digest));
  const { size } = await stat(join(blobs, digest));
  return { mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: `sha256:${digest}`, size };
}

async function writeManifest(
  blobs: string,
  layers: readonly Descriptor[],
  entrypoint: readonly string[],
): Promise<Descriptor> {
  const config = await writeBlob(blobs, 'application/vnd.oci.image.config.v1+json', {
    architecture: architecture(),
    os: 'linux',
    config: {
      Entrypoint: entrypoint,
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
    },
    // Layers are not compressed: what is hashed is what is stored.
    rootfs: { type: 'layers', diff_ids: layers.map(({ digest }) => digest) },
  });
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  return writeBlob(blobs, mediaType, { schemaVersion: 2, mediaType, config, layers });
}

async function writeBlob(blobs: string, mediaType: string, value: object): Promise<Descriptor> {
  const text = JSON.stringify(value);
  const digest = createHash('sha256').update(text).digest('hex');
  await writeFile(join(blobs, digest), text);
  return { mediaType, digest: `sha256:${digest}`, size: Buffer.byteLength(text) };
}
