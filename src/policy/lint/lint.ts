/** Runs every lint rule that can tell anything over a cluster's policies. */

import { policyText } from '../../model/policy-diff.ts';
import type { LintFinding, PolicyLint } from '../../model/policy-lint.ts';
import type { Engine } from '../engine/engine.ts';
import { lintRules } from './registry.ts';
import { type LintContext, type LintRule, lintContext } from './rule.ts';

export function lintPolicies(engine: Engine, rules: readonly LintRule[] = lintRules): PolicyLint {
  const context = lintContext(engine);
  const findings: LintFinding[] = [];
  const ran: string[] = [];
  const notRun: { rule: string; why: string }[] = [];
  for (const rule of rules) {
    const why = cannot(rule, context);
    if (why !== undefined) {
      notRun.push({ rule: rule.id, why });
      continue;
    }
    ran.push(rule.id);
    const left = rule.leavesOut?.(context);
    if (left !== undefined) notRun.push({ rule: rule.id, why: left });
    for (const found of rule.run(context)) findings.push({ rule: rule.id, ...found });
  }
  const names = new Set(context.lowered.map(({ policy }) => policyText(policy.id)));
  return { findings: sorted(findings), rules: ran, notRun, policies: names.size };
}

function cannot(rule: LintRule, context: LintContext): string | undefined {
  if (rule.needsPods)
    for (const list of [context.cluster.pods, context.cluster.namespaces])
      if (list.state === 'unknown') return list.why;
  return rule.cannot?.(context);
}

const order = { error: 0, warning: 1, info: 2 } as const;

/** Policies with the worst findings first; the findings of one policy together. */
function sorted(findings: readonly LintFinding[]): readonly LintFinding[] {
  const worst = new Map<string, number>();
  for (const { policy, severity } of findings) {
    const name = policyText(policy);
    worst.set(name, Math.min(worst.get(name) ?? 3, order[severity]));
  }
  const keyed = findings.map((finding) => ({ finding, name: policyText(finding.policy) }));
  return keyed
    .sort(
      (a, b) =>
        (worst.get(a.name) ?? 3) - (worst.get(b.name) ?? 3) ||
        (a.name < b.name ? -1 : a.name > b.name ? 1 : 0) ||
        order[a.finding.severity] - order[b.finding.severity],
    )
    .map(({ finding }) => finding);
}
