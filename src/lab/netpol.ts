/**
 * NetworkPolicy v1 as iptables rules and ipsets for one node's pods. The shape (chains, marks, common rules) is that of
 * kube-router's controller, so that recorded clusters and labs look alike; where that controller departs from the API
 * (one chain for both directions, one set for several ipBlocks) this one does what the API says. Pure.
 *
 * As kube-router does, and the API leaves open: ICMP echo and errors always pass; a pod that reaches itself through a
 * Service passes if either direction admits it.
 */
import type { Namespace, NetworkPolicy, Pod } from '../model/cluster.ts';
import type { Family } from '../net/address.ts';
import { formatPrefix, type Prefix } from '../net/prefix.ts';
import type { RestoreText } from './kubeproxy.ts';
import { chainHash } from './kubeproxy-names.ts';
import { type Direction, PolicyRules, renderRules } from './netpol-rules.ts';
import { PolicySets } from './netpol-sets.ts';
import { PolicyWorld, podAddress } from './netpol-world.ts';

export interface PolicyObjects {
  readonly pods: readonly Pod[];
  readonly namespaces: readonly Namespace[];
  readonly networkPolicies: readonly NetworkPolicy[];
}

export interface PolicyOptions {
  readonly node: string;
  readonly families: readonly Family[];
  readonly serviceCidrs: readonly Prefix[];
}

export interface PolicyText extends RestoreText {
  /** For `ipset restore`, before the rules. */
  readonly ipset: string;
}

/** The chains that a sync may remove, because each belongs to one pod or policy. */
export const policyOwnsChain = (chain: string): boolean => /^KUBE-(POD-FW|NWPLCY)-/.test(chain);
export const policyOwnsSet = (set: string): boolean => /^(inet6:)?KUBE-(SRC|DST)-/.test(set);

export function renderPolicies(objects: PolicyObjects, options: PolicyOptions): PolicyText {
  const world = new PolicyWorld(objects);
  const sets = new PolicySets();
  const v4 = renderFamily(world, options, 4, sets);
  if (!options.families.includes(6)) return { ipset: sets.text(), v4 };
  const v6 = renderFamily(world, options, 6, sets);
  return { ipset: sets.text(), v4, v6 };
}

function renderFamily(world: PolicyWorld, options: PolicyOptions, family: Family, sets: PolicySets): string {
  const rules = new PolicyRules();
  hookRules(rules, options, family);
  commonRules(rules, family);
  const chains = policyChains(world, family, sets, rules);
  for (const pod of world.pods.filter((candidate) => candidate.node === options.node)) {
    const address = podAddress(pod, family);
    if (address !== undefined)
      podRules(rules, pod, `${address}/${family === 4 ? 32 : 128}`, chains, world, family);
  }
  for (const hook of ['FORWARD', 'INPUT', 'OUTPUT']) tailRules(rules, `KUBE-ROUTER-${hook}`);
  return rules.text();
}

/** The built-in chains' first rules. The hashes are the ones that kube-router puts there: it finds its rules by them. */
function hookRules(rules: PolicyRules, options: PolicyOptions, family: Family): void {
  rules.insert('INPUT', '-m comment --comment "kube-router netpol - 4IA2OSFRMVNDXBVV" -j KUBE-ROUTER-INPUT');
  rules.insert(
    'FORWARD',
    '-m comment --comment "kube-router netpol - TEMCG2JMHZYE7H7T" -j KUBE-ROUTER-FORWARD',
  );
  rules.insert(
    'OUTPUT',
    '-m comment --comment "kube-router netpol - VEAAIY32XVBHCSCY" -j KUBE-ROUTER-OUTPUT',
  );
  for (const cidr of options.serviceCidrs.filter((candidate) => candidate.family === family))
    rules.add(
      'KUBE-ROUTER-INPUT',
      `-d ${formatPrefix(cidr)} -m comment --comment "allow traffic to primary/secondary cluster IP range - SNTYMH62NUPYPSYC" -j RETURN`,
    );
  for (const [protocol, hash] of [
    ['tcp', 'LR7XO7NXDBGQJD2M'],
    ['udp', '76UCBPIZNGJNWNUZ'],
    ['sctp', 'YU47VQ3DEDE3VDG7'],
  ])
    rules.add(
      'KUBE-ROUTER-INPUT',
      `-p ${protocol} -m comment --comment "allow LOCAL ${protocol?.toUpperCase()} traffic to node ports - ${hash}" -m addrtype --dst-type LOCAL -m multiport --dports 30000:32767 -j RETURN`,
    );
}

function tailRules(rules: PolicyRules, chain: string): void {
  rules.add(
    chain,
    '-m comment --comment "rule to explicitly handle traffic for network policies ACCEPT/REJECT decision" -j KUBE-NWPLCY-TAIL',
  );
  rules.add(
    chain,
    '-m comment --comment "rule to explicitly ACCEPT traffic that comply to network policies" -m mark --mark 0x20000/0x20000 -j ACCEPT',
  );
}

/** ICMPv6 types that a pod needs whatever its policies say: errors, echo, and neighbour discovery, which crosses the bridge hook. */
const icmp6Types = [1, 2, 3, 4, 128, 129, 133, 134, 135, 136] as const;

function commonRules(rules: PolicyRules, family: Family): void {
  const common = 'KUBE-NWPLCY-COMMON';
  rules.add(
    common,
    '-m comment --comment "\\"rule to drop invalid state for pod\\"" -m conntrack --ctstate INVALID -j DROP',
  );
  rules.add(
    common,
    '-m comment --comment "\\"rule for stateful firewall for pod\\"" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  );
  const icmp4: [number, string][] = [
    [8, 'echo requests'],
    [3, 'destination unreachable messages'],
    [11, 'time exceeded messages'],
  ];
  if (family === 4)
    for (const [type, what] of icmp4)
      rules.add(
        common,
        `-p icmp -m comment --comment "allow icmp ${what}" -m icmp --icmp-type ${type} -j ACCEPT`,
      );
  else
    for (const type of icmp6Types)
      rules.add(
        common,
        `-p ipv6-icmp -m comment --comment "allow icmpv6 type ${type}" -m icmp6 --icmpv6-type ${type} -j ACCEPT`,
      );
  rules.add(
    'KUBE-NWPLCY-DEFAULT',
    '-m comment --comment "rule to mark traffic matching a network policy" -j MARK --set-xmark 0x10000/0x10000',
  );
  rules.add(
    'KUBE-NWPLCY-TAIL',
    '-m comment --comment "accept netpol-ok" -m mark --mark 0x20000/0x20000 -j ACCEPT',
  );
}

/** Chain of a policy in one direction. A chain for each: rules of one must not admit the other's packets. */
type PolicyChains = ReadonlyMap<NetworkPolicy, Partial<Record<Direction, string>>>;

function policyChains(
  world: PolicyWorld,
  family: Family,
  sets: PolicySets,
  rules: PolicyRules,
): PolicyChains {
  const chains = new Map<NetworkPolicy, Partial<Record<Direction, string>>>();
  for (const policy of world.policies) {
    const own: Partial<Record<Direction, string>> = {};
    for (const direction of ['ingress', 'egress'] as const) {
      if (policy[direction] === undefined) continue;
      const chain = `KUBE-NWPLCY-${chainHash(`${policy.namespace}/${policy.name} ${direction}`)}`;
      own[direction] = chain;
      renderRules({ world, sets, rules, family, policy, direction, chain });
    }
    chains.set(policy, own);
  }
  return chains;
}

function podRules(
  rules: PolicyRules,
  pod: Pod,
  host: string,
  chains: PolicyChains,
  world: PolicyWorld,
  family: Family,
): void {
  const name = `${pod.namespace}/${pod.name}`;
  const chain = `KUBE-POD-FW-${chainHash(name)}`;
  for (const [flag, way] of [
    ['-d', 'in'],
    ['-s', 'out'],
  ]) {
    const jump = `-m comment --comment "${name} ${way}" -j ${chain}`;
    rules.add('KUBE-ROUTER-FORWARD', `${flag} ${host} ${jump}`);
    // Between two pods of one bridge the packet is bridged, not routed; br_netfilter brings it here all the same.
    rules.add('KUBE-ROUTER-FORWARD', `${flag} ${host} -m physdev --physdev-is-bridged ${jump}`);
    if (way === 'out') rules.add('KUBE-ROUTER-INPUT', `${flag} ${host} ${jump}`);
    rules.add('KUBE-ROUTER-OUTPUT', `${flag} ${host} ${jump}`);
  }
  rules.add(chain, '-m comment --comment "common netpol rules" -j KUBE-NWPLCY-COMMON');
  rules.add(
    chain,
    `-d ${host} -m comment --comment "from local node" -m addrtype --src-type LOCAL -j ACCEPT`,
  );
  for (const [direction, flag] of [
    ['egress', '-s'],
    ['ingress', '-d'],
  ] as const) {
    const isolating = world.isolating(pod, direction);
    if (isolating.length === 0)
      rules.add(chain, `${flag} ${host} -m comment --comment "default ${direction}" -j KUBE-NWPLCY-DEFAULT`);
    for (const policy of isolating) {
      const target = chains.get(policy)?.[direction];
      if (target !== undefined)
        rules.add(
          chain,
          `${flag} ${host} -m comment --comment "${policy.namespace}/${policy.name} policy" -j ${target}`,
        );
    }
  }
  const denied = `-m mark ! --mark 0x10000/0x10000`;
  rules.add(
    chain,
    `-m comment --comment "${name} log-drop" ${denied} -m limit --limit 10/min --limit-burst 10 -j NFLOG --nflog-group 100`,
  );
  rules.add(
    chain,
    `-m comment --comment "${name} reject" ${denied} -j REJECT --reject-with ${family === 4 ? 'icmp-port-unreachable' : 'icmp6-port-unreachable'}`,
  );
  // Cleared for the next pod's chain: with both pods on this node the packet must be admitted twice.
  rules.add(chain, '-j MARK --set-xmark 0x0/0x10000');
  rules.add(chain, '-m comment --comment "set netpol-ok mark" -j MARK --set-xmark 0x20000/0x20000');
}
