/** An ipBlock that lies inside of the pods' own addresses: CNIs differ in whether it matches pods at all. */
import { orElse } from '../../model/known.ts';
import { contains, covers, formatPrefix } from '../../net/prefix.ts';
import { defineRule, found, podText, rulesOf } from './rule.ts';

export const ipBlock = defineRule({
  id: 'ip-block-of-pods',
  title: 'no ipBlock names addresses of pods',
  needsPods: true,
  run: ({ engine, cluster, pods, networkPolicies }) => {
    const podCidrs = orElse(cluster.nodes, []).flatMap((node) => node.podCidrs);
    const own = engine.world.reading.ipBlockMatchesPods;
    return networkPolicies.flatMap((policy) =>
      rulesOf(policy).flatMap(([, rule]) =>
        (rule.peers ?? []).flatMap((peer) => {
          if (peer.kind !== 'ip-block') return [];
          if (peer.except.some((hole) => covers(hole, peer.cidr)))
            return [
              found(
                policy,
                'warning',
                peer.field,
                `matches no address: its except covers all of ${formatPrefix(peer.cidr)}`,
                'correct cidr or except',
              ),
            ];
          const { cidr } = peer;
          const holder = podCidrs.find((block) => covers(block, cidr));
          const pod = pods.find(
            (one) => !one.hostNetwork && one.addresses.some((address) => contains(cidr, address)),
          );
          const single = cidr.length === (cidr.family === 4 ? 32 : 128) && pod !== undefined;
          if (holder === undefined && !single) return [];
          const whose = single
            ? `pod ${podText(pod)}`
            : `the pods (${formatPrefix(holder ?? cidr)} is a node's pod CIDR)`;
          return [
            found(
              policy,
              'warning',
              peer.field,
              `names addresses of ${whose}: an ipBlock is for addresses outside the cluster, and CNIs differ in whether it matches pods (here it is read as ${own ? 'matching' : 'not matching'} them)`,
              'select the pods by their labels: their addresses change',
            ),
          ];
        }),
      ),
    );
  },
});
