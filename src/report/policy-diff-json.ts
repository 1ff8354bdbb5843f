/** `policy diff -o json`, written piece by piece: docs/schema/policy-diff.json. */
import type { ConnectionChange, PolicyChange, RulePlace } from '../model/policy-diff.ts';
import { diffHeadline, type PolicyDiffReport } from './policy-diff.ts';

const apiVersion = 'podpath.dev/v1alpha1';

export function* policyDiffJson(report: PolicyDiffReport): Generator<string> {
  const { a, b, diff, entries, notes, place } = report;
  const head = JSON.stringify({
    apiVersion,
    kind: 'PolicyDiff',
    summary: diffHeadline(report),
    a,
    b,
    notes,
    onlyInA: diff.onlyInA,
    onlyInB: diff.onlyInB,
    policies: diff.policies.map((change) => policyJson(change, place)),
    portlessOnly: diff.portlessOnly,
  });
  yield `${head.slice(0, -1)}`;
  for (const [name, list] of [
    ['changes', diff.changes],
    ['inside', diff.inside],
    ['entries', entries],
  ] as const) {
    yield `,\n"${name}":[`;
    let separator = '\n';
    for (const change of list) {
      yield `${separator}${JSON.stringify(changeJson(change, place))}`;
      separator = ',\n';
    }
    yield ']';
  }
  yield '}\n';
}

function changeJson({ because, ...change }: ConnectionChange, place: PolicyDiffReport['place']) {
  return {
    ...change,
    because: because.map(({ before, after, ...reason }) => ({
      ...reason,
      ...(before === undefined ? {} : { before: placeJson(before, place) }),
      ...(after === undefined ? {} : { after: placeJson(after, place) }),
    })),
  };
}

function placeJson(one: RulePlace, place: PolicyDiffReport['place']) {
  const at = place(one);
  return { field: one.field, ...(at === undefined ? {} : { at }) };
}

function policyJson({ before, after, ...change }: PolicyChange, place: PolicyDiffReport['place']) {
  const [old, now] = [before, after].map((origin) =>
    origin === undefined ? undefined : place({ field: '', origin }),
  );
  return {
    ...change,
    ...(old === undefined ? {} : { before: old }),
    ...(now === undefined ? {} : { after: now }),
  };
}
