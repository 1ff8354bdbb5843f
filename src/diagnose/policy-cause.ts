/** The NetworkPolicies' part in a failed flow. */
import type { World } from '../dataplane/world.ts';
import type { Cause, CauseId, Finding } from '../model/finding.ts';
import { formatPolicy } from '../policy/decision.ts';
import type { Break } from './classify.ts';
import { formatEndpoint } from './endpoint.ts';
import { deniedDirection, type Investigation } from './investigate.ts';
import { repairOf } from './repair.ts';

export interface PolicyInput {
  readonly investigation: Investigation;
  readonly findings: readonly Finding[];
  /** The failing leg is the DNS query of a flow by name. */
  readonly isName: boolean;
}

export function policyCause(world: World, input: PolicyInput, broken: Break | undefined): Cause | undefined {
  const { policy, flow, deniedByPolicy, verdict } = input.investigation;
  const direction = deniedDirection(policy);
  if (policy === undefined || direction === undefined) return undefined;
  const decision = policy[direction];
  const names = decision.isolatingPolicies.map(formatPolicy).join(', ');
  const end = direction === 'egress' ? flow.src : flow.dst;
  const pod =
    direction === 'ingress'
      ? (input.investigation.shown?.backend?.split(' ')[0] ?? formatEndpoint(end))
      : formatEndpoint(end);
  const mistake = mistakeOf(input, direction);
  const id = policyCauseId(input, direction, mistake);
  const nearest = decision.nearest === undefined ? '' : `; closest: ${decision.nearest.text}`;
  const said =
    decision.decidedBy === undefined
      ? `NetworkPolicy ${names} isolates ${pod} for ${direction} and no rule admits this flow`
      : `${direction} of ${pod} is denied: ${decision.decidedBy}`;
  return {
    id,
    title: `${said}${mistake === undefined ? nearest : `: ${mistake.statement}`}`,
    // Where the packet is lost before any policy rule sees it, the denial is true but not what happens first.
    score: deniedByPolicy !== undefined ? 0.95 : broken === undefined ? 0.5 : 0.6,
    subject: {
      kind: 'policy',
      name: decision.nearest === undefined ? names : formatPolicy(decision.nearest.policy),
    },
    evidence: [...(mistake?.evidence ?? []), ...verdict.evidence.filter((e) => e.how !== 'probed')],
    contradictedBy: broken === undefined ? ['no rule on the path enforces it'] : [],
    repair: repairOf(id, world, broken, pod),
  };
}

/** A finding about the very part of the policy on which this flow failed: then nobody means that part as it is. */
function mistakeOf({ investigation, findings }: PolicyInput, direction: 'ingress' | 'egress') {
  const nearest = investigation.policy?.[direction].nearest;
  if (nearest === undefined) return undefined;
  return findings.find(
    ({ subject, evidence }) =>
      subject.kind === 'policy' &&
      subject.name === formatPolicy(nearest.policy) &&
      evidence.some(({ source }) => source?.kind === 'object' && source.field === nearest.field),
  );
}

function policyCauseId(
  input: PolicyInput,
  direction: 'ingress' | 'egress',
  mistake: Finding | undefined,
): CauseId {
  const { policy, flow } = input.investigation;
  if (direction === 'egress' && (input.isName || flow.dstPort === 53)) return 'dns/blocked-by-policy';
  const nearest = policy?.[direction].nearest;
  // A label key that the namespace does not have at all is a mistake; another value may be meant.
  if (nearest?.missing === 'namespace-label' && nearest.absentLabel !== undefined)
    return 'namespace/label-missing';
  if (mistake !== undefined && mistake.cause !== 'dns/blocked-by-policy') return mistake.cause;
  return direction === 'ingress' ? 'policy/denied-ingress' : 'policy/denied-egress';
}
