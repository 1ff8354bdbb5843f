/**
 * A second network of the pods, as Multus adds it: macvlan devices over the nodes' NICs, in random modes and damaged at
 * random. What the walk says against what the kernel does, as in topology.test.ts, whose variables choose rounds and seed.
 */
import { afterAll, describe, expect, it } from 'vitest';
import { downLab, type Lab, upLab } from '../../src/lab/lab.ts';
import { labName, ownStateDir, whyNoLab } from '../lab/support.ts';
import { isCi } from '../support/ci.ts';
import { compare, describeWrong, inflictAll, quieten } from './topology-compare.ts';
import { type Command, type Damage, formatDamage, generator } from './topology-damages.ts';
import type { Asked } from './topology-flows.ts';

const rounds = Number(process.env.PODPATH_TOPOLOGY_ROUNDS ?? 2);
// CI has one answer for one commit; other runs look further.
const chance = isCi ? 20_261_122 : Math.floor(Math.random() * 1_000_000);
const seed = Number(process.env.PODPATH_TOPOLOGY_SEED ?? chance);

ownStateDir();

const names = ['ops/toolbox-1', 'shop/web-2', 'shop/api-1', 'shop/api-2', 'shop/web-1'] as const;
const addressOf = (pod: string, family: 4 | 6): string => {
  const n = (names as readonly string[]).indexOf(pod) + 2;
  return family === 4 ? `10.98.0.${n}` : `fd00:98::${n}`;
};

/** A macvlan device for each pod, over its node's NIC. */
async function attach(lab: Lab): Promise<void> {
  for (const name of names) {
    const pod = lab.pod(name);
    const { netns } = lab.node(pod.node);
    await mustRun(lab, netns, `ip link add link eth0 name net1 netns ${pod.netns} type macvlan mode bridge`);
    for (const line of [
      'ethtool -K net1 tso off gso off gro off tx off',
      `ip addr add ${addressOf(name, 4)}/24 dev net1`,
      `ip addr add ${addressOf(name, 6)}/64 dev net1 nodad`,
      'ip link set net1 up',
    ])
      await mustRun(lab, pod.netns, line);
  }
}

async function mustRun(lab: Lab, netns: string, line: string): Promise<void> {
  const result = await lab.exec(netns, line.split(' '));
  if (result.code !== 0) throw new Error(`${line}: ${result.stderr}`);
}

const flows = (): readonly Asked[] =>
  ([4, 6] as const).flatMap((family) => {
    const to = (src: string, dst: string): Asked[] => {
      const common = { src, dst, family, address: addressOf(dst, family) };
      return [
        { ...common, kind: 'tcp', port: 8080 },
        { ...common, kind: 'tcp-both', port: 8080 },
        { ...common, kind: 'udp', port: 8081 },
        { ...common, kind: 'icmp', port: 0 },
        ...[1300, 1400, 1500].map((sizeBytes): Asked => ({ ...common, kind: 'icmp', port: 0, sizeBytes })),
      ];
    };
    return [
      ...to('ops/toolbox-1', 'shop/api-1'),
      ...to('ops/toolbox-1', 'shop/api-2'),
      ...to('shop/web-2', 'shop/api-2'),
      ...to('shop/web-1', 'shop/api-1'),
      {
        src: 'node1',
        dst: 'shop/api-1',
        family,
        kind: 'tcp',
        port: 8080,
        address: addressOf('shop/api-1', family),
      },
      {
        src: 'node2',
        dst: 'shop/api-1',
        family,
        kind: 'tcp',
        port: 8080,
        address: addressOf('shop/api-1', family),
      },
      ...(['node1', 'node2'] as const).map(
        (dst): Asked => ({ src: 'shop/web-1', dst, family, kind: 'icmp', port: 0 }),
      ),
    ];
  });

const wrongMac = '02:00:00:00:66:66';

function draw(random: () => number): Damage {
  const one = <T>(list: readonly T[]): T => {
    const chosen = list[Math.floor(random() * list.length)];
    if (chosen === undefined) throw new RangeError('nothing to choose from');
    return chosen;
  };
  const on = (at: string, ...lines: string[]): Command[] => lines.map((line) => ({ at, line }));
  const [pod, other] = [one(names), one(names)];
  const node = one(['node1', 'node2']);
  const family = one([4, 6] as const);
  const bits = family === 4 ? 32 : 128;
  const mode = one(['private', 'vepa', 'private', 'vepa', 'bridge']);
  const mtu = one([1280, 1300, 1400, 1450, 600]);
  const shim = family === 4 ? '10.98.0.240' : 'fd00:98::f0';
  return one<Damage>([
    on(pod, `ip link set net1 type macvlan mode ${mode}`),
    [
      ...on(pod, `ip link set net1 type macvlan mode ${mode}`),
      ...on(other, `ip link set net1 type macvlan mode ${mode}`),
    ],
    on(pod, 'ip link set net1 down'),
    on(pod, `ip link set net1 mtu ${mtu}`),
    on(node, `ip link set eth0 mtu ${mtu}`),
    on(node, 'ip link set eth0 down'),
    on(pod, `ip neigh replace ${addressOf(other, family)} lladdr ${wrongMac} dev net1 nud permanent`),
    on(pod, 'ip link set net1 address 02:00:00:00:77:01'),
    on(pod, `ip addr del ${addressOf(pod, family)}/${family === 4 ? 24 : 64} dev net1`),
    on(pod, `ip -${family} route add blackhole ${addressOf(other, family)}/${bits}`),
    on(pod, `sysctl -q -w net/ipv4/conf/net1/arp_ignore=8`),
    on(pod, `sysctl -q -w net/ipv4/conf/all/rp_filter=1`),
    on(pod, `${family === 4 ? 'iptables' : 'ip6tables'} -w 5 -I INPUT -i net1 -p tcp -j DROP`),
    on(node, `${family === 4 ? 'iptables' : 'ip6tables'} -w 5 -P FORWARD DROP`),
    on(
      node,
      'ip link add shim link eth0 type macvlan mode bridge',
      `ip addr add ${shim}/${bits} dev shim${family === 6 ? ' nodad' : ''}`,
      'ip link set shim up',
      `ip -${family} route add ${family === 4 ? '10.98.0.0/24' : 'fd00:98::/64'} dev shim`,
    ),
  ]);
}

describe.skipIf(whyNoLab !== undefined || rounds === 0)(`macvlan, seed ${seed}`, () => {
  const counts = { compared: 0, unknown: 0, mixed: 0 };
  afterAll(() =>
    console.log(
      `macvlan seed ${seed}: ${counts.compared} compared, ${counts.unknown} unknown, ${counts.mixed} mixed`,
    ),
  );

  it.each(Array.from({ length: rounds }, (_, round) => round))('round %i', async (round) => {
    const random = generator(seed + round);
    const lab = await upLab({
      name: labName(`mv${round}`),
      nodes: 2,
      cni: random() < 0.5 ? 'flannel-host-gw' : 'calico-vxlan',
      dualStack: true,
      ownerPid: process.pid,
    });
    try {
      await attach(lab);
      await quieten(lab);
      const count = Math.floor(3 * random());
      const wanted = Array.from({ length: count }, () => draw(random));
      const damage = await inflictAll(lab, wanted.flat());
      const found = await compare(lab, flows());
      for (const { predicted } of found) {
        if (predicted.answer === 'unknown') counts.unknown++;
        else if (predicted.answer === 'mixed') counts.mixed++;
        else counts.compared++;
      }
      const wrong = found.filter((one) => !one.agrees);
      const text = `seed ${seed + round} [${formatDamage(damage)}]\n${describeWrong(wrong)}`;
      expect(wrong.length === 0 ? '' : text).toBe('');
    } finally {
      await downLab(lab.state.name);
    }
  });
});
