/** `policy explain -o json`: docs/schema/policy-explain.json. */
import type { z } from 'zod';
import type {
  DirectionExplanation,
  ExplainedGroup,
  LayerExplanation,
  NearestMiss,
  PolicyAnswer,
  PolicyPlace,
  Reason,
} from '../model/policy-explanation.ts';
import { policyHeadline } from './policy-explain.ts';
// Types only: zod itself stays out of the program.
import type { policyExplanationReport, policyPlace } from './policy-explain-schema.ts';

export type PolicyExplanationReport = z.infer<typeof policyExplanationReport>;
type PlaceJson = z.infer<typeof policyPlace>;
type GroupJson = PolicyExplanationReport['groups'][number];
type LayerJson = GroupJson['layers'][number];
type DirectionJson = LayerJson['ways'][number]['directions'][number];

/** The file and line of a place, where it has some. */
export type LineOf = (place: PolicyPlace) => { readonly file: string; readonly line?: number } | undefined;

/** `shop/api.yaml:14` */
export const lineText =
  (lineOf: LineOf) =>
  (place: PolicyPlace): string | undefined => {
    const at = lineOf(place);
    return at === undefined ? undefined : `${at.file}${at.line === undefined ? '' : `:${at.line}`}`;
  };

export function policyExplanationJson(answer: PolicyAnswer, lineOf: LineOf): PolicyExplanationReport {
  const [first] = answer.groups;
  if (first === undefined) throw new RangeError('an answer has at least one group');
  const { verdict, reading } = first.explanation;
  return {
    apiVersion: 'podpath.dev/v1alpha1',
    kind: 'PolicyExplanation',
    summary: policyHeadline(answer, lineText(lineOf)),
    verdict,
    src: answer.src,
    dst: answer.dst,
    groups: answer.groups.map((group) => groupJson(group, lineOf)),
    leftOut: answer.leftOut,
    remarks: [...answer.remarks],
    reading: { ...reading, because: [...reading.because] },
  };
}

function groupJson({ sources, destinations, explanation }: ExplainedGroup, lineOf: LineOf): GroupJson {
  const { flow, verdict, conditions, reason, nearest, hints, layers } = explanation;
  return {
    sources: [...sources],
    destinations: [...destinations],
    protocol: flow.protocol,
    port: flow.port,
    verdict,
    conditions: [...conditions],
    reason: reasonJson(reason, lineOf),
    ...(nearest === undefined ? {} : { nearest: nearestJson(nearest, lineOf) }),
    hints: hints.map(({ code, text, place }) => ({
      code,
      text,
      ...(place === undefined ? {} : { place: placeJson(place, lineOf) }),
    })),
    layers: layers.map((layer) => layerJson(layer, lineOf)),
  };
}

function placeJson(place: PolicyPlace, lineOf: LineOf): PlaceJson {
  const { origin: _, ...own } = place;
  return { ...own, ...lineOf(place) };
}

const reasonJson = ({ text, place }: Reason, lineOf: LineOf): GroupJson['reason'] => ({
  text,
  ...(place === undefined ? {} : { place: placeJson(place, lineOf) }),
});

const nearestJson = (
  { place, missing, text, more }: NearestMiss,
  lineOf: LineOf,
): NonNullable<GroupJson['nearest']> => ({
  place: placeJson(place, lineOf),
  missing,
  text,
  more,
});

const layerJson = ({ ways, conditions, ...layer }: LayerExplanation, lineOf: LineOf): LayerJson => ({
  ...layer,
  conditions: [...conditions],
  ways: ways.map(({ rewrite, directions }) => ({
    ...(rewrite === undefined ? {} : { rewrite }),
    directions: directions.map((one) => directionJson(one, lineOf)),
  })),
});

function directionJson(one: DirectionExplanation, lineOf: LineOf): DirectionJson {
  const { nearest, reason, conditions, tiers, ...rest } = one;
  return {
    ...rest,
    conditions: [...conditions],
    reason: reasonJson(reason, lineOf),
    tiers: tiers.map((tier) => ({
      ...tier,
      policies: tier.policies.map((policy) => ({
        ...policy,
        place: placeJson(policy.place, lineOf),
        matches: policy.matches.map((match) => ({ ...match, place: placeJson(match.place, lineOf) })),
      })),
    })),
    ...(nearest === undefined ? {} : { nearest: nearestJson(nearest, lineOf) }),
  };
}
