import type { Lab } from '../lab.ts';
import { defineFault, tunnelCnis } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { ipv4Of, onNode, tunnelOf } from './kernel.ts';

const table = '100';
const priority = '1000';
const setting = (lab: Lab): string => `net/ipv4/conf/${tunnelOf(lab).device}/rp_filter`;

/** A rule routes replies to the peer's pods straight over the underlay; requests come by the tunnel, and strict filtering drops them. */
export const rpFilterAsymmetric = defineFault({
  name: 'rp-filter-asymmetric',
  title: 'strict reverse-path filtering drops packets whose replies would leave by another device',
  cause: 'route/rp-filter',
  cnis: tunnelCnis,
  repair:
    'Set rp_filter to 0 or 2 on the tunnel device, or remove the rule that sends the replies another way.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)], [third(lab), far(lab)]),
  ],
  capture: async (lab) => ({ before: (await onNode(far(lab), 'sysctl', '-n', setting(lab))).trim() }),
  async break(lab) {
    const { podCidr, address } = ipv4Of(near(lab));
    await onNode(
      far(lab),
      'ip',
      '-4',
      'route',
      'replace',
      podCidr,
      'via',
      address,
      'dev',
      'eth0',
      'table',
      table,
    );
    await onNode(far(lab), 'ip', '-4', 'rule', 'add', 'priority', priority, 'to', podCidr, 'lookup', table);
    await onNode(far(lab), 'sysctl', '-q', '-w', `${setting(lab)}=1`);
  },
  async mend(lab, { before = '0' }) {
    await onNode(far(lab), 'sysctl', '-q', '-w', `${setting(lab)}=${before}`);
    const rules = await onNode(far(lab), 'ip', '-4', 'rule', 'show', 'priority', priority);
    if (rules.trim() !== '') await onNode(far(lab), 'ip', '-4', 'rule', 'del', 'priority', priority);
    await onNode(far(lab), 'ip', '-4', 'route', 'flush', 'table', table);
  },
});
