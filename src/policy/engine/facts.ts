/** Which facts about endpoints the policies read. Endpoints that differ in no such fact are the same to every policy. */
import type { Prefix } from '../../net/prefix.ts';
import type { EndpointExpr, LabelOwner, LoweredDirection, PolicyProgram, Ports } from '../ir.ts';

export interface UsedFacts {
  readonly labels: Readonly<Record<LabelOwner, ReadonlySet<string>>>;
  readonly prefixes: readonly Prefix[];
  /** False where every address test excludes pods: their addresses then make no difference. */
  readonly podAddresses: boolean;
  readonly serviceAccounts: boolean;
  readonly traits: ReadonlySet<string>;
  /** `TCP/http` */
  readonly portNames: ReadonlySet<string>;
}

export interface FactCollector extends UsedFacts {
  readonly addExpr: (expr: EndpointExpr) => void;
  readonly addPorts: (ports: Ports) => void;
}

export function factsOf(program: PolicyProgram): UsedFacts {
  const facts = collectFacts();
  for (const layer of program.layers) {
    for (const rewrite of layer.rewrites) {
      facts.addExpr(rewrite.src);
      facts.addExpr(rewrite.dst);
    }
    for (const tier of layer.tiers)
      for (const group of tier.groups)
        for (const policy of group) {
          facts.addExpr(policy.subject);
          addDirection(facts, policy.ingress);
          addDirection(facts, policy.egress);
        }
  }
  return facts;
}

export function addDirection(facts: FactCollector, direction: LoweredDirection | undefined): void {
  for (const rule of direction?.rules ?? []) {
    facts.addExpr(rule.peer);
    if (rule.self !== undefined) facts.addExpr(rule.self);
    facts.addPorts(rule.ports);
  }
}

export function collectFacts(): FactCollector {
  const labels = {
    self: new Set<string>(),
    namespace: new Set<string>(),
    'service-account': new Set<string>(),
    node: new Set<string>(),
  };
  const prefixes: Prefix[] = [];
  const traits = new Set<string>();
  const portNames = new Set<string>();
  const found = { podAddresses: false, serviceAccounts: false };
  const add = (expr: EndpointExpr, withPods: boolean): void => {
    switch (expr.is) {
      case 'label':
        labels[expr.of].add(expr.key);
        return;
      case 'address':
        prefixes.push(...expr.prefixes, ...expr.except);
        found.podAddresses ||= withPods;
        return;
      case 'service-account':
        found.serviceAccounts = true;
        return;
      case 'trait':
        traits.add(expr.name);
        return;
      case 'not':
        add(expr.of, withPods);
        return;
      case 'and': {
        const excluded = expr.of.some((part) => part.is === 'kind' && !part.kinds.includes('pod'));
        for (const part of expr.of) add(part, withPods && !excluded);
        return;
      }
      case 'or':
        for (const part of expr.of) add(part, withPods);
        return;
    }
  };
  return {
    labels,
    prefixes,
    traits,
    portNames,
    get podAddresses() {
      return found.podAddresses;
    },
    get serviceAccounts() {
      return found.serviceAccounts || labels['service-account'].size > 0;
    },
    addExpr: (expr) => add(expr, true),
    addPorts: (ports) => {
      for (const { protocol, name } of [...ports.named, ...(ports.not?.named ?? [])])
        portNames.add(`${protocol}/${name}`);
    },
  };
}
