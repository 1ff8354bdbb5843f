/** Random rule sets as iptables-restore reads them, with the sets that they use. */
import type { Random } from './netfilter-support.ts';

export const ports = [53, 80, 443, 8080];
/** Hosts behind the two devices; .0.1 is the namespace itself. */
export const hosts = ['10.1.0.1', '10.1.0.2', '10.1.3.4', '10.2.0.1', '10.2.0.2', '10.2.5.6', '10.2.0.77'];
const setNames = ['s-ip', 's-net', 's-ipport', 's-netport', 's-ipportip', 's-ipportnet', 's-port', 's-list'];

const setDirections: Readonly<Record<string, number>> = {
  's-ip': 1,
  's-net': 1,
  's-ipport': 2,
  's-netport': 2,
  's-ipportip': 3,
  's-ipportnet': 3,
  's-port': 1,
  's-list': 2,
};

export function randomSets(random: Random): string {
  const host = () => random.pick(hosts);
  const net = () =>
    random.pick(['10.1.0.0/16', '10.2.0.0/16', '10.1.0.0/24', '10.2.0.0/30', '10.0.0.0/8', '10.2.0.2/31']);
  const port = () => `${random.pick(['tcp', 'udp'])}:${random.pick(ports)}`;
  const nomatch = () => (random.chance(0.3) ? ' nomatch' : '');
  const lines = [
    'create s-ip hash:ip',
    'create s-net hash:net',
    'create s-ipport hash:ip,port',
    'create s-netport hash:net,port',
    'create s-ipportip hash:ip,port,ip',
    'create s-ipportnet hash:ip,port,net',
    'create s-port bitmap:port range 0-65535',
    'create s-list list:set',
  ];
  for (let i = 0; i < 4; i++) {
    lines.push(`add s-ip ${host()}`, `add s-net ${net()}${nomatch()}`, `add s-ipport ${host()},${port()}`);
    lines.push(
      `add s-netport ${net()},${port()}${nomatch()}`,
      `add s-ipportip ${host()},${port()},${host()}`,
    );
    lines.push(`add s-ipportnet ${host()},${port()},${net()}${nomatch()}`);
    lines.push(`add s-port ${random.pick(ports)}`);
  }
  lines.push('add s-ipport 10.2.0.2,icmp:echo-request');
  for (const member of ['s-ip', 's-ipport', 's-net'])
    if (random.chance(0.5)) lines.push(`add s-list ${member}`);
  return `${lines.join('\n')}\n`;
}

const not = (random: Random): string => (random.chance(0.2) ? '! ' : '');

function portMatch(random: Random): string {
  const port = random.pick(ports);
  return random.pick([
    `${not(random)}--dport ${port}`,
    `--sport 1024:${1024 + random.int(60)}`,
    `${not(random)}--dport ${random.pick([50, 80])}:${random.pick([443, 9000])}`,
    `-m multiport ${not(random)}--dports ${port},8000:9000`,
    `-m multiport --ports ${port},53`,
    '',
  ]);
}

function protocolMatch(random: Random): string {
  const kind = random.int(6);
  if (kind === 0) return `-p udp ${portMatch(random)}`;
  if (kind === 1)
    return `-p icmp${random.pick(['', ' --icmp-type 8', ' --icmp-type 3/3', ' ! --icmp-type 0'])}`;
  if (kind === 2) return `! -p ${random.pick(['tcp', 'udp', 'icmp'])}`;
  const flags = random.pick(['', '', '--syn ', '! --syn ', '--tcp-flags RST,ACK ACK ']);
  return `-p tcp ${flags}${portMatch(random)}`;
}

function setMatch(random: Random): string {
  const set = random.pick(setNames);
  const count = setDirections[set] ?? 1;
  const directions = Array.from({ length: count }, () => random.pick(['src', 'dst'])).join(',');
  return `-m set ${not(random)}--match-set ${set} ${directions}`;
}

/** `chain` limits what the tools take: no -o before routing, no -i after it. */
function otherMatch(random: Random, chain: string): string {
  const inside = !['OUTPUT', 'POSTROUTING'].includes(chain);
  const outside = !['PREROUTING', 'INPUT'].includes(chain);
  const types = random.pick(['LOCAL', 'UNICAST', 'LOCAL,BROADCAST', 'MULTICAST']);
  const options = [
    `${not(random)}-s ${random.pick([...hosts, '10.1.0.0/16', '10.2.0.0/24'])}`,
    `${not(random)}-d ${random.pick([...hosts, '10.2.0.0/16', '10.1.0.0/24'])}`,
    setMatch(random),
    `-m mark ${not(random)}--mark ${random.pick(['0x1/0x1', '0x2', '0x0/0xf0'])}`,
    `-m connmark ${not(random)}--mark ${random.pick(['0x1/0x1', '0x4', '0x0/0xff'])}`,
    `-m conntrack ${not(random)}--ctstate ${random.pick(['NEW', 'ESTABLISHED', 'RELATED,ESTABLISHED', 'INVALID', 'DNAT', 'SNAT', 'UNTRACKED', 'NEW,DNAT'])}`,
    `-m addrtype ${not(random)}--${random.pick(['src', 'dst'])}-type ${types}`,
    `-m iprange ${not(random)}--${random.pick(['src', 'dst'])}-range 10.1.0.0-10.1.0.${random.pick([1, 2, 200])}`,
    `-m length ${not(random)}--length ${random.pick(['0:39', '40', '41:100'])}`,
    ...(inside ? [`${not(random)}-i ${random.pick(['tin', 'tout', 't+', 'tu+', 'lo'])}`] : []),
    ...(outside ? [`${not(random)}-o ${random.pick(['tin', 'tout', 'to+', 'lo'])}`] : []),
  ];
  return random.pick(options);
}

function matches(random: Random, chain: string): string {
  const parts: string[] = [];
  if (random.chance(0.5)) parts.push(protocolMatch(random));
  while (random.chance(0.35)) {
    const more = otherMatch(random, chain);
    // One option of a kind: the tools refuse a second -s or -i.
    const option = more.replace('! ', '').split(' ').slice(0, 2).join(' ');
    const flag = option.startsWith('-m') ? option : option.split(' ')[0];
    if (!parts.some((part) => part.includes(`${flag} `))) parts.push(more);
  }
  return parts.join(' ');
}

const markTarget = (random: Random): string =>
  random.pick([
    'MARK --set-xmark 0x1/0x1',
    'MARK --set-xmark 0x2/0xffffffff',
    'MARK --set-xmark 0x0/0x1',
    'CONNMARK --set-xmark 0x4/0xf',
    'CONNMARK --save-mark --nfmask 0xff --ctmask 0xff',
    'CONNMARK --restore-mark --nfmask 0xff --ctmask 0xff',
  ]);

const jump = (random: Random, later: readonly string[]): string =>
  later.length === 0 ? 'RETURN' : `${random.chance(0.5) ? '' : '!'}${random.pick(later)}`;

function target(
  random: Random,
  table: string,
  chain: string,
  later: readonly string[],
  filterHook: boolean,
): string {
  const kind = random.int(12);
  if (kind < 4 || kind > 9) {
    const to = jump(random, later);
    return to === 'RETURN' ? '-j RETURN' : to.startsWith('!') ? `-j ${to.slice(1)}` : `-g ${to}`;
  }
  if (kind === 4) return '-j RETURN';
  if (table === 'mangle')
    return kind < 9 ? `-j ${markTarget(random)}` : random.pick(['-j ACCEPT', '-j DROP']);
  if (table === 'raw') return random.pick(['-j ACCEPT', '-j CT --notrack', '-j ACCEPT', '']);
  if (table === 'filter') {
    if (kind < 7 && filterHook)
      return `-j REJECT --reject-with ${random.pick(['icmp-port-unreachable', 'icmp-admin-prohibited'])}`;
    return kind < 8 ? '-j ACCEPT' : kind < 9 ? '-j DROP' : random.pick(['', '-j DROP']);
  }
  if (chain === 'n-dst') return natDst(random);
  if (chain === 'n-src') return natSrc(random);
  // MASQUERADE is refused at INPUT, so it has a chain of its own.
  if (chain === 'n-in') return `-j SNAT --to-source ${random.pick(['10.1.0.2', '10.2.0.77'])}`;
  return random.pick(['-j ACCEPT', '']);
}

const natDst = (random: Random): string =>
  random.pick([`-j DNAT --to-destination ${random.pick(hosts)}`, '-j REDIRECT', '-j ACCEPT']);

const natSrc = (random: Random): string =>
  random.pick([
    `-j SNAT --to-source ${random.pick(['10.1.0.1', '10.2.0.1', '10.2.0.77'])}`,
    '-j MASQUERADE',
    '-j ACCEPT',
  ]);

/** The same rules, with source ports that the kernel makes up. */
export const withMadeUpPorts = (random: Random, rules: string): string =>
  rules.replace(/^\*nat$[\s\S]*?^COMMIT$/m, (table) =>
    table
      .replaceAll(
        /-j MASQUERADE$/gm,
        () => `-j MASQUERADE${random.pick([' --random', ' --random-fully', ''])}`,
      )
      .replaceAll(/-j (SNAT --to-source \S+)$/gm, (_, text: string) =>
        random.pick([`-j ${text} --random-fully`, `-j ${text}`]),
      )
      .replace(
        'COMMIT',
        [
          '-A POSTROUTING -p tcp -j MASQUERADE --to-ports 10000-50000 --random',
          '-A POSTROUTING -p udp -j SNAT --to-source 10.2.0.1:5000-6000',
          '-A POSTROUTING -p icmp -j MASQUERADE --random-fully',
          'COMMIT',
        ].join('\n'),
      ),
  );

const builtIns: Readonly<Record<string, readonly string[]>> = {
  raw: ['PREROUTING', 'OUTPUT'],
  mangle: ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING'],
  nat: ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING'],
  filter: ['INPUT', 'FORWARD', 'OUTPUT'],
};

export function randomRules(random: Random): string {
  return Object.keys(builtIns)
    .filter((table) => table === 'filter' || random.chance(0.7))
    .map((table) => randomTable(random, table))
    .join('');
}

function randomTable(random: Random, table: string): string {
  const own = table === 'nat' ? ['n-dst', 'n-src', 'n-in'] : ['u1', 'u2', 'u3', 'u4'];
  const lines = [`*${table}`];
  for (const chain of builtIns[table] ?? []) {
    const drops = table === 'filter' && random.chance(0.25);
    lines.push(`:${chain} ${drops ? 'DROP' : 'ACCEPT'} [0:0]`);
  }
  for (const chain of own) lines.push(`:${chain} - [0:0]`);
  for (const chain of [...(builtIns[table] ?? []), ...own])
    for (let i = 1 + random.int(5); i > 0; i--) {
      // Chains call only later ones: the kernel refuses loops.
      const later = table === 'nat' ? natLater(chain) : own.slice(own.indexOf(chain) + 1);
      lines.push(
        `-A ${chain} ${matches(random, chain)} ${target(random, table, chain, later, table === 'filter')}`,
      );
    }
  return `${lines.join('\n')}\nCOMMIT\n`;
}

function natLater(chain: string): readonly string[] {
  if (chain === 'PREROUTING' || chain === 'OUTPUT') return ['n-dst'];
  if (chain === 'INPUT') return ['n-in'];
  return chain === 'POSTROUTING' ? ['n-src'] : [];
}
