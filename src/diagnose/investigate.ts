/** Puts the engines' answers about one flow together: the walk, the policies, the name, the probes. */

import { conclude, walk } from '../dataplane/walk.ts';
import type { World } from '../dataplane/world.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Endpoint, Flow } from '../model/flow.ts';
import type { Gap } from '../model/gap.ts';
import { orElse, unknown } from '../model/known.ts';
import { backendsOf, servicePort } from '../model/services.ts';
import { formatSource, objectRef } from '../model/source.ts';
import type { Branch, Disposition, Step, Verdict } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import { type PolicyDecision, type PolicyRef, policyTitle } from '../policy/decision.ts';
import { judgePolicies } from '../policy/judge.ts';
import { breakOf, policyAgents } from './classify.ts';
import { endpointAt, netnsIdOf } from './endpoint.ts';
import { resolverOf } from './resolver.ts';

export interface Investigation {
  readonly flow: Flow;
  readonly verdict: Verdict;
  /** The branch that the verdict shows. */
  readonly shown?: Branch;
  /** What the policies say about the flow's last leg: the pod that takes it. */
  readonly policy?: PolicyDecision;
  /** True where the walk was lost at a policy agent's rule that the policies do ask for. */
  readonly deniedByPolicy?: 'ingress' | 'egress';
}

/** Walks the flow and asks the policies; `explain` keeps the rules that matched. Never throws for gaps: they make the answer unknown. */
export function investigate(
  world: World,
  flow: Flow,
  options: { readonly explain?: true } = {},
): Investigation {
  const netnsId = netnsIdOf(world.snapshot, flow.src);
  const netns = netnsId === undefined ? undefined : world.netns(netnsId);
  const branches =
    netns === undefined ? [] : walk(world, flow, { netns, address: flow.src.address, ...options });
  const concluded = conclude(branches);
  const shown = branches.find((branch) => branch.trace === concluded.trace);
  const policy = askPolicies(world, flow, shown);
  const denied = deniedDirection(policy);
  const atAgent = shown !== undefined && isAgentRule(shown);
  const gaps = [
    ...(netns === undefined ? [missingStart(flow, netnsId)] : []),
    ...branches.flatMap((branch) => branchGaps(branch)),
  ];
  // A data plane that cannot be read (eBPF) still obeys its policies: what they refuse is refused. Of one that was not
  // recorded nobody knows whether it enforces any.
  const obeys = concluded.answer === 'unknown' && hasOwnDataPlane(world, shown);
  const decidedByPolicy = denied !== undefined && (atAgent || obeys);
  const verdict: Verdict = {
    flow,
    answer: decidedByPolicy ? 'unreachable' : concluded.answer,
    disposition: decidedByPolicy ? dispositionOf(denied) : concluded.disposition,
    trace: concluded.trace,
    branches,
    evidence: [...walkEvidence(shown), ...policyEvidence(policy)],
    gaps: unique(gaps),
  };
  return {
    flow,
    verdict,
    ...(shown === undefined ? {} : { shown }),
    ...(policy === undefined ? {} : { policy }),
    ...(decidedByPolicy ? { deniedByPolicy: denied } : {}),
  };
}

/** Cilium's programs or Open vSwitch on a node of the way: they enforce policies where no rule shows it. */
const hasOwnDataPlane = (world: World, shown: Branch | undefined): boolean =>
  [...(shown?.trace.forward ?? []), ...(shown?.trace.back ?? [])].some(({ node }) =>
    orElse(world.netns(node)?.devices ?? unknown('not recorded'), []).some(
      ({ name, kind }) => name === 'cilium_host' || kind === 'openvswitch',
    ),
  );

const dispositionOf = (direction: 'ingress' | 'egress'): Disposition =>
  direction === 'ingress' ? 'denied-ingress' : 'denied-egress';

function isAgentRule(branch: Branch): boolean {
  const broken = breakOf(branch);
  return broken?.step.kind === 'filter' && policyAgents.has(broken.step.facts?.owner ?? '');
}

function missingStart(flow: Flow, netnsId: string | undefined): Gap {
  const where = netnsId ?? formatAddress(flow.src.address);
  return {
    what: `the network namespace that the flow starts in (${where})`,
    where: netnsId === undefined ? 'outside the cluster' : `nodes/${netnsId}`,
    why:
      netnsId === undefined
        ? 'the source is no pod or node of this cluster, so there is nothing to walk through'
        : 'the snapshot holds no state of it',
    todo:
      netnsId === undefined
        ? 'name a pod or node as the source'
        : 'collect the snapshot again with access to that node and pod',
  };
}

/** Doubts of the walk as gaps; each step says what would have been needed. */
function branchGaps(branch: Branch): Gap[] {
  const steps = [...branch.trace.forward, ...branch.trace.back].flatMap((hop) =>
    hop.steps
      .filter((s) => s.reason === 'unknown-state' || s.facts?.gap !== undefined)
      .map((s) => ({ hop, step: s })),
  );
  return steps.map(({ hop, step }) => {
    const what = step.facts?.gap ?? step.facts?.what ?? step.text;
    const source = step.sources?.[0];
    return {
      what,
      where: source === undefined ? `nodes/${hop.netns}` : formatSource(source),
      why: step.text,
      todo: step.facts?.todo ?? todoFor(what),
    };
  });
}

function todoFor(what: string): string {
  if (what.startsWith('the network'))
    return 'look at that network with its own tools: it is outside the snapshot';
  if (what.includes('nftables')) return 'compare with: nft list ruleset';
  if (what.startsWith('a rule')) return 'read the rule named above: it holds a match that is not understood';
  return 'collect the snapshot again with the right to read it; podpath doctor says what is missing';
}

const unique = (gaps: readonly Gap[]): Gap[] => [
  ...new Map(gaps.map((gap) => [`${gap.what}|${gap.where}`, gap])).values(),
];

/** The pod behind the flow's last leg: after Service translation, before delivery. */
function askPolicies(world: World, flow: Flow, shown: Branch | undefined): PolicyDecision | undefined {
  const { cluster } = world.snapshot;
  const leg = lastLeg(world, flow, shown);
  return leg === undefined
    ? undefined
    : judgePolicies(cluster, { src: flow.src, dst: leg.dst, protocol: flow.protocol, dstPort: leg.port });
}

function lastLeg(
  world: World,
  flow: Flow,
  shown: Branch | undefined,
): { readonly dst: Endpoint; readonly port: number } | undefined {
  if (flow.dst.kind !== 'service') return { dst: flow.dst, port: flow.dstPort };
  const packet = shown?.trace.forward.at(-1)?.packet;
  const reached = packet?.inner?.packet ?? packet;
  if (reached !== undefined && world.service(reached.dst) === undefined)
    return { dst: endpointAt(world.snapshot, reached.dst), port: reached.dstPort };
  const service = world.service(flow.dst.address);
  const port = service === undefined ? undefined : servicePort(service, flow.dstPort, flow.protocol);
  const backend =
    service === undefined || port === undefined
      ? undefined
      : backendsOf(world.snapshot.cluster, service, port, flow.dst.address.family)[0];
  return backend === undefined
    ? undefined
    : { dst: endpointAt(world.snapshot, backend.address), port: backend.port };
}

export function deniedDirection(policy: PolicyDecision | undefined): 'ingress' | 'egress' | undefined {
  if (policy?.egress.verdict === 'deny') return 'egress';
  return policy?.ingress.verdict === 'deny' ? 'ingress' : undefined;
}

function walkEvidence(shown: Branch | undefined): Evidence[] {
  if (shown?.broken === undefined) return [];
  const { hop, step } = shown.broken;
  const place = hop.pod ?? hop.node;
  const statement =
    step.text.includes(hop.node) || step.text.includes(place) ? step.text : `${place}: ${step.text}`;
  const sources = step.sources ?? [];
  const walked: Evidence[] =
    sources.length === 0
      ? [{ how: 'simulated', statement }]
      : sources.map((source, i) => ({
          how: 'observed' as const,
          statement: i === 0 ? statement : 'also recorded',
          source,
        }));
  return [...walked, ...counterEvidence(step, place)];
}

/** Counters that moved support the walk. One at zero is said too: the snapshot may be older than the failure. */
function counterEvidence({ facts, kernel }: Step, place: string): Evidence[] {
  const packets = facts?.packets;
  const evidence: string[] = [];
  if (packets !== undefined)
    evidence.push(
      packets === '0'
        ? 'the rule had counted no packet when the snapshot was taken'
        : `it had counted ${packets} packets when the snapshot was taken`,
    );
  if (kernel?.counter !== undefined && (kernel.counted ?? 0) > 0)
    evidence.push(`${kernel.counter}, the counter of such losses, stood at ${kernel.counted}`);
  return evidence.map((statement) => ({ how: 'observed', statement: `${place}: ${statement}` }));
}

function policyEvidence(policy: PolicyDecision | undefined): Evidence[] {
  if (policy === undefined) return [];
  return (['egress', 'ingress'] as const).flatMap((direction): Evidence[] => {
    const decision = policy[direction];
    if (decision.verdict === 'unknown')
      return [
        { how: 'declared', statement: `the policies for ${direction} cannot be told: ${decision.why ?? ''}` },
      ];
    if (decision.allowedBy !== undefined) {
      const { policy: by, field } = decision.allowedBy;
      return [
        {
          how: 'declared',
          statement: `${policyTitle(by)} admits it (${direction})`,
          source: policySource(by, field),
        },
      ];
    }
    if (decision.verdict !== 'deny') return [];
    return decision.isolatingPolicies.map((by) => ({
      how: 'declared' as const,
      statement:
        decision.decidedBy ??
        `${policyTitle(by)} isolates the pod for ${direction} and does not admit the flow`,
      source: policySource(by, 'spec'),
    }));
  });
}

const policySource = ({ kind, namespace, name }: PolicyRef, field: string) =>
  objectRef(kind ?? 'NetworkPolicy', namespace === '' ? undefined : namespace, name, field);

/** The flow's own DNS query: the source asking its first nameserver. Undefined where the resolver is not known. */
export function dnsFlow(world: World, flow: Flow): Flow | undefined {
  const [server] = orElse(resolverOf(world.snapshot, flow.src), noResolver).nameservers;
  if (server === undefined) return undefined;
  return { src: flow.src, dst: endpointAt(world.snapshot, server), protocol: 'udp', dstPort: 53 };
}

const noResolver = { nameservers: [], search: [], ndots: 1 };
