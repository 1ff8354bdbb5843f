/**
 * NetworkPolicy v1 (networking.k8s.io), the slow obvious way: every question walks every policy. It stays as the oracle that faster
 * engines are compared with. Egress at the source and ingress at the destination must both allow; replies are not asked about,
 * because an admitted connection's replies always pass.
 */
import type { Cluster, NetworkPolicy, Pod, PolicyRule } from '../model/cluster.ts';
import type { Endpoint } from '../model/flow.ts';
import { sameAddress } from '../net/address.ts';
import {
  type DirectionDecision,
  formatPolicy,
  type PolicyDecision,
  type PolicyNote,
  type PolicyOptions,
  type PolicyQuery,
  type PolicyRef,
  type PolicyVerdict,
} from './decision.ts';
import { nearestRule } from './nearest.ts';
import { matchesPeer, matchesPort, type Peer, rulePeers, type Tri } from './peers.ts';
import { matchesSelector } from './selector.ts';

type Direction = 'egress' | 'ingress';

/** An end of the flow looked up in the cluster. `pod` is set for pods with a network of their own. */
interface End extends Peer {
  /** Node whose own address this is: a node, or a hostNetwork pod. */
  readonly ownNode?: string;
  readonly hostNetworkPod?: Pod;
  /** Set where the lookup failed: no verdict is possible for this end. */
  readonly why?: string;
}

interface Question {
  readonly cluster: Cluster;
  readonly query: PolicyQuery;
  readonly src: End;
  readonly dst: End;
  readonly ipBlockMatchesPods: boolean;
}

/** Whether the policies admit a new connection. `cluster` holds every pod, namespace and policy that counts. */
export function decide(cluster: Cluster, query: PolicyQuery, options: PolicyOptions = {}): PolicyDecision {
  const src = lookUp(cluster, query.src);
  const dst = lookUp(cluster, query.dst);
  const ipBlockMatchesPods = options.ipBlockMatchesPods ?? true;
  const question = { cluster, query, src, dst, ipBlockMatchesPods };
  const egress = decideDirection(question, 'egress');
  const ingress = decideDirection(question, 'ingress');
  const verdict = both(egress.verdict, ingress.verdict);
  return { verdict, egress, ingress, notes: notesOn(question, egress, ingress, verdict) };
}

/** A denial is certain whatever the other side says; an unknown is certain of nothing. */
const both = (a: PolicyVerdict, b: PolicyVerdict): PolicyVerdict =>
  a === 'deny' || b === 'deny' ? 'deny' : a === 'unknown' || b === 'unknown' ? 'unknown' : 'allow';

const finished = (pod: Pod): boolean => pod.phase === 'Succeeded' || pod.phase === 'Failed';

function lookUp(cluster: Cluster, endpoint: Endpoint): End {
  const { address } = endpoint;
  switch (endpoint.kind) {
    case 'service':
      return {
        address,
        why: `policy is evaluated on pods: ask about each backend of ${endpoint.namespace}/${endpoint.name}`,
      };
    case 'node':
      return { address, ownNode: endpoint.name };
    case 'external': {
      if (cluster.pods.state === 'unknown') return { address };
      // Finished pods have released their address: it may be somebody else's by now.
      const pod = cluster.pods.value.find(
        (candidate) => !finished(candidate) && candidate.addresses.some((own) => sameAddress(own, address)),
      );
      return pod === undefined ? { address } : podEnd(pod, address);
    }
    case 'pod': {
      if (cluster.pods.state === 'unknown') return { address, why: cluster.pods.why };
      const pod = cluster.pods.value.find(
        (candidate) => candidate.namespace === endpoint.namespace && candidate.name === endpoint.name,
      );
      const name = `${endpoint.namespace}/${endpoint.name}`;
      if (pod === undefined) return { address, why: `pod ${name} is not in the snapshot` };
      if (finished(pod))
        return { address, why: `pod ${name} has finished (${pod.phase}) and is no endpoint` };
      return podEnd(pod, address);
    }
  }
}

const podEnd = (pod: Pod, address: Peer['address']): End =>
  pod.hostNetwork ? { address, ownNode: pod.node, hostNetworkPod: pod } : { address, pod };

function decideDirection(question: Question, direction: Direction): DirectionDecision {
  const { cluster, src, dst } = question;
  const [subject, other] = direction === 'egress' ? [src, dst] : [dst, src];
  const open = { isolated: false, isolatingPolicies: [] };
  if (subject.why !== undefined) return { ...open, verdict: 'unknown', why: subject.why };
  if (subject.pod === undefined) {
    // Only a pod can be a subject; nodes, hostNetwork pods and the outside never are.
    return { ...open, verdict: 'allow' };
  }
  if (cluster.networkPolicies.state === 'unknown') {
    return { ...open, verdict: 'unknown', why: cluster.networkPolicies.why };
  }
  const policies = isolating(cluster.networkPolicies.value, subject.pod, direction);
  if (policies.length === 0) return { ...open, verdict: 'allow' };
  const isolated = { isolated: true, isolatingPolicies: policies.map(ref) };
  if (subject.pod === other.pod) return { ...isolated, verdict: 'allow', exempt: 'self' };
  if (other.ownNode !== undefined && other.ownNode === subject.pod.node)
    return { ...isolated, verdict: 'allow', exempt: 'own-node' };
  if (other.why !== undefined) return { ...isolated, verdict: 'unknown', why: other.why };
  return { ...isolated, ...askRules(question, policies, direction) };
}

const ref = ({ namespace, name }: NetworkPolicy): PolicyRef => ({ namespace, name });

/** Policies that select the pod in this direction: a policy's selector never crosses its namespace. */
const isolating = (policies: readonly NetworkPolicy[], pod: Pod, direction: Direction): NetworkPolicy[] =>
  policies.filter(
    (policy) =>
      policy.namespace === pod.namespace &&
      policy[direction] !== undefined &&
      matchesSelector(policy.podSelector, pod.labels),
  );

type RulesAnswer = Pick<DirectionDecision, 'verdict' | 'allowedBy' | 'nearest' | 'why'>;

function askRules(question: Question, policies: readonly NetworkPolicy[], direction: Direction): RulesAnswer {
  const { cluster, query } = question;
  const other = direction === 'egress' ? question.dst : question.src;
  const rules = policies.flatMap((policy) => (policy[direction] ?? []).map((rule) => ({ policy, rule })));
  let undecided: string | undefined;
  for (const { policy, rule } of rules) {
    const answer = admits(question, policy, rule, direction);
    if (answer === 'yes') return { verdict: 'allow', allowedBy: { policy: ref(policy), field: rule.field } };
    if (answer === 'unknown')
      undecided ??= `${formatPolicy(policy)} ${rule.field} selects namespaces by label, and the namespaces are not known`;
  }
  if (undecided !== undefined) return { verdict: 'unknown', why: undecided };
  if (query.protocol === 'icmp')
    return { verdict: 'unknown', why: 'NetworkPolicy does not say what happens to ICMP of an isolated pod' };
  const dstPod = question.dst.pod;
  const nearest = nearestRule(cluster, rules, {
    query,
    other,
    ipBlockMatchesPods: question.ipBlockMatchesPods,
    ...(dstPod === undefined ? {} : { dstPod }),
  });
  return { verdict: 'deny', ...(nearest === undefined ? {} : { nearest }) };
}

function admits(question: Question, policy: NetworkPolicy, rule: PolicyRule, direction: Direction): Tri {
  const { cluster, query, dst, ipBlockMatchesPods } = question;
  const other = direction === 'egress' ? dst : question.src;
  let answer: Tri = 'no';
  for (const peer of rulePeers(rule)) {
    // A named port beside an egress ipBlock is legal and matches nothing: names belong to pods, an ipBlock to addresses.
    const namesResolve = !(direction === 'egress' && peer?.kind === 'ip-block');
    const dstPod = namesResolve ? dst.pod : undefined;
    const portFits =
      rule.ports === undefined ||
      rule.ports.some((port) => matchesPort(port, query.protocol, query.dstPort, dstPod));
    if (!portFits) continue;
    if (peer === undefined) return 'yes';
    const match = matchesPeer(cluster, policy.namespace, peer, other, ipBlockMatchesPods);
    if (match === 'yes') return 'yes';
    if (match === 'unknown') answer = 'unknown';
  }
  return answer;
}

function notesOn(
  question: Question,
  egress: DirectionDecision,
  ingress: DirectionDecision,
  verdict: PolicyVerdict,
): PolicyNote[] {
  const { cluster, query, src, dst } = question;
  const notes: PolicyNote[] = [];
  const isolated = egress.isolated || ingress.isolated;
  for (const pod of [src.hostNetworkPod, dst.hostNetworkPod]) {
    if (pod !== undefined)
      notes.push({
        code: 'host-network',
        text: `pod ${pod.namespace}/${pod.name} uses its node's network: no policy selects it, and as a peer only an ipBlock matches it`,
      });
  }
  if (query.protocol === 'icmp' && isolated)
    notes.push({
      code: 'icmp',
      text: 'NetworkPolicy leaves ICMP open: CNIs differ on whether an isolated pod gets it',
    });
  const exempt = [egress.exempt, ingress.exempt];
  if (exempt.includes('self'))
    notes.push({ code: 'self', text: 'a pod may always reach itself by the documentation; CNIs differ' });
  if (exempt.includes('own-node'))
    notes.push({
      code: 'own-node',
      text: 'traffic between a pod and its own node is always allowed; some CNIs filter what the pod sends',
    });
  if (dependsOnIpBlock(question, verdict))
    notes.push({
      code: 'ip-block-dialect',
      text: `an ipBlock decides about a pod's address: counted as ${question.ipBlockMatchesPods ? 'a match' : 'no match'}, and CNIs differ`,
    });
  notes.push(...invalidParts(cluster, [...egress.isolatingPolicies, ...ingress.isolatingPolicies]));
  return notes;
}

/** True if the other reading of ipBlock would give another verdict. */
function dependsOnIpBlock(question: Question, verdict: PolicyVerdict): boolean {
  if (question.src.pod === undefined || question.dst.pod === undefined) return false;
  const other = { ...question, ipBlockMatchesPods: !question.ipBlockMatchesPods };
  return (
    both(decideDirection(other, 'egress').verdict, decideDirection(other, 'ingress').verdict) !== verdict
  );
}

function invalidParts(cluster: Cluster, refs: readonly PolicyRef[]): PolicyNote[] {
  if (cluster.networkPolicies.state === 'unknown') return [];
  const names = new Set(refs.map(formatPolicy));
  return cluster.networkPolicies.value
    .filter((policy) => names.has(formatPolicy(policy)))
    .flatMap((policy) =>
      policy.problems.map(({ field, why }) => ({
        code: 'invalid-policy' as const,
        text: `${formatPolicy(policy)} ${field} is invalid and matches nothing: ${why}`,
      })),
    );
}
