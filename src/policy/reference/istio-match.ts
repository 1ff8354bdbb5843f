/** Whether one rule of an AuthorizationPolicy matches a flow, as a sidecar's Envoy and as ztunnel read it. */
import type { Pod } from '../../model/cluster.ts';
import type {
  IstioAuthorizationPolicy,
  IstioCondition,
  IstioRule,
  IstioSource,
  IstioValues,
} from '../../model/policies/istio.ts';
import { contains, type Prefix } from '../../net/prefix.ts';
import { endpointOf, type FlowEnd, type PolicyFlow } from '../endpoint.ts';
import type { PolicyWorld } from '../options.ts';
import type { AppProtocol } from './istio-facts.ts';
import { type Tri, triAll, triAny, triEither, triIf, triNot } from './tri.ts';

/** `identified`: with its own mesh identity. `relayed`: somebody else calls on its behalf. */
export type Caller = 'identified' | 'plain' | 'relayed';

export interface Request {
  readonly world: PolicyWorld;
  readonly flow: PolicyFlow;
  readonly destination: Pod;
  readonly protocol: AppProtocol;
  readonly callers: readonly Caller[];
}

type Action = IstioAuthorizationPolicy['action'];

/**
 * Envoy (pilot/pkg/security/authz/model): on TCP an ALLOW rule with an HTTP field is left out as a whole, a DENY rule loses the field.
 * On HTTP nobody can say what the request will be.
 */
export function sidecarRule(rule: IstioRule, action: Action, request: Request): Tri {
  if (!rule.understood) return action === 'ALLOW' ? 'no' : 'maybe';
  const protocols = request.protocol === 'unknown' ? (['http', 'tcp'] as const) : [request.protocol];
  const readings = protocols.flatMap((protocol) =>
    request.callers.map((caller) => {
      if (protocol === 'tcp' && action === 'ALLOW' && usesHttp(rule)) return 'no';
      return envoyRule(rule, request, caller, protocol === 'tcp' ? 'yes' : 'maybe');
    }),
  );
  return triEither(readings);
}

const usesHttp = (rule: IstioRule): boolean =>
  rule.sources.some((source) => source.requestPrincipals) ||
  rule.operations.some((operation) => operation.http.length > 0) ||
  rule.when.some(({ key }) => key === 'request');

/** `http`: what an HTTP field counts as. */
function envoyRule(rule: IstioRule, request: Request, caller: Caller, http: Tri): Tri {
  const from = rule.sources.map((source) =>
    triAll([
      sourceFields(source, request, caller),
      valuesMatch(source.trustDomains, (pattern) => ofCaller(caller, () => trustDomain(pattern))),
      source.remoteIpBlocks ? 'maybe' : 'yes',
      source.requestPrincipals ? http : 'yes',
    ]),
  );
  const to = rule.operations.map((operation) =>
    triAll([
      valuesMatch(operation.ports, (port) => triIf(port === request.flow.port)),
      operation.http.length > 0 ? http : 'yes',
    ]),
  );
  const when = rule.when.map((condition) =>
    condition.key === 'request' ? http : conditionMatches(condition, request, caller),
  );
  return triAll([from.length === 0 ? 'yes' : triAny(from), to.length === 0 ? 'yes' : triAny(to), ...when]);
}

/**
 * ztunnel (pilot/pkg/serviceregistry/ambient/authorization.go, ztunnel src/rbac.rs): an ALLOW rule with a field that it does not know is
 * left out; a DENY rule loses the field. Where a source or operation then has none left, the documentation lets the policy fail safe
 * and deny, and newer versions let it have no effect.
 */
export function ztunnelRule(rule: IstioRule, action: Action, request: Request): Tri {
  if (!rule.understood) return action === 'ALLOW' ? 'no' : 'maybe';
  if (action === 'ALLOW' && usesMoreThanConnections(rule)) return 'no';
  const nothingLeft: Tri = action === 'ALLOW' ? 'no' : 'maybe';
  return triEither(
    request.callers.map((caller) => {
      const from = rule.sources.map((source) =>
        hasConnectionFields(source) ? sourceFields(source, request, caller) : nothingLeft,
      );
      const to = rule.operations.map(({ ports }) =>
        isEmpty(ports) ? nothingLeft : valuesMatch(ports, (port) => triIf(port === request.flow.port)),
      );
      const when = rule.when.map((condition) =>
        ztunnelKeys.includes(condition.key) ? conditionMatches(condition, request, caller) : nothingLeft,
      );
      return triAll([
        from.length === 0 ? 'yes' : triAny(from),
        to.length === 0 ? 'yes' : triAny(to),
        ...when,
      ]);
    }),
  );
}

const ztunnelKeys: readonly string[] = [
  'source.ip',
  'source.namespace',
  'source.principal',
  'destination.ip',
  'destination.port',
];

const usesMoreThanConnections = (rule: IstioRule): boolean =>
  rule.sources.some((source) => source.requestPrincipals || source.remoteIpBlocks) ||
  rule.operations.some((operation) => operation.http.length > 0) ||
  rule.when.some(({ key }) => !ztunnelKeys.includes(key));

const isEmpty = (is: IstioValues<unknown>): boolean => is.values.length + is.notValues.length === 0;

const hasConnectionFields = ({ principals, namespaces, serviceAccounts, ipBlocks }: IstioSource): boolean =>
  ![principals, namespaces, serviceAccounts, ipBlocks].every(isEmpty);

/** One of `values`, none of `notValues`. */
const valuesMatch = <T>(is: IstioValues<T>, test: (value: T) => Tri): Tri =>
  triAll([
    is.values.length === 0 ? 'yes' : triAny(is.values.map(test)),
    triNot(triAny(is.notValues.map(test))),
  ]);

/** A plaintext client has no identity: nothing that is asked of it holds. */
const ofCaller = (caller: Caller, test: () => Tri): Tri =>
  caller === 'plain' ? 'no' : caller === 'relayed' ? 'maybe' : test();

function sourceFields(source: IstioSource, request: Request, caller: Caller): Tri {
  const { src } = request.flow;
  return triAll([
    valuesMatch(source.principals, (pattern) => ofCaller(caller, () => principal(pattern, src))),
    valuesMatch(source.namespaces, (pattern) => ofCaller(caller, () => namespaceIs(pattern, src))),
    valuesMatch(source.serviceAccounts, (name) => ofCaller(caller, () => accountIs(name, src))),
    valuesMatch(source.ipBlocks, (block) => sourceIn(block, src, caller)),
  ]);
}

function conditionMatches(condition: IstioCondition, request: Request, caller: Caller): Tri {
  const { src, dst, port } = request.flow;
  switch (condition.key) {
    case 'source.ip':
      return valuesMatch(condition.is, (block) => sourceIn(block, src, caller));
    case 'destination.ip':
      return valuesMatch(condition.is, (block) => triIf(isIn(block, dst)));
    case 'destination.port':
      return valuesMatch(condition.is, (number) => triIf(number === port));
    case 'source.principal':
      return valuesMatch(condition.is, (pattern) => ofCaller(caller, () => principal(pattern, src)));
    case 'source.namespace':
      return valuesMatch(condition.is, (pattern) => ofCaller(caller, () => namespaceIs(pattern, src)));
    case 'source.serviceAccount':
      return valuesMatch(condition.is, (name) => ofCaller(caller, () => accountIs(name, src)));
    case 'source.trustDomain':
      return valuesMatch(condition.is, (pattern) => ofCaller(caller, () => trustDomain(pattern)));
    case 'request':
    case 'other':
      return 'maybe';
  }
}

const isIn = (block: Prefix, end: FlowEnd): boolean =>
  endpointOf(end).addresses.some((address) => contains(block, address));

const sourceIn = (block: Prefix, src: FlowEnd, caller: Caller): Tri =>
  caller === 'relayed' ? 'maybe' : triIf(isIn(block, src));

const literal = (text: string): string => text.replace(/[\\^$.|?+*()[\]{}]/g, '\\$&');

/** Exact, `prefix*`, `*suffix`, or `*` for anything that is there. A star elsewhere is no wildcard. */
function wildcard(pattern: string): RegExp {
  if (pattern === '*') return /^.+$/;
  if (pattern.startsWith('*')) return new RegExp(`^.*${literal(pattern.slice(1))}$`);
  return pattern.endsWith('*')
    ? new RegExp(`^${literal(pattern.slice(0, -1))}.*$`)
    : new RegExp(`^${literal(pattern)}$`);
}

/** `cluster.local` in a policy points to whatever the mesh's trust domain is; another name may be that domain, or an alias. */
function principal(pattern: string, src: FlowEnd): Tri {
  if (src.kind !== 'pod') return 'no';
  const path = `ns/${src.pod.namespace}/sa/${src.pod.serviceAccount}`;
  if (wildcard(pattern).test(`cluster.local/${path}`)) return 'yes';
  const slash = pattern.indexOf('/');
  // A prefix such as `prod*` may name the domain and leave the rest open.
  if (slash < 0) return pattern.endsWith('*') && !pattern.startsWith('*') ? 'maybe' : 'no';
  const domain = pattern.slice(0, slash);
  if (domain === '' || domain === '*' || domain === 'cluster.local') return 'no';
  return wildcard(pattern.slice(slash + 1)).test(path) ? 'maybe' : 'no';
}

function namespaceIs(pattern: string, src: FlowEnd): Tri {
  return triIf(src.kind === 'pod' && wildcard(pattern).test(src.pod.namespace));
}

const accountIs = (name: string, src: FlowEnd): Tri =>
  triIf(src.kind === 'pod' && name === `${src.pod.namespace}/${src.pod.serviceAccount}`);

const trustDomain = (pattern: string): Tri => (wildcard(pattern).test('cluster.local') ? 'yes' : 'maybe');
