import type { LabNode } from '../state.ts';
import { defineFault, everyCni } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { insertRule, onNode, type Rule, removeRule } from './kernel.ts';

/** The rule by which the policy controller's chain is reached: what it accepts would never meet the chain's policy. */
const policyJump: Rule = [
  'FORWARD',
  '-m',
  'comment',
  '--comment',
  'kube-router netpol - TEMCG2JMHZYE7H7T',
  '-j',
  'KUBE-ROUTER-FORWARD',
];

/** What Docker or a firewall service does when it starts after the network: FORWARD flushed, its policy DROP; kube-proxy's rules came back. */
export const forwardPolicyDrop = defineFault({
  name: 'forward-policy-drop',
  title: "the FORWARD chain's policy of a node is DROP and no rule accepts pod traffic",
  cause: 'netfilter/forward-drop',
  cnis: everyCni,
  repair:
    'Accept pod traffic in FORWARD (iptables -A FORWARD -s POD-CIDR -j ACCEPT, and -d), or iptables -P FORWARD ACCEPT.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [...within(lab, near(lab)), ...across(lab, [near(lab), third(lab)])],
  capture: async (lab) => {
    const rules = (await onNode(far(lab), 'iptables', '-S', 'FORWARD')).split('\n');
    const place = rules.findIndex((rule) => rule.endsWith('-j KUBE-ROUTER-FORWARD'));
    return { policy: rules[0]?.split(' ')[2] ?? 'ACCEPT', ...(place > 0 ? { place: `${place}` } : {}) };
  },
  async break(lab) {
    await removeRule(far(lab), policyJump);
    await setPolicy(far(lab), 'DROP');
  },
  async mend(lab, { policy = 'ACCEPT', place }) {
    await setPolicy(far(lab), policy);
    if (place !== undefined) await insertRule(far(lab), policyJump, Number(place));
  },
});

const setPolicy = (node: LabNode, policy: string): Promise<string> =>
  onNode(node, 'iptables', '-w', '5', '-P', 'FORWARD', policy);
