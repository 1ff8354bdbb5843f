/** The policy map of an endpoint: asked of first packets where they leave their pod and where they come to one. */
import { formatAddress } from '../../net/address.ts';
import { type Cursor, cannotTell, doubt, lose, pass, type Stage } from '../cursor.ts';
import { ipcacheAt, policyVerdict, worldIdentity } from './maps.ts';
import { notDumped } from './setup.ts';

/** Security identity of an address; undefined without the ipcache. What it does not hold is the world. */
export function identityOf({ netns }: Cursor, address: Parameters<typeof ipcacheAt>[1]): number | undefined {
  const cache = netns.ciliumIpcache;
  return cache.state === 'unknown' ? undefined : (ipcacheAt(cache.value, address)?.identity ?? worldIdentity);
}

/** policy_can_egress() and policy_can_ingress(). `identity` is the other side's. */
export function enforce(
  cursor: Cursor,
  endpoint: number,
  direction: 'ingress' | 'egress',
  identity: number | undefined,
): Cursor | Stage {
  const { netns, packet } = cursor;
  const policies = netns.ciliumPolicies;
  const what = `the policy map of endpoint ${endpoint}`;
  const unseen = (why: string): Stage =>
    notDumped(cursor, 'policy', what, 'cilium-dbg bpf policy get --all -n', 'cilium-bpf-policy.txt', why);
  if (policies.state === 'unknown') return unseen(policies.why);
  const entries = policies.value.get(endpoint);
  // Without enforcement some versions leave the map empty and compile the lookup out.
  if (entries === undefined || entries.length === 0)
    return unseen(entries === undefined ? 'the dump has no such endpoint' : 'it is empty');
  const verdict = policyVerdict(entries, { direction, identity, packet });
  const peer = `identity ${identity ?? '?'} (${formatAddress(direction === 'egress' ? packet.dst : packet.src)})`;
  const about = `${direction} of endpoint ${endpoint}, ${peer}, ${packet.protocol}/${packet.dstPort}`;
  switch (verdict.state) {
    case 'none':
    case 'deny': {
      const sources = verdict.state === 'deny' ? [verdict.entry.source] : [];
      const how = verdict.state === 'deny' ? 'Policy denied by denylist' : 'Policy denied';
      const facts = { owner: 'cilium', direction, endpoint: String(endpoint), identity: String(identity) };
      const reason = direction === 'ingress' ? 'policy-ingress' : 'policy-egress';
      return lose(cursor, 'policy', reason, `${how}: ${about}`, { facts, sources });
    }
    case 'unknown': {
      const sources = verdict.entry === undefined ? [] : [verdict.entry.source];
      return cannotTell(cursor, 'policy', `whether ${what} allows it cannot be told: ${verdict.why}`, {
        facts: {
          what: `${what} on ${netns.id}`,
          todo: 'run `cilium-dbg bpf policy get --all -n` and `cilium-dbg bpf ipcache list` in the Cilium agent',
        },
        sources,
      });
    }
    case 'allow': {
      const { entry } = verdict;
      const allowed = pass(cursor, 'policy', `allowed: ${about}`, { sources: [entry.source] });
      if (entry.auth !== 'disabled')
        return doubt(allowed, 'policy', `the policy asks for authentication (${entry.auth})`, {
          facts: { what: `the authentication map of ${netns.id} (cilium-dbg bpf auth list)` },
          sources: [entry.source],
        });
      if (entry.proxyPort === undefined) return allowed;
      return doubt(allowed, 'policy', `the L7 proxy on port ${entry.proxyPort} decides`, {
        facts: { what: `the L7 rules for endpoint ${endpoint} of ${netns.id}` },
        sources: [entry.source],
      });
    }
  }
}
