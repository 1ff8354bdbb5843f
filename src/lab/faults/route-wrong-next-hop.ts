import { defineFault, everyCni } from './fault.ts';
import { across, far, near, nodeAt, webToApi, within } from './flows.ts';
import { ipv4Of, routeTo, setRoute } from './kernel.ts';

/**
 * A stale route after a node's address changed. The other node does forward, so ping and the first SYN get through; but it
 * sees one direction only, and its conntrack calls the client's next packets INVALID, which kube-proxy's rule drops.
 */
export const routeWrongNextHop = defineFault({
  name: 'route-wrong-next-hop',
  title: "a node's route to a peer's pods leads to another node",
  cause: 'route/wrong-next-hop',
  cnis: everyCni,
  minNodes: 3,
  repair: 'Restart the network agent of the node: it writes the route anew.',
  flow: (lab) => webToApi(lab, near(lab), far(lab)),
  works: (lab) => [
    ...within(lab, near(lab)),
    ...within(lab, far(lab)),
    ...across(lab, [near(lab), nodeAt(lab, 2)], [nodeAt(lab, 2), far(lab)]),
  ],
  capture: async (lab) => ({
    route: await routeTo(near(lab), ipv4Of(far(lab)).podCidr),
    other: await routeTo(near(lab), ipv4Of(nodeAt(lab, 2)).podCidr),
  }),
  async break(lab, { other = '' }) {
    await setRoute(near(lab), other.replace(ipv4Of(nodeAt(lab, 2)).podCidr, ipv4Of(far(lab)).podCidr));
  },
  async mend(lab, { route = '' }) {
    await setRoute(near(lab), route);
  },
});
