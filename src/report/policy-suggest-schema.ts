/** The shape of `policy suggest -o json`; docs/schema/policy-suggest.json is generated from here. */
import { z } from 'zod';

const verdict = z.enum(['allow', 'deny', 'conditional']);

export const policySuggestionReport = z.strictObject({
  apiVersion: z.literal('podpath.dev/v1alpha1'),
  kind: z.literal('PolicySuggestion'),
  summary: z.string().describe('the flow as it is now, in one sentence'),
  state: z
    .enum(['allowed', 'suggested', 'partly', 'none'])
    .describe(
      'allowed: nothing to do; suggested: it passes with the objects; partly: some of it does; none: no object helps',
    ),
  src: z.string(),
  dst: z.string(),
  policyKind: z.enum(['network-policy', 'admin', 'calico', 'cilium', 'istio']),
  before: verdict,
  after: verdict.describe('with the objects applied'),
  objects: z.array(z.record(z.string(), z.unknown())).describe('manifests to apply'),
  relies: z.array(z.string()),
  opened: z.strictObject({
    flows: z
      .array(z.strictObject({ src: z.string(), dst: z.string(), ports: z.string() }))
      .describe('flows that pass with the objects and did not before, the asked ones aside'),
    more: z.int(),
  }),
  advice: z.array(z.string()),
});
