/** How Cilium is set up, as far as devices and the ConfigMap cilium-config show it, and which of its maps were dumped. */
import { orElse } from '../../model/known.ts';
import type { Device, Netns } from '../../model/netns.ts';
import { type Cursor, cannotTell, type Stage } from '../cursor.ts';
import { findDevice } from '../routing-tables.ts';
import type { World } from '../world.ts';

/** A node whose pods' packets Cilium's programs handle. */
export const runsCilium = (netns: Netns): boolean =>
  netns.pod === undefined &&
  netns.devices.state === 'known' &&
  findDevice(netns.devices.value, 'cilium_host') !== undefined;

/** The node's end of a pod's cable. */
export const isPodDevice = (name: string): boolean => /^lxc/.test(name);

function setting(world: World, key: string): string | undefined {
  const maps = orElse(world.snapshot.cluster.configMaps, []);
  return maps.find(({ name }) => name === 'cilium-config')?.data[key];
}

export interface CiliumTunnel {
  readonly device: Device;
  readonly kind: 'vxlan' | 'geneve';
  readonly port: number;
}

/** The tunnel between nodes; undefined for native routing, where the device is not there either. */
export function tunnelOf(world: World, netns: Netns): CiliumTunnel | undefined {
  if (setting(world, 'routing-mode') === 'native') return undefined;
  const device = orElse(netns.devices, []).find(({ name }) => /^cilium_(vxlan|geneve)$/.test(name));
  if (device === undefined) return undefined;
  const kind = device.name === 'cilium_vxlan' ? 'vxlan' : 'geneve';
  const configured = Number(setting(world, 'tunnel-port') ?? '0');
  return { device, kind, port: configured > 0 ? configured : kind === 'vxlan' ? 8472 : 6081 };
}

/** kube-proxy's replacement, and with it translation of Services when a socket connects (bpf_sock.c). */
export function translatesAtSockets(world: World): boolean | 'unknown' {
  const replacement = setting(world, 'kube-proxy-replacement');
  if (setting(world, 'bpf-lb-sock') === 'true') return true;
  if (replacement === undefined) return 'unknown';
  return replacement === 'true' || replacement === 'strict';
}

/**
 * Whether packets of pods go past the node's netfilter rules (BPF host routing). It needs kube-proxy's replacement and eBPF
 * masquerading, and can be switched off.
 */
export function bypassesStack(world: World): boolean | 'unknown' {
  if (setting(world, 'enable-host-legacy-routing') === 'true') return false;
  const replacement = setting(world, 'kube-proxy-replacement');
  if (replacement === undefined) return 'unknown';
  if (replacement !== 'true' && replacement !== 'strict') return false;
  const masquerades = setting(world, 'enable-ipv4-masquerade') !== 'false';
  return !masquerades || setting(world, 'enable-bpf-masquerade') === 'true';
}

/** Per-endpoint routes: packets between pods of one node go through the node's stack too. */
export const hasEndpointRoutes = (world: World): boolean =>
  setting(world, 'enable-endpoint-routes') === 'true';

/** A map that decides was not dumped; the gap names the command and the file. */
export function notDumped(
  cursor: Cursor,
  kind: 'nat' | 'policy' | 'route',
  what: string,
  command: string,
  file: string,
  why: string,
): Stage {
  const { id } = cursor.netns;
  return cannotTell(cursor, kind, `${what} on ${id} is not known: ${why}`, {
    facts: {
      what: `${what} on ${id}`,
      todo: `run \`${command}\` in the Cilium agent of ${cursor.netns.node} and keep its output as nodes/${cursor.netns.node}/${file}`,
    },
  });
}
