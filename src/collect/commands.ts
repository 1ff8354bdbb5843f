/**
 * The read-only commands that show one network namespace, and the shell script that runs them all in one go: one child
 * a namespace instead of twenty. The script is constant; nothing that was read from anywhere goes into it.
 */
export interface CollectCommand {
  /** Name in the snapshot. */
  readonly file: string;
  readonly argv: readonly string[];
  readonly scope: 'node' | 'both';
  /** Debian's package of the program, for the advice where it is missing. */
  readonly debianPackage?: string;
  /** Run only where this path exists. It keeps the program from loading the kernel module that it asks. */
  readonly onlyIf?: string;
  /** Not having it takes nothing from an answer: no gap where it fails. */
  readonly optional?: boolean;
  /** Prints what it can and exits with 255 for the rest (write-only keys). */
  readonly tolerant?: boolean;
}

const iproute2 = { scope: 'both', debianPackage: 'iproute2' } as const;
const iptables = { scope: 'both', debianPackage: 'iptables' } as const;

/** By column, because `wg show all dump` prints the private keys. */
const wgCommands = [
  'public-key',
  'listen-port',
  'fwmark',
  'endpoints',
  'allowed-ips',
  'latest-handshakes',
].map(
  (column): CollectCommand => ({
    file: `wg-${column}.txt`,
    argv: ['wg', 'show', 'all', column],
    scope: 'node',
    debianPackage: 'wireguard-tools',
    onlyIf: '/sys/module/wireguard',
    optional: true,
  }),
);

export const collectCommands: readonly CollectCommand[] = [
  { file: 'ip-addr.json', argv: ['ip', '-j', '-d', 'addr', 'show'], ...iproute2 },
  { file: 'ip-link.json', argv: ['ip', '-j', '-d', 'link', 'show'], ...iproute2 },
  { file: 'ip-route.json', argv: ['ip', '-j', '-4', 'route', 'show', 'table', 'all'], ...iproute2 },
  { file: 'ip-route6.json', argv: ['ip', '-j', '-6', 'route', 'show', 'table', 'all'], ...iproute2 },
  // Routes spell their next hop objects out unless nexthop_compat_mode is off. Kernels before 5.3 have none.
  { file: 'ip-nexthop.json', argv: ['ip', '-j', 'nexthop', 'show'], ...iproute2, optional: true },
  { file: 'ip-rule.json', argv: ['ip', '-j', '-4', 'rule', 'show'], ...iproute2 },
  { file: 'ip-rule6.json', argv: ['ip', '-j', '-6', 'rule', 'show'], ...iproute2 },
  { file: 'ip-neigh.json', argv: ['ip', '-j', 'neigh', 'show'], ...iproute2 },
  { file: 'bridge-fdb.json', argv: ['bridge', '-j', 'fdb', 'show'], ...iproute2 },
  { file: 'bridge-link.json', argv: ['bridge', '-j', '-d', 'link', 'show'], ...iproute2 },
  ...wgCommands,
  // By backend: plain iptables-save is whichever of the two the host's alternatives point at.
  { file: 'iptables-save.txt', argv: ['iptables-nft-save', '-c'], ...iptables },
  { file: 'ip6tables-save.txt', argv: ['ip6tables-nft-save', '-c'], ...iptables },
  // The legacy tools save the tables named in /proc/net/ip_tables_names and create none.
  { file: 'iptables-legacy-save.txt', argv: ['iptables-legacy-save', '-c'], ...iptables },
  { file: 'ip6tables-legacy-save.txt', argv: ['ip6tables-legacy-save', '-c'], ...iptables },
  { file: 'nft.json', argv: ['nft', '-j', 'list', 'ruleset'], scope: 'both', debianPackage: 'nftables' },
  { file: 'ipset.txt', argv: ['ipset', 'save'], scope: 'both', debianPackage: 'ipset' },
  {
    file: 'ipvs.txt',
    argv: ['ipvsadm', '--save', '-n'],
    scope: 'node',
    debianPackage: 'ipvsadm',
    onlyIf: '/proc/net/ip_vs',
    // The kernel's own list says the same.
    optional: true,
  },
  {
    file: 'proc-net-ip-vs.txt',
    argv: ['cat', '/proc/net/ip_vs'],
    scope: 'node',
    onlyIf: '/proc/net/ip_vs',
    optional: true,
  },
  { file: 'conntrack.txt', argv: ['conntrack', '-L'], scope: 'both', debianPackage: 'conntrack' },
  {
    file: 'conntrack-stats.txt',
    argv: ['conntrack', '-S'],
    scope: 'both',
    debianPackage: 'conntrack',
    optional: true,
  },
  { file: 'sysctl.txt', argv: ['sysctl', 'net'], scope: 'both', debianPackage: 'procps', tolerant: true },
  { file: 'ss.txt', argv: ['ss', '-H', '-l', '-n', '-t', '-u', '-p'], ...iproute2 },
  { file: 'proc-net-snmp.txt', argv: ['cat', '/proc/net/snmp'], scope: 'both' },
  { file: 'proc-net-netstat.txt', argv: ['cat', '/proc/net/netstat'], scope: 'both' },
  { file: 'resolv.conf', argv: ['cat', '/etc/resolv.conf'], scope: 'both' },
  {
    file: 'modules.txt',
    argv: ['cat', '/proc/modules'],
    scope: 'node',
    onlyIf: '/proc/modules',
    optional: true,
  },
];

/** Offloads decide whether a tunnel's checksums and segments are right; `ethtool-<dev>.txt`, one a tunnel device. */
const ethtoolCommand: CollectCommand = {
  file: 'ethtool-*.txt',
  argv: ['ethtool', '-k', 'DEVICE'],
  scope: 'node',
  debianPackage: 'ethtool',
  optional: true,
};

/** The command that writes `file`. */
export const commandOf = (file: string): CollectCommand | undefined =>
  file.startsWith('ethtool-') ? ethtoolCommand : collectCommands.find((command) => command.file === file);

/** Debian's ordinary users have no sbin in their PATH, and these tools are there. */
const sbin = 'PATH=$PATH:/usr/sbin:/sbin; export PATH; ';
const word = (text: string): string => `'${text}'`;

/**
 * For `sh -c SCRIPT podpath DELIMITER`. Prints each command's output between delimiter lines, on stdout and on stderr
 * alike; readSections takes it apart.
 */
export function collectScript(scope: 'node' | 'pod'): string {
  const lines = [
    sbin,
    'D=$1',
    `begin() { printf '%s begin %s\\n' "$D" "$1"; printf '%s begin %s\\n' "$D" "$1" >&2; }`,
    `end() { printf '\\n%s end %s\\n' "$D" "$1"; printf '\\n%s end %s\\n' "$D" "$1" >&2; }`,
  ];
  for (const { file, argv, onlyIf, scope: wanted } of collectCommands) {
    if (wanted === 'node' && scope === 'pod') continue;
    const run = `begin ${word(file)}; ${argv.map(word).join(' ')}; end $?`;
    lines.push(onlyIf === undefined ? run : `if [ -e ${word(onlyIf)} ]; then ${run}; fi`);
  }
  if (scope === 'node')
    lines.push(
      'for P in /sys/class/net/*; do',
      '  while IFS= read -r LINE; do case $LINE in',
      `    DEVTYPE=vxlan|DEVTYPE=geneve) DEV=\${P##*/}; begin "ethtool-$DEV.txt"; ethtool -k "$DEV"; end $?;;`,
      '  esac; done < "$P/uevent"',
      'done',
    );
  // The last command's exit code is in its section, not the script's.
  lines.push('exit 0');
  return lines.join('\n');
}

export interface Section {
  readonly stdout: string;
  readonly stderr: string;
  /** Undefined: it did not end. */
  readonly code?: number;
}

/** Sections by file name. A section that was cut off has no code. */
export function readSections(
  stdout: string,
  stderr: string,
  delimiter: string,
): ReadonlyMap<string, Section> {
  const errors = split(stderr, delimiter);
  const sections = new Map<string, Section>();
  for (const [file, { text, code }] of split(stdout, delimiter)) {
    const said = errors.get(file)?.text ?? '';
    sections.set(file, { stdout: text, stderr: said, ...(code === undefined ? {} : { code }) });
  }
  return sections;
}

function split(text: string, delimiter: string): Map<string, { text: string; code?: number }> {
  const found = new Map<string, { text: string; code?: number }>();
  const begin = `${delimiter} begin `;
  const end = `\n${delimiter} end `;
  let at = text.indexOf(begin);
  while (at >= 0) {
    const nameEnd = text.indexOf('\n', at);
    if (nameEnd < 0) break;
    const file = text.slice(at + begin.length, nameEnd);
    const stop = text.indexOf(end, nameEnd);
    if (stop < 0) {
      found.set(file, { text: text.slice(nameEnd + 1) });
      break;
    }
    const code = Number.parseInt(text.slice(stop + end.length), 10);
    // An empty output leaves the name's own line end as the delimiter's.
    found.set(file, { text: text.slice(nameEnd + 1, Math.max(stop, nameEnd + 1)), code });
    at = text.indexOf(begin, stop + end.length);
  }
  return found;
}
