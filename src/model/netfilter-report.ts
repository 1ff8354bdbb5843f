/** What `podpath netfilter` says about recorded rules: findings, and how two saves differ. */

/** `error`: the rules cannot do what they are there for. `warning`: most likely a mistake. `info`: good to know. */
export type NetfilterSeverity = 'error' | 'warning' | 'info';

/** Where a rule or chain stands. */
export interface RulePlace {
  readonly file: string;
  /** 1-based; absent for formats without lines. */
  readonly line?: number;
  /** The rule as the file has it, without counters. */
  readonly text: string;
}

export interface NetfilterFinding {
  /** `shadowed-rule`: docs/netfilter.md. */
  readonly rule: string;
  readonly severity: NetfilterSeverity;
  /** `nft`, `legacy`, or `nftables` for tables that no iptables tool made. */
  readonly backend: 'nft' | 'legacy' | 'nftables';
  /** `ip`, `ip6`, `inet` ... */
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Who writes such rules: `kube-proxy`, `calico`, `foreign`. */
  readonly owner: string;
  /** What is wrong, a clause. */
  readonly text: string;
  readonly todo: string;
  readonly place: RulePlace;
  /** Rules that make it so. */
  readonly because: readonly RulePlace[];
}

export interface NetfilterLint {
  /** By file and line. */
  readonly findings: readonly NetfilterFinding[];
  readonly files: readonly string[];
  readonly ruleCount: number;
  /** Rules of the linter that could not look, and why. */
  readonly notRun: readonly { readonly rule: string; readonly why: string }[];
}

export type NetfilterChangeKind =
  | 'added'
  | 'removed'
  | 'moved'
  | 'policy'
  | 'table-added'
  | 'table-removed'
  | 'chain-added'
  | 'chain-removed'
  | 'hook'
  | 'set';

export interface NetfilterChange {
  readonly kind: NetfilterChangeKind;
  readonly family: string;
  readonly table: string;
  /** As B has it, or A where it is removed. */
  readonly chain: string;
  /** What changed, a clause. */
  readonly text: string;
  /** What the rule is about: `Service shop/api:http`. */
  readonly subject?: string;
  readonly a?: RulePlace;
  readonly b?: RulePlace;
}

/** Whether the two tables treat every packet alike, as far as it can be shown. */
export type NetfilterMeaning =
  | { readonly state: 'equal' }
  /** A packet that they treat differently. */
  | {
      readonly state: 'different';
      readonly hook: string;
      readonly packet: string;
      readonly a: string;
      readonly b: string;
    }
  | { readonly state: 'unknown'; readonly why: string };

export interface NetfilterTableDiff {
  readonly family: string;
  readonly table: string;
  /** Backends of A and B, which may differ. */
  readonly backends: readonly [a: string, b: string];
  readonly changes: readonly NetfilterChange[];
  readonly meaning: NetfilterMeaning;
  /** Chains that only have another name: `KUBE-SVC-AAA` -> `KUBE-SVC-BBB`. */
  readonly renamed: readonly (readonly [a: string, b: string])[];
  /** Rules that stand in another order, which no packet can tell. */
  readonly reordered: number;
}

export interface NetfilterDiff {
  readonly tables: readonly NetfilterTableDiff[];
}

/** One chain as `show` prints it. */
export interface ShownChain {
  readonly backend: 'nft' | 'legacy' | 'nftables';
  readonly family: string;
  readonly table: string;
  readonly name: string;
  readonly owner: string;
  readonly subject?: string;
  readonly base?: {
    readonly hook: string;
    readonly priority: number;
    readonly policy?: string;
    readonly devices: readonly string[];
  };
  readonly place: RulePlace;
  readonly calledBy: readonly string[];
  readonly reachable: boolean;
  readonly rules: readonly ShownRule[];
}

export interface ShownRule {
  readonly place: RulePlace;
  readonly owner: string;
  readonly subject?: string;
  readonly comment?: string;
  readonly counters?: { readonly packets: number; readonly bytes: number };
  /** Chains that it leads to, in the same table. */
  readonly targets: readonly string[];
  /** What is not understood about it. */
  readonly unknown: readonly string[];
}

export interface NetfilterRules {
  readonly files: readonly string[];
  readonly chains: readonly ShownChain[];
}
