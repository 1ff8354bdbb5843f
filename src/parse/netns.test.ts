import { describe, expect, it } from 'vitest';
import { buildNetns } from './netns.ts';

function netns(files: Record<string, string>) {
  const reads: string[] = [];
  const value = buildNetns(
    'node1',
    'node1',
    undefined,
    (name) => {
      reads.push(name);
      return files[name];
    },
    'nodes/node1/',
  );
  return { value, reads };
}

describe('buildNetns', () => {
  it('knows nothing without files', () => {
    const { value } = netns({});
    const { id: _, node: __, ...facts } = value;
    for (const fact of Object.values(facts))
      expect(fact).toMatchObject({
        state: 'unknown',
        why: expect.stringMatching(/^nodes\/node1\/\S+ was not collected$/),
      });
    expect(Object.keys(facts).length).toBeGreaterThan(15);
  });
  it('reads a file when it is asked for, once', () => {
    const { value, reads } = netns({ 'sysctl.txt': 'net.ipv4.ip_forward = 1' });
    expect(reads).toEqual([]);
    expect(value.sysctls).toBe(value.sysctls);
    expect(reads).toEqual(['sysctl.txt']);
  });
  it('joins the rule sets of both backends and families', () => {
    const save = '*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n';
    const { value } = netns({
      'iptables-save.txt': save,
      'ip6tables-save.txt': '',
      'iptables-legacy-save.txt': '',
    });
    expect(value.rulesets).toMatchObject({
      value: [
        { family: 4, backend: 'nft', file: 'nodes/node1/iptables-save.txt', tables: [{ name: 'filter' }] },
        { family: 6, backend: 'nft', tables: [] },
        { family: 4, backend: 'legacy', tables: [] },
        { family: 6, backend: 'legacy', unseen: 'nodes/node1/ip6tables-legacy-save.txt was not collected' },
      ],
    });
  });
  it('reads the settings of bridge ports from ip -d link where bridge link is not there', () => {
    const port = (slave: object) =>
      JSON.stringify([
        { ifname: 'cni0', flags: [], mtu: 1500 },
        { ifname: 'veth1', master: 'cni0', flags: [], mtu: 1500, linkinfo: { info_kind: 'veth', ...slave } },
      ]);
    const settings = { state: 'forwarding', hairpin: true, isolated: false };
    const detailed = port({ info_slave_kind: 'bridge', info_slave_data: settings });
    expect(netns({ 'ip-link.json': detailed }).value.bridgePorts).toEqual({
      state: 'known',
      value: [{ device: 'veth1', bridge: 'cni0', ...settings }],
    });
    expect(netns({ 'ip-link.json': port({}) }).value.bridgePorts).toMatchObject({ state: 'unknown' });
    expect(netns({ 'ip-link.json': port({ info_slave_kind: 'bond' }) }).value.bridgePorts).toMatchObject({
      value: [],
    });
  });
  it('counts rules once where iptables-save is the legacy tool', () => {
    const save = (counter: string, verdict: string) =>
      `*filter\n:INPUT ACCEPT [${counter}]\n[${counter}] -A INPUT -j ${verdict}\nCOMMIT\n`;
    const backends = (legacy: string) => {
      const { rulesets } = netns({
        'iptables-save.txt': save('1:1', 'DROP'),
        'iptables-legacy-save.txt': legacy,
      }).value;
      return rulesets.state === 'known' && rulesets.value.map(({ backend }) => backend);
    };
    expect(backends(save('2:2', 'DROP'))).toEqual(['legacy']);
    expect(backends(save('1:1', 'ACCEPT'))).toEqual(['nft', 'legacy']);
  });
  it('trusts a save without a table only where nft shows that table', () => {
    const state = (nft: string | undefined) =>
      netns({
        'iptables-save.txt': "# Table `filter' is incompatible, use 'nft' tool.\n",
        ...(nft === undefined ? {} : { 'nft.json': nft }),
      }).value.rulesets.state;
    const table = (name: string) => JSON.stringify({ nftables: [{ table: { family: 'ip', name } }] });
    expect([state(undefined), state(table('nat')), state(table('filter'))]).toEqual([
      'unknown',
      'unknown',
      'known',
    ]);
  });
  it('gives up all rule sets where one cannot be read', () => {
    const { value } = netns({
      'iptables-save.txt': '',
      'iptables-legacy-save.txt': 'iptables-legacy-save: Permission denied',
    });
    expect(value.rulesets).toEqual({
      state: 'unknown',
      why: expect.stringMatching(/^nodes\/node1\/iptables-legacy-save\.txt:1: /),
    });
  });
  it('does not pass off half a list as whole', () => {
    const { value } = netns({ 'ip-route.json': '[{"dst":"default","dev":"eth0"},{"dst":"odd"}]' });
    expect(value.routes).toMatchObject({
      state: 'unknown',
      why: expect.stringContaining('nodes/node1/ip-route.json: [1]'),
    });
  });
  it('merges the counters that are there', () => {
    expect(
      netns({ 'proc-net-snmp.txt': 'Ip: A\nIp: 1\n', 'proc-net-netstat.txt': 'TcpExt: B\nTcpExt: 2\n' }).value
        .counters,
    ).toEqual({
      state: 'known',
      value: new Map([
        ['IpA', 1],
        ['TcpExtB', 2],
      ]),
    });
  });
});
