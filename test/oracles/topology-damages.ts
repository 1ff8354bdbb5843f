/** Ways to damage a lab at random: each is a list of commands in namespaces of the lab, drawn from a seeded generator. */

import { vtepMac } from '../../src/lab/cni/vxlan.ts';
import type { Lab } from '../../src/lab/lab.ts';
import type { LabNode, LabPod, LabState } from '../../src/lab/state.ts';

/** One command; `at` is a node's name, or `shop/web-1` for a pod. */
export interface Command {
  readonly at: string;
  readonly line: string;
}

export type Damage = readonly Command[];

export const formatDamage = (damage: Damage): string =>
  damage.map(({ at, line }) => `${at}: ${line}`).join('; ');

/** Runs the commands; those that this lab refuses (a route that is not there) are left out of what is returned. */
export async function inflict(lab: Lab, damage: Damage): Promise<Damage> {
  const done: Command[] = [];
  for (const command of damage) {
    const { at, line } = command;
    const { netns } = at.includes('/') ? lab.pod(at) : lab.node(at);
    const result = await lab.exec(netns, line.split(' '));
    if (result.code === 0) done.push(command);
  }
  return done;
}

/** Numbers below 1 that a seed decides (mulberry32). */
export function generator(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

interface Draw {
  readonly state: LabState;
  readonly one: <T>(list: readonly T[]) => T;
  readonly node: LabNode;
  readonly peer: LabNode;
  /** A pod of `node` that takes part in flows, and one of `peer`. */
  readonly pod: LabPod;
  readonly far: LabPod;
  readonly family: 4 | 6;
}

/** Pods that the flows start or end at. */
const takingPart = ['ops/toolbox-1', 'shop/web-2', 'shop/api-1', 'shop/api-2', 'shop/db-1'];

const podName = (pod: LabPod): string => `${pod.namespace}/${pod.name}`;

export function drawDamage(state: LabState, random: () => number): Damage {
  const one = <T>(list: readonly T[]): T => {
    const chosen = list[Math.floor(random() * list.length)];
    if (chosen === undefined) throw new RangeError('nothing to choose from');
    return chosen;
  };
  const on = (where: LabNode) =>
    state.pods.filter((pod) => pod.node === where.name && takingPart.includes(podName(pod)));
  const nodes = state.nodes.filter((where) => on(where).length > 0);
  const node = one(nodes);
  const peer = one(nodes.filter((other) => other !== node));
  const draw: Draw = {
    state,
    one,
    node,
    peer,
    pod: one(on(node)),
    far: one(on(peer)),
    family: one(state.families),
  };
  return one([
    routes,
    routes,
    neighbours,
    devices,
    mtus,
    mtus,
    sysctls,
    rules,
    rules,
    policyRouting,
    bridge,
    servers,
    addresses,
  ])(draw);
}

const pick = (family: 4 | 6, values: readonly string[]): string =>
  values[family === 4 ? 0 : 1] ?? values[0] ?? '';
const ip = (family: 4 | 6): string => `ip -${family}`;
const hostBits = (family: 4 | 6): string => (family === 4 ? '/32' : '/128');

const tunnelDevice = ({ state, family }: Draw): string | undefined =>
  !state.cni.endsWith('-vxlan')
    ? undefined
    : state.cni === 'calico-vxlan'
      ? family === 4
        ? 'vxlan.calico'
        : 'vxlan-v6.calico'
      : family === 4
        ? 'flannel.1'
        : 'flannel-v6.1';

const isBridged = ({ state }: Draw): boolean => !state.cni.startsWith('calico');
const bridgeAddress = (cidr: string): string =>
  `${cidr.slice(0, cidr.indexOf('/'))}`.replace(/\.0$/, '.1').replace(/::$/, '::1');

function routes(draw: Draw): Damage {
  const { node, peer, pod, far, family, one } = draw;
  const cidr = pick(family, peer.podCidrs);
  const farAddress = pick(family, far.addresses);
  const other = pick(family, node.addresses);
  const onNode = (line: string): Damage => [{ at: node.name, line: `${ip(family)} route ${line}` }];
  const onPod = (line: string): Damage => [{ at: podName(pod), line: `${ip(family)} route ${line}` }];
  const type = one(['blackhole', 'unreachable', 'prohibit']);
  return one([
    onNode(`del ${cidr}`),
    onNode(`replace ${cidr} via ${pick(family, peer.addresses)} dev eth0`),
    onNode(`replace ${cidr} via ${other.replace(/\d+$/, '77')} dev eth0`),
    onNode(`replace ${type} ${cidr}`),
    onNode(`add ${type} ${farAddress}${hostBits(family)}`),
    onNode(`add ${farAddress}${hostBits(family)} via ${pick(family, peer.addresses)} dev eth0`),
    onNode(`add ${farAddress}${hostBits(family)} dev eth0`),
    onNode(`add throw ${farAddress}${hostBits(family)}`),
    onNode('del default'),
    onNode(`add ${type} ${pick(family, pod.addresses)}${hostBits(family)} metric 1`),
    onNode(`replace ${pick(family, pod.addresses)}${hostBits(family)} dev eth0`),
    ...(isBridged(draw)
      ? [
          onNode(`del ${pick(family, node.podCidrs)} dev cni0`),
          onNode(`add ${farAddress}${hostBits(family)} dev cni0`),
        ]
      : [onNode(`del ${pick(family, pod.addresses)}${hostBits(family)}`)]),
    onPod('del default'),
    onPod(`add ${farAddress}${hostBits(family)} dev eth0`),
    onPod(`add ${type} ${farAddress}${hostBits(family)}`),
    onPod(
      `add ${farAddress}${hostBits(family)} via ${pick(family, pod.addresses).replace(/\d+$/, '66')} dev eth0 onlink`,
    ),
    onPod(`replace default via ${bridgeAddress(pick(family, node.podCidrs))} dev eth0 mtu 1300`),
    onNode(`add ${farAddress}${hostBits(family)} via ${pick(family, peer.addresses)} dev eth0 mtu 1350`),
  ]);
}

const wrongMac = '02:00:00:00:66:66';

function neighbours(draw: Draw): Damage {
  const { node, peer, pod, far, family, one, state } = draw;
  const tunnel = tunnelDevice(draw);
  const podDevice = isBridged(draw) ? 'cni0' : pod.hostDevice;
  const gateway = isBridged(draw)
    ? bridgeAddress(pick(family, node.podCidrs))
    : family === 4
      ? '169.254.1.1'
      : 'fe80::ecee:eeff:feee:eeee';
  const vtep = pick(family, peer.podCidrs).replace(/\/.*$/, '');
  const on = (at: string, line: string): Damage => [{ at, line }];
  const choices: Damage[] = [
    on(
      node.name,
      `ip neigh replace ${pick(family, pod.addresses)} lladdr ${wrongMac} dev ${podDevice} nud permanent`,
    ),
    on(
      node.name,
      `ip neigh replace ${pick(family, peer.addresses)} lladdr ${wrongMac} dev eth0 nud permanent`,
    ),
    on(podName(pod), `ip neigh replace ${gateway} lladdr ${wrongMac} dev eth0 nud permanent`),
    on(podName(pod), `ip link set eth0 address 02:00:00:00:77:0${state.pods.indexOf(pod) % 10}`),
    on(node.name, `ip link set eth0 address 02:00:00:00:88:01`),
  ];
  if (isBridged(draw)) {
    choices.push(
      on(node.name, `ip link set cni0 address 02:00:00:00:99:01`),
      on(node.name, `ip link set ${pod.hostDevice} address 02:00:00:00:99:02`),
      on(node.name, `bridge fdb replace ${wrongMac} dev ${pod.hostDevice} master static`),
    );
    const neighbour = state.pods.find(
      (other) => other.node === pod.node && other !== pod && takingPart.includes(podName(other)),
    );
    if (neighbour !== undefined)
      choices.push(
        on(
          podName(pod),
          `ip neigh replace ${pick(family, neighbour.addresses)} lladdr ${wrongMac} dev eth0 nud permanent`,
        ),
      );
  }
  if (tunnel !== undefined)
    choices.push(
      on(node.name, `ip neigh del ${vtep} dev ${tunnel}`),
      on(node.name, `ip neigh replace ${vtep} lladdr ${wrongMac} dev ${tunnel} nud permanent`),
      on(node.name, `ip link set ${tunnel} address 02:00:00:00:aa:01`),
      on(node.name, `bridge fdb flush dev ${tunnel}`),
      on(node.name, `bridge fdb append 00:00:00:00:00:00 dev ${tunnel} dst ${pick(family, peer.addresses)}`),
      [
        ...on(node.name, `bridge fdb flush dev ${tunnel}`),
        ...on(
          node.name,
          `bridge fdb append 00:00:00:00:00:00 dev ${tunnel} dst ${pick(family, peer.addresses)}`,
        ),
      ],
      on(node.name, `ip neigh flush dev ${tunnel} nud permanent`),
      // Nobody to ask but everybody behind the all-zero entry.
      [
        ...on(node.name, `ip neigh flush dev ${tunnel} nud permanent`),
        ...on(
          node.name,
          `bridge fdb append 00:00:00:00:00:00 dev ${tunnel} dst ${pick(family, peer.addresses)}`,
        ),
      ],
      ...state.nodes
        .filter((other) => other !== node)
        .flatMap((other) => [
          // Every peer's frames to one of them, or to an address that nobody has.
          rewired(draw, tunnel, pick(family, other.addresses)),
          rewired(draw, tunnel, pick(family, other.addresses).replace(/\d+$/, '88')),
        ]),
    );
  void far;
  return one(choices);
}

/** One entry of the tunnel's FDB, made to lead elsewhere. */
function rewired(draw: Draw, tunnel: string, remote: string): Damage {
  const { node, peer, family } = draw;
  return [
    {
      at: node.name,
      line: `bridge fdb replace ${vtepMac(draw.state, peer, family)} dev ${tunnel} dst ${remote} self permanent`,
    },
  ];
}

function devices(draw: Draw): Damage {
  const { node, pod, one } = draw;
  const tunnel = tunnelDevice(draw);
  const on = (at: string, line: string): Damage => [{ at, line }];
  const choices = [
    on(node.name, `ip link set ${pod.hostDevice} down`),
    on(podName(pod), 'ip link set eth0 down'),
    on(node.name, `ip link del ${pod.hostDevice}`),
    on(node.name, 'ip link set eth0 down'),
    on(podName(pod), 'ip link set lo down'),
  ];
  if (isBridged(draw))
    choices.push(
      on(node.name, 'ip link set cni0 down'),
      on(node.name, `ip link set ${pod.hostDevice} nomaster`),
    );
  if (tunnel !== undefined) {
    const vni = draw.state.cni === 'calico-vxlan' ? 4096 : 1;
    const port = draw.state.cni === 'calico-vxlan' ? 4789 : 8472;
    const local = pick(draw.family, node.addresses);
    const again = (id: number, at: number, more?: Rebuilt): Damage =>
      rebuilt(draw, tunnel, id, at, local, more);
    choices.push(
      on(node.name, `ip link set ${tunnel} down`),
      on(node.name, `ip link del ${tunnel}`),
      again(vni + 1, port),
      again(vni, port + 1),
      // DF on the outer header, and an MTU that leaves no room for it.
      again(vni, port, { mtu: one([1500, 1450, 1400, 1550]), more: one(['', ' df set', ' df inherit']) }),
    );
  }
  return one(choices);
}

interface Rebuilt {
  readonly mtu?: number;
  /** Further words of `ip link add`. */
  readonly more?: string;
}

/** The tunnel device made anew, with everything that belongs to it, but another VNI or port. */
function rebuilt(
  draw: Draw,
  tunnel: string,
  id: number,
  port: number,
  local: string,
  wanted: Rebuilt = {},
): Damage {
  const { node, state, family } = draw;
  const mtu = wanted.mtu ?? state.underlayMtuBytes - (family === 4 ? 50 : 70);
  // As peers know it where only its size and DF differ.
  const isKnown = wanted.mtu !== undefined;
  const macOf = (of: LabNode) => (isKnown ? vtepMac(state, of, family) : '02:00:00:00:bb:01');
  const own = pick(family, node.podCidrs).replace(/\/.*$/, '');
  const at = node.name;
  return [
    { at, line: `ip link del ${tunnel}` },
    {
      at,
      line: `ip link add ${tunnel}${isKnown ? ` address ${macOf(node)}` : ''} mtu ${mtu} type vxlan id ${id} local ${local} dev eth0 dstport ${port} nolearning${wanted.more ?? ''}`,
    },
    { at, line: `ip addr add ${own}${hostBits(family)} dev ${tunnel}` },
    { at, line: `ip link set ${tunnel} up` },
    ...state.nodes
      .filter((other) => other !== node)
      .flatMap((other) => {
        const cidr = pick(family, other.podCidrs);
        const vtep = cidr.replace(/\/.*$/, '');
        return [
          { at, line: `ip neigh replace ${vtep} lladdr ${macOf(other)} dev ${tunnel} nud permanent` },
          { at, line: `ip -${family} route replace ${cidr} via ${vtep} dev ${tunnel} onlink` },
          {
            at,
            line: `bridge fdb replace ${macOf(other)} dev ${tunnel} dst ${pick(family, other.addresses)} self permanent`,
          },
        ];
      }),
  ];
}

function mtus(draw: Draw): Damage {
  const { node, pod, one } = draw;
  const tunnel = tunnelDevice(draw);
  const mtu = one([1300, 1400, 1440, 1460, 1500, 1550, 9000, 1200, 600]);
  const on = (at: string, device: string): Damage => [{ at, line: `ip link set ${device} mtu ${mtu}` }];
  return one([
    on(podName(pod), 'eth0'),
    on(node.name, pod.hostDevice),
    on(node.name, 'eth0'),
    [...on(podName(pod), 'eth0'), ...on(node.name, pod.hostDevice)],
    ...(isBridged(draw) ? [on(node.name, 'cni0')] : []),
    ...(tunnel === undefined ? [] : [on(node.name, tunnel), on(node.name, tunnel)]),
  ]);
}

function sysctls(draw: Draw): Damage {
  const { node, pod, one, family } = draw;
  const tunnel = tunnelDevice(draw);
  const podSide = isBridged(draw) ? 'cni0' : pod.hostDevice;
  const device = one(['eth0', podSide, 'all', ...(tunnel === undefined ? [] : [tunnel])]);
  const onNode = (line: string): Damage => [{ at: node.name, line: `sysctl -q -w ${line}` }];
  const onPod = (line: string): Damage => [{ at: podName(pod), line: `sysctl -q -w ${line}` }];
  return one([
    onNode('net/ipv4/ip_forward=0'),
    onNode(`net/ipv4/conf/${device}/forwarding=0`),
    onNode(`net/ipv6/conf/${device}/forwarding=0`),
    onNode(`net/ipv4/conf/${device}/rp_filter=1`),
    onNode(`net/ipv4/conf/${device}/rp_filter=2`),
    onNode(`net/ipv4/conf/${podSide}/proxy_arp=${isBridged(draw) ? 1 : 0}`),
    onNode(`net/bridge/bridge-nf-call-${family === 4 ? 'iptables' : 'ip6tables'}=0`),
    onNode(`net/ipv4/icmp_echo_ignore_all=1`),
    onPod(`net/ipv4/icmp_echo_ignore_all=1`),
    onPod(`net/ipv6/icmp/echo_ignore_all=1`),
    onPod(`net/ipv4/conf/all/rp_filter=1`),
    onNode(`net/ipv4/conf/${device}/accept_local=1`),
    onPod('net/ipv6/conf/all/disable_ipv6=1'),
    onNode(`net/ipv4/conf/${device}/arp_ignore=1`),
    onNode(`net/ipv4/conf/eth0/proxy_arp=1`),
    onNode(`net/ipv4/conf/${podSide}/proxy_arp=1`),
  ]);
}

function rules(draw: Draw): Damage {
  const { node, pod, far, family, one } = draw;
  const program = family === 4 ? 'iptables' : 'ip6tables';
  const place = one([
    {
      at: node.name,
      chains: [
        '-t filter -I FORWARD',
        '-t filter -I INPUT',
        '-t filter -I OUTPUT',
        '-t raw -I PREROUTING',
        '-t mangle -I PREROUTING',
        '-t mangle -I FORWARD',
        '-t mangle -I POSTROUTING',
        '-t raw -I OUTPUT',
      ],
    },
    {
      at: podName(pod),
      chains: [
        '-t filter -I INPUT',
        '-t filter -I OUTPUT',
        '-t raw -I PREROUTING',
        '-t mangle -I POSTROUTING',
      ],
    },
  ]);
  const chain = one(place.chains);
  const protocol = one([
    'tcp',
    'udp',
    family === 4 ? 'icmp' : 'ipv6-icmp --icmpv6-type echo-request',
    family === 4 ? 'icmp' : 'ipv6-icmp --icmpv6-type echo-reply',
    'tcp',
    'udp',
  ]);
  const devices = isBridged(draw) ? ['cni0', 'eth0'] : [pod.hostDevice, 'eth0'];
  const seesInput = /PREROUTING|INPUT|FORWARD/.test(chain);
  const narrower = one([
    '',
    '',
    ` -s ${pick(family, one([pod, far]).addresses)}`,
    ` -d ${pick(family, one([pod, far]).addresses)}`,
    ...(chain.includes('raw')
      ? []
      : [
          ' -m conntrack --ctstate ESTABLISHED',
          ' -m conntrack --ctstate NEW',
          ' -m conntrack --ctstate INVALID',
        ]),
    ` ${seesInput ? '-i' : '-o'} ${place.at.includes('/') ? 'eth0' : one(devices)}`,
    ...(protocol === 'tcp' || protocol === 'udp'
      ? [
          ` --dport ${protocol === 'tcp' ? '8080' : one(['8081', '8472', '4789'])}`,
          ` --sport ${protocol === 'tcp' ? '8080' : '8081'}`,
        ]
      : []),
    ...(protocol === 'tcp' ? [' --tcp-flags SYN,ACK SYN', ' --tcp-flags SYN,ACK SYN,ACK'] : []),
    ' -m length --length 1000:65535',
  ]);
  const target = one(['DROP', 'DROP', 'DROP', ...(chain.includes('filter') ? ['REJECT'] : []), 'ACCEPT']);
  const rule = { at: place.at, line: `${program} -w 5 ${chain} 1 -p ${protocol}${narrower} -j ${target}` };
  const policy =
    family === 4
      ? { at: node.name, line: `iptables -w 5 -P ${one(['FORWARD', 'INPUT', 'OUTPUT'])} DROP` }
      : rule;
  const noTrack = {
    at: node.name,
    line: `${program} -w 5 -t raw -I PREROUTING 1 -p ${protocol} -j CT --notrack`,
  };
  const redirected = {
    at: node.name,
    line: `${program} -w 5 -t nat -I PREROUTING 1 -p tcp -d ${pick(family, far.addresses)} --dport 8080 -j DNAT --to-destination ${family === 4 ? pick(4, pod.addresses) : `[${pick(6, pod.addresses)}]`}:8080`,
  };
  const masqueraded = {
    at: node.name,
    line: `${program} -w 5 -t nat -I POSTROUTING 1 -p ${protocol} -j MASQUERADE`,
  };
  const chosen = one([rule, rule, rule, rule, rule, policy, noTrack, redirected, masqueraded]);
  return target === 'ACCEPT' && chosen === rule
    ? [{ at: rule.at, line: `${program} -w 5 -P FORWARD DROP` }, rule]
    : [chosen];
}

function policyRouting(draw: Draw): Damage {
  const { node, peer, pod, far, family, one } = draw;
  const at = node.name;
  const device = isBridged(draw) ? 'cni0' : pod.hostDevice;
  const selector = one([
    `from ${pick(family, pod.addresses)}`,
    `to ${pick(family, far.addresses)}`,
    `to ${pick(family, pod.addresses)}`,
    `iif ${device}`,
    'iif eth0',
    'fwmark 0x4000/0x4000',
    `from ${pick(family, node.podCidrs)}`,
  ]);
  const inTable: readonly string[] = [
    `blackhole default table 77`,
    `unreachable default table 77`,
    `${pick(family, far.addresses)}${hostBits(family)} via ${pick(family, peer.addresses)} dev eth0 table 77`,
    `default via ${pick(family, peer.addresses)} dev eth0 table 77`,
    `throw default table 77`,
  ];
  return [
    { at, line: `ip -${family} route add ${one(inTable)}` },
    {
      at,
      line: `ip -${family} rule add pref 100 ${selector} ${one(['table 77', 'table 77', 'table 77', 'blackhole', 'unreachable'])}`,
    },
  ];
}

function bridge(draw: Draw): Damage {
  const { node, pod, one, state } = draw;
  if (!isBridged(draw)) return sysctls(draw);
  const at = node.name;
  const other = state.pods.find((p) => p.node === pod.node && p !== pod && takingPart.includes(podName(p)));
  const isolated = [pod, ...(other === undefined ? [] : [other])].map((p) => ({
    at,
    line: `bridge link set dev ${p.hostDevice} isolated on`,
  }));
  return one([
    isolated,
    isolated.slice(0, 1),
    [{ at, line: `bridge link set dev ${pod.hostDevice} hairpin off` }],
    [{ at, line: `bridge link set dev ${pod.hostDevice} state 0` }],
    [{ at, line: `bridge link set dev ${pod.hostDevice} state 4` }],
    [{ at, line: `bridge link set dev ${pod.hostDevice} flood off` }],
    [{ at, line: `bridge link set dev ${pod.hostDevice} learning off` }],
    [{ at, line: 'ip link set cni0 type bridge vlan_filtering 1' }],
  ]);
}

/** Commands that start with `!` are for the lab itself: its servers. */
const servers = (draw: Draw): Damage => {
  const to = draw.one(['off', '127.0.0.1', pick(4, draw.pod.addresses), '0.0.0.0']);
  return [{ at: podName(draw.pod), line: `!servers ${to}` }];
};

function addresses(draw: Draw): Damage {
  const { pod, far, node, peer, family, one } = draw;
  const nodad = family === 6 ? ' nodad' : '';
  const on = (at: string, line: string): Damage => [
    { at, line: `ip addr ${line}${line.startsWith('add') ? nodad : ''}` },
  ];
  const unrelated = family === 4 ? '172.31.9.9/24' : 'fd00:9:9::9/64';
  return one([
    on(podName(pod), `add ${unrelated} dev eth0`),
    on(podName(pod), `add ${pick(family, far.addresses)}${hostBits(family)} dev eth0`),
    on(node.name, `add ${pick(family, far.addresses)}${hostBits(family)} dev lo`),
    on(node.name, `add ${pick(family, pod.addresses)}${hostBits(family)} dev lo`),
    on(
      podName(pod),
      `add ${pick(family, pod.addresses).replace(/\d+$/, '200')}${family === 4 ? '/24' : '/64'} dev eth0`,
    ),
    on(
      podName(pod),
      `del ${pick(family, pod.addresses)}${isBridged(draw) ? (family === 4 ? '/24' : '/64') : hostBits(family)} dev eth0`,
    ),
    on(node.name, `add ${pick(family, peer.addresses)}${hostBits(family)} dev eth0`),
    on(node.name, `add ${unrelated} dev eth0`),
  ]);
}
