/** Random rule sets of the matches, targets and set types that dumps have beside the everyday ones. */
import type { Random } from './netfilter-support.ts';

const not = (random: Random): string => (random.chance(0.25) ? '! ' : '');
const nets = ['192.0.2.0/28', '192.0.2.16/28', '10.7.0.0/16', '10.7.1.2', '10.8.0.0/24', '10.7.255.255'];
const ports = [53, 80, 443, 8080];

/** hash:ip,mark, hash:mac, hash:ip,mac, hash:net,net and hash:net,port,net are not in this kernel. */
const sets: readonly (readonly [
  name: string,
  directions: number,
  create: string,
  elements: readonly string[],
])[] = [
  ['m-net', 1, 'hash:net', ['10.7.0.0/16', '10.7.1.0/24 nomatch', '192.0.2.0/28', '10.0.0.0/8 nomatch']],
  ['m-mask', 1, 'hash:ip netmask 24', ['10.7.1.9', '192.0.2.200', '10.8.0.1']],
  ['m-range', 1, 'bitmap:ip range 192.0.2.0/26', ['192.0.2.1', '192.0.2.2', '192.0.2.17-192.0.2.30']],
  ['m-block', 1, 'bitmap:ip range 10.7.0.0/16 netmask 24', ['10.7.1.0', '10.7.255.0']],
  ['m-time', 1, 'hash:ip timeout 900', ['10.7.1.2', '192.0.2.2 timeout 800', '10.8.0.7 timeout 0']],
  [
    'm-iface',
    2,
    'hash:net,iface',
    ['10.7.0.0/16,ma0', '192.0.2.0/24,mb', '10.8.0.0/24,mb0 nomatch', '10.0.0.0/8,m wildcard'],
  ],
  [
    'm-netport',
    2,
    'hash:net,port',
    ['10.7.0.0/16,tcp:80', '10.0.0.0/8,udp:53', '10.7.1.0/24,tcp:80 nomatch', '192.0.2.0/24,icmp:8/0'],
  ],
  [
    'm-three',
    3,
    'hash:ip,port,net',
    ['10.7.1.2,tcp:80,192.0.2.0/24', '10.7.1.2,tcp:80,192.0.2.2/32 nomatch', '10.7.1.2,udp:53-55,10.0.0.0/8'],
  ],
  ['m-port', 1, 'bitmap:port range 1-9000', ['53', '80-90', '443']],
  ['m-list', 2, 'list:set', ['m-net', 'm-netport', 'm-iface']],
];

export function specialSets(random: Random): string {
  const lines = sets.map(([name, , create]) => `create ${name} ${create}`);
  for (const [name, , , elements] of sets)
    for (const element of elements) if (random.chance(0.7)) lines.push(`add ${name} ${element}`);
  return `${lines.join('\n')}\n`;
}

function setMatch(random: Random): string {
  const [name, count] = random.pick(sets);
  const directions = Array.from({ length: count }, () => random.pick(['src', 'dst'])).join(',');
  const options = random.pick(['', '', '--return-nomatch', '! --update-counters']);
  return `-m set ${not(random)}--match-set ${name} ${directions} ${options}`;
}

function entryMatch(random: Random): string {
  const options = [
    `${not(random)}--ctstate ${random.pick(['NEW', 'ESTABLISHED', 'INVALID', 'NEW,DNAT', 'SNAT', 'UNTRACKED'])}`,
    `${not(random)}--ctproto ${random.pick(['tcp', 'udp', 'icmp'])}`,
    `${not(random)}--ctorigsrc ${random.pick(nets)}`,
    `${not(random)}--ctorigdst ${random.pick(nets)}`,
    `${not(random)}--ctreplsrc ${random.pick(nets)}`,
    `${not(random)}--ctrepldst ${random.pick(nets)}`,
    `${not(random)}--ctorigdstport ${random.pick(ports)}`,
    `${not(random)}--ctorigsrcport 1024:${1024 + random.int(60)}`,
    `${not(random)}--ctreplsrcport ${random.pick(ports)}`,
    `${not(random)}--ctstatus ${random.pick(['EXPECTED', 'SEEN_REPLY', 'NONE', 'SEEN_REPLY,EXPECTED'])}`,
    `--ctdir ${random.pick(['ORIGINAL', 'REPLY'])}`,
  ];
  const chosen = options.filter(() => random.chance(0.2));
  return `-m conntrack ${chosen.length === 0 ? random.pick(options) : chosen.join(' ')}`;
}

function match(random: Random, table: string, chain: string): string {
  const arriving = ['PREROUTING', 'INPUT', 'FORWARD'].includes(chain);
  const leaving = ['FORWARD', 'OUTPUT', 'POSTROUTING'].includes(chain);
  const types = random.pick(['LOCAL', 'UNICAST', 'LOCAL,BROADCAST', 'BROADCAST']);
  const limits = [...(arriving ? ['--limit-iface-in'] : []), ...(leaving ? ['--limit-iface-out'] : [])];
  const flags = ['--loose', '--validmark', '--accept-local', '--invert'].filter(() => random.chance(0.35));
  return random.pick([
    setMatch(random),
    setMatch(random),
    entryMatch(random),
    entryMatch(random),
    `-m ttl ${random.pick(['--ttl-eq 64', '! --ttl-eq 63', '--ttl-lt 64', '--ttl-gt 64'])}`,
    `-m tos ${not(random)}--tos ${random.pick(['0x10', '0x8/0x1c', 'Minimize-Delay', '0x0'])}`,
    `-m dscp ${not(random)}--dscp ${random.pick(['0', '46', '0x0a', '2'])}`,
    `-m pkttype ${not(random)}--pkt-type ${random.pick(['unicast', 'broadcast', 'multicast'])}`,
    `-m addrtype ${not(random)}--${random.pick(['src', 'dst'])}-type ${types} ${random.pick(limits)}`,
    ...(arriving ? [`-m mac ${not(random)}--mac-source 02:00:00:00:00:01`] : []),
    ...(chain === 'PREROUTING' && table !== 'nat'
      ? [`-m rpfilter ${flags.join(' ')}`, `-m rpfilter ${flags.join(' ')}`]
      : []),
    ...(chain === 'POSTROUTING' ? [`-m owner ${not(random)}--uid-owner 77`, '-m owner --socket-exists'] : []),
    `-m length ${not(random)}--length 40`,
    '-m recent --set --name r --rsource',
    `-m connmark ${not(random)}--mark 0x5/0xf`,
  ]);
}

const always = ['-j DROP', '-j ACCEPT', '-j RETURN', ''];
const mangling = [
  '-j TTL --ttl-set 9',
  '-j TTL --ttl-inc 1',
  '-j TTL --ttl-dec 62',
  '-j TOS --set-tos 0x10/0x3c',
  '-j TOS --or-tos 0x4',
  '-j DSCP --set-dscp 46',
  '-j MARK --set-xmark 0x7/0xf',
  '-j CONNMARK --set-xmark 0x5/0xf',
  '-j CONNMARK --or-mark 0x8',
  '-j CONNMARK --restore-mark --nfmask 0xf0 --ctmask 0xf',
  '-j CONNMARK --save-mark --nfmask 0x3 --ctmask 0xc',
];

function natRule(random: Random, chain: string): string {
  const before = chain === 'PREROUTING' || chain === 'OUTPUT';
  const protocol = random.pick(['tcp', 'udp']);
  const transport = `-p ${protocol}`;
  // Few flows share the ports of a range: the kernel drops those that find none free.
  const few = `${transport} -m ${protocol} --sport 1024:1030`;
  return random.pick([
    '-j NETMAP --to 10.7.0.0/16',
    '-j NETMAP --to 192.0.2.16/30',
    before
      ? `${transport} -j DNAT --to-destination 10.7.1.2:80`
      : `${few} -j SNAT --to-source 10.7.1.2:2000-2015`,
    before ? `${transport} -j REDIRECT --to-ports 8080` : '-j SNAT --to-source 10.8.0.1',
    ...(chain === 'POSTROUTING' ? [`${few} -j MASQUERADE --to-ports 3000-3015`, '-j MASQUERADE'] : []),
  ]);
}

function target(random: Random, table: string, chain: string): string {
  if (table === 'nat') return natRule(random, chain);
  if (table === 'mangle') return random.pick([...mangling, ...mangling, '-j DROP']);
  if (table === 'raw') return random.pick(['-j DROP', '-j CT --notrack', '-j ACCEPT', '']);
  return random.pick([...always, '-j REJECT --reject-with icmp-host-prohibited']);
}

const chains: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};

const core = (random: Random): string =>
  random.pick([
    '',
    '',
    '',
    '-p tcp',
    '-p udp',
    `-d ${random.pick(nets)}`,
    `-s ${random.pick(nets)}`,
    '-p tcp -m tcp --dport 80',
  ]);

export function specialRules(random: Random): string {
  const lines: string[] = [];
  for (const [table, names] of Object.entries(chains)) {
    lines.push(`*${table}`, ...names.map((name) => `:${name} ACCEPT [0:0]`));
    for (const name of names)
      for (let i = random.int(3); i > 0; i--) {
        const to = target(random, table, name);
        const from = to.includes('-p ') ? '' : core(random);
        const device =
          ['PREROUTING', 'INPUT', 'FORWARD'].includes(name) && random.chance(0.2) ? '-i ma0' : '';
        lines.push(
          `-A ${name} ${device} ${from} ${match(random, table, name)} ${random.chance(0.3) ? match(random, table, name) : ''} ${to}`,
        );
      }
    lines.push('COMMIT');
  }
  // Names that make the devices, the routes and the packets.
  lines.push('*security', ':INPUT ACCEPT [0:0]');
  for (const net of nets) lines.push(`-A INPUT -d ${net} -i ma0`);
  for (const port of ports) lines.push(`-A INPUT -i mb0 -p tcp -m tcp --dport ${port}`);
  lines.push('COMMIT');
  return `${lines.join('\n')}\n`;
}
