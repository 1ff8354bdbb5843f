/** What faults do to a node: rules, routes, devices, each with its way back. */
import { PodpathError } from '../../model/errors.ts';
import { exec } from '../../system/exec.ts';
import type { Lab } from '../lab.ts';
import { inNetns, must } from '../run.ts';
import type { LabNode } from '../state.ts';

/** Runs a command in a node's namespace; its output. Throws PodpathError if it fails. */
export const onNode = async (node: LabNode, ...argv: string[]): Promise<string> =>
  (await must(inNetns(node.netns, argv))).stdout;

/** A command line with `words` as iproute2 prints them. */
export const words = (line: string): string[] => line.split(' ').filter((word) => word !== '');

/** The IPv4 tunnel device and its UDP port. */
export function tunnelOf(lab: Lab): { readonly device: string; readonly udpPort: number } {
  return lab.state.cni.startsWith('calico')
    ? { device: 'vxlan.calico', udpPort: 4789 }
    : { device: 'flannel.1', udpPort: 8472 };
}

/** The node's IPv4 pod prefix and underlay address. */
export function ipv4Of(node: LabNode): { readonly podCidr: string; readonly address: string } {
  return { podCidr: node.podCidrs[0] ?? '', address: node.addresses[0] ?? '' };
}

/** An iptables rule without -A or -I: `['FORWARD', '-p', 'tcp', ...]`, filter table. */
export type Rule = readonly [chain: string, ...match: string[]];

const iptables = (...args: string[]): string[] => ['iptables', '-w', '5', ...args];

const hasRule = async (node: LabNode, rule: Rule): Promise<boolean> =>
  (await exec(inNetns(node.netns, iptables('-C', ...rule)))).code === 0;

/** Puts the rule at a place of its chain (1 is first) unless it is there. */
export async function insertRule(node: LabNode, [chain, ...match]: Rule, place = 1): Promise<void> {
  if (!(await hasRule(node, [chain, ...match])))
    await onNode(node, ...iptables('-I', chain, `${place}`, ...match));
}

export async function removeRule(node: LabNode, rule: Rule): Promise<void> {
  if (await hasRule(node, rule)) await onNode(node, ...iptables('-D', ...rule));
}

/** The main table's route to exactly this prefix, as `ip route replace` takes it. Throws PodpathError if there is none. */
export async function routeTo(node: LabNode, cidr: string): Promise<string> {
  const text = (await onNode(node, 'ip', '-4', 'route', 'show', 'exact', cidr)).trim();
  if (text !== '' && !text.includes('\n')) return text;
  throw new PodpathError({
    code: 'lab/unexpected-state',
    what: `${node.name} has no single route to ${cidr}`,
    why: text === '' ? 'the lab is broken already' : text,
    todo: 'heal the other faults first: podpath lab heal',
  });
}

/** Sets or adds a route given as iproute2 prints it. */
export const setRoute = (node: LabNode, route: string): Promise<string> =>
  onNode(node, 'ip', '-4', 'route', 'replace', ...words(route));

/** Where the node's tunnel device sends frames for the peer: the MAC under which it knows the peer's VTEP. */
export async function peerMac(node: LabNode, device: string, peer: LabNode): Promise<string> {
  const entries = JSON.parse(await onNode(node, 'bridge', '-j', 'fdb', 'show', 'dev', device)) as FdbJson[];
  const entry = entries.find(({ dst }) => dst === ipv4Of(peer).address);
  if (entry !== undefined) return entry.mac;
  throw new PodpathError({
    code: 'lab/unexpected-state',
    what: `${node.name} has no forwarding entry for ${peer.name} on ${device}`,
    why: 'the lab is broken already',
    todo: 'heal the other faults first: podpath lab heal',
  });
}

export interface FdbJson {
  readonly mac: string;
  readonly dst?: string;
  readonly state?: string;
}

export const setFdb = (node: LabNode, device: string, mac: string, remote: string): Promise<string> =>
  onNode(node, 'bridge', 'fdb', 'replace', mac, 'dev', device, 'dst', remote, 'self', 'permanent');
