/** `policy diff -o dot`: only what changed, as a graph for Graphviz. */
import type { ConnectionChange } from '../model/policy-diff.ts';
import { dotText } from './escape.ts';
import { allChanges, diffPartyText, type PolicyDiffReport, portsText } from './policy-diff.ts';

const looks: Readonly<Record<ConnectionChange['change'], string>> = {
  added: 'color="#2e9e5b"',
  removed: 'color="#d9534f", style=dashed',
  changed: 'color="#c08a00"',
};

export function* policyDiffDot(report: PolicyDiffReport): Generator<string> {
  yield 'digraph policy_diff {\n  rankdir=LR;\n  node [shape=box, style=rounded, fontname="sans-serif"];\n  edge [fontname="sans-serif", fontsize=10];\n';
  for (const { change, src, dst, before, after } of allChanges(report)) {
    const label =
      change === 'added'
        ? portsText(after)
        : change === 'removed'
          ? portsText(before)
          : `${portsText(before)} -> ${portsText(after)}`;
    yield `  ${dotText(diffPartyText(src, false))} -> ${dotText(diffPartyText(dst, false))} [label=${dotText(label)}, ${looks[change]}];\n`;
  }
  yield '}\n';
}
