/** The possible causes of one failed flow, scored: how directly each is shown, and what it explains. */
import type { World } from '../dataplane/world.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Cause, CauseId, Finding, Subject } from '../model/finding.ts';
import type { Flow } from '../model/flow.ts';
import { orElse } from '../model/known.ts';
import { nearestNames } from '../model/nearest.ts';
import { formatSource } from '../model/source.ts';
import type { Reason } from '../model/verdict.ts';
import { formatPolicy } from '../policy/decision.ts';
import { type Break, breakOf, type Classified, classify } from './classify.ts';
import { formatEndpoint } from './endpoint.ts';
import { deniedDirection, type Investigation } from './investigate.ts';
import type { Probed } from './probed.ts';
import { repairOf } from './repair.ts';
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
  if (found.every((cause) => cause.score < score.unexplained))
    for (const guess of guesses(world, investigation, input.probed)) merge(found, guess);
  return found.map((cause) => weigh(cause, input.probed, investigation)).sort((a, b) => b.score - a.score);
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
  const stale = classified.id.startsWith('policy/');
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

function policyCause(world: World, input: CandidateInput, broken: Break | undefined): Cause | undefined {
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
  const id = policyCauseId(input, direction);
  const nearest = decision.nearest === undefined ? '' : `; closest: ${decision.nearest.text}`;
  return {
    id,
    title: `NetworkPolicy ${names} isolates ${pod} for ${direction} and no rule admits this flow${nearest}`,
    // Where the packet is lost before any policy rule sees it, the denial is true but not what happens first.
    score: deniedByPolicy !== undefined ? 0.95 : broken === undefined ? 0.5 : 0.6,
    subject: {
      kind: 'policy',
      name: decision.nearest === undefined ? names : formatPolicy(decision.nearest.policy),
    },
    evidence: verdict.evidence.filter((e) => e.how !== 'probed'),
    contradictedBy: broken === undefined ? ['no rule on the path enforces it'] : [],
    repair: repairOf(id, world, broken, pod),
  };
}

function policyCauseId(input: CandidateInput, direction: 'ingress' | 'egress'): CauseId {
  const { policy, flow } = input.investigation;
  if (direction === 'egress' && (input.isName || flow.dstPort === 53)) return 'dns/blocked-by-policy';
  const nearest = policy?.[direction].nearest;
  // A label key that the namespace does not have at all is a mistake; another value may be meant.
  if (nearest?.missing === 'namespace-label' && nearest.absentLabel !== undefined)
    return 'namespace/label-missing';
  return direction === 'ingress' ? 'policy/denied-ingress' : 'policy/denied-egress';
}

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
  const explains = broken?.step.reason !== undefined && isRootOf(finding, broken, direct);
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

interface Path {
  readonly nodes: ReadonlySet<string>;
  readonly pods: ReadonlySet<string>;
  readonly service?: string;
}

function pathOf(world: World, { flow, shown, verdict }: Investigation): Path {
  const hops = shown === undefined ? [] : [...shown.trace.forward, ...shown.trace.back];
  const ends = [flow.src, flow.dst];
  const pods = new Set(hops.flatMap((hop) => (hop.pod === undefined ? [] : [hop.pod])));
  for (const end of ends) if (end.kind === 'pod') pods.add(`${end.namespace}/${end.name}`);
  for (const branch of verdict.branches) {
    const name = branch.backend?.split(' ')[0];
    if (name?.includes('/') === true) pods.add(name);
  }
  const nodes = new Set(hops.map((hop) => hop.node));
  // A packet that goes astray never meets the node it is for.
  for (const end of ends) {
    const node = world.nodeFor(end.address);
    if (node !== undefined) nodes.add(node);
  }
  return {
    nodes,
    pods,
    ...(flow.dst.kind === 'service' ? { service: `${flow.dst.namespace}/${flow.dst.name}` } : {}),
  };
}

function concernsPath(finding: Finding, path: Path): boolean {
  return onPath(finding.subject, path) && finding.concerns.every((subject) => onPath(subject, path));
}

function onPath(subject: Subject, path: Path): boolean {
  switch (subject.kind) {
    case 'node':
      return path.nodes.has(subject.name);
    case 'device':
      return path.nodes.has(subject.name.split('/')[0] ?? '');
    case 'pod':
      return path.pods.has(subject.name);
    case 'service':
      return path.service === subject.name;
    case 'cluster':
      return true;
    // Policies speak through the policy engine, which knows whether they decide this flow.
    case 'policy':
    case 'namespace':
      return false;
  }
}

type Area = 'route' | 'tunnel' | 'neighbour' | 'filter' | 'size' | 'far-end' | 'service';

const areas: Readonly<Partial<Record<Reason, Area>>> = {
  'no-route': 'route',
  'route-blackhole': 'route',
  'wrong-next-hop': 'route',
  'routing-loop': 'route',
  'ttl-exceeded': 'route',
  'rp-filter': 'route',
  'wrong-host': 'route',
  'device-down': 'tunnel',
  'neighbour-unresolved': 'neighbour',
  'neighbour-wrong-mac': 'neighbour',
  'no-host-for-address': 'neighbour',
  'fdb-missing': 'tunnel',
  'fdb-wrong': 'tunnel',
  'vtep-mac-mismatch': 'tunnel',
  'tunnel-endpoint-missing': 'tunnel',
  'tunnel-endpoint-down': 'tunnel',
  'rule-drop': 'filter',
  'rule-reject': 'filter',
  'chain-policy-drop': 'filter',
  'no-endpoints': 'service',
  'service-rules-missing': 'service',
  'not-listening': 'far-end',
  'mtu-exceeded': 'size',
  'fragment-lost': 'size',
};

/** Causes that make the state at which packets are lost, by the areas where that shows. */
const roots: Readonly<Partial<Record<CauseId, readonly Area[]>>> = {
  'cidr/duplicate-pod-cidr': ['route', 'tunnel', 'neighbour', 'far-end'],
  'cidr/duplicate-pod-ip': ['route', 'neighbour', 'far-end'],
  'cidr/overlaps-node-network': ['route', 'neighbour'],
  'overlay/device-missing': ['route', 'neighbour', 'tunnel'],
  'overlay/device-down': ['route', 'neighbour', 'tunnel'],
  'overlay/wrong-interface': ['tunnel', 'neighbour'],
  'service/selector-mismatch': ['service'],
  'service/not-ready': ['service'],
  'service/target-port-wrong': ['far-end', 'service'],
  'mtu/too-large-for-overlay': ['size'],
};

function isRootOf(finding: Finding, broken: Break, direct: Cause | undefined): boolean {
  const area = areas[broken.step.reason ?? 'unknown-state'];
  if (area === undefined || finding.cause === direct?.id) return false;
  if (roots[finding.cause]?.includes(area) !== true) return false;
  // A path-MTU black hole is shown by the lost ICMP itself; the large device alone would have been survived.
  if (area === 'size' && direct?.id === 'mtu/pmtud-blackhole') return false;
  if (!finding.cause.startsWith('overlay/device')) return true;
  const node = finding.subject.name.split('/')[0];
  return node === broken.hop.node || node === broken.step.facts?.node;
}

/** A host name that the cluster's DNS does not know. */
export function nameNotFound(world: World, flow: Flow, asked: readonly string[]): readonly Cause[] {
  const name = flow.hostName ?? asked[0] ?? '';
  const [first = ''] = name.split('.');
  const elsewhere = orElse(world.snapshot.cluster.services, []).filter((s) => s.name === first);
  const own = flow.src.kind === 'pod' ? flow.src.namespace : '';
  const other = elsewhere.find((s) => s.namespace !== own);
  const close = nearestNames(
    name,
    orElse(world.snapshot.cluster.services, []).map((s) => `${s.name}.${s.namespace}`),
  );
  const isShort = !name.includes('.') && other !== undefined;
  return [
    {
      id: isShort ? 'namespace/short-name' : 'dns/name-wrong',
      title: isShort
        ? `"${name}" is looked for in namespace ${own}, but the Service is in ${other.namespace}`
        : `no Service answers to "${name}"${close.length === 0 ? '' : `; there is ${close.join(', ')}`}`,
      score: score.shown,
      subject:
        flow.src.kind === 'pod'
          ? { kind: 'pod', name: formatEndpoint(flow.src) }
          : { kind: 'cluster', name: 'dns' },
      evidence: asked.map((fqdn) => ({
        how: 'declared' as const,
        statement: `${fqdn} is no Service of the cluster`,
      })),
      contradictedBy: [],
      repair: elsewhere.map(
        (s) => `call ${s.name}.${s.namespace}${s.namespace === own ? '' : '.svc.cluster.local'}`,
      ),
    },
  ];
}
