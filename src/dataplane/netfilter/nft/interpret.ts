/**
 * The walk through the rules of one native base chain (nft_do_chain): statements run in order until one ends the rule or the
 * chain. What is in doubt or by chance splits the walk, as in interpret.ts; outcomes, connections and NAT are the same.
 */
import type { NftStatement } from '../../../model/nft.ts';
import { untracked } from '../conntrack.ts';
import type { HookContext, HookOutcome } from '../context.ts';
import { joinDoubt, outcome } from '../outcomes.ts';
import { visitedPolicy } from '../path.ts';
import type { Next, Run, State } from '../state.ts';
import { decisivePolicy, policyDropStep } from '../steps.ts';
import { nextNftRules } from './dispatch.ts';
import { applyNat, setHeader, setMark, updateSet } from './effects.ts';
import { evaluateMatch } from './evaluate.ts';
import {
  advance,
  byChance,
  cannotApply,
  type Effect,
  type Frame,
  giveUp,
  type Here,
  inDoubt,
  type NftBase,
  nearest,
  nextRule,
  type Position,
  refuse,
  scopeOf,
  seen,
  type Walk,
} from './position.ts';
import { rejectName } from './targets.ts';
import { applyVerdict, applyVmap } from './verdicts.ts';

/** Runs one base chain; `next` runs the rest of the hook for packets that it accepts. */
export function runNftBase(run: Run, base: NftBase, state: State, next: Next): readonly HookOutcome[] {
  const frame: Frame = { chain: base.chain, path: [base.chain.name] };
  const walk: Walk = { run, base, next, from: (position) => interpret(walk, position) };
  const start: Position = { frame, index: 0, statement: 0, state };
  const why = doubtOf(base);
  return why === undefined ? walk.from(start) : mayRun(walk, start, why);
}

/** Why it is not known whether the chain is in force. */
function doubtOf({ nft, definition }: NftBase): string | undefined {
  const name = `${nft.family} ${nft.name}`;
  if (nft.dormant === 'unknown')
    return `whether the table ${name} is dormant is not known: this version of nft prints its flags wrongly as JSON`;
  return definition.devicesUnknown === true
    ? `which devices the chain ${definition.name} of ${name} is bound to is not known: this version of nft leaves them out of its JSON`
    : undefined;
}

/** Both with the chain and without it. */
function mayRun(walk: Walk, start: Position, why: string): readonly HookOutcome[] {
  const { run, base, next } = walk;
  if (--run.budget.doubts < 0)
    return [
      outcome(start.state, 'unknown', run.context.netns.id, {
        unknownBecause: [base.chain.source],
        unknownWhy: why,
      }),
    ];
  const todo = `${why}; compare with: nft list ruleset`;
  return joinDoubt(
    start.state,
    run.context.netns.id,
    [base.chain.source],
    todo,
    walk.from(start),
    next(start.state),
  );
}

function interpret(walk: Walk, start: Position): readonly HookOutcome[] {
  let position = start;
  for (;;) {
    if (position.statement === 0) position = skipRules(walk.run.context, position);
    const { frame, index, statement, state } = position;
    const rule = frame.chain.rules[index];
    if (rule === undefined) {
      if (frame.parent === undefined) return applyPolicy(walk, frame, state);
      position = { ...frame.parent, statement: 0, state };
      continue;
    }
    const current = rule.statements[statement];
    if (current === undefined) {
      position = nextRule(matchesWhole(walk, { position, rule }).position);
      continue;
    }
    if (statement === 0 && walk.run.context.record) position = { ...position, came: state.packet };
    const here: Here = { position, rule };
    if (--walk.run.budget.rules < 0) return giveUp(walk, here, 'more rules than the walk takes up');
    const effect = runStatement(walk, here, current);
    if ('done' in effect) return effect.done;
    position = effect.go;
  }
}

/** In a long chain, on to the next rule that may match. */
function skipRules({ inDevice, outDevice }: HookContext, position: Position): Position {
  const { chain } = position.frame;
  const next = nextNftRules(chain, { packet: position.state.packet, inDevice, outDevice });
  return next === undefined ? position : { ...position, index: next(position.index) };
}

/** A rule that has come to its end without a verdict: counted by the kernel if its last conditions hold too. */
function matchesWhole(walk: Walk, here: Here): Here {
  if (walk.run.context.record === undefined) return here;
  const scope = scopeOf(walk, here.position.state);
  const holds = (here.rule.trailing ?? []).every(
    (statement) => statement.kind === 'match' && evaluateMatch(statement, scope) === true,
  );
  return holds ? seen(walk, here, 'continue') : here;
}

function runStatement(walk: Walk, here: Here, statement: NftStatement): Effect {
  const { position, rule } = here;
  const { state } = position;
  switch (statement.kind) {
    case 'match': {
      const result = evaluateMatch(statement, scopeOf(walk, state));
      if (result === true) return { go: advance(position) };
      if (result === false) return { go: nextRule(position) };
      return 'doubt' in result
        ? inDoubt(walk, here, result.doubt, [advance(position), nextRule(position)])
        : byChance(walk, here, [
            [result.chance, advance(position)],
            [1 - result.chance, nextRule(position)],
          ]);
    }
    case 'rate': {
      const why = `whether "${statement.text}" lets this packet pass depends on other traffic`;
      return inDoubt(walk, here, why, [advance(position), nextRule(position)]);
    }
    case 'verdict':
      return applyVerdict(walk, here, statement.verdict, []);
    case 'vmap':
      return applyVmap(walk, here, statement);
    case 'reject':
      // nft asks for the family before such a reject, and does not print that it does.
      if (statement.type === (state.packet.src.family === 4 ? 'icmpv6' : 'icmp'))
        return { go: nextRule(position) };
      return refuse(walk, here, 'reject', [], rejectName(statement, state.packet.src.family));
    case 'set-mark':
    case 'set-ct-mark':
      return setMark(walk, here, statement);
    case 'set-header':
      return setHeader(walk, here, statement);
    case 'nat':
      return applyNat(walk, here, statement);
    case 'notrack': {
      const isTracked = state.tracking.connection !== undefined;
      return { go: advance(position, isTracked ? state : { ...state, tracking: untracked }) };
    }
    case 'update-set':
      return updateSet(walk, here, statement);
    case 'unknown':
      return cannotApply(walk, here, `${statement.why}: ${statement.text || rule.source.kind}`);
  }
}

function applyPolicy({ run, base, next }: Walk, frame: Frame, state: State): readonly HookOutcome[] {
  const site = { base, frame };
  if (base.definition.policy !== 'drop') return next(visitedPolicy(run, site, state, 'accept'));
  const seen = visitedPolicy(run, site, state, 'drop');
  const dropped = { ...seen, decisive: decisivePolicy(site), steps: [...state.steps, policyDropStep(site)] };
  const near = nearest(run, base, frame, state);
  return [outcome(dropped, 'drop', run.context.netns.id, { nearest: near })];
}
