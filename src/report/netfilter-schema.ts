/** The shapes of `netfilter show|lint|diff -o json`; docs/schema/netfilter-*.json are generated from here. */
import { z } from 'zod';

const apiVersion = z.literal('podpath.dev/v1alpha1');
const backend = z.enum(['nft', 'legacy', 'nftables']);
const place = z
  .strictObject({ file: z.string(), line: z.int().optional(), text: z.string() })
  .describe('the rule or chain as its file has it');

export const netfilterLintReport = z.strictObject({
  apiVersion,
  kind: z.literal('NetfilterLint'),
  summary: z.string(),
  namespaces: z.array(
    z.strictObject({
      name: z.string().describe('node1, node1/shop_web-1; empty for files'),
      files: z.array(z.string()),
      rules: z.int(),
      findings: z.array(
        z.strictObject({
          rule: z.string().describe('docs/netfilter.md'),
          severity: z.enum(['error', 'warning', 'info']),
          backend,
          family: z.string(),
          table: z.string(),
          chain: z.string(),
          owner: z.string(),
          text: z.string(),
          todo: z.string(),
          place,
          because: z.array(place),
        }),
      ),
      notRun: z.array(z.strictObject({ rule: z.string(), why: z.string() })),
    }),
  ),
});

export const netfilterDiffReport = z.strictObject({
  apiVersion,
  kind: z.literal('NetfilterDiff'),
  summary: z.string(),
  equivalent: z.boolean().describe('proven: no packet is treated differently'),
  tables: z.array(
    z.strictObject({
      family: z.string(),
      table: z.string(),
      backends: z.tuple([backend, backend]).describe('of A and B'),
      changes: z.array(
        z.strictObject({
          kind: z.enum([
            'added',
            'removed',
            'moved',
            'policy',
            'table-added',
            'table-removed',
            'chain-added',
            'chain-removed',
            'hook',
            'set',
          ]),
          family: z.string(),
          table: z.string(),
          chain: z.string(),
          text: z.string(),
          subject: z.string().optional(),
          a: place.optional(),
          b: place.optional(),
        }),
      ),
      meaning: z.discriminatedUnion('state', [
        z.strictObject({ state: z.literal('equal') }),
        z.strictObject({
          state: z.literal('different'),
          hook: z.string(),
          packet: z.string().describe('one that the tables treat differently'),
          a: z.string(),
          b: z.string(),
        }),
        z.strictObject({ state: z.literal('unknown'), why: z.string() }),
      ]),
      renamed: z.array(z.tuple([z.string(), z.string()])),
      reordered: z.int(),
    }),
  ),
});

export const netfilterShowReport = z.strictObject({
  apiVersion,
  kind: z.literal('NetfilterRules'),
  namespaces: z.array(
    z.strictObject({
      name: z.string(),
      files: z.array(z.string()),
      chains: z
        .array(
          z.strictObject({
            backend,
            family: z.string(),
            table: z.string(),
            name: z.string(),
            owner: z.string(),
            subject: z.string().optional(),
            base: z
              .strictObject({
                hook: z.string(),
                priority: z.number(),
                policy: z.string().optional(),
                devices: z.array(z.string()),
              })
              .optional(),
            place,
            calledBy: z.array(z.string()),
            reachable: z.boolean(),
            rules: z.array(
              z.strictObject({
                place,
                owner: z.string(),
                subject: z.string().optional(),
                comment: z.string().optional(),
                counters: z.strictObject({ packets: z.number(), bytes: z.number() }).optional(),
                targets: z.array(z.string()),
                unknown: z.array(z.string()),
              }),
            ),
          }),
        )
        .describe('base chains first, by hook and priority'),
    }),
  ),
});
