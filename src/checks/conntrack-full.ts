/** A full connection table drops new connections at random. */
import { sysctl } from '../dataplane/routing.ts';
import { defineCheck, nodeSubject, observed, sysctlRef } from './check.ts';

const countKey = 'net.netfilter.nf_conntrack_count';
const maxKey = 'net.netfilter.nf_conntrack_max';
/** Below this share a burst still fits; the kernel evicts early from 95 % on. */
const warnShare = 0.85;
const fullShare = 0.95;

export const conntrackFull = defineCheck({
  id: 'conntrack-full',
  title: 'Connection tables have room',
  causes: ['conntrack/table-full'],
  run: (context) =>
    context.nodes().flatMap(({ name, netns }) => {
      if (context.need(netns.sysctls) === undefined) return [];
      const count = Number(sysctl(netns, countKey) ?? Number.NaN);
      const max = Number(sysctl(netns, maxKey) ?? Number.NaN);
      // Absent without the conntrack module: then there is no table to fill. Zero means no limit.
      if (!(max > 0) || !(count / max >= warnShare)) return [];
      return [
        {
          cause: 'conntrack/table-full' as const,
          severity: count / max >= fullShare ? ('error' as const) : ('warning' as const),
          subject: nodeSubject(name),
          concerns: [],
          statement: `the connection table of ${name} holds ${count} of ${max} entries`,
          evidence: [
            observed(`${countKey} is ${count}`, sysctlRef(netns, countKey, String(count))),
            observed(`${maxKey} is ${max}`, sysctlRef(netns, maxKey, String(max))),
          ],
        },
      ];
    }),
});
