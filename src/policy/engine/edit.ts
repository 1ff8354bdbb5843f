/** One policy more, less or other: what it does not touch is shared with the engine before, so that an edit is judged at once. */
import { type IdSet, noIds, unionAll, unionIds } from '../../net/id-set.ts';
import type { Direction, Layer, LoweredPolicy, PolicyId, PolicyProgram, Tier } from '../ir.ts';
import { type CompiledPolicy, compilePolicy } from './compile.ts';
import { assemble, createEngine, type Engine, type EngineLayer } from './engine.ts';
import { addDirection, collectFacts } from './facts.ts';
import type { Universe } from './universe.ts';

export interface PolicyEdit {
  /** Names of the layer and tier that the policy belongs to. */
  readonly layer: string;
  readonly tier: string;
  readonly id: PolicyId;
  /** Undefined: the policy is taken away. One that was not there yet comes behind all others of its tier. */
  readonly policy: LoweredPolicy | undefined;
}

export interface EditedEngine {
  readonly engine: Engine;
  /** Classes that have another row than before, by direction. Undefined: the classes themselves are others. */
  readonly affected: Readonly<Record<Direction, IdSet>> | undefined;
}

/**
 * The engine after the edit. Cheap if the policy reads only labels, port names and prefixes that some policy read before; else the
 * classes are no longer fine enough, and the engine is made anew from all policies.
 */
export function editEngine(engine: Engine, edit: PolicyEdit): EditedEngine {
  const program = editedProgram(engine.program, edit);
  if (edit.policy !== undefined && !covered(engine.universe, edit.policy))
    return { engine: createEngine(engine.world, program, engine.traits), affected: undefined };
  const edited = engine.layers.map((layer, l) =>
    layer.compiled.layer.name === edit.layer
      ? editedLayer(engine, layer, program.layers[l] as Layer, edit)
      : { layer, egress: noIds, ingress: noIds },
  );
  return {
    engine: assemble({ ...engine, program, layers: edited.map(({ layer }) => layer) }),
    affected: {
      egress: unionAll(edited.map(({ egress }) => egress)),
      ingress: unionAll(edited.map(({ ingress }) => ingress)),
    },
  };
}

const sameId = (a: PolicyId, b: PolicyId): boolean =>
  a.name === b.name && a.namespace === b.namespace && a.kind === b.kind;

function editedProgram(program: PolicyProgram, edit: PolicyEdit): PolicyProgram {
  return {
    ...program,
    layers: program.layers.map((layer) =>
      layer.name === edit.layer
        ? {
            ...layer,
            tiers: layer.tiers.map((tier) => (tier.name === edit.tier ? editedTier(tier, edit) : tier)),
          }
        : layer,
    ),
  };
}

/** A group that loses its only policy stays, empty: the groups behind it keep their numbers. */
function editedTier(tier: Tier, { id, policy }: PolicyEdit): Tier {
  const at = tier.groups.findIndex((group) => group.some((one) => sameId(one.id, id)));
  if (at < 0) return policy === undefined ? tier : { ...tier, groups: [...tier.groups, [policy]] };
  const groups = [...tier.groups];
  groups[at] = (tier.groups[at] ?? []).flatMap((one) =>
    sameId(one.id, id) ? (policy === undefined ? [] : [policy]) : [one],
  );
  return { ...tier, groups };
}

function covered({ facts: used, tree }: Universe, policy: LoweredPolicy): boolean {
  const facts = collectFacts();
  facts.addExpr(policy.subject);
  addDirection(facts, policy.ingress);
  addDirection(facts, policy.egress);
  const owners = ['self', 'namespace', 'service-account', 'node'] as const;
  if (facts.podAddresses && !used.podAddresses) return false;
  if (facts.serviceAccounts && !used.serviceAccounts) return false;
  if (owners.some((owner) => [...facts.labels[owner]].some((key) => !used.labels[owner].has(key))))
    return false;
  if ([...facts.traits].some((name) => !used.traits.has(name))) return false;
  if ([...facts.portNames].some((name) => !used.portNames.has(name))) return false;
  return facts.prefixes.every(tree.has);
}

function editedLayer(
  engine: Engine,
  before: EngineLayer,
  layer: Layer,
  edit: PolicyEdit,
): { readonly layer: EngineLayer } & Readonly<Record<Direction, IdSet>> {
  const tier = layer.tiers.findIndex(({ name }) => name === edit.tier);
  const direction = (which: Direction) => {
    const policies = before.compiled.policies[which];
    const old = policies.find(
      (one) => one.tier === tier && one.policy.id.name === edit.id.name && sameId(one.policy.id, edit.id),
    );
    const compiled =
      edit.policy === undefined
        ? undefined
        : compilePolicy(edit.policy, which, engine.universe, engine.select);
    const rank = old?.rank ?? policies.reduce((most, one) => Math.max(most, one.rank), -1) + 1;
    const group = old?.group ?? groupOf(layer.tiers[tier] as Tier, edit.id);
    const after: CompiledPolicy | undefined =
      compiled === undefined ? undefined : { ...compiled, rank, tier, group };
    const kept = old === undefined ? policies : policies.filter((one) => one !== old);
    return {
      policies: after === undefined ? kept : [...kept, after],
      rows: before.rows[which].edited(old, after),
      affected: unionIds(old?.subjects ?? noIds, after?.subjects ?? noIds),
    };
  };
  const egress = direction('egress');
  const ingress = direction('ingress');
  return {
    layer: {
      ...before,
      compiled: {
        layer,
        tiers: layer.tiers,
        policies: { egress: egress.policies, ingress: ingress.policies },
      },
      rows: { egress: egress.rows, ingress: ingress.rows },
    },
    egress: egress.affected,
    ingress: ingress.affected,
  };
}

const groupOf = (tier: Tier, id: PolicyId): number =>
  tier.groups.findIndex((group) => group.some((one) => sameId(one.id, id)));
