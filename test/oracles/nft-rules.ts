/** Random native rule sets as `nft -f` reads them: tables with sets, maps, and base chains at many priorities. */
import { hosts, ports } from './netfilter-rules.ts';
import type { Random } from './netfilter-support.ts';

type Hook = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting';

interface Place {
  readonly family: 'ip' | 'inet';
  readonly type: 'filter' | 'nat' | 'route';
  /** Undefined in chains that several hooks call. */
  readonly hook?: Hook;
  readonly priority: number;
  /** Chains that may be called: only later ones, the kernel refuses loops. */
  readonly later: readonly string[];
}

const nets = ['10.1.0.0/16', '10.2.0.0/16', '10.2.0.0/24', '10.2.0.0/30', '10.1.0.1-10.1.0.9'];

const host = (random: Random): string => random.pick(hosts);
const port = (random: Random): number => random.pick(ports);
const not = (random: Random): string => (random.chance(0.2) ? '!= ' : '');
const distinct = (items: readonly string[]): string => [...new Set(items)].join(', ');
const some = (random: Random, make: () => string): string =>
  distinct(Array.from({ length: 1 + random.int(3) }, make));

/** The verdict of a map's element. `accept` twice: with too many drops nothing gets through. */
const mapVerdict = (random: Random): string =>
  random.pick(['accept', 'accept', 'accept', 'drop', 'jump u3', 'jump u3', 'goto u4', 'return', 'continue']);

const service = (random: Random): string =>
  `${host(random)} . ${random.pick(['tcp', 'udp'])} . ${port(random)}`;

/** Keys of a map or set once each: the kernel refuses two values for one key. */
function mapElements(random: Random, key: () => string, value: () => string): string {
  const keys = new Set(Array.from({ length: 2 + random.int(5) }, key));
  return [...keys].map((one) => `${one} : ${value()}`).join(', ');
}

function setsOf(random: Random): string[] {
  return [
    `set s_ip { type ipv4_addr; elements = { ${some(random, () => host(random))} } }`,
    `set s_net { type ipv4_addr; flags interval; elements = { ${random.pick(nets)}, 10.3.0.0/16 } }`,
    `set s_port { type inet_service; flags interval; elements = { ${random.pick(['80', '53-90'])}, 8000-9000 } }`,
    `set s_svc { type ipv4_addr . inet_proto . inet_service; elements = { ${some(random, () => service(random))} } }`,
    `set s_svcnet { type ipv4_addr . inet_service; flags interval; elements = { 10.2.0.0/24 . 80-443, 10.1.0.0/16 . ${port(random)} } }`,
    `map m_svc { type ipv4_addr . inet_proto . inet_service : verdict; elements = { ${mapElements(
      random,
      () => service(random),
      () => mapVerdict(random),
    )} } }`,
    `map m_mark { type ipv4_addr : mark; elements = { ${mapElements(
      random,
      () => host(random),
      () => random.pick(['0x1', '0x2', '0x40']),
    )} } }`,
    `map m_dnat { type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = { ${mapElements(
      random,
      () => `${host(random)} . ${port(random)}`,
      () => `${host(random)} . ${port(random)}`,
    )} } }`,
  ];
}

function addressMatch(random: Random): string {
  const field = `ip ${random.pick(['saddr', 'daddr'])}`;
  return `${field} ${not(random)}${random.pick([
    host(random),
    random.pick(nets),
    `{ ${some(random, () => host(random))} }`,
    '@s_ip',
    '@s_net',
  ])}`;
}

/** Bits of the headers, and hashes that the kernel's are compared with. */
const bitMatch = (random: Random): string =>
  random.pick([
    `ip ${random.pick(['saddr', 'daddr'])} & 255.255.0.255 ${random.pick(['==', '!='])} ${random.pick(['10.1.0.2', '10.2.0.2'])}`,
    `@nh,${random.pick(['96', '128'])},32 ${not(random)}${random.pick(['0x0a010002', '0x0a020002'])}`,
    `@nh,${random.pick(['96,16 0x0a01', '128,24 0x0a0200', '64,8 > 60', '72,8 { 6, 17 }', '48,2 1', '0,4 4'])}`,
    `meta l4proto { tcp, udp } @th,${random.pick(['16,16 { 80, 443 }', '16,16 53-90', '0,16 & 0x3 == 1', '8,8 < 200'])}`,
    'tcp flags syn @th,110,1 1',
    `ip ${random.pick(['ttl 63', 'ttl > 62', 'ttl != 64', 'length < 40', 'dscp cs0', 'dscp != { cs1, ef }', 'ecn not-ect', 'version 4', 'frag-off & 0x1fff == 0'])}`,
    `icmp code ${not(random)}0`,
    `udp length ${random.pick(['16', '> 15', '8'])}`,
    `jhash ip saddr mod ${1 + random.int(4)} seed 0x${random.int(65_536).toString(16)} ${random.int(3)}`,
    `jhash ip saddr . tcp dport mod 3 seed ${1 + random.int(1000)} offset ${random.int(4)} ${not(random)}${1 + random.int(5)}`,
    `jhash tcp sport mod 2 seed ${1 + random.int(1000)} 1`,
    `jhash ip saddr . ip daddr . tcp sport . tcp dport mod 3 seed 0xdeadbeef { 0, 2 }`,
    `meta l4proto { tcp, udp } jhash ip daddr . meta l4proto . th dport mod 2 seed ${1 + random.int(1000)} 0`,
  ]);

function transportMatch(random: Random): string {
  const protocol = random.pick(['tcp', 'udp', 'tcp', 'th']);
  const guard = protocol === 'th' ? 'meta l4proto { tcp, udp } ' : '';
  return random.pick([
    `${guard}${protocol} dport ${not(random)}${random.pick([String(port(random)), '50-90', `{ ${some(random, () => String(port(random)))} }`, '@s_port'])}`,
    `${guard}${protocol} sport 1024-${1030 + random.int(50)}`,
    `${guard}${protocol} dport ${random.pick(['<', '>', '<=', '>='])} ${port(random)}`,
    `meta l4proto ${not(random)}${random.pick(['tcp', 'udp', 'icmp', '{ tcp, icmp }'])}`,
    `ip protocol ${not(random)}${random.pick(['tcp', 'udp'])}`,
    `icmp type ${not(random)}${random.pick(['echo-request', 'echo-reply', 'destination-unreachable', '{ echo-request, echo-reply }'])}`,
    `tcp flags ${random.pick(['syn', '& (syn|ack) == syn', '& (fin|syn|rst|ack) == syn|ack', '! ack', '== syn', 'syn,rst', '!= syn'])}`,
    `ip daddr . meta l4proto . th dport ${not(random)}@s_svc`,
    `meta l4proto { tcp, udp } ip daddr . th dport ${not(random)}@s_svcnet`,
    `ip saddr . ip daddr ${not(random)}{ 10.1.0.2 . ${host(random)}, 10.2.0.2 . ${host(random)} }`,
  ]);
}

const ctMatch = (random: Random): string =>
  `ct ${random.pick([
    `state ${not(random)}${random.pick(['new', 'established', 'invalid', 'untracked', 'related'])}`,
    `state ${random.pick(['established,related', 'new,untracked', 'invalid,new'])}`,
    `state ${not(random)}{ established, ${random.pick(['new', 'related'])} }`,
    'state vmap { established : accept, related : continue }',
    `status ${random.pick(['dnat', 'snat', 'dnat,snat', '& dnat == 0', '& (snat|dnat) != 0'])}`,
    `mark ${not(random)}${random.pick(['0x4', '0x0', '0x1-0x8'])}`,
    `mark & ${random.pick(['0xf == 0x4', '0x1 != 0x0'])}`,
    `direction ${random.pick(['original', 'reply'])}`,
    // A plain "protocol tcp" nft takes for what a later "tcp sport" implies, and does not list it.
    `${random.pick(['original', 'reply'])} protocol ${random.pick(['!= tcp', '!= udp', '{ tcp, icmp }'])}`,
    `original ip ${random.pick(['saddr', 'daddr'])} ${not(random)}${host(random)}`,
    `reply ip saddr ${host(random)}`,
  ])}`;

function metaMatch(random: Random, { hook, family }: Place): string {
  const options = [
    `meta mark ${not(random)}${random.pick(['0x0', '0x1', '0x2', '{ 0x1, 0x40 }'])}`,
    `meta mark & ${random.pick(['0x1 == 0x1', '0x40 != 0x0', '0x3 == 0x2'])}`,
    `meta length ${random.pick(['40', '< 40', '>= 41', '30-45'])}`,
    `fib ${random.pick(['saddr', 'daddr'])} type ${not(random)}${random.pick(['local', 'unicast', '{ local, broadcast }'])}`,
    ...(family === 'inet' ? [`meta nfproto ${random.pick(['ipv4', 'ipv6'])}`] : []),
    ...(hook === 'prerouting' ? [`fib daddr . iif type ${not(random)}local`] : []),
    ...(hook === 'prerouting' ? [`fib saddr . iif oif ${random.pick(['missing', 'exists'])}`] : []),
    ...(hook === 'prerouting' ? ['meta pkttype { host, multicast }'] : []),
    `${random.pick(['iifname', 'oifname'])} ${not(random)}${random.pick(['"tin"', '"tout"', '"t*"', '"lo"', '{ "tin", "lo" }'])}`,
    `${random.pick(['iif', 'oif'])} ${not(random)}"lo"`,
  ];
  return random.pick(options);
}

function matches(random: Random, place: Place): string[] {
  const parts: string[] = [];
  while (parts.length < 3 && random.chance(0.55))
    parts.push(
      random.pick([addressMatch, bitMatch, transportMatch, transportMatch, ctMatch, metaMatch])(
        random,
        place,
      ),
    );
  // A verdict map ends what can follow it.
  const vmap = parts.findIndex((part) => part.includes(' vmap '));
  return vmap < 0 ? parts : [...parts.slice(0, vmap), ...parts.slice(vmap + 1)];
}

const setMark = (random: Random): string =>
  random.pick([
    'meta mark set 0x1',
    'meta mark set meta mark | 0x40',
    'meta mark set meta mark & 0xfffffffe',
    'meta mark set meta mark ^ 0x3',
    'meta mark set ct mark',
    'ct mark set 0x4',
    'ct mark set meta mark',
    'ct mark set ct mark | 0x1',
    'meta mark set ip saddr map @m_mark',
    'meta mark set tcp dport map { 80 : 0x2, 443 : 0x40 }',
    'meta mark set meta mark << 1',
    'meta mark set meta mark >> 1',
    'meta mark set jhash ip saddr mod 8 seed 0x7',
    'meta mark set ct mark << 2',
    'ip dscp set cs1',
    'ip ttl set 77',
    'ip ecn set ce',
  ]);

function call(random: Random, later: readonly string[]): string {
  return later.length === 0 ? 'return' : `${random.pick(['jump', 'jump', 'goto'])} ${random.pick(later)}`;
}

/** A verdict map, if the chains that it may lead to are allowed here. */
function vmap(random: Random, { later }: Place): string {
  const chain = later.length === 0 ? 'return' : `jump ${random.pick(later)}`;
  return random.pick([
    ...(later.includes('u3') && later.includes('u4')
      ? ['ip daddr . meta l4proto . th dport vmap @m_svc', 'ip daddr . meta l4proto . th dport vmap @m_svc']
      : []),
    `tcp dport vmap { 80 : accept, 443 : ${chain}, 8000-9000 : drop }`,
    `ip saddr vmap { 10.1.0.0/24 : ${chain}, 10.2.0.0/16 : continue }`,
    `ct state vmap { established : accept, related : accept, new : ${chain} }`,
    `meta l4proto vmap { tcp : ${chain}, udp : return, icmp : accept }`,
    `iifname vmap { "tin" : ${chain}, "lo" : accept }`,
    `jhash ip saddr . tcp dport mod 3 seed 0x2a vmap { 0 : ${chain}, 1 : accept }`,
    `ip saddr . tcp dport vmap { 10.1.0.0/24 . 80-443 : ${chain}, 10.2.0.0/16 . 1-79 : accept }`,
    `meta mark & 0x3 vmap { 0 : continue, 1 : ${chain}, 2-3 : return }`,
  ]);
}

function ending(random: Random, place: Place): string {
  const { type, hook, family, priority, later } = place;
  const kind = random.int(12);
  if (kind < 3) return call(random, later);
  if (kind < 5) return vmap(random, place);
  if (kind === 5) return 'return';
  if (type === 'nat') return random.pick(['accept', 'counter', 'return']);
  if (kind < 8) return 'accept';
  if (kind === 8) return random.chance(0.5) ? 'drop' : 'return';
  if (kind === 9 && (hook === 'input' || hook === 'forward' || hook === 'output')) {
    const code = random.pick(['port-unreachable', 'admin-prohibited']);
    return `reject with ${family === 'ip' ? 'icmp' : 'icmpx'} type ${code}`;
  }
  if (kind === 10 && (hook === 'prerouting' || hook === 'output') && priority < -200) return 'notrack';
  return 'counter';
}

function rule(random: Random, place: Place): string {
  const parts = matches(random, place);
  while (random.chance(0.3)) parts.push(random.chance(0.5) ? setMark(random) : 'counter');
  parts.push(ending(random, place));
  return parts.join(' ');
}

const withPorts = (random: Random): string =>
  random.pick([
    `meta l4proto tcp dnat ip to ${host(random)}:${port(random)}`,
    `meta l4proto udp dnat ip to ${host(random)}:${port(random)}`,
    `meta l4proto tcp dnat ip to numgen random mod 1 map { 0 : ${host(random)} . ${port(random)} }`,
    'meta l4proto tcp dnat ip to ip daddr . tcp dport map @m_dnat',
    `dnat ip to ip daddr map { 10.2.0.77 : ${host(random)}, 10.2.5.6 : ${host(random)} }`,
    `meta l4proto tcp redirect to :${port(random)}`,
    'redirect',
    `dnat ip to ${host(random)}`,
    `meta l4proto tcp redirect to :${port(random)} random`,
    `dnat ip to ${host(random)} random`,
  ]);

const toSource = (random: Random): string =>
  random.pick([
    'masquerade',
    `masquerade ${random.pick(['random', 'fully-random', 'fully-random,persistent'])}`,
    'meta l4proto tcp masquerade to :1024-60000 fully-random',
    `snat ip to 10.2.0.77 ${random.pick(['random', 'fully-random'])}`,
    `meta l4proto { tcp, udp } snat ip to 10.2.0.1:${random.pick(['5000-6000', '5000-6000 random'])}`,
    'meta mark & 0x40 == 0x40 meta mark set meta mark ^ 0x40 masquerade',
    `snat ip to ${random.pick(['10.1.0.1', '10.2.0.1', '10.2.0.77'])}`,
    'ct status dnat masquerade',
  ]);

const chain = (name: string, lines: readonly string[]): string => `chain ${name} {\n${lines.join('\n')}\n}`;

function rules(random: Random, place: Place, most = 5): string[] {
  return Array.from({ length: 1 + random.int(most) }, () => rule(random, place));
}

const userChains = ['u1', 'u2', 'u3', 'u4'];

function filterChains(random: Random, family: Place['family']): string[] {
  const own = userChains.map((name, i) =>
    chain(name, rules(random, { family, type: 'filter', priority: 0, later: userChains.slice(i + 1) }, 4)),
  );
  const count = 3 + random.int(5);
  const bases = Array.from({ length: count }, (_, i) => {
    const hook = random.pick(['prerouting', 'input', 'forward', 'forward', 'output', 'postrouting'] as const);
    const priority = random.pick([-310, -290, -160, -110, -90, -10, 0, 10, 60, 110]);
    const type = hook === 'output' && random.chance(0.3) ? 'route' : 'filter';
    const policy = random.chance(0.06) ? 'drop' : 'accept';
    const head = `type ${type} hook ${hook} priority ${priority}; policy ${policy};`;
    const place: Place = { family, type, hook, priority, later: userChains };
    return chain(`base${i}`, [head, ...rules(random, place)]);
  });
  return [...own, ...bases];
}

function natChains(random: Random, family: Place['family']): string[] {
  const user: Place = { family, type: 'nat', priority: 0, later: [] };
  const nat = (make: (random: Random) => string) =>
    Array.from({ length: 1 + random.int(3) }, () => `${matches(random, user).join(' ')} ${make(random)}`);
  const bases = (
    [
      ['prerouting', 'n_dst', -100],
      ['output', 'n_dst', -100],
      ['postrouting', 'n_src', 100],
    ] as const
  ).flatMap(([hook, later, usual], i) =>
    Array.from({ length: random.int(3) }, (_, n) => {
      const priority = usual + random.pick([0, -10, 5]) + n;
      const place: Place = { ...user, hook, priority, later: [later] };
      return chain(`nat${i}_${n}`, [
        `type nat hook ${hook} priority ${priority};`,
        ...natRules(random, place, later),
      ]);
    }),
  );
  return [chain('n_dst', nat(withPorts)), chain('n_src', nat(toSource)), ...bases];
}

/** Most nat chains lead on to where translation happens. */
const natRules = (random: Random, place: Place, later: string): string[] => [
  ...rules(random, place, 2),
  `${matches(random, place).join(' ')} jump ${later}`,
];

export function randomNftRules(random: Random): string {
  const families = random.pick([['ip'], ['inet'], ['ip', 'inet']] as const);
  const tables = families.map((family) => {
    const chains = [
      ...filterChains(random, family),
      ...(random.chance(0.7) ? natChains(random, family) : []),
    ];
    return `table ${family} podpath-test {\n${[...setsOf(random), ...chains].join('\n')}\n}`;
  });
  return `${tables.join('\n')}\n`;
}

/** Of netdev: no connections there, and of devices only the chain's own is known. */
function deviceRule(random: Random): string {
  const parts: string[] = [];
  while (parts.length < 2 && random.chance(0.7))
    parts.push(
      random
        .pick([addressMatch, bitMatch, transportMatch])(random)
        .replaceAll(/@s_\w+/g, '{ 80, 443 }'),
    );
  const ends = [
    'accept',
    'drop',
    'return',
    'jump below',
    'counter',
    'meta mark set 0x40',
    'meta mark set 0x1',
    'ip ttl set 77',
  ];
  return [...parts, random.pick(ends)].join(' ');
}

/** Chains that see packets before PREROUTING and after POSTROUTING. */
export function randomDeviceRules(random: Random): string {
  const some = (): string[] => Array.from({ length: 1 + random.int(4) }, () => deviceRule(random));
  const own = ['ingress', 'egress'].flatMap((hook) =>
    ['tin', 'tout'].flatMap((device) =>
      Array.from({ length: random.int(3) }, (_, i) =>
        chain(`${hook}_${device}_${i}`, [
          `type filter hook ${hook} device ${device} priority ${random.pick([-5, 0, 0, 7])}; policy ${random.chance(0.05) ? 'drop' : 'accept'};`,
          // The injector proves that the device sends by a packet of zeros.
          'meta length < 28 accept',
          ...some(),
        ]),
      ),
    ),
  );
  const below = chain(
    'below',
    some().map((line) => line.replace('jump below', 'return')),
  );
  const inet = random.chance(0.5)
    ? `table inet edge {\n${chain('first', [`type filter hook ingress device tin priority 3;`, ...some().map((line) => line.replace('jump below', 'drop'))])}\n}\n`
    : '';
  return `table netdev edge {\n${[below, ...own].join('\n')}\n}\n${inet}`;
}
