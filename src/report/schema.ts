/**
 * The shape of the JSON reports. docs/schema/*.json is generated from here and the report types are inferred from here,
 * so code, schema and documentation cannot differ. Fields may be added; none is renamed or removed within v1alpha1.
 */
import { z } from 'zod';

const apiVersion = 'podpath.dev/v1alpha1';

const text = (description: string) => z.string().describe(description);
const optional = <T extends z.ZodType>(type: T) => z.exactOptional(type);

const answer = z.enum(['reachable', 'unreachable', 'unknown']);
const disposition = text('how the flow ends: one of docs/dispositions.md');

const endpoint = z.strictObject({
  kind: z.enum(['pod', 'node', 'service', 'external']),
  namespace: optional(z.string()),
  name: optional(z.string()),
  address: text('IP address'),
});
const flow = z.strictObject({
  src: endpoint,
  dst: endpoint,
  protocol: z.enum(['tcp', 'udp', 'sctp', 'icmp']),
  dstPort: z.int().describe('0 for icmp'),
  srcPort: optional(z.int()),
  sizeBytes: optional(z.int().describe('IP packet size that was asked about')),
  hostName: optional(z.string()),
});

const source = z.strictObject({
  kind: z.enum(['file', 'object', 'command']),
  text: text('one line to look it up by: file:line and raw text, object and field, or command and output'),
  file: optional(text('path inside the snapshot')),
  line: optional(z.int().describe('1-based')),
});
const evidence = z.strictObject({
  how: z.enum(['declared', 'observed', 'simulated', 'probed']),
  statement: z.string(),
  source: optional(source),
});
const subject = z.strictObject({
  kind: z.enum(['node', 'pod', 'service', 'policy', 'namespace', 'device', 'cluster']),
  name: z.string(),
});
const cause = z.strictObject({
  id: text('stable id, area/what: docs/causes'),
  title: z.string(),
  score: z.number().describe('0 to 1; 1 is proven, below 0.5 is a guess'),
  subject,
  evidence: z.array(evidence),
  contradictedBy: z.array(z.string()),
  repair: z.array(z.string()),
  nextProbe: optional(z.string()),
});
const gap = z.strictObject({ what: z.string(), where: z.string(), why: z.string(), todo: z.string() });

const nearRule = z.strictObject({
  table: z.string(),
  chains: z.array(z.string()).describe('base chain first, the chain of the rule last'),
  how: z
    .enum(['accept', 'return', 'mark', 'late'])
    .describe(
      'accepts; returns past the rule that dropped; sets the mark that `through` asks for; would accept, but stands behind the drop',
    ),
  needs: z.array(z.string()).describe('what the packet lacks for it'),
  about: optional(text('what the comment says: Service, NetworkPolicy, pod')),
  source,
  through: optional(source),
});
const kernelWords = z.strictObject({
  dropReason: optional(text('as the tracepoint skb:kfree_skb names it')),
  symptom: text('what the sender notices'),
  counter: optional(text('the counter that rises, as nstat names it')),
  counted: optional(z.number().describe('what it stood at when the snapshot was taken')),
});

const step = z.strictObject({
  kind: z.string(),
  action: z.enum(['pass', 'rewrite', 'lost', 'unknown']),
  text: z.string(),
  reason: optional(z.string()),
  facts: optional(z.record(z.string(), z.string())),
  sources: optional(z.array(source)),
  kernel: optional(kernelWords.describe('of a loss: what the kernel itself shows')),
  nearest: optional(
    z.array(nearRule).describe('of a drop: the rules that would have let the packet go on, best first'),
  ),
});
const ruleVisit = z.strictObject({
  hook: z.enum(['prerouting', 'input', 'forward', 'output', 'postrouting']),
  backend: z.enum(['nft', 'legacy', 'nftables']),
  table: z.string(),
  chains: z.array(z.string()).describe('base chain first, the chain of the rule last'),
  verdict: z.enum(['accept', 'drop', 'reject', 'return', 'jump', 'goto', 'continue', 'unknown']),
  to: optional(text('the chain that jump and goto lead to')),
  policy: optional(z.boolean().describe("the base chain's policy, no rule")),
  handle: optional(z.int().describe('of nftables')),
  about: optional(text('what the comment says: Service, NetworkPolicy, pod')),
  effect: optional(text('what it did to the packet: mark 0x0 -> 0x4000')),
  packets: optional(z.number().describe("the rule's counter when the dump was taken")),
  source,
});
const hop = z.strictObject({
  netns: text('node1, or node1/namespace_pod'),
  node: z.string(),
  pod: optional(text('namespace/name')),
  inDevice: optional(z.string()),
  outDevice: optional(z.string()),
  packet: text('the packet as it left or was lost here'),
  packetBytes: z.int().describe('whole IP packet'),
  steps: z.array(step),
  rules: optional(z.array(ruleVisit).describe('the packet-filter rules that matched, in order')),
});
const trace = z.strictObject({ forward: z.array(hop), back: z.array(hop) });
const branch = z.strictObject({
  backend: optional(z.string()),
  share: z.number().describe('share of new connections, 0 to 1'),
  size: z.enum(['small', 'full']),
  answer,
  disposition,
  trace,
  broken: optional(
    z.strictObject({
      direction: z.enum(['forward', 'back']),
      hop: z.int().describe('index in trace.forward or trace.back'),
      step,
    }),
  ),
  remarks: z.array(step),
});
const probe = z.strictObject({
  src: z.string(),
  dst: z.string(),
  kind: z.enum(['icmp', 'tcp', 'udp', 'dns']),
  port: z.int(),
  sizeBytes: z.int(),
  df: optional(z.boolean()),
  bulk: optional(z.enum(['from-src', 'from-dst'])),
  dns: optional(
    z.strictObject({
      server: z.string(),
      transport: z.enum(['udp', 'tcp']),
      rcode: optional(z.string()),
      answers: z.array(z.string()),
    }),
  ),
  outcome: z.enum(['ok', 'timeout', 'refused', 'unreachable', 'too-big', 'error']),
  ms: z.number(),
  command: z.string(),
  output: z.string(),
});

const version = z.literal(apiVersion);
const summary = text('the answer in one sentence, as the first line of the text report');

export const traceReport = z.strictObject({
  apiVersion: version,
  kind: z.literal('Trace'),
  summary,
  answer,
  disposition,
  flow,
  gaps: z.array(gap),
  trace,
  branches: z.array(branch),
});

/** `podpath trace --all-backends -o json`. */
export const backendsReport = z.strictObject({
  apiVersion: version,
  kind: z.literal('TraceBackends'),
  summary,
  answer,
  total: z.int().describe('backends'),
  failing: z.int(),
  unknown: z.int(),
  backends: z.array(
    z.strictObject({
      name: text('shop/api-2 10.244.2.7:8080; the destination where no rule chose one'),
      share: z.number().describe('share of new connections, 0 to 1'),
      answer,
      disposition,
      reason: optional(text('where and why it is not reached')),
      branch: z.int().describe('index in `branches` of podpath trace -o json'),
    }),
  ),
});

export const diagnosisReport = z.strictObject({
  apiVersion: version,
  kind: z.literal('Diagnosis'),
  summary,
  answer,
  disposition,
  flow,
  causes: z.array(cause).describe('best first'),
  gaps: z.array(gap).describe('what could not be seen'),
  trace: trace.describe('the way that people are shown: the first that fails, else the first'),
  branches: z.array(branch).describe('every way the flow can go'),
  evidence: z.array(evidence).describe('evidence about the flow that belongs to no cause'),
  remarks: optional(z.array(z.string()).describe('true sentences that are no cause')),
  probes: z.array(probe),
  durationMs: z.number(),
});

export const scanReport = z.strictObject({
  apiVersion: version,
  kind: z.literal('Scan'),
  summary,
  findings: z.array(
    z.strictObject({
      check: z.string(),
      cause: z.string(),
      severity: z.enum(['error', 'warning']),
      subject,
      concerns: z.array(subject),
      statement: z.string(),
      evidence: z.array(evidence),
    }),
  ),
  checks: z.array(z.string()).describe('checks that looked and could tell'),
  notRun: z.array(z.strictObject({ check: z.string(), why: z.string() })),
  gaps: z.array(gap),
  lookedAt: z.strictObject({
    nodes: optional(z.int()),
    pods: optional(z.int()),
    services: optional(z.int()),
    policies: optional(z.int()),
  }),
  durationMs: z.number(),
});

const party = z.union([
  z.strictObject({
    namespace: text('empty for parties that have none'),
    name: z.string(),
    kind: text('Deployment, Pod, IngressController'),
  }),
  z.strictObject({ cidr: text('addresses outside the cluster') }),
]);
const problem = z.strictObject({
  text: z.string(),
  file: optional(z.string()),
  line: optional(z.int().describe('1-based')),
  column: optional(z.int().describe('1-based')),
  field: optional(text('path inside the object')),
});

export const connectivityReport = z.strictObject({
  apiVersion: version,
  kind: z.literal('Connectivity'),
  reading: z
    .record(z.string(), z.union([z.string(), z.boolean(), z.array(z.string())]))
    .describe('how the policies were read: dialect, ipBlockMatchesPods, and what that rests on (because)'),
  problems: z.array(problem).describe('parts of the input that the answer is without'),
  notes: z.array(z.string()),
  connections: z
    .array(
      z.strictObject({
        src: party,
        dst: party,
        protocol: z.enum(['TCP', 'UDP', 'SCTP', 'ICMP']),
        ports: text('80,443-445, or all'),
        verdict: z.enum(['allow', 'conditional']),
        why: optional(text('what a conditional verdict depends on')),
      }),
    )
    .describe('a pair that is not listed is denied'),
});
