/** Suggested policies put to the proof: the flow passes, nothing is closed, and nobody gains but pods that no label tells apart. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Cluster, Labels } from '../../../src/model/cluster.ts';
import type { Manifest, SuggestedKind } from '../../../src/model/policy-suggestion.ts';
import type { JsonObject } from '../../../src/parse/json.ts';
import { withPolicies } from '../../../src/parse/kubernetes/overlay.ts';
import type { FlowEnd, PolicyFlow } from '../../../src/policy/endpoint.ts';
import { endText } from '../../../src/policy/explain/explain.ts';
import { policyEngine } from '../../../src/policy/index.ts';
import type { Dialect, PolicyReading } from '../../../src/policy/options.ts';
import { policyProblems } from '../../../src/policy/problems.ts';
import { suggestPolicy } from '../../../src/policy/suggest/suggest.ts';
import { adminObjects } from './admin.ts';
import { clusterCount, flowText } from './agree.ts';
import { calicoObjects } from './calico.ts';
import { ciliumObjects } from './cilium.ts';
import { istioClusters } from './istio.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, flowsOf, mergeObjects, type RawObjects } from './world.ts';

const apply = (cluster: Cluster, objects: readonly Manifest[]) =>
  withPolicies(cluster, objects as readonly JsonObject[]);

interface Case {
  readonly cluster: Cluster;
  readonly kind: SuggestedKind;
  readonly reading: Partial<PolicyReading>;
}

function suggestionFor({ cluster, kind, reading }: Case, flow: PolicyFlow) {
  const engineOf = (one: Cluster) => policyEngine(one, reading);
  const asked = { src: 'src', dst: 'dst', flows: [flow], leftOut: 0, remarks: [] };
  const before = engineOf(cluster);
  const suggestion = suggestPolicy(before, asked, { kind, apply, engineOf });
  const applied = apply(cluster, suggestion.objects);
  return { suggestion, applied, before, after: engineOf(applied) };
}

const isPod = (end: FlowEnd): boolean => end.kind === 'pod' && !end.pod.hostNetwork;
const deniedFlows = (cluster: Cluster, verdict: (flow: PolicyFlow) => string): PolicyFlow[] =>
  [...flowsOf(cluster)].filter(
    (flow) =>
      isPod(flow.src) && isPod(flow.dst) && !flow.protocol.startsWith('ICMP') && verdict(flow) === 'deny',
  );

const sameLabels = (a: Labels, b: Labels): boolean =>
  JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());
const twins = (a: FlowEnd, b: FlowEnd): boolean =>
  a.kind === 'pod' &&
  b.kind === 'pod' &&
  (a.pod === b.pod ||
    (a.pod.namespace === b.pod.namespace && isPod(b) && sameLabels(a.pod.labels, b.pod.labels)));

/**
 * Every flow's verdict before and after. Throws where something is closed, where something is opened that the suggestion does not list, and,
 * for kinds that can name pods exactly, where anything is opened to pods that some label tells apart.
 */
function prove(at: Case, flow: PolicyFlow): boolean {
  const { suggestion, applied, before, after } = suggestionFor(at, flow);
  const { cluster, kind } = at;
  const text = `${flowText(flow)}: ${JSON.stringify(suggestion.objects)}`;
  if (applied.problems.length > cluster.problems.length) throw new Error(`${text}: an object is malformed`);
  for (const { text: problem } of policyProblems(applied))
    if (problem.includes('allow-')) throw new Error(`${text}: ${problem}`);
  const listed = new Set(suggestion.opened.flows.map(({ src, dst }) => `${src} ${dst}`));
  for (const one of flowsOf(cluster)) {
    const [was, is] = [before.verdict(one).verdict, after.verdict(one).verdict];
    if (was === is) continue;
    const other = `${text}: ${flowText(one)} was ${was}, is ${is}`;
    if (is === 'deny' || was === 'allow') throw new Error(`${other}: closed`);
    const asked = endText(one.src) === endText(flow.src) && endText(one.dst) === endText(flow.dst);
    if (one.port !== flow.port || one.protocol !== flow.protocol) throw new Error(`${other}: another port`);
    if (kind !== 'istio' && !(twins(flow.src, one.src) && twins(flow.dst, one.dst)))
      throw new Error(`${other}: another pod`);
    // Addresses outside are listed by their prefix.
    const external = one.src.kind === 'external' || one.dst.kind === 'external';
    if (!asked && !external && !listed.has(`${endText(one.src)} ${endText(one.dst)}`))
      throw new Error(`${other}: not listed`);
  }
  const passes = after.verdict(flow).verdict === 'allow';
  if ((suggestion.state === 'suggested') !== passes) throw new Error(`${text}: says ${suggestion.state}`);
  if (!passes && suggestion.advice.length === 0) throw new Error(`${text}: no advice`);
  return passes;
}

const objectsOf = (...parts: readonly fc.Arbitrary<RawObjects>[]) =>
  fc.tuple(baseObjects, ...parts).map((all) => mergeObjects(...all));

it('NetworkPolicy: every denied flow between pods can be admitted, and nothing else is', () => {
  let proved = 0;
  fc.assert(
    fc.property(objectsOf(networkPolicyObjects), fc.boolean(), fc.nat(), (raw, matchesPods, pick) => {
      const cluster = clusterFrom(raw);
      const engine = policyEngine(cluster, { dialect: 'kubernetes', ipBlockMatchesPods: matchesPods });
      const denied = deniedFlows(cluster, (flow) => engine.verdict(flow).verdict);
      for (let i = 0; i < Math.min(3, denied.length); i++) {
        const flow = denied[(pick + i * 37) % denied.length] as PolicyFlow;
        const reading = { dialect: 'kubernetes' as const, ipBlockMatchesPods: matchesPods };
        if (!prove({ cluster, kind: 'network-policy', reading }, flow))
          throw new Error(`${flowText(flow)} is not admitted`);
        proved++;
      }
    }),
    { numRuns: clusterCount(150) },
  );
  expect(proved).toBeGreaterThan(50);
}, 600_000);

const worlds: readonly (readonly [SuggestedKind, Dialect, string, fc.Arbitrary<RawObjects>])[] = [
  ['network-policy', 'kubernetes', 'admin tiers', objectsOf(networkPolicyObjects, adminObjects)],
  ['admin', 'kubernetes', 'admin tiers', objectsOf(networkPolicyObjects, adminObjects)],
  ['network-policy', 'calico', 'Calico policies', objectsOf(networkPolicyObjects, calicoObjects)],
  ['calico', 'calico', 'Calico policies', objectsOf(networkPolicyObjects, calicoObjects)],
  ['network-policy', 'cilium', 'Cilium policies', objectsOf(networkPolicyObjects, ciliumObjects)],
  ['cilium', 'cilium', 'Cilium policies', objectsOf(networkPolicyObjects, ciliumObjects)],
  ['istio', 'kubernetes', 'Istio policies', istioClusters],
];

it.each(worlds)(
  '--kind %s read as %s among %s: proved, or advice',
  (kind, dialect, _, objects) => {
    const counts = { proved: 0, passed: 0 };
    fc.assert(
      fc.property(objects, fc.nat(), (raw, pick) => {
        const cluster = clusterFrom(raw);
        const engine = policyEngine(cluster, { dialect });
        const denied = deniedFlows(cluster, (flow) => engine.verdict(flow).verdict);
        const flow = denied[pick % Math.max(1, denied.length)];
        if (flow === undefined) return;
        counts.proved++;
        if (prove({ cluster, kind, reading: { dialect } }, flow)) counts.passed++;
      }),
      { numRuns: clusterCount(120) },
    );
    expect(counts.proved).toBeGreaterThan(20);
    expect(counts.passed).toBeGreaterThan(0);
  },
  600_000,
);
