/** Who wrote a rule, and what its comment names: read from chain names and comments, as each writer forms them. */

export type RuleOwner =
  | 'kube-proxy'
  | 'kube-router'
  | 'calico'
  | 'cilium'
  | 'flannel'
  | 'aws-vpc-cni'
  | 'azure-npm'
  | 'antrea'
  | 'weave'
  | 'portmap'
  | 'docker'
  | 'ufw'
  | 'firewalld'
  | 'built-in'
  | 'foreign';

/** First match decides: kube-router's chains also begin with KUBE-. */
const chainOwners: readonly (readonly [RegExp, RuleOwner])[] = [
  [/^KUBE-(ROUTER-|POD-FW-|NWPLCY-)/, 'kube-router'],
  [/^KUBE-/, 'kube-proxy'],
  [/^cali-/, 'calico'],
  [/^(OLD_)?CILIUM_/, 'cilium'],
  [/^FLANNEL-/, 'flannel'],
  [/^AWS-(SNAT|CONNMARK)-/, 'aws-vpc-cni'],
  [/^AZURE-NPM/, 'azure-npm'],
  [/^ANTREA-/, 'antrea'],
  [/^WEAVE/, 'weave'],
  [/^CNI-/, 'portmap'],
  [/^DOCKER/, 'docker'],
  [/^ufw6?-/, 'ufw'],
  [
    /^(IN|FWD[IO]?|OUTPUT|FORWARD|INPUT|PRE|POST|PREROUTING|POSTROUTING)_(direct|ZONES|POLICIES|public|trusted|drop)/,
    'firewalld',
  ],
];

/** Native nftables tables, by name without family. */
const tableOwners: readonly (readonly [RegExp, RuleOwner])[] = [
  [/^kube-proxy$/, 'kube-proxy'],
  [/^kube-router/, 'kube-router'],
  [/^calico/, 'calico'],
  [/^cilium/, 'cilium'],
  [/^flannel/, 'flannel'],
  [/^antrea/, 'antrea'],
  [/^azure-npm/i, 'azure-npm'],
  [/^cni_(hostport|plugins)/, 'portmap'],
  [/^docker/, 'docker'],
  [/^firewalld/, 'firewalld'],
  [/^ufw/, 'ufw'],
];

const commentOwners: readonly (readonly [RegExp, RuleOwner])[] = [
  [/^cali:/, 'calico'],
  [/^cilium:/, 'cilium'],
  [/^flanneld\b/, 'flannel'],
  [/^kube-router netpol/, 'kube-router'],
  [/^kubernetes /, 'kube-proxy'],
  [/^AWS\b/, 'aws-vpc-cni'],
  [/^Antrea:/, 'antrea'],
];

const builtIn = new Set(['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']);

/** Chains are asked for again and again; tables have a hundred thousand of them. */
const knownChains = new Map<string, RuleOwner | undefined>();
const mostKnown = 200_000;

function chainOwner(chain: string): RuleOwner | undefined {
  const known = knownChains.get(chain);
  if (known !== undefined || knownChains.has(chain)) return known;
  if (knownChains.size >= mostKnown) knownChains.clear();
  const owner = chainOwners.find(([pattern]) => pattern.test(chain))?.[1];
  knownChains.set(chain, owner);
  return owner;
}

/** `foreign` is a rule in a built-in or own chain that no known system writes; `built-in` a chain policy. */
export function ownerOf(chain: string, rule?: { readonly comment?: string }, table?: string): RuleOwner {
  const native = table?.split(' ')[1];
  if (native !== undefined)
    for (const [pattern, owner] of tableOwners) if (pattern.test(native)) return owner;
  const byChain = chainOwner(chain);
  if (byChain !== undefined) return byChain;
  if (rule === undefined) return builtIn.has(chain) ? 'built-in' : 'foreign';
  const comment = rule.comment ?? '';
  for (const [pattern, owner] of commentOwners) if (pattern.test(comment)) return owner;
  return 'foreign';
}

export type CommentSubject =
  | {
      readonly kind: 'service';
      readonly namespace: string;
      readonly name: string;
      /** Name of the Service's port; empty for a nameless one. */
      readonly port: string;
      readonly about: 'cluster-ip' | 'external' | 'no-endpoints' | 'endpoint' | 'rule';
      /** `10.244.1.5:8080` where the rule leads to one endpoint. */
      readonly endpoint?: string;
    }
  | {
      readonly kind: 'policy';
      readonly namespace: string;
      readonly name: string;
      readonly direction?: 'ingress' | 'egress';
    }
  | {
      readonly kind: 'pod';
      readonly namespace: string;
      readonly name: string;
      /** What the rule does about the pod: `reject`, `in`, `out`, `log-drop`. */
      readonly about: string;
    };

const objectName = '([a-z0-9.-]+)/([a-z0-9.-]+)';
const servicePattern = new RegExp(`^"?${objectName}(?::([a-z0-9.-]*))?(?: (.*?))?"?$`);
const podPattern = new RegExp(`^${objectName} (in|out|log-drop|reject)$`);
const routerPolicy = new RegExp(`^${objectName} (?:policy|(ingress|egress)\\b.*)$`);
const routerPolicyOld = /policy name:? ?([a-z0-9.-]+) namespace:? ?([a-z0-9.-]+)/;
const calicoPolicy = /Policy ([a-z0-9.-]+)\/(?:knp\.default\.)?([a-z0-9.-]+) (ingress|egress)/;

/** What a rule's comment is about. Undefined for comments that name nothing. */
export function decodeComment(
  comment: string | undefined,
  chain = '',
  table?: string,
): CommentSubject | undefined {
  if (comment === undefined) return undefined;
  const calico = calicoPolicy.exec(comment);
  if (calico) return policySubject(calico[1], calico[2], calico[3]);
  const old = routerPolicyOld.exec(comment);
  if (old) return policySubject(old[2], old[1], undefined);
  const owner = ownerOf(chain, undefined, table);
  if (owner === 'kube-router') {
    const pod = podPattern.exec(comment);
    if (pod) return { kind: 'pod', namespace: pod[1] ?? '', name: pod[2] ?? '', about: pod[3] ?? '' };
    const policy = routerPolicy.exec(comment);
    return policy === null ? undefined : policySubject(policy[1], policy[2], policy[3]);
  }
  if (owner === 'kube-proxy') return serviceSubject(comment);
  return undefined;
}

/** kube-proxy names its nftables chains after what they serve: `service-WEZGB4Y6-shop/api/tcp/http`. */
const serviceChain =
  /^(service|external|firewall|endpoint)-[A-Z0-9]{8}-([a-z0-9.-]+)\/([a-z0-9.-]+)\/[a-z0-9]+\/([a-z0-9.-]*)(?:__(.+)\/(\d+))?$/;

/** What a chain is about, where its name says so. */
export function decodeChain(chain: string): CommentSubject | undefined {
  const [, kind, namespace, name, port, address, endpointPort] = serviceChain.exec(chain) ?? [];
  if (kind === undefined) return undefined;
  return {
    kind: 'service',
    namespace: namespace ?? '',
    name: name ?? '',
    port: port ?? '',
    about: kind === 'endpoint' ? 'endpoint' : kind === 'service' ? 'cluster-ip' : 'external',
    ...(address === undefined ? {} : { endpoint: `${address}:${endpointPort ?? ''}` }),
  };
}

/** kube-proxy refuses a Service without endpoints: by a rule with this comment, in nftables through maps of this name. */
export const leadsToNoEndpoints = (
  comment: string | undefined,
  maps: readonly string[] | undefined,
): boolean =>
  /has no (local )?endpoints/.test(comment ?? '') ||
  (maps ?? []).some((name) => name === 'no-endpoint-services' || name === 'no-endpoint-nodeports');

function policySubject(
  namespace: string | undefined,
  name: string | undefined,
  direction: string | undefined,
): CommentSubject {
  return {
    kind: 'policy',
    namespace: namespace ?? '',
    name: name ?? '',
    ...(direction === 'ingress' || direction === 'egress' ? { direction } : {}),
  };
}

function serviceSubject(comment: string): CommentSubject | undefined {
  const match = servicePattern.exec(comment);
  if (match === null) return undefined;
  const rest = match[4] ?? '';
  const endpoint = /^-> (\S+)$/.exec(rest)?.[1];
  return {
    kind: 'service',
    namespace: match[1] ?? '',
    name: match[2] ?? '',
    port: match[3] ?? '',
    about:
      endpoint !== undefined
        ? 'endpoint'
        : /has no (local )?endpoints/.test(rest)
          ? 'no-endpoints'
          : rest === 'cluster IP'
            ? 'cluster-ip'
            : /external IP|loadbalancer IP/.test(rest)
              ? 'external'
              : 'rule',
    ...(endpoint === undefined ? {} : { endpoint }),
  };
}

/** `Service shop/api:http`, `NetworkPolicy shop/db`, `pod shop/web-1`. */
export function formatSubject(subject: CommentSubject): string {
  const name = `${subject.namespace}/${subject.name}`;
  switch (subject.kind) {
    case 'service':
      return `Service ${name}${subject.port === '' ? '' : `:${subject.port}`}`;
    case 'policy':
      return `NetworkPolicy ${name}`;
    case 'pod':
      return `pod ${name}`;
  }
}
