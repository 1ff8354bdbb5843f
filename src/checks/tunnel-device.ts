/** Every node needs the tunnel device that the others use, up, and with the same parameters. */
import type { Tunnel } from '../cni/cni.ts';
import type { Finding } from '../model/finding.ts';
import type { Device } from '../model/netns.ts';
import {
  type CheckContext,
  declared,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
} from './check.ts';

export const tunnelDevice = defineCheck({
  id: 'tunnel-device',
  title: 'Every node has the tunnel device, up, with one set of parameters',
  causes: ['overlay/device-missing', 'overlay/device-down', 'overlay/parameters-differ'],
  run: (context) => {
    const detected = context.need(context.cni);
    if (detected?.tunnel === undefined) return [];
    const { tunnel } = detected;
    const seen = context
      .nodes()
      .filter(({ netns }) => context.need(netns.devices) !== undefined)
      .map((view) => ({ view, device: context.world.device(view.netns, tunnel.device) }));
    const present = seen.filter((entry): entry is Present => entry.device !== undefined);
    return [
      ...seen.flatMap(({ view, device }) =>
        device === undefined
          ? missing(view, tunnel, present, detected.because)
          : device.up
            ? []
            : [down(view, device)],
      ),
      ...differing(context, tunnel, present),
    ];
  },
});

interface Present {
  readonly view: NodeView;
  readonly device: Device;
}

function missing(
  view: NodeView,
  tunnel: Tunnel,
  present: readonly Present[],
  because: string,
): Omit<Finding, 'check'>[] {
  // Nobody has it: the detection may be wrong about the name, so nothing is claimed.
  if (present.length === 0) return [];
  return [
    {
      cause: 'overlay/device-missing',
      severity: 'error',
      subject: deviceSubject(view.name, tunnel.device),
      concerns: [nodeSubject(view.name)],
      statement: `${view.name} has no tunnel device ${tunnel.device}`,
      evidence: [
        observed(`the devices of ${view.name} were recorded, and ${tunnel.device} is not among them`),
        ...present
          .slice(0, 1)
          .map(({ view: other, device }) => observed(`${other.name} has it`, device.source)),
        declared(`the pod network was recognised because ${because}`),
      ],
    },
  ];
}

const down = (view: NodeView, device: Device): Omit<Finding, 'check'> => ({
  cause: 'overlay/device-down',
  severity: 'error',
  subject: deviceSubject(view.name, device.name),
  concerns: [nodeSubject(view.name)],
  statement: `the tunnel device ${device.name} of ${view.name} is down`,
  evidence: [observed(`${device.name} lacks the UP flag`, device.source)],
});

/** What both sides must agree on; undefined for tunnels without such numbers, and where another program sets them. */
const formatParameters = ({ tunnel }: Device): string | undefined =>
  (tunnel?.kind === 'vxlan' || tunnel?.kind === 'geneve') && !tunnel.external
    ? `VNI ${tunnel.vni} UDP ${tunnel.port}`
    : undefined;

/** Devices that differ from what most nodes have; without a majority, from what the pod network's configuration says. */
function differing(
  context: CheckContext,
  tunnel: Tunnel,
  present: readonly Present[],
): Omit<Finding, 'check'>[] {
  const groups = new Map<string, Present[]>();
  for (const entry of present) {
    const key = formatParameters(entry.device);
    if (key === undefined) continue;
    groups.set(key, [...(groups.get(key) ?? []), entry]);
  }
  if (groups.size < 2) return [];
  const bySize = [...groups].toSorted((a, b) => b[1].length - a[1].length);
  const [largest, second] = bySize;
  const configured =
    tunnel.vni === undefined || tunnel.port === undefined
      ? undefined
      : `VNI ${tunnel.vni} UDP ${tunnel.port}`;
  const tie = largest?.[1].length === second?.[1].length;
  const usual = tie ? configured : largest?.[0];
  if (usual === undefined) {
    context.skip('tunnel parameters differ, and nothing says which are right');
    return [];
  }
  return bySize
    .filter(([key]) => key !== usual)
    .flatMap(([key, entries]) =>
      entries.map(({ view, device }) => ({
        cause: 'overlay/parameters-differ' as const,
        severity: 'error' as const,
        subject: deviceSubject(view.name, device.name),
        concerns: [nodeSubject(view.name)],
        statement: `${device.name} of ${view.name} uses ${key}, the other nodes use ${usual}`,
        evidence: [
          observed(`${view.name} uses ${key}`, device.source),
          ...(groups.get(usual) ?? [])
            .slice(0, 1)
            .map((other) => observed(`${other.view.name} uses ${usual}`, other.device.source)),
        ],
      })),
    );
}
