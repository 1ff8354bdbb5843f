// Makes a fresh clone ready: packages, system tools, build. Plain Node, nothing installed is needed. Quiet when all is in place.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { accessSync, constants, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));

/** Debian package -> the programs that podpath runs from it, and what is lost without them. src/cli/host.ts shows the same list. */
const tools = {
  iproute2: { programs: ['ip', 'ss', 'bridge'], why: 'network namespaces of the lab' },
  iptables: {
    programs: ['iptables', 'iptables-save', 'iptables-restore'],
    why: 'Services, policies and faults',
  },
  ipset: { programs: ['ipset'], why: 'NetworkPolicy in the lab' },
  conntrack: { programs: ['conntrack'], why: 'reading connections' },
  nftables: { programs: ['nft'], why: "the lab's fabric" },
  ethtool: { programs: ['ethtool'], why: 'offload settings' },
  'iputils-ping': { programs: ['ping'], why: 'ICMP probes' },
  procps: { programs: ['sysctl'], why: 'kernel settings' },
  python3: { programs: ['python3'], why: "opening sockets in the lab's pods" },
};

const say = (text) => process.stderr.write(`setup: ${text}\n`);

class SetupError extends Error {}

/** Does what is left to do. Throws SetupError, with a text for people, where it cannot go on. */
export function setup() {
  checkNode();
  installPackages();
  installTools();
  build();
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return;
  throw new SetupError(
    `Node ${process.versions.node} is too old: podpath needs 20.19 or newer. Install it from https://nodejs.org/en/download or with your version manager (nvm install 20).`,
  );
}

/** The stamp holds the lock file's hash: time stamps say nothing after a checkout. */
function installPackages() {
  const stamp = join(root, 'node_modules/.podpath-lock-hash');
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
  if (read(stamp) === wanted) return;
  say('installing the npm packages (npm ci)');
  run(process.platform === 'win32' ? 'npm.cmd' : 'npm', [
    'ci',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
  ]);
  writeFileSync(stamp, wanted);
}

const read = (file) => {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
};

/** Debian packages of the tools that are not there. */
export const missingTools = () =>
  process.platform === 'linux'
    ? Object.entries(tools).filter(([, tool]) => tool.programs.some((program) => !onPath(program)))
    : [];

/** /usr/sbin and /sbin: a user's PATH on Debian lacks them. */
function onPath(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

function installTools() {
  if (process.platform !== 'linux') return;
  const missing = missingTools();
  if (missing.length === 0) return;
  const packages = missing.map(([name]) => name);
  if (process.getuid() !== 0 || !isDebian() || !onPath('apt-get')) {
    say('these tools are missing; the lab needs them, recorded snapshots do not:');
    for (const [name, tool] of missing) say(`  ${name}: ${tool.why}`);
    say(
      isDebian()
        ? `  install them: sudo apt-get install ${packages.join(' ')}`
        : '  install them with your package manager (the names above are Debian packages)',
    );
    return;
  }
  say(`installing ${packages.join(' ')} (apt-get)`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const install = ['install', '-y', '-q', '--no-install-recommends', ...packages];
  // Package lists may be absent (a container image) or too old: then the first try fails.
  const first = spawnSync('apt-get', install, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  if (first.status === 0) return;
  run('apt-get', ['update', '-q'], env);
  run('apt-get', install, env);
}

const isDebian = () => /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(read('/etc/os-release') ?? '');

/** Builds if dist/ is older than what it is made of. */
function build() {
  const built = modified(join(root, 'dist/podpath.js'));
  const sources = ['src', 'demo', 'scripts/build.mjs', 'package.json', 'package-lock.json'].map((p) =>
    newest(join(root, p)),
  );
  if (built >= Math.max(...sources)) return;
  say('building dist/');
  run(process.execPath, [join(root, 'scripts/build.mjs')]);
}

function modified(file) {
  try {
    return statSync(file).mtimeMs;
  } catch {
    return 0;
  }
}

/** Time of the newest file below a path. Folders count too: a deleted file changes its folder. */
function newest(path) {
  const stat = statSync(path);
  if (!stat.isDirectory()) return stat.mtimeMs;
  return readdirSync(path).reduce((time, name) => Math.max(time, newest(join(path, name))), stat.mtimeMs);
}

function run(command, args, env = process.env) {
  const result = spawnSync(command, args, {
    cwd: root,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  if (result.status === 0) return;
  const lines = (result.error?.message ?? `${result.stdout}\n${result.stderr}`).trim().split('\n');
  // npm says why at the top, apt-get and compilers at the end.
  const shown = lines.length > 20 ? [...lines.slice(0, 10), '...', ...lines.slice(-10)] : lines;
  throw new SetupError(`${[command, ...args].join(' ')} failed:\n${shown.join('\n')}`);
}

/** For the scripts that start with a set-up: ends the process with a clear text if it fails. */
export function setupOrExit() {
  try {
    setup();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exit(3);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) setupOrExit();
