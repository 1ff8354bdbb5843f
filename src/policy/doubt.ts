/** Labels that were not collected: a rule that reads them may match or may not, and so it is said. */
import type { Cluster } from '../model/cluster.ts';
import {
  anyEndpoint,
  type Condition,
  type EndpointExpr,
  type LabelOwner,
  type Layer,
  type LoweredDirection,
  type LoweredPolicy,
  noEndpoint,
  type PolicyProgram,
} from './ir.ts';

/** Of each owner whose labels are not known, why. */
type Unseen = ReadonlyMap<LabelOwner, string>;

/** The program with a condition on every rule and policy that reads labels which nobody knows. */
export function withDoubts(program: PolicyProgram, cluster: Cluster): PolicyProgram {
  const unseen: Map<LabelOwner, string> = new Map();
  if (cluster.namespaces.state === 'unknown') unseen.set('namespace', cluster.namespaces.why);
  if (cluster.serviceAccounts.state === 'unknown') unseen.set('service-account', cluster.serviceAccounts.why);
  if (cluster.nodes.state === 'unknown') unseen.set('node', cluster.nodes.why);
  if (unseen.size === 0) return program;
  return { ...program, layers: program.layers.map((layer) => doubtedLayer(layer, unseen)) };
}

const doubtedLayer = (layer: Layer, unseen: Unseen): Layer => ({
  ...layer,
  tiers: layer.tiers.map((tier) => ({
    ...tier,
    groups: tier.groups.map((group) => group.map((policy) => doubtedPolicy(policy, unseen))),
  })),
  rewrites: layer.rewrites.map((rewrite) => {
    const src = widen(rewrite.src, unseen);
    const dst = widen(rewrite.dst, unseen);
    const condition = rewrite.condition ?? src.condition ?? dst.condition;
    return { ...rewrite, src: src.expr, dst: dst.expr, ...(condition === undefined ? {} : { condition }) };
  }),
});

function doubtedPolicy(policy: LoweredPolicy, unseen: Unseen): LoweredPolicy {
  const subject = widen(policy.subject, unseen);
  const condition = policy.condition ?? subject.condition;
  return {
    ...policy,
    subject: subject.expr,
    ...(condition === undefined ? {} : { condition }),
    ...(policy.ingress === undefined ? {} : { ingress: doubtedDirection(policy.ingress, unseen) }),
    ...(policy.egress === undefined ? {} : { egress: doubtedDirection(policy.egress, unseen) }),
  };
}

const doubtedDirection = (direction: LoweredDirection, unseen: Unseen): LoweredDirection => ({
  ...direction,
  rules: direction.rules.map((rule) => {
    const peer = widen(rule.peer, unseen);
    const self = rule.self === undefined ? undefined : widen(rule.self, unseen);
    const condition = rule.condition ?? peer.condition ?? self?.condition;
    return {
      ...rule,
      peer: peer.expr,
      ...(self === undefined ? {} : { self: self.expr }),
      ...(condition === undefined ? {} : { condition }),
    };
  }),
});

/** Everything that the expression may mean: tests of unknown labels hold wherever that makes the set larger. */
function widen(
  expr: EndpointExpr,
  unseen: Unseen,
  positive = true,
): { readonly expr: EndpointExpr; readonly condition?: Condition } {
  switch (expr.is) {
    case 'label': {
      const why = unseen.get(expr.of);
      // The API server gives every namespace the label with its name: that one is known without the object.
      if (why === undefined || (expr.of === 'namespace' && expr.key === 'kubernetes.io/metadata.name'))
        return { expr };
      const text = `it reads the label ${expr.key} of ${words[expr.of]}, and those are not known: ${why}`;
      return {
        expr: positive ? anyEndpoint : noEndpoint,
        condition: { code: 'not-collected', text },
      };
    }
    case 'not': {
      const inner = widen(expr.of, unseen, !positive);
      return { ...inner, expr: { is: 'not', of: inner.expr } };
    }
    case 'and':
    case 'or': {
      const parts = expr.of.map((part) => widen(part, unseen, positive));
      const condition = parts.find((part) => part.condition !== undefined)?.condition;
      if (condition === undefined) return { expr };
      return { expr: { is: expr.is, of: parts.map((part) => part.expr) }, condition };
    }
    default:
      return { expr };
  }
}

const words: Readonly<Record<LabelOwner, string>> = {
  self: 'the endpoint',
  namespace: 'namespaces',
  'service-account': 'service accounts',
  node: 'nodes',
};
