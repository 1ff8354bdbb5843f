/** Random routing states: devices up and down, addresses, routes of every kind, next hop objects, rules and settings. */
import type { Netns } from '../../src/model/netns.ts';
import { type Family, formatAddress, parseAddress } from '../../src/net/address.ts';
import { exec } from '../../src/system/exec.ts';
import { inNetns, type Random, readNetns, run } from './netfilter-support.ts';

export const devices = ['d0', 'd1', 'd2', 'd3', 'd4'] as const;
const nets = [0, 1, 2, 3, 4, 50, 51, 77];

export const routingFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-route6.json',
  'ip-nexthop.json',
  'ip-rule.json',
  'ip-rule6.json',
  'ip-neigh.json',
  'sysctl.txt',
];

/** Octets from a small alphabet, so that prefixes overlap and lookups hit. */
export function someAddress(random: Random, family: Family): string {
  const n = () => random.pick([0, 1, 2, 3, 9]);
  return family === 4 ? `10.${random.pick(nets)}.${n()}.${n()}` : `fd00:${random.pick(nets)}::${n()}:${n()}`;
}

function somePrefix(random: Random, family: Family): string {
  const length = random.pick(
    family === 4 ? [0, 0, 8, 15, 16, 23, 24, 30, 32] : [0, 0, 16, 31, 32, 64, 112, 127, 128],
  );
  if (length === 0) return 'default';
  const base = parseAddress(someAddress(random, family));
  if (base === undefined) throw new Error('no address');
  const host = BigInt((family === 4 ? 32 : 128) - length);
  return `${formatAddress({ family, value: (base.value >> host) << host })}/${length}`;
}

/** A fresh namespace: whether rules were ever added or taken away changes how IPv4 keeps its tables. */
export async function randomWorld(name: string, random: Random): Promise<Netns> {
  await run(['ip', 'netns', 'add', name]);
  const keys = ['default', 'all'].flatMap((which) => [
    `net.ipv6.conf.${which}.accept_dad=0`,
    `net.ipv6.conf.${which}.dad_transmits=0`,
  ]);
  await run(inNetns(name, ['sysctl', '-qw', ...keys, 'net.ipv6.conf.default.ignore_routes_with_linkdown=0']));
  const quiet = await batch(name, deviceLines(random));
  if (quiet !== '') throw new Error(`devices: ${quiet}`);
  await run(inNetns(name, ['sysctl', '-qw', ...settings(random)]));
  // Carriers are lost after the settings: which next hops count is worked out when that happens.
  await batch(name, downLines(random));
  // A carrier's loss is told to the routes by a queued event (linkwatch).
  await new Promise((done) => setTimeout(done, 20));
  const withObjects = random.chance(0.5);
  for (const family of [4, 6] as const) await batch(name, stateLines(random, family, withObjects), family);
  if (random.chance(0.3)) await batch(name, [`link set ${random.pick(devices)} down`]);
  if (random.chance(0.4)) await batch(name, lostLocalLines(random));
  return readNetns(name, routingFiles);
}

/** Some lines are refused (a duplicate, a gateway on a device that is down): what was taken is read back. */
export async function batch(name: string, lines: readonly string[], family?: Family): Promise<string> {
  let said = '';
  for (const part of byFamily(lines)) {
    // A group of next hop objects has no family.
    const flag = family === undefined || isGroup(part[0] ?? '') ? [] : [`-${family}`];
    const result = await exec(['ip', '-n', name, ...flag, '-force', '-batch', '-'], {
      input: `${part.join('\n')}\n`,
    });
    said += result.stderr;
  }
  return said;
}

const isGroup = (line: string): boolean => / group \d/.test(line) && line.startsWith('nexthop');

/** Runs of lines that are groups, or are not. */
function byFamily(lines: readonly string[]): readonly (readonly string[])[] {
  const parts: string[][] = [];
  for (const line of lines) {
    const last = parts.at(-1);
    if (last !== undefined && isGroup(last[0] ?? '') === isGroup(line)) last.push(line);
    else parts.push([line]);
  }
  return parts;
}

/** Veth pairs with both ends inside: this kernel may lack dummy devices. */
function deviceLines(random: Random): string[] {
  const lines = ['link set lo up'];
  for (const [i, device] of devices.entries()) {
    lines.push(`link add ${device} type veth peer name p${i}`, `link set p${i} up`, `link set ${device} up`);
    if (random.chance(0.2)) lines.push(`link set ${device} group ${random.pick([3, 4])}`);
    if (i === 4 && random.chance(0.5)) continue;
    lines.push(`addr add 10.${i}.0.1/24 brd + dev ${device}`, `addr add fd00:${i}::1/64 dev ${device}`);
    if (random.chance(0.5)) lines.push(`addr add 10.${i}.0.9/24 dev ${device}`);
  }
  lines.push('addr add 10.77.0.1/32 dev d1 scope link', 'addr add 10.50.0.1/16 dev d0');
  return lines;
}

function settings(random: Random): string[] {
  const bit = (chance: number) => (random.chance(chance) ? 1 : 0);
  const lines = [
    // Writing the general ones sets every device's own: they come first.
    `net.ipv4.ip_forward=${bit(0.9)}`,
    `net.ipv6.conf.all.forwarding=${bit(0.6)}`,
    `net.ipv4.conf.all.rp_filter=${random.pick([0, 0, 0, 1, 2])}`,
    `net.ipv4.conf.all.accept_local=${bit(0.1)}`,
    `net.ipv4.conf.all.route_localnet=${bit(0.1)}`,
    `net.ipv4.conf.all.send_redirects=${bit(0.5)}`,
    `net.ipv4.conf.all.bc_forwarding=${bit(0.3)}`,
    `net.ipv4.conf.all.ignore_routes_with_linkdown=${bit(0.1)}`,
    `net.ipv4.fib_multipath_use_neigh=${bit(0.3)}`,
    `net.ipv4.fib_multipath_hash_policy=${random.pick([0, 1])}`,
    `net.ipv6.fib_multipath_hash_policy=${random.pick([0, 1])}`,
    `net.ipv4.nexthop_compat_mode=${bit(0.7)}`,
  ];
  for (const device of devices)
    lines.push(
      `net.ipv4.conf.${device}.rp_filter=${random.pick([0, 0, 1, 2])}`,
      `net.ipv4.conf.${device}.accept_local=${bit(0.1)}`,
      `net.ipv4.conf.${device}.route_localnet=${bit(0.1)}`,
      `net.ipv4.conf.${device}.send_redirects=${bit(0.5)}`,
      `net.ipv4.conf.${device}.src_valid_mark=${bit(0.3)}`,
      `net.ipv4.conf.${device}.ignore_routes_with_linkdown=${bit(0.4)}`,
      `net.ipv6.conf.${device}.ignore_routes_with_linkdown=${bit(0.4)}`,
      `net.ipv4.conf.${device}.bc_forwarding=${bit(0.3)}`,
      ...(random.chance(0.1) ? [`net.ipv4.conf.${device}.forwarding=0`] : []),
    );
  return lines;
}

const downLines = (random: Random): string[] =>
  devices.flatMap((device, i) => {
    const kind = random.int(8);
    if (kind === 0) return [`link set ${device} down`];
    return kind === 1 ? [`link set p${i} down`] : [];
  });

function stateLines(random: Random, family: Family, withObjects: boolean): string[] {
  const lines = withObjects ? objectLines(random, family) : [];
  for (let i = random.int(8); i > 0; i--) lines.push(someNeighbour(random, family));
  const seen = new Map<string, { gateways: number; others: number }>();
  for (let i = 10 + random.int(25); i > 0; i--) {
    const line = someRoute(random, family, withObjects);
    if (family === 4 || isShown(line, seen)) lines.push(line);
  }
  if (random.chance(0.7)) for (let i = 1 + random.int(7); i > 0; i--) lines.push(someRule(random, family));
  return lines;
}

/**
 * IPv6 routes by gateways of one prefix and metric are one multipath route, and a dump jumps from the first of them to the
 * last: what stands between, of the same metric but another kind, it does not show (fib6_dump_node, rt6_dump_route).
 */
function isShown(line: string, seen: Map<string, { gateways: number; others: number }>): boolean {
  const key = line.replace(
    /^route append (?:(?:blackhole|unreachable|prohibit|throw) )?(\S+).* table (\S+) metric (\d+).*$/,
    '$1 $2 $3',
  );
  const counts = seen.get(key) ?? { gateways: 0, others: 0 };
  const gateways = counts.gateways + (line.match(/ via /g)?.length ?? 0);
  const others = counts.others + (line.includes(' via ') ? 0 : 1);
  if (gateways > 1 && others > 0) return false;
  seen.set(key, { gateways, others });
  return true;
}

/** Entries of the local table that somebody has deleted: broadcasts and own addresses, also in bulk. */
function lostLocalLines(random: Random): string[] {
  if (random.chance(0.2)) return [`route flush table local type ${random.pick(['broadcast', 'local'])}`];
  return Array.from({ length: 1 + random.int(5) }, () => {
    const i = random.int(5);
    const entry = random.pick([
      `broadcast 10.${i}.0.255`,
      `broadcast 10.50.255.255`,
      `broadcast 127.255.255.255`,
      `local 10.${i}.0.1`,
      `local 10.${i}.0.9`,
      `local 10.50.0.1`,
      `local 127.0.0.0/8`,
      `local 127.0.0.1`,
    ]);
    return `route del ${entry} table local`;
  });
}

function objectLines(random: Random, family: Family): string[] {
  const base = family * 10;
  const lines = [1, 2, 3, 4].map((i) => {
    const device = random.pick(devices);
    return `nexthop add id ${base + i} via ${someGateway(random, family, device)} dev ${device} onlink`;
  });
  const weight = () => 1 + random.int(3);
  return [
    ...lines,
    `nexthop add id ${base + 5} group ${base + 1},${weight()}/${base + 2},${weight()}`,
    `nexthop add id ${base + 6} group ${base + 2}/${base + 3}/${base + 4},2`,
    `nexthop add id ${base + 7} blackhole`,
    `nexthop add id ${base + 8} dev ${random.pick(devices)}`,
  ];
}

function someGateway(random: Random, family: Family, device: string): string {
  const i = device.slice(1);
  return family === 4 ? `10.${i}.0.${random.pick([2, 3])}` : `fd00:${i}::${random.pick([2, 3])}`;
}

function someNeighbour(random: Random, family: Family): string {
  const device = random.pick(devices);
  const state = random.pick(['failed', 'failed', 'reachable', 'stale', 'permanent']);
  return `neigh replace ${someGateway(random, family, device)} dev ${device} lladdr 02:00:00:00:00:01 nud ${state}`;
}

const tables = ['main', 'main', 'main', '100', '101', '102'];

function someRoute(random: Random, family: Family, withObjects: boolean): string {
  const metric = random.pick([0, 0, 10, 20].map((one) => one + (family === 6 ? 1 : 0)));
  const prefix = somePrefix(random, family);
  const tos = family === 4 && random.chance(0.1) ? ` tos ${random.pick(['0x10', '0x08'])}` : '';
  const from = family === 6 && random.chance(0.05) ? ` from ${somePrefix(random, 6)}` : '';
  const tail = `${tos}${from} table ${random.pick(tables)} metric ${metric}`;
  if (random.chance(0.15))
    return `route append ${random.pick(['blackhole', 'unreachable', 'prohibit', 'throw'])} ${prefix}${tail}`;
  const mtu = random.chance(0.15)
    ? ` mtu ${random.chance(0.3) ? 'lock ' : ''}${random.pick([1280, 1400])}`
    : '';
  if (withObjects && random.chance(0.35))
    return `route append ${prefix}${tail}${mtu} nhid ${family * 10 + 1 + random.int(8)}`;
  const hop = (device: string) => `via ${someGateway(random, family, device)} dev ${device} onlink`;
  if (random.chance(0.2)) {
    const hops = Array.from(
      { length: 2 + random.int(3) },
      () => ` nexthop ${hop(random.pick(devices))} weight ${1 + random.int(4)}`,
    );
    return `route append ${prefix}${tail}${mtu}${hops.join('')}`;
  }
  const device = random.pick(devices);
  const pref = family === 6 && random.chance(0.2) ? ` pref ${random.pick(['low', 'high'])}` : '';
  const source = family === 4 && random.chance(0.2) ? ` src 10.${random.pick([0, 1, 2])}.0.1` : '';
  if (random.chance(0.35)) return `route append ${prefix} dev ${device}${tail}${mtu}${source}${pref}`;
  if (family === 4 && random.chance(0.05)) return `route append local ${prefix} dev lo${tail}`;
  return `route append ${prefix} ${hop(device)}${tail}${mtu}${source}${pref}`;
}

function someRule(random: Random, family: Family): string {
  const prefix = () => somePrefix(random, family).replace('default', 'all');
  const parts = [`rule add${random.chance(0.15) ? ' not' : ''} pref ${random.pick([10, 20, 30, 40, 50])}`];
  const maybe = (chance: number, text: () => string) => {
    if (random.chance(chance)) parts.push(text());
  };
  maybe(0.3, () => `from ${prefix()}`);
  maybe(0.25, () => `to ${prefix()}`);
  maybe(0.2, () => `iif ${random.pick([...devices, 'lo', 'gone'])}`);
  maybe(0.1, () => `oif ${random.pick(devices)}`);
  maybe(0.25, () => `fwmark ${random.pick(['1', '2', '0x10/0x10', '0/0xff'])}`);
  maybe(0.1, () => `tos ${random.pick(['0x10', '0x08'])}`);
  maybe(0.15, () => `ipproto ${random.pick(['tcp', 'udp', '6', '17'])}`);
  maybe(0.1, () => `sport ${random.pick(['4000', '4000-5000'])}`);
  maybe(0.1, () => `dport ${random.pick(['80', '53-100'])}`);
  maybe(0.1, () => `uidrange ${random.pick(['0-0', '0-99', '1000-2000', '0-4294967295'])}`);
  const action = random.int(14);
  if (action === 0) parts.push(random.pick(['blackhole', 'unreachable', 'prohibit']));
  else if (action === 1) parts.push(`goto ${random.pick([40, 50, 60])}`);
  else if (action === 2) parts.push('nop');
  else {
    parts.push(`table ${random.pick(['100', '101', '102', 'main', '200'])}`);
    if (random.chance(0.15)) parts.push(`suppress_prefixlength ${random.pick([0, 8, 24])}`);
    if (random.chance(0.15)) parts.push(`suppress_ifgroup ${random.pick([3, 4])}`);
  }
  return parts.join(' ');
}
