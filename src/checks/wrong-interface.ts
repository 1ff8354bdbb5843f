/** flannel's nodes announce the address that peers send tunnel packets to: it must be one that the node has. */
import { orElse } from '../model/known.ts';
import { objectRef } from '../model/source.ts';
import { type Address, formatAddress, parseAddress, sameAddress } from '../net/address.ts';
import { type CheckContext, declared, defineCheck, type NodeView, nodeSubject } from './check.ts';

export const wrongInterface = defineCheck({
  id: 'wrong-interface',
  title: 'Nodes announce an address of their own for the tunnel',
  causes: ['overlay/wrong-interface'],
  run: (context) => {
    if (context.need(context.cni)?.tunnel === undefined) return [];
    const views = context.nodes();
    return views.flatMap((view) => {
      const announced = announcedAddress(context, view);
      if (announced === undefined || context.need(view.netns.devices) === undefined) return [];
      const twin = views.find((peer) => {
        const other = peer === view ? undefined : announcedAddress(context, peer);
        return other !== undefined && sameAddress(other, announced);
      });
      const isOwn =
        context.world.carries(view.netns, announced) ||
        view.node.internalAddresses.some((own) => sameAddress(own, announced));
      if (isOwn && twin === undefined) return [];
      const address = formatAddress(announced);
      const why = isOwn ? `${twin?.name} announces it too` : 'no device of it has that address';
      return [
        {
          cause: 'overlay/wrong-interface' as const,
          severity: 'error' as const,
          subject: nodeSubject(view.name),
          concerns: [],
          statement: `${view.name} announces ${address} for the tunnel, and ${why}`,
          evidence: [
            declared(
              `the node announces ${address}`,
              objectRef('Node', undefined, view.name, 'metadata.annotations'),
            ),
          ],
        },
      ];
    });
  },
});

/** The tunnel address that a node announces to its peers; undefined where its pod network announces none. */
export function announcedAddress({ cni }: CheckContext, { node }: NodeView): Address | undefined {
  const text = orElse(cni, undefined)?.cni.announcedAddress?.(node.annotations);
  return text === undefined ? undefined : parseAddress(text);
}
