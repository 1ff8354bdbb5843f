/** Whether this host can run a real cluster, and what it lacks. */
import { accessSync, constants, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { exec } from '../../src/system/exec.ts';

/** Debian package -> a file that it brings. */
const packages: Readonly<Record<string, string>> = {
  'etcd-server': 'etcd',
  containerd: 'containerd',
  runc: 'runc',
  'containernetworking-plugins': '/usr/lib/cni/bridge',
  'busybox-static': 'busybox',
  iproute2: 'ip',
  iptables: 'iptables',
  ipset: 'ipset',
  conntrack: 'conntrack',
  nftables: 'nft',
  ethtool: 'ethtool',
  procps: 'sysctl',
  'util-linux': 'nsenter',
  mount: 'mount',
};

/** A Debian user's PATH lacks the sbin folders. */
const searchPath = (): readonly string[] => [
  ...(process.env.PATH ?? '').split(delimiter),
  '/usr/sbin',
  '/sbin',
  '/usr/local/go/bin',
];

/** Full path of a program; undefined if it is nowhere. */
export function whereIs(program: string): string | undefined {
  if (program.startsWith('/')) return isExecutable(program) ? program : undefined;
  return searchPath()
    .map((folder) => join(folder, program))
    .find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

const missingPackages = (): string[] =>
  Object.entries(packages)
    .filter(([, program]) => whereIs(program) === undefined)
    .map(([name]) => name);

/** Why no real cluster can run here; undefined if one can, after `installPackages`. */
export function whyNoCluster(): string | undefined {
  if (process.platform !== 'linux')
    return `a cluster is made of Linux namespaces, and this is ${process.platform}`;
  if (process.getuid?.() !== 0) return 'making namespaces, mounts and control groups needs root';
  if (whereIs('go') === undefined)
    return "the cluster's programs are built by Go, which is not installed (https://go.dev/doc/install)";
  const missing = missingPackages();
  if (missing.length === 0 || canInstall()) return undefined;
  return `these Debian packages are missing, and only Debian's apt-get can install them: ${missing.join(' ')}`;
}

const canInstall = (): boolean => whereIs('apt-get') !== undefined && isDebian();

function isDebian(): boolean {
  try {
    return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(readFileSync('/etc/os-release', 'utf8'));
  } catch {
    return false;
  }
}

/** Installs what is missing. Returns why that failed; undefined if all is there. */
export async function installPackages(say: (text: string) => void): Promise<string | undefined> {
  const missing = missingPackages();
  if (missing.length === 0) return undefined;
  say(`installing ${missing.join(' ')} (apt-get)`);
  // Runlevel 1 keeps invoke-rc.d from starting the packages' own daemons (etcd, containerd) in the root namespace.
  const env = { DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' };
  const install = ['apt-get', 'install', '-y', '-q', '--no-install-recommends', ...missing];
  const limits = { env, timeoutMs: 300_000 };
  // Package lists may be absent (a container image) or too old: then the first try fails.
  if ((await exec(install, limits)).code === 0) return undefined;
  await exec(['apt-get', 'update', '-q'], limits);
  const second = await exec(install, limits);
  return second.code === 0
    ? undefined
    : `apt-get could not install ${missing.join(' ')}: ${second.stderr.trim()}`;
}
