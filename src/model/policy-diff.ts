/** What two versions of a cluster's policies let pass differently, as `policy diff` prints it. */
import type { ObjectOrigin } from './cluster.ts';
import type { Connection, Party } from './connectivity.ts';

export interface PolicyDiff extends PolicyDiffSummary {
  /** Pairs that differ, by source, then destination. */
  readonly changes: readonly ConnectionChange[];
  /** As `changes`, of a workload's pods among themselves: `policy list` leaves them out. Source and destination are the same. */
  readonly inside: readonly ConnectionChange[];
}

/** The same, made as it is read, as often as it is read: there may be millions. */
export interface StreamedPolicyDiff extends PolicyDiffSummary {
  readonly changes: Iterable<ConnectionChange>;
  readonly inside: Iterable<ConnectionChange>;
  /** Of `changes` and `inside`. */
  readonly counts: ChangeCounts;
  /** The first changes of the first reasons, those that share their reasons together. */
  readonly groups: readonly ChangeGroup[];
}

export type ChangeCounts = Readonly<Record<ConnectionChange['change'], number>>;

export interface ChangeGroup {
  readonly changes: readonly ConnectionChange[];
  /** All that there are, `changes` among them. */
  readonly count: number;
}

export interface PolicyDiffSummary {
  readonly onlyInA: readonly NamedParty[];
  readonly onlyInB: readonly NamedParty[];
  /** Every policy that differs, whether or not it makes a difference. */
  readonly policies: readonly PolicyChange[];
  /** Pairs that differ for ICMP and other protocols without ports only, where those were not asked for. */
  readonly portlessOnly: number;
}

export type NamedParty = Extract<Party, { readonly kind: string }>;

/** A workload or pod, or the addresses outside that a change holds for, in the fewest prefixes. */
export type DiffParty = NamedParty | { readonly cidrs: readonly string[] };

/** One protocol of a connection. */
export type ConnectionPorts = Omit<Connection, 'src' | 'dst'>;

export interface ConnectionChange {
  /** `added`: nothing passed before; `removed`: nothing passes now. */
  readonly change: 'added' | 'removed' | 'changed';
  readonly src: DiffParty;
  readonly dst: DiffParty;
  readonly before: readonly ConnectionPorts[];
  readonly after: readonly ConnectionPorts[];
  /** The end that exists on one side only. */
  readonly newEnd?: NamedParty;
  readonly lostEnd?: NamedParty;
  /** Empty where an end exists on one side only: that is the reason then. */
  readonly because: readonly ChangeReason[];
}

export interface ChangeReason {
  readonly policy: PolicyName;
  /** `same`: the policy is the same, and what it selects is not. `moved`: its place among the others is another. */
  readonly how: 'added' | 'removed' | 'edited' | 'moved' | 'same';
  readonly direction: 'egress' | 'ingress';
  /** For `same`: `labels of shop/web[Deployment] changed: tier=web -> (none)`. */
  readonly why?: string;
  /** The rule that decides the changed ports, on the side that has it; the policy where none of its rules does. */
  readonly before?: RulePlace;
  readonly after?: RulePlace;
}

export interface RulePlace {
  readonly field: string;
  readonly origin?: ObjectOrigin;
}

export interface PolicyName {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
}

export interface PolicyChange {
  readonly policy: PolicyName;
  readonly how: 'added' | 'removed' | 'edited' | 'renamed';
  /** The new name, where it was renamed. */
  readonly to?: PolicyName;
  readonly before?: ObjectOrigin;
  readonly after?: ObjectOrigin;
}

export const policyText = ({ kind, namespace, name }: PolicyName): string =>
  `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
