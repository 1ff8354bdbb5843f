/** Suggested policies put to the proof: the flow passes, nothing is closed, and nobody gains but pods that no label tells apart. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import type { Cluster, Labels } from '../../../src/model/cluster.ts';
import type { Manifest, SuggestedKind } from '../../../src/model/policy-suggestion.ts';
import type { JsonObject } from '../../../src/parse/json.ts';
import { withPolicies } from '../../../src/parse/kubernetes/overlay.ts';
import type { FlowEnd, PolicyFlow } from '../../../src/policy/endpoint.ts';
import { policyEngine } from '../../../src/policy/index.ts';
import { suggestPolicy } from '../../../src/policy/suggest.ts';
import { adminObjects } from './admin.ts';
import { clusterCount, flowText } from './agree.ts';
import { networkPolicyObjects } from './network-policy.ts';
import { baseObjects, clusterFrom, flowsOf, mergeObjects, type RawObjects } from './world.ts';

const apply = (cluster: Cluster, objects: readonly Manifest[]) =>
  withPolicies(cluster, objects as readonly JsonObject[]);

function suggestionFor(cluster: Cluster, flow: PolicyFlow, kind: SuggestedKind, matchesPods: boolean) {
  const engineOf = (one: Cluster) =>
    policyEngine(one, { dialect: 'kubernetes', ipBlockMatchesPods: matchesPods });
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

/** Each flow's verdict before and after; throws where something changed that was not to change. */
function proveNarrow(cluster: Cluster, flow: PolicyFlow, kind: SuggestedKind, matchesPods: boolean): boolean {
  const { suggestion, applied, before, after } = suggestionFor(cluster, flow, kind, matchesPods);
  const text = `${flowText(flow)}: ${JSON.stringify(suggestion.objects)}`;
  if (applied.problems.length > cluster.problems.length) throw new Error(`${text}: an object is malformed`);
  if (applied.networkPolicies.state === 'known')
    for (const policy of applied.networkPolicies.value)
      if (policy.name.startsWith('allow-') && policy.problems.length > 0) throw new Error(`${text}: invalid`);
  for (const one of flowsOf(cluster)) {
    const [was, is] = [before.verdict(one).verdict, after.verdict(one).verdict];
    if (was === is) continue;
    const meant = twins(flow.src, one.src) && twins(flow.dst, one.dst);
    if (is === 'deny' || (is === 'conditional' && (was === 'allow' || suggestion.state === 'suggested')))
      throw new Error(`${text}: ${flowText(one)} was ${was}, is ${is}`);
    if (!meant || one.port !== flow.port || one.protocol !== flow.protocol)
      throw new Error(`${text}: opens ${flowText(one)} too`);
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
        if (!proveNarrow(cluster, flow, 'network-policy', matchesPods))
          throw new Error(`${flowText(flow)} is not admitted`);
        proved++;
      }
    }),
    { numRuns: clusterCount(150) },
  );
  expect(proved).toBeGreaterThan(50);
});

it.each<SuggestedKind>(['network-policy', 'admin'])(
  'with admin tiers, --kind %s: what is suggested opens no more',
  (kind) => {
    const counts = { proved: 0, passed: 0 };
    fc.assert(
      fc.property(objectsOf(networkPolicyObjects, adminObjects), fc.nat(), (raw, pick) => {
        const cluster = clusterFrom(raw);
        const engine = policyEngine(cluster, { dialect: 'kubernetes', ipBlockMatchesPods: false });
        const denied = deniedFlows(cluster, (flow) => engine.verdict(flow).verdict);
        const flow = denied[pick % Math.max(1, denied.length)];
        if (flow === undefined) return;
        counts.proved++;
        if (proveNarrow(cluster, flow, kind, false)) counts.passed++;
      }),
      { numRuns: clusterCount(150) },
    );
    expect(counts.proved).toBeGreaterThan(30);
    expect(counts.passed).toBeGreaterThan(5);
  },
);
