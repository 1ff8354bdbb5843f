/** kube-proxy's rules must see packets between pods of one bridge, or answers of a Service's local server come back untranslated. */
import { sysctl } from '../dataplane/routing.ts';
import { defineCheck, type NodeView, nodeSubject, observed, sysctlRef } from './check.ts';

const key = 'net.bridge.bridge-nf-call-iptables';

export const bridgeNf = defineCheck({
  id: 'bridge-nf',
  title: 'Bridged pod packets pass the packet filter',
  causes: ['netfilter/bridge-nf-off'],
  run: (context) => {
    const views = context.nodes().filter(({ netns }) => context.need(netns.sysctls) !== undefined);
    // Without the module the key is not there at all, which says something only where other nodes have it.
    const known = views.some(({ netns }) => sysctl(netns, key) !== undefined);
    return views.flatMap((view) => {
      const value = sysctl(view.netns, key);
      if (value === '1' || (value === undefined && !known)) return [];
      if (!translatesServices(view) || bridgedPods(view) < 2) return [];
      return [
        {
          cause: 'netfilter/bridge-nf-off' as const,
          severity: 'error' as const,
          subject: nodeSubject(view.name),
          concerns: [],
          statement:
            value === undefined
              ? `${view.name} lacks br_netfilter: packets between its pods pass by the packet filter`
              : `packets between pods of ${view.name} pass by the packet filter: ${key} is ${value}`,
          evidence: [
            value === undefined
              ? observed(`${key} is not among the sysctls of ${view.name}, other nodes have it`)
              : observed(`${key} is ${value}`, sysctlRef(view.netns, key, value)),
          ],
        },
      ];
    });
  },
});

/** Veth devices that are ports of one bridge: pods of other networks are routed and need no such switch. */
function bridgedPods({ netns }: NodeView): number {
  if (netns.devices.state === 'unknown') return 0;
  return netns.devices.value.filter(({ kind, master }) => kind === 'veth' && master !== undefined).length;
}

const translatesServices = ({ netns }: NodeView): boolean =>
  netns.rulesets.state === 'known' &&
  netns.rulesets.value.some(({ tables }) =>
    tables.some(
      ({ name, chains }) => name === 'nat' && (chains.get('KUBE-SERVICES')?.rules ?? []).length > 0,
    ),
  );
