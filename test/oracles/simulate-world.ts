/** Random whole namespaces: routes, routing rules, settings and packet filters of every tool, as text that can be made smaller. */
import type { Netns } from '../../src/model/netns.ts';
import { buildNetns } from '../../src/parse/netns.ts';
import { randomRules, randomSets } from './netfilter-rules.ts';
import type { Random } from './netfilter-support.ts';
import { randomNftRules } from './nft-rules.ts';
import { enriched, foreseeable } from './simulate-more.ts';
import { type Command, type KernelNamespace, tuns } from './simulate-namespace.ts';

export type Backend = 'nft' | 'native' | 'legacy';

/** All that is loaded into a namespace, line by line. */
export interface WorldText {
  readonly backend: Backend;
  /** `key value`, in this order. */
  readonly settings: readonly string[];
  /** Lines of `ip -batch`. */
  readonly routing4: readonly string[];
  readonly routing6: readonly string[];
  /** `ipset restore`. */
  readonly sets: readonly string[];
  /** `iptables-restore` and `ip6tables-restore`; empty: none. */
  readonly rules4: readonly string[];
  readonly rules6: readonly string[];
  /** `nft -f`. */
  readonly native: readonly string[];
}

export function randomWorld(random: Random, backend: Backend): WorldText {
  const sets = randomSets(random);
  const withTables = backend !== 'native' || random.chance(0.3);
  return {
    backend,
    settings: settings(random),
    routing4: routing(random, 4),
    routing6: routing(random, 6),
    sets: linesOf(sets + toIpv6(sets)),
    native:
      backend === 'native'
        ? [...shown(foreseeable(randomNftRules(random))), ...(random.chance(0.4) ? rejecting(random) : [])]
        : [],
    rules4: withTables ? tablesOf(random, 4) : [],
    rules6: withTables ? tablesOf(random, 6) : [],
  };
}

function tablesOf(random: Random, family: 4 | 6): string[] {
  const drawn = varied(random, foreseeable(randomRules(random)));
  const rules = family === 4 ? drawn : toIpv6(drawn);
  return linesOf(showingMarks(random.chance(0.5) ? enriched(random, rules, family) : rules));
}

/** `nft list` leaves out `ct l3proto`, which it takes for a mere dependency: what is listed then means more than what is loaded. */
const shown = (rules: string): string[] => rules.replace(/\bct l3proto (!= )?\S+ ?/g, '').split('\n');

const linesOf = (text: string): string[] => text.split('\n').filter((line) => line !== '');

function settings(random: Random): string[] {
  const bit = (chance: number) => (random.chance(chance) ? 1 : 0);
  const forwards = bit(0.93);
  const lines = [
    // Writing another ip_forward sets every device's own: it comes first.
    `net.ipv4.ip_forward ${forwards}`,
    `net.ipv6.conf.all.forwarding ${bit(0.9)}`,
    `net.ipv4.conf.all.rp_filter ${random.pick([0, 0, 0, 1, 2])}`,
    `net.ipv4.conf.all.accept_local ${bit(0.1)}`,
    `net.ipv4.conf.all.route_localnet ${bit(0.05)}`,
    `net.netfilter.nf_conntrack_tcp_loose ${bit(0.8)}`,
    `net.ipv4.fwmark_reflect ${bit(0.2)}`,
    `net.ipv6.fwmark_reflect ${bit(0.2)}`,
    `net.ipv4.icmp_errors_use_inbound_ifaddr ${bit(0.2)}`,
  ];
  for (const { name: device } of tuns)
    lines.push(
      `net.ipv4.conf.${device}.rp_filter ${random.pick([0, 0, 0, 1, 2])}`,
      `net.ipv4.conf.${device}.route_localnet ${bit(0.1)}`,
      `net.ipv4.conf.${device}.accept_local ${bit(0.1)}`,
      `net.ipv4.conf.${device}.src_valid_mark ${bit(0.2)}`,
      `net.ipv4.conf.${device}.forwarding ${random.chance(0.05) ? 1 - forwards : forwards}`,
      `net.ipv6.conf.${device}.force_forwarding ${bit(0.05)}`,
    );
  return lines;
}

const tables = ['main', 'main', '100', '101'];

function routing(random: Random, family: 4 | 6): string[] {
  const lines: string[] = [];
  for (let i = random.int(9); i > 0; i--) lines.push(someRoute(random, family));
  if (random.chance(0.6)) for (let i = 1 + random.int(4); i > 0; i--) lines.push(someRule(random, family));
  return lines;
}

function somePrefix(random: Random, family: 4 | 6): string {
  const net = random.pick([1, 2, 3, 4, 50, 51]);
  if (random.chance(0.15)) return 'default';
  if (family === 4)
    return random.pick([`10.${net}.0.0/16`, `10.${net}.0.0/24`, `10.${net}.0.2/32`, `10.${net}.5.6/32`]);
  return random.pick([`fd00:${net}::/64`, `fd00:${net}::/112`, `fd00:${net}::2/128`, `fd00:${net}::5:6/128`]);
}

function someRoute(random: Random, family: 4 | 6): string {
  const prefix = somePrefix(random, family);
  // IPv6 joins routes of one prefix and metric to a multipath route.
  const metric = family === 6 ? 10 + random.int(10_000) : 10 + random.int(3);
  const tail = `table ${random.pick(tables)} metric ${metric}`;
  if (random.chance(0.2))
    return `route append ${random.pick(['blackhole', 'unreachable', 'prohibit', 'throw'])} ${prefix} ${tail}`;
  const device = random.pick(tuns);
  const gateway = family === 4 ? `10.${device.net}.0.${1 + random.int(2) * 98}` : `fd00:${device.net}::99`;
  const via = random.chance(0.4) && !gateway.endsWith('.1') ? `via ${gateway} ` : '';
  const mtu = random.chance(0.2) ? ` mtu ${random.pick([1280, 1300, 1380])}` : '';
  const src = family === 4 && random.chance(0.2) ? ` src 10.${random.pick([1, 2])}.0.1` : '';
  return `route append ${prefix} ${via}dev ${device.name} ${tail}${mtu}${src}`;
}

function someRule(random: Random, family: 4 | 6): string {
  const prefix = () => somePrefix(random, family).replace('default', 'all');
  const parts = [`rule add${random.chance(0.1) ? ' not' : ''} pref ${random.pick([10, 20, 30, 40])}`];
  if (random.chance(0.35)) parts.push(`from ${prefix()}`);
  if (random.chance(0.3)) parts.push(`to ${prefix()}`);
  if (random.chance(0.25)) parts.push(`iif ${random.pick([...tuns.map((tun) => tun.name), 'lo'])}`);
  if (random.chance(0.5)) parts.push(`fwmark ${random.pick(['0x1/0x1', '2', '0x40/0x40'])}`);
  const kind = random.int(14);
  if (kind === 0) parts.push(random.pick(['blackhole', 'unreachable', 'prohibit']));
  else {
    parts.push(`table ${random.pick(['100', '101', 'main'])}`);
    // ip6_pol_route() gives raw sockets routes of length 128 (FLOWI_FLAG_KNOWN_NH), which nothing suppresses: routing.test.ts asks that.
    if (family === 4 && random.chance(0.2)) parts.push(`suppress_prefixlength ${random.pick([0, 16])}`);
  }
  return parts.join(' ');
}

/** The rules of the IPv4 generators in IPv6: 10.A.B.C is fd00:A::B:C. */
const toIpv6 = (text: string): string =>
  text
    .replace(/\b10\.(\d+)\.(\d+)\.(\d+)(\/\d+)?/g, (_, a, b, c, length) => {
      if (length === '/8') return 'fd00::/16';
      if (length === '/16') return `fd00:${a}::/64`;
      const rest = b === '0' && c === '0' ? '::' : b === '0' ? `::${c}` : `::${b}:${c}`;
      return `fd00:${a}${rest}${length === undefined ? '' : `/${Number(length.slice(1)) + 96 - (length === '/24' ? 8 : 0)}`}`;
    })
    .replace(/\bs-(ip|net|port|list)/g, 's6-$1')
    .replace(/^(create s6-(?:ip|net)\S* \S+)/gm, '$1 family inet6')
    .replace(/icmp:echo-request/g, 'icmpv6:echo-request')
    .replace(/-p icmp\b/g, '-p ipv6-icmp')
    .replace(/--icmp-type 8/g, '--icmpv6-type 128')
    .replace(/--icmp-type 3\/3/g, '--icmpv6-type 1/4')
    .replace(/--icmp-type 0/g, '--icmpv6-type 129')
    .replace(/icmp-port-unreachable/g, 'icmp6-port-unreachable')
    .replace(/icmp-host-unreachable/g, 'icmp6-addr-unreachable')
    .replace(/icmp-net-(unreachable|prohibited)/g, 'icmp6-no-route')
    .replace(/icmp-host-prohibited/g, 'icmp6-adm-prohibited')
    .replace(/icmp-admin-prohibited/g, 'icmp6-adm-prohibited')
    .replace(/LOCAL,BROADCAST/g, 'LOCAL')
    .replace(/--length 0:39/g, '--length 0:59')
    .replace(/--length 40/g, '--length 60')
    .replace(/--length 41:100/g, '--length 61:120');

const unreachable = [
  'icmp-net-unreachable',
  'icmp-host-unreachable',
  'icmp-net-prohibited',
  'icmp-host-prohibited',
];

/** Rejects of every kind at every hook that has them. */
function rejecting(random: Random): string[] {
  const hooks = ['prerouting', 'input', 'forward', 'output'] as const;
  const some = () => {
    const matches = random.pick([
      `ip daddr 10.${1 + random.int(4)}.0.2 `,
      `ip6 saddr fd00:${1 + random.int(4)}::2 `,
      `tcp dport ${random.pick([53, 80, 443])} `,
      'ct state established ',
      `meta mark ${random.pick(['0x1', '0x2'])} `,
    ]);
    const code = random.pick(['no-route', 'port-unreachable', 'host-unreachable', 'admin-prohibited']);
    const how = random.chance(0.4)
      ? 'meta l4proto tcp reject with tcp reset'
      : `reject with icmpx type ${code}`;
    return `${matches}${random.chance(0.5) ? 'meta l4proto { tcp, udp, icmp, ipv6-icmp } ' : ''}${how}`;
  };
  const chain = (hook: (typeof hooks)[number]) => [
    `chain ${hook} {`,
    `type filter hook ${hook} priority ${random.pick([-120, -50, 5, 120])};`,
    ...Array.from({ length: 1 + random.int(2) }, some),
    '}',
  ];
  return ['table inet podpath-more {', ...hooks.filter(() => random.chance(0.6)).flatMap(chain), '}'];
}

/** Resets among the rejects, and the other devices among the names. */
const varied = (random: Random, rules: string): string =>
  rules
    .split('\n')
    .map((line) =>
      line.startsWith('-A') && / -p tcp /.test(line) && random.chance(0.4)
        ? line.replace(/--reject-with \S+/, '--reject-with tcp-reset')
        : random.chance(0.4)
          ? line.replace('icmp-port-unreachable', random.pick(unreachable))
          : line,
    )
    .map((line) =>
      random.chance(0.3) ? line.replace(/(-[io]) (tin|tout)\b/, `$1 ${random.pick(['tc', 'td'])}`) : line,
    )
    .join('\n');

/**
 * Marks do not leave a namespace: the last rules of mangle POSTROUTING write two bits of them into the traffic class, which
 * the oracle compares.
 */
function showingMarks(rules: string): string {
  const shown = ['0x1/0x1 0x04/0x04', '0x2/0x2 0x08/0x08', '0x40/0x40 0x10/0x10'].map((pair) => {
    const [mark, tos] = pair.split(' ');
    return `-A POSTROUTING -m mark --mark ${mark} -j TOS --set-tos ${tos}`;
  });
  const own = `${shown.join('\n')}\nCOMMIT\n`;
  if (!rules.includes('*mangle')) return `${rules}*mangle\n:POSTROUTING ACCEPT [0:0]\n${own}`;
  const [before = '', after = ''] = rules.split('*mangle\n');
  return `${before}*mangle\n${after.replace('COMMIT\n', own)}`;
}

const emptyTables = ['raw', 'mangle', 'nat', 'filter'].map((table) => `*${table}\nCOMMIT\n`).join('');

const input = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');

/** Brings the namespace back to its start and loads the world. */
function loading({ backend, routing4, routing6, sets, rules4, rules6, native }: WorldText): Command[] {
  const commands: Command[] = [];
  const clear = (family: 4 | 6) => [
    ...['100', '101'].map((table) => `route flush table ${table}`),
    'route flush table main proto boot',
    // Spares the local table's rule.
    'rule flush',
    'rule add pref 32766 table main',
    ...(family === 4 ? ['rule add pref 32767 table default'] : []),
  ];
  for (const [family, lines] of [
    [4, routing4],
    [6, routing6],
  ] as const)
    commands.push({
      argv: ['ip', `-${family}`, '-force', '-batch', '-'],
      input: input([...clear(family), ...lines]),
      free: true,
    });
  commands.push({ argv: ['nft', 'flush', 'ruleset'] });
  if (backend === 'legacy')
    for (const tool of ['iptables-legacy-restore', 'ip6tables-legacy-restore'])
      commands.push({ argv: [tool], input: emptyTables });
  commands.push({ argv: ['ipset', 'flush'] });
  if (sets.length > 0) commands.push({ argv: ['ipset', '-exist', 'restore'], input: input(sets) });
  if (native.length > 0) commands.push({ argv: ['nft', '-f', '-'], input: native.join('\n') });
  const tool = backend === 'legacy' ? 'legacy' : 'nft';
  if (rules4.length > 0) commands.push({ argv: [`iptables-${tool}-restore`], input: input(rules4) });
  if (rules6.length > 0) commands.push({ argv: [`ip6tables-${tool}-restore`], input: input(rules6) });
  commands.push({ argv: ['conntrack', '-F'], free: true });
  return commands;
}

/** What a snapshot holds of a namespace, as far as the oracles' namespaces have it. */
const files: readonly (readonly [string, readonly string[], Backend?])[] = [
  ['ip-link.json', ['ip', '-j', '-d', 'link', 'show']],
  ['ip-addr.json', ['ip', '-j', 'addr', 'show']],
  ['ip-route.json', ['ip', '-j', '-4', 'route', 'show', 'table', 'all']],
  ['ip-route6.json', ['ip', '-j', '-6', 'route', 'show', 'table', 'all']],
  ['ip-rule.json', ['ip', '-j', '-4', 'rule', 'show']],
  ['ip-rule6.json', ['ip', '-j', '-6', 'rule', 'show']],
  ['nft.json', ['nft', '-j', 'list', 'ruleset']],
  ['iptables-save.txt', ['iptables-nft-save', '-c']],
  ['ip6tables-save.txt', ['ip6tables-nft-save', '-c']],
  ['iptables-legacy-save.txt', ['iptables-legacy-save', '-c'], 'legacy'],
  ['ip6tables-legacy-save.txt', ['ip6tables-legacy-save', '-c'], 'legacy'],
  ['ipset.txt', ['ipset', 'save']],
];

const sysctlKeys = [
  ...[
    'rp_filter',
    'forwarding',
    'accept_local',
    'route_localnet',
    'src_valid_mark',
    'bc_forwarding',
    'ignore_routes_with_linkdown',
  ].map((key) => `net.ipv4.conf.*.${key}`),
  ...['forwarding', 'force_forwarding', 'disable_ipv6', 'hop_limit', 'ignore_routes_with_linkdown'].map(
    (key) => `net.ipv6.conf.*.${key}`,
  ),
  ...['ip_forward', 'ip_default_ttl', 'fwmark_reflect', 'icmp_*'].map((key) => `net.ipv4.${key}`),
  'net.ipv6.fwmark_reflect',
  'net.ipv6.icmp.*',
  'net.netfilter.nf_conntrack_tcp_*',
];

/** Loads the world and reads back what the kernel has. A string is what a tool said that refused its rules. */
export async function load(kernel: KernelNamespace, world: WorldText): Promise<Netns | string> {
  const reads = files.filter(([, , only]) => only === undefined || only === world.backend);
  const before = loading(world);
  const done = await kernel.run({
    sysctl: world.settings.map((line): [string, string] => {
      const [key = '', value = ''] = line.split(' ');
      return [key, value];
    }),
    run: [...before, ...reads.map(([, argv]) => ({ argv }))],
    keys: sysctlKeys,
  });
  if (done.failed !== undefined) {
    const smaller = withoutRefused(world, done.failed);
    return smaller === undefined ? done.failed : load(kernel, smaller);
  }
  // Reading the legacy tables of a world without any would cost two processes; none were loaded.
  const texts = new Map<string, string>([
    ['sysctl.txt', done.sysctl],
    ['iptables-legacy-save.txt', ''],
    ['ip6tables-legacy-save.txt', ''],
  ]);
  for (const [i, [file]] of reads.entries()) texts.set(file, done.out[before.length + i] ?? '');
  return buildNetns('node1', 'node1', undefined, (file) => texts.get(file), 'nodes/node1/');
}

/** nft refuses some combinations (tcp and udp fields in one rule): those lines are left out. */
function withoutRefused(world: WorldText, failed: string): WorldText | undefined {
  const refused = new Set([...failed.matchAll(/stdin:(\d+):.*Error/g)].map((match) => Number(match[1])));
  if (refused.size === 0) return undefined;
  return { ...world, native: world.native.filter((_, i) => !refused.has(i + 1)) };
}
