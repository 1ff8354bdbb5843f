/**
 * The rules that kube-proxy 1.36 writes in iptables mode, from Services and EndpointSlices. Pure: text for
 * `iptables-restore --noflush`, rules spelled as iptables-save prints them. src/lab/restore.ts fits it to a namespace.
 *
 * Left out: loadBalancerSourceRanges, health check node ports.
 */

import type { EndpointSlice, Service, ServicePort } from '../model/cluster.ts';
import { type Address, type Family, formatAddress } from '../net/address.ts';
import { formatPrefix, type Prefix } from '../net/prefix.ts';
import { endpointChain, serviceChain, servicePortName } from './kubeproxy-names.ts';

export interface RestoreText {
  readonly v4: string;
  /** Absent where IPv6 was not asked for. */
  readonly v6?: string;
}

export interface KubeProxyObjects {
  readonly services: readonly Service[];
  readonly endpointSlices: readonly EndpointSlice[];
}

export interface KubeProxyOptions {
  /** The node the rules are for: internalTrafficPolicy Local keeps to its endpoints. */
  readonly node: string;
  readonly families: readonly Family[];
  /** `--cluster-cidr`: sources outside it are masqueraded. Without one of the family the rule is left out, as kube-proxy does. */
  readonly clusterCidrs: readonly Prefix[];
  /** Whether the kernel has the counter object that kube-proxy hangs on its INVALID rule. Default false: the match is left out. */
  readonly nfacct?: boolean;
}

/** The chains that a sync may remove, because each belongs to one Service port or endpoint. */
export const kubeProxyOwns = (chain: string): boolean => /^KUBE-(SVC|SVL|EXT|FW|SEP)-/.test(chain);

export function renderKubeProxy(objects: KubeProxyObjects, options: KubeProxyOptions): RestoreText {
  const v4 = renderFamily(objects, options, 4);
  return options.families.includes(6) ? { v4, v6: renderFamily(objects, options, 6) } : { v4 };
}

function renderFamily(objects: KubeProxyObjects, options: KubeProxyOptions, family: Family): string {
  const nat = new ChainSet();
  const filter = new ChainSet();
  for (const name of ['KUBE-KUBELET-CANARY', 'KUBE-PROXY-CANARY']) {
    nat.declare(name);
    filter.declare(name);
  }
  baseFilter(filter, family, options.nfacct ?? false);
  baseNat(nat);
  // IPv4 is rendered also on an IPv6-only lab: kube-proxy always writes its base chains for both families.
  if (options.families.includes(family))
    for (const port of servicePorts(objects, options, family)) renderPort(nat, filter, port, family);
  nat.add(
    'KUBE-SERVICES',
    `${family === 6 ? '! -d ::1/128 ' : ''}-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
  );
  const mangle = new ChainSet();
  for (const name of ['KUBE-IPTABLES-HINT', 'KUBE-KUBELET-CANARY', 'KUBE-PROXY-CANARY']) mangle.declare(name);
  return [mangle.text('mangle'), filter.text('filter'), nat.text('nat')].join('');
}

/** Rules of one table in order, chain by chain. */
class ChainSet {
  readonly #rules = new Map<string, string[]>();
  declare(chain: string): void {
    if (!this.#rules.has(chain)) this.#rules.set(chain, []);
  }
  has(chain: string): boolean {
    return this.#rules.has(chain);
  }
  add(chain: string, rule: string): void {
    this.declare(chain);
    this.#rules.get(chain)?.push(`-A ${chain} ${rule}`);
  }
  text(table: string): string {
    // Built-in chains are not declared: that would set their policy.
    const own = [...this.#rules.keys()].filter((chain) => chain.startsWith('KUBE-'));
    const rules = [...this.#rules.values()].flat();
    return `*${table}\n${own.map((chain) => `:${chain} - [0:0]\n`).join('')}${rules.map((rule) => `${rule}\n`).join('')}COMMIT\n`;
  }
}

function baseFilter(filter: ChainSet, family: Family, nfacct: boolean): void {
  for (const name of [
    'KUBE-EXTERNAL-SERVICES',
    'KUBE-FIREWALL',
    'KUBE-FORWARD',
    'KUBE-NODEPORTS',
    'KUBE-PROXY-FIREWALL',
    'KUBE-SERVICES',
  ])
    filter.declare(name);
  const onNew = (chain: string, comment: string, target: string) =>
    filter.add(chain, `-m conntrack --ctstate NEW -m comment --comment "${comment}" -j ${target}`);
  const firewall = 'kubernetes load balancer firewall';
  const external = 'kubernetes externally-visible service portals';
  onNew('INPUT', firewall, 'KUBE-PROXY-FIREWALL');
  filter.add('INPUT', '-m comment --comment "kubernetes health check service ports" -j KUBE-NODEPORTS');
  onNew('INPUT', external, 'KUBE-EXTERNAL-SERVICES');
  filter.add('INPUT', '-j KUBE-FIREWALL');
  onNew('FORWARD', firewall, 'KUBE-PROXY-FIREWALL');
  filter.add('FORWARD', '-m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD');
  onNew('FORWARD', 'kubernetes service portals', 'KUBE-SERVICES');
  onNew('FORWARD', external, 'KUBE-EXTERNAL-SERVICES');
  onNew('OUTPUT', firewall, 'KUBE-PROXY-FIREWALL');
  onNew('OUTPUT', 'kubernetes service portals', 'KUBE-SERVICES');
  filter.add('OUTPUT', '-j KUBE-FIREWALL');
  if (family === 4)
    filter.add(
      'KUBE-FIREWALL',
      '! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block incoming localnet connections" -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP',
    );
  filter.add(
    'KUBE-FORWARD',
    `-m conntrack --ctstate INVALID ${nfacct ? '-m nfacct --nfacct-name ct_state_invalid_dropped_pkts ' : ''}-j DROP`,
  );
  filter.add(
    'KUBE-FORWARD',
    '-m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT',
  );
  filter.add(
    'KUBE-FORWARD',
    '-m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  );
}

function baseNat(nat: ChainSet): void {
  for (const name of ['KUBE-MARK-MASQ', 'KUBE-NODEPORTS', 'KUBE-POSTROUTING', 'KUBE-SERVICES'])
    nat.declare(name);
  nat.add('PREROUTING', '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES');
  nat.add('OUTPUT', '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES');
  nat.add('POSTROUTING', '-m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING');
  nat.add('KUBE-MARK-MASQ', '-j MARK --set-xmark 0x4000/0x4000');
  nat.add('KUBE-POSTROUTING', '-m mark ! --mark 0x4000/0x4000 -j RETURN');
  // The mark is cleared so that a packet that passes POSTROUTING again (a tunnel's outer packet) is not masqueraded.
  nat.add('KUBE-POSTROUTING', '-j MARK --set-xmark 0x4000/0x0');
  nat.add(
    'KUBE-POSTROUTING',
    '-m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully',
  );
}

interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

/** One port of one Service in one family, with the endpoints that kube-proxy would use. */
interface Port {
  readonly name: string;
  readonly protocol: string;
  readonly clusterIp: Address;
  readonly port: ServicePort;
  /** internalTrafficPolicy, and externalTrafficPolicy, is Local. */
  readonly local: boolean;
  readonly externalLocal: boolean;
  readonly external: readonly {
    readonly address: Address;
    readonly what: 'external IP' | 'loadbalancer IP';
  }[];
  readonly affinitySeconds?: number;
  /** All that are ready (or, if none is, those still serving while they terminate). */
  readonly endpoints: readonly Endpoint[];
  /** Of those, the ones on this node; only read where a policy is Local. */
  readonly localEndpoints: readonly Endpoint[];
  readonly masqueradeOutside?: Prefix;
}

function servicePorts(objects: KubeProxyObjects, options: KubeProxyOptions, family: Family): Port[] {
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of objects.endpointSlices) {
    const service = `${slice.namespace}/${slice.service}`;
    slices.set(service, [...(slices.get(service) ?? []), slice]);
  }
  const clusterCidr = options.clusterCidrs.find((cidr) => cidr.family === family);
  const ports: Port[] = [];
  for (const service of objects.services) {
    const clusterIp = service.clusterIps.find((ip) => ip.family === family);
    // kube-proxy leaves headless and ExternalName Services to DNS.
    if (clusterIp === undefined || service.headless) continue;
    const own = slices.get(`${service.namespace}/${service.name}`) ?? [];
    for (const port of service.ports) {
      const usable = usableEndpoints(own, port, family);
      ports.push({
        name: servicePortName(service.namespace, service.name, port.name),
        protocol: port.protocol.toLowerCase(),
        clusterIp,
        port,
        local: service.internalTrafficPolicy === 'Local',
        externalLocal: service.externalTrafficPolicy === 'Local',
        external: externalAddresses(service, family),
        ...(service.affinitySeconds === undefined ? {} : { affinitySeconds: service.affinitySeconds }),
        endpoints: usable,
        localEndpoints: usable.filter((entry) => entry.node === options.node),
        ...(clusterCidr === undefined ? {} : { masqueradeOutside: clusterCidr }),
      });
    }
  }
  return ports.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}

const externalAddresses = (service: Service, family: Family): Port['external'] =>
  [
    ...(service.externalIps ?? []).map((address) => ({ address, what: 'external IP' as const })),
    ...(service.loadBalancerIps ?? []).map((address) => ({ address, what: 'loadbalancer IP' as const })),
  ].filter(({ address }) => address.family === family);

function usableEndpoints(slices: readonly EndpointSlice[], port: ServicePort, family: Family) {
  const found = new Map<string, Endpoint & { ready: boolean; node?: string }>();
  for (const slice of slices) {
    const target = slice.ports.find(
      (candidate) => candidate.name === port.name && candidate.protocol === port.protocol,
    );
    if (target === undefined) continue;
    for (const endpoint of slice.endpoints) {
      const address = endpoint.addresses.find((candidate) => candidate.family === family);
      if (address === undefined || !(endpoint.ready || (endpoint.serving && endpoint.terminating))) continue;
      found.set(socketText({ address, port: target.port }), {
        address,
        port: target.port,
        ready: endpoint.ready,
        ...(endpoint.node === undefined ? {} : { node: endpoint.node }),
      });
    }
  }
  // kube-proxy sorts endpoints by their text.
  const all = [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
  const ready = all.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : all;
}

const socketText = ({ address, port }: Endpoint): string =>
  address.family === 4 ? `${formatAddress(address)}:${port}` : `[${formatAddress(address)}]:${port}`;

const hostText = (address: Address): string => `${formatAddress(address)}/${address.family === 4 ? 32 : 128}`;

function renderPort(nat: ChainSet, filter: ChainSet, port: Port, family: Family): void {
  const { name, protocol, endpoints } = port;
  const dport = `-m ${protocol} --dport ${port.port.port}`;
  const to = (address: Address, comment: string) =>
    `-d ${hostText(address)} -p ${protocol} -m comment --comment "${comment}" ${dport}`;
  const reject = `-j REJECT --reject-with ${family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'}`;
  const nodePort =
    port.port.nodePort === undefined ? undefined : `-m ${protocol} --dport ${port.port.nodePort}`;
  const toNodePort = (comment: string) =>
    `-p ${protocol} -m comment --comment "${comment}" -m addrtype --dst-type LOCAL ${nodePort}`;
  const refuseExternal = (why: string, target: string) => {
    for (const { address } of port.external)
      filter.add('KUBE-EXTERNAL-SERVICES', `${to(address, `${name} ${why}`)} ${target}`);
    if (nodePort !== undefined)
      filter.add('KUBE-EXTERNAL-SERVICES', `${toNodePort(`${name} ${why}`)} ${target}`);
  };
  if (endpoints.length === 0) {
    filter.add('KUBE-SERVICES', `${to(port.clusterIp, `${name} has no endpoints`)} ${reject}`);
    refuseExternal('has no endpoints', reject);
    return;
  }
  const clusterChain = serviceChain('SVC', name, protocol);
  const localChain = serviceChain('SVL', name, protocol);
  const hasLocal = port.localEndpoints.length > 0;
  const isExternal = nodePort !== undefined || port.external.length > 0;
  if (port.local && !hasLocal) {
    // Dropped, not refused: kube-proxy treats a Local Service without local endpoints as a temporary state.
    filter.add('KUBE-SERVICES', `${to(port.clusterIp, `${name} has no local endpoints`)} -j DROP`);
  } else {
    const chain = port.local ? localChain : clusterChain;
    nat.add('KUBE-SERVICES', `${to(port.clusterIp, `${name} cluster IP`)} -j ${chain}`);
  }
  if (!port.local || isExternal) renderServiceChain(nat, clusterChain, port, endpoints);
  if (hasLocal && (port.local || (isExternal && port.externalLocal)))
    renderServiceChain(nat, localChain, port, port.localEndpoints);
  if (!isExternal) return;
  const external = serviceChain('EXT', name, protocol);
  for (const { address, what } of port.external)
    nat.add('KUBE-SERVICES', `${to(address, `${name} ${what}`)} -j ${external}`);
  if (nodePort !== undefined)
    nat.add('KUBE-NODEPORTS', `-p ${protocol} -m comment --comment "${name}" ${nodePort} -j ${external}`);
  if (port.externalLocal && !hasLocal) refuseExternal('has no local endpoints', '-j DROP');
  renderExternalChain(nat, external, port, hasLocal);
}

/** KUBE-EXT-: callers from outside are masqueraded, unless externalTrafficPolicy Local keeps them to this node's endpoints. */
function renderExternalChain(nat: ChainSet, chain: string, port: Port, hasLocal: boolean): void {
  const { name, protocol, masqueradeOutside: pods } = port;
  const all = serviceChain('SVC', name, protocol);
  const comment = (text: string) => `-m comment --comment "${text} for ${name} external destinations"`;
  if (!port.externalLocal) {
    nat.add(chain, `${comment('masquerade traffic')} -j KUBE-MARK-MASQ`);
    nat.add(chain, `-j ${all}`);
    return;
  }
  // Pods and the node itself are inside of the cluster: the external policy is not for them.
  if (pods !== undefined) nat.add(chain, `-s ${formatPrefix(pods)} ${comment('pod traffic')} -j ${all}`);
  nat.add(chain, `${comment('masquerade LOCAL traffic')} -m addrtype --src-type LOCAL -j KUBE-MARK-MASQ`);
  nat.add(chain, `${comment('route LOCAL traffic')} -m addrtype --src-type LOCAL -j ${all}`);
  if (hasLocal) nat.add(chain, `-j ${serviceChain('SVL', name, protocol)}`);
}

function renderServiceChain(nat: ChainSet, chain: string, port: Port, endpoints: readonly Endpoint[]): void {
  const { name, protocol, affinitySeconds } = port;
  if (port.masqueradeOutside !== undefined)
    nat.add(
      chain,
      `! -s ${formatPrefix(port.masqueradeOutside)} -d ${hostText(port.clusterIp)} -p ${protocol} -m comment --comment "${name} cluster IP" -m ${protocol} --dport ${port.port.port} -j KUBE-MARK-MASQ`,
    );
  if (affinitySeconds !== undefined)
    for (const endpoint of endpoints) {
      const socket = socketText(endpoint);
      const target = endpointChain(name, protocol, socket);
      const recent = `-m recent --rcheck --seconds ${affinitySeconds} --reap --name ${target} --mask ${maskText(endpoint.address)} --rsource`;
      nat.add(chain, `-m comment --comment "${name} -> ${socket}" ${recent} -j ${target}`);
    }
  for (const [index, endpoint] of endpoints.entries()) {
    const socket = socketText(endpoint);
    const target = endpointChain(name, protocol, socket);
    const left = endpoints.length - index;
    const chance = left === 1 ? '' : `-m statistic --mode random --probability ${probability(left)} `;
    nat.add(chain, `-m comment --comment "${name} -> ${socket}" ${chance}-j ${target}`);
    if (nat.has(target)) continue;
    const noted =
      affinitySeconds === undefined
        ? ''
        : `-m recent --set --name ${target} --mask ${maskText(endpoint.address)} --rsource `;
    nat.add(target, `-s ${hostText(endpoint.address)} -m comment --comment "${name}" -j KUBE-MARK-MASQ`);
    nat.add(
      target,
      `-p ${protocol} -m comment --comment "${name}" ${noted}-m ${protocol} -j DNAT --to-destination ${socket}`,
    );
  }
}

const maskText = ({ family }: Address): string =>
  family === 4 ? '255.255.255.255' : 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';

/** 1/n as kube-proxy passes it (10 digits) and iptables-save prints it back: xt_statistic counts in 2^-31. */
const probability = (n: number): string =>
  (Math.round(Number((1 / n).toFixed(10)) * 0x80000000) / 0x80000000).toFixed(11);
