/** One policy more, less or other: what it does not touch is shared with the engine before, so that an edit is judged at once. */
import { type IdSet, noIds, unionIds } from '../../net/id-set.ts';
import type { Direction, Layer, LoweredPolicy, PolicyId } from '../ir.ts';
import { type CompiledPolicy, compilePolicy, policyKey } from './compile.ts';
import { assemble, createEngine, type Engine, type EngineLayer } from './engine.ts';
import { addDirection, collectFacts } from './facts.ts';
import type { Universe } from './universe.ts';

export interface PolicyEdit {
  /** Names of the layer and tier that the policy belongs to. */
  readonly layer: string;
  readonly tier: string;
  readonly id: PolicyId;
  /**
   * Undefined: the policy is taken away. One that was not there yet comes behind all others of its tier. Only for tiers in which each
   * policy is a group of its own and is lowered to one.
   */
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
  const at = engine.layers.findIndex(({ compiled }) => compiled.layer.name === edit.layer);
  const before = engine.layers[at];
  const tier = before?.compiled.tiers.findIndex(({ name }) => name === edit.tier) ?? -1;
  if (before === undefined || tier < 0) throw new RangeError(`no tier ${edit.tier} in layer ${edit.layer}`);
  const place = placeOf(before, tier, edit.id);
  const layer = editedLayer(before.compiled.layer, place, edit.policy);
  const program = {
    ...engine.program,
    layers: engine.program.layers.map((one, i) => (i === at ? layer : one)),
  };
  if (edit.policy !== undefined && !covered(engine.universe, edit.policy))
    return { engine: createEngine(engine.world, program, engine.traits), affected: undefined };
  const egress = editedDirection(engine, before, 'egress', place, edit.policy);
  const ingress = editedDirection(engine, before, 'ingress', place, edit.policy);
  const after: EngineLayer = {
    ...before,
    compiled: {
      layer,
      tiers: layer.tiers,
      policies: { egress: egress.policies, ingress: ingress.policies },
      ranks: before.compiled.ranks,
    },
    rows: { egress: egress.rows, ingress: ingress.rows },
  };
  return {
    engine: assemble({ ...engine, program, layers: engine.layers.map((one, i) => (i === at ? after : one)) }),
    affected: { egress: egress.affected, ingress: ingress.affected },
  };
}

interface Place {
  readonly rank: number;
  readonly tier: number;
  readonly group: number;
}

/** Each policy keeps its rank through all edits; a new one gets the next, and a group of its own behind its tier's others. */
function placeOf({ compiled }: EngineLayer, tier: number, id: PolicyId): Place {
  const { egress, ingress } = compiled.policies;
  const ranks = compiled.ranks();
  const rank = ranks.get(policyKey(id));
  const known = rank === undefined ? undefined : (egress[rank] ?? ingress[rank]);
  if (known !== undefined && known.tier === tier && sameId(known.policy.id, id)) return known;
  ranks.set(policyKey(id), egress.length);
  return { rank: egress.length, tier, group: compiled.tiers[tier]?.groups.length ?? 0 };
}

const sameId = (a: PolicyId, b: PolicyId): boolean =>
  a.name === b.name && a.namespace === b.namespace && a.kind === b.kind;

/** A group that loses its only policy stays, empty: the groups behind it keep their numbers. */
function editedLayer(layer: Layer, place: Place, policy: LoweredPolicy | undefined): Layer {
  const own = policy === undefined ? [] : [policy];
  return {
    ...layer,
    tiers: layer.tiers.map((tier, t) => {
      if (t !== place.tier) return tier;
      const groups = [...tier.groups];
      groups[place.group] = own;
      return { ...tier, groups };
    }),
  };
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

function editedDirection(
  engine: Engine,
  { compiled, rows }: EngineLayer,
  direction: Direction,
  place: Place,
  policy: LoweredPolicy | undefined,
) {
  const policies = [...compiled.policies[direction]];
  const before = policies[place.rank];
  const lowered =
    policy === undefined ? undefined : compilePolicy(policy, direction, engine.universe, engine.select);
  const { rank, tier, group } = place;
  const after: CompiledPolicy | undefined = lowered && { ...lowered, rank, tier, group };
  policies[place.rank] = after;
  return {
    policies,
    rows: rows[direction].edited(before, after, policies),
    affected: unionIds(before?.subjects ?? noIds, after?.subjects ?? noIds),
  };
}
