/** Calico's pods ask for 169.254.1.1 by ARP; only proxy_arp on the host's end of the cable answers. */
import { sysctl, sysctlDevice } from '../dataplane/routing.ts';
import { orElse } from '../model/known.ts';
import { defineCheck, deviceSubject, nodeSubject, observed, podSubject, sysctlRef } from './check.ts';
import { podDevice } from './paths.ts';

export const proxyArp = defineCheck({
  id: 'proxy-arp',
  title: 'Calico’s host-side devices answer for the pods’ gateway',
  causes: ['route/neighbour-failed'],
  run: (context) => {
    if (orElse(context.cni, undefined)?.cni.name !== 'calico') return [];
    const pods = context.pods();
    return context.nodes().flatMap((view) => {
      if (context.need(view.netns.sysctls) === undefined) return [];
      return pods
        .filter((pod) => pod.node === view.name)
        .flatMap((pod) => {
          const address = pod.addresses.find((a) => a.family === 4);
          const device = address === undefined ? undefined : podDevice(view.netns, address);
          if (device === undefined || !device.startsWith('cali')) return [];
          const key = `net.ipv4.conf.${sysctlDevice(device)}.proxy_arp`;
          // IN_DEV_PROXY_ARP is the device's value or all's.
          const off =
            sysctl(view.netns, key) === '0' && sysctl(view.netns, 'net.ipv4.conf.all.proxy_arp') === '0';
          const podNetns = context.snapshot.netns.get(`${view.name}/${pod.namespace}_${pod.name}`);
          const answered = orElse(podNetns?.neighbours ?? { state: 'known', value: [] }, []).some((entry) =>
            entry.states.includes('PERMANENT'),
          );
          if (!off || answered) return [];
          return [
            {
              cause: 'route/neighbour-failed' as const,
              severity: 'error' as const,
              subject: deviceSubject(view.name, device),
              concerns: [nodeSubject(view.name), podSubject(pod)],
              statement: `${view.name} does not answer ${pod.namespace}/${pod.name}'s ARP for its gateway: ${key} is 0`,
              evidence: [observed(`${key} is 0 on ${view.name}`, sysctlRef(view.netns, key, '0'))],
            },
          ];
        });
    });
  },
});
