/** Verdicts of nft: of a rule, and those that a verdict map gives. */
import type { NftElement, NftStatement, NftVerdict } from '../../../model/nft.ts';
import { merge } from '../outcomes.ts';
import { lookups, nameOf } from './evaluate.ts';
import {
  accepted,
  advance,
  cannotApply,
  type Effect,
  type Frame,
  follow,
  giveUp,
  type Here,
  joinAll,
  nextRule,
  refuse,
  scopeOf,
  seen,
  type Walk,
} from './position.ts';

export function applyVerdict(walk: Walk, here: Here, verdict: NftVerdict, maps: readonly string[]): Effect {
  const { position, rule } = here;
  const { frame } = position;
  switch (verdict.kind) {
    case 'continue':
      return { go: advance(position) };
    case 'accept':
      return { done: walk.next(accepted(walk, seen(walk, here, 'accept'))) };
    case 'drop':
      return refuse(walk, here, 'drop', maps);
    case 'return': {
      const { state } = seen(walk, here, 'return').position;
      // From a base chain, also after goto, it leads to the policy: the index past the last rule.
      return frame.parent === undefined
        ? {
            go: {
              ...position,
              frame: { chain: walk.base.chain, path: [walk.base.chain.name] },
              index: Number.MAX_SAFE_INTEGER,
              state,
            },
          }
        : { go: { ...frame.parent, statement: 0, state } };
    }
    case 'jump':
    case 'goto':
      return enter(walk, here, verdict, maps);
    case 'unknown':
      return cannotApply(walk, { position, rule }, `the verdict is not understood: ${verdict.text}`);
  }
}

/** NFT_JUMP_STACK_SIZE is 16; only a damaged dump nests deeper. */
const maxDepth = 64;

function enter(
  walk: Walk,
  here: Here,
  verdict: Extract<NftVerdict, { kind: 'jump' | 'goto' }>,
  maps: readonly string[],
): Effect {
  const { frame, index, state } = seen(walk, here, verdict.kind, verdict.chain).position;
  const chain = walk.base.nft.chains.get(verdict.chain);
  if (chain === undefined) return cannotApply(walk, here, `chain ${verdict.chain} was not recorded`);
  if (frame.path.length >= maxDepth)
    return cannotApply(walk, here, `chain ${verdict.chain} is nested without end`);
  const parent = verdict.kind === 'jump' ? { frame, index: index + 1 } : frame.parent;
  const entered: Frame = {
    chain,
    path: [...frame.path, chain.name],
    via: { rule: here.rule, frame },
    maps: [...(frame.maps ?? []), ...maps],
    ...(parent === undefined ? {} : { parent }),
  };
  return { go: { frame: entered, index: 0, statement: 0, state } };
}

/** More verdicts than this in doubt are not followed one by one. */
const maxCandidates = 8;

export function applyVmap(
  walk: Walk,
  here: Here,
  statement: Extract<NftStatement, { kind: 'vmap' }>,
): Effect {
  const { position, rule } = here;
  const found = lookups(statement.key, statement.data, scopeOf(walk, position.state));
  if (found === 'absent') return { go: nextRule(position) };
  if ('doubt' in found) return cannotApply(walk, here, found.doubt);
  const maps = statement.data.kind === 'set-ref' ? [statement.data.name] : [];
  const hit = (at: Here, element: NftElement): Effect => {
    const { comment } = element;
    const told = comment === undefined ? at : { ...at, rule: { ...rule, comment } };
    const verdict = element.verdict ?? { kind: 'unknown' as const, text: nameOf(statement.data) };
    return applyVerdict(walk, told, verdict, maps);
  };
  const take = (at: Here, result: (typeof found)[number]['found']): Effect => {
    if (result.kind === 'hit') return hit(at, result.element);
    if (result.kind === 'miss') return { go: nextRule(at.position) };
    const distinct = [
      ...new Map(result.candidates.map((one) => [JSON.stringify(one.verdict), one])).values(),
    ];
    if (distinct.length > maxCandidates) return cannotApply(walk, at, result.why);
    const ways = distinct.map((element) => () => follow(walk, hit(at, element)));
    if (result.mayMiss) ways.push(() => walk.from(nextRule(at.position)));
    return joinAll(walk, at, result.why, ways);
  };
  const [only, ...more] = found;
  if (only !== undefined && more.length === 0) return take(here, only.found);
  walk.run.budget.chances -= more.length;
  if (walk.run.budget.chances < 0) return { done: giveUp(walk, here, 'more chances than the walk follows') };
  const outcomes = found.flatMap((way) => {
    const state = { ...position.state, share: position.state.share * way.share };
    return follow(walk, take({ rule, position: { ...position, state } }, way.found));
  });
  return { done: merge(outcomes) };
}
