/** FORWARD must let pod packets through that the policies allow. */
import type { Finding } from '../model/finding.ts';
import { defineCheck, nodeSubject, observed, podSubject } from './check.ts';
import { isSpecific } from './foreign-drop.ts';
import { closesHostFirewall } from './host-firewall.ts';
import { decisiveSource } from './packets.ts';
import { type Loss, podTrafficLosses } from './pod-traffic.ts';

export const forwardChain = defineCheck({
  id: 'forward-chain',
  title: 'Nodes forward pod packets',
  causes: ['netfilter/forward-drop', 'firewall/node-rule'],
  run: (context) => {
    const findings = new Map<string, Omit<Finding, 'check'>>();
    for (const loss of podTrafficLosses(context)) {
      if (!isGeneral(loss)) continue;
      const source = decisiveSource(loss.view.netns, loss.decisive);
      const key = `${loss.view.name} ${JSON.stringify(source)}`;
      if (!findings.has(key)) findings.set(key, toFinding(loss, source));
    }
    return [...findings.values()];
  },
});

/** A chain's policy, a firewall's closing rule, or a foreign rule that names no port and no address. */
function isGeneral({ decisive, owner }: Loss): boolean {
  if (decisive.policy === true || owner === 'ufw' || owner === 'firewalld' || owner === 'docker') return true;
  return owner === 'foreign' && decisive.rule !== undefined && !isSpecific(decisive.rule);
}

function toFinding(loss: Loss, source: ReturnType<typeof decisiveSource>): Omit<Finding, 'check'> {
  const { view, src, dst, decisive, owner } = loss;
  const chain = decisive.chainStack[0] ?? '';
  const closing = decisive.chainStack.at(-1) === 'FORWARD' || decisive.policy === true;
  const text = decisive.rule?.source.kind === 'file' ? decisive.rule.source.text : undefined;
  const firewall =
    owner === 'ufw' ||
    owner === 'firewalld' ||
    (closing && closesHostFirewall(view.netns.rulesets, decisive.policy === true ? undefined : text));
  const what =
    decisive.policy === true
      ? `the policy of ${decisive.table} ${chain} is DROP and no rule accepts pod packets`
      : `a rule in ${decisive.table} ${decisive.chainStack.at(-1)} drops pod packets`;
  return {
    cause: firewall ? 'firewall/node-rule' : 'netfilter/forward-drop',
    severity: 'error',
    subject: nodeSubject(view.name),
    concerns: [podSubject(dst), podSubject(src)],
    statement: `${view.name} does not let pod packets through: ${what}`,
    evidence: [
      observed(
        `a packet ${src.namespace}/${src.name} -> ${dst.namespace}/${dst.name}:${loss.port}/${loss.protocol.toUpperCase()}, which every NetworkPolicy allows, ends here`,
        source,
      ),
    ],
  };
}
