/** Tunnels that a test machine's kernel may lack: two nodes as `ip -d -j link` and `wg show` print them, whole and broken. */
import { describe, expect, it } from 'vitest';
import { cluster, node } from '../../../test/support/objects.ts';
import { known } from '../../model/known.ts';
import type { Netns } from '../../model/netns.ts';
import type { Snapshot } from '../../model/snapshot.ts';
import type { Branch } from '../../model/verdict.ts';
import { address } from '../../net/address.ts';
import { formatPacket } from '../../net/packet.ts';
import { packetBytes } from '../../net/wire.ts';
import { buildNetns } from '../../parse/netns.ts';
import { walk } from '../walk.ts';
import { World } from '../world.ts';

type Files = Readonly<Record<string, string>>;

/** What a test says of one node: its tunnel device, the route into it, and files besides. */
interface Side {
  readonly kind: string;
  readonly info: object;
  readonly mtu?: number;
  readonly mac?: string;
  /** Fields of the route to the other side's 10.250.N.0/24. */
  readonly route: object;
  readonly files?: Files;
  readonly down?: boolean;
  readonly absent?: boolean;
}

const nic = (n: number) => `02:00:00:00:00:0${n}`;

function linkFile(n: number, side: Side): string {
  const base = (ifindex: number, ifname: string, mtu: number) => ({
    ifindex,
    ifname,
    mtu,
    flags: ['UP', 'LOWER_UP'],
  });
  return JSON.stringify([
    { ...base(1, 'lo', 65536), link_type: 'loopback', address: '00:00:00:00:00:00' },
    { ...base(2, 'eth0', 1500), link_type: 'ether', address: nic(n) },
    ...(side.absent === true
      ? []
      : [
          {
            ...base(3, 'tun', side.mtu ?? 1400),
            flags: side.down === true ? ['NOARP'] : ['NOARP', 'UP', 'LOWER_UP'],
            ...(side.mac === undefined ? {} : { address: side.mac }),
            linkinfo: { info_kind: side.kind, info_data: side.info },
          },
        ]),
  ]);
}

const local = (dst: string, dev: string) => ({
  type: 'local',
  dst,
  dev,
  table: 'local',
  protocol: 'kernel',
  scope: 'host',
  prefsrc: dst,
  flags: [],
});

function filesOf(n: number, side: Side): Files {
  const other = 3 - n;
  const own = `10.250.${n}.1`;
  const addr = (ifindex: number, ifname: string, ...addr_info: object[]) => ({ ifindex, ifname, addr_info });
  return {
    'ip-link.json': linkFile(n, side),
    'ip-addr.json': JSON.stringify([
      addr(1, 'lo', { family: 'inet', local: own, prefixlen: 32, scope: 'global' }),
      addr(2, 'eth0', { family: 'inet', local: `10.0.0.${n}`, prefixlen: 24, scope: 'global' }),
    ]),
    'ip-route.json': JSON.stringify([
      { dst: '10.0.0.0/24', dev: 'eth0', scope: 'link', prefsrc: `10.0.0.${n}`, flags: [] },
      { dst: `10.250.${other}.0/24`, dev: 'tun', prefsrc: own, flags: [], ...side.route },
      local(own, 'lo'),
      local(`10.0.0.${n}`, 'eth0'),
    ]),
    'ip-rule.json': JSON.stringify([
      { priority: 0, src: 'all', table: 'local' },
      { priority: 32766, src: 'all', table: 'main' },
    ]),
    'ip-neigh.json': JSON.stringify([
      { dst: `10.0.0.${other}`, dev: 'eth0', lladdr: nic(other), state: ['REACHABLE'] },
      ...(side.mac === undefined
        ? []
        : [
            {
              dst: `10.250.${other}.0`,
              dev: 'tun',
              lladdr: side.mac.replace(/.$/, String(other)),
              state: ['PERMANENT'],
            },
          ]),
    ]),
    'bridge-fdb.json': '[]',
    'bridge-link.json': '[]',
    'iptables-save.txt': '',
    'iptables-legacy-save.txt': '',
    'nft.json': '{"nftables":[{"metainfo":{}}]}',
    'ipset.txt': '',
    'conntrack.txt': '',
    'sysctl.txt': ['all', 'eth0', 'tun']
      .flatMap((dev) =>
        ['rp_filter', 'accept_local', 'route_localnet', 'arp_ignore'].map(
          (name) => `net.ipv4.conf.${dev}.${name} = 0\n`,
        ),
      )
      .join('net.ipv4.ip_forward = 1\n'),
    'ss.txt': 'tcp LISTEN 0 5 0.0.0.0:8080 0.0.0.0:*\n',
    ...side.files,
  };
}

function worldOf(a: Side, b: Side): World {
  const netns = (n: number, side: Side): [string, Netns] => {
    const files = filesOf(n, side);
    return [
      `node${n}`,
      buildNetns(`node${n}`, `node${n}`, undefined, (name) => files[name], `nodes/node${n}/`),
    ];
  };
  const snapshot: Snapshot = {
    schema: 1,
    takenAt: '2026-01-01T00:00:00Z',
    source: { kind: 'recorded', name: 'test' },
    cluster: cluster({
      nodes: [1, 2].map((n) => node(`node${n}`, `10.0.0.${n}`, `10.250.${n}.0/24`)),
    }),
    netns: new Map([netns(1, a), netns(2, b)]),
    probes: known([]),
    gaps: [],
  };
  return new World(snapshot);
}

function walked(
  a: Side,
  b: Side,
  more: { readonly sizeBytes?: number; readonly ping?: boolean } = {},
): Branch {
  const world = worldOf(a, b);
  const from = world.netns('node1');
  if (from === undefined) throw new Error('node1');
  const { ping, ...size } = more;
  const [branch] = walk(
    world,
    {
      src: { kind: 'node', name: 'node1', address: address('10.250.1.1') },
      dst: { kind: 'external', address: address('10.250.2.1') },
      protocol: ping === true ? 'icmp' : 'tcp',
      dstPort: ping === true ? 0 : 8080,
      ...size,
    },
    { netns: from, address: address('10.250.1.1') },
  );
  if (branch === undefined) throw new Error('no branch');
  return branch;
}

/** Where and why it breaks, `node2 tunnel-endpoint-missing`. */
const ends = (branch: Branch): string =>
  branch.broken === undefined
    ? branch.answer
    : `${branch.broken.hop.node} ${branch.broken.step.reason}${branch.broken.direction === 'back' ? ' (back)' : ''}`;

const outerPacket = (branch: Branch) =>
  branch.trace.forward.find((hop) => hop.packet.inner !== undefined)?.packet;

type Pair = readonly [Side, Side];
const both = (make: (n: number, other: number) => Side): Pair => [make(1, 2), make(2, 1)];

/** Calico: tunl0 has no ends, the route's gateway is the other node. */
const calico = both((_, other) => ({
  kind: 'ipip',
  info: { proto: 'ipip', remote: 'any', local: 'any', ttl: 0, pmtudisc: false },
  mtu: 1480,
  route: { gateway: `10.0.0.${other}`, protocol: 'bird', flags: ['onlink'] },
}));
const ipip = both((n, other) => ({
  kind: 'ipip',
  info: { proto: 'ipip', remote: `10.0.0.${other}`, local: `10.0.0.${n}`, ttl: 0, pmtudisc: true },
  mtu: 1480,
  route: { scope: 'link' },
}));
const gre = both((n, other) => ({
  kind: 'gre',
  info: { remote: `10.0.0.${other}`, local: `10.0.0.${n}`, ttl: 0, ikey: '0.0.0.7', okey: '0.0.0.7' },
  route: { scope: 'link' },
}));
const gretap = both((n, other) => ({
  kind: 'gretap',
  info: { remote: `10.0.0.${other}`, local: `10.0.0.${n}`, ttl: 0, pmtudisc: true },
  mac: `02:00:00:00:aa:0${n}`,
  route: { gateway: `10.250.${other}.0`, flags: ['onlink'] },
}));
const geneve = both((n, other) => ({
  kind: 'geneve',
  info: { id: 100, remote: `10.0.0.${other}`, ttl: 0, port: 6081, udp_csum: false },
  mac: `02:00:00:00:aa:0${n}`,
  mtu: 1450,
  route: { gateway: `10.250.${other}.0`, flags: ['onlink'] },
}));

const key = (letter: string) => `${letter.repeat(43)}=`;
const keyOf = (n: number) => key(n === 1 ? 'A' : 'B');
const wgText = (
  n: number,
  more: { allowed?: string; peer?: string; endpoint?: string; seen?: number } = {},
) => {
  const other = 3 - n;
  const peer = more.peer ?? keyOf(other);
  return [
    `# public-key\ntun\t${keyOf(n)}`,
    '# listen-port\ntun\t51820',
    '# fwmark\ntun\toff',
    `# endpoints\ntun\t${peer}\t${more.endpoint ?? `10.0.0.${other}:51820`}`,
    `# allowed-ips\ntun\t${peer}\t${more.allowed ?? `10.250.${other}.0/24`}`,
    `# latest-handshakes\ntun\t${peer}\t${more.seen ?? 1_767_225_600}`,
    '',
  ].join('\n');
};
const wireguard = both((n) => ({
  kind: 'wireguard',
  info: {},
  mtu: 1440,
  route: { scope: 'link' },
  files: { 'wg.txt': wgText(n) },
}));

const all: Readonly<Record<string, Pair>> = { calico, ipip, gre, gretap, geneve, wireguard };
const edit = ([a, b]: Pair, edits: { readonly a?: Partial<Side>; readonly b?: Partial<Side> }): Pair => [
  { ...a, ...edits.a },
  { ...b, ...edits.b },
];

describe('between two nodes', () => {
  it.each([
    ['calico', 'ipip', 0, 20],
    ['ipip', 'ipip', 0, 20],
    ['gre', 'gre', 0, 28],
    ['gretap', 'gre', 0, 38],
    ['geneve', 'udp', 6081, 50],
    ['wireguard', 'udp', 51_820, 60],
  ] as const)('%s carries it there and back as %s', (name, protocol, dstPort, overhead) => {
    const branch = walked(...(all[name] ?? calico), { sizeBytes: 60 });
    expect(ends(branch)).toBe('reachable');
    const outer = outerPacket(branch);
    expect(outer).toMatchObject({ protocol, dstPort, src: address('10.0.0.1'), dst: address('10.0.0.2') });
    // WireGuard pads 60 bytes to 64.
    expect(outer?.lengthBytes).toBe(60 + overhead + (name === 'wireguard' ? 4 : 0));
    if (outer !== undefined) expect(packetBytes(outer).length).toBe(outer.lengthBytes);
  });

  it('says in one line what is inside', () => {
    const outer = outerPacket(walked(...calico));
    expect(outer && formatPacket(outer)).toBe(
      '10.0.0.1 -> 10.0.0.2 ipip (IP in IP: 10.250.1.1:40000 -> 10.250.2.1:8080 tcp)',
    );
  });

  it.each([
    ['calico', '-p ipencap'],
    ['ipip', '-p 4'],
    ['gre', '-p gre'],
    ['geneve', '-p udp -m udp --dport 6081'],
    ['wireguard', '-p udp -m udp --dport 51820'],
  ])('%s: a host firewall that drops it (%s)', (name, match) => {
    const save = `*filter\n:INPUT ACCEPT [0:0]\n-A INPUT ${match} -j DROP\nCOMMIT\n`;
    const [, b] = all[name] ?? calico;
    const pair = edit(all[name] ?? calico, { b: { files: { ...b.files, 'iptables-save.txt': save } } });
    const branch = walked(...pair);
    expect(ends(branch)).toBe('node2 rule-drop');
    expect(branch.broken?.hop.packet.inner).toBeDefined();
  });

  it.each(Object.keys(all))('%s: nothing opens it on the other node', (name) => {
    expect(ends(walked(...edit(all[name] ?? calico, { b: { absent: true } })))).toBe(
      'node2 tunnel-endpoint-missing',
    );
  });

  it.each(Object.keys(all))('%s: the device of the other node is down', (name) => {
    expect(ends(walked(...edit(all[name] ?? calico, { b: { down: true } })))).toBe(
      'node2 tunnel-endpoint-down',
    );
  });
});

describe('what does not fit together', () => {
  it('another GRE key', () => {
    const pair = edit(gre, {
      b: { info: { remote: '10.0.0.1', local: '10.0.0.2', ikey: '0.0.0.8', okey: '0.0.0.8' } },
    });
    expect(ends(walked(...pair))).toBe('node2 tunnel-parameters-differ');
  });

  it('a Geneve device that expects another remote', () => {
    const pair = edit(geneve, { b: { info: { id: 100, remote: '10.0.0.9', port: 6081 } } });
    expect(ends(walked(...pair))).toBe('node2 tunnel-parameters-differ');
  });

  it('an ipip device for other ends', () => {
    const pair = edit(ipip, { b: { info: { proto: 'ipip', remote: '10.0.0.9', local: 'any' } } });
    expect(ends(walked(...pair))).toBe('node2 tunnel-parameters-differ');
  });

  it('a route into tunl0 without a gateway: the outer packet goes to the inner destination', () => {
    const pair = edit(calico, { a: { route: { scope: 'link' } } });
    expect(ends(walked(...pair))).toBe('node1 routing-loop');
  });

  it('a device that another program directs', () => {
    const external = { external: true, id: 0, port: 8472, df: 'unset' };
    const pair = both((n) => ({
      kind: 'vxlan',
      info: external,
      mac: `02:00:00:00:aa:0${n}`,
      route: { gateway: `10.250.${3 - n}.0`, flags: ['onlink'] },
    }));
    const branch = walked(...pair);
    expect(branch.answer).toBe('unknown');
    expect(ends(branch)).toBe('node1 unknown-state');
  });
});

describe('sizes', () => {
  it('tunl0 as large as the underlay: the node itself tells the sender what fits', () => {
    const pair = edit(ipip, { a: { mtu: 1500 }, b: { mtu: 1500 } });
    const branch = walked(...pair, { sizeBytes: 1500 });
    expect([ends(branch), branch.remarks.map(({ text }) => text)]).toEqual([
      'reachable',
      expect.arrayContaining([expect.stringContaining('to use 1480 bytes')]),
    ]);
  });

  it('WireGuard as large as the underlay goes in fragments, and never with DF', () => {
    const pair = edit(wireguard, { a: { mtu: 1500 }, b: { mtu: 1500 } });
    const branch = walked(...pair, { sizeBytes: 1500 });
    expect([branch.answer, branch.broken?.step.reason]).toEqual(['unknown', 'fragment-lost']);
  });
});

describe('WireGuard', () => {
  const withWg = (a: string, b: string): Pair =>
    edit(wireguard, { a: { files: { 'wg.txt': a } }, b: { files: { 'wg.txt': b } } });

  it('no peer has the destination among its allowed IPs', () => {
    expect(ends(walked(...withWg(wgText(1, { allowed: '10.250.9.0/24' }), wgText(2))))).toBe(
      'node1 fdb-missing',
    );
  });

  it('the other side does not allow the source', () => {
    expect(ends(walked(...withWg(wgText(1), wgText(2, { allowed: '10.250.9.0/24' }))))).toBe(
      'node2 tunnel-parameters-differ',
    );
  });

  it('the other side does not know the key', () => {
    expect(ends(walked(...withWg(wgText(1), wgText(2, { peer: key('C') }))))).toBe(
      'node2 tunnel-parameters-differ',
    );
  });

  it('the longest allowed prefix decides between peers', () => {
    const more = `# endpoints\ntun\t${key('C')}\t10.0.0.9:51820\n# allowed-ips\ntun\t${key('C')}\t10.250.2.0/25\n`;
    const branch = walked(...withWg(wgText(1) + more, wgText(2)));
    expect(outerPacket(branch)?.dst ?? branch.broken?.hop.packet.dst).toEqual(address('10.0.0.9'));
  });

  it('a peer without endpoint, and no wg show at all: unknown', () => {
    expect(walked(...withWg(wgText(1, { endpoint: '(none)' }), wgText(2))).answer).toBe('unknown');
    expect(walked(...edit(wireguard, { a: { files: {} } })).answer).toBe('unknown');
  });

  it('says that no handshake ever succeeded', () => {
    const branch = walked(...withWg(wgText(1, { seen: 0 }), wgText(2)));
    const texts = branch.trace.forward.flatMap((hop) => hop.steps.map(({ text }) => text));
    expect(texts.some((text) => text.includes('no handshake'))).toBe(true);
  });
});
