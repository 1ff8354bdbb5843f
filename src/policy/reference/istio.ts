/** Istio's authorization of one flow, in the order of its documentation: mTLS, CUSTOM, DENY, ALLOW. */
import type { Pod } from '../../model/cluster.ts';
import type { IstioAuthorizationPolicy, IstioObjects } from '../../model/policies/istio.ts';
import type { FlowEnd, PolicyFlow } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { either, type Outcome } from './contract.ts';
import {
  appProtocolOf,
  bypassesProxy,
  type EffectiveMode,
  type Enforcer,
  enforcerOf,
  mtlsModes,
  tlsOverridden,
  waypointServices,
  waypointsOf,
} from './istio-facts.ts';
import { type Caller, type Request, sidecarRule, ztunnelRule } from './istio-match.ts';
import { allowedIf, type Tri, triAll, triAny } from './tri.ts';

/** What the destination's proxy says to the flow. */
export function istioOutcome(world: PolicyWorld, flow: PolicyFlow): Outcome {
  const { cluster, reading } = world;
  const { istio } = cluster;
  const { dst, src } = flow;
  // Sidecars and ztunnel take TCP only; everything else passes them by.
  if (flow.protocol !== 'TCP' || dst.kind !== 'pod' || dst.pod.hostNetwork) return 'allow';
  if (isExempt(src, dst.pod)) return 'allow';
  if (istio.state === 'unknown') return 'conditional';
  const objects = istio.value;
  if (objects.authorizationPolicies.length + objects.peerAuthentications.length === 0) return 'allow';
  if (cluster.namespaces.state === 'unknown' || cluster.services.state === 'unknown') return 'conditional';
  const enforcer = enforcerOf(cluster, dst.pod);
  if (enforcer === 'none' || bypassesProxy(dst.pod, enforcer, flow.port)) return 'allow';
  const modes = mtlsModes(objects, reading.istioRootNamespace, dst.pod, flow.port);
  const strict = isPlainWhereStrict(world, objects, src, dst.pod, enforcer, modes);
  const request: Request = {
    world,
    flow,
    destination: dst.pod,
    protocol: enforcer === 'sidecar' ? appProtocolOf(cluster, dst.pod, flow.port) : 'unknown',
    callers: callersOf(world, objects, src, dst.pod, enforcer, modes),
  };
  return authorize(request, objects, enforcer, strict);
}

const isExempt = (src: FlowEnd, pod: Pod): boolean => {
  if (src.kind === 'node') return src.node.name === pod.node;
  if (src.kind !== 'pod') return false;
  if (src.pod.namespace === pod.namespace && src.pod.name === pod.name) return true;
  return src.pod.hostNetwork && src.pod.node !== '' && src.pod.node === pod.node;
};

type Member = 'no' | 'sidecar' | 'ambient';

/** How the source takes part in the mesh. Addresses outside the cluster and nodes have no identity in it. */
function membership(world: PolicyWorld, src: FlowEnd): Member {
  if (src.kind !== 'pod') return 'no';
  const enforcer = enforcerOf(world.cluster, src.pod);
  return enforcer === 'none' ? 'no' : enforcer === 'ambient' ? 'ambient' : 'sidecar';
}

/** STRICT refuses a client without mTLS. A gateway's listeners have TLS settings of their own. */
function isPlainWhereStrict(
  world: PolicyWorld,
  objects: IstioObjects,
  src: FlowEnd,
  pod: Pod,
  enforcer: Enforcer,
  modes: ReadonlySet<EffectiveMode>,
): Tri {
  if (enforcer !== 'sidecar' && enforcer !== 'ambient') return 'no';
  const strict: Tri = !modes.has('STRICT') ? 'no' : modes.size === 1 ? 'yes' : 'maybe';
  const member = membership(world, src);
  const sure = enforcer === member && !(enforcer === 'sidecar' && tlsOverridden(world.cluster, objects, pod));
  return triAll([strict, member === 'no' ? 'yes' : sure ? 'no' : 'maybe']);
}

/** As whom the source may appear to the destination's proxy. */
function callersOf(
  world: PolicyWorld,
  objects: IstioObjects,
  src: FlowEnd,
  pod: Pod,
  enforcer: Enforcer,
  modes: ReadonlySet<EffectiveMode>,
): readonly Caller[] {
  const member = membership(world, src);
  if (member === 'no') return ['plain'];
  if (enforcer === 'ambient') {
    // The waypoint calls on the client's behalf, with an identity and an address of its own.
    if (waypointsOf(world.cluster, pod).size > 0) return ['identified', 'plain', 'relayed'];
    return member === 'ambient' ? ['identified'] : ['identified', 'plain'];
  }
  if (enforcer !== 'sidecar' || member === 'ambient') return ['identified', 'plain'];
  // Clients use no mTLS towards a port that does not take it.
  if (modes.has('DISABLE')) return modes.size === 1 ? ['plain'] : ['identified', 'plain'];
  return tlsOverridden(world.cluster, objects, pod) ? ['identified', 'plain'] : ['identified'];
}

/** The documented order; what only may deny leaves the answer open where the rest allows. */
function authorize(request: Request, objects: IstioObjects, enforcer: Enforcer, strict: Tri): Outcome {
  const enforced = objects.authorizationPolicies.filter(
    (policy) => !policy.dryRun || policy.action === 'CUSTOM',
  );
  const selected = enforced.filter((policy) => selects(policy, request, enforcer));
  const matching = (policy: IstioAuthorizationPolicy): Tri =>
    triAny(
      policy.rules.map((rule) =>
        enforcer === 'ambient'
          ? ztunnelRule(rule, policy.action, request)
          : sidecarRule(rule, policy.action, request),
      ),
    );
  const denials: Tri[] = [strict];
  const allowances: Tri[] = [];
  for (const policy of selected)
    switch (policy.action) {
      case 'ALLOW':
        allowances.push(matching(policy));
        break;
      case 'DENY':
        denials.push(matching(policy));
        break;
      case 'CUSTOM':
        // ztunnel cannot ask an external authorizer and ignores the policy.
        if (enforcer !== 'ambient') denials.push(matching(policy) === 'no' ? 'no' : 'maybe');
        break;
      case 'unknown':
        denials.push('maybe');
        break;
      case 'AUDIT':
        break;
    }
  for (const policy of enforced)
    if (isAttached(policy, request, enforcer) && mayDeny(policy)) denials.push('maybe');
  const denied = triAny(denials);
  if (denied === 'yes') return 'deny';
  const rest = allowances.length === 0 ? 'allow' : allowedIf(triAny(allowances));
  return denied === 'maybe' ? either('deny', rest) : rest;
}

/** A policy for proxies that look into requests: whether it denies depends on the request. */
const mayDeny = (policy: IstioAuthorizationPolicy): boolean =>
  policy.action === 'ALLOW' ||
  (policy.action !== 'AUDIT' && policy.rules.length > 0) ||
  policy.action === 'unknown';

function selects(policy: IstioAuthorizationPolicy, request: Request, enforcer: Enforcer): boolean {
  const { destination, world } = request;
  // Waypoints never look at selectors (policyattachment.go).
  if (policy.targetRefs.length > 0 || enforcer === 'waypoint') return false;
  return (
    (policy.namespace === world.reading.istioRootNamespace || policy.namespace === destination.namespace) &&
    Object.entries(policy.matchLabels).every(([key, value]) => destination.labels[key] === value)
  );
}

/** Whether a waypoint before the destination, or the destination as a gateway, has the policy by targetRefs. */
function isAttached(policy: IstioAuthorizationPolicy, request: Request, enforcer: Enforcer): boolean {
  const { destination: pod, world } = request;
  const waypoints = enforcer === 'ambient' ? waypointsOf(world.cluster, pod) : new Set<string>();
  const ofGateway = (name: string): boolean =>
    waypoints.has(`${policy.namespace}/${name}`) ||
    ((enforcer === 'gateway' || enforcer === 'waypoint') &&
      pod.namespace === policy.namespace &&
      pod.labels['gateway.networking.k8s.io/gateway-name'] === name);
  return policy.targetRefs.some(({ group, kind, name }) => {
    switch (`${group}/${kind}`) {
      case '/Service':
        return (
          enforcer === 'ambient' &&
          policy.namespace === pod.namespace &&
          waypointServices(world.cluster, pod).includes(name)
        );
      case 'gateway.networking.k8s.io/Gateway':
        return ofGateway(name);
      case 'gateway.networking.k8s.io/GatewayClass':
        return (
          name === 'istio-waypoint' &&
          policy.namespace === world.reading.istioRootNamespace &&
          (waypoints.size > 0 || enforcer === 'waypoint')
        );
      default:
        return false;
    }
  });
}
