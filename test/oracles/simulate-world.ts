/** Random whole namespaces: devices, addresses, routes, routing rules, settings, and packet filters of every tool. */
import type { Netns } from '../../src/model/netns.ts';
import { exec } from '../../src/system/exec.ts';
import { randomRules, randomSets } from './netfilter-rules.ts';
import { inNetns, makeNetns, type Random, readNetns, run } from './netfilter-support.ts';
import { randomNftRules } from './nft-rules.ts';

/** TUN devices, the third octet group of their networks, and their MTU: 10.N.0.1/16 and fd00:N::1/64. */
export const tuns = [
  { name: 'tin', net: 1, mtuBytes: 1500 },
  { name: 'tout', net: 2, mtuBytes: 1500 },
  { name: 'tc', net: 3, mtuBytes: 1400 },
  { name: 'td', net: 4, mtuBytes: 1280 },
] as const;

export type Backend = 'nft' | 'legacy' | 'native';

export async function setUp(name: string): Promise<void> {
  await makeNetns(name);
  const lines = ['link set lo up'];
  for (const { name: device, net, mtuBytes } of tuns)
    lines.push(
      `tuntap add mode tun name ${device}`,
      `link set ${device} addrgenmode none mtu ${mtuBytes} up`,
      `addr add 10.${net}.0.1/16 dev ${device}`,
      `addr add fd00:${net}::1/64 dev ${device} nodad`,
    );
  await run(inNetns(name, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
  const settings = [
    'net.ipv4.icmp_ratelimit=0',
    'net.ipv4.icmp_ratemask=0',
    'net.ipv4.icmp_echo_ignore_all=1',
    'net.ipv4.conf.all.send_redirects=0',
    'net.ipv4.conf.all.route_localnet=0',
    'net.ipv6.icmp.ratelimit=0',
    'net.ipv6.icmp.echo_ignore_all=1',
    'net.ipv6.auto_flowlabels=0',
    ...tuns.map(({ name: device }) => `net.ipv4.conf.${device}.send_redirects=0`),
  ];
  await run(inNetns(name, ['sysctl', '-qw', ...settings]));
}

/** Loads a random state and reads back what the kernel has. Undefined if a tool refused its rules. */
export async function randomWorld(
  name: string,
  random: Random,
  backend: Backend,
): Promise<Netns | undefined> {
  await run(inNetns(name, ['sysctl', '-qw', ...settings(random)]));
  await routing(name, random);
  if (!(await filters(name, random, backend))) return undefined;
  await exec(inNetns(name, ['conntrack', '-F']));
  return readNetns(name, filesOf(backend));
}

function settings(random: Random): string[] {
  const bit = (chance: number) => (random.chance(chance) ? 1 : 0);
  const lines = [
    // Writing ip_forward sets every device's own: it comes first.
    `net.ipv4.ip_forward=${bit(0.93)}`,
    `net.ipv6.conf.all.forwarding=${bit(0.93)}`,
    `net.ipv4.conf.all.rp_filter=${random.pick([0, 0, 0, 1, 2])}`,
    `net.ipv4.conf.all.accept_local=${bit(0.1)}`,
    `net.netfilter.nf_conntrack_tcp_loose=${bit(0.8)}`,
  ];
  for (const { name: device } of tuns)
    lines.push(
      `net.ipv4.conf.${device}.rp_filter=${random.pick([0, 0, 0, 1, 2])}`,
      `net.ipv4.conf.${device}.route_localnet=${bit(0.1)}`,
      `net.ipv4.conf.${device}.accept_local=${bit(0.1)}`,
      `net.ipv4.conf.${device}.src_valid_mark=${bit(0.2)}`,
      ...(random.chance(0.05) ? [`net.ipv4.conf.${device}.forwarding=0`] : []),
    );
  return lines;
}

const tables = ['main', 'main', '100', '101'];

async function routing(name: string, random: Random): Promise<void> {
  for (const family of [4, 6] as const) {
    const ip = ['ip', `-${family}`, '-force', '-batch', '-'];
    const lines = ['100', '101'].map((table) => `route flush table ${table}`);
    lines.push('route flush table main proto boot', 'rule flush', 'rule add pref 32766 table main');
    if (family === 4) lines.push('rule add pref 32767 table default');
    // `rule flush` spares the local table's rule.
    for (let i = random.int(9); i > 0; i--) lines.push(someRoute(random, family));
    if (random.chance(0.6)) for (let i = 1 + random.int(4); i > 0; i--) lines.push(someRule(random, family));
    await exec(inNetns(name, ip), { input: `${lines.join('\n')}\n` });
  }
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
    if (random.chance(0.2)) parts.push(`suppress_prefixlength ${random.pick([0, 16])}`);
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
    .replace(/icmp-admin-prohibited/g, 'icmp6-adm-prohibited')
    .replace(/LOCAL,BROADCAST/g, 'LOCAL')
    .replace(/--length 0:39/g, '--length 0:59')
    .replace(/--length 40/g, '--length 60')
    .replace(/--length 41:100/g, '--length 61:120');

/** Resets among the rejects, and the other devices among the names. */
const varied = (random: Random, rules: string): string =>
  rules
    .split('\n')
    .map((line) =>
      line.startsWith('-A') && / -p tcp /.test(line) && random.chance(0.4)
        ? line.replace(/--reject-with \S+/, '--reject-with tcp-reset')
        : line,
    )
    .map((line) =>
      random.chance(0.3) ? line.replace(/(-[io]) (tin|tout)\b/, `$1 ${random.pick(['tc', 'td'])}`) : line,
    )
    .join('\n');

const emptyTables = ['raw', 'mangle', 'nat', 'filter'].map((table) => `*${table}\nCOMMIT\n`).join('');

async function filters(name: string, random: Random, backend: Backend): Promise<boolean> {
  await run(inNetns(name, ['nft', 'flush', 'ruleset']));
  if (backend === 'legacy')
    for (const tool of ['iptables-legacy-restore', 'ip6tables-legacy-restore'])
      await run(inNetns(name, [tool]), emptyTables);
  await run(inNetns(name, ['ipset', 'flush']));
  const sets = randomSets(random);
  await run(inNetns(name, ['ipset', '-exist', 'restore']), sets + toIpv6(sets));
  if (backend === 'native' && !(await loadNative(name, randomNftRules(random).split('\n')))) return false;
  if (backend === 'native' && random.chance(0.7)) return true;
  const tool = backend === 'legacy' ? 'legacy' : 'nft';
  const rules = [varied(random, randomRules(random)), toIpv6(varied(random, randomRules(random)))];
  for (const [i, family] of ['', '6'].entries()) {
    const loaded = await exec(inNetns(name, [`ip${family}tables-${tool}-restore`]), {
      input: rules[i] ?? '',
    });
    if (loaded.code !== 0) {
      if (process.env.PODPATH_ORACLE_DEBUG !== undefined) console.log(loaded.stderr, rules[i]);
      return false;
    }
  }
  return true;
}

/** nft refuses some combinations (tcp and udp fields in one rule): those lines are left out. */
async function loadNative(name: string, lines: readonly string[], tries = 12): Promise<boolean> {
  const loaded = await exec(inNetns(name, ['nft', '-f', '-']), { input: lines.join('\n') });
  if (loaded.code === 0) return true;
  const refused = new Set(
    [...loaded.stderr.matchAll(/stdin:(\d+):.*Error/g)].map((match) => Number(match[1])),
  );
  if (refused.size === 0 || tries === 0) return false;
  return loadNative(
    name,
    lines.filter((_, i) => !refused.has(i + 1)),
    tries - 1,
  );
}

const filesOf = (backend: Backend): readonly string[] => [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-route6.json',
  'ip-rule.json',
  'ip-rule6.json',
  'nft.json',
  'iptables-save.txt',
  'ip6tables-save.txt',
  ...(backend === 'legacy' ? ['iptables-legacy-save.txt', 'ip6tables-legacy-save.txt'] : []),
  'ipset.txt',
  'sysctl.txt',
];
