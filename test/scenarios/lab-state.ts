/** Everything about a lab that a fault might leave behind, as text by place. Counters and what expires by itself are left out. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Lab } from '../../src/lab/lab.ts';
import { mapLimit } from '../../src/system/exec.ts';

const node = `
ip -d link | sed -E 's/ [a-z_]*timer +[0-9.]+//g'
ip addr
ip -4 route show table all | sort
ip -6 route show table all | sort
ip rule; ip -6 rule
ip neigh show nud permanent | sort
bridge fdb show | grep permanent | sort
iptables-save | grep -v '^#'; ip6tables-save | grep -v '^#'
ipset save | sed -E 's/ (initval|bucketsize) [^ ]+//g' | sort
sysctl -a -r '^net.ipv[46].(conf|neigh|ip_forward)'
`;
const pod = `
ip -d link; ip addr; ip -4 route show table all; ip rule
iptables-save | grep -v '^#'
`;

export async function labState(lab: Lab): Promise<Record<string, string>> {
  const places = [
    ...lab.state.nodes.map(({ netns }) => [netns, node] as const),
    ...lab.state.pods.map(({ netns }) => [netns, pod] as const),
  ];
  const texts = await mapLimit(places, 3, async ([netns, script]) => {
    const { stdout } = await lab.exec(netns, ['sh', '-c', script]);
    // Packet counters of chains, and a flag of addresses that duplicate detection has yet to clear.
    return [netns, stdout.replace(/\[\d+:\d+\]/g, '').replace(/ tentative/g, '')] as const;
  });
  const files = (await readdir(join(lab.dir, 'cluster'))).map((file) => join('cluster', file));
  const contents = await Promise.all(
    [...files, 'servers.json'].map(
      async (file) => [file, await readFile(join(lab.dir, file), 'utf8')] as const,
    ),
  );
  return { ...Object.fromEntries([...texts, ...contents]), faults: JSON.stringify(lab.state.faults) };
}
