import { describe, expect, it } from 'vitest';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { parseConntrack } from './conntrack.ts';
import { parseDevices, parseIpAddr } from './ip-device.ts';
import { parseBridgeFdb, parseBridgeLink, parseIpNeigh } from './ip-neigh.ts';
import { parseIpRoute } from './ip-route.ts';
import { parseIpRule } from './ip-rule.ts';
import { parseIpset } from './ipset.ts';
import { parseNftJson } from './nft/json.ts';
import { parseProbes } from './probes.ts';
import { parseProcNet } from './proc-net.ts';
import { parseResolvConf } from './resolv-conf.ts';
import type { Parsed } from './result.ts';
import { parseSs } from './ss.ts';
import { parseSysctl } from './sysctl.ts';

function value<T>(result: Parsed<T>): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}
const code = <T>(result: Parsed<T>): string =>
  result.ok
    ? result.notes.map((note) => note.code).join()
    : `${result.error.code}:${result.error.line ?? ''}`;
const json = (...entries: unknown[]) => JSON.stringify(entries);

describe('ip route', () => {
  const route = (entry: object, family: 4 | 6 = 4) => value(parseIpRoute(json(entry), 'f', family))[0];
  it.each([
    [
      { dst: 'default', gateway: '10.0.0.1', dev: 'eth0', flags: [] },
      {
        type: 'unicast',
        dst: prefix('0.0.0.0/0'),
        table: 'main',
        scope: 'global',
        metric: 0,
        protocol: 'boot',
      },
    ],
    [
      {
        dst: '10.1.0.0/24',
        gateway: '10.1.0.0',
        dev: 'flannel.1',
        flags: ['onlink', 'linkdown'],
        table: 254,
        protocol: 2,
        scope: 253,
      },
      {
        table: 'main',
        protocol: 'kernel',
        scope: 'link',
        nexthops: [
          { gateway: address('10.1.0.0'), device: 'flannel.1', onlink: true, dead: true, weight: 1 },
        ],
      },
    ],
    [
      { type: 'blackhole', dst: '10.5.0.0/24', table: '77', protocol: 'static' },
      { type: 'blackhole', nexthops: [], table: '77' },
    ],
    [
      { dst: '10.4.0.1', dev: 'a', metrics: [{ mtu: 1400 }], metric: 5 },
      { dst: prefix('10.4.0.1/32'), mtuBytes: 1400, metric: 5 },
    ],
    [
      { dst: '10.11.0.0/16', via: { family: 'inet6', host: 'fd00::2' }, dev: 'v0' },
      { nexthops: [{ gateway: address('fd00::2') }] },
    ],
    [
      {
        dst: '10.3.0.0/16',
        nexthops: [
          { gateway: '10.9.0.2', dev: 'v0', weight: 2, flags: [] },
          { dev: 'v1', weight: 1, flags: ['dead'] },
        ],
      },
      {
        nexthops: [
          { device: 'v0', weight: 2, dead: false },
          { device: 'v1', dead: true },
        ],
      },
    ],
  ])('%j', (entry, expected) => expect(route(entry)).toMatchObject(expected));
  it('leaves the other family out', () => {
    expect(
      value(parseIpRoute(json({ dst: 'fe80::/64', dev: 'a' }, { dst: 'default', dev: 'a' }), 'f', 6)),
    ).toHaveLength(2);
    expect(value(parseIpRoute(json({ dst: 'fe80::/64', dev: 'a' }), 'f', 4))).toEqual([]);
  });
  it.each([
    { dst: 'x' },
    { dst: '10.0.0.0/8', gateway: 'x' },
    { dst: '10.0.0.0/8', type: 'odd' },
    { dst: '10.0.0.0/8', tos: 'x' },
    5,
  ])('notes %j', (entry) => expect(code(parseIpRoute(json(entry), 'f', 4))).toBe('ip-route/entry'));
  it.each([
    ['', 'ip-route/empty:'],
    ['[{"dst":"default"', 'ip-route/not-json:1'],
    ['{}', 'ip-route/not-a-list:'],
    ['Cannot open network namespace', 'ip-route/tool-error:1'],
  ])('%j is an error', (text, expected) => expect(code(parseIpRoute(text, 'f', 4))).toContain(expected));
});

describe('ip rule', () => {
  const rule = (entry: object) => value(parseIpRule(json({ priority: 1, src: 'all', ...entry }), 'f', 4))[0];
  it.each([
    [
      { table: 'main', suppress_prefixlen: 0 },
      { action: { kind: 'table', table: 'main' }, suppressPrefixLength: 0, not: false, notUnderstood: [] },
    ],
    [
      {
        not: null,
        src: '10.1.0.0',
        srclen: 16,
        dst: '10.2.0.0',
        dstlen: 24,
        fwmark: '0x80',
        fwmask: '0xf0',
        table: '100',
      },
      {
        not: true,
        from: prefix('10.1.0.0/16'),
        to: prefix('10.2.0.0/24'),
        fwmark: { value: 0x80, mask: 0xf0 },
      },
    ],
    [
      { fwmark: '0x5', iif: 'a', oif: 'b', table: 255 },
      { fwmark: { value: 5, mask: 0xffffffff }, iif: 'a', oif: 'b', action: { table: 'local' } },
    ],
    [{ fwmark: '0x80/0x80', table: '5' }, { fwmark: { value: 0x80, mask: 0x80 } }],
    [
      { action: 'blackhole', src: '10.1.2.3' },
      { action: { kind: 'blackhole' }, from: prefix('10.1.2.3/32') },
    ],
    [{ goto: 200 }, { action: { kind: 'goto', priority: 200 } }],
    [{ nop: null }, { action: { kind: 'nop' } }],
    [{ l3mdev: null }, { action: { kind: 'l3mdev' }, notUnderstood: [] }],
    [
      { table: '77', tos: '0x04', uid_start: 1, uid_end: 5, dport_start: 80 },
      { tos: 4, uids: { from: 1, to: 5 }, dstPorts: { from: 80, to: 80 }, notUnderstood: [] },
    ],
    [
      { table: '77', ipproto: 'udp', sport_start: 5, sport_end: 9, suppress_ifgroup: '3' },
      { protocol: 17, srcPorts: { from: 5, to: 9 }, suppressGroup: 3, notUnderstood: [] },
    ],
    [{ table: '77', ipproto: 'carrier-pigeon', tun_id: 5 }, { notUnderstood: ['ipproto', 'tun_id'] }],
  ])('%j', (entry, expected) => expect(rule(entry)).toMatchObject(expected));
  it.each([{ table: 'main', src: 'x' }, { action: 'dance' }, { table: 'main', fwmark: 'x' }])(
    'notes %j',
    (entry) => expect(code(parseIpRule(json({ priority: 1, ...entry }), 'f', 4))).toBe('ip-rule/entry'),
  );
});

describe('ip link and addr', () => {
  const link = json(
    {
      ifindex: 2,
      link_index: 9,
      ifname: 'eth0',
      link_netnsid: 0,
      flags: ['UP', 'LOWER_UP'],
      mtu: 1500,
      link_type: 'ether',
      address: 'AA:bb:cc:00:00:01',
      linkinfo: { info_kind: 'veth' },
    },
    {},
    {
      ifindex: 3,
      ifname: 'vx',
      flags: ['NO-CARRIER', 'UP'],
      mtu: 1450,
      link_type: 'ether',
      master: 'br0',
      linkinfo: {
        info_kind: 'vxlan',
        info_data: { id: 1, local: '10.0.0.1', link: 'eth0', port: 8472, learning: false, df: 'set' },
      },
    },
    { ifindex: 4, link: 'v1', ifname: 'v0', flags: [], mtu: 1500, linkinfo: { info_kind: 'veth' } },
    { ifindex: 5, link: 'v0', ifname: 'v1', flags: [], mtu: 1500, linkinfo: { info_kind: 'veth' } },
    { ifindex: 6, link: 'eth0', ifname: 'eth0.7', flags: [], mtu: 1500, linkinfo: { info_kind: 'vlan' } },
  );
  const addr = json({
    ifname: 'eth0',
    addr_info: [{ local: '10.0.0.5', prefixlen: 24, scope: 'global' }, {}],
  });
  it('joins both files', () => {
    expect(value(parseDevices({ text: link, file: 'l' }, { text: addr, file: 'a' }))).toMatchObject([
      {
        name: 'eth0',
        kind: 'veth',
        up: true,
        carrier: true,
        peerIndex: 9,
        mac: 'aa:bb:cc:00:00:01',
        addresses: [{ address: address('10.0.0.5'), prefix: prefix('10.0.0.0/24') }],
      },
      {
        name: 'vx',
        up: true,
        carrier: false,
        master: 'br0',
        lower: 'eth0',
        tunnel: {
          kind: 'vxlan',
          vni: 1,
          port: 8472,
          learning: false,
          df: 'set',
          underlay: 'eth0',
          external: false,
        },
      },
      { name: 'v0', peerIndex: 5 },
      { name: 'v1', peerIndex: 4 },
      { name: 'eth0.7', lower: 'eth0', addresses: [] },
    ]);
  });
  it('notes what is no device or address', () => {
    expect(code(parseDevices({ text: json({ ifname: 'x' }), file: 'l' }, { text: '[]', file: 'a' }))).toBe(
      'ip-link/entry',
    );
    expect(
      code(parseIpAddr(json({ ifname: 'x', addr_info: [{ local: '1.2.3.4', prefixlen: 40 }] }), 'a')),
    ).toBe('ip-addr/address');
  });
});

describe('neighbours and bridges', () => {
  it('reads neighbours', () => {
    expect(
      value(
        parseIpNeigh(
          json({ dst: '10.0.0.8', dev: 'a', state: ['FAILED'] }, { dst: '10.0.0.9', dev: 'a', proxy: null }),
          'f',
        ),
      ),
    ).toMatchObject([
      { address: address('10.0.0.8'), states: ['FAILED'], proxy: false },
      { proxy: true, states: [] },
    ]);
  });
  it('reads fdb entries', () => {
    expect(
      value(
        parseBridgeFdb(
          json({
            mac: '00:00:00:00:00:00',
            ifname: 'vx',
            dst: '10.0.0.5',
            vni: 9,
            flags: ['self'],
            state: 'permanent',
          }),
          'f',
        ),
      ),
    ).toMatchObject([{ device: 'vx', remote: address('10.0.0.5'), vni: 9, self: true, state: 'permanent' }]);
    expect(code(parseBridgeFdb(json({ mac: 'x', ifname: 'y' }), 'f'))).toBe('bridge-fdb/entry');
  });
  it('reads bridge ports', () => {
    expect(
      value(
        parseBridgeLink(
          json({ ifname: 'v', master: 'br0', state: 'forwarding', hairpin: true }, { ifname: 'br0' }),
          'f',
        ),
      ),
    ).toEqual([{ device: 'v', bridge: 'br0', state: 'forwarding', hairpin: true, isolated: false }]);
  });
});

describe('lines', () => {
  it('reads ss', () => {
    const text = [
      'Netid State Recv-Q Send-Q Local Address:Port Peer Address:Port Process',
      'udp UNCONN 0 0 127.0.0.53%lo:53 0.0.0.0:*',
      'tcp LISTEN 0 4096 *:10250 *:* users:(("kubelet",pid=81,fd=22))',
      'tcp LISTEN 0 4096 [::1]:80 [::]:*',
      'u_str LISTEN 0 128 /run/x 123 * 0',
    ].join('\n');
    expect(value(parseSs(text, 'f'))).toMatchObject([
      { protocol: 'udp', state: 'UNCONN', local: address('127.0.0.53'), device: 'lo', port: 53 },
      { protocol: 'tcp', port: 10250, process: 'kubelet' },
      { local: address('::1'), port: 80 },
    ]);
    expect(value(parseSs(text, 'f'))[1]).not.toHaveProperty('local');
    expect(code(parseSs('ss: command not found', 'f'))).toBe('ss/tool-error:1');
  });
  it('reads conntrack', () => {
    const text = [
      'tcp 6 26 TIME_WAIT src=10.0.0.1 dst=10.96.0.1 sport=1000 dport=443 src=10.0.0.9 dst=10.0.0.1 sport=6443 dport=1000 [ASSURED] mark=5 use=1',
      'ipv4 2 udp 17 20 src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 [UNREPLIED] src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 mark=0 use=1',
      'icmp 1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=7 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=7 mark=0 use=1',
      'conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.',
    ].join('\n');
    expect(value(parseConntrack(text, 'f'))).toMatchObject([
      {
        protocol: 'tcp',
        state: 'TIME_WAIT',
        mark: 5,
        flags: ['ASSURED'],
        original: { dst: address('10.96.0.1'), dstPort: 443 },
        reply: { src: address('10.0.0.9'), srcPort: 6443 },
      },
      { protocol: 'udp', flags: ['UNREPLIED'], reply: { srcPort: 2 } },
      // The id, and type and code: what conntrack has in the place of ports.
      { protocol: 'icmp', original: { srcPort: 7, dstPort: 8 * 256 }, reply: { srcPort: 7, dstPort: 0 } },
    ]);
    expect(
      code(
        parseConntrack('conntrack v1.4.7 (conntrack-tools): Operation failed: operation not permitted', 'f'),
      ),
    ).toBe('conntrack/tool-error:1');
  });
  it('reads sysctls', () => {
    const text =
      "net.ipv4.conf.flannel/1.rp_filter = 0\nnet.ipv4.ip_local_port_range = 32768\t60999\nnet.x =\nsysctl: permission denied on key 'net.y'\n";
    expect([...value(parseSysctl(text, 'f'))]).toEqual([
      ['net.ipv4.conf.flannel/1.rp_filter', '0'],
      ['net.ipv4.ip_local_port_range', '32768\t60999'],
      ['net.x', ''],
    ]);
    expect(code(parseSysctl('hello', 'f'))).toBe('sysctl/foreign:1');
  });
  it('reads resolv.conf', () => {
    const text =
      '# x\nnameserver 10.96.0.10\nnameserver fe80::1%eth0\nsearch a.b c.d ; why\noptions edns0 ndots:5\n';
    expect(value(parseResolvConf(text, 'f'))).toEqual({
      nameservers: [address('10.96.0.10'), address('fe80::1')],
      search: ['a.b', 'c.d'],
      ndots: 5,
    });
    expect(code(parseResolvConf('nameserver x', 'f'))).toBe('resolv-conf/line');
  });
  it('reads /proc/net counters', () => {
    const text = 'Ip: Forwarding InAddrErrors\nIp: 1 7\nTcp: MaxConn\nTcp: -1\n';
    expect([...value(parseProcNet(text, 'f'))]).toEqual([
      ['IpForwarding', 1],
      ['IpInAddrErrors', 7],
      ['TcpMaxConn', -1],
    ]);
    expect(code(parseProcNet('Ip: A B\nIp: 1\n', 'f'))).toBe('proc-net/values:2');
    expect(code(parseProcNet('cat: no such file', 'f'))).toBe('proc-net/foreign:1');
  });
  it('reads ipset save', () => {
    const text =
      'create a hash:ip,port family inet6 hashsize 1024\nadd a fd00::1,tcp:80 timeout 0 comment "nomatch"\ncreate b hash:net\nadd b 10.0.0.0/8 nomatch\n';
    expect(value(parseIpset(text, 'f'))).toMatchObject([
      {
        name: 'a',
        type: 'hash:ip,port',
        family: 6,
        entries: [{ parts: ['fd00::1', 'tcp:80'], nomatch: false, source: { line: 2 } }],
      },
      { name: 'b', family: 4, entries: [{ parts: ['10.0.0.0/8'], nomatch: true }] },
    ]);
  });
  it.each([
    ['add x 10.0.0.1', 'ipset/no-set:1'],
    ['create a hash:ip\ncreate a hash:ip', 'ipset/duplicate:2'],
    ['ipset v7.17: Kernel error received: Operation not permitted', 'ipset/tool-error:1'],
    ['what is this', 'ipset/foreign:1'],
  ])('ipset %j is an error', (text, expected) => expect(code(parseIpset(text, 'f'))).toBe(expected));
});

describe('nft', () => {
  const chain = (family: string, table: string, name: string, hook?: string, prio: unknown = 0) => ({
    chain: { family, table, name, ...(hook === undefined ? {} : { hook, prio, policy: 'drop' }) },
  });
  const tables = (...items: unknown[]) =>
    value(parseNftJson(JSON.stringify({ nftables: [{ metainfo: {} }, ...items] }), 'f'));
  it('keeps tables, their chains and sets', () => {
    const set = { family: 'inet', table: 'fw', name: 's', elem: ['10.0.0.1', { elem: { val: '10.0.0.2' } }] };
    expect(
      tables(chain('inet', 'fw', 'f', 'forward', 'filter - 5'), chain('inet', 'fw', 'u'), { set }),
    ).toMatchObject([
      {
        family: 'inet',
        name: 'fw',
        baseChains: [{ name: 'f', type: 'filter', hook: 'forward', priority: -5, policy: 'drop' }],
        chains: new Map([
          ['f', { name: 'f' }],
          ['u', { name: 'u' }],
        ]),
        sets: new Map([
          ['s', { elements: [{ key: { value: '10.0.0.1' } }, { key: { value: '10.0.0.2' } }] }],
        ]),
      },
    ]);
  });
  const rule = (...expr: unknown[]) =>
    tables({
      rule: { family: 'ip', table: 't', chain: 'c', handle: 7, comment: 'why', expr },
    })[0]?.chains.get('c')?.rules[0];
  const daddr = { payload: { protocol: 'ip', field: 'daddr' } };
  const isNet = { match: { op: '!=', left: daddr, right: { prefix: { addr: '10.0.0.0', len: 8 } } } };
  it.each([
    ['a verdict', [isNet, { drop: null }], ['match', 'verdict'], 'ip daddr != 10.0.0.0/8 drop'],
    ['a jump', [{ jump: { target: 'x' } }], ['verdict'], 'jump x'],
    [
      'a named verdict map',
      [{ vmap: { key: { concat: [daddr, { meta: { key: 'l4proto' } }] }, data: '@m' } }],
      ['vmap'],
      'ip daddr . meta l4proto vmap @m',
    ],
    ['what only logs', [isNet, { limit: { rate: 1, per: 'minute' } }, { log: null }], [], undefined],
    ['a limit before a verdict', [{ limit: { rate: 1, per: 'day' } }, { accept: null }], ['rate', 'verdict']],
    ['an iptables extension', [{ xt: { type: 'match', name: 'set' } }, { drop: null }], ['match', 'verdict']],
    ['an unknown statement', [{ teleport: { to: 'mars' } }], ['unknown']],
  ] as const)('reads %s', (_, expr, kinds, text?: string) => {
    const read = rule(...expr);
    expect(read?.statements.map(({ kind }) => kind)).toEqual(kinds);
    if (text !== undefined) expect(read?.source).toMatchObject({ text: `${text} comment "why" # handle 7` });
  });
  it('says that depth without end is not understood', () => {
    const deep = Array.from({ length: 200 }).reduce((inner) => ({ '&': [inner, 1] }), 1 as unknown);
    expect(JSON.stringify(rule({ match: { op: '==', left: deep, right: 1 } }, { drop: null }))).toContain(
      'nested too deep',
    );
  });
  it('refuses other text', () =>
    expect(code(parseNftJson('Error: could not open', 'f'))).toBe('nft/not-json:1'));
});

describe('probes', () => {
  const probe = (entry: object) =>
    value(parseProbes(json({ src: 's/a', dst: '10.0.0.1', port: 80, size: 0, ms: 3100, ...entry }), 'f'))[0];
  it.each([
    [{ protocol: 'tcp', ok: true }, 'ok'],
    [
      { protocol: 'tcp', ok: false, output: 'curl: (28) Connection timed out after 3001 milliseconds' },
      'timeout',
    ],
    [
      {
        protocol: 'tcp',
        ok: false,
        output: "curl: (7) Failed to connect to 10.0.0.1 port 80 after 0 ms: Couldn't connect to server",
      },
      'refused',
    ],
    [
      {
        protocol: 'tcp',
        ok: false,
        output: "curl: (7) Failed to connect to 10.0.0.1 port 80 after 3050 ms: Couldn't connect to server",
      },
      'unreachable',
    ],
    [
      { protocol: 'icmp', ok: false, output: '1 packets transmitted, 0 received, 100% packet loss' },
      'timeout',
    ],
    [
      {
        protocol: 'icmp',
        ok: false,
        output: 'From 10.0.0.9 icmp_seq=1 Destination Host Unreachable\n100% packet loss',
      },
      'unreachable',
    ],
    [{ protocol: 'icmp', ok: false, output: 'ping: local error: message too long, mtu=1450' }, 'too-big'],
    [{ protocol: 'dns', ok: false, output: 'command terminated with exit code 143' }, 'timeout'],
    [{ protocol: 'udp', ok: false, output: 'command terminated with exit code 1' }, 'timeout'],
    [{ protocol: 'udp', ok: false, output: 'command terminated with exit code 1', ms: 300 }, 'error'],
    [{ kind: 'udp', outcome: 'refused', df: true, sizeBytes: 9 }, 'refused'],
  ])('%j', (entry, outcome) => expect(probe(entry)?.outcome).toBe(outcome));
  it('notes entries without a result', () =>
    expect(code(parseProbes(json({ src: 'a', dst: 'b', protocol: 'tcp' }), 'f'))).toBe('probes/entry'));
});
