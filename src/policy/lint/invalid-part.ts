/** Parts that the API would refuse or that are not understood: they match nothing, or the whole object is left out. */
import type { NetworkPolicy, ObjectOrigin, PolicyProblem } from '../../model/cluster.ts';
import { orElse } from '../../model/known.ts';
import type { PolicyName } from '../../model/policy-diff.ts';
import { defineRule, type Found, type LintContext } from './rule.ts';

export const invalidPart = defineRule({
  id: 'invalid-part',
  title: 'every part of every policy is valid',
  needsPods: false,
  run: (context) => [
    ...context.networkPolicies.flatMap((policy: NetworkPolicy) =>
      problems({ kind: 'NetworkPolicy', namespace: policy.namespace, name: policy.name }, policy),
    ),
    ...orElse(context.cluster.adminPolicies, []).flatMap((policy) =>
      problems({ kind: policy.kind, name: policy.name }, policy),
    ),
    ...noted(context),
  ],
});

interface WithProblems {
  readonly problems: readonly PolicyProblem[];
  readonly origin?: ObjectOrigin;
}

const todo = 'correct the field; kubectl apply --dry-run=server shows what the API server says';

const problems = (policy: PolicyName, { problems: list, origin }: WithProblems): Found[] =>
  list.map(({ field, why }) => ({
    severity: 'error' as const,
    policy,
    field,
    text: why,
    todo,
    ...(origin === undefined ? {} : { origin }),
  }));

/** Of the other kinds: what the lowering left out. */
function noted({ engine }: LintContext): Found[] {
  const typed = new Set([
    'NetworkPolicy',
    'AdminNetworkPolicy',
    'BaselineAdminNetworkPolicy',
    'ClusterNetworkPolicy',
  ]);
  return engine.program.notes.flatMap(({ policy, field, text, origin }) =>
    policy === undefined || field === undefined || typed.has(policy.kind)
      ? []
      : [
          {
            severity: 'warning' as const,
            policy,
            field,
            text: text.startsWith(`${field} `) ? text.slice(field.length + 1) : text,
            todo: 'look at the field: what is said of it may not be what was meant',
            ...(origin === undefined ? {} : { origin }),
          },
        ],
  );
}
