/** Linkerd's facts about endpoints, as traits that the lowered rules test. */
import type { Labels, Pod } from '../../model/cluster.ts';
import { type LinkerdDefaultPolicy, linkerdDefaultPolicies } from '../../model/policies/linkerd.ts';
import { noPorts, type PortSet, portRange, subtractPorts, unionPorts } from '../../net/port-set.ts';
import type { TraitSource } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import { neverCreated } from './lookup.ts';

export const traits = {
  /** The endpoint calls with mesh TLS; `unsure`: on the ports that its proxy does not skip. */
  source: 'linkerd/source',
  sourceUnsure: 'linkerd/source-unsure',
  at: 'linkerd/at',
  skips: (key: string) => `linkerd/skips/${key}`,
  byDefault: (policy: LinkerdDefaultPolicy) => `linkerd/default/${policy}`,
  needsIdentity: (key: string) => `linkerd/needs-identity/${key}`,
  carried: (key: string) => `linkerd/carried/${key}`,
} as const;

export interface PodFacts {
  readonly skipsOutbound: boolean;
  readonly skips: PortSet;
  readonly policy: LinkerdDefaultPolicy;
  readonly needsIdentity: PortSet;
  readonly carried: Carried;
}

/** How the proxies of other pods carry what they send to the pod. All other ports: as the transport mode says. */
export interface Carried {
  readonly key: string;
  /** Always by the proxy's own port. */
  readonly opaque: PortSet;
  /** Never: annotated so that the pod's proxy does not take them in (endpoint_translator.go, isSkippedInboundPort). */
  readonly plain: PortSet;
}

export const keyOf = (set: PortSet): string => set.join();

/** Undefined for pods without a proxy. Helm's defaults: 4567 and 4568 are skipped, the server-first protocols are opaque. */
export function linkerdView(world: PolicyWorld): (pod: Pod) => PodFacts | undefined {
  const { namespaces } = world.cluster;
  const spaces = new Map<string, Labels>();
  if (namespaces.state === 'known')
    for (const { name, annotations } of namespaces.value) spaces.set(name, annotations);
  return (pod) => {
    const inject = pod.annotations['linkerd.io/inject'] ?? spaces.get(pod.namespace)?.['linkerd.io/inject'];
    const proxied =
      pod.containers.some(({ name }) => name === 'linkerd-proxy') ||
      (neverCreated(pod) && (inject === 'enabled' || inject === 'ingress'));
    if (pod.hostNetwork || !proxied) return undefined;
    const setting = (name: string): string | undefined => {
      const key = `config.linkerd.io/${name}`;
      return pod.annotations[key] ?? spaces.get(pod.namespace)?.[key];
    };
    // Of a namespace that is not known the annotations may say anything that the pod's do not.
    const isOpen = (name: string): boolean =>
      namespaces.state === 'unknown' && pod.annotations[`config.linkerd.io/${name}`] === undefined;
    const mayHave = (name: string): boolean => isOpen(name) || (setting(name) ?? '').trim() !== '';
    const asked = setting('default-inbound-policy');
    const plain = portList(setting('skip-inbound-ports') ?? '');
    const opaque =
      isOpen('opaque-ports') || isOpen('skip-inbound-ports')
        ? noPorts
        : subtractPorts(portList(setting('opaque-ports') ?? '25,587,3306,4444,5432,6379,9300,11211'), plain);
    return {
      skipsOutbound: mayHave('skip-outbound-ports'),
      skips: portList(setting('skip-inbound-ports') ?? '4567,4568'),
      policy:
        linkerdDefaultPolicies.find((policy) => policy === asked) ??
        world.reading.linkerdDefaultInboundPolicy,
      needsIdentity: portList(setting('proxy-require-identity-inbound-ports') ?? ''),
      carried: {
        key: `${keyOf(opaque)}/${keyOf(plain)}`,
        opaque,
        plain,
      },
    };
  };
}

/** `80,443,8000-8010`; what is no port is left out. */
function portList(text: string): PortSet {
  let set = noPorts;
  for (const [, from = '', to] of text.matchAll(/(?:^|,)\s*([0-9]+)\s*(?:-\s*([0-9]+)\s*)?(?=,|$)/g)) {
    const [first, last] = [Number(from), Number(to ?? from)];
    if (first <= last && last <= 65535) set = unionPorts(set, portRange('TCP', first, last));
  }
  return set;
}

export const linkerdTraits: TraitSource = (world) => {
  const view = linkerdView(world);
  return ({ end }) => {
    const facts = end.kind === 'pod' ? view(end.pod) : undefined;
    if (facts === undefined) return [];
    return [
      facts.skipsOutbound ? traits.sourceUnsure : traits.source,
      traits.at,
      traits.byDefault(facts.policy),
      ...(facts.skips.length > 0 ? [traits.skips(keyOf(facts.skips))] : []),
      ...(facts.needsIdentity.length > 0 ? [traits.needsIdentity(keyOf(facts.needsIdentity))] : []),
      traits.carried(facts.carried.key),
    ];
  };
};
