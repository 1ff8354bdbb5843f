/** `policy suggest -o json`: docs/schema/policy-suggest.json. */
import type { z } from 'zod';
import type { PolicyAnswer } from '../model/policy-explanation.ts';
import type { PolicySuggestion } from '../model/policy-suggestion.ts';
import type { Where } from './policy-explain.ts';
import { suggestHeadline } from './policy-suggest.ts';
// Types only: zod itself stays out of the program.
import type { policySuggestionReport } from './policy-suggest-schema.ts';

export type PolicySuggestionReport = z.infer<typeof policySuggestionReport>;

const worst = ({ groups }: PolicyAnswer) => groups[0]?.explanation.verdict ?? 'conditional';

export function policySuggestionJson(suggestion: PolicySuggestion, where: Where): PolicySuggestionReport {
  const { state, kind, before, after, objects, relies, opened, advice } = suggestion;
  return {
    apiVersion: 'podpath.dev/v1alpha1',
    kind: 'PolicySuggestion',
    summary: suggestHeadline(suggestion, where),
    state,
    src: before.src,
    dst: before.dst,
    policyKind: kind,
    before: worst(before),
    after: worst(after),
    objects: objects.map((object) => ({ ...object })),
    relies: [...relies],
    opened: { flows: [...opened.flows], more: opened.more },
    advice: [...advice],
  };
}
