/** A fault: one way in which a pod network really breaks, applied to a lab and taken back. One file each in this folder. */
import { PodpathError } from '../../model/errors.ts';
import type { CauseId } from '../../model/finding.ts';
import type { Lab } from '../lab.ts';
import type { LabCni } from '../state.ts';

/** A flow between pods of the lab. */
export interface FaultFlow {
  /** `shop/web-1` */
  readonly src: string;
  /** `shop/api-2`, or `shop/svc/api` for a Service. */
  readonly dst: string;
  readonly port: number;
  readonly protocol: 'tcp' | 'udp' | 'icmp';
  /** Set where the client asks for this name, so that DNS is part of the flow. */
  readonly hostName?: string;
  /** A transfer of so many bytes; absent: a request that fits in one packet. */
  readonly sizeBytes?: number;
}

export interface Fault {
  /** File name without `.ts`; what `podpath lab break` takes. */
  readonly name: string;
  /** One clause: `the firewall of a node drops the tunnel's UDP port`. */
  readonly title: string;
  /** The cause that a diagnosis must rank first. */
  readonly cause: CauseId;
  /** Causes that are as true and may come first instead. */
  readonly alsoAccepted: readonly CauseId[];
  /** Where the fault makes sense. */
  readonly cnis: readonly LabCni[];
  /** Least number of nodes. */
  readonly minNodes: number;
  /** What a person would do about it. */
  readonly repair: string;
  /** A flow that it breaks. */
  flow(lab: Lab): FaultFlow;
  /** Flows that keep working, at least two. */
  works(lab: Lab): readonly FaultFlow[];
  /** Breaks the lab. Does nothing if it is applied already. Throws PodpathError, with the lab as it was. */
  apply(lab: Lab): Promise<void>;
  /** Brings back exactly the former state. Does nothing if it is not applied. */
  heal(lab: Lab): Promise<void>;
}

/** What `capture` saw, kept in lab.json until the fault is healed: another process may do that. */
export type FaultArgs = Readonly<Record<string, string>>;

export interface FaultSpec extends Omit<Fault, 'apply' | 'heal' | 'alsoAccepted' | 'minNodes'> {
  readonly alsoAccepted?: readonly CauseId[];
  /** Default 2. */
  readonly minNodes?: number;
  /** Reads what `mend` needs. Changes nothing. Default: nothing. */
  capture?(lab: Lab): Promise<FaultArgs>;
  break(lab: Lab, args: FaultArgs): Promise<void>;
  /** Undoes `break`, also one that stopped half-way. */
  mend(lab: Lab, args: FaultArgs): Promise<void>;
}

export const everyCni: readonly LabCni[] = ['flannel-vxlan', 'flannel-host-gw', 'calico-vxlan'];
export const tunnelCnis: readonly LabCni[] = ['flannel-vxlan', 'calico-vxlan'];

/** Adds what all faults share: the checks before, and the record in lab.json. */
export function defineFault(spec: FaultSpec): Fault {
  const { capture, break: doBreak, mend, alsoAccepted = [], minNodes = 2, ...shown } = spec;
  const forget = (lab: Lab) =>
    lab.saveState({ faults: lab.state.faults.filter((fault) => fault.name !== spec.name) });
  return {
    ...shown,
    alsoAccepted,
    minNodes,
    async apply(lab) {
      if (lab.state.faults.some((fault) => fault.name === spec.name)) return;
      checkFits(lab, spec, minNodes);
      const args = (await capture?.(lab)) ?? {};
      // Recorded before the first change: after a crash half-way, heal still knows the way back.
      await lab.saveState({ faults: [...lab.state.faults, { name: spec.name, args }] });
      try {
        await doBreak(lab, args);
      } catch (error) {
        await mend(lab, args);
        await forget(lab);
        throw error;
      }
    },
    async heal(lab) {
      const applied = lab.state.faults.find((fault) => fault.name === spec.name);
      if (applied === undefined) return;
      await mend(lab, applied.args);
      await forget(lab);
    },
  };
}

function checkFits(lab: Lab, spec: FaultSpec, minNodes: number): void {
  const { cni, nodes, name } = lab.state;
  const why = !spec.cnis.includes(cni)
    ? `it is about ${spec.cnis.join(', ')}, and this lab is ${cni}`
    : nodes.length < minNodes
      ? `it needs ${minNodes} nodes, and this lab has ${nodes.length}`
      : undefined;
  if (why === undefined) return;
  throw new PodpathError({
    code: 'lab/fault-does-not-fit',
    what: `fault ${spec.name} cannot be applied`,
    where: `lab ${name}`,
    why,
    todo: `podpath lab up --name another --nodes ${Math.max(3, minNodes)} --cni ${spec.cnis[0] ?? ''}`,
  });
}
