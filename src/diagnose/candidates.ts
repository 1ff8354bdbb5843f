/** The possible causes of one failed flow, scored: how directly each is shown, and what it explains. */
import type { World } from '../dataplane/world.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Cause, CauseId, Finding, Subject } from '../model/finding.ts';
import { formatSource } from '../model/source.ts';
import { type Break, breakOf, type Classified, classify } from './classify.ts';
import type { Investigation } from './investigate.ts';
import { concernsPath, pathOf } from './path.ts';
import { policyCause } from './policy-cause.ts';
import type { Probed } from './probed.ts';
import { repairOf } from './repair.ts';
import { isRootOf } from './roots.ts';
import { guesses } from './symptoms.ts';

export interface CandidateInput {
  readonly investigation: Investigation;
  readonly findings: readonly Finding[];
  /** The failing leg is the DNS query of a flow by name. */
  readonly isName: boolean;
  readonly probed?: Probed;
}

/**
 * Scores, before probes: state that shows the loss itself is 0.9; a wrong object or device that makes that state is
 * above it (0.95), the consequence then drops to 0.7; a finding on the path that does not explain the loss is 0.3.
 */
const score = { shown: 0.9, root: 0.95, consequence: 0.7, elsewhere: 0.3, unexplained: 0.55 } as const;

export function candidates(world: World, input: CandidateInput): readonly Cause[] {
  const { investigation } = input;
  const { shown } = investigation;
  const broken = shown === undefined ? undefined : breakOf(shown);
  const found: Cause[] = [];
  const policy = policyCause(world, input, broken);
  if (policy !== undefined) found.push(policy);
  const direct =
    broken === undefined || investigation.deniedByPolicy !== undefined
      ? undefined
      : shownCause(world, input, broken);
  if (direct !== undefined) found.push(direct);
  for (const finding of input.findings) {
    const cause = findingCause(world, finding, input, broken, direct ?? policy);
    if (cause !== undefined) merge(found, cause);
  }
  const ranked = found.map((cause) =>
    cause.id === direct?.id && found.some((other) => other.score > score.root && other.id !== cause.id)
      ? { ...cause, score: Math.min(cause.score, score.consequence) }
      : cause,
  );
  if (found.every((cause) => cause.score < score.unexplained))
    for (const guess of guesses(world, investigation, input.probed)) merge(ranked, guess);
  return ranked.map((cause) => weigh(cause, input.probed, investigation)).sort((a, b) => b.score - a.score);
}

/** The same cause found twice is one cause with both proofs. */
function merge(found: Cause[], cause: Cause): void {
  const at = found.findIndex((other) => other.id === cause.id && sameSubject(other.subject, cause.subject));
  const other = found[at];
  if (other === undefined) {
    found.push(cause);
    return;
  }
  found[at] = {
    ...other,
    score: Math.max(other.score, cause.score),
    evidence: [
      ...other.evidence,
      ...cause.evidence.filter((e) => !other.evidence.some((o) => sameSource(o, e))),
    ],
    repair: other.repair.length > 0 ? other.repair : cause.repair,
  };
}

/** Two sentences about one line say the same thing. */
const sameSource = (a: Evidence, b: Evidence): boolean =>
  a.statement === b.statement ||
  (a.source !== undefined && b.source !== undefined && formatSource(a.source) === formatSource(b.source));

const sameSubject = (a: Subject, b: Subject): boolean =>
  a.name === b.name || a.name.startsWith(`${b.name}/`) || b.name.startsWith(`${a.name}/`);

/** A probe that failed as predicted is a second proof; one that passed speaks against. */
function weigh(cause: Cause, probed: Probed | undefined, investigation: Investigation): Cause {
  if (probed === undefined || cause.score < score.unexplained) return cause;
  if (probed.answer === 'unreachable') {
    const proof: Evidence = { how: 'probed', statement: probed.because };
    return { ...cause, score: Math.min(1, cause.score + 0.04), evidence: [...cause.evidence, proof] };
  }
  // One connection that passed may have taken a good backend of several.
  const severalWays = investigation.verdict.branches.some((branch) => branch.share < 1);
  if (probed.answer === 'reachable' && investigation.verdict.answer === 'unreachable' && !severalWays)
    return { ...cause, contradictedBy: [...cause.contradictedBy, probed.because] };
  return cause;
}

function shownCause(world: World, input: CandidateInput, broken: Break): Cause | undefined {
  const classified = classify(world, broken);
  if (classified === undefined) return undefined;
  const { verdict } = input.investigation;
  const stale = classified.id.startsWith('policy/') && classified.id !== 'policy/snat-hides-source';
  // An agent refuses what the policies admit: its rules are not those of the policies.
  const id: CauseId = stale ? 'cni/agent-not-ready' : classified.id;
  const title = stale
    ? `${classified.title}, though the policies admit it: its rules are stale`
    : classified.title;
  return {
    id,
    title,
    score: stale ? 0.6 : verdict.answer === 'unknown' && broken.step.action !== 'lost' ? 0.6 : score.shown,
    subject: classified.subject,
    evidence: [
      ...proofElsewhere(classified, broken),
      ...verdict.evidence.filter((e) => e.how !== 'declared' && e.how !== 'probed'),
    ],
    contradictedBy: [],
    repair: repairOf(id, world, atPlace(classified, broken), classified.subject.name),
  };
}

/** The step that shows the wrong state, where that is not the step that loses the packet. */
function proofElsewhere({ proof, place }: Classified, broken: Break): Evidence[] {
  if (proof === broken.step) return [];
  const source = proof.sources?.[0];
  return [
    {
      how: 'observed',
      statement: `${place.node}: ${proof.text}`,
      ...(source === undefined ? {} : { source }),
    },
  ];
}

/** The break seen from where it is to be repaired. */
const atPlace = ({ place, proof }: Classified, broken: Break): Break =>
  proof === broken.step
    ? broken
    : {
        ...broken,
        hop: place,
        step: { ...broken.step, facts: { ...broken.step.facts, ...proof.facts, node: place.node } },
      };

/** A check's finding as a cause, if it concerns the path. */
function findingCause(
  world: World,
  finding: Finding,
  input: CandidateInput,
  broken: Break | undefined,
  direct: Cause | undefined,
): Cause | undefined {
  const path = pathOf(world, input.investigation);
  if (!concernsPath(finding, path)) return undefined;
  const explains =
    broken?.step.reason !== undefined && isRootOf(finding, broken, direct, input.investigation.shown);
  const same =
    direct !== undefined && finding.cause === direct.id && sameSubject(finding.subject, direct.subject);
  // Where nothing is shown to be lost, a finding on the path is the best there is.
  const value = same
    ? score.root
    : explains
      ? score.root + 0.01
      : direct === undefined
        ? unexplainedScore(finding)
        : score.elsewhere;
  return {
    id: finding.cause,
    title: finding.statement,
    score: value,
    subject: finding.subject,
    evidence: finding.evidence,
    contradictedBy: [],
    repair: repairOf(finding.cause, world, same || explains ? broken : undefined, finding.subject.name),
  };
}

const unexplainedScore = (finding: Finding): number =>
  finding.severity === 'error' ? score.unexplained + 0.1 : score.unexplained;
