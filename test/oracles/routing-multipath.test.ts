/** Multipath: which next hop a flow gets is the kernel's hash with a seed of its own. Its choices are among ours, in our shares. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lookupRoute } from '../../src/dataplane/routing.ts';
import { address, type Family, formatAddress } from '../../src/net/address.ts';
import { exec } from '../../src/system/exec.ts';
import { cannotRun, inNetns, readNetns, run } from './netfilter-support.ts';
import { batch, routingFiles } from './routing-world.ts';

const why = cannotRun();
if (why !== undefined) console.log(`multipath oracle skipped: ${why}`);

const name = `pp-routes-${process.pid}-hash`;
const flows = 4000;
/** Chi-square that chance passes once in a million, by degrees of freedom. */
const limit = [0, 23.9, 27.6, 30.7] as const;

interface Case {
  readonly title: string;
  readonly family: Family;
  readonly sysctl?: readonly string[];
  readonly ip: readonly string[];
  readonly src?: string;
  /** Devices that must never be chosen. */
  readonly never?: readonly string[];
}

const four = (rest: string) => `route add 192.0.2.0/24 ${rest}`;
const six = (rest: string) => `route add 2001:db8::/64 ${rest}`;
const hop = (i: number, weight: number, family: Family = 4) =>
  `nexthop via ${family === 4 ? `10.${i}.0.2` : `fd00:${i}::2`} dev d${i} weight ${weight}`;

const cases: readonly Case[] = [
  { title: 'equal weights', family: 4, ip: [four(`${hop(0, 1)} ${hop(1, 1)}`)] },
  { title: 'weights 1, 2, 5', family: 4, ip: [four(`${hop(0, 1)} ${hop(1, 2)} ${hop(2, 5)}`)] },
  {
    title: 'a source of one next hop draws every flow to it',
    family: 4,
    ip: [four(`${hop(0, 1)} ${hop(1, 2)} ${hop(2, 5)}`)],
    src: '10.0.0.1',
  },
  {
    title: 'a device that is down has no share',
    family: 4,
    ip: [four(`${hop(0, 1)} ${hop(1, 2)} ${hop(2, 5)}`), 'link set d1 down'],
    never: ['d1'],
  },
  {
    title: 'nor has one without carrier where routes are ignored then',
    family: 4,
    sysctl: ['net.ipv4.conf.d2.ignore_routes_with_linkdown=1'],
    ip: [four(`${hop(0, 1)} ${hop(1, 2)} ${hop(2, 5)}`), 'link set p2 down'],
    never: ['d2'],
  },
  {
    title: 'with fib_multipath_use_neigh a failed neighbour leaves its flows to the next',
    family: 4,
    sysctl: ['net.ipv4.fib_multipath_use_neigh=1'],
    ip: [four(`${hop(0, 3)} ${hop(1, 2)} ${hop(2, 5)}`), 'neigh add 10.0.0.2 dev d0 nud failed'],
    never: ['d0'],
  },
  {
    title: 'a group of next hop objects',
    family: 4,
    ip: [
      ...[0, 1, 2].map((i) => `nexthop add id ${i + 1} via 10.${i}.0.2 dev d${i}`),
      'nexthop add id 9 group 1,1/2,2/3,5',
      four('nhid 9'),
    ],
  },
  {
    title: 'a group with a failed neighbour in its middle',
    family: 4,
    ip: [
      ...[0, 1, 2].map((i) => `nexthop add id ${i + 1} via 10.${i}.0.2 dev d${i}`),
      'nexthop add id 9 group 1,3/2,2/3,5',
      four('nhid 9'),
      'neigh add 10.1.0.2 dev d1 nud failed',
    ],
    never: ['d1'],
  },
  {
    title: 'weights 1, 2, 5 in IPv6',
    family: 6,
    ip: [six(`${hop(0, 1, 6)} ${hop(1, 2, 6)} ${hop(2, 5, 6)}`)],
  },
  {
    title: 'a device that is down in IPv6',
    family: 6,
    ip: [six(`${hop(0, 1, 6)} ${hop(1, 2, 6)} ${hop(2, 5, 6)}`), 'link set d1 down'],
    never: ['d1'],
  },
  {
    title: 'an IPv6 host gives the flows of a failed neighbour to the one that it looked up',
    family: 6,
    sysctl: ['net.ipv6.conf.all.forwarding=0'],
    ip: [six(`${hop(0, 1, 6)} ${hop(1, 2, 6)} ${hop(2, 5, 6)}`), 'neigh add fd00:1::2 dev d1 nud failed'],
    never: ['d1'],
  },
];

/** Pearson's statistic of what was seen against shares; and how many classes there are. */
function chiSquare(seen: ReadonlyMap<string, number>, shares: ReadonlyMap<string, number>): number {
  const total = [...seen.values()].reduce((sum, count) => sum + count, 0);
  return [...shares].reduce((sum, [device, share]) => {
    const expected = share * total;
    return sum + ((seen.get(device) ?? 0) - expected) ** 2 / expected;
  }, 0);
}

async function ourShares(family: Family, src: string | undefined): Promise<ReadonlyMap<string, number>> {
  const netns = await readNetns(name, routingFiles);
  const dst = address(family === 4 ? '192.0.2.1' : '2001:db8::1');
  const result = lookupRoute(netns, src === undefined ? { dst } : { dst, src: address(src) });
  const shares = new Map<string, number>();
  if (result.state === 'found')
    for (const { nexthop, share } of result.alternatives)
      shares.set(nexthop.device ?? '', (shares.get(nexthop.device ?? '') ?? 0) + share);
  return shares;
}

/** The device of each of many flows: their ports differ, and where the hash knows addresses only, their destinations. */
async function kernelChoices(family: Family, src: string | undefined, by: 'port' | 'address') {
  const lines = Array.from({ length: flows }, (_, i) => {
    const base = address(family === 4 ? '192.0.2.0' : '2001:db8::');
    const value = base.value + BigInt(by === 'address' ? (i % 250) + 1 : 1);
    const dst = by === 'address' && family === 6 ? base.value + BigInt(i * 7919 + 1) : value;
    const port = 1024 + i * 13;
    return `route get ${formatAddress({ family, value: dst })}${src === undefined ? '' : ` from ${src}`} ipproto udp sport ${port} dport 53`;
  });
  const argv = ['ip', '-n', name, `-${family}`, '-j', '-batch', '-'];
  const result = await exec(argv, { input: `${lines.join('\n')}\n` });
  expect(result.stderr).toBe('');
  const seen = new Map<string, number>();
  for (const [, device = ''] of result.stdout.matchAll(/"dev":"(\w+)"/g))
    seen.set(device, (seen.get(device) ?? 0) + 1);
  return seen;
}

function agree(seen: ReadonlyMap<string, number>, shares: ReadonlyMap<string, number>): void {
  const text = `kernel ${[...seen].join(' ')}, ours ${[...shares].join(' ')}`;
  for (const device of seen.keys()) expect(shares.has(device), text).toBe(true);
  expect(chiSquare(seen, shares), text).toBeLessThan(
    shares.size === 1 ? 1e-9 : (limit[shares.size - 1] ?? 0),
  );
}

describe.skipIf(why !== undefined)('multipath', () => {
  beforeEach(async () => {
    await run(['ip', 'netns', 'add', name]);
    await run(inNetns(name, ['sysctl', '-qw', 'net.ipv6.conf.default.accept_dad=0']));
    const lines = [0, 1, 2].flatMap((i) => [
      `link add d${i} type veth peer name p${i}`,
      `link set p${i} up`,
      `link set d${i} up`,
      `addr add 10.${i}.0.1/24 dev d${i}`,
      `addr add fd00:${i}::1/64 dev d${i} nodad`,
    ]);
    expect(await batch(name, ['link set lo up', ...lines])).toBe('');
  });
  afterEach(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test.each(cases)('$title', async ({ family, sysctl = [], ip, src, never = [] }) => {
    const hashed = [`net.ipv${family}.fib_multipath_hash_policy=1`, 'net.ipv6.conf.all.forwarding=1'];
    await run(inNetns(name, ['sysctl', '-qw', ...hashed, ...sysctl]));
    expect(await batch(name, ip, family)).toBe('');
    // A lost carrier is told to the routes by a queued event (linkwatch).
    if (ip.some((line) => line.endsWith('down'))) await new Promise((done) => setTimeout(done, 1500));
    const seen = await kernelChoices(family, src, 'port');
    const shares = await ourShares(family, src);
    for (const device of never) expect(seen.has(device), device).toBe(false);
    agree(seen, shares);
  });

  test('by the outer addresses alone, ports make no difference: policy 0', async () => {
    await run(inNetns(name, ['sysctl', '-qw', 'net.ipv4.fib_multipath_hash_policy=0']));
    await batch(name, [four(`${hop(0, 1)} ${hop(1, 1)}`)], 4);
    expect((await kernelChoices(4, undefined, 'port')).size).toBe(1);
    const shares = await ourShares(4, undefined);
    for (const device of (await kernelChoices(4, undefined, 'address')).keys())
      expect(shares.has(device)).toBe(true);
  });

  test.each([2, 3])('policy %i keeps to the same next hops', async (policy) => {
    await run(inNetns(name, ['sysctl', '-qw', `net.ipv6.fib_multipath_hash_policy=${policy}`]));
    await batch(name, [six(`${hop(0, 1, 6)} ${hop(1, 3, 6)}`)], 6);
    agree(await kernelChoices(6, undefined, 'address'), await ourShares(6, undefined));
  });

  test('packets that are really sent leave in these shares', async () => {
    await run(inNetns(name, ['sysctl', '-qw', 'net.ipv4.fib_multipath_hash_policy=1']));
    const neighbours = [0, 1, 2].map(
      (i) => `neigh add 10.${i}.0.2 dev d${i} lladdr 02:00:00:00:00:0${i} nud permanent`,
    );
    expect(await batch(name, [four(`${hop(0, 1)} ${hop(1, 2)} ${hop(2, 5)}`), ...neighbours], 4)).toBe('');
    const shares = await ourShares(4, undefined);
    const before = await sentBy();
    // A socket of its own for each flow: a connected one keeps its route.
    const program = `import socket
for port in range(20000, ${20_000 + flows}):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind(('0.0.0.0', port)); s.sendto(b'x', ('192.0.2.1', 53)); s.close()`;
    await run(inNetns(name, ['python3', '-c', program]));
    const after = await sentBy();
    const seen = new Map([...after].map(([device, count]) => [device, count - (before.get(device) ?? 0)]));
    expect([...seen.values()].reduce((sum, count) => sum + count, 0)).toBeGreaterThanOrEqual(flows);
    // A few packets of the kernel's own (router solicitations) leave beside them.
    agree(seen, shares);
  });
});

async function sentBy(): Promise<ReadonlyMap<string, number>> {
  const text = await run(['ip', '-n', name, '-j', '-s', 'link']);
  const list = JSON.parse(text) as { ifname: string; stats64: { tx: { packets: number } } }[];
  return new Map(
    list
      .filter(({ ifname }) => ifname.startsWith('d'))
      .map(({ ifname, stats64 }) => [ifname, stats64.tx.packets]),
  );
}
