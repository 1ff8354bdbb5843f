/** The programs of the cluster, built from the Go module in programs/ and kept outside of the tree. */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rename, rm, stat, symlink, utimes } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, relative } from 'node:path';
import { PodpathError } from '../../src/model/errors.ts';
import { exec } from '../../src/system/exec.ts';
import { whereIs } from './host.ts';
import { kubernetesVersion } from './plan.ts';

/** One binary; the name it is called by chooses the program. */
const kubernetesPrograms = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-proxy',
  'kube-scheduler',
  'kubectl',
  'kubelet',
];
const built = ['kubernetes', 'flanneld', 'kube-router', 'coredns', 'tool'];
/** Measured: 10 minutes on two free cores. A loaded machine takes several times as long. */
const buildLimitMs = 80 * 60_000;
const unusedLimitMs = 14 * 24 * 3_600_000;

export interface Binaries {
  /** Has every program by its name. */
  readonly folder: string;
  /** What the images made of them are named after. */
  readonly hash: string;
}

const cacheRoot = (): string =>
  join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'podpath', 'cluster');

/** The module's own text and the compiler decide what comes out. */
async function hashOf(module: string): Promise<string> {
  const hash = createHash('sha256');
  for (const entry of readdirSync(module, { recursive: true, withFileTypes: true }).sort((a, b) =>
    join(a.parentPath, a.name) < join(b.parentPath, b.name) ? -1 : 1,
  )) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    hash
      .update(`${relative(module, file)}\0`)
      .update(readFileSync(file))
      .update('\0');
  }
  const version = await exec([go(), 'version']);
  return hash.update(version.stdout).digest('hex').slice(0, 16);
}

const go = (): string => whereIs('go') ?? 'go';

/** The binaries if they are built; otherwise where they will be. */
async function findBinaries(module: string): Promise<Binaries & { readonly ready: boolean }> {
  const hash = await hashOf(module);
  const folder = join(cacheRoot(), hash, 'bin');
  return { folder, hash, ready: built.every((name) => existsSync(join(folder, name))) };
}

/** Builds what is not there yet. Throws PodpathError with the compiler's words. Two builders at once only waste time. */
export async function ensureBinaries(module: string, say: (text: string) => void): Promise<Binaries> {
  const found = await findBinaries(module);
  if (found.ready) {
    await markUsed(found.folder);
    return found;
  }
  await removeUnused();
  say('building the programs of the cluster with Go: once, 10 minutes on two cores');
  const started = performance.now();
  const parent = join(found.folder, '..');
  await mkdir(parent, { recursive: true });
  const draft = await mkdtemp(join(parent, 'building-'));
  try {
    await build(module, draft);
    for (const name of kubernetesPrograms) await symlink('kubernetes', join(draft, name));
    await rename(draft, found.folder).catch(async (error: NodeJS.ErrnoException) => {
      // Somebody else was faster: theirs is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
  say(`built in ${Math.round((performance.now() - started) / 1000)} s`);
  return found;
}

/** A folder's time is that of its last use. */
async function markUsed(folder: string): Promise<void> {
  const now = new Date();
  await utimes(join(folder, '..'), now, now);
}

/** Programs that nobody has used for a while, and drafts of builders that were killed. */
async function removeUnused(): Promise<void> {
  const root = cacheRoot();
  const hashes = await readdir(root).catch(() => []);
  const drafts = await Promise.all(
    hashes.map(async (hash) => (await readdir(join(root, hash))).map((entry) => join(root, hash, entry))),
  );
  const old = async (path: string, ms: number) => Date.now() - (await stat(path)).mtimeMs > ms;
  for (const draft of drafts.flat().filter((path) => /\/(building|importing)-[^/]*$/.test(path)))
    if (await old(draft, 2 * buildLimitMs)) await rm(draft, { recursive: true, force: true });
  for (const hash of hashes)
    if (await old(join(root, hash), unusedLimitMs))
      await rm(join(root, hash), { recursive: true, force: true });
}

async function build(module: string, into: string): Promise<void> {
  const version = 'k8s.io/component-base/version';
  const [, minor] = kubernetesVersion.slice(1).split('.');
  const ldflags = [
    '-s -w',
    `-X ${version}.gitVersion=${kubernetesVersion}`,
    `-X ${version}.gitMajor=1 -X ${version}.gitMinor=${minor} -X ${version}.gitTreeState=clean`,
  ].join(' ');
  const foreign = ['github.com/cloudnativelabs/kube-router/v2/cmd/kube-router', 'github.com/coredns/coredns'];
  const goBuild = ['nice', go(), 'build', '-C', module, '-trimpath', '-ldflags', ldflags, '-o', `${into}/`];
  // The k3s fork of kube-router has versions that the checksum database does not take; go.sum pins it all the same.
  const env = { GONOSUMDB: 'github.com/k3s-io/*', GOFLAGS: '-buildvcs=false -mod=readonly' };
  await mustBuild([...goBuild, './flanneld', './kubernetes', ...foreign], env);
  // Without C it runs in an image that holds nothing else.
  await mustBuild([...goBuild, './tool'], { ...env, CGO_ENABLED: '0' });
}

async function mustBuild(argv: readonly string[], env: Readonly<Record<string, string>>): Promise<void> {
  const result = await exec(argv, { env, timeoutMs: buildLimitMs });
  if (result.code === 0) return;
  throw new PodpathError({
    code: 'cluster/build-failed',
    what: "the test cluster's programs could not be built",
    where: argv.join(' '),
    why: result.timedOut ? 'it did not end in time' : result.stderr.trim().split('\n').slice(-10).join('\n'),
    todo: 'Go fetches the modules the first time: see that its module proxy can be reached (go env GOPROXY)',
  });
}
