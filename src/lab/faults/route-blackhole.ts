import { defineFault, everyCni } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { ipv4Of, onNode, routeTo, setRoute } from './kernel.ts';

/** What is left when an agent withdraws a peer's route but not its own summary of it, or when a person "protects" a prefix. */
export const routeBlackhole = defineFault({
  name: 'route-blackhole',
  title: "a node's route to a peer's pods is a blackhole",
  cause: 'route/blackhole',
  cnis: everyCni,
  repair: 'Remove the blackhole route and restart the network agent of the node.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)], [third(lab), far(lab)]),
  ],
  capture: async (lab) => ({ route: await routeTo(near(lab), ipv4Of(far(lab)).podCidr) }),
  async break(lab) {
    await onNode(near(lab), 'ip', '-4', 'route', 'replace', 'blackhole', ipv4Of(far(lab)).podCidr);
  },
  async mend(lab, { route = '' }) {
    await setRoute(near(lab), route);
  },
});
