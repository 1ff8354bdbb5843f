import { defineFault, everyCni } from './fault.ts';
import { across, far, near, third, webToApi, within } from './flows.ts';
import { ipv4Of, onNode, routeTo, setRoute, words } from './kernel.ts';

export const routeMissing = defineFault({
  name: 'route-missing',
  title: "a node has no route to a peer's pods",
  cause: 'route/missing',
  cnis: everyCni,
  repair: 'Restart the network agent of the node: it writes a route for every peer.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), third(lab)], [third(lab), far(lab)]),
  ],
  capture: async (lab) => ({ route: await routeTo(near(lab), ipv4Of(far(lab)).podCidr) }),
  async break(lab, { route = '' }) {
    await onNode(near(lab), 'ip', '-4', 'route', 'del', ...words(route));
  },
  async mend(lab, { route = '' }) {
    await setRoute(near(lab), route);
  },
});
