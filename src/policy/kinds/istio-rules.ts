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
import { account, type KnownNames, namespaceNamed, principal, trustDomain } from './istio-names.ts';
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
export interface RuleContext extends KnownNames {
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
 * loses the field. With nothing left it denies by the documentation (fail safe) and has no effect in newer versions.
 */
function atZtunnel(rule: IstioRule, action: Action, place: Place, context: RuleContext): Rule[] {
  const allow = action === 'ALLOW';
  const strange = rule.when.some(({ key }) => !connectionKeys.includes(key));
  const http =
    rule.sources.some((source) => source.requestPrincipals || source.remoteIpBlocks) ||
    rule.operations.some((operation) => operation.http.length > 0);
  if (allow && (strange || http)) return [];
  const nothingLeft = allow ? never : doubtful;
  const peer = (caller: Caller): Ternary =>
    both([
      rule.sources.length === 0
        ? always
        : some(
            rule.sources.map((source) =>
              hasConnectionFields(source) ? sourceFields(source, caller, context) : nothingLeft,
            ),
          ),
      ...rule.when
        .filter(({ key }) => connectionKeys.includes(key))
        .map((one) => condition(one, caller, context)),
      strange ? nothingLeft : always,
    ]);
  const whole = byCaller(place, peer);
  const self = destination(rule);
  const ports = whenPorts(rule);
  const parts = rule.operations.map(({ ports: own }): Part => {
    const left = own.values.length + own.notValues.length > 0;
    return {
      ports: left ? intersectPorts(ports, portValues(own)) : ports,
      peer: left ? whole : both([whole, nothingLeft]),
      self,
    };
  });
  return emit(rule, action, place, parts.length === 0 ? [{ ports, peer: whole, self }] : parts, false);
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
