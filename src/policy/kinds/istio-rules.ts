/** Rules of an AuthorizationPolicy in the intermediate form: for whom they match without doubt, and for whom they may. */
import type {
  IstioAuthorizationPolicy,
  IstioCondition,
  IstioRule,
  IstioSource,
  IstioValues,
} from '../../model/policies/istio.ts';
import {
  intersectPorts,
  noPorts,
  type PortSet,
  portRange,
  subtractPorts,
  unionPorts,
  wholeProtocol,
} from '../../net/port-set.ts';
import type { Prefix } from '../../net/prefix.ts';
import { anyEndpoint, type Condition, type EndpointExpr, noEndpoint, type Rule } from '../ir.ts';
import { type KnownProtocols, traits } from './istio-facts.ts';
import type { PortKey } from './istio-mtls.ts';
import {
  allOf,
  always,
  anyOf,
  both,
  complement,
  doubtful,
  eitherReading,
  exactly,
  isExact,
  never,
  opposite,
  some,
  type Ternary,
  trait,
} from './mesh-expr.ts';

/** What of the cluster the rules are made for. */
export interface RuleContext {
  /** Namespaces and service accounts (`namespace/name`) that pods have: patterns are resolved against them. */
  readonly namespaces: readonly string[];
  readonly accounts: readonly string[];
  /** What the pods that a policy may select know of their ports' protocols, each once. */
  readonly protocols: readonly KnownProtocols[];
  /** Ports with an mTLS mode of their own; empty where no mode is DISABLE, which is all that rules care for. */
  readonly modePorts: readonly PortKey[];
}

type Action = IstioAuthorizationPolicy['action'];
type Caller = 'identified' | 'plain' | 'relayed' | 'unsure';

/** Destinations at which every source appears in one way, for the ports with one mTLS mode. */
interface Place {
  readonly at: EndpointExpr;
  readonly ztunnel: boolean;
  readonly ports: PortSet;
  readonly sidecar: Caller;
  readonly ambient: Caller;
}

const tcp = wholeProtocol('TCP');
const only = (port: number): PortSet => portRange('TCP', port, port);

export function lowerRules(policy: IstioAuthorizationPolicy, context: RuleContext): Rule[] {
  return policy.rules.flatMap((rule) => lowerRule(rule, policy.action, context));
}

function lowerRule(rule: IstioRule, action: Action, context: RuleContext): Rule[] {
  if (!rule.understood) return action === 'ALLOW' ? [] : [notUnderstood(rule.field, action)];
  return places(context, usesCaller(rule)).flatMap((place) => {
    if (!place.ztunnel) return atSidecar(rule, action, place, context);
    return action === 'CUSTOM' ? [] : atZtunnel(rule, action, place, context);
  });
}

/** ztunnel has no external authorizer to ask. */
const notUnderstood = (field: string, action: Action): Rule => ({
  action: 'deny',
  peer: anyEndpoint,
  ports: { set: tcp, named: [] },
  ...(action === 'CUSTOM' ? { self: complement(trait(traits.atAmbient)) } : {}),
  condition: { code: 'not-understood', text: 'a part of the rule is invalid or not understood' },
  field,
});

function usesCaller({ sources, when }: IstioRule): boolean {
  const used = (is: IstioValues<unknown>) => is.values.length + is.notValues.length > 0;
  return (
    when.some(({ key }) => key.startsWith('source.')) ||
    sources.some((one) =>
      [one.principals, one.namespaces, one.serviceAccounts, one.trustDomains, one.ipBlocks].some(used),
    )
  );
}

/** Rules that do not ask who calls need no such distinctions. */
function places(context: RuleContext, caller: boolean): readonly Place[] {
  const [sidecar, ambient, gateway] = [
    trait(traits.atSidecar),
    trait(traits.atAmbient),
    trait(traits.atGateway),
  ];
  if (!caller) {
    const same = { ports: tcp, sidecar: 'plain', ambient: 'plain' } as const;
    return [
      { ...same, at: anyOf([sidecar, gateway]), ztunnel: false },
      { ...same, at: ambient, ztunnel: true },
    ];
  }
  const override = trait(traits.tlsOverride);
  const relayed = trait(traits.relayed);
  const atSidecars = modeClasses(context).flatMap(({ ports, disabled, maybeDisabled }): Place[] => {
    const open = complement(anyOf([disabled, maybeDisabled]));
    const place = (at: EndpointExpr, seen: Caller): Place => ({
      at: allOf([sidecar, at]),
      ztunnel: false,
      ports,
      sidecar: seen,
      ambient: 'unsure',
    });
    return [
      place(allOf([open, complement(override)]), 'identified'),
      place(allOf([open, override]), 'unsure'),
      ...(maybeDisabled === noEndpoint ? [] : [place(maybeDisabled, 'unsure')]),
      ...(disabled === noEndpoint ? [] : [place(disabled, 'plain')]),
    ];
  });
  return [
    ...atSidecars,
    { at: gateway, ztunnel: false, ports: tcp, sidecar: 'unsure', ambient: 'unsure' },
    {
      at: allOf([ambient, complement(relayed)]),
      ztunnel: true,
      ports: tcp,
      sidecar: 'unsure',
      ambient: 'identified',
    },
    { at: allOf([ambient, relayed]), ztunnel: true, ports: tcp, sidecar: 'relayed', ambient: 'relayed' },
  ];
}

interface ModeClass {
  readonly ports: PortSet;
  readonly disabled: EndpointExpr;
  readonly maybeDisabled: EndpointExpr;
}

function modeClasses({ modePorts }: RuleContext): readonly ModeClass[] {
  if (modePorts.length === 0) return [{ ports: tcp, disabled: noEndpoint, maybeDisabled: noEndpoint }];
  return modePorts.map((key) => ({
    ports: portsOfKey(key, modePorts),
    disabled: trait(traits.disabled(key)),
    maybeDisabled: trait(traits.maybeDisabled(key)),
  }));
}

export const portsOfKey = (key: PortKey, keys: readonly PortKey[]): PortSet =>
  key === 'other'
    ? keys.reduce<PortSet>((left, one) => (one === 'other' ? left : subtractPorts(left, only(one))), tcp)
    : only(key);

/**
 * Envoy (pilot/pkg/security/authz/model): on TCP an ALLOW rule with an HTTP field is left out as a whole, a DENY rule loses the field.
 * Where the protocol is sniffed, both may be.
 */
function atSidecar(rule: IstioRule, action: Action, place: Place, context: RuleContext): Rule[] {
  const http =
    rule.sources.some((source) => source.requestPrincipals) ||
    rule.operations.some((operation) => operation.http.length > 0) ||
    rule.when.some(({ key }) => key === 'request');
  if (!http) return emit(rule, action, place, envoy(rule, place, context, always), false);
  const asHttp = envoy(rule, place, context, doubtful);
  const asTcp = action === 'ALLOW' ? [] : envoy(rule, place, context, always);
  // Without certainty about the protocol an ALLOW rule is never certain; a DENY rule is as (un)certain as on HTTP.
  const sniffed = action === 'ALLOW';
  return context.protocols.flatMap((known) => {
    const at = (ports: PortSet): Place => ({
      ...place,
      ports: intersectPorts(place.ports, ports),
      at: allOf([place.at, trait(traits.protocols(known.key))]),
    });
    const rest = subtractPorts(tcp, unionPorts(known.http, known.tcp));
    return [
      ...emit(rule, action, at(known.http), asHttp, false),
      ...emit(rule, action, at(known.tcp), asTcp, false),
      ...emit(rule, action, at(rest), asHttp, sniffed),
    ];
  });
}

/** The rule for one of its operations. */
interface Part {
  readonly ports: PortSet;
  readonly peer: Ternary;
  readonly self: EndpointExpr;
}

/** `http`: what an HTTP field counts as. */
function envoy(rule: IstioRule, place: Place, context: RuleContext, http: Ternary): readonly Part[] {
  const peer = (caller: Caller): Ternary => {
    const from = rule.sources.map((source) =>
      both([
        sourceFields(source, caller, context),
        matching(source.trustDomains, (one) => asked(caller, () => trustDomain(one))),
        source.remoteIpBlocks ? doubtful : always,
        source.requestPrincipals ? http : always,
      ]),
    );
    const when = rule.when.map((one) => (one.key === 'request' ? http : condition(one, caller, context)));
    return both([from.length === 0 ? always : some(from), ...when]);
  };
  const whole = byCaller(place, peer);
  const self = destination(rule);
  const ports = whenPorts(rule);
  if (rule.operations.length === 0) return [{ ports, peer: whole, self }];
  return rule.operations.map((operation) => ({
    ports: intersectPorts(ports, portValues(operation.ports)),
    peer: operation.http.length > 0 ? both([whole, http]) : whole,
    self,
  }));
}

/**
 * ztunnel (ambient/authorization.go, ztunnel src/rbac.rs): an ALLOW rule with a field that it does not know is left out; a DENY rule
 * loses the field, and a source or an operation without any field left matches nothing.
 */
function atZtunnel(rule: IstioRule, action: Action, place: Place, context: RuleContext): Rule[] {
  const strange = rule.when.some(({ key }) => !connectionKeys.includes(key));
  const http =
    rule.sources.some((source) => source.requestPrincipals || source.remoteIpBlocks) ||
    rule.operations.some((operation) => operation.http.length > 0);
  if (strange || (action === 'ALLOW' && http)) return [];
  const peer = (caller: Caller): Ternary =>
    both([
      rule.sources.length === 0
        ? always
        : some(
            rule.sources.map((source) =>
              hasConnectionFields(source) ? sourceFields(source, caller, context) : never,
            ),
          ),
      ...rule.when.map((one) => condition(one, caller, context)),
    ]);
  const operations = rule.operations
    .filter(({ ports }) => ports.values.length + ports.notValues.length > 0)
    .map(({ ports }) => portValues(ports));
  const wanted =
    rule.operations.length === 0 ? tcp : operations.reduce<PortSet>((a, b) => unionPorts(a, b), noPorts);
  const ports = intersectPorts(whenPorts(rule), wanted);
  return emit(rule, action, place, [{ ports, peer: byCaller(place, peer), self: destination(rule) }], false);
}

const connectionKeys: readonly string[] = [
  'source.ip',
  'source.namespace',
  'source.principal',
  'destination.ip',
  'destination.port',
];

const hasConnectionFields = (source: IstioSource): boolean =>
  [source.principals, source.namespaces, source.serviceAccounts, source.ipBlocks].some(
    (is) => is.values.length + is.notValues.length > 0,
  );

function emit(
  rule: IstioRule,
  action: Action,
  place: Place,
  parts: readonly Part[],
  neverCertain: boolean,
): Rule[] {
  return parts.flatMap(({ ports, peer, self }) => {
    const set = intersectPorts(ports, place.ports);
    if (set.length === 0 || peer.may === noEndpoint) return [];
    const base = {
      action: action === 'ALLOW' ? ('allow' as const) : ('deny' as const),
      ports: { set, named: [] },
      self: allOf([place.at, self]),
      field: rule.field,
    };
    const certain = !neverCertain && action !== 'CUSTOM' && peer.certain !== noEndpoint;
    const sure: Rule[] = certain ? [{ ...base, peer: peer.certain }] : [];
    if (certain && isExact(peer)) return sure;
    return [...sure, { ...base, peer: peer.may, condition: conditionOf(rule, action) }];
  });
}

function conditionOf(rule: IstioRule, action: Action): Condition {
  if (action === 'CUSTOM')
    return { code: 'external-authorizer', text: 'an external authorizer decides (action CUSTOM)' };
  const http = [
    ...rule.operations.flatMap((operation) => operation.http),
    ...rule.sources.flatMap((source) => [
      ...(source.requestPrincipals ? ['requestPrincipals'] : []),
      ...(source.remoteIpBlocks ? ['remoteIpBlocks'] : []),
    ]),
    ...rule.when.flatMap((one) => (one.key === 'request' || one.key === 'other' ? [one.name] : [])),
  ];
  if (http.length > 0)
    return { code: 'l7', text: `only for requests that match ${[...new Set(http)].join(', ')}` };
  return { code: 'identity', text: 'it depends on the identity with which the client arrives' };
}

/** Sources outside of the mesh are plain everywhere. */
function byCaller(place: Place, peer: (caller: Caller) => Ternary): Ternary {
  const plain = peer('plain');
  if (place.sidecar === 'plain' && place.ambient === 'plain') return plain;
  const [sidecar, ambient] = [trait(traits.sourceSidecar), trait(traits.sourceAmbient)];
  const seen = (caller: Caller): Ternary =>
    caller === 'plain'
      ? plain
      : caller === 'unsure'
        ? eitherReading(peer('identified'), plain)
        : peer(caller);
  const outside = complement(anyOf([sidecar, ambient]));
  return some([
    both([exactly(outside), plain]),
    both([exactly(sidecar), seen(place.sidecar)]),
    both([exactly(ambient), seen(place.ambient)]),
  ]);
}

/** One of `values`, none of `notValues`. */
const matching = <T>(is: IstioValues<T>, test: (value: T) => Ternary): Ternary =>
  both([
    is.values.length === 0 ? always : some(is.values.map(test)),
    is.notValues.length === 0 ? always : opposite(some(is.notValues.map(test))),
  ]);

const asked = (caller: Caller, test: () => Ternary): Ternary =>
  caller === 'plain' ? never : caller === 'relayed' ? doubtful : test();

const inBlock = (block: Prefix): EndpointExpr => ({ is: 'address', prefixes: [block], except: [] });

const sourceBlock = (block: Prefix, caller: Caller): Ternary =>
  caller === 'relayed' ? doubtful : exactly(inBlock(block));

function sourceFields(source: IstioSource, caller: Caller, context: RuleContext): Ternary {
  return both([
    matching(source.principals, (one) => asked(caller, () => principal(one, context))),
    matching(source.namespaces, (one) => asked(caller, () => namespaceNamed(one, context))),
    matching(source.serviceAccounts, (one) => asked(caller, () => account([one]))),
    matching(source.ipBlocks, (block) => sourceBlock(block, caller)),
  ]);
}

/** What a condition asks of the source; conditions on the destination are asked of it. */
function condition(one: IstioCondition, caller: Caller, context: RuleContext): Ternary {
  switch (one.key) {
    case 'source.ip':
      return matching(one.is, (block) => sourceBlock(block, caller));
    case 'source.principal':
      return matching(one.is, (text) => asked(caller, () => principal(text, context)));
    case 'source.namespace':
      return matching(one.is, (text) => asked(caller, () => namespaceNamed(text, context)));
    case 'source.serviceAccount':
      return matching(one.is, (text) => asked(caller, () => account([text])));
    case 'source.trustDomain':
      return matching(one.is, (text) => asked(caller, () => trustDomain(text)));
    case 'destination.ip':
    case 'destination.port':
      return always;
    case 'request':
    case 'other':
      return doubtful;
  }
}

const destination = (rule: IstioRule): EndpointExpr =>
  allOf(
    rule.when.map((one) =>
      one.key === 'destination.ip'
        ? matching(one.is, (block) => exactly(inBlock(block))).certain
        : anyEndpoint,
    ),
  );

const whenPorts = (rule: IstioRule): PortSet =>
  rule.when.reduce<PortSet>(
    (sum, one) => (one.key === 'destination.port' ? intersectPorts(sum, portValues(one.is)) : sum),
    tcp,
  );

const portValues = ({ values, notValues }: IstioValues<number>): PortSet =>
  subtractPorts(values.length === 0 ? tcp : portList(values), portList(notValues));

const portList = (ports: readonly number[]): PortSet =>
  ports.reduce<PortSet>((sum, port) => unionPorts(sum, only(port)), noPorts);

const account = (names: readonly string[]): Ternary =>
  names.length === 0 ? never : exactly({ is: 'service-account', names });

const namespaceNamed = (pattern: string, { namespaces }: RuleContext): Ternary => {
  const names = pattern.includes('*') ? namespaces.filter((name) => fits(pattern, name)) : [pattern];
  return names.length === 0 ? never : exactly({ is: 'namespace', names });
};

/** Exact, `prefix*`, `*suffix`, or `*` alone; a star elsewhere is a letter like any other. */
function fits(pattern: string, text: string): boolean {
  if (pattern === '*') return text !== '';
  if (pattern.startsWith('*')) return text.endsWith(pattern.slice(1));
  return pattern.endsWith('*') ? text.startsWith(pattern.slice(0, -1)) : text === pattern;
}

const home = 'cluster.local';

const trustDomain = (pattern: string): Ternary => (fits(pattern, home) ? always : doubtful);

/**
 * `<trust domain>/ns/<namespace>/sa/<name>`. In policies cluster.local points to the mesh's own trust domain whatever it is
 * (pilot/pkg/security/trustdomain); another domain may be the mesh's, or an alias of it.
 */
function principal(pattern: string, { accounts }: RuleContext): Ternary {
  const path = (name: string): string => `ns/${name.replace('/', '/sa/')}`;
  if (pattern.startsWith(`${home}/`) && !pattern.endsWith('*')) {
    const exact = /^ns\/([^/]+)\/sa\/([^/]+)$/.exec(pattern.slice(home.length + 1));
    return exact === null ? never : account([`${exact[1]}/${exact[2]}`]);
  }
  if (pattern === '*') return always;
  const sure = new Set(accounts.filter((name) => fits(pattern, `${home}/${path(name)}`)));
  const slash = pattern.indexOf('/');
  const domain = slash < 0 ? pattern : pattern.slice(0, slash);
  const perhaps = accounts.filter((name) => {
    if (sure.has(name)) return false;
    if (slash < 0) return domain.endsWith('*') && !domain.startsWith('*');
    if (domain === '' || domain === '*' || domain === home) return false;
    return fits(pattern.slice(slash + 1), path(name));
  });
  const certain = account([...sure]).certain;
  return perhaps.length === 0
    ? exactly(certain)
    : { certain, may: anyOf([certain, account(perhaps).certain]) };
}
