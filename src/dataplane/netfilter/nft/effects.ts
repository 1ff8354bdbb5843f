/** What nft's statements do to a packet and its connection: marks and NAT. */
import type { NftStatement } from '../../../model/nft.ts';
import type { HookOutcome } from '../context.ts';
import { setMapping } from '../mapping.ts';
import { chooseMapping } from '../nat.ts';
import { merge } from '../outcomes.ts';
import type { State } from '../state.ts';
import { markStep } from '../steps.ts';
import { evaluate, exactKeyOf, setNameOf } from './evaluate.ts';
import { payloadField } from './fields.ts';
import {
  advance,
  byChance,
  cannotApply,
  type Effect,
  type Here,
  nextRule,
  type Position,
  refuse,
  scopeOf,
  seen,
  type Walk,
} from './position.ts';
import { type NatWay, natWays } from './targets.ts';
import type { Option } from './values.ts';

export function setMark(
  walk: Walk,
  here: Here,
  statement: Extract<NftStatement, { kind: 'set-mark' | 'set-ct-mark' }>,
): Effect {
  const { position } = here;
  const { state } = position;
  const isPacket = statement.kind === 'set-mark';
  const values = evaluate(statement.value, scopeOf(walk, state));
  if (values.kind === 'absent') return { go: nextRule(position) };
  // nft_ct_set_eval: without a connection there is nothing to set, and the rule goes on.
  if (!isPacket && state.tracking.connection === undefined) return { go: advance(position) };
  const write = ({ share, parts }: Option): readonly [number, Position] | undefined => {
    const [value] = parts;
    if (value?.kind !== 'number' || value.unclear !== undefined) return undefined;
    const mark = Number(value.value & 0xffffffffn);
    return [share, advance(position, isPacket ? withMark(walk, here, mark) : withCtMark(walk, here, mark))];
  };
  const ways = values.options.map(write);
  const known = ways.filter((way) => way !== undefined);
  if (known.length < ways.length) return cannotApply(walk, here, 'the mark that it sets is not known');
  const [only, ...more] = known;
  return only !== undefined && more.length === 0 ? { go: only[1] } : byChance(walk, here, known);
}

function withMark({ base }: Walk, { position, rule }: Here, mark: number): State {
  const { state, frame } = position;
  const before = state.packet.mark;
  if (mark === before) return state;
  const steps = [...state.steps, markStep({ base, frame }, rule, 'mark', before, mark)];
  return { ...state, packet: { ...state.packet, mark }, steps };
}

function withCtMark({ base }: Walk, { position, rule }: Here, mark: number): State {
  const { state, frame } = position;
  const { connection } = state.tracking;
  if (connection === undefined || mark === connection.mark) return state;
  const steps = [...state.steps, markStep({ base, frame }, rule, 'connection mark', connection.mark, mark)];
  return { ...state, tracking: { ...state.tracking, connection: { ...connection, mark } }, steps };
}

/** nft_payload_set_eval on the IP header: a packet of the other family ends the rule. */
export function setHeader(
  walk: Walk,
  here: Here,
  { protocol, field, value }: Extract<NftStatement, { kind: 'set-header' }>,
): Effect {
  const { position } = here;
  const { packet } = position.state;
  const before = payloadField(protocol, field, packet);
  const values = evaluate(
    value,
    scopeOf(walk, position.state),
    before?.kind === 'number' ? before.type : 'number',
  );
  if (before === undefined || values.kind === 'absent') return { go: nextRule(position) };
  const [only, more] = values.options;
  const written = only?.parts[0];
  if (more !== undefined || written?.kind !== 'number' || written.unclear !== undefined)
    return cannotApply(walk, here, `the ${field} that it sets is not known`);
  const number = Number(written.value);
  const tos = packet.tos ?? 0;
  const changed =
    field === 'dscp'
      ? { tos: (tos & 3) | ((number & 63) << 2) }
      : field === 'ecn'
        ? { tos: (tos & ~3) | (number & 3) }
        : { ttl: number & 255 };
  return { go: advance(position, { ...position.state, packet: { ...packet, ...changed } }) };
}

/** nft_dynset_eval: a key that the packet does not have ends the rule. That a set is full is not known. */
export function updateSet(
  walk: Walk,
  here: Here,
  { set, how, key }: Extract<NftStatement, { kind: 'update-set' }>,
): Effect {
  const { position } = here;
  const { state } = position;
  const values = evaluate(key, scopeOf(walk, state));
  if (values.kind === 'absent') return { go: nextRule(position) };
  const [only, more] = values.options;
  const exact = only === undefined || more !== undefined ? undefined : exactKeyOf(only.parts);
  const change = {
    netns: walk.run.context.netns.id,
    set: setNameOf(walk.base.nft, set),
    how,
    ...(exact === undefined ? {} : { key: exact }),
  };
  const before = state.connections.nftChanges ?? [];
  const last = before.findLast(
    (one) => one.netns === change.netns && one.set === change.set && one.key === exact,
  );
  const isDone = last?.how === how && before.every((one) => one.key !== undefined || one.set !== change.set);
  if (isDone) return { go: advance(position) };
  const nftChanges = [...before, change];
  return { go: advance(position, { ...state, connections: { ...state.connections, nftChanges } }) };
}

/** Fixes the connection's mapping and ends the chain; the nat stage then translates the packet. */
export function applyNat(walk: Walk, here: Here, statement: Extract<NftStatement, { kind: 'nat' }>): Effect {
  const { position } = here;
  const ways = natWays(statement, scopeOf(walk, position.state));
  if (ways.kind === 'absent') return { go: nextRule(position) };
  if (ways.kind === 'none') return { go: advance(position) };
  if (ways.kind === 'doubt') return cannotApply(walk, here, ways.why);
  if (position.state.tracking.connection === undefined)
    return cannotApply(walk, here, 'NAT without a connection');
  const outcomes: HookOutcome[] = [];
  for (const way of ways.ways) {
    const effect = translateTo(walk, here, way);
    if ('go' in effect) return effect;
    outcomes.push(...effect.done);
  }
  return { done: merge(outcomes) };
}

function translateTo(walk: Walk, here: Here, { share, target }: NatWay): Effect {
  const { rule, position } = here;
  const before = { ...position.state, share: position.state.share * share };
  const { connection } = before.tracking;
  const at: Here = { rule, position: { ...position, state: before } };
  const choice = chooseMapping(target, before.packet, walk.run.context);
  if (choice.kind === 'doubt' || connection === undefined)
    return cannotApply(walk, at, choice.kind === 'doubt' ? choice.why : 'NAT without a connection');
  if (choice.kind === 'drop') {
    const effect = refuse(walk, at, 'drop', []);
    return 'go' in effect ? effect : { done: effect.done.map((one) => ({ ...one, unknownWhy: choice.why })) };
  }
  const { state } = seen(walk, at, 'accept').position;
  const natStep = { at: { base: walk.base, frame: position.frame }, rule };
  const outcomes = choice.mappings.flatMap(({ manip, ...to }) => {
    const tracking = { ...state.tracking, connection: setMapping(connection, manip, to) };
    return walk.next({ ...state, share: state.share / choice.mappings.length, tracking, natStep });
  });
  return { done: outcomes };
}
