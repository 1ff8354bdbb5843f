import { defineFault, tunnelCnis } from './fault.ts';
import { far, large, near, webToApi, within } from './flows.ts';
import { insertRule, type Rule, removeRule } from './kernel.ts';
import { captureMtus, restoreMtus, setPodMtus } from './mtu.ts';

const rule: Rule = ['OUTPUT', '-p', 'icmp', '-m', 'icmp', '--icmp-type', '3/4', '-j', 'DROP'];

/** Pods send more than the tunnel carries, and the node's "fragmentation needed" never reaches them: they send it again and again. */
export const icmpFragNeededFiltered = defineFault({
  name: 'icmp-frag-needed-filtered',
  title: 'pods send larger packets than the tunnel carries, and a node drops the ICMP that would tell them',
  cause: 'mtu/pmtud-blackhole',
  cnis: tunnelCnis,
  repair: "Let ICMP type 3 code 4 pass, and set the pods' MTU to the tunnel's.",
  flow: (lab) => large(webToApi(lab, near(lab), far(lab))),
  works: (lab) => [
    webToApi(lab, near(lab), far(lab)),
    ...within(lab, near(lab)).map(large),
    // The other node tells its pods, and they adapt.
    large(webToApi(lab, far(lab), near(lab))),
  ],
  capture: captureMtus,
  async break(lab) {
    await insertRule(near(lab), rule);
    await setPodMtus(lab, lab.state.underlayMtuBytes);
  },
  async mend(lab, args) {
    await restoreMtus(lab, args);
    await removeRule(near(lab), rule);
  },
});
