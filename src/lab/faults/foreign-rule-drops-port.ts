import { defineFault, everyCni } from './fault.ts';
import { across, far, near, third, webToApi, webToApiUdp, within } from './flows.ts';
import { insertRule, type Rule, removeRule } from './kernel.ts';

const rule: Rule = ['FORWARD', '-p', 'tcp', '-m', 'tcp', '--dport', '8080', '-j', 'DROP'];

/** A rule of no known owner, before all others: a security agent's, or a person's from an old incident. */
export const foreignRuleDropsPort = defineFault({
  name: 'foreign-rule-drops-port',
  title: 'an iptables rule of no known owner drops one port on a node',
  cause: 'netfilter/foreign-rule',
  cnis: everyCni,
  repair:
    'Find who wrote the rule, and remove it there and on the node: iptables -D FORWARD -p tcp --dport 8080 -j DROP.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    webToApiUdp(lab, near(lab), far(lab)),
    ...across(lab, [near(lab), third(lab)]),
  ],
  break: (lab) => insertRule(far(lab), rule),
  mend: (lab) => removeRule(far(lab), rule),
});
