import { describe, expect, test } from 'vitest';
import { known } from '../../../model/known.ts';
import type { Netns } from '../../../model/netns.ts';
import { formatSource } from '../../../model/source.ts';
import { address } from '../../../net/address.ts';
import type { Packet } from '../../../net/packet.ts';
import { buildNetns } from '../../../parse/netns.ts';
import { parseNftJson } from '../../../parse/nft/json.ts';
import { emptyConnections } from '../conntrack.ts';
import { type HookContext, traverseHook } from '../evaluate.ts';

const syn: Packet = {
  src: address('10.244.1.2'),
  dst: address('10.244.2.3'),
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 8081,
  flags: { syn: true },
  lengthBytes: 60,
  df: true,
  ttl: 63,
  mark: 0,
};

function filter(rules: string, sets = ''): Netns {
  const heads = /^:/m.test(rules) ? '' : ':INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\n';
  const files: Record<string, string> = {
    'iptables-save.txt': `*filter\n${heads}${rules.trim()}\nCOMMIT\n`,
    'ipset.txt': sets,
    'nft.json': '{"nftables":[]}',
    'sysctl.txt': '',
  };
  return buildNetns('node1', 'node1', undefined, (name) => files[name], '');
}

/** `RULE <how>: needs | needs (about)` of each rule that is named. */
function near(where: Netns, packet: Packet = syn, more: Partial<HookContext> = {}): readonly string[] {
  const devices = { inDevice: 'eth0', outDevice: 'cali1' };
  const outcomes = traverseHook({
    netns: where,
    hook: 'forward',
    packet,
    connections: emptyConnections(),
    ...devices,
    ...more,
  });
  const [outcome] = outcomes;
  expect(['drop', 'reject']).toContain(outcome?.verdict);
  return (outcome?.nearest?.() ?? []).map(
    ({ how, needs, about, source }) =>
      `${formatSource(source).replace(/^.*?: (-A )?/, '')} <${how}>: ${needs.join(' | ')}${about === undefined ? '' : ` (${about})`}`,
  );
}

const kubeRouter = `
:INPUT ACCEPT
:FORWARD ACCEPT
:OUTPUT ACCEPT
:KUBE-ROUTER-FORWARD -
:KUBE-POD-FW-DB -
:KUBE-POD-FW-WEB -
:KUBE-NWPLCY-DB -
-A FORWARD -m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD
-A KUBE-ROUTER-FORWARD -d 10.244.2.9/32 -j KUBE-POD-FW-WEB
-A KUBE-ROUTER-FORWARD -d 10.244.2.3/32 -j KUBE-POD-FW-DB
-A KUBE-POD-FW-DB -m conntrack --ctstate INVALID -j DROP
-A KUBE-POD-FW-DB -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A KUBE-POD-FW-DB -d 10.244.2.3/32 -m comment --comment "run through nw policy db" -j KUBE-NWPLCY-DB
-A KUBE-POD-FW-DB -m mark ! --mark 0x10000/0x10000 -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100
-A KUBE-POD-FW-DB -m mark ! --mark 0x10000/0x10000 -j REJECT --reject-with icmp-port-unreachable
-A KUBE-POD-FW-WEB -p tcp -m tcp --dport 8081 -j MARK --set-xmark 0x10000/0x10000
-A KUBE-NWPLCY-DB -p tcp -m set --match-set KUBE-SRC-A src -m tcp --dport 5432 -m comment --comment "rule to ACCEPT traffic from source pods to dest pods selected by policy name: db namespace shop" -j MARK --set-xmark 0x10000/0x10000
-A KUBE-NWPLCY-DB -m mark --mark 0x10000/0x10000 -j RETURN
`;

describe('real shapes', () => {
  test("kube-router: what a pod's own egress rule lets pass is no way in", () => {
    const egress =
      '-A KUBE-POD-FW-DB -s 10.244.2.3/32 -m comment --comment "default egress" -j MARK --set-xmark 0x10000/0x10000';
    const log = '-A KUBE-POD-FW-DB -m mark ! --mark 0x10000/0x10000 -m limit';
    const rules = kubeRouter.replace(log, `${egress}\n${log}`);
    expect(rules).toContain(egress);
    const told = near(filter(rules, 'create KUBE-SRC-A hash:ip\nadd KUBE-SRC-A 10.244.1.2')).join('\n');
    expect(told).toContain('5432');
    expect(told).not.toContain('default egress');
  });

  test('kube-router: the rule that sets the accept mark, not the one that asks for it', () => {
    const sets = 'create KUBE-SRC-A hash:ip\nadd KUBE-SRC-A 10.244.1.2';
    const [first] = near(filter(kubeRouter, sets));
    expect(first).toMatch(
      /^KUBE-NWPLCY-DB .*--dport 5432.* <mark>: destination port 5432; the packet has 8081 /,
    );
    expect(first).toContain('(NetworkPolicy shop/db)');
  });

  test('kube-router: a source that the policy does not admit', () => {
    const sets = 'create KUBE-SRC-A hash:ip\nadd KUBE-SRC-A 10.244.1.77';
    const [first] = near(filter(kubeRouter, sets), { ...syn, dstPort: 5432 });
    expect(first).toContain('<mark>: source in set KUBE-SRC-A; it does not hold 10.244.1.2');
  });

  test('Calico: the policy chain before "no policies passed"', () => {
    const calico = `
:FORWARD ACCEPT
:cali-FORWARD -
:cali-to-wl-dispatch -
:cali-tw-cali1 -
:cali-pi-abc -
-A FORWARD -j cali-FORWARD
-A cali-FORWARD -j MARK --set-xmark 0x0/0xe0000
-A cali-FORWARD -o cali+ -j cali-to-wl-dispatch
-A cali-FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT
-A cali-to-wl-dispatch -o cali1 -g cali-tw-cali1
-A cali-to-wl-dispatch -m comment --comment "Unknown interface" -j DROP
-A cali-tw-cali1 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A cali-tw-cali1 -m conntrack --ctstate INVALID -j DROP
-A cali-tw-cali1 -j MARK --set-xmark 0x0/0x10000
-A cali-tw-cali1 -m comment --comment "Start of policies" -j MARK --set-xmark 0x0/0x20000
-A cali-tw-cali1 -m mark --mark 0x0/0x20000 -j cali-pi-abc
-A cali-tw-cali1 -m comment --comment "Return if policy accepted" -m mark --mark 0x10000/0x10000 -j RETURN
-A cali-tw-cali1 -m comment --comment "Drop if no policies passed packet" -m mark --mark 0x0/0x20000 -j DROP
-A cali-pi-abc -p tcp -m comment --comment "Policy shop/knp.default.db ingress" -m multiport --dports 8080 -j MARK --set-xmark 0x10000/0x10000
-A cali-pi-abc -m mark --mark 0x10000/0x10000 -j RETURN
`;
    expect(near(filter(calico))[0]).toMatch(
      /^cali-pi-abc .* <mark>: destination port 8080; the packet has 8081 \(NetworkPolicy shop\/db\)$/,
    );
  });

  test('ufw: the port that is open, where the policy drops', () => {
    const ufw = `
:FORWARD DROP [0:0]
:ufw-before-forward -
:ufw-user-forward -
-A FORWARD -j ufw-before-forward
-A ufw-before-forward -i lo -j ACCEPT
-A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A ufw-before-forward -p icmp -m icmp --icmp-type 8 -j ACCEPT
-A ufw-before-forward -j ufw-user-forward
-A ufw-user-forward -p tcp -m tcp --dport 22 -j ACCEPT
-A ufw-user-forward -s 192.0.2.0/24 -d 10.9.9.9/32 -p udp -m udp --dport 53 -j ACCEPT
`;
    expect(near(filter(ufw))).toEqual([
      'ufw-user-forward -p tcp -m tcp --dport 22 -j ACCEPT <accept>: destination port 22; the packet has 8081',
    ]);
  });

  test('an accepting rule that stands behind the drop comes first', () => {
    const rules = `
-A FORWARD -p tcp -m tcp --dport 22 -j ACCEPT
-A FORWARD -s 10.244.0.0/16 -j DROP
-A FORWARD -d 10.244.2.3/32 -p tcp -j ACCEPT
`;
    expect(near(filter(rules))).toEqual([
      'FORWARD -d 10.244.2.3/32 -p tcp -j ACCEPT <late>: ',
      'FORWARD -p tcp -m tcp --dport 22 -j ACCEPT <accept>: destination port 22; the packet has 8081',
    ]);
  });

  test('what another drop ends would not have accepted', () => {
    const rules = `
-A FORWARD -s 10.244.0.0/16 -j DROP
-A FORWARD -p tcp -j REJECT
-A FORWARD -j ACCEPT
`;
    expect(near(filter(rules))).toEqual([]);
  });

  test('an invalid packet lacks the state that the others have', () => {
    const rules = `
-A FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -m conntrack --ctstate INVALID -j DROP
`;
    const stray = { ...syn, flags: { syn: true, ack: true } };
    const tracked: HookContext['connections'] = emptyConnections();
    expect(near(filter(rules), stray, { connections: tracked })).toEqual([
      'FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT <accept>: state RELATED,ESTABLISHED; the packet is INVALID',
    ]);
  });

  test('no rule is near where all accept somebody else', () => {
    const rules = `
-A FORWARD -i lo -j ACCEPT
-A FORWARD -s 192.0.2.1/32 -d 192.0.2.2/32 -i tun0 -p udp -m udp --dport 53 -j ACCEPT
-A FORWARD -j DROP
`;
    expect(near(filter(rules))).toEqual([]);
  });
});

const payload = (protocol: string, field: string) => ({ payload: { protocol, field } });
const match = (left: object, right: unknown, op = '==') => ({ match: { op, left, right } });

function native(chains: Record<string, readonly (readonly object[])[]>, policy = 'accept'): Netns {
  const place = { family: 'inet', table: 't' };
  const nftables = [
    { table: { family: 'inet', name: 't', handle: 1 } },
    ...Object.keys(chains).map((name, i) => ({
      chain: {
        ...place,
        table: 't',
        name,
        handle: i + 1,
        ...(name === 'FORWARD' ? { type: 'filter', hook: 'forward', prio: 0, policy } : {}),
      },
    })),
    ...Object.entries(chains).flatMap(([chain, rules], c) =>
      rules.map((expr, i) => ({ rule: { ...place, chain, handle: 10 * (c + 1) + i, expr } })),
    ),
  ];
  const text = JSON.stringify({ nftables });
  const parsed = parseNftJson(text, 'nft.json');
  if (!parsed.ok) throw new Error('the rules of the test do not parse');
  return { ...filter(''), rulesets: known([]), nftTables: known(parsed.value) };
}

describe('nftables', () => {
  test('firewalld: the port that the zone admits', () => {
    const where = native({
      FORWARD: [
        [match({ ct: { key: 'state' } }, ['established', 'related'], 'in'), { accept: null }],
        [{ jump: { target: 'filter_FWD_public_allow' } }],
        [{ reject: { type: 'icmpx', expr: 'admin-prohibited' } }],
      ],
      filter_FWD_public_allow: [[match(payload('tcp', 'dport'), 8080), { accept: null }]],
    });
    expect(near(where)).toEqual([expect.stringMatching(/ <accept>: tcp dport 8080; the packet has 8081$/)]);
  });

  test('Calico: the mark that a policy chain sets', () => {
    const mark = { '&': [{ meta: { key: 'mark' } }, 65536] };
    const where = native({
      FORWARD: [[{ jump: { target: 'cali-tw' } }], [match(mark, 65536), { accept: null }]],
      'cali-tw': [
        [{ jump: { target: 'cali-pi' } }],
        [match(mark, 65536), { return: null }],
        [{ drop: null }],
      ],
      'cali-pi': [
        [
          match(payload('ip', 'saddr'), { prefix: { addr: '10.244.9.0', len: 24 } }),
          { mangle: { key: { meta: { key: 'mark' } }, value: { '|': [{ meta: { key: 'mark' } }, 65536] } } },
        ],
      ],
    });
    expect(near(where)[0]).toMatch(/ <mark>: ip saddr 10\.244\.9\.0\/24; the packet has 10\.244\.1\.2$/);
  });

  test('a verdict map: the element that the packet misses', () => {
    const elements = [
      [8080, { accept: null }],
      [22, { drop: null }],
    ];
    const where = native(
      { FORWARD: [[{ vmap: { key: payload('tcp', 'dport'), data: { set: elements } } }]] },
      'drop',
    );
    expect(near(where)).toEqual([expect.stringMatching(/ <accept>: tcp dport 8080; the packet has 8081$/)]);
  });
});
