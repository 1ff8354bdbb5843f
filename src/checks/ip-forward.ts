/** A node that holds pods must forward: pod packets enter by one device and leave by another. */
import { sysctl, sysctlDevice } from '../dataplane/routing.ts';
import type { Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import {
  type CheckContext,
  defineCheck,
  deviceSubject,
  type NodeView,
  nodeSubject,
  observed,
  sysctlRef,
} from './check.ts';
import { podDevice } from './paths.ts';

export const ipForward = defineCheck({
  id: 'ip-forward',
  title: 'Nodes with pods forward packets',
  causes: ['route/ip-forward-off'],
  run: (context) => {
    const pods = context.pods();
    return context.nodes().flatMap((view) => {
      const families = new Set(
        pods.filter((pod) => pod.node === view.name).flatMap((pod) => pod.addresses.map((a) => a.family)),
      );
      if (families.size === 0 || context.need(view.netns.sysctls) === undefined) return [];
      return [
        ...(families.has(4) ? checkIpv4(context, view) : []),
        ...(families.has(6) ? checkIpv6(view) : []),
      ];
    });
  },
});

function checkIpv4(context: CheckContext, view: NodeView): Omit<Finding, 'check'>[] {
  const { netns, name } = view;
  const key = 'net.ipv4.ip_forward';
  const value = sysctl(netns, key);
  if (value === undefined) {
    context.skip(`${key} of ${name} was not recorded`);
    return [];
  }
  if (value === '0') {
    return [
      {
        cause: 'route/ip-forward-off',
        severity: 'error',
        subject: nodeSubject(name),
        concerns: [],
        statement: `${name} does not forward: ${key} is 0, and it runs pods`,
        evidence: [observed(`${key} is 0 on ${name}`, sysctlRef(netns, key, value))],
      },
    ];
  }
  // ip_forward sets every device once; a later write to one device's own switch turns only that one off (IN_DEV_FORWARD).
  return forwardingDevices(context, view).flatMap((device) => {
    const own = `net.ipv4.conf.${sysctlDevice(device)}.forwarding`;
    return sysctl(netns, own) !== '0'
      ? []
      : [
          {
            cause: 'route/ip-forward-off' as const,
            severity: 'error' as const,
            subject: deviceSubject(name, device),
            concerns: [nodeSubject(name)],
            statement: `${name} does not forward what arrives by ${device}: ${own} is 0`,
            evidence: [observed(`${own} is 0 on ${name}`, sysctlRef(netns, own, '0'))],
          },
        ];
  });
}

function checkIpv6({ netns, name }: NodeView): Omit<Finding, 'check'>[] {
  const key = 'net.ipv6.conf.all.forwarding';
  if (sysctl(netns, key) !== '0') return [];
  return [
    {
      cause: 'route/ip-forward-off',
      severity: 'error',
      subject: nodeSubject(name),
      concerns: [],
      statement: `${name} does not forward IPv6: ${key} is 0, and it runs pods with IPv6 addresses`,
      evidence: [observed(`${key} is 0 on ${name}`, sysctlRef(netns, key, '0'))],
    },
  ];
}

/** Devices that pod packets enter the node by: the underlay, the tunnel, the pods' own. */
function forwardingDevices({ world, snapshot, cni }: CheckContext, { netns, name }: NodeView): string[] {
  const local = orElse(snapshot.cluster.pods, [])
    .filter((pod) => pod.node === name && !pod.hostNetwork)
    .flatMap((pod) => pod.addresses)
    .map((address) => podDevice(netns, address));
  const candidates = [world.underlay(netns)?.name, orElse(cni, undefined)?.tunnel?.device, ...local];
  const names = candidates.filter((device) => device !== undefined);
  return [...new Set(names)].filter((device) => world.device(netns, device) !== undefined);
}
