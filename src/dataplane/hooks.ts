/** Netfilter on the walk: runs hooks one after the other and turns their outcomes into cursors and ends. */
import type { HookName } from '../model/netfilter.ts';
import { formatSource } from '../model/source.ts';
import type { Reason } from '../model/verdict.ts';
import type { Address } from '../net/address.ts';
import { addSteps, type Cursor, copyOf, doubt, lose, remark, type Stage, step, unsure } from './cursor.ts';
import { ipvsAnswer } from './ipvs-answer.ts';
import type { Decisive, HookOutcome, RuleView } from './netfilter/context.ts';
import { traverseBridgeHook, traverseHook } from './netfilter/evaluate.ts';
import { leadsToNoEndpoints, ownerOf } from './netfilter/owner.ts';
import { visitsOf } from './netfilter/path.ts';

export interface HookDevices {
  readonly inDevice?: string;
  readonly outDevice?: string;
  readonly physIn?: string;
  readonly physOut?: string;
  /** Gateway of the route taken, for MASQUERADE. */
  readonly nextHop?: Address;
  /** Only what stands at these priorities: IPVS stands in the middle of a hook. */
  readonly window?: { readonly from?: number; readonly to?: number };
  /** The hooks of the bridge family: the devices are ports. */
  readonly atBridge?: true;
  /** The packet comes to OUTPUT with its connection. */
  readonly keepsTracking?: true;
}

/** Every way the packet can come out of the hooks: a cursor where it was accepted, an end where it was lost. */
export function runHooks(
  cursor: Cursor,
  hooks: readonly HookName[],
  devices: HookDevices,
): readonly (Cursor | Stage)[] {
  const [hook, ...rest] = hooks;
  if (hook === undefined) return [cursor];
  const results = runHook(cursor, hook, devices);
  if (rest.length === 0) return results;
  return results.flatMap((result) => ('at' in result ? [result] : runHooks(result, rest, devices)));
}

function runHook(cursor: Cursor, hook: HookName, devices: HookDevices): readonly (Cursor | Stage)[] {
  const { netns, packet, connections } = cursor;
  if (netns.rulesets.state === 'unknown') {
    return [
      doubt(cursor, 'filter', `rules of ${netns.id} are not known: ${netns.rulesets.why}`, {
        facts: { what: `packet filter rules of ${netns.id}` },
      }),
    ];
  }
  const { inDevice, outDevice, physIn, physOut, nextHop, window, keepsTracking } = devices;
  const outcomes = (devices.atBridge === true ? traverseBridgeHook : traverseHook)({
    netns,
    hook,
    packet,
    connections,
    record: cursor.explain,
    inDevice,
    outDevice,
    physIn,
    physOut,
    nextHop,
    window,
    keepsTracking,
  });
  const [only] = outcomes;
  const results =
    only !== undefined && outcomes.length === 1
      ? resolve(cursor, hook, only)
      : outcomes.flatMap((outcome) => resolve(cursor, hook, outcome));
  if (hook !== 'forward' || connections.balanced === undefined) return results;
  // NF_IP_PRI_NAT_SRC at FORWARD: behind every filter chain, on bridges too (br_nf_forward_ip).
  return results.map((result) => ('at' in result ? result : (ipvsAnswer(result) ?? result)));
}

function resolve(cursor: Cursor, hook: HookName, outcome: HookOutcome): readonly (Cursor | Stage)[] {
  switch (outcome.verdict) {
    case 'accept':
      return accepted(cursor, hook, outcome);
    case 'drop':
    case 'reject':
      return [refused(cursor, hook, outcome)];
    case 'unknown':
      return undecided(cursor, hook, outcome);
  }
}

/** With the rules that matched at the hook. */
const visited = (cursor: Cursor, { path, packet }: HookOutcome): Cursor =>
  path === undefined ? cursor : { ...cursor, rules: [...(cursor.rules ?? []), ...visitsOf(path, packet)] };

/** kube-proxy's endpoint chain notes the client where it translates the destination: `recent --set`. */
const keepsClients = /-m recent (--set --name KUBE-SEP-|--name KUBE-SEP-\S+ --set)/;

const affinityText = 'the Service has session affinity: a client that was there before keeps its endpoint';

function withAffinity(cursor: Cursor, { steps }: HookOutcome): Cursor {
  if (steps.length === 0) return cursor;
  const by = steps.find(({ kind, sources }) => {
    const source = kind === 'nat' ? sources?.[0] : undefined;
    return source?.kind === 'file' && keepsClients.test(source.text);
  });
  if (by === undefined) return cursor;
  return remark(cursor, step('nat', 'pass', affinityText, { sources: by.sources ?? [] }));
}

function taken(cursor: Cursor, outcome: HookOutcome): Cursor {
  const { packet, connections, routeMark } = outcome;
  const share = cursor.share * outcome.share;
  const next = copyOf(withAffinity(addSteps(visited(cursor, outcome), outcome.steps), outcome));
  next.packet = packet;
  next.connections = connections;
  next.share = share;
  if (routeMark !== undefined) next.routeMark = routeMark;
  return next;
}

function accepted(cursor: Cursor, hook: HookName, outcome: HookOutcome): readonly (Cursor | Stage)[] {
  const next = taken(cursor, outcome);
  const where = next.netns.id;
  if (outcome.unseenTables.state === 'unknown') {
    const text = `whether ${where} has other rules at ${hook} is not known: ${outcome.unseenTables.why}`;
    return [doubt(next, 'filter', text, { facts: { what: `packet filter rules of ${where}` } })];
  }
  if (outcome.unseenTables.value.length === 0) return [next];
  const seen = outcome.unseenTables.value.reduce((at, table) => {
    const text = `the nftables table "${table}" of ${where} has rules at ${hook} that are not evaluated; compare with: nft list ruleset`;
    return doubt(at, 'filter', text, { facts: { what: `nftables table "${table}" of ${where}` } });
  }, next);
  return [seen];
}

function refused(cursor: Cursor, hook: HookName, outcome: HookOutcome): Stage {
  const { decisive } = outcome;
  const verb = outcome.verdict === 'reject' ? 'rejected' : 'dropped';
  const facts = {
    hook,
    verdict: outcome.verdict,
    ...(decisive === undefined ? {} : decisiveFacts(decisive)),
    ...(outcome.rejectWith === undefined ? {} : { rejectWith: outcome.rejectWith }),
  };
  const source = decisive?.rule?.source;
  const text =
    decisive === undefined
      ? `${verb} at ${hook}`
      : decisive.policy === true
        ? `${verb} by the policy of ${decisive.table} ${decisive.chainStack[0]}`
        : `${verb} by ${decisive.table} ${decisive.chainStack.at(-1)}: ${decisive.rule === undefined ? '' : ruleText(decisive.rule)}`;
  const nearest = (cursor.explain === true ? outcome.nearest?.() : undefined) ?? [];
  // The steps of the outcome end with the decisive one; here it is said once, with its facts.
  const before = outcome.steps.filter((s) => s.action !== 'lost');
  return lose(
    // What it did to a connection that is in the table stays done.
    {
      ...addSteps(visited(cursor, outcome), before),
      packet: outcome.packet,
      share: cursor.share * outcome.share,
      connections: outcome.connections,
      ...(outcome.routeMark === undefined ? {} : { routeMark: outcome.routeMark }),
    },
    'filter',
    reasonOf(outcome),
    text,
    {
      facts,
      ...(source === undefined ? {} : { sources: [source] }),
      ...(nearest.length === 0 ? {} : { nearest }),
    },
  );
}

/** The rule without the counters that a save with -c puts in front. */
const ruleText = (rule: RuleView): string =>
  (rule.source.kind === 'file' ? rule.source.text : formatSource(rule.source)).replace(/^\[\d+:\d+\] /, '');

/** The innermost chain with a known writer: an agent's rule in a chain of its own, or one it put into a built-in chain. */
function ownerOfStack({ chainStack: stack, rule, table }: Decisive): string {
  const own = ownerOf(stack.at(-1) ?? '', rule, table);
  return own === 'foreign'
    ? (stack.map((chain) => ownerOf(chain)).findLast((o) => o !== 'foreign' && o !== 'built-in') ?? own)
    : own;
}

/** Of a policy that never counted the zero says nothing: a save without -c prints it too. */
function countedFacts({ rule, policy, policyPackets }: Decisive): { packets?: string } {
  const packets = policy === true ? policyPackets || undefined : rule?.counters?.packets;
  return packets === undefined ? {} : { packets: String(packets) };
}

function decisiveFacts(decisive: Decisive): Record<string, string> {
  const { rule } = decisive;
  return {
    table: decisive.table,
    chain: decisive.chainStack.at(-1) ?? '',
    chains: decisive.chainStack.join(' > '),
    baseChain: decisive.chainStack[0] ?? '',
    owner: ownerOfStack(decisive),
    backend: decisive.backend,
    file: decisive.file,
    ...countedFacts(decisive),
    ...(rule === undefined ? {} : { rule: ruleText(rule) }),
    ...(rule?.comment === undefined ? {} : { comment: rule.comment }),
  };
}

function reasonOf(outcome: HookOutcome): Reason {
  const { decisive } = outcome;
  if (decisive?.policy === true) return 'chain-policy-drop';
  if (leadsToNoEndpoints(decisive?.rule?.comment, decisive?.maps)) return 'no-endpoints';
  return outcome.verdict === 'reject' ? 'rule-reject' : 'rule-drop';
}

/** Some rule could not be decided. If no reading lets the packet pass it is lost; else it goes on in doubt. */
function undecided(cursor: Cursor, hook: HookName, outcome: HookOutcome): readonly (Cursor | Stage)[] {
  const alternatives = outcome.alternatives ?? [];
  const open = alternatives.filter((a) => a.verdict === 'accept');
  const first = alternatives[0];
  if (open.length === 0 && first !== undefined && first.verdict !== 'unknown')
    return [refused(cursor, hook, first)];
  const why = outcome.unknownWhy ?? 'a rule is not understood';
  const noted = doubt(
    cursor,
    'filter',
    `whether ${cursor.netns.id} lets it pass at ${hook} cannot be told: ${why}`,
    {
      facts: { what: `a rule at ${hook} of ${cursor.netns.id}` },
      ...(outcome.unknownBecause === undefined ? {} : { sources: outcome.unknownBecause }),
    },
  );
  const survivor = open[0];
  return survivor === undefined
    ? [{ ...noted, packet: outcome.packet, connections: outcome.connections }]
    : // Equal outcomes are one: several differ in their packets or connections.
      accepted(open.length < 2 ? noted : unsure(noted), hook, { ...survivor, share: outcome.share });
}
