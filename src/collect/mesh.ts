/** Which probes go into a snapshot: every pod by a few senders on each node, so that later readers see what really passed. */
import type { Pod } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { formatAddress } from '../net/address.ts';
import type { PlannedProbe } from '../probe/plan.ts';

/** One pod alone may be under a policy that tells nothing about the node; more senders repeat each other. */
const sendersPerNode = 3;
/** A lab of 200 pods on 20 nodes stays below; the agents send all at once. */
const maxProbes = 20_000;
const timeoutMs = 1_000;

export function planMesh(snapshot: Snapshot): PlannedProbe[] {
  const running = orElse(snapshot.cluster.pods, []).filter(
    (pod) => pod.phase === 'Running' && !pod.hostNetwork && pod.addresses.length > 0,
  );
  const plan: PlannedProbe[] = [];
  for (const sender of chooseSenders(running, snapshot)) {
    for (const target of running) {
      if (target === sender.pod) continue;
      plan.push(...probesOf(sender, target));
      if (plan.length >= maxProbes) return plan;
    }
  }
  return plan;
}

interface Sender {
  readonly pod: Pod;
  readonly netns: string;
}

/** The first pods of each node, of different owners where there are some. */
function chooseSenders(pods: readonly Pod[], snapshot: Snapshot): Sender[] {
  const chosen: Sender[] = [];
  for (const node of new Set(pods.map((pod) => pod.node))) {
    const owners = new Set<string>();
    for (const pod of pods) {
      const netns = `${node}/${pod.namespace}_${pod.name}`;
      const owner = `${pod.namespace}/${pod.owner?.name ?? pod.name}`;
      if (pod.node !== node || owners.has(owner) || !snapshot.netns.has(netns)) continue;
      if (owners.size >= sendersPerNode) break;
      owners.add(owner);
      chosen.push({ pod, netns });
    }
  }
  return chosen;
}

function probesOf({ pod, netns }: Sender, target: Pod): PlannedProbe[] {
  const common = { src: `${pod.namespace}/${pod.name}`, timeoutMs };
  const ports = target.containers.flatMap((container) => container.ports);
  const tcp = ports.find((port) => port.protocol === 'TCP')?.port;
  return target.addresses.flatMap((address): PlannedProbe[] => {
    const dst = formatAddress(address);
    const ping: PlannedProbe = {
      from: netns,
      purpose: 'ping',
      request: { ...common, kind: 'icmp', dst },
    };
    if (tcp === undefined) return [ping];
    return [ping, { from: netns, purpose: 'connect', request: { ...common, kind: 'tcp', dst, port: tcp } }];
  });
}
