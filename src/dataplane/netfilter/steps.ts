/** What the steps of a hook say to people, with the facts that the diagnosis reads. */
import { formatSource, type SourceRef } from '../../model/source.ts';
import type { Reason, Step } from '../../model/verdict.ts';
import { formatAddress } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import type { Decisive, RuleView, Site, SiteFrame } from './context.ts';
import {
  type CommentSubject,
  decodeChain,
  decodeComment,
  formatSubject,
  leadsToNoEndpoints,
  ownerOf,
} from './owner.ts';
import { type NatStep, tableOf } from './state.ts';

export function decisiveRule(place: Site, rule: RuleView): Decisive {
  const { base, frame } = place;
  const { maps } = frame;
  return {
    backend: base.backend,
    file: base.file,
    table: base.table.name,
    chainStack: frame.path,
    rule,
    ...(maps === undefined || maps.length === 0 ? {} : { maps }),
  };
}

export function decisivePolicy(place: Site): Decisive {
  const { base } = place;
  const chainStack = [base.chain.name];
  const policyPackets = policyCounter(place);
  return {
    backend: base.backend,
    file: base.file,
    table: base.table.name,
    chainStack,
    policy: true,
    ...(policyPackets === undefined ? {} : { policyPackets }),
  };
}

/** `:FORWARD DROP [12:840]`: the packets that came to the chain's end. */
export function policyCounter({ base }: Site): number | undefined {
  const { source } = base.chain;
  const count = source.kind === 'file' ? /^:\S+ \S+ \[(\d+):\d+\]/.exec(source.text)?.[1] : undefined;
  return count === undefined ? undefined : Number(count);
}

const ruleText = (rule: RuleView): string =>
  rule.source.kind === 'file' ? rule.source.text.replace(/^\[[0-9:]+\] /, '') : formatSource(rule.source);

/** What the rule is about: its own comment, else that of the rules that led to it, nearest first. */
export function subjectOf(site: Site, rule?: RuleView): CommentSubject | undefined {
  const { frame } = site;
  const table = tableOf(site);
  const own = decodeComment(rule?.comment, frame.chain.name, table);
  if (own !== undefined) return own;
  for (let at: SiteFrame | undefined = frame; at?.via !== undefined; at = at.via.frame) {
    const outer = decodeComment(at.via.rule.comment, at.via.frame.chain.name, table);
    if (outer !== undefined) return outer;
  }
  return frame.path.map(decodeChain).findLast((subject) => subject !== undefined);
}

function subjectFacts(subject: CommentSubject | undefined): Record<string, string> {
  if (subject === undefined) return {};
  const name = `${subject.namespace}/${subject.name}`;
  if (subject.kind !== 'service') return { [subject.kind]: name };
  return {
    service: name,
    servicePort: subject.port,
    ...(subject.endpoint === undefined ? {} : { endpoint: subject.endpoint }),
  };
}

const placeFacts = (place: Site): Record<string, string> => ({
  hook: place.base.hook,
  table: tableOf(place),
  chain: place.frame.chain.name,
  chains: place.frame.path.join(' > '),
  backend: place.base.backend,
});

const about = (subject: CommentSubject | undefined): string =>
  subject === undefined ? '' : ` (${formatSubject(subject)})`;

/** DROP and REJECT by a rule. */
export function refusedStep(place: Site, rule: RuleView, how: 'drop' | 'reject', rejectWith?: string): Step {
  const { frame } = place;
  const subject = subjectOf(place, rule);
  const noEndpoints = leadsToNoEndpoints(rule.comment, frame.maps);
  const reason: Reason = noEndpoints ? 'no-endpoints' : how === 'drop' ? 'rule-drop' : 'rule-reject';
  const verb = how === 'drop' ? 'dropped' : `rejected with ${rejectWith ?? 'an error'}`;
  const text = noEndpoints
    ? `${subject === undefined ? 'the Service' : formatSubject(subject)} has no endpoints: ${verb} by ${ruleText(rule)}`
    : `${verb} by ${ruleText(rule)} in ${tableOf(place)} ${frame.path.join(' > ')}${about(subject)}`;
  return {
    kind: 'filter',
    action: 'lost',
    reason,
    text,
    facts: {
      ...placeFacts(place),
      rule: ruleText(rule),
      owner: ownerOf(frame.chain.name, rule, tableOf(place)),
      ...subjectFacts(subject),
      ...(rejectWith === undefined ? {} : { rejectWith }),
    },
    sources: ruleSources(frame, rule),
  };
}

/** The rule, then the rules that led to it, nearest first. */
function ruleSources(frame: SiteFrame, rule: RuleView): readonly SourceRef[] {
  const sources: SourceRef[] = [rule.source];
  for (let at: SiteFrame | undefined = frame; at?.via !== undefined; at = at.via.frame)
    sources.push(at.via.rule.source);
  return sources;
}

export function policyDropStep(place: Site): Step {
  const chain = place.base.chain.name;
  return {
    kind: 'filter',
    action: 'lost',
    reason: 'chain-policy-drop',
    text: `dropped by the policy of ${tableOf(place)} ${chain}`,
    facts: {
      hook: place.base.hook,
      table: tableOf(place),
      chain,
      chains: chain,
      backend: place.base.backend,
      owner: 'built-in',
    },
    sources: [place.base.chain.source],
  };
}

export function acceptedStep(place: Site, rule: RuleView): Step {
  const { frame } = place;
  const subject = subjectOf(place, rule);
  return {
    kind: 'filter',
    action: 'pass',
    text: `accepted by ${ruleText(rule)} in ${tableOf(place)} ${frame.path.join(' > ')}${about(subject)}`,
    facts: {
      ...placeFacts(place),
      owner: ownerOf(frame.chain.name, rule, tableOf(place)),
      ...subjectFacts(subject),
    },
    sources: [rule.source],
  };
}

const hex = (mark: number): string => `0x${mark.toString(16)}`;

export function markStep(place: Site, rule: RuleView, what: string, before: number, after: number): Step {
  return {
    kind: 'filter',
    action: 'rewrite',
    text: `${what} ${hex(before)} -> ${hex(after)} in ${tableOf(place)} ${place.frame.path.join(' > ')}`,
    facts: placeFacts(place),
    sources: [rule.source],
  };
}

const endOf = (packet: Packet, side: 'src' | 'dst'): string => {
  const address = formatAddress(side === 'src' ? packet.src : packet.dst);
  const own = side === 'src' ? packet.srcPort : packet.dstPort;
  if (own === 0) return address;
  // The kernel makes it up.
  const port = packet.madeUp?.[side] === undefined ? own : '?';
  return packet.src.family === 6 ? `[${address}]:${port}` : `${address}:${port}`;
};

/** A rewritten side. `by` is absent where the connection's mapping did it, not a rule. */
export function natStep(
  side: 'src' | 'dst',
  before: Packet,
  after: Packet,
  hook: string,
  by: NatStep | undefined,
): Step {
  const [from, to] = [endOf(before, side), endOf(after, side)];
  const name = side === 'src' ? 'SNAT' : 'DNAT';
  const facts = { hook, side, from, to };
  if (by === undefined)
    return {
      kind: 'nat',
      action: 'rewrite',
      text: `${name} ${from} -> ${to} by the connection's mapping`,
      facts,
    };
  const told = natRule(by);
  return {
    kind: 'nat',
    action: 'rewrite',
    text: `${name} ${from} -> ${to} in nat ${told.where}`,
    facts: { ...facts, ...told.facts },
    sources: told.sources,
  };
}

interface ToldNat {
  readonly where: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly sources: readonly SourceRef[];
}

const toldNats = new WeakMap<SiteFrame, Map<RuleView, ToldNat>>();

/** What is said of the rule is the same for every packet that comes to it in the same way. */
function natRule({ at, rule }: NatStep): ToldNat {
  let own = toldNats.get(at.frame);
  if (own === undefined) {
    own = new Map();
    toldNats.set(at.frame, own);
  }
  let told = own.get(rule);
  if (told === undefined) {
    const subject = subjectOf(at, rule);
    told = {
      where: `${at.frame.path.join(' > ')}${about(subject)}`,
      facts: {
        ...placeFacts(at),
        owner: ownerOf(at.frame.chain.name, rule, tableOf(at)),
        ...subjectFacts(subject),
      },
      sources: ruleSources(at.frame, rule),
    };
    own.set(rule, told);
  }
  return told;
}

export const invalidStep = (packet: Packet): Step => ({
  kind: 'conntrack',
  action: 'pass',
  text: `conntrack calls the ${packet.protocol} packet INVALID: it fits no connection and cannot open one`,
});
