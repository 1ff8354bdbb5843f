/** Labels that were not collected: a rule that reads them may match or may not, and so it is said. */
import type { Cluster } from '../model/cluster.ts';
import {
  and,
  anyEndpoint,
  type Condition,
  type EndpointExpr,
  type LabelOwner,
  type Layer,
  type LoweredDirection,
  type LoweredPolicy,
  noEndpoint,
  not,
  type PolicyProgram,
  type Rule,
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
    groups: tier.groups.map((group) => group.flatMap((policy) => doubtedPolicy(policy, unseen))),
  })),
  rewrites: layer.rewrites.map((rewrite) => {
    const src = doubted(rewrite.src, unseen);
    const dst = doubted(rewrite.dst, unseen);
    const condition = rewrite.condition ?? src.condition ?? dst.condition;
    return { ...rewrite, src: src.most, dst: dst.most, ...(condition === undefined ? {} : { condition }) };
  }),
});

/** The policy for those whom it selects in any case, and for those whom it may select. */
function doubtedPolicy(policy: LoweredPolicy, unseen: Unseen): readonly LoweredPolicy[] {
  const { least, most, condition } = doubted(policy.subject, unseen);
  const whole = {
    ...policy,
    ...(policy.ingress === undefined ? {} : { ingress: doubtedDirection(policy.ingress, unseen) }),
    ...(policy.egress === undefined ? {} : { egress: doubtedDirection(policy.egress, unseen) }),
  };
  if (condition === undefined) return [whole];
  if (least === noEndpoint || policy.condition !== undefined)
    return [{ ...whole, subject: most, condition: policy.condition ?? condition }];
  return [
    { ...whole, subject: least },
    { ...whole, subject: and(most, not(least)), condition },
  ];
}

/** What a rule matches in any case is asked first, then what it may match. */
const doubtedDirection = (direction: LoweredDirection, unseen: Unseen): LoweredDirection => ({
  ...direction,
  rules: direction.rules.flatMap((rule): readonly Rule[] => {
    const peer = doubted(rule.peer, unseen);
    const self = rule.self === undefined ? undefined : doubted(rule.self, unseen);
    const condition = peer.condition ?? self?.condition;
    if (condition === undefined) return [rule];
    const may: Rule = {
      ...rule,
      peer: peer.most,
      ...(self === undefined ? {} : { self: self.most }),
      condition: rule.condition ?? condition,
    };
    if (rule.condition !== undefined || peer.least === noEndpoint || self?.least === noEndpoint) return [may];
    return [{ ...rule, peer: peer.least, ...(self === undefined ? {} : { self: self.least }) }, may];
  }),
});

/** Whom an expression holds for in any case, and whom it may hold for. */
interface Doubted {
  readonly least: EndpointExpr;
  readonly most: EndpointExpr;
  /** Set where the two differ. */
  readonly condition?: Condition;
}

function doubted(expr: EndpointExpr, unseen: Unseen): Doubted {
  switch (expr.is) {
    case 'label': {
      const why = unseen.get(expr.of);
      // The API server gives every namespace the label with its name: that one is known without the object.
      if (why === undefined || (expr.of === 'namespace' && expr.key === 'kubernetes.io/metadata.name'))
        return { least: expr, most: expr };
      const text = `it reads the label ${expr.key} of ${words[expr.of]}, and those are not known: ${why}`;
      return { least: noEndpoint, most: anyEndpoint, condition: { code: 'not-collected', text } };
    }
    case 'not': {
      const { least, most, condition } = doubted(expr.of, unseen);
      if (condition === undefined) return { least: expr, most: expr };
      return { least: opposite(most), most: opposite(least), condition };
    }
    case 'and':
    case 'or': {
      const parts = expr.of.map((part) => doubted(part, unseen));
      const condition = parts.find((part) => part.condition !== undefined)?.condition;
      if (condition === undefined) return { least: expr, most: expr };
      const joined = (of: readonly EndpointExpr[]): EndpointExpr => {
        const isNone = expr.is === 'and' ? of.includes(noEndpoint) : of.every((part) => part === noEndpoint);
        return isNone ? noEndpoint : { ...expr, of };
      };
      return {
        least: joined(parts.map(({ least }) => least)),
        most: joined(parts.map(({ most }) => most)),
        condition,
      };
    }
    default:
      return { least: expr, most: expr };
  }
}

const opposite = (expr: EndpointExpr): EndpointExpr =>
  expr === anyEndpoint ? noEndpoint : expr === noEndpoint ? anyEndpoint : not(expr);

const words: Readonly<Record<LabelOwner, string>> = {
  self: 'the endpoint',
  namespace: 'namespaces',
  'service-account': 'service accounts',
  node: 'nodes',
};
