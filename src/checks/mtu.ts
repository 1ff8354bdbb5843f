/** Packets of the size that pods send must fit through the tunnel and the underlay. */
import type { Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import type { Device } from '../model/netns.ts';
import {
  type CheckContext,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
} from './check.ts';
import { dropsFragmentationNeeded } from './packets.ts';
import { localPod } from './paths.ts';

/** What the tunnel adds to an inner IP packet (IPv4 underlay): all outer headers, and of VXLAN and Geneve the inner Ethernet header. */
const overheadBytes = { vxlan: 50, geneve: 50, ipip: 20, wireguard: 60, gre: 24 } as const;

interface Sizes {
  readonly view: NodeView;
  readonly underlay: Device;
  readonly tunnel: Device;
  /** Devices that pods send by: the bridge or veth, and the pod's own. */
  readonly pod?: Device;
}

export const mtu = defineCheck({
  id: 'mtu',
  title: 'Pod packets fit through the tunnel',
  causes: ['mtu/too-large-for-overlay', 'mtu/differs-between-nodes', 'mtu/pmtud-blackhole'],
  run: (context) => {
    const detected = context.need(context.cni);
    if (detected?.tunnel === undefined) return [];
    const { tunnel } = detected;
    const sizes = context.nodes().flatMap((view) => {
      if (context.need(view.netns.devices) === undefined) return [];
      const underlay = context.world.underlay(view.netns);
      const device = context.world.device(view.netns, tunnel.device);
      if (underlay === undefined || device === undefined) return [];
      const pod = podSide(context, view);
      return [{ view, underlay, tunnel: device, ...(pod === undefined ? {} : { pod }) }];
    });
    return [
      ...sizes.flatMap((entry) => tooLarge(entry, overheadBytes[tunnel.kind])),
      ...sizes.flatMap((entry) => blackhole(context, entry)),
      ...differing(sizes),
    ];
  },
});

/** The device with the largest packets that local pods can send: their own eth0 where it is known, else the host's end. */
function podSide(context: CheckContext, view: NodeView): Device | undefined {
  const found = localPod(context, view, 4) ?? localPod(context, view, 6);
  if (found === undefined) return undefined;
  const netns = context.snapshot.netns.get(`${view.name}/${found.pod.namespace}_${found.pod.name}`);
  const own =
    netns === undefined ? undefined : orElse(netns.devices, []).find((device) => device.name === 'eth0');
  return own ?? context.world.device(view.netns, found.device);
}

function tooLarge({ view, underlay, tunnel }: Sizes, overhead: number): Omit<Finding, 'check'>[] {
  if (tunnel.mtuBytes + overhead <= underlay.mtuBytes) return [];
  return [
    {
      cause: 'mtu/too-large-for-overlay',
      severity: 'error',
      subject: deviceSubject(view.name, tunnel.name),
      concerns: [nodeSubject(view.name), deviceSubject(view.name, underlay.name)],
      statement: `${tunnel.name} of ${view.name} carries ${tunnel.mtuBytes} bytes, but ${underlay.name} has room for ${underlay.mtuBytes - overhead} (${underlay.mtuBytes} less ${overhead} of tunnel headers)`,
      evidence: [
        observed(`${tunnel.name} has MTU ${tunnel.mtuBytes}`, tunnel.source),
        observed(`${underlay.name} has MTU ${underlay.mtuBytes}`, underlay.source),
      ],
    },
  ];
}

/** Larger pod packets are fine as long as the node can tell the pod so: path MTU discovery. */
function blackhole(context: CheckContext, { view, tunnel, pod }: Sizes): Omit<Finding, 'check'>[] {
  if (pod === undefined || pod.mtuBytes <= tunnel.mtuBytes) return [];
  const drop = dropsFragmentationNeeded(context, view);
  if (drop === undefined) return [];
  return [
    {
      cause: 'mtu/pmtud-blackhole',
      severity: 'error',
      subject: nodeSubject(view.name),
      concerns: [deviceSubject(view.name, tunnel.name)],
      statement: `${view.name} drops its own "fragmentation needed" answers, and its pods send ${pod.mtuBytes} bytes where ${tunnel.name} carries ${tunnel.mtuBytes}`,
      evidence: [
        observed('this drops ICMP type 3 code 4', drop),
        observed(`pods send by ${pod.name} with MTU ${pod.mtuBytes}`, pod.source),
        observed(`${tunnel.name} has MTU ${tunnel.mtuBytes}`, tunnel.source),
      ],
    },
  ];
}

function differing(sizes: readonly Sizes[]): Omit<Finding, 'check'>[] {
  const largest = sizes.reduce((max, { tunnel }) => Math.max(max, tunnel.mtuBytes), 0);
  // A tunnel device drops nothing that it receives; a smaller one makes its peers' full-size packets unanswerable in size.
  const small = sizes.filter(({ tunnel }) => tunnel.mtuBytes < largest);
  const large = sizes.find(({ tunnel }) => tunnel.mtuBytes === largest);
  return small.map(({ view, tunnel }) => ({
    cause: 'mtu/differs-between-nodes' as const,
    severity: 'warning' as const,
    subject: deviceSubject(view.name, tunnel.name),
    concerns: [nodeSubject(view.name), ...(large === undefined ? [] : [nodeSubject(large.view.name)])],
    statement: `${tunnel.name} of ${view.name} has MTU ${tunnel.mtuBytes}, other nodes have ${largest}`,
    evidence: [
      observed(`${view.name}: ${tunnel.mtuBytes}`, tunnel.source),
      ...(large === undefined ? [] : [observed(`${large.view.name}: ${largest}`, large.tunnel.source)]),
    ],
  }));
}
