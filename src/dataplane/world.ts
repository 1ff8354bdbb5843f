/** Indexes over a snapshot that the walk needs: who owns an address, what is at the other end of a cable. */

import type { Node, Pod, Service } from '../model/cluster.ts';
import { orElse } from '../model/known.ts';
import type { Device, Netns } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { type Address, formatAddress, sameAddress } from '../net/address.ts';
import { contains, overlaps } from '../net/prefix.ts';
import { deviceWith } from './routing-tables.ts';

/** A device inside one namespace. */
export interface Port {
  readonly netns: Netns;
  readonly device: Device;
}

/** Who should have an address, by the API's objects (declared) or by a device that carries it (observed). */
export interface Owner {
  /** Id of the network namespace, recorded or not. */
  readonly netnsId: string;
  readonly node: string;
  readonly pod?: Pod;
}

export class World {
  readonly snapshot: Snapshot;
  readonly #devices = new Map<string, ReadonlyMap<string, Device>>();
  readonly #ports = new Map<string, ReadonlyMap<string, readonly Device[]>>();
  readonly #owners = new Map<string, Owner[]>();
  readonly #services = new Map<string, Service>();
  readonly #routed = new Map<4 | 6, boolean>();
  /** The far ends of cables by the netns whose devices they lead from, and by the index pair of the near end. */
  readonly #farEnds = new Map<string, ReadonlyMap<string, Port>>();
  readonly #stations = new Map<string, readonly Port[]>();
  #nodes: readonly Netns[] | undefined;
  #nodePorts: ReadonlySet<string> | undefined;

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
    for (const pod of orElse(snapshot.cluster.pods, [])) {
      if (pod.hostNetwork || pod.phase === 'Succeeded' || pod.phase === 'Failed') continue;
      for (const a of pod.addresses) {
        this.#own(a, { netnsId: podNetnsId(pod.node, pod.namespace, pod.name), node: pod.node, pod });
      }
    }
    for (const node of orElse(snapshot.cluster.nodes, [])) {
      for (const a of node.internalAddresses) this.#own(a, { netnsId: node.name, node: node.name });
    }
    for (const service of orElse(snapshot.cluster.services, [])) {
      for (const a of service.clusterIps) this.#services.set(formatAddress(a), service);
    }
  }

  #own(a: Address, owner: Owner): void {
    const key = formatAddress(a);
    const owners = this.#owners.get(key);
    if (owners === undefined) this.#owners.set(key, [owner]);
    else owners.push(owner);
  }

  netns(id: string): Netns | undefined {
    return this.snapshot.netns.get(id);
  }

  node(name: string): Node | undefined {
    return orElse(this.snapshot.cluster.nodes, []).find((node) => node.name === name);
  }

  /** Devices of a namespace by name; empty where they were not recorded (ask netns.devices for the reason). */
  devices(netns: Netns): ReadonlyMap<string, Device> {
    let map = this.#devices.get(netns.id);
    if (map === undefined) {
      map = new Map(orElse(netns.devices, []).map((device) => [device.name, device]));
      this.#devices.set(netns.id, map);
    }
    return map;
  }

  device(netns: Netns, name: string): Device | undefined {
    return this.devices(netns).get(name);
  }

  /** Pods and nodes that the API says have this address. More than one is a conflict. */
  owners(a: Address): readonly Owner[] {
    return this.#owners.get(formatAddress(a)) ?? [];
  }

  service(a: Address): Service | undefined {
    return this.#services.get(formatAddress(a));
  }

  /** True if some Service has this node port. */
  isNodePort(port: number, protocol: string): boolean {
    this.#nodePorts ??= new Set(
      orElse(this.snapshot.cluster.services, []).flatMap((service) =>
        service.ports.map((one) => `${one.protocol} ${one.nodePort}`),
      ),
    );
    return this.#nodePorts.has(`${protocol.toUpperCase()} ${port}`);
  }

  /** The node whose pod CIDR or devices hold the address: the place a route to it should lead to. */
  nodeFor(a: Address): string | undefined {
    const owner = this.owners(a)[0];
    if (owner !== undefined) return owner.node;
    for (const netns of this.nodeNamespaces()) if (this.carries(netns, a)) return netns.node;
    return undefined;
  }

  /** The only node whose pod CIDR holds the address; Flannel and Calico give tunnel devices addresses of their node's block. */
  nodeByPodCidr(a: Address): string | undefined {
    const owners = orElse(this.snapshot.cluster.nodes, []).filter((node) =>
      node.podCidrs.some((cidr) => contains(cidr, a)),
    );
    return owners.length === 1 ? owners[0]?.name : undefined;
  }

  nodeNamespaces(): readonly Netns[] {
    this.#nodes ??= [...this.snapshot.netns.values()].filter((netns) => netns.pod === undefined);
    return this.#nodes;
  }

  /** Why some node's devices, and so who has a MAC on the underlay, are not all known. */
  unseenNode(): string | undefined {
    for (const { name } of orElse(this.snapshot.cluster.nodes, []))
      if (!this.snapshot.netns.has(name)) return `no state of ${name} was recorded`;
    for (const { devices } of this.nodeNamespaces()) if (devices.state === 'unknown') return devices.why;
    return undefined;
  }

  /** Why it is not known what a pod's cable leads to. */
  unseenFarEnd({ netns, device }: Port): string | undefined {
    if (netns.pod === undefined || device.kind !== 'veth') return undefined;
    const node = this.netns(netns.node);
    if (node === undefined) return `no state of ${netns.node} was recorded`;
    return node.devices.state === 'unknown' ? node.devices.why : undefined;
  }

  /** What `find` found the first time: the snapshot does not change. `key` names the question. */
  stations(key: string, find: () => readonly Port[]): readonly Port[] {
    let found = this.#stations.get(key);
    if (found === undefined) {
      found = find();
      this.#stations.set(key, found);
    }
    return found;
  }

  podNamespaces(node: string): Netns[] {
    return [...this.snapshot.netns.values()].filter(
      (netns) => netns.pod !== undefined && netns.node === node,
    );
  }

  /**
   * True if the nodes themselves hold routes to each other's pods: then a missing one is a loss. In clouds that route pod
   * CIDRs in their fabric no node has any, and what leaves by the default route may well arrive.
   */
  routesOnNodes(family: 4 | 6): boolean {
    const cached = this.#routed.get(family);
    if (cached !== undefined) return cached;
    const nodes = orElse(this.snapshot.cluster.nodes, []);
    const found = this.nodeNamespaces().some((netns) => {
      const routes = orElse(family === 4 ? netns.routes : netns.routes6, []);
      const others = nodes.filter((node) => node.name !== netns.node).flatMap((node) => node.podCidrs);
      return routes.some(
        (r) => r.type === 'unicast' && r.dst.length > 0 && others.some((cidr) => overlaps(cidr, r.dst)),
      );
    });
    this.#routed.set(family, found);
    return found;
  }

  /** True if a device of the namespace has the address. */
  carries(netns: Netns, a: Address): boolean {
    return netns.devices.state === 'known' && deviceWith(netns.devices.value, a) !== undefined;
  }

  /** Devices that are ports of a bridge, in the order of the devices. */
  ports(netns: Netns, bridge: string): readonly Device[] {
    let own = this.#ports.get(netns.id);
    if (own === undefined) {
      const made = new Map<string, Device[]>();
      for (const device of this.devices(netns).values()) {
        if (device.master === undefined) continue;
        const list = made.get(device.master);
        if (list === undefined) made.set(device.master, [device]);
        else list.push(device);
      }
      own = made;
      this.#ports.set(netns.id, own);
    }
    return own.get(bridge) ?? [];
  }

  /** The other end of a veth pair, matched by both interface indexes between a node and its pods. */
  peer(port: Port): Port | undefined {
    const { netns, device } = port;
    if (device.kind !== 'veth' || device.peerIndex === undefined) return undefined;
    let farEnds = this.#farEnds.get(netns.id);
    if (farEnds === undefined) {
      farEnds = this.#findFarEnds(netns);
      this.#farEnds.set(netns.id, farEnds);
    }
    return farEnds.get(`${device.index} ${device.peerIndex}`);
  }

  #findFarEnds(netns: Netns): ReadonlyMap<string, Port> {
    const found = new Map<string, Port>();
    for (const other of this.#pairCandidates(netns)) {
      // Indexes repeat between namespaces: two NICs of different nodes may match by chance, a pod and its node not.
      if ((other.pod === undefined) === (netns.pod === undefined)) continue;
      for (const device of this.devices(other).values()) {
        if (device.kind !== 'veth' || device.peerIndex === undefined) continue;
        const nearEnd = `${device.peerIndex} ${device.index}`;
        if (!found.has(nearEnd)) found.set(nearEnd, { netns: other, device });
      }
    }
    return found;
  }

  #pairCandidates(netns: Netns): Netns[] {
    if (netns.pod !== undefined) {
      const node = this.netns(netns.node);
      return node === undefined ? [] : [node];
    }
    return this.podNamespaces(netns.node);
  }

  /** The device that a node reaches its peers by: it carries the node's own address. */
  underlay(netns: Netns): Device | undefined {
    const own = this.node(netns.node)?.internalAddresses ?? [];
    for (const device of this.devices(netns).values()) {
      if (device.addresses.some((a) => own.some((o) => sameAddress(o, a.address)))) return device;
    }
    return undefined;
  }
}

/** A device that leads out of what the snapshot shows: a NIC, several as one, or a veth whose other end is the host's. */
export const isNic = (device: Device): boolean =>
  device.kind === 'ether' || device.kind === 'veth' || device.kind === 'bond';

export const podNetnsId = (node: string, namespace: string, name: string): string =>
  `${node}/${namespace}_${name}`;
