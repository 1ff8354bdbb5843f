/** The graph of chains: calls that lead nowhere, chains that nobody calls, calls in a circle. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import { type Program, type ProgramChain, targetsOf } from '../program.ts';
import { finding, type LintRule, ownerIn, rulesOf } from '../rule.ts';

export const missingChain: LintRule = {
  id: 'missing-chain',
  run: ({ programs }) =>
    programs.flatMap(({ program }) => {
      const found: NetfilterFinding[] = [];
      if (isExcerpt(program)) return found;
      for (const [chain, rule] of rulesOf(program)) {
        const missing = targetsOf(rule.effect).filter((name) => !program.chains.has(name));
        if (missing.length === 0) continue;
        found.push(
          finding(program, chain, rule, {
            rule: 'missing-chain',
            severity: 'error',
            text: `it leads to ${missing.join(', ')}, which the table does not have: the kernel refuses such rules, so the file is not whole`,
            todo: 'save the rules again, or add the chain',
          }),
        );
      }
      return found;
    }),
};

/** Excerpts leave chains out, also those whose rules they have. */
const isExcerpt = (program: Program): boolean =>
  [...program.chains.values()].some(({ declared }) => !declared);

export const emptyChain: LintRule = {
  id: 'jump-to-empty-chain',
  run: ({ programs }) =>
    programs.flatMap(({ program, graph }) =>
      isExcerpt(program)
        ? []
        : [...program.chains.values()].flatMap((chain): readonly NetfilterFinding[] => {
            const calls = graph.callers.get(chain.name) ?? [];
            const isBase = program.bases.some((base) => base.chain === chain.name);
            if (chain.rules.length > 0 || calls.length === 0 || isBase) return [];
            // The writers of such chains keep them for later; a person's empty chain is a loose end.
            const byHand = ownerIn(program, chain) === 'foreign';
            return [
              finding(program, chain, calls.length === 1 ? calls[0]?.rule : undefined, {
                rule: 'jump-to-empty-chain',
                severity: 'info',
                text: `${chain.name} has no rules: ${calls.length === 1 ? 'the jump there does' : `the ${calls.length} jumps there do`} nothing`,
                todo: byHand
                  ? `fill ${chain.name}, or remove the ${calls.length === 1 ? 'jump' : 'jumps'}`
                  : 'nothing, if there is nothing for it to do: its writer keeps it',
                because: calls.slice(0, 3).map(({ rule }) => rule.source),
              }),
            ];
          }),
    ),
};

/** Chains that are there to be seen, not to be called: kubelet and kube-proxy watch whether somebody flushes the tables. */
const marker = /^(KUBE-(KUBELET|PROXY)-CANARY|KUBE-IPTABLES-HINT)$/;

export const unusedChain: LintRule = {
  id: 'unused-chain',
  run: ({ programs }) =>
    programs.flatMap(({ program, graph }) =>
      isExcerpt(program) || program.bases.length === 0
        ? []
        : [...program.chains.values()].flatMap((chain): readonly NetfilterFinding[] => {
            if (graph.reachable.has(chain.name) || marker.test(chain.name)) return [];
            const calls = graph.callers.get(chain.name) ?? [];
            // Chains behind it follow from it.
            if (calls.some(({ from }) => from !== chain)) return [];
            const count = chain.rules.length;
            return [
              finding(program, chain, undefined, {
                rule: 'unused-chain',
                severity: count > 0 && ownerIn(program, chain) === 'foreign' ? 'warning' : 'info',
                text: `no rule leads to ${chain.name}${count === 0 ? '' : `: its ${count} ${count === 1 ? 'rule does' : 'rules do'} nothing`}`,
                todo: 'jump there from a built-in chain, or remove it',
              }),
            ];
          }),
    ),
};

export const chainLoop: LintRule = {
  id: 'chain-loop',
  run: ({ programs }) =>
    programs.flatMap(({ program, graph }) => {
      const [first] = graph.loop ?? [];
      const chain = first === undefined ? undefined : program.chains.get(first);
      if (chain === undefined) return [];
      const names = graph.loop ?? [];
      return [
        finding(program, chain, undefined, {
          rule: 'chain-loop',
          severity: 'error',
          text: `chains call each other in a circle (${[...names, first].join(' > ')}): the kernel refuses such rules (ELOOP)`,
          todo: 'remove one of the jumps',
          because: names.flatMap((name, i) =>
            jumpTo(program.chains.get(name), names[(i + 1) % names.length]),
          ),
        }),
      ];
    }),
};

const jumpTo = (from: ProgramChain | undefined, to: string | undefined) =>
  (from?.rules ?? [])
    .filter(({ effect }) => to !== undefined && targetsOf(effect).includes(to))
    .slice(0, 1)
    .map(({ source }) => source);
