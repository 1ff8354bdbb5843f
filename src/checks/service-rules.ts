/** kube-proxy's nat rules (iptables mode) against the EndpointSlices, node by node. */
import type { EndpointSlice, Service, ServicePort } from '../model/cluster.ts';
import type { Finding } from '../model/finding.ts';
import type { Chain, Rule } from '../model/netfilter.ts';
import { objectRef, type SourceRef } from '../model/source.ts';
import { type Address, formatAddress } from '../net/address.ts';
import { protocolNumber } from '../net/packet.ts';
import { contains } from '../net/prefix.ts';
import { type CheckContext, declared, defineCheck, type NodeView, nodeSubject, observed } from './check.ts';
import { serviceId } from './services.ts';

type Chains = ReadonlyMap<string, Chain>;

export const serviceRules = defineCheck({
  id: 'service-rules',
  title: 'kube-proxy’s rules agree with the EndpointSlices',
  causes: ['service/rules-missing', 'service/rules-stale'],
  run: (context) => {
    const services = context.need(context.snapshot.cluster.services);
    const slices = context.need(context.snapshot.cluster.endpointSlices);
    if (services === undefined || slices === undefined) return [];
    const asked = services.flatMap((service) => questions(service, slices));
    const views = context.nodes();
    return views.flatMap((view) =>
      ([4, 6] as const).flatMap((family) => {
        const nat = natChains(context, view, family);
        if (nat === undefined) {
          const other = views.find((peer) => peer !== view && natChains(context, peer, family) !== undefined);
          return other === undefined ? [] : noRules(context, view, other, family);
        }
        const entrance = nat.get('PREROUTING');
        return entrance === undefined || !leadsToServices(nat, entrance)
          ? [unreachedRules(view, entrance)]
          : asked
              .filter(({ ip }) => ip.family === family)
              .flatMap((question) => compare(view, nat, question));
      }),
    );
  },
});

/** Chains that lead from here, at any depth, to KUBE-SERVICES. */
function leadsToServices(nat: Chains, from: Chain, seen = new Set<string>()): boolean {
  return from.rules.some(({ target: t }) => {
    if ((t.kind !== 'jump' && t.kind !== 'goto') || seen.has(t.chain)) return false;
    seen.add(t.chain);
    const next = nat.get(t.chain);
    return t.chain === 'KUBE-SERVICES' || (next !== undefined && leadsToServices(nat, next, seen));
  });
}

const missingHere = (
  view: NodeView,
  statement: string,
  evidence: Finding['evidence'],
): Omit<Finding, 'check'> => ({
  cause: 'service/rules-missing',
  severity: 'error',
  subject: nodeSubject(view.name),
  concerns: [],
  statement,
  evidence,
});

const unreachedRules = (view: NodeView, entrance: Chain | undefined): Omit<Finding, 'check'> =>
  missingHere(
    view,
    `no packet on ${view.name} reaches kube-proxy's rules: nat PREROUTING does not lead to KUBE-SERVICES`,
    [observed('no rule of this chain jumps there', entrance?.source)],
  );

/** Other nodes have kube-proxy's chains; a node that keeps its rules in nftables is well without them. */
function noRules(
  { need }: CheckContext,
  view: NodeView,
  other: NodeView,
  family: 4 | 6,
): Omit<Finding, 'check'>[] {
  if (view.netns.rulesets.state === 'unknown') return [];
  const tables = need(view.netns.nftTables);
  const isHalf = view.netns.rulesets.value.some((one) => one.family === family && one.unseen !== undefined);
  if (isHalf || tables === undefined || tables.some(({ name }) => name === 'kube-proxy')) return [];
  return [
    missingHere(
      view,
      `${view.name} has none of kube-proxy's nat rules (IPv${family}), which ${other.name} has`,
      [observed(`no table nat of ${view.name} holds a chain KUBE-SERVICES with rules`)],
    ),
  ];
}

interface Question {
  readonly service: Service;
  readonly port: ServicePort;
  readonly ip: Address;
  /** `10.244.1.5:8080`, as DNAT prints them. */
  readonly ready: ReadonlySet<string>;
  /** Ready and not ready alike: what a rule may lead to. */
  readonly listed: ReadonlySet<string>;
}

function questions(service: Service, slices: readonly EndpointSlice[]): Question[] {
  if (service.headless || service.type === 'ExternalName') return [];
  const mine = slices.filter(
    (slice) => slice.namespace === service.namespace && slice.service === service.name,
  );
  return service.clusterIps.flatMap((ip) =>
    service.ports.map((port) => {
      const endpoints = mine.flatMap((slice) =>
        slice.ports
          .filter(({ name, protocol }) => name === port.name && protocol === port.protocol)
          .flatMap(({ port: number }) =>
            slice.endpoints.flatMap((endpoint) =>
              endpoint.addresses
                .filter((address) => address.family === ip.family)
                .map((address) => ({ endpoint, text: target(address, number) })),
            ),
          ),
      );
      return {
        service,
        port,
        ip,
        ready: new Set(
          endpoints.filter(({ endpoint }) => endpoint.ready && !endpoint.terminating).map(({ text }) => text),
        ),
        listed: new Set(endpoints.map(({ text }) => text)),
      };
    }),
  );
}

const target = (address: Address, port: number): string =>
  address.family === 4 ? `${formatAddress(address)}:${port}` : `[${formatAddress(address)}]:${port}`;

/** The nat chains of the backend that kube-proxy writes to; undefined where it does not run in iptables mode. */
function natChains(context: CheckContext, { netns }: NodeView, family: 4 | 6): Chains | undefined {
  const rulesets = context.need(netns.rulesets);
  return rulesets
    ?.filter((ruleset) => ruleset.family === family)
    .flatMap((ruleset) => ruleset.tables.filter((table) => table.name === 'nat'))
    .find((table) => (table.chains.get('KUBE-SERVICES')?.rules ?? []).length > 0)?.chains;
}

function compare(view: NodeView, nat: Chains, question: Question): Omit<Finding, 'check'>[] {
  const { service, port, ip, ready, listed } = question;
  // internalTrafficPolicy Local leaves other nodes' endpoints out, and may leave none.
  if (ready.size === 0 || service.internalTrafficPolicy === 'Local') return [];
  const name = `Service ${serviceId(service)} ${formatAddress(ip)}:${port.port}/${port.protocol}`;
  const base = {
    severity: 'error' as const,
    subject: nodeSubject(view.name),
    concerns: [{ kind: 'service' as const, name: serviceId(service) }],
  };
  const slice = declared(
    `its EndpointSlices list ${[...ready].join(', ')}`,
    objectRef('Service', service.namespace, service.name),
  );
  const services = nat.get('KUBE-SERVICES');
  const entry = services?.rules.find((rule) => leadsFrom(rule, ip, port));
  const leads = entry === undefined ? [] : dnatTargets(nat, entry);
  if (entry === undefined || leads.length === 0) {
    return [
      {
        ...base,
        cause: 'service/rules-missing',
        statement: `${view.name} has no nat rules that lead to the endpoints of ${name}`,
        evidence: [
          observed(
            entry === undefined
              ? 'no rule of KUBE-SERVICES fits'
              : 'the chain of the Service leads to no endpoint',
            entry?.source ?? services?.source,
          ),
          slice,
        ],
      },
    ];
  }
  const dead = leads.filter(({ to }) => !listed.has(to));
  // Topology hints may leave ready endpoints out, but never all: only a set with none of them is stale for certain.
  const none = leads.every(({ to }) => !ready.has(to));
  if (dead.length === 0 && !none) return [];
  return [
    {
      ...base,
      cause: 'service/rules-stale',
      statement: `${view.name} sends ${name} to ${(dead.length > 0 ? dead : leads).map(({ to }) => to).join(', ')}, which is no endpoint of it`,
      evidence: [
        ...(dead.length > 0 ? dead : leads).map(({ source }) => observed('this rule leads there', source)),
        slice,
      ],
    },
  ];
}

function leadsFrom(rule: Rule, ip: Address, port: ServicePort): boolean {
  if (rule.target.kind !== 'jump' && rule.target.kind !== 'goto') return false;
  const protocol = protocolNumber[port.protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp'];
  return (
    rule.matches.some(
      (m) =>
        m.kind === 'address' &&
        m.side === 'dst' &&
        !m.negate &&
        m.prefix.length > 0 &&
        contains(m.prefix, ip),
    ) &&
    rule.matches.some((m) => m.kind === 'protocol' && !m.negate && m.protocol === protocol) &&
    rule.matches.some(
      (m) =>
        m.kind === 'port' &&
        m.side === 'dst' &&
        m.ranges.some((r) => r.from <= port.port && port.port <= r.to),
    )
  );
}

interface Lead {
  readonly to: string;
  readonly source: SourceRef;
}

/** Every DNAT that a Service's chain can come to. */
function dnatTargets(nat: Chains, entry: Rule): Lead[] {
  const leads: Lead[] = [];
  const seen = new Set<string>();
  const follow = (rule: Rule): void => {
    const { target: t } = rule;
    if (t.kind === 'dnat' && t.range.from !== undefined) {
      const family = rule.source.kind === 'file' && rule.source.file.includes('ip6tables') ? 6 : 4;
      leads.push({
        to: target({ family, value: t.range.from }, t.range.ports?.from ?? 0),
        source: rule.source,
      });
    }
    if ((t.kind !== 'jump' && t.kind !== 'goto') || seen.has(t.chain)) return;
    seen.add(t.chain);
    for (const next of nat.get(t.chain)?.rules ?? []) follow(next);
  };
  follow(entry);
  return leads;
}
