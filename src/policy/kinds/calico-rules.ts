/** Rules of Calico policies and profiles in the intermediate form. */
import { orElse } from '../../model/known.ts';
import type { CalicoEntity, CalicoIcmp, CalicoPort, CalicoRule } from '../../model/policies/calico.ts';
import type { Family } from '../../net/address.ts';
import {
  everyPort,
  intersectPorts,
  noPorts,
  type PortSet,
  portRange,
  protocolNumber,
  subtractPorts,
  unionPorts,
  wholeProtocol,
} from '../../net/port-set.ts';
import {
  anyEndpoint,
  type Condition,
  type Direction,
  type EndpointExpr,
  type LoweredDirection,
  type NamedPort,
  noEndpoint,
  type Ports,
  type Rule,
} from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import {
  addressExpr,
  allBounds,
  type Bounds,
  exactly,
  joinAll,
  joinAny,
  negate,
  notBounds,
  type SelectorLowering,
  wholeFamily,
} from './calico-selector.ts';
import { type ServiceLowering, serviceLowering } from './calico-services.ts';

export interface RuleLowering {
  /** `home`: the namespace of the policy; undefined for global ones and profiles. */
  readonly lower: (
    rules: readonly CalicoRule[],
    direction: Direction,
    home: string | undefined,
  ) => LoweredDirection;
}

interface Tools {
  readonly selectors: SelectorLowering;
  readonly services: ServiceLowering;
  readonly families: Families;
}

export function ruleLowering(world: PolicyWorld, selectors: SelectorLowering): RuleLowering {
  const tools: Tools = { selectors, services: serviceLowering(world), families: familiesOf(world) };
  return {
    lower: (rules, direction, home) => ({
      isolates: true,
      rules: rules.flatMap((rule) => lowerRule(rule, direction, home, tools)),
    }),
  };
}

/** One way of a rule to match. All ways of a rule have its action, so their order makes no difference. */
interface Way {
  readonly src: EndpointExpr;
  readonly dst: EndpointExpr;
  readonly ports: Ports;
  readonly conditions: readonly Condition[];
}

const actions = { Allow: 'allow', Deny: 'deny', Pass: 'pass' } as const;

function lowerRule(rule: CalicoRule, direction: Direction, home: string | undefined, tools: Tools): Rule[] {
  const { action, field, invalid } = rule;
  // Log goes on to the next rule.
  if (action === 'Log') return [];
  const all: Ports = { set: everyPort, named: [] };
  if (invalid !== undefined) {
    if (action === 'Allow') return [{ action: 'allow', peer: noEndpoint, ports: all, field }];
    const condition: Condition = { code: 'not-understood', text: `${field} is invalid: ${invalid}` };
    return [{ action: actions[action], peer: anyEndpoint, ports: all, condition, field }];
  }
  return waysOf(rule, direction, home, tools).map(({ src, dst, ports, conditions }): Rule => {
    const [peer, self] = direction === 'ingress' ? [src, dst] : [dst, src];
    const [first] = conditions;
    return {
      action: actions[action],
      peer,
      ...(self.is === 'any' ? {} : { self }),
      ports,
      ...(first === undefined
        ? {}
        : { condition: { code: first.code, text: conditions.map(({ text }) => text).join('; ') } }),
      field,
    };
  });
}

function waysOf(rule: CalicoRule, direction: Direction, home: string | undefined, tools: Tools): Way[] {
  const { source, destination } = rule;
  const conditions: Condition[] = [];
  if (rule.http !== undefined) conditions.push({ code: 'l7', text: `only for HTTP ${rule.http}` });
  if (source.ports !== undefined || source.notPorts !== undefined)
    conditions.push({ code: 'source-port', text: `only from source port ${sourcePorts(source)}` });
  const src = entityBounds(source, home, tools);
  const dst = entityBounds(destination, home, tools);
  const ways: Way[] = [];
  for (const to of tools.services.destinations(destination.service, lowerPorts(rule)))
    for (const from of tools.services.sources(source.service)) {
      const left = allBounds(src, from);
      const right = allBounds(dst, to.bounds);
      const way: Way = { src: left.sure, dst: right.sure, ports: to.ports, conditions };
      ways.push(way);
      const possible: Way = { ...way, src: left.possible, dst: right.possible };
      if (possible.src !== way.src || possible.dst !== way.dst)
        ways.push({ ...possible, conditions: [...conditions, notCollected] });
    }
  const family = familyOf(rule);
  return ways
    .flatMap((way) => (family === undefined ? [way] : tools.families.only(way, family, direction)))
    .filter(({ src: from, dst: to, ports }) => from.is !== 'none' && to.is !== 'none' && !isEmpty(ports));
}

const isEmpty = ({ set, named }: Ports): boolean => set.length === 0 && named.length === 0;

const notCollected: Condition = {
  code: 'not-collected',
  text: 'depends on namespaces, service accounts or Services that are not among the objects',
};

const sourcePorts = ({ ports, notPorts }: CalicoEntity): string =>
  [
    ...(ports === undefined ? [] : [ports.map(portText).join(', ')]),
    ...(notPorts === undefined ? [] : [`not ${notPorts.map(portText).join(', ')}`]),
  ].join(', ');

const portText = (port: CalicoPort): string =>
  'name' in port ? port.name : port.from === port.to ? `${port.from}` : `${port.from}-${port.to}`;

/** A namespaced policy's rule is limited to the namespace as soon as any of its selectors is there (GetEntityRuleSelector). */
function entityBounds(entity: CalicoEntity, home: string | undefined, { selectors }: Tools): Bounds {
  const { nets, notNets, selector, notSelector, namespaceSelector, serviceAccounts } = entity;
  const parts: Bounds[] = [];
  if (nets !== undefined) parts.push(exactly(addressExpr(nets)));
  if (notNets !== undefined) parts.push(exactly(negate(addressExpr(notNets))));
  if (notSelector !== undefined)
    // The other kind of negation: whatever is not selected, addresses outside of the cluster among it.
    parts.push(notBounds(selectors.chosen({ selector: notSelector })));
  const chooses = selector !== undefined || namespaceSelector !== undefined || serviceAccounts !== undefined;
  if (chooses || (notSelector !== undefined && home !== undefined))
    parts.push(
      selectors.chosen({
        ...(selector === undefined ? {} : { selector }),
        ...(namespaceSelector === undefined ? {} : { namespaceSelector }),
        ...(serviceAccounts === undefined ? {} : { serviceAccounts }),
        ...(home === undefined ? {} : { home }),
      }),
    );
  return allBounds(...parts);
}

const withPorts = [
  ['TCP', 6],
  ['UDP', 17],
  ['SCTP', 132],
] as const;
const portful: PortSet = withPorts.reduce<PortSet>(
  (sum, [protocol]) => unionPorts(sum, wholeProtocol(protocol)),
  noPorts,
);

function lowerPorts({ protocol, notProtocol, icmp, notIcmp, source, destination }: CalicoRule): Ports {
  let set = protocol === undefined ? everyPort : protocolNumber(protocol);
  if (notProtocol !== undefined) set = subtractPorts(set, protocolNumber(notProtocol));
  if (icmp !== undefined) set = intersectPorts(set, icmpSet(icmp, protocol));
  if (notIcmp !== undefined) set = subtractPorts(set, icmpSet(notIcmp, protocol));
  if (source.ports !== undefined || source.notPorts !== undefined) set = intersectPorts(set, portful);
  const spoken = withPorts.filter(
    ([, number]) => (protocol === undefined || protocol === number) && number !== notProtocol,
  );
  const listed = (ports: readonly CalicoPort[]): { set: PortSet; named: NamedPort[] } => {
    let numbers = noPorts;
    const named: NamedPort[] = [];
    for (const port of ports)
      for (const [name] of spoken)
        if ('name' in port) named.push({ protocol: name, name: port.name });
        else numbers = unionPorts(numbers, portRange(name, port.from, port.to));
    return { set: numbers, named };
  };
  const { ports, notPorts } = destination;
  const wanted = ports === undefined ? { set, named: [] } : listed(ports);
  return { ...wanted, ...(notPorts === undefined ? {} : { not: listed(notPorts) }) };
}

function icmpSet({ type, code }: CalicoIcmp, protocol: number | undefined): PortSet {
  const line = protocol === 58 ? 'ICMPv6' : 'ICMP';
  return code === undefined
    ? portRange(line, type * 256, type * 256 + 255)
    : portRange(line, type * 256 + code, type * 256 + code);
}

/** A rule with an ipVersion, or with prefixes (the API refuses those of two families in one rule), is for one family only. */
function familyOf({ ipVersion, source, destination }: CalicoRule): Family | undefined {
  if (ipVersion !== undefined) return ipVersion;
  for (const nets of [source.nets, source.notNets, destination.nets, destination.notNets])
    if (nets?.[0] !== undefined) return nets[0].family;
  return undefined;
}

interface Families {
  /** The part of a way that is traffic of the family: not certain between two ends that have both. */
  readonly only: (way: Way, family: Family, direction: Direction) => readonly Way[];
}

function familiesOf({ cluster }: PolicyWorld): Families {
  const pods = orElse(cluster.pods, []);
  const seen = new Set(pods.flatMap(({ addresses }) => addresses.map(({ family }) => family)));
  // An end without a known address may have what other pods have; where no pod's address is known, either.
  const assumed = (family: Family): boolean => seen.size === 0 || seen.has(family);
  const noAddress = negate(addressExpr([wholeFamily(4), wholeFamily(6)]));
  const speaks = (family: Family): EndpointExpr =>
    joinAny([addressExpr([wholeFamily(family)]), assumed(family) ? noAddress : noEndpoint]);
  /** As `speaks`, of the subject: a pod with a network of its own, so often all of them do or none. */
  const subjectSpeaks = (family: Family): EndpointExpr => {
    const answers = pods
      .filter(({ hostNetwork }) => !hostNetwork)
      .map(({ addresses }) =>
        addresses.length === 0 ? assumed(family) : addresses.some((one) => one.family === family),
      );
    if (!answers.includes(false)) return anyEndpoint;
    return answers.includes(true) ? speaks(family) : noEndpoint;
  };
  const known = { 4: [speaks(4), subjectSpeaks(4)], 6: [speaks(6), subjectSpeaks(6)] } as const;
  return {
    only: (way, family, direction) => {
      const other = family === 4 ? 6 : 4;
      const [own, foreign] = family === 4 ? (['ICMP', 'ICMPv6'] as const) : (['ICMPv6', 'ICMP'] as const);
      const set = subtractPorts(way.ports.set, wholeProtocol(foreign));
      const ports: Ports = { ...way.ports, set };
      const [has, hasOther] = [known[family], known[other]];
      const ends = (
        limit: (end: EndpointExpr, speak: EndpointExpr, speakOther: EndpointExpr) => EndpointExpr,
        limitDst = limit,
      ) => {
        const [src, dst] = direction === 'egress' ? ([1, 0] as const) : ([0, 1] as const);
        return {
          src: limit(way.src, has[src], hasOther[src]),
          dst: limitDst(way.dst, has[dst], hasOther[dst]),
        };
      };
      type Limit = Parameters<typeof ends>[0];
      const some: Limit = (end, speak) => joinAll([end, speak]);
      const single: Limit = (end, speak, speakOther) => joinAll([end, speak, negate(speakOther)]);
      const dual: Limit = (end, speak, speakOther) => joinAll([end, speak, speakOther]);
      const condition: Condition = {
        code: 'undefined-by-api',
        text: `only for IPv${family}, and both ends have IPv4 and IPv6`,
      };
      return [
        { ...way, ...ends(single, some), ports },
        { ...way, ...ends(dual, single), ports },
        { ...way, ...ends(dual), ports: { set: intersectPorts(set, wholeProtocol(own)), named: [] } },
        {
          ...way,
          ...ends(dual),
          ports: { ...ports, set: subtractPorts(set, wholeProtocol(own)) },
          conditions: [...way.conditions, condition],
        },
      ];
    },
  };
}
