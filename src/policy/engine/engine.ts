/** The engine: policies of every kind compiled against one cluster, and the answers for any two of its classes. */
import { hasId, type IdSet } from '../../net/id-set.ts';
import { hasPort, linePoint, noPorts, subtractPorts, unionPorts } from '../../net/port-set.ts';
import type { FlowEnd, PolicyFlow, TraitSource } from '../endpoint.ts';
import type { Condition, Direction, PolicyProgram, PortRewrite } from '../ir.ts';
import type { PolicyWorld } from '../options.ts';
import type { Outcome as Verdict } from '../reference/contract.ts';
import { bothCells, type Cell, openCell } from './cell.ts';
import { type CompiledLayer, compileLayer } from './compile.ts';
import { factsOf } from './facts.ts';
import { cellAt, cellPool, layerRows, type Rows } from './rows.ts';
import { type Select, selector } from './select.ts';
import { buildUniverse, type Universe } from './universe.ts';

export interface EngineLayer {
  readonly compiled: CompiledLayer;
  readonly rows: Readonly<Record<Direction, Rows>>;
  readonly rewrites: readonly CompiledRewrite[];
}

interface CompiledRewrite {
  readonly src: IdSet;
  readonly dst: IdSet;
  readonly rewrite: PortRewrite;
}

/** What an engine is made of; engines of one cluster may share most of it. */
export interface EngineParts {
  readonly world: PolicyWorld;
  readonly program: PolicyProgram;
  readonly traits: readonly TraitSource[];
  readonly universe: Universe;
  readonly select: Select;
  readonly layers: readonly EngineLayer[];
  /** One object for equal cells. */
  readonly intern: (cell: Cell) => Cell;
  /** Both cells must let a port pass. */
  readonly join: (a: Cell, b: Cell) => Cell;
}

export interface Engine extends EngineParts {
  /** Every port from one class to another, exemptions aside: those depend on the two ends, not on their classes. */
  readonly cell: (src: number, dst: number) => Cell;
  readonly verdict: (flow: PolicyFlow) => PointVerdict;
}

export interface PointVerdict {
  readonly verdict: Verdict;
  /** Set where the verdict is conditional. */
  readonly conditions: readonly Condition[];
}

export function createEngine(
  world: PolicyWorld,
  program: PolicyProgram,
  traits: readonly TraitSource[] = [],
): Engine {
  const universe = buildUniverse(world, factsOf(program), traits);
  const select = selector(universe);
  const intern = cellPool();
  const layers = program.layers.map((layer): EngineLayer => {
    const compiled = compileLayer(layer, universe, select);
    return {
      compiled,
      rows: {
        egress: layerRows(compiled, 'egress', universe, intern),
        ingress: layerRows(compiled, 'ingress', universe, intern),
      },
      rewrites: layer.rewrites.map((rewrite) => ({
        src: select(rewrite.src),
        dst: select(rewrite.dst),
        rewrite,
      })),
    };
  });
  return assemble({ world, program, traits, universe, select, layers, intern, join: cellJoiner(intern) });
}

export function assemble(parts: EngineParts): Engine {
  const { universe, layers, intern, join } = parts;
  const layerCell = (layer: EngineLayer, src: number, dst: number): Cell => {
    const cell = join(cellAt(layer.rows.egress.of(src), dst), cellAt(layer.rows.ingress.of(dst), src));
    return layer.rewrites.reduce(
      (sum, { src: from, dst: to, rewrite }) =>
        hasId(from, src) && hasId(to, dst) ? intern(rewritten(sum, rewrite)) : sum,
      cell,
    );
  };
  return {
    ...parts,
    cell: (src, dst) => layers.reduce<Cell>((sum, layer) => join(sum, layerCell(layer, src, dst)), openCell),
    verdict: (flow) => {
      const src = universe.classOf(flow.src);
      const dst = universe.classOf(flow.dst);
      if (src === undefined || dst === undefined) return unknownEnd;
      const exempt = isExempt(flow.src, flow.dst);
      let sum: Cell = openCell;
      for (const layer of layers)
        if (!exempt || !layer.compiled.layer.exemptsSelfAndOwnNode)
          sum = join(sum, layerCell(layer, src, dst));
      return verdictAt(sum, linePoint(flow.protocol, flow.port));
    },
  };
}

/** Both cells must let a port pass; the few distinct cells meet again and again. */
function cellJoiner(intern: (cell: Cell) => Cell): (a: Cell, b: Cell) => Cell {
  const joined = new Map<Cell, Map<Cell, Cell>>();
  return (a, b) => {
    if (a === openCell) return b;
    if (b === openCell) return a;
    const inner = joined.get(a) ?? new Map<Cell, Cell>();
    joined.set(a, inner);
    const cell = inner.get(b) ?? intern(bothCells(a, b));
    inner.set(b, cell);
    return cell;
  };
}

const unknownEnd: PointVerdict = {
  verdict: 'conditional',
  conditions: [
    { code: 'not-collected', text: 'one end of the flow is not among the objects of the cluster' },
  ],
};

const allowed: PointVerdict = { verdict: 'allow', conditions: [] };
const denied: PointVerdict = { verdict: 'deny', conditions: [] };

function verdictAt(cell: Cell, point: number): PointVerdict {
  if (hasPort(cell.allow, point)) return allowed;
  if (!hasPort(cell.maybe, point)) return denied;
  return {
    verdict: 'conditional',
    conditions: cell.conditions
      .filter(({ ports }) => hasPort(ports, point))
      .map(({ condition }) => condition),
  };
}

/** A pod's traffic to itself, and between a pod and the node it runs on (kubelet probes among it). */
export function isExempt(src: FlowEnd, dst: FlowEnd): boolean {
  if (src.kind === 'pod' && dst.kind === 'pod') {
    if (src.pod === dst.pod) return true;
    if (src.pod.hostNetwork === dst.pod.hostNetwork) return false;
    return src.pod.node !== '' && src.pod.node === dst.pod.node;
  }
  if (src.kind === 'pod' && dst.kind === 'node') return src.pod.node === dst.node.name;
  if (src.kind === 'node' && dst.kind === 'pod') return src.node.name === dst.pod.node;
  return false;
}

/** All of the rewritten ports share the fate of the port that they arrive under. */
function rewritten(cell: Cell, { ports, to, condition }: PortRewrite): Cell {
  const { verdict, conditions } = verdictAt(cell, linePoint(to.protocol, to.port));
  const kept = cell.conditions
    .map((part) => ({ ...part, ports: subtractPorts(part.ports, ports) }))
    .filter((part) => part.ports.length > 0);
  const moved: Cell = {
    allow: verdict === 'allow' ? unionPorts(cell.allow, ports) : subtractPorts(cell.allow, ports),
    maybe: verdict === 'conditional' ? unionPorts(cell.maybe, ports) : subtractPorts(cell.maybe, ports),
    conditions: [...kept, ...conditions.map((one) => ({ ports, condition: one }))],
  };
  return condition === undefined ? moved : eitherCell(cell, moved, condition);
}

/** Certain only where both agree. */
function eitherCell(a: Cell, b: Cell, condition: Condition): Cell {
  const possible = unionPorts(unionPorts(a.allow, a.maybe), unionPorts(b.allow, b.maybe));
  const allow = subtractPorts(possible, unionPorts(notAllowed(a, possible), notAllowed(b, possible)));
  const maybe = subtractPorts(possible, allow);
  if (maybe.length === 0) return { allow, maybe: noPorts, conditions: [] };
  return { allow, maybe, conditions: [...a.conditions, ...b.conditions, { ports: maybe, condition }] };
}

const notAllowed = (cell: Cell, within: Cell['allow']): Cell['allow'] => subtractPorts(within, cell.allow);
