/** What every format of `policy diff` shares: the report, its first line, and parties, ports and reasons as text. */
import { partyText } from '../model/connectivity.ts';
import {
  type ChangeCounts,
  type ChangeReason,
  type ConnectionChange,
  type ConnectionPorts,
  type DiffParty,
  type PolicyChange,
  policyText,
  type RulePlace,
  type StreamedPolicyDiff,
} from '../model/policy-diff.ts';
import { type ConnectivityProblem, rangeTexts } from './connectivity.ts';

export interface PolicyDiffReport {
  readonly a: DiffSide;
  readonly b: DiffSide;
  readonly diff: StreamedPolicyDiff;
  /** What Ingresses and Routes let in. */
  readonly entries: readonly ConnectionChange[];
  readonly notes: readonly string[];
  /** `policies/web.yaml:12`; undefined where the object is from no file. */
  readonly place: (place: RulePlace) => string | undefined;
}

export interface DiffSide {
  /** As the user gave it. */
  readonly name: string;
  readonly reading: Readonly<Record<string, string | boolean | readonly string[]>>;
  readonly problems: readonly ConnectivityProblem[];
}

export function* allChanges({ diff, entries }: PolicyDiffReport): Generator<ConnectionChange> {
  yield* diff.changes;
  yield* diff.inside;
  yield* entries;
}

/** Of all changes. */
function changeCounts({ diff, entries }: PolicyDiffReport): ChangeCounts {
  const counts = { ...diff.counts };
  for (const { change } of entries) counts[change]++;
  return counts;
}

export const changeTotal = (report: PolicyDiffReport): number =>
  Object.values(changeCounts(report)).reduce((sum, count) => sum + count, 0);

/** `3 connections added, 1 removed, 2 changed`; or that nothing changed although the policies did. */
export function diffHeadline(report: PolicyDiffReport): string {
  const { added, removed, changed } = changeCounts(report);
  if (added + removed + changed > 0)
    return `${added} ${added === 1 ? 'connection' : 'connections'} added, ${removed} removed, ${changed} changed`;
  const policies = policyCounts(report.diff.policies);
  return policies === ''
    ? 'No difference: neither the policies nor the connectivity changed.'
    : `No difference: policies changed (${policies}), connectivity did not.`;
}

/** `1 added, 2 edited`; empty where there are none. */
export function policyCounts(changes: readonly PolicyChange[]): string {
  return (['added', 'removed', 'edited', 'renamed'] as const)
    .map((how) => [how, changes.filter((change) => change.how === how).length] as const)
    .filter(([, count]) => count > 0)
    .map(([how, count]) => `${count} ${how}`)
    .join(', ');
}

/** Address ranges shown of one party, unless all are asked for. */
const shownRanges = 4;

export function diffPartyText(party: DiffParty, all = true): string {
  if (!('cidrs' in party)) return partyText(party);
  const ranges = rangeTexts(party.cidrs);
  if (all || ranges.length <= shownRanges + 1) return ranges.join(', ');
  return `${ranges.slice(0, shownRanges).join(', ')} and ${ranges.length - shownRanges} more ranges`;
}

/** `TCP 80,443; UDP 53`, `everything`, `nothing`; what depends on a condition with the condition. */
export function portsText(lines: readonly ConnectionPorts[]): string {
  const parts = (['allow', 'conditional'] as const).flatMap((verdict) => {
    const reasons = grouped(
      lines.filter((line) => line.verdict === verdict),
      ({ why }) => why ?? '',
    );
    return [...reasons].map(([why, list]) => `${joined(list)}${why === '' ? '' : ` (${why})`}`);
  });
  return parts.length === 0 ? 'nothing' : parts.join('; ');
}

function joined(lines: readonly ConnectionPorts[]): string {
  const whole = new Set(lines.filter(({ ports }) => ports === 'all').map(({ protocol }) => protocol));
  const everything = (['TCP', 'UDP', 'SCTP'] as const).every((protocol) => whole.has(protocol));
  const parts = lines
    .filter(({ protocol }) => !everything || protocol === 'ICMP')
    .map(({ protocol, ports }) =>
      ports !== 'all' ? `${protocol} ${ports}` : protocol === 'ICMP' ? 'ICMP' : `all ${protocol}`,
    );
  return (everything ? ['everything', ...parts] : parts).join('; ');
}

/** One sentence for each reason; a new or lost end is one. */
export function reasonTexts(
  { because, newEnd, lostEnd, src }: ConnectionChange,
  place: PolicyDiffReport['place'],
): readonly string[] {
  if (newEnd !== undefined) return [`${partyText(newEnd)} is new`];
  if (lostEnd !== undefined) return [`${partyText(lostEnd)} is gone`];
  if (because.length === 0 && 'kind' in src && src.kind === 'IngressController')
    return ['what Ingresses and Routes let in'];
  return [...new Set(because.map((reason) => reasonText(reason, place)))];
}

function reasonText(
  { policy, how, why, before, after }: ChangeReason,
  place: PolicyDiffReport['place'],
): string {
  const name = policyText(policy);
  const [old, now] = [before, after].map((one) => (one === undefined ? undefined : whereText(one, place)));
  const at = (text: string | undefined) => (text === undefined ? '' : ` (${text})`);
  switch (how) {
    case 'added':
      return `${name} was added${at(now)}`;
    case 'removed':
      return `${name} was removed${at(old)}`;
    case 'edited':
      return `${name} was edited${at(old === now || old === undefined ? now : now === undefined ? old : `${old} -> ${now}`)}`;
    case 'moved':
      return `${name} has another place among the policies${at(now)}`;
    case 'same':
      return `${name} is the same${at(now ?? old)}; ${why ?? 'what it selects changed'}`;
  }
}

/** File and line, or the field. */
function whereText(one: RulePlace, place: PolicyDiffReport['place']): string | undefined {
  return place(one) ?? (one.field === '' ? undefined : one.field);
}

/** Items that have the same key, in the order of the first of each. */
export function grouped<T>(items: Iterable<T>, key: (item: T) => string): ReadonlyMap<string, readonly T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const list = groups.get(key(item));
    if (list === undefined) groups.set(key(item), [item]);
    else list.push(item);
  }
  return groups;
}
