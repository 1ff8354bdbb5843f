/** podpath simulate as it is typed: a recorded state, packets from a file, a verdict for each. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundledEntry } from '../../src/system/entry.ts';
import { exec } from '../../src/system/exec.ts';

const program = bundledEntry('podpath');

let dir = '';
const state: Readonly<Record<string, string>> = {
  'ip-link.json': JSON.stringify([
    link(1, 'lo', 65_536, 'LOOPBACK'),
    link(2, 'eth0', 1500),
    link(3, 'eth1', 1400),
  ]),
  'ip-addr.json': JSON.stringify([
    addr(1, 'lo', '127.0.0.1', 8),
    addr(2, 'eth0', '10.1.0.1', 16),
    addr(3, 'eth1', '10.2.0.1', 16),
  ]),
  'ip-route.json': JSON.stringify([
    { dst: '10.1.0.0/16', dev: 'eth0', protocol: 'kernel', scope: 'link', prefsrc: '10.1.0.1', flags: [] },
    { dst: '10.2.0.0/16', dev: 'eth1', protocol: 'kernel', scope: 'link', prefsrc: '10.2.0.1', flags: [] },
    { type: 'unreachable', dst: '10.3.0.0/16', flags: [] },
    { type: 'blackhole', dst: '10.4.0.0/16', flags: [] },
    {
      dst: '10.5.0.0/16',
      flags: [],
      nexthops: [
        { gateway: '10.1.0.9', dev: 'eth0', weight: 1, flags: [] },
        { gateway: '10.2.0.9', dev: 'eth1', weight: 3, flags: [] },
      ],
    },
    {
      type: 'local',
      dst: '10.1.0.1',
      dev: 'eth0',
      table: 'local',
      scope: 'host',
      prefsrc: '10.1.0.1',
      flags: [],
    },
    {
      type: 'local',
      dst: '10.2.0.1',
      dev: 'eth1',
      table: 'local',
      scope: 'host',
      prefsrc: '10.2.0.1',
      flags: [],
    },
  ]),
  'ip-rule.json': JSON.stringify([
    { priority: 0, src: 'all', table: 'local' },
    { priority: 32_766, src: 'all', table: 'main' },
    { priority: 32_767, src: 'all', table: 'default' },
  ]),
  'sysctl.txt': ['all', 'eth0', 'eth1']
    .flatMap((device) => ['rp_filter = 0', 'forwarding = 1'].map((text) => `net.ipv4.conf.${device}.${text}`))
    .concat('net.ipv4.ip_forward = 1', '')
    .join('\n'),
  'iptables-save.txt': [
    '*nat',
    ':PREROUTING ACCEPT [0:0]',
    '-A PREROUTING -d 10.96.0.1/32 -p tcp -m tcp --dport 80 -j DNAT --to-destination 10.2.0.5:8080',
    'COMMIT',
    '*filter',
    ':FORWARD ACCEPT [0:0]',
    '-A FORWARD -p udp -m udp --dport 53 -j REJECT --reject-with icmp-port-unreachable',
    '-A FORWARD -p udp -m udp --dport 54 -j DROP',
    'COMMIT',
    '',
  ].join('\n'),
  'iptables-legacy-save.txt': '',
  'nft.json': '{"nftables":[]}',
  'ipset.txt': '',
};

function link(ifindex: number, ifname: string, mtu: number, ...flags: string[]) {
  const loopback = flags.includes('LOOPBACK');
  return {
    ifindex,
    ifname,
    flags: [...flags, 'UP', 'LOWER_UP'],
    mtu,
    operstate: 'UP',
    link_type: loopback ? 'loopback' : 'ether',
    address: loopback ? '00:00:00:00:00:00' : `02:00:00:00:00:0${ifindex}`,
  };
}

function addr(ifindex: number, ifname: string, local: string, prefixlen: number) {
  return { ifindex, ifname, addr_info: [{ family: 'inet', local, prefixlen, scope: 'global' }] };
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'podpath-simulate-'));
  for (const [name, text] of Object.entries(state)) writeFileSync(join(dir, name), text);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function simulate(lines: readonly (object | string)[], extra: readonly string[] = []) {
  const packets = join(dir, 'packets.ndjson');
  writeFileSync(
    packets,
    lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
  );
  const { code, stdout, stderr } = await exec(
    [process.execPath, program, 'simulate', '--state', dir, '--packets', packets, ...extra],
    { timeoutMs: 20_000 },
  );
  const verdicts = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { code, verdicts, stderr };
}

const tcp = { iif: 'eth0', src: '10.1.0.2', dst: '10.2.0.5', proto: 'tcp', sport: 4000, dport: 8080 };
const udp = { ...tcp, proto: 'udp', dport: 8080 };

describe('podpath simulate', () => {
  it.each<[string, object, object]>([
    ['forwards', tcp, { verdict: 'forward', oif: 'eth1', dst: '10.2.0.5', dport: 8080, ttl: 63 }],
    [
      'translates',
      { ...tcp, dst: '10.96.0.1', dport: 80 },
      { verdict: 'forward', oif: 'eth1', dst: '10.2.0.5', dport: 8080 },
    ],
    ['delivers', { ...tcp, dst: '10.1.0.1' }, { verdict: 'deliver', oif: null }],
    [
      'rejects by a rule',
      { ...udp, dport: 53 },
      {
        verdict: 'reject',
        answer: { icmpType: 3, icmpCode: 3 },
        answerVerdict: expect.objectContaining({
          verdict: 'forward',
          oif: 'eth0',
          src: '10.1.0.1',
          dst: udp.src,
        }),
        rule: expect.stringContaining('iptables-save.txt:7: -A FORWARD'),
      },
    ],
    [
      'drops by a rule',
      { ...udp, dport: 54 },
      { verdict: 'drop', rule: expect.stringContaining('--dport 54 -j DROP') },
    ],
    ['has no route', { ...tcp, dst: '8.8.8.8' }, { verdict: 'reject', answer: { icmpType: 3, icmpCode: 0 } }],
    [
      'meets an unreachable route',
      { ...tcp, dst: '10.3.0.1' },
      { verdict: 'reject', answer: { icmpType: 3, icmpCode: 1 } },
    ],
    ['meets a blackhole', { ...tcp, dst: '10.4.0.1' }, { verdict: 'drop' }],
    ['is too old', { ...tcp, ttl: 1 }, { verdict: 'reject', answer: { icmpType: 11, icmpCode: 0 } }],
    [
      'is too large',
      { ...udp, len: 1450, df: true },
      { verdict: 'reject', answer: { icmpType: 3, icmpCode: 4, mtu: 1400 } },
    ],
    ['is sent in fragments', { ...udp, len: 1450 }, { verdict: 'forward', oif: 'eth1' }],
    [
      'is made here',
      { src: '10.1.0.1', dst: '10.2.0.9', proto: 'icmp' },
      { verdict: 'forward', oif: 'eth1', ttl: 64 },
    ],
    ['claims to be us', { ...tcp, src: '10.2.0.1' }, { verdict: 'drop' }],
    ['is of a family without rules', { ...tcp, src: 'fd00::1', dst: 'fd00::2' }, { verdict: 'unknown' }],
  ])('%s', async (_, packet, expected) => {
    const { code, verdicts } = await simulate([packet]);
    expect(verdicts).toEqual([expect.objectContaining(expected)]);
    expect(code).toBe(0);
  });

  it('names every next hop of a multipath route with its share', async () => {
    const { verdicts } = await simulate([{ ...tcp, dst: '10.5.0.1' }]);
    expect(verdicts).toMatchObject([
      {
        verdict: 'unknown',
        alternatives: expect.arrayContaining([
          expect.objectContaining({ verdict: 'forward', oif: 'eth0', share: 0.25 }),
          expect.objectContaining({ verdict: 'forward', oif: 'eth1', share: 0.75 }),
        ]),
      },
    ]);
  });

  it('translates the reply of a connection back, and knows its state', async () => {
    const { verdicts } = await simulate([
      { ...tcp, dst: '10.96.0.1', dport: 80 },
      { iif: 'eth1', src: '10.2.0.5', dst: '10.1.0.2', proto: 'tcp', sport: 8080, dport: 4000, flags: 'SA' },
      {
        iif: 'eth1',
        src: '10.2.0.5',
        dst: '10.1.0.2',
        proto: 'tcp',
        sport: 8080,
        dport: 4001,
        flags: ['syn', 'ack'],
      },
    ]);
    expect(verdicts[1]).toMatchObject({
      verdict: 'forward',
      oif: 'eth0',
      src: '10.96.0.1',
      sport: 80,
      dport: 4000,
    });
    expect(verdicts[2]).toMatchObject({ verdict: 'forward', src: '10.2.0.5', sport: 8080 });
  });

  it('answers the other lines where one is no packet, and exits with 3', async () => {
    const { code, verdicts, stderr } = await simulate([
      'nonsense',
      tcp,
      { ...tcp, dprot: 1 },
      { ...tcp, iif: 'eth9' },
      { ...tcp, dst: '10.2.0.999' },
      udp,
    ]);
    expect(verdicts).toMatchObject([
      { line: 1, error: expect.stringContaining('no JSON') },
      { verdict: 'forward' },
      { line: 3, field: 'dprot' },
      { line: 4, field: 'iif' },
      { line: 5, field: 'dst' },
      { verdict: 'forward' },
    ]);
    expect(stderr).toContain('4 of 6 lines');
    expect(code).toBe(3);
  });

  it('does not take what was not recorded for empty, unless told so', async () => {
    rmSync(join(dir, 'nft.json'));
    const unseen = await simulate([tcp]);
    expect(unseen.verdicts).toMatchObject([
      { verdict: 'unknown', reason: expect.stringContaining('nft.json') },
    ]);
    const told = await simulate([tcp], ['--assume-empty']);
    expect(told.verdicts).toMatchObject([{ verdict: 'forward', oif: 'eth1' }]);
    writeFileSync(join(dir, 'nft.json'), state['nft.json'] ?? '');
  });

  it('--explain: the rules that matched, what the kernel shows, and the nearest that would have accepted', async () => {
    const { verdicts } = await simulate(
      [
        { ...udp, dport: 54 },
        { ...tcp, dst: '10.96.0.1', dport: 80 },
      ],
      ['--explain'],
    );
    const [dropped, translated] = verdicts;
    expect(dropped).toMatchObject({
      verdict: 'drop',
      path: expect.arrayContaining([
        expect.objectContaining({ hook: 'forward', table: 'filter', chains: ['FORWARD'], verdict: 'drop' }),
      ]),
      kernel: { dropReason: 'NETFILTER_DROP', symptom: 'silent' },
    });
    expect(translated).toMatchObject({
      path: expect.arrayContaining([
        expect.objectContaining({
          hook: 'prerouting',
          table: 'nat',
          verdict: 'accept',
          effect: 'dst 10.96.0.1 port 80 -> 10.2.0.5 port 8080',
        }),
      ]),
    });
    expect(translated).not.toHaveProperty('kernel');
    const plain = await simulate([tcp]);
    expect(plain.verdicts[0]).not.toHaveProperty('path');
  });
});
