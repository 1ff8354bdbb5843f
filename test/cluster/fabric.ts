/** The network below the cluster: one bridge, a cable to each machine. Nothing of it is ever in the root namespace. */
import { inNetns, ipBatch, must } from '../../src/lab/run.ts';
import { exec } from '../../src/system/exec.ts';
import { nodePrefixLength, type Plan } from './plan.ts';

/** As many cloud networks do: VXLAN's outer header has no DF, so a tunnel packet that is too large would pass in pieces. */
const dropFragments = `table bridge fabric {
  chain forward {
    type filter hook forward priority 0
    ip frag-off & 0x3fff != 0 drop
  }
}
`;

export async function buildFabric(plan: Plan): Promise<void> {
  const machines = [plan.controlPlane, ...plan.nodes, plan.admin];
  const all = [plan.fabric.netns, ...machines.map(({ netns }) => netns)];
  await ipBatch(
    undefined,
    all.map((netns) => `netns add ${netns}`),
  );
  // Cables are made inside the fabric with the other end in the machine: no device passes through the root namespace.
  await ipBatch(plan.fabric.netns, [
    'link set lo up',
    'link add br0 type bridge stp_state 0',
    `addr add ${plan.fabric.address}/${nodePrefixLength} dev br0`,
    'link set br0 up',
    // Said, not dropped: a connection to a Service that kube-proxy has not written yet would wait for half a minute otherwise,
    // since conntrack keeps its first, untranslated address.
    'route add unreachable default',
    ...machines.flatMap(({ name, netns }) => [
      `link add ${name} type veth peer name eth0 netns ${netns}`,
      `link set ${name} master br0 up`,
    ]),
  ]);
  await must(inNetns(plan.fabric.netns, ['nft', '-f', '-']), { input: dropFragments });
  await must(inNetns(plan.fabric.netns, ['sysctl', '-q', '-w', 'net.ipv4.ip_forward=1']));
  await Promise.all(
    machines.map(({ netns, address }) =>
      ipBatch(netns, [
        'link set lo up',
        `addr add ${address}/${nodePrefixLength} dev eth0`,
        'link set eth0 up',
        `route add default via ${plan.fabric.address}`,
      ]),
    ),
  );
}

export const removeNamespace = (netns: string) => exec(['ip', 'netns', 'del', netns]);
