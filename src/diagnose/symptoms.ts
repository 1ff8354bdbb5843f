/**
 * Where real packets are lost and no recorded state shows why: what is left is the network between the nodes, which no
 * snapshot shows. These are guesses by pattern, scored as such, each with the probe that would decide.
 */
import type { World } from '../dataplane/world.ts';
import type { ProbeResult } from '../model/evidence.ts';
import type { Cause } from '../model/finding.ts';
import { formatEndpoint } from './endpoint.ts';
import type { Investigation } from './investigate.ts';
import type { Probed } from './probed.ts';
import { repairOf } from './repair.ts';

export function guesses(
  world: World,
  investigation: Investigation,
  probed: Probed | undefined,
): readonly Cause[] {
  if (probed === undefined || probed.answer !== 'unreachable') return [];
  const { flow, shown } = investigation;
  const own = probed.results.filter((result) => result.src === formatEndpoint(flow.src));
  const refused = own.find((result) => result.outcome === 'refused' && result.port === flow.dstPort);
  if (refused !== undefined) return [notListening(world, investigation, refused)];
  const hops = shown?.trace.forward ?? [];
  const tunnelled = hops.find((hop) => hop.steps.some((s) => s.kind === 'encap'));
  const small = own.some(
    (result) => result.kind === flow.protocol && result.outcome === 'ok' && result.sizeBytes === 0,
  );
  if (small) return [fabricMtu(world, investigation)];
  return tunnelled === undefined ? [] : [fabricDropsTunnel(investigation, tunnelled.node)];
}

function notListening(world: World, { flow }: Investigation, probe: ProbeResult): Cause {
  const name = formatEndpoint(flow.dst);
  return {
    id: 'app/not-listening',
    title: `${name} refuses ${probe.kind}/${probe.port}`,
    score: 0.7,
    subject: { kind: 'pod', name },
    evidence: [
      {
        how: 'probed',
        statement: `${probe.src} was refused by ${probe.dst} port ${probe.port}`,
        source: { kind: 'command', command: probe.command, output: probe.output },
      },
    ],
    contradictedBy: [],
    repair: repairOf('app/not-listening', world, undefined, name),
  };
}

function fabricDropsTunnel({ shown }: Investigation, node: string): Cause {
  const outer = shown?.trace.forward.find((hop) => hop.packet.inner !== undefined)?.packet;
  const port = outer?.dstPort ?? 8472;
  const peer = shown?.trace.forward.find((hop) => hop.node !== node)?.node ?? 'the other node';
  return {
    id: 'overlay/port-blocked',
    title: `nothing on the nodes drops the packets, so the network between ${node} and ${peer} probably drops UDP ${port}`,
    score: 0.5,
    subject: { kind: 'node', name: node },
    evidence: [
      {
        how: 'simulated',
        statement: `every recorded rule and route of ${node} and ${peer} lets the flow pass`,
      },
    ],
    contradictedBy: [],
    repair: [`allow UDP ${port} between all nodes in the security groups and firewalls of the network`],
    nextProbe: `on ${peer}: tcpdump -ni any udp port ${port}, while the source sends`,
  };
}

function fabricMtu(world: World, investigation: Investigation): Cause {
  const name = formatEndpoint(investigation.flow.src);
  return {
    id: 'mtu/pmtud-blackhole',
    title: 'small packets pass and full-size ones do not: the path carries less than the devices say',
    score: 0.55,
    subject: { kind: 'pod', name },
    evidence: [],
    contradictedBy: [],
    repair: repairOf('mtu/pmtud-blackhole', world, undefined, name),
    nextProbe: 'ping -M do -s SIZE from node to node, to find the size that passes',
  };
}
