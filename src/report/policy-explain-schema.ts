/** The shape of `policy explain -o json`; docs/schema/policy-explain.json is generated from here. */
import { z } from 'zod';

const optional = <T extends z.ZodType>(type: T) => z.exactOptional(type);
const verdict = z.enum(['allow', 'deny', 'conditional']);
const text = (description: string) => z.string().describe(description);

export const policyPlace = z.strictObject({
  kind: z.string(),
  namespace: optional(z.string()),
  name: z.string(),
  field: optional(text('spec.ingress[0]')),
  file: optional(z.string()),
  line: optional(z.int().describe('1-based')),
});

const reason = z.strictObject({ text: z.string(), place: optional(policyPlace) });
const nearest = z.strictObject({
  place: policyPlace,
  missing: z.enum([
    'subject',
    'namespace-label',
    'pod-label',
    'namespace',
    'port',
    'protocol',
    'address',
    'peer-kind',
    'identity',
    'nothing-admitted',
  ]),
  text: text('what the field wants and what the flow has'),
  more: z.int().describe('requirements of the same rule that fail beside this one'),
});
const tier = z.strictObject({
  name: z.string(),
  reached: z.boolean().describe('false: the flow was decided before'),
  policies: z
    .array(
      z.strictObject({
        place: policyPlace,
        isolates: z.boolean(),
        condition: optional(z.string()),
        rules: z.int(),
        matches: z.array(
          z.strictObject({
            place: policyPlace,
            action: z.enum(['allow', 'deny', 'pass']),
            condition: optional(z.string()),
            asked: z.boolean(),
          }),
        ),
      }),
    )
    .describe('those that select the subject, in the order in which they are asked'),
  others: z.int().describe('policies of the tier that do not select the subject'),
  end: z.enum(['deny', 'pass', 'unsure']),
  ends: z.boolean().describe('true if the end of the tier was reached'),
});
const direction = z.strictObject({
  direction: z.enum(['egress', 'ingress']),
  subject: z.string(),
  verdict,
  conditions: z.array(z.string()),
  reason,
  decidedBy: z.enum(['open', 'rule', 'tier-end', 'layer-end', 'several']),
  tiers: z.array(tier),
  nearest: optional(nearest),
});
const layer = z.strictObject({
  name: z.string(),
  verdict,
  conditions: z.array(z.string()),
  exempt: optional(z.enum(['self', 'own-node'])),
  ways: z.array(
    z.strictObject({
      rewrite: optional(
        z.strictObject({ protocol: z.string(), port: z.int(), condition: optional(z.string()) }),
      ),
      directions: z.array(direction),
    }),
  ),
});

export const policyExplanationReport = z.strictObject({
  apiVersion: z.literal('podpath.dev/v1alpha1'),
  kind: z.literal('PolicyExplanation'),
  summary: text('the answer in one sentence, as the first line of the text report'),
  verdict: verdict.describe('the worst of all groups'),
  src: z.string(),
  dst: z.string(),
  groups: z
    .array(
      z.strictObject({
        sources: z.array(z.string()),
        destinations: z.array(z.string()),
        protocol: z.string(),
        port: z.int().describe('as policies see it: the target port; for ICMP type * 256 + code'),
        verdict,
        conditions: z.array(z.string()),
        reason,
        nearest: optional(nearest),
        hints: z.array(z.strictObject({ code: z.string(), text: z.string(), place: optional(policyPlace) })),
        layers: z.array(layer),
      }),
    )
    .describe('pairs of pods that are the same to every policy; the worst first'),
  leftOut: z.int().describe('pairs that were not looked at'),
  remarks: z.array(z.string()),
  reading: z.strictObject({
    dialect: z.string(),
    ipBlockMatchesPods: z.boolean(),
    because: z.array(z.string()),
  }),
});
