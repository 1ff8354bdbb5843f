/** What some new policies change in the whole connectivity: only the ends that they select can have changed. */
import type { ChangedFlow, ChangedFlows } from '../../model/policy-suggestion.ts';
import { eachId, type IdSet, idRange, unionAll } from '../../net/id-set.ts';
import {
  formatPorts,
  lineProtocols,
  type PortSet,
  portsOf,
  subtractPorts,
  unionPorts,
} from '../../net/port-set.ts';
import { formatPrefix } from '../../net/prefix.ts';
import type { FlowEnd } from '../endpoint.ts';
import type { Cell } from '../engine/cell.ts';
import { type Engine, isExempt } from '../engine/engine.ts';
import { ownPrefixes } from '../engine/prefix-tree.ts';
import { endText } from '../explain/explain.ts';
import type { Direction, PolicyId } from '../ir.ts';

export interface Comparison {
  readonly opened: ChangedFlows;
  readonly closed: ChangedFlows;
}

/** Flows that were asked for: they are no side effect. */
export type IsAsked = (src: FlowEnd, dst: FlowEnd) => PortSet;

/** Flows listed by name; more are counted. */
const maxListed = 200;

export function compareEngines(
  before: Engine,
  after: Engine,
  added: readonly PolicyId[],
  asked: IsAsked,
): Comparison {
  const opened = new Listing();
  const closed = new Listing();
  for (const direction of ['egress', 'ingress'] as const) {
    const subjects = representatives(before, after, subjectsOf(after, added, direction));
    if (subjects.length === 0) continue;
    const others = representatives(before, after, idRange(0, after.universe.classes.length));
    for (const subject of subjects)
      for (const other of others) {
        const [src, dst] = direction === 'egress' ? [subject, other] : [other, subject];
        const change = changed(before.cell(src.before, dst.before), after.cell(src.after, dst.after));
        if (change === undefined) continue;
        for (const from of src.ends)
          for (const to of dst.ends) {
            if (exempt(after, from, to)) continue;
            opened.add(from, to, subtractPorts(change.opened, asked(from, to)));
            closed.add(from, to, change.closed);
          }
      }
  }
  return { opened: opened.result(), closed: closed.result() };
}

class Listing {
  private readonly found = new Map<string, ChangedFlow>();
  private more = 0;

  add(src: FlowEnd, dst: FlowEnd, ports: PortSet): void {
    if (ports.length === 0) return;
    const flow = { src: nameOf(src), dst: nameOf(dst), ports: portsText(ports) };
    const key = `${flow.src} ${flow.dst}`;
    if (this.found.has(key)) return;
    if (this.found.size < maxListed) this.found.set(key, flow);
    else this.more++;
  }

  result(): ChangedFlows {
    return { flows: [...this.found.values()], more: this.more };
  }
}

const prefixNames = new WeakMap<FlowEnd, string>();
const nameOf = (end: FlowEnd): string => prefixNames.get(end) ?? endText(end);

function portsText(ports: PortSet): string {
  const texts = lineProtocols.flatMap((protocol) => {
    const ranges = portsOf(ports, protocol);
    if (ranges === 'all') return [`every ${protocol} port`];
    return ranges.length === 0 ? [] : [`${formatPorts(ports, protocol)}/${protocol}`];
  });
  return texts.length === 0 ? 'other protocols' : texts.join(', ');
}

function exempt({ layers }: Engine, src: FlowEnd, dst: FlowEnd): boolean {
  return isExempt(src, dst) && layers.every(({ compiled }) => compiled.layer.exemptsSelfAndOwnNode);
}

/** Classes that the added policies select; every class where a policy is not to be found by its name. */
function subjectsOf(after: Engine, added: readonly PolicyId[], direction: Direction): IdSet {
  const wanted = new Set(added.map(({ namespace, name }) => `${namespace ?? ''}/${name}`));
  const compiled = after.layers.flatMap(({ compiled: { policies } }) => [
    ...policies.egress,
    ...policies.ingress,
  ]);
  const known = new Set(compiled.map((one) => keyOf(one?.policy.id)));
  if ([...wanted].some((key) => !known.has(key))) return idRange(0, after.universe.podsTo);
  return unionAll(
    after.layers.flatMap(({ compiled: { policies } }) =>
      policies[direction].flatMap((one) =>
        one !== undefined && wanted.has(keyOf(one.policy.id)) ? [one.subjects] : [],
      ),
    ),
  );
}

const keyOf = (id: PolicyId | undefined): string => `${id?.namespace ?? ''}/${id?.name ?? ''}`;

/** Ends that are the same to the policies of both engines. */
interface Alike {
  readonly before: number;
  readonly after: number;
  readonly ends: readonly FlowEnd[];
}

function representatives(before: Engine, after: Engine, ids: IdSet): readonly Alike[] {
  const found = new Map<string, { before: number; after: number; ends: FlowEnd[] }>();
  for (const id of eachId(ids))
    for (const end of endsOf(after, id)) {
      const old = before.universe.classOf(end);
      if (old === undefined) continue;
      const key = `${old}/${id}`;
      const group = found.get(key);
      if (group === undefined) found.set(key, { before: old, after: id, ends: [end] });
      else group.ends.push(end);
    }
  return [...found.values()];
}

/** The members of a class; for addresses outside one that stands for those of its prefix that are in no deeper one. */
function endsOf({ universe }: Engine, id: number): readonly FlowEnd[] {
  if (id < universe.outsideFrom) return universe.classes[id]?.members ?? [];
  const at = id - universe.outsideFrom;
  const node = universe.tree.nodes[at];
  if (node === undefined || node.empty) return [];
  const [own] = ownPrefixes(universe.tree.nodes, at);
  if (own === undefined) return [];
  const end: FlowEnd = { kind: 'external', address: { family: own.family, value: own.value } };
  prefixNames.set(end, formatPrefix(node.prefix));
  return [end];
}

function changed(
  before: Cell,
  after: Cell,
): { readonly opened: PortSet; readonly closed: PortSet } | undefined {
  const [could, can] = [unionPorts(before.allow, before.maybe), unionPorts(after.allow, after.maybe)];
  const opened = unionPorts(subtractPorts(after.allow, before.allow), subtractPorts(can, could));
  const closed = unionPorts(subtractPorts(before.allow, after.allow), subtractPorts(could, can));
  return opened.length === 0 && closed.length === 0 ? undefined : { opened, closed };
}
