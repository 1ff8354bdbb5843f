/** A check looks at the whole snapshot, without a flow, and says what is wrong. One file a check; registry.ts orders them. */
import { type DetectedCni, detectCni } from '../cni/detect.ts';
import { World } from '../dataplane/world.ts';
import type { Node, Pod } from '../model/cluster.ts';
import type { Evidence } from '../model/evidence.ts';
import type { CauseId, Finding, Subject } from '../model/finding.ts';
import type { Known } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { SourceRef } from '../model/source.ts';
import { overlaps } from '../net/prefix.ts';

export interface Check {
  /** `node-routes`, also the name of its docs page. */
  readonly id: string;
  readonly title: string;
  /** Every cause that its findings may name. */
  readonly causes: readonly CauseId[];
  readonly run: (context: CheckContext) => readonly Omit<Finding, 'check'>[];
}

export const defineCheck = (check: Check): Check => check;

/** A check, or a part of it, that could not run, and why. */
export interface NotRun {
  readonly check: string;
  readonly why: string;
}

/** A node with its recorded namespace. */
export interface NodeView {
  readonly name: string;
  readonly node: Node;
  readonly netns: Netns;
}

export interface CheckContext {
  readonly snapshot: Snapshot;
  readonly world: World;
  readonly cni: Known<DetectedCni>;
  /** Nodes of the API whose network namespace was recorded. Empty if either is missing, which is noted. */
  readonly nodes: () => readonly NodeView[];
  /** Pods that have, or should have, a network of their own: scheduled, not hostNetwork, not finished. */
  readonly pods: () => readonly Pod[];
  /** The value, or undefined after noting that this part of the check did not run. */
  readonly need: <T>(fact: Known<T>) => T | undefined;
  readonly skip: (why: string) => void;
}

/** What all checks of one run share, so that it is computed once. */
export interface Shared {
  readonly world: World;
  readonly cni: Known<DetectedCni>;
}

export const share = (snapshot: Snapshot): Shared => ({
  world: new World(snapshot),
  cni: detectCni(snapshot),
});

export function makeContext(snapshot: Snapshot, shared: Shared, skip: (why: string) => void): CheckContext {
  const need = <T>(fact: Known<T>): T | undefined => {
    if (fact.state === 'known') return fact.value;
    skip(fact.why);
    return undefined;
  };
  const nodes = (): NodeView[] =>
    (need(snapshot.cluster.nodes) ?? []).flatMap((node) => {
      const netns = snapshot.netns.get(node.name);
      if (netns !== undefined) return [{ name: node.name, node, netns }];
      skip(`the network state of ${node.name} was not collected`);
      return [];
    });
  const pods = (): Pod[] => (need(snapshot.cluster.pods) ?? []).filter(hasOwnNetwork);
  return { snapshot, ...shared, nodes, pods, need, skip };
}

const hasOwnNetwork = (pod: Pod): boolean =>
  !pod.hostNetwork && pod.node !== '' && pod.phase !== 'Succeeded' && pod.phase !== 'Failed';

/** True if the API gave two nodes overlapping pod CIDRs. */
export const sharesCidr = (a: NodeView, b: NodeView): boolean =>
  a.node.podCidrs.some((mine) => b.node.podCidrs.some((theirs) => overlaps(mine, theirs)));

export const nodeSubject = (name: string): Subject => ({ kind: 'node', name });
export const deviceSubject = (node: string, device: string): Subject => ({
  kind: 'device',
  name: `${node}/${device}`,
});
export const podSubject = (pod: { readonly namespace: string; readonly name: string }): Subject => ({
  kind: 'pod',
  name: `${pod.namespace}/${pod.name}`,
});

export const observed = (statement: string, source?: SourceRef): Evidence => ({
  how: 'observed',
  statement,
  ...(source === undefined ? {} : { source }),
});
export const declared = (statement: string, source?: SourceRef): Evidence => ({
  how: 'declared',
  statement,
  ...(source === undefined ? {} : { source }),
});

/** `net.ipv4.ip_forward = 0` of a node as a source. */
export const sysctlRef = (netns: Netns, key: string, value: string): SourceRef => ({
  kind: 'file',
  file: `nodes/${netns.node}/${netns.pod === undefined ? '' : `pods/${netns.pod.namespace}_${netns.pod.name}/`}sysctl.txt`,
  text: `${key} = ${value}`,
});
