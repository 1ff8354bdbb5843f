/** Text and JSON of `policy explain` and `policy suggest` on a small cluster made by hand. */
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import {
  cluster,
  ipBlock,
  namespace,
  pod,
  podsPeer,
  policy,
  ports,
  rules,
  selector,
  service,
} from '../../test/support/objects.ts';
import type { Cluster } from '../model/cluster.ts';
import type { PolicyAnswer, PolicyPlace } from '../model/policy-explanation.ts';
import type { Manifest, SuggestedKind } from '../model/policy-suggestion.ts';
import type { JsonObject } from '../parse/json.ts';
import { withPolicies } from '../parse/kubernetes/overlay.ts';
import { answerPolicy } from '../policy/explain/answer.ts';
import { askedPolicyFlows, type PolicyQuestion } from '../policy/explain/ends.ts';
import { policyEngine } from '../policy/index.ts';
import { suggestPolicy } from '../policy/suggest/suggest.ts';
import { policyExplainText } from './policy-explain.ts';
import { lineText, policyExplanationJson } from './policy-explain-json.ts';
import { policyExplanationReport } from './policy-explain-schema.ts';
import { manifestsYaml, policySuggestText } from './policy-suggest.ts';
import { policySuggestionJson } from './policy-suggest-json.ts';
import { policySuggestionReport } from './policy-suggest-schema.ts';
import { plainStyle } from './style.ts';

const owned = (name: string, hash: string) => ({
  owner: { kind: 'ReplicaSet', name: `${name}-${hash}` },
  labels: { app: name, 'pod-template-hash': hash },
});
const file = (name: string) => ({ origin: { file: `shop/${name}.yaml`, document: 0, path: '' } });

const world: Cluster = cluster({
  pods: [
    pod('shop/web-1', '10.0.0.2', owned('web', 'aa')),
    pod('shop/web-2', '10.0.0.3', { ...owned('web', 'bb'), node: 'node2' }),
    pod('shop/api-1', '10.0.0.4', { ...owned('api', 'cc'), containers: ports([8080, 'http']) }),
    pod('jobs/batch', '10.0.1.2', { labels: {} }),
  ],
  namespaces: [namespace('shop'), namespace('jobs', { team: 'data' })],
  services: [
    service('shop/api', '10.96.0.1', {
      ports: [{ name: '', port: 80, protocol: 'TCP', targetPort: 'http' }],
    }),
  ],
  networkPolicies: [
    {
      ...policy('shop/api-allow', {
        podSelector: selector({ app: 'api' }),
        ingress: rules(
          'ingress',
          { peers: [podsPeer(selector({ app: 'frontend' }))], ports: [{ protocol: 'TCP', port: 8080 }] },
          {
            peers: [podsPeer(selector({ 'pod-template-hash': 'bb' }))],
            ports: [{ protocol: 'TCP', port: 8080 }],
          },
          { peers: [ipBlock('10.0.0.0/24')], ports: [{ protocol: 'TCP', port: 9090 }] },
        ),
      }),
      ...file('api'),
    },
    { ...policy('jobs/closed', { egress: [] }), ...file('jobs') },
  ],
});
const engineOf = (one: Cluster) => policyEngine(one, { dialect: 'kubernetes', ipBlockMatchesPods: false });
const lineOf = ({ origin, field }: PolicyPlace) =>
  origin === undefined ? undefined : { file: origin.file, line: field === undefined ? 1 : 14 };
const where = lineText(lineOf);

const ask = (question: Partial<PolicyQuestion>): PolicyAnswer => {
  const asked = askedPolicyFlows(world, {
    src: 'shop/web-1',
    dst: 'shop/deploy/api',
    namespace: 'default',
    ...question,
  });
  return answerPolicy(engineOf(world), asked);
};
const suggest = (question: Partial<PolicyQuestion>, kind: SuggestedKind = 'network-policy') =>
  suggestPolicy(
    engineOf(world),
    askedPolicyFlows(world, {
      src: 'shop/web-1',
      dst: 'shop/deploy/api',
      namespace: 'default',
      port: 8080,
      ...question,
    }),
    {
      kind,
      engineOf,
      apply: (one, objects: readonly Manifest[]) => withPolicies(one, objects as readonly JsonObject[]),
    },
  );

const answers: Readonly<Record<string, Partial<PolicyQuestion>>> = {
  denied: { port: 8080 },
  'by-service': { src: 'jobs/batch', dst: 'shop/svc/api', port: 80 },
  'two-groups': { src: 'shop/deploy/web', port: 8080 },
  allowed: { src: 'shop/web-2' },
  'by-reading': { port: 9090 },
  icmp: { protocol: 'icmp' },
};

describe('policy explain', () => {
  it.each(Object.entries(answers))('text: %s', async (name, question) => {
    const text = policyExplainText(ask(question), where, plainStyle);
    await expect(text).toMatchFileSnapshot(`fixtures/policy-explain-${name}.txt`);
    for (const line of text.split('\n').slice(1)) expect(line.length).toBeLessThanOrEqual(100);
  });

  it('the answer is in the first line', () => {
    expect(policyExplainText(ask({ port: 8080 }), where, plainStyle).split('\n')[0]).toBe(
      'shop/web-1 may not reach shop/deploy/api:8080/TCP: NetworkPolicy shop/api-allow admits app=frontend only (shop/api.yaml:14)',
    );
  });

  it.each(Object.entries(answers))('JSON has the documented shape: %s', (_, question) => {
    const report: unknown = JSON.parse(JSON.stringify(policyExplanationJson(ask(question), lineOf)));
    expect(policyExplanationReport.parse(report)).toEqual(report);
    expect(policyExplanationReport.safeParse({ ...(report as object), verdict: 'maybe' }).success).toBe(
      false,
    );
  });
});

describe('policy suggest', () => {
  it.each<[string, Partial<PolicyQuestion>, SuggestedKind]>([
    ['one', {}, 'network-policy'],
    ['workload', { src: 'shop/deploy/web' }, 'network-policy'],
    ['both-sides', { src: 'jobs/batch', dst: 'shop/svc/api', port: 80 }, 'network-policy'],
    ['address', { src: '192.0.2.7' }, 'network-policy'],
    ['admin', {}, 'admin'],
    ['allowed', { src: 'shop/web-2' }, 'network-policy'],
    ['none', {}, 'cilium'],
  ])('text: %s', async (name, question, kind) => {
    const suggestion = suggest(question, kind);
    const text = policySuggestText(suggestion, where, plainStyle);
    await expect(text).toMatchFileSnapshot(`fixtures/policy-suggest-${name}.txt`);
    // What is not a comment is the manifests, so that all of it can be applied.
    const applied = text.replace(/^#.*\n/gm, '');
    expect(applied).toBe(manifestsYaml(suggestion.objects));
    const report: unknown = JSON.parse(JSON.stringify(policySuggestionJson(suggestion, where)));
    expect(policySuggestionReport.parse(report)).toEqual(report);
  });

  it('prefers labels of the owner to those of a rollout', () => {
    const [object] = suggest({ src: 'shop/deploy/web' }).objects;
    expect(JSON.stringify(object)).not.toContain('pod-template-hash');
  });
});

/** Published schemas allow fields that later versions add; the tests above do not. */
function published(schema: z.ZodType, title: string): string {
  const json = z.toJSONSchema(schema, {
    override: ({ jsonSchema }) => {
      if (jsonSchema.additionalProperties === false) delete jsonSchema.additionalProperties;
    },
  });
  const { $schema, ...rest } = json;
  return `${JSON.stringify({ $schema, title, ...rest }, undefined, 2)}\n`;
}

it.each([
  ['policy-explain', policyExplanationReport, 'podpath policy explain -o json'],
  ['policy-suggest', policySuggestionReport, 'podpath policy suggest -o json'],
] as const)('docs/schema/%s.json is up to date', async (name, schema, title) => {
  await expect(published(schema, title)).toMatchFileSnapshot(`../../docs/schema/${name}.json`);
});
