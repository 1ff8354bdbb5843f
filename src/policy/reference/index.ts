/** A flow as the whole cluster decides it: the network's policies at both ends, then each mesh at the destination's proxy. */
import type { PolicyFlow } from '../endpoint.ts';
import type { Direction } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { kubernetesNetwork } from './admin.ts';
import { arrivalPorts } from './arrival.ts';
import { calicoNetwork } from './calico.ts';
import { ciliumNetwork } from './cilium.ts';
import { bothAllow, either, type Outcome } from './contract.ts';
import { istioOutcome } from './istio.ts';
import { linkerdOutcome } from './linkerd.ts';

/** "NetworkPolicy and mesh policy are enforced independently": a flow passes if all of them let it pass. */
export function referenceVerdict(world: PolicyWorld, flow: PolicyFlow): Outcome {
  const network = arrivalPorts(world, flow).map((port) => networkOutcome(world, { ...flow, port }));
  const [first = 'conditional', ...others] = network;
  return [istioOutcome(world, flow), linkerdOutcome(world, flow)].reduce(
    bothAllow,
    others.reduce(either, first),
  );
}

/** "For a connection from a source pod to a destination pod to be allowed, both the egress policy on the source and the ingress policy on the destination need to allow". */
function networkOutcome(world: PolicyWorld, flow: PolicyFlow): Outcome {
  const decide = enforcers[world.reading.dialect];
  return bothAllow(decide(world, flow, 'egress'), decide(world, flow, 'ingress'));
}

type NetworkReference = (world: PolicyWorld, flow: PolicyFlow, direction: Direction) => Outcome;

const enforcers: Readonly<Record<PolicyWorld['reading']['dialect'], NetworkReference>> = {
  kubernetes: kubernetesNetwork,
  calico: calicoNetwork,
  cilium: ciliumNetwork,
};
