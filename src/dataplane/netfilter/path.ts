/** The rules that a packet matched at a hook: recorded where somebody asks for them, and told to people. */
import type { Rule, Target } from '../../model/netfilter.ts';
import type { RuleVisit } from '../../model/verdict.ts';
import { formatAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import type { Site, Visit } from './context.ts';
import { formatSubject } from './owner.ts';
import type { Run, State } from './state.ts';
import { policyCounter, subjectOf } from './steps.ts';

/** The state with one more rule that matched; unchanged where nobody asks. */
export function visit(
  run: Run,
  site: Site,
  state: State,
  rule: Visit['rule'],
  verdict: Visit['verdict'],
  to?: string,
  packet = state.packet,
): State {
  if (run.context.record === undefined) return state;
  const { tracking, path: before } = state;
  const path: Visit = {
    site,
    verdict,
    packet,
    tracking,
    ...(rule === undefined ? {} : { rule }),
    ...(to === undefined ? {} : { to }),
    ...(before === undefined ? {} : { before }),
  };
  return { ...state, path };
}

/** The packet has come to the end of the base chain. */
export const visitedPolicy = (run: Run, site: Site, state: State, verdict: 'accept' | 'drop'): State =>
  visit(run, site, state, undefined, verdict);

/** A rule of iptables that matched. */
export const visited = (run: Run, site: Site, state: State, rule: Rule, target: Target): State =>
  visit(
    run,
    site,
    state,
    rule,
    verdictOf(target),
    target.kind === 'jump' || target.kind === 'goto' ? target.chain : undefined,
  );

/** What the kernel calls it: translation ends its chain as ACCEPT does, marks let the packet go on. */
function verdictOf(target: Target): Visit['verdict'] {
  switch (target.kind) {
    case 'accept':
    case 'drop':
    case 'reject':
    case 'return':
    case 'jump':
    case 'goto':
      return target.kind;
    case 'dnat':
    case 'snat':
    case 'masquerade':
    case 'netmap':
    case 'redirect':
      return 'accept';
    case 'unknown':
      return 'unknown';
    default:
      return 'continue';
  }
}

/** In the packet's order. `after` is the packet as it left the hook. */
export function visitsOf(last: Visit | undefined, after: Packet): readonly RuleVisit[] {
  const visits: RuleVisit[] = [];
  let next = after;
  for (let at = last; at !== undefined; at = at.before) {
    visits.push(visitOf(at, next));
    next = at.packet;
  }
  return visits.reverse();
}

function visitOf({ site, rule, verdict, to, packet }: Visit, after: Packet): RuleVisit {
  const { base, frame } = site;
  const subject = rule === undefined ? undefined : subjectOf(site, rule);
  const effect = changes(packet, after);
  const counted = rule === undefined ? policyCounter(site) : rule.counters?.packets;
  return {
    hook: base.hook,
    backend: base.backend,
    table: base.table.name,
    chains: rule === undefined ? [base.chain.name] : frame.path,
    verdict,
    ...(to === undefined ? {} : { to }),
    ...(rule === undefined ? { policy: true } : {}),
    ...(rule?.handle === undefined ? {} : { handle: rule.handle }),
    ...(subject === undefined ? {} : { about: formatSubject(subject) }),
    ...(effect === '' ? {} : { effect }),
    ...(counted === undefined ? {} : { packets: counted }),
    source: rule?.source ?? base.chain.source,
  };
}

const hex = (value: number): string => `0x${value.toString(16)}`;

const end = (packet: Packet, side: 'src' | 'dst'): string => {
  const port = side === 'src' ? packet.srcPort : packet.dstPort;
  return `${formatAddress(packet[side])}${port === 0 ? '' : ` port ${packet.madeUp?.[side] === undefined ? port : '?'}`}`;
};

/** What is different of the packet, `mark 0x0 -> 0x4000`. */
function changes(before: Packet, after: Packet): string {
  if (before === after) return '';
  const pairs: readonly (readonly [string, string, string])[] = [
    ['mark', hex(before.mark), hex(after.mark)],
    ['src', end(before, 'src'), end(after, 'src')],
    ['dst', end(before, 'dst'), end(after, 'dst')],
    ['ttl', String(before.ttl), String(after.ttl)],
    ['tos', hex(before.tos ?? 0), hex(after.tos ?? 0)],
  ];
  return pairs
    .filter(([, from, to]) => from !== to)
    .map(([name, from, to]) => `${name} ${from} -> ${to}`)
    .join(', ');
}
