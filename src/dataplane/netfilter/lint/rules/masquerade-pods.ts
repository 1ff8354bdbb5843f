/** MASQUERADE that hides which pod a packet is from: policies and logs at the other end then see the node. */
import type { NetfilterFinding } from '../../../../model/netfilter-report.ts';
import { addressBits } from '../../../../net/address.ts';
import { formatPrefix, type Prefix } from '../../../../net/prefix.ts';
import { rangeSet } from '../field-sets.ts';
import type { ProgramRule } from '../program.ts';
import { type Box, meetRegions, type Region } from '../region.ts';
import { finding, type LintInput, type LintRule, rulesOf } from '../rule.ts';

const id = 'masquerade-hides-pods';

export const masqueradePods: LintRule = {
  id,
  run: (input) =>
    input.programs.flatMap(({ program, fate }) => {
      const found: NetfilterFinding[] = [];
      if (program.family !== 'ip' && program.family !== 'ip6' && program.family !== 'inet') return found;
      for (const [chain, rule] of rulesOf(program)) {
        const reached = fate(chain, rule);
        if (!isMasquerade(rule) || reached.kind !== 'live') continue;
        // kube-proxy returns what has no mark and then clears the mark: what is left no longer shows that it had one.
        if (chain.rules.some(({ index, changes }) => index < rule.index && changes.size > 0)) continue;
        const hidden = hiddenPods(reached.region, input);
        if (hidden === undefined) continue;
        found.push(
          finding(program, chain, rule, {
            rule: id,
            severity: 'warning',
            text: `it gives ${hidden} the address of this host: the other pod, and policies there, see the host instead of the pod`,
            todo: 'let packets between pods return before it (-s PODS -d PODS -j RETURN), or leave their destinations out (! -d PODS)',
          }),
        );
      }
      return found;
    }),
};

const isMasquerade = ({ effect }: ProgramRule): boolean =>
  effect.kind === 'verdict' && /"masquerade"/.test(effect.verdict);

/** Packets between pods that surely come to it; undefined if none do, or if it depends on marks, sets or connections. */
function hiddenPods(region: Region, { podNetworks }: LintInput): string | undefined {
  const plain = region.filter((box) =>
    [...box.keys()].every((field) => /^(src|dst)[46]$|^state$/.test(field)),
  );
  if (podNetworks.length === 0)
    return plain.some((box) => ![...box.keys()].some((field) => /^(src|dst)/.test(field)))
      ? 'every packet that leaves, also those between pods,'
      : undefined;
  for (const from of podNetworks)
    for (const to of podNetworks)
      if (meetRegions([between(from, to)], plain).length > 0)
        return `packets from pods (${formatPrefix(from)}) to pods (${formatPrefix(to)})`;
  return undefined;
}

const between = (from: Prefix, to: Prefix): Box =>
  new Map([
    [`src${from.family}`, networkSet(from)],
    [`dst${to.family}`, networkSet(to)],
  ]);

const networkSet = ({ value, length, family }: Prefix) =>
  rangeSet(
    [[value, value + (1n << BigInt(addressBits(family) - length)) - 1n]],
    1n << BigInt(addressBits(family)),
  );
