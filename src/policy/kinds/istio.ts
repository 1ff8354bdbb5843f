/** Istio in the intermediate form: one layer, enforced at destinations that have a proxy. */

import { orElse } from '../../model/known.ts';
import type { IstioAuthorizationPolicy, IstioPeerAuthentication } from '../../model/policies/istio.ts';
import { complementPorts, type PortSet, wholeProtocol } from '../../net/port-set.ts';
import {
  anyEndpoint,
  type Condition,
  type EndpointExpr,
  kinds,
  type Layer,
  type LoweredPolicy,
  type PortRewrite,
  type Rule,
  type Tier,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import { unknownPolicies } from '../unknown.ts';
import {
  bypassKey,
  type IstioView,
  istioSources,
  istioTraits,
  istioView,
  type KnownProtocols,
  traits,
} from './istio-facts.ts';
import { portKeys } from './istio-mtls.ts';
import { lowerRules, portsOfKey, type RuleContext } from './istio-rules.ts';
import { allOf, anyOf, complement, trait } from './mesh-expr.ts';

export { istioTraits };

/** Undefined where the cluster has no policy of Istio's: its proxies then let everything pass. */
export function istioLayer(world: PolicyWorld): Layer | undefined {
  const { istio } = world.cluster;
  if (istio.state === 'unknown') return unknownLayer(istio.why);
  const { authorizationPolicies, peerAuthentications } = istio.value;
  if (authorizationPolicies.length + peerAuthentications.length === 0) return undefined;
  const view = istioView(world);
  if (view === undefined) return unknownLayer('Services or Namespaces were not collected');
  const enforced = authorizationPolicies.filter((one) => !one.dryRun || one.action === 'CUSTOM');
  const contextFor = contextsOf(world, view);
  const tier = (name: string, policies: readonly LoweredPolicy[], otherwise: Tier['otherwise']): Tier => ({
    name,
    groups: policies.map((policy) => [policy]),
    otherwise,
  });
  const root = world.reading.istioRootNamespace;
  const lowered = (action: IstioAuthorizationPolicy['action']) =>
    enforced
      .filter((policy) => policy.action === action && policy.targetRefs.length === 0)
      .map((policy) => lowerPolicy(policy, root, contextFor(policy.namespace)));
  return layerOf([
    tier('traffic that no proxy sees', bypasses(world, view), 'pass'),
    tier('Istio PeerAuthentication', lowerPeers(peerAuthentications), 'pass'),
    tier('Istio waypoints and gateways', enforced.flatMap(lowerTargeted), 'pass'),
    tier('Istio CUSTOM', [...lowered('CUSTOM'), ...lowered('unknown')], 'pass'),
    tier('Istio DENY', lowered('DENY'), 'pass'),
    tier('Istio ALLOW', lowered('ALLOW'), 'deny'),
  ]);
}

/** kubelet probes pass: sidecars have them rewritten, and ambient exempts what the pod's own node sends. */
const layerOf = (tiers: readonly Tier[]): Layer => ({
  name: 'istio',
  tiers: tiers.filter(({ groups }) => groups.length > 0),
  finally: 'allow',
  rewrites: [],
  exemptsSelfAndOwnNode: true,
});

const unknownLayer = (why: string): Layer => {
  const { egress: _, ...ingressOnly } = unknownPolicies('AuthorizationPolicy', why);
  return layerOf([
    { name: 'traffic that no proxy sees', groups: [[withoutTcp]], otherwise: 'pass' },
    { name: 'Istio', groups: [[ingressOnly]], otherwise: 'pass' },
  ]);
};

const passes = (name: string, subject: EndpointExpr, set: PortSet): LoweredPolicy => ({
  id: { kind: 'Istio', name },
  subject,
  ingress: {
    isolates: false,
    rules: [{ action: 'allow', peer: anyEndpoint, ports: { set, named: [] }, field: '' }],
  },
});

/** Sidecars and ztunnel take TCP only. */
const withoutTcp = passes(
  'only TCP is redirected to the proxy',
  kinds('pod'),
  complementPorts(wholeProtocol('TCP')),
);

function bypasses(world: PolicyWorld, view: IstioView): readonly LoweredPolicy[] {
  const sets = new Map<string, PortSet>();
  for (const pod of orElse(world.cluster.pods, [])) {
    const { bypass } = view.of(pod);
    if (bypass.length > 0) sets.set(bypassKey(bypass), bypass);
  }
  return [
    withoutTcp,
    ...[...sets].map(([key, set]) => passes('these ports bypass the proxy', trait(traits.bypass(key)), set)),
  ];
}

/** Policies of the root namespace are made for all pods, others for those of their namespace. */
function contextsOf(world: PolicyWorld, view: IstioView): (namespace: string) => RuleContext {
  const pods = orElse(world.cluster.pods, []);
  const { peerAuthentications } = view.objects;
  const everywhere = new Map<string, KnownProtocols>();
  const inNamespace = new Map<string, Map<string, KnownProtocols>>();
  for (const pod of pods) {
    const { protocols, enforcer } = view.of(pod);
    if (enforcer !== 'sidecar' && enforcer !== 'gateway') continue;
    everywhere.set(protocols.key, protocols);
    const own = inNamespace.get(pod.namespace) ?? new Map<string, KnownProtocols>();
    inNamespace.set(pod.namespace, own.set(protocols.key, protocols));
  }
  const disables = peerAuthentications.some((peer) =>
    [peer, ...peer.ports].some(({ mode }) => mode === 'DISABLE' || mode === 'unknown'),
  );
  const common = {
    namespaces: [...new Set(pods.map(({ namespace }) => namespace))],
    accounts: [...new Set(pods.map((pod) => `${pod.namespace}/${pod.serviceAccount}`))],
    modePorts: disables ? portKeys(peerAuthentications) : [],
  };
  return (namespace) => {
    const found = namespace === world.reading.istioRootNamespace ? everywhere : inNamespace.get(namespace);
    return { ...common, protocols: [...(found ?? new Map<string, KnownProtocols>()).values()] };
  };
}

/** Proxies that heed selectors: waypoints do not. */
const atProxies: EndpointExpr = anyOf([
  trait(traits.atSidecar),
  trait(traits.atAmbient),
  trait(traits.atGateway),
]);

const idOf = (
  { namespace, name, origin }: IstioAuthorizationPolicy | IstioPeerAuthentication,
  kind: string,
) => ({
  id: { kind, namespace, name },
  ...(origin === undefined ? {} : { origin }),
});

/** The root namespace's policies hold for the whole mesh. */
function lowerPolicy(policy: IstioAuthorizationPolicy, root: string, context: RuleContext): LoweredPolicy {
  const labels = Object.entries(policy.matchLabels).map(
    ([key, value]): EndpointExpr => ({ is: 'label', of: 'self', key, test: { op: 'in', values: [value] } }),
  );
  const space: EndpointExpr =
    policy.namespace === root ? anyEndpoint : { is: 'namespace', names: [policy.namespace] };
  const rules =
    policy.action === 'unknown' ? [mayDeny('spec.action', unknownAction)] : lowerRules(policy, context);
  return {
    ...idOf(policy, 'AuthorizationPolicy'),
    subject: allOf([kinds('pod'), space, ...labels, atProxies]),
    ingress: { isolates: policy.action === 'ALLOW', rules },
  };
}

const unknownAction: Condition = { code: 'not-understood', text: 'the action is not understood' };

const mayDeny = (field: string, condition: Condition): Rule => ({
  action: 'deny',
  peer: anyEndpoint,
  ports: { set: wholeProtocol('TCP'), named: [] },
  condition,
  field,
});

/** What a waypoint or gateway does with a request depends on the request, and on whether the traffic passes there at all. */
function lowerTargeted(policy: IstioAuthorizationPolicy): LoweredPolicy[] {
  const { action, rules, targetRefs } = policy;
  const inert = action === 'AUDIT' || ((action === 'DENY' || action === 'CUSTOM') && rules.length === 0);
  if (targetRefs.length === 0 || inert) return [];
  const names = targetRefs.map(({ kind, name }) => `${kind} ${name}`).join(', ');
  const condition: Condition =
    action === 'CUSTOM'
      ? { code: 'external-authorizer', text: `an external authorizer decides at ${names}` }
      : { code: 'l7', text: `${action} is applied to requests at ${names}` };
  return [
    {
      ...idOf(policy, 'AuthorizationPolicy'),
      subject: trait(traits.attached(policy)),
      ingress: { isolates: false, rules: [mayDeny('spec.targetRefs', condition)] },
    },
  ];
}

/** STRICT refuses plaintext: each object where it is the one in effect. */
function lowerPeers(peers: readonly IstioPeerAuthentication[]): readonly LoweredPolicy[] {
  const keys = portKeys(peers);
  return peers.flatMap((peer) => {
    const by = `${peer.namespace}/${peer.name}`;
    const strict = [peer, ...peer.ports].some(({ mode }) => mode === 'STRICT' || mode === 'unknown');
    if (!strict) return [];
    const rules = keys.flatMap((key) => {
      const ports = { set: portsOfKey(key, keys), named: [] };
      const own = peer.ports.some((one) => one.port === key);
      const field = own ? `spec.portLevelMtls["${key}"].mode` : 'spec.mtls.mode';
      return refusals(trait(traits.strict(key, by)), trait(traits.maybeStrict(key, by))).map(
        (rule): Rule => ({ action: 'deny', ports, field, ...rule }),
      );
    });
    return [
      { ...idOf(peer, 'PeerAuthentication'), subject: kinds('pod'), ingress: { isolates: false, rules } },
    ];
  });
}

/** Clients without a proxy are plain; between sidecar and ambient it depends on the installation. */
function refusals(
  strict: EndpointExpr,
  maybeStrict: EndpointExpr,
): Pick<Rule, 'peer' | 'self' | 'condition'>[] {
  const [sidecar, ambient] = [trait(traits.sourceSidecar), trait(traits.sourceAmbient)];
  const plain = complement(anyOf([sidecar, ambient]));
  const [atSidecar, atAmbient, override] = [
    trait(traits.atSidecar),
    trait(traits.atAmbient),
    trait(traits.tlsOverride),
  ];
  const either = anyOf([strict, maybeStrict]);
  const unsure: Condition = {
    code: 'identity',
    text: 'STRICT mTLS is required, and whether the client uses it is not certain',
  };
  const several: Condition = {
    code: 'undefined-by-api',
    text: 'several PeerAuthentications compete, and the oldest of them is not known',
  };
  return [
    { peer: plain, self: strict },
    { peer: plain, self: maybeStrict, condition: several },
    { peer: ambient, self: allOf([either, atSidecar]), condition: unsure },
    { peer: sidecar, self: allOf([either, atAmbient]), condition: unsure },
    { peer: sidecar, self: allOf([either, atSidecar, override]), condition: unsure },
  ];
}

/**
 * Between pods of an ambient mesh all TCP arrives at 15008 (HBONE), and NetworkPolicies see only that port. A sidecar speaks it too where
 * it was installed for that. Needs `istioTraits`.
 */
export function ambientRewrites(world: PolicyWorld): readonly PortRewrite[] {
  const sourceOf = istioSources(world);
  const sources = new Set(orElse(world.cluster.pods, []).map(sourceOf));
  if (!sources.has('ambient') && !sources.has('maybe-ambient')) return [];
  const [sidecar, ambient] = [trait(traits.sourceSidecar), trait(traits.sourceAmbient)];
  const maybe = trait(traits.sourceMaybeAmbient);
  const ports = wholeProtocol('TCP');
  const to = { protocol: 'TCP', port: 15008 } as const;
  const condition: Condition = {
    code: 'undefined-by-api',
    text: 'between a sidecar and an ambient pod traffic uses HBONE (port 15008) only where sidecars are installed with it',
  };
  const unseen: Condition = {
    code: 'not-collected',
    text: 'whether a pod is part of the ambient mesh may be said by its namespace, and namespaces are not known',
  };
  const all: readonly PortRewrite[] = [
    { src: ambient, dst: ambient, ports, to },
    { src: sidecar, dst: ambient, ports, to, condition },
    { src: ambient, dst: sidecar, ports, to, condition },
  ];
  if (!sources.has('maybe-ambient')) return all;
  return [
    ...all,
    { src: maybe, dst: anyOf([maybe, ambient, sidecar]), ports, to, condition: unseen },
    { src: anyOf([ambient, sidecar]), dst: maybe, ports, to, condition: unseen },
  ];
}
