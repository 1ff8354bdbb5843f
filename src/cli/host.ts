/** What this host can do for podpath: tools, rights, kernel features. Kernel features are tried in a throw-away network namespace. */
import { exec } from '../system/exec.ts';
import { onInterrupt } from './context.ts';

export interface HostFact {
  readonly group: 'host' | 'tools' | 'kernel';
  readonly name: string;
  /** `unknown`: could not be tried; `found` says why. */
  readonly state: 'ok' | 'missing' | 'unknown';
  /** Version or what was seen. */
  readonly found: string;
  readonly neededFor: string;
  /** What a person can do, where something is missing. */
  readonly todo?: string;
}

interface Tool {
  readonly name: string;
  readonly version: readonly string[];
  readonly debianPackage: string;
  readonly neededFor: string;
}

/** The same packages as scripts/setup.mjs installs. */
const tools: readonly Tool[] = [
  { name: 'ip', version: ['ip', '-V'], debianPackage: 'iproute2', neededFor: 'the lab and reading a node' },
  {
    name: 'bridge',
    version: ['bridge', '-V'],
    debianPackage: 'iproute2',
    neededFor: 'FDB entries and bridge ports',
  },
  { name: 'ss', version: ['ss', '-V'], debianPackage: 'iproute2', neededFor: 'seeing what listens' },
  {
    name: 'iptables',
    version: ['iptables', '-V'],
    debianPackage: 'iptables',
    neededFor: 'kube-proxy rules and faults',
  },
  { name: 'ipset', version: ['ipset', '-v'], debianPackage: 'ipset', neededFor: 'NetworkPolicy in the lab' },
  {
    name: 'conntrack',
    version: ['conntrack', '-V'],
    debianPackage: 'conntrack',
    neededFor: 'connection tracking',
  },
  {
    name: 'nft',
    version: ['nft', '-v'],
    debianPackage: 'nftables',
    neededFor: 'the fabric of the lab; nftables rules',
  },
  {
    name: 'ethtool',
    version: ['ethtool', '--version'],
    debianPackage: 'ethtool',
    neededFor: 'offload settings',
  },
  { name: 'ping', version: ['ping', '-V'], debianPackage: 'iputils-ping', neededFor: 'ICMP probes' },
  { name: 'sysctl', version: ['sysctl', '-V'], debianPackage: 'procps', neededFor: 'kernel settings' },
  {
    name: 'python3',
    version: ['python3', '-V'],
    debianPackage: 'python3',
    neededFor: "opening sockets in the lab's pods",
  },
];

/** Everything that is known about this host, in the order to show it. */
export async function examineHost(): Promise<HostFact[]> {
  const host = hostFacts();
  if (process.platform !== 'linux') return host;
  return [...host, ...(await Promise.all(tools.map(toolFact))), ...(await kernelFacts())];
}

function hostFacts(): HostFact[] {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const nodeOk = major > 20 || (major === 20 && minor >= 19);
  const linux = process.platform === 'linux';
  const root = process.getuid?.() === 0;
  return [
    fact('host', 'Node.js >= 20.19', nodeOk, process.version, 'everything', 'install Node 20.19 or newer'),
    fact(
      'host',
      'Linux',
      linux,
      process.platform,
      'the lab',
      'run the lab in a Linux machine; snapshots work here',
    ),
    fact('host', 'root', root, root ? 'yes' : 'no', 'the lab and live node state', 'run the lab with sudo'),
  ];
}

const fact = (
  group: HostFact['group'],
  name: string,
  ok: boolean,
  found: string,
  neededFor: string,
  todo: string,
): HostFact => ({
  group,
  name,
  state: ok ? 'ok' : 'missing',
  found,
  neededFor,
  ...(ok ? {} : { todo }),
});

async function toolFact(tool: Tool): Promise<HostFact> {
  const result = await exec(tool.version, { timeoutMs: 5000 });
  const found = result.startError === undefined;
  const seen = found ? firstLine(result.stdout || result.stderr) : 'not found';
  return fact('tools', tool.name, found, seen, tool.neededFor, `apt-get install ${tool.debianPackage}`);
}

const firstLine = (text: string): string => text.trim().split('\n')[0] ?? '';

/** Each is one command inside the namespace, made as the lab makes it. */
const kernelTrials: readonly { name: string; argv: readonly string[]; neededFor: string }[] = [
  {
    name: 'veth',
    argv: ['ip', 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1'],
    neededFor: 'pods',
  },
  { name: 'bridge', argv: ['ip', 'link', 'add', 'b0', 'type', 'bridge'], neededFor: 'cni0 and the fabric' },
  {
    name: 'vxlan',
    argv: ['ip', 'link', 'add', 'x0', 'type', 'vxlan', 'id', '1', 'dstport', '8472', 'nolearning'],
    neededFor: 'overlay networks',
  },
  { name: 'iptables filter', argv: ['iptables', '-S'], neededFor: 'kube-proxy and policy rules' },
  { name: 'iptables nat', argv: ['iptables', '-t', 'nat', '-S'], neededFor: 'Services' },
  { name: 'ip6tables nat', argv: ['ip6tables', '-t', 'nat', '-S'], neededFor: 'dual-stack labs' },
  { name: 'ipset', argv: ['ipset', 'create', 's0', 'hash:ip'], neededFor: 'NetworkPolicy in the lab' },
  { name: 'nftables', argv: ['nft', 'add', 'table', 'bridge', 't0'], neededFor: 'the fabric of the lab' },
  { name: 'conntrack', argv: ['conntrack', '-L'], neededFor: 'reading connections' },
  {
    name: 'bridge netfilter',
    argv: ['sysctl', '-n', 'net.bridge.bridge-nf-call-iptables'],
    neededFor: 'rules that see bridged pod traffic',
  },
];

async function kernelFacts(): Promise<HostFact[]> {
  if (process.getuid?.() !== 0) {
    return kernelTrials.map(({ name, neededFor }) => ({
      group: 'kernel',
      name,
      state: 'unknown',
      found: 'only root can try it',
      neededFor,
    }));
  }
  const netns = `pp-doctor-${process.pid}`;
  const remove = async () => {
    await exec(['ip', 'netns', 'del', netns]);
  };
  const forget = onInterrupt(remove);
  try {
    const made = await exec(['ip', 'netns', 'add', netns]);
    const facts = [
      kernelFact(
        'network namespaces',
        made.code,
        made.stderr || made.startError || '',
        'everything in the lab',
      ),
    ];
    if (made.code !== 0) return facts;
    // One after the other: the nft and iptables tools take turns on one lock.
    for (const { name, argv, neededFor } of kernelTrials) {
      const result = await exec(['ip', 'netns', 'exec', netns, ...argv], { timeoutMs: 5000 });
      facts.push(kernelFact(name, result.code, result.stderr || result.startError || '', neededFor));
    }
    return facts;
  } finally {
    forget();
    await remove();
  }
}

function kernelFact(name: string, code: number, stderr: string, neededFor: string): HostFact {
  const found = code === 0 ? 'works' : firstLine(stderr) || `exit code ${code}`;
  return fact(
    'kernel',
    name,
    code === 0,
    found,
    neededFor,
    'use a kernel with this feature, or load its module',
  );
}
