/** ufw and firewalld end FORWARD with a rule or policy of their own, which carries none of their names. */
import { ownerOf } from '../dataplane/netfilter/owner.ts';
import { type Known, orElse } from '../model/known.ts';
import type { Ruleset } from '../model/netfilter.ts';

/**
 * True if FORWARD belongs to a host firewall and this is how it closes the chain: its policy (`rule` undefined), or a
 * rule without any match behind the jumps to its chains.
 */
export function closesHostFirewall(
  rulesets: Known<readonly Ruleset[]> | undefined,
  rule: string | undefined,
): boolean {
  if (rulesets === undefined) return false;
  if (rule !== undefined && !/-A FORWARD -j (DROP|REJECT\b.*)$/.test(rule)) return false;
  return orElse(rulesets, []).some((ruleset) => {
    const forward = ruleset.tables.find(({ name }) => name === 'filter')?.chains.get('FORWARD');
    const own = (forward?.rules ?? []).findIndex(
      ({ target }) => (target.kind === 'jump' || target.kind === 'goto') && isHostFirewall(target.chain),
    );
    if (own < 0) return false;
    if (rule === undefined) return true;
    const closing = (forward?.rules ?? []).findIndex(
      ({ source }) => source.kind === 'file' && bare(source.text) === bare(rule),
    );
    return closing > own;
  });
}

const isHostFirewall = (chain: string): boolean => {
  const owner = ownerOf(chain);
  return owner === 'ufw' || owner === 'firewalld';
};

/** Counters stand in front of a rule in a save with -c. */
const bare = (rule: string): string => rule.replace(/^\[\d+:\d+\]\s*/, '').trim();
