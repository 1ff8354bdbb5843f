import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { parseConntrack } from './conntrack.ts';
import { parseIpAddr, parseIpLink } from './ip-device.ts';
import { parseBridgeFdb, parseBridgeLink, parseIpNeigh } from './ip-neigh.ts';
import { parseIpRoute } from './ip-route.ts';
import { parseIpRule } from './ip-rule.ts';
import { parseIpset } from './ipset.ts';
import { parseIptablesSave, printRuleset } from './iptables-save.ts';
import { buildCluster } from './kubernetes/cluster.ts';
import { parseList } from './kubernetes/list.ts';
import { parseNftJson } from './nft/json.ts';
import { parseNftText } from './nft/text.ts';
import { parseProbes } from './probes.ts';
import { parseProcNet } from './proc-net.ts';
import { parseResolvConf } from './resolv-conf.ts';
import type { Parsed } from './result.ts';
import { parseSs } from './ss.ts';
import { parseSysctl } from './sysctl.ts';
import { withoutSources } from './testing.ts';
import { parseWg } from './wg.ts';

const iptables = (text: string) => parseIptablesSave(text, { file: 'f', family: 4, backend: 'nft' });

/** A parser with a text it reads: the mutations start there. */
const parsers: readonly [string, (text: string, file: string) => Parsed<unknown>, string][] = [
  [
    'iptables-save',
    iptables,
    '*filter\n:INPUT ACCEPT [0:0]\n[1:2] -A INPUT ! -s 10.0.0.0/8 -p tcp -m tcp --dport 80:90 -m comment --comment "a \\" b" -j DNAT --to-destination 1.2.3.4:80\nCOMMIT\n',
  ],
  ['ipset', parseIpset, 'create a hash:ip family inet hashsize 1024\nadd a 10.0.0.1 timeout 0\n'],
  [
    'conntrack',
    parseConntrack,
    'tcp 6 26 TIME_WAIT src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 src=10.0.0.2 dst=10.0.0.1 sport=2 dport=1 [ASSURED] mark=0 use=1\n',
  ],
  [
    'wg',
    parseWg,
    `# endpoints\nwg0\t${'A'.repeat(43)}=\t10.0.0.2:51820\n# allowed-ips\nwg0\t${'A'.repeat(43)}=\t10.244.2.0/24\n`,
  ],
  ['ss', parseSs, 'tcp LISTEN 0 4096 127.0.0.1%lo:80 0.0.0.0:* users:(("x",pid=1,fd=2))\n'],
  ['sysctl', parseSysctl, 'net.ipv4.ip_forward = 1\n'],
  ['proc-net', parseProcNet, 'Ip: A B\nIp: 1 2\n'],
  ['resolv.conf', parseResolvConf, 'nameserver 10.0.0.1\nsearch a b\noptions ndots:5\n'],
  [
    'ip link',
    parseIpLink,
    '[{"ifindex":2,"link_index":3,"ifname":"a","flags":["UP"],"mtu":1500,"address":"aa:bb:cc:dd:ee:ff","linkinfo":{"info_kind":"vxlan","info_data":{"id":1}}}]',
  ],
  [
    'ip addr',
    parseIpAddr,
    '[{"ifname":"a","addr_info":[{"local":"10.0.0.1","prefixlen":24,"scope":"global"}]}]',
  ],
  [
    'ip route',
    (text, file) => parseIpRoute(text, file, 4),
    '[{"dst":"default","gateway":"10.0.0.1","dev":"a","flags":["onlink"],"metrics":[{"mtu":9}],"nexthops":[{"dev":"b"}]}]',
  ],
  [
    'ip rule',
    (text, file) => parseIpRule(text, file, 4),
    '[{"priority":0,"src":"10.0.0.0","srclen":8,"fwmark":"0x1","table":"main","goto":5}]',
  ],
  [
    'ip route, text',
    (text, file) => parseIpRoute(text, file, 4),
    'default via 10.0.0.1 dev a onlink metric 5 mtu lock 9\n10.1.0.0/16 proto bird\n\tnexthop via 10.0.0.2 dev b weight 1\nblackhole 10.2.0.0/26\n',
  ],
  [
    'ip rule, text',
    (text, file) => parseIpRule(text, file, 4),
    '5:\tnot from 10.0.0.0/8 fwmark 0x1/0xf iif a lookup main suppress_prefixlength 0\n6:\tfrom all goto 9\n',
  ],
  ['ip neigh', parseIpNeigh, '[{"dst":"10.0.0.1","dev":"a","lladdr":"aa:bb:cc:dd:ee:ff","state":["STALE"]}]'],
  [
    'bridge fdb',
    parseBridgeFdb,
    '[{"mac":"aa:bb:cc:dd:ee:ff","ifname":"a","dst":"10.0.0.1","flags":["self"],"state":"permanent"}]',
  ],
  ['bridge link', parseBridgeLink, '[{"ifname":"a","master":"b","state":"forwarding","hairpin":true}]'],
  [
    'nft',
    parseNftJson,
    '{"nftables":[{"table":{"family":"ip","name":"t"}},{"chain":{"family":"ip","table":"t","name":"c","hook":"input","prio":0}}]}',
  ],
  [
    'nft, text',
    parseNftText,
    'table ip t { # handle 1\n\tset s {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.0/8 comment "a", 1.2.3.4-1.2.3.9 }\n\t}\n\tchain c { # handle 2\n\t\ttype filter hook input priority filter - 5; policy drop;\n\t\tip saddr @s tcp dport { 80, 90-99 } counter packets 1 bytes 2 dnat to 10.0.0.1:80 # handle 3\n\t\tct state vmap { new : drop, * : jump c }\n\t}\n}\n',
  ],
  [
    'probes',
    parseProbes,
    '[{"src":"a/b","dst":"1.2.3.4","protocol":"tcp","port":80,"size":0,"ok":false,"ms":1,"output":"refused"}]',
  ],
  ['kubernetes', parseList, '{"kind":"List","items":[{"kind":"Pod","metadata":{"name":"a"}}]}'],
];

/** The text with a few spans replaced, cut or doubled. */
function mutated(seed: string): fc.Arbitrary<string> {
  const edit = fc.record({
    at: fc.nat(seed.length),
    length: fc.nat(12),
    text: fc.oneof(
      fc.string({ maxLength: 8 }),
      fc.constantFrom(
        '"',
        '\\',
        '!',
        '-',
        '\n',
        '\0',
        'null',
        '[]',
        '{}',
        '-1',
        '1e99',
        '__proto__',
        'constructor',
      ),
    ),
  });
  return fc
    .array(edit, { minLength: 1, maxLength: 4 })
    .map((edits) =>
      edits.reduce(
        (text, { at, length, text: inserted }) => text.slice(0, at) + inserted + text.slice(at + length),
        seed,
      ),
    );
}

describe('no text makes a parser throw', () => {
  it.each(parsers)('%s', (_, parse, seed) => {
    const first = parse(seed, 'f');
    expect(first.ok && first.notes.length).toBe(0);
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary', maxLength: 200 }), mutated(seed), fc.json({ maxDepth: 4 })),
        (text) => {
          const result = parse(text, 'f');
          if (result.ok) return result.notes.every((note) => note.code !== '' && note.file === 'f');
          return result.error.message !== '' && result.error.file === 'f' && result.error.code.includes('/');
        },
      ),
      { numRuns: 400 },
    );
  });
});

describe('size and depth', () => {
  const big = 200_000;
  const texts: readonly [string, string][] = [
    ['one long line', 'a '.repeat(big)],
    ['many lines', 'a\n'.repeat(big)],
    ['many quotes', '"'.repeat(big)],
    ['deep JSON', `[{"dst":"x","mac":"x","ifname":"x","deep":${'['.repeat(big)}${']'.repeat(big)}}]`],
    [
      'a long rule',
      `*filter\n:INPUT ACCEPT [0:0]\n-A INPUT ${'-m tcp --dport 1 '.repeat(big / 10)}\nCOMMIT\n`,
    ],
  ];
  it.each(texts)('%s', (_, text) => {
    for (const [, parse] of parsers) {
      const result = parse(text, 'f');
      if (!result.ok) expect(result.error.message.length).toBeLessThan(500);
    }
  });
});

const seedObjects = {
  pods: {
    metadata: { name: 'a', namespace: 'b', labels: { x: 'y' }, ownerReferences: [{ kind: 'K', name: 'n' }] },
    spec: { nodeName: 'n', containers: [{ name: 'c', ports: [{ containerPort: 1 }] }] },
    status: { podIPs: [{ ip: '10.0.0.1' }], conditions: [{ type: 'Ready', status: 'True' }] },
  },
  'networkpolicies.networking.k8s.io': {
    metadata: { name: 'a' },
    spec: {
      podSelector: {},
      policyTypes: ['Ingress'],
      ingress: [
        {
          from: [{ ipBlock: { cidr: '10.0.0.0/8', except: ['10.1.0.0/16'] } }],
          ports: [{ port: 80, endPort: 90 }],
        },
      ],
      egress: [
        { to: [{ podSelector: { matchExpressions: [{ key: 'k', operator: 'In', values: ['v'] }] } }] },
      ],
    },
  },
  services: {
    metadata: { name: 'a' },
    spec: { clusterIPs: ['10.0.0.1'], ports: [{ port: 1, targetPort: 'x' }], selector: { a: 'b' } },
  },
  'endpointslices.discovery.k8s.io': {
    metadata: { name: 'a' },
    endpoints: [
      { addresses: ['10.0.0.1'], conditions: { ready: true }, targetRef: { kind: 'Pod', name: 'p' } },
    ],
    ports: [{ port: 1 }],
  },
  nodes: {
    metadata: { name: 'a' },
    spec: { podCIDRs: ['10.0.0.0/24'] },
    status: { addresses: [{ type: 'InternalIP', address: '1.2.3.4' }] },
  },
};

/** Replaces the value at one random place of an object. */
function hostile(value: unknown, path: readonly number[], replacement: unknown): unknown {
  const [step, ...rest] = path;
  if (step === undefined || typeof value !== 'object' || value === null) return replacement;
  const keys = Object.keys(value);
  const key = keys[step % Math.max(keys.length, 1)];
  if (key === undefined) return replacement;
  const copy = (Array.isArray(value) ? [...(value as unknown[])] : { ...value }) as Record<string, unknown>;
  copy[key] = hostile(copy[key], rest, replacement);
  return copy;
}

describe('hostile objects', () => {
  it.each(Object.entries(seedObjects))('%s are read or named, never a crash', (plural, seed) => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(9), { maxLength: 7 }),
        fc.jsonValue({ maxDepth: 2 }),
        (path, replacement) => {
          const item = hostile(seed, path, replacement);
          const cluster = buildCluster(new Map([[`${plural}.json`, JSON.stringify({ items: [item] })]]));
          const facts = [
            cluster.pods,
            cluster.networkPolicies,
            cluster.services,
            cluster.endpointSlices,
            cluster.nodes,
          ];
          const read = facts.reduce((sum, fact) => sum + (fact.state === 'known' ? fact.value.length : 0), 0);
          // One item went in: it came out, or a line says why not. (`items` itself may have been nested by the replacement.)
          return read + cluster.problems.length >= 1 || JSON.stringify(item).includes('items');
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe('iptables round trip', () => {
  it('prints whatever it understood so that it reads back the same', () => {
    const seed = parsers[0]?.[2] ?? '';
    fc.assert(
      fc.property(mutated(seed), (text) => {
        const result = iptables(text);
        // Words that iptables itself would refuse have no normal form.
        if (!result.ok || result.notes.length > 0) return;
        const again = iptables(printRuleset(result.value));
        expect(again.ok && withoutSources(again.value)).toEqual(withoutSources(result.value));
      }),
      { numRuns: 500 },
    );
  });
});
