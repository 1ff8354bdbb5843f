/** The rules of one policy in one direction: a chain that marks (0x10000) and returns what a rule admits. */
import type { NetworkPolicy, Pod, PolicyPort, PolicyRule } from '../model/cluster.ts';
import type { Family } from '../net/address.ts';
import type { PolicySets } from './netpol-sets.ts';
import { namedPorts, type PolicyWorld, podAddress } from './netpol-world.ts';

export type Direction = 'ingress' | 'egress';

/** Chains and rules of the filter table, in order. */
export class PolicyRules {
  readonly #chains = new Set<string>();
  readonly #rules: string[] = [];
  declare(chain: string): void {
    this.#chains.add(chain);
  }
  add(chain: string, rule: string): void {
    this.declare(chain);
    this.#rules.push(`-A ${chain} ${rule}`);
  }
  /** Puts a rule in front of a built-in chain's others. */
  insert(builtin: string, rule: string): void {
    this.#rules.push(`-I ${builtin} 1 ${rule}`);
  }
  text(): string {
    return [
      '*filter',
      ...[...this.#chains].map((chain) => `:${chain} - [0:0]`),
      ...this.#rules,
      'COMMIT',
      '',
    ].join('\n');
  }
}

interface Context {
  readonly world: PolicyWorld;
  readonly sets: PolicySets;
  readonly rules: PolicyRules;
  readonly family: Family;
  readonly policy: NetworkPolicy;
  readonly direction: Direction;
  readonly chain: string;
}

/** Who may be at the far end: anyone (no match), some pods, or a block of addresses. */
type Peer =
  | { readonly kind: 'any' }
  | { readonly kind: 'pods'; readonly pods: readonly Pod[] }
  | { readonly kind: 'block'; readonly set: string };

export function renderRules(context: Context): void {
  const { rules, world, policy, direction, chain } = context;
  rules.declare(chain);
  const subjects = world.pods.filter((pod) => world.isSubject(pod, policy));
  for (const [index, rule] of (policy[direction] ?? []).entries())
    for (const [number, peer] of peers(context, rule, index).entries())
      for (const port of rule.ports ?? [undefined])
        renderRule(context, { what: `${index} ${number}`, subjects, peer, port });
}

/** Pod peers of a rule are ORed, so they share one set; each block has its own. */
function peers(context: Context, rule: PolicyRule, index: number): Peer[] {
  const { world, policy, family, sets, direction } = context;
  if (rule.peers === undefined) return [{ kind: 'any' }];
  const selecting = rule.peers.filter((peer) => peer.kind === 'pods');
  const found: Peer[] = [];
  if (selecting.length > 0)
    found.push({
      kind: 'pods',
      pods: world.pods.filter((pod) => selecting.some((peer) => world.isPeer(pod, peer, policy))),
    });
  for (const [number, peer] of rule.peers.entries()) {
    if (peer.kind !== 'ip-block' || peer.cidr.family !== family) continue;
    const side = direction === 'ingress' ? 'src' : 'dst';
    const what = `${label(context)} ${index} block ${number}`;
    found.push({ kind: 'block', set: sets.block(side, what, peer.cidr, peer.except) });
  }
  return found;
}

const label = ({ policy, direction }: Context): string => `${policy.namespace}/${policy.name} ${direction}`;

interface Case {
  /** Tells this rule and peer from the policy's others, in set names. */
  readonly what: string;
  readonly subjects: readonly Pod[];
  readonly peer: Peer;
  readonly port: PolicyPort | undefined;
}

function renderRule(context: Context, { what, subjects, peer, port }: Case): void {
  const ingress = context.direction === 'ingress';
  if (port === undefined || typeof port.port !== 'string') {
    const near = podSet(context, ingress ? 'dst' : 'src', 'subjects', subjects);
    emit(context, peerComment(peer), near, farMatch(context, what, peer), portMatch(port));
    return;
  }
  // A named port means what the destination pod calls so: each number gets the pods that use it. Blocks have no names.
  if (!ingress && peer.kind === 'block') return;
  const destinations = ingress ? subjects : peer.kind === 'pods' ? peer.pods : context.world.pods;
  const numbers = new Map<number, Pod[]>();
  for (const pod of destinations)
    for (const number of new Set(namedPorts(pod, port.port, port.protocol)))
      numbers.set(number, [...(numbers.get(number) ?? []), pod]);
  for (const [number, pods] of numbers) {
    const named = `${what} port ${port.port} ${port.protocol} ${number}`;
    const destination = podSet(context, 'dst', named, pods);
    const source = ingress ? farMatch(context, what, peer) : podSet(context, 'src', 'subjects', subjects);
    const match = portMatch({ protocol: port.protocol, port: number, field: port.field });
    emit(context, `${peerComment(peer)} np`, destination, source, match);
  }
}

const peerComment = (peer: Peer): string =>
  peer.kind === 'any' ? 'all' : peer.kind === 'pods' ? 'pods' : 'ipBlock';

function podSet(context: Context, side: 'src' | 'dst', what: string, pods: readonly Pod[]): string {
  const addresses = pods.flatMap((pod) => podAddress(pod, context.family) ?? []);
  const name = context.sets.hosts(side, `${label(context)} ${what}`, context.family, addresses);
  return `-m set --match-set ${name} ${side}`;
}

function farMatch(context: Context, what: string, peer: Peer): string {
  const side = context.direction === 'ingress' ? 'src' : 'dst';
  if (peer.kind === 'any') return '';
  if (peer.kind === 'pods') return podSet(context, side, `${what} peers`, peer.pods);
  return `-m set --match-set ${peer.set} ${side}`;
}

interface PortMatch {
  readonly protocol: string;
  readonly match: string;
}

function portMatch(port: PolicyPort | undefined): PortMatch | undefined {
  if (port === undefined) return undefined;
  const protocol = port.protocol.toLowerCase();
  if (port.port === undefined) return { protocol, match: '' };
  const last = port.endPort ?? port.port;
  const range = last === port.port ? `${port.port}` : `${port.port}:${last}`;
  return { protocol, match: `-m ${protocol} --dport ${range}` };
}

function emit(
  context: Context,
  comment: string,
  first: string,
  second: string,
  port: PortMatch | undefined,
): void {
  // iptables-save prints the source's set before the destination's.
  const sets = [first, second]
    .filter((part) => part !== '')
    .toSorted((a, b) => (a.endsWith(' src') ? -1 : b.endsWith(' src') ? 1 : 0));
  const parts = [
    ...(port === undefined ? [] : [`-p ${port.protocol}`]),
    `-m comment --comment "${label(context)} ${comment}"`,
    ...sets,
    ...(port === undefined || port.match === '' ? [] : [port.match]),
  ];
  const match = parts.join(' ');
  context.rules.add(context.chain, `${match} -j MARK --set-xmark 0x10000/0x10000`);
  context.rules.add(context.chain, `${match} -m mark --mark 0x10000/0x10000 -j RETURN`);
}
