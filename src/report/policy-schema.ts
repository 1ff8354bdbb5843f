/** The shape of `policy diff -o json` and `policy lint -o json`: docs/schema/policy-diff.json and policy-lint.json are made from here. */
import { z } from 'zod';

const apiVersion = z.literal('podpath.dev/v1alpha1');
const text = (description: string) => z.string().describe(description);
const optional = <T extends z.ZodType>(type: T) => z.exactOptional(type);

const party = z.strictObject({ namespace: z.string(), name: z.string(), kind: text('Deployment, Pod') });
const end = z.union([party, z.strictObject({ cidrs: z.array(z.string()).describe('addresses outside') })]);
const ports = z.strictObject({
  protocol: z.enum(['TCP', 'UDP', 'SCTP', 'ICMP']),
  ports: text('80,443-445, or all'),
  verdict: z.enum(['allow', 'conditional']),
  why: optional(text('what a conditional verdict depends on')),
});
const policy = z.strictObject({ kind: z.string(), namespace: optional(z.string()), name: z.string() });
const place = z.strictObject({ field: z.string(), at: optional(text('file:line')) });
const change = z.strictObject({
  change: z.enum(['added', 'removed', 'changed']),
  src: end,
  dst: end,
  before: z.array(ports),
  after: z.array(ports),
  newEnd: optional(party.describe('the end that only B has')),
  lostEnd: optional(party.describe('the end that only A has')),
  because: z.array(
    z.strictObject({
      policy,
      how: z.enum(['added', 'removed', 'edited', 'moved', 'same']),
      direction: z.enum(['egress', 'ingress']),
      why: optional(z.string()),
      before: optional(place),
      after: optional(place),
    }),
  ),
});
const side = z.strictObject({
  name: z.string(),
  reading: z.record(z.string(), z.union([z.string(), z.boolean(), z.array(z.string())])),
  problems: z.array(
    z.strictObject({
      text: z.string(),
      file: optional(z.string()),
      line: optional(z.int()),
      column: optional(z.int()),
      field: optional(z.string()),
    }),
  ),
});

export const policyDiffReport = z.strictObject({
  apiVersion,
  kind: z.literal('PolicyDiff'),
  summary: z.string(),
  a: side,
  b: side,
  notes: z.array(z.string()),
  onlyInA: z.array(party),
  onlyInB: z.array(party),
  policies: z.array(
    z.strictObject({
      policy,
      how: z.enum(['added', 'removed', 'edited', 'renamed']),
      to: optional(policy),
      before: optional(text('file:line')),
      after: optional(text('file:line')),
    }),
  ),
  portlessOnly: z.int().describe('pairs that differ in protocols without ports only'),
  changes: z.array(change),
  inside: z.array(change).describe('of a workload with itself'),
  entries: z.array(change).describe('what Ingresses and Routes let in'),
});

export const policyLintReport = z.strictObject({
  apiVersion,
  kind: z.literal('PolicyLint'),
  summary: z.string(),
  findings: z.array(
    z.strictObject({
      rule: text('docs/policy-lint.md'),
      severity: z.enum(['error', 'warning', 'info']),
      policy,
      field: z.string(),
      text: z.string(),
      todo: z.string(),
      at: optional(text('file:line')),
    }),
  ),
  rules: z.array(z.string()).describe('rules that looked and could tell'),
  notRun: z.array(z.strictObject({ rule: z.string(), why: z.string() })),
  policies: z.int(),
});
