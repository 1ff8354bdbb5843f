/** Rules of legacy iptables and of nftables at one hook: both are in force, and neither tool shows the other's. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import type { Program } from '../program.ts';
import { finding, type LintRule } from '../rule.ts';

const id = 'both-backends';

export const bothBackends: LintRule = {
  id,
  run: ({ programs }) => {
    const found: NetfilterFinding[] = [];
    const all = programs.map(({ program }) => program);
    for (const legacy of all.filter(({ backend }) => backend === 'legacy'))
      for (const base of legacy.bases) {
        const chain = legacy.chains.get(base.chain);
        if (chain === undefined || chain.rules.length === 0) continue;
        const others = all.filter((other) => other.backend === 'nft' && other.family === legacy.family);
        const [other] = others.flatMap((one) => sameHook(one, base.chain, legacy.table));
        if (other === undefined) continue;
        found.push(
          finding(legacy, chain, undefined, {
            rule: id,
            severity: 'warning',
            text: `${legacy.table} ${base.chain} has ${count(chain.rules.length)} in the legacy backend and ${count(other.rules.length)} in the nft backend: both are in force, and what one accepts the other still drops`,
            todo: 'move all rules to one backend: the one that iptables -V names for kube-proxy and the CNI',
            because: [other.source],
          }),
        );
      }
    return found;
  },
};

const count = (rules: number): string => `${rules} ${rules === 1 ? 'rule' : 'rules'}`;

const sameHook = (program: Program, chainName: string, table: string) => {
  const chain = program.table === table ? program.chains.get(chainName) : undefined;
  return chain === undefined || chain.rules.length === 0 ? [] : [chain];
};
