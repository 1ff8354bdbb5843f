/** A policy of DROP behind which nothing is ever accepted. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import { type Effect, type Program, targetsOf } from '../program.ts';
import type { Reach } from '../reach.ts';
import { finding, type LintRule } from '../rule.ts';

const id = 'drops-everything';

export const dropsAll: LintRule = {
  id,
  run: ({ programs }) =>
    programs.flatMap((reach) =>
      reach.program.bases.flatMap((base): readonly NetfilterFinding[] => {
        const chain = reach.program.chains.get(base.chain);
        if (base.policy !== 'drop' || chain === undefined || accepts(reach, base.chain)) return [];
        return [
          finding(reach.program, chain, undefined, {
            rule: id,
            severity:
              base.hook === 'output' || base.hook === 'input' || base.hook === 'forward'
                ? 'warning'
                : 'error',
            text: `its policy is DROP and no rule that packets come to accepts anything: ${what(base.hook)}`,
            todo: 'add rules that accept what is wanted, or set the policy to ACCEPT',
          }),
        ];
      }),
    ),
};

const what = (hook: string): string =>
  hook === 'forward'
    ? 'nothing is forwarded, so no pod reaches another one through this namespace'
    : hook === 'input'
      ? 'nothing reaches the host itself'
      : hook === 'output'
        ? 'the host sends nothing'
        : 'every packet is lost';

/** Some live rule below the chain accepts, translates, or does something that is not understood. */
function accepts({ program, fate }: Reach, start: string): boolean {
  const seen = new Set<string>([start]);
  const queue = [start];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    const chain = program.chains.get(name);
    if (chain === undefined) return true;
    for (const rule of chain.rules) {
      if (fate(chain, rule).kind !== 'live') continue;
      if (mayAccept(rule.effect, program)) return true;
      for (const target of targetsOf(rule.effect))
        if (!seen.has(target)) {
          seen.add(target);
          queue.push(target);
        }
    }
  }
  return false;
}

function mayAccept(effect: Effect, program: Program): boolean {
  if (effect.kind === 'unknown') return true;
  if (effect.kind === 'choice')
    return effect.of.length === 0 || effect.of.some((one) => mayAccept(one, program));
  return effect.kind === 'verdict' && effect.verdict !== 'drop' && !effect.verdict.startsWith('reject');
}
