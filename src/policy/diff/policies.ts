/** The policies of two programs side by side: which are new, gone, edited or only renamed. */
import type { PolicyChange, PolicyName } from '../../model/policy-diff.ts';
import { policyText } from '../../model/policy-diff.ts';
import type { LoweredPolicy, PolicyProgram } from '../ir.ts';

export interface PolicyPairs {
  readonly changes: readonly PolicyChange[];
  /** The policy of one side -> a name that its counterpart of the other side has too. */
  readonly sharedName: (side: 'a' | 'b', policy: LoweredPolicy) => string;
  /** By shared name; the policies that are the same on both sides, by another name perhaps, are not there. */
  readonly how: ReadonlyMap<string, 'added' | 'removed' | 'edited'>;
}

interface Known {
  readonly policy: LoweredPolicy;
  readonly parts: string[];
}

export function pairPolicies(a: PolicyProgram, b: PolicyProgram): PolicyPairs {
  const [inA, inB] = [policiesOf(a), policiesOf(b)];
  const changes: PolicyChange[] = [];
  const how = new Map<string, 'added' | 'removed' | 'edited'>();
  const gone = new Map<string, string[]>();
  for (const [name, one] of inA) {
    const other = inB.get(name);
    if (other === undefined) {
      const body = bodyOf(one);
      gone.set(body, [...(gone.get(body) ?? []), name]);
    } else if (bodyOf(one) !== bodyOf(other)) {
      how.set(name, 'edited');
      changes.push({ policy: one.policy.id, how: 'edited', ...places(one, other) });
    }
  }
  const renamed = new Map<string, string>();
  for (const [name, other] of inB) {
    if (inA.has(name)) continue;
    const old = gone.get(bodyOf(other))?.shift();
    if (old === undefined) {
      how.set(name, 'added');
      changes.push({ policy: other.policy.id, how: 'added', ...places(undefined, other) });
      continue;
    }
    renamed.set(name, old);
    const one = inA.get(old) as Known;
    changes.push({ policy: one.policy.id, how: 'renamed', to: other.policy.id, ...places(one, other) });
  }
  for (const name of [...gone.values()].flat()) {
    const one = inA.get(name) as Known;
    how.set(name, 'removed');
    changes.push({ policy: one.policy.id, how: 'removed', ...places(one, undefined) });
  }
  return {
    changes: changes.sort((x, y) => (policyText(x.policy) < policyText(y.policy) ? -1 : 1)),
    sharedName: (side, policy) => {
      const name = policyText(policy.id);
      return side === 'b' ? (renamed.get(name) ?? name) : name;
    },
    how,
  };
}

const places = (
  before: Known | undefined,
  after: Known | undefined,
): Pick<PolicyChange, 'before' | 'after'> => ({
  ...(before?.policy.origin === undefined ? {} : { before: before.policy.origin }),
  ...(after?.policy.origin === undefined ? {} : { after: after.policy.origin }),
});

/** One object may have become several lowered policies: a Cilium policy with many specs, a mesh policy in many layers. */
function policiesOf(program: PolicyProgram): Map<string, Known> {
  const found = new Map<string, Known>();
  for (const layer of program.layers)
    for (const tier of layer.tiers)
      for (const policy of tier.groups.flat()) {
        const name = policyText(policy.id);
        const part = JSON.stringify(
          [layer.name, tier.name, policy.subject, policy.condition, policy.ingress, policy.egress],
          writable,
        );
        const known = found.get(name);
        if (known === undefined) found.set(name, { policy, parts: [part] });
        else known.parts.push(part);
      }
  return found;
}

const writable = (_: string, value: unknown): unknown =>
  typeof value === 'bigint' ? value.toString() : value;

/** The namespace counts: a policy of another namespace is another one, whatever it says. */
const bodyOf = ({ policy: { id }, parts }: Known): string =>
  `${id.kind} ${(id satisfies PolicyName).namespace ?? ''} ${parts.sort().join('\n')}`;
