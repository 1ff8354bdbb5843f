/** Rules that drop a port or an address, in chains that neither Kubernetes nor a known agent writes. */
import type { RuleView } from '../dataplane/netfilter/context.ts';
import { ownerOf } from '../dataplane/netfilter/owner.ts';
import type { Finding } from '../model/finding.ts';
import { orElse } from '../model/known.ts';
import type { Chain, Rule, Ruleset } from '../model/netfilter.ts';
import type { SourceRef } from '../model/source.ts';
import { type CheckContext, defineCheck, type NodeView, nodeSubject, observed, podSubject } from './check.ts';
import { type Loss, podTrafficLosses } from './pod-traffic.ts';

export const foreignDrop = defineCheck({
  id: 'foreign-drop',
  title: 'No foreign rule drops pod packets',
  causes: ['netfilter/foreign-rule'],
  run: (context) => {
    const losses = podTrafficLosses(context).filter(
      ({ owner, decisive }) =>
        owner === 'foreign' && decisive.rule !== undefined && isSpecific(decisive.rule),
    );
    const proven = new Map<string, Loss[]>();
    for (const loss of losses) {
      const key = `${loss.view.name} ${sourceKey(loss.decisive.rule?.source)}`;
      proven.set(key, [...(proven.get(key) ?? []), loss]);
    }
    const certain = [...proven.values()].flatMap(harmful);
    const suspected = context.nodes().flatMap((view) => {
      const rulesets = context.need(view.netns.rulesets) ?? [];
      return rulesets
        .flatMap((ruleset) => foreignRules(context, view, ruleset))
        .filter(({ rule }) => !proven.has(`${view.name} ${sourceKey(rule.source)}`))
        .map(({ rule, chain }) => suspicious(view, rule, chain));
    });
    return [...certain, ...suspected];
  },
});

const sourceKey = (source: SourceRef | undefined): string => JSON.stringify(source);

/** True if the rule singles out a port, an address, a set or a protocol; otherwise it drops whatever comes. */
export const isSpecific = (rule: RuleView): boolean =>
  rule.matches.some(({ kind }) =>
    ['port', 'address', 'address-range', 'set', 'protocol', 'icmp-type'].includes(kind),
  );

function harmful(losses: readonly Loss[]): Omit<Finding, 'check'>[] {
  const [first] = losses;
  const rule = first?.decisive.rule;
  if (first === undefined || rule === undefined) return [];
  const { view, decisive, dst, port, protocol } = first;
  const where = `${decisive.table} ${decisive.chainStack.at(-1)}`;
  const hit = new Map(losses.map((loss) => loss.dst).map((pod) => [`${pod.namespace}/${pod.name}`, pod]));
  return [
    {
      cause: 'netfilter/foreign-rule',
      severity: 'error',
      subject: nodeSubject(view.name),
      concerns: [...hit.values()].map(podSubject),
      statement: `a rule in ${where} of ${view.name}, written by nobody known, drops packets to ${dst.namespace}/${dst.name}:${port}/${protocol.toUpperCase()}`,
      evidence: [
        observed('this rule ends packets that every NetworkPolicy allows', rule.source),
        ...counted(rule),
      ],
    },
  ];
}

const counted = ({ counters, source }: RuleView): Finding['evidence'] =>
  counters === undefined || counters.packets === 0
    ? []
    : [observed(`it has dropped ${counters.packets} packets`, source)];

/** Base chains that forwarded packets pass; INPUT and OUTPUT are the node's own business. */
const onThePath = new Set(['PREROUTING', 'FORWARD']);

function foreignRules(
  context: CheckContext,
  view: NodeView,
  ruleset: Ruleset,
): { rule: Rule; chain: Chain }[] {
  return ruleset.tables.flatMap(({ chains }) => {
    const reached = reachable(chains);
    return [...chains.values()]
      .filter(({ name }) => reached.has(name))
      .flatMap((chain) =>
        chain.rules
          .filter(
            (rule) => ownerOf(chain.name, rule) === 'foreign' && dropsNewPodTraffic(context, view, rule),
          )
          .map((rule) => ({ rule, chain })),
      );
  });
}

function reachable(chains: ReadonlyMap<string, Chain>): Set<string> {
  const reached = new Set([...onThePath].filter((name) => chains.has(name)));
  for (const name of reached) {
    for (const { target } of chains.get(name)?.rules ?? [])
      if (target.kind === 'jump' || target.kind === 'goto') reached.add(target.chain);
  }
  return reached;
}

function dropsNewPodTraffic({ world, cni }: CheckContext, { netns }: NodeView, rule: Rule): boolean {
  if (rule.target.kind !== 'drop' && rule.target.kind !== 'reject') return false;
  const tunnelPort = orElse(cni, undefined)?.tunnel?.port;
  const names = rule.matches.some(({ kind }) => ['port', 'address', 'address-range'].includes(kind));
  const harmless = rule.matches.some((match) => {
    switch (match.kind) {
      case 'unknown':
        return true;
      case 'ct-state':
        return match.states.includes('NEW') === match.negate;
      case 'port':
        // The tunnel's own packets have a check of their own.
        return (
          match.side === 'dst' &&
          !match.negate &&
          tunnelPort !== undefined &&
          match.ranges.some((r) => r.from <= tunnelPort && tunnelPort <= r.to)
        );
      case 'device':
        // A rule on a device that is not there, or on one that pods do not use (docker0), drops none of their packets.
        return !match.negate && !match.name.endsWith('+') && world.device(netns, match.name) === undefined;
      default:
        return false;
    }
  });
  return names && !harmless;
}

const suspicious = (view: NodeView, rule: Rule, chain: Chain): Omit<Finding, 'check'> => ({
  cause: 'netfilter/foreign-rule',
  severity: 'warning',
  subject: nodeSubject(view.name),
  concerns: [],
  statement: `a rule in ${chain.name} of ${view.name}, written by nobody known, drops forwarded packets`,
  evidence: [
    observed('no pod that was recorded is known to need what it drops', rule.source),
    ...counted(rule),
  ],
});
