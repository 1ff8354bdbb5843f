/** The packet's way as a drawn list: one line a hop, the break marked, and what was never reached. */
import { formatSource, type SourceRef } from '../model/source.ts';
import type { Branch, Hop, Step } from '../model/verdict.ts';
import { formatPacket } from '../net/packet.ts';
import { breakLines, ruleLines } from './explain.ts';
import { cell, columns, heading, marks, type Style, type Tint, wrap } from './style.ts';
import { decisive, placeOf } from './words.ts';

/** One direction of a trace. */
interface Way {
  readonly hops: readonly Hop[];
  /** The step that ended it. */
  readonly broken?: Step;
  /** Who should have got the packet, if it was lost before. */
  readonly target: string;
}

/** Who the flow is between, named as hops are. */
export interface Ends {
  readonly src: string;
  readonly dst: string;
  readonly isService: boolean;
}

/** Both directions of a branch. The way back is left out while everything on it passes, unless -v asks for it. */
export function pathLines(
  branch: Branch,
  ends: Ends,
  style: Style,
  options: { readonly bothWays?: boolean } = {},
): string[] {
  const { broken, trace } = branch;
  const backend = backendName(branch, ends);
  const there: Way = {
    hops: trace.forward,
    target: backend,
    ...(broken?.direction === 'forward' ? { broken: broken.step } : {}),
  };
  const back: Way = {
    hops: trace.back,
    target: ends.src,
    ...(broken?.direction === 'back' ? { broken: broken.step } : {}),
  };
  const places = [...trace.forward, ...trace.back].map(placeOf).concat(backend, ends.src);
  const widths = columnWidths([...trace.forward, ...trace.back], places, style);
  const title = backend === ends.dst ? 'Path' : `Path to ${branch.backend}`;
  const size = branch.size === 'full' ? ' (full-size packets)' : '';
  const lines = [heading(style, `${title}${size}`), ...wayLines(there, widths, style)];
  if (back.hops.length === 0 || (back.broken === undefined && !style.verbose && !options.bothWays))
    return lines;
  return [...lines, heading(style, 'Back'), ...wayLines(back, widths, style)];
}

/** The pod that should have got the packet: of a Service's backends, the one that this branch took. */
function backendName(branch: Branch, ends: Ends): string {
  const name = branch.backend?.split(' ', 1)[0];
  return ends.isService && name?.includes('/') === true ? name : ends.dst;
}

interface Widths {
  readonly place: number;
  readonly devices: number;
  /** Columns left for a step's text; 0: steps go below their hop. */
  readonly text: number;
}

const lead = 4; // two spaces, the mark, a space
const gutter = 2;
const minTextColumns = 38;

function columnWidths(hops: readonly Hop[], places: readonly string[], style: Style): Widths {
  const place = Math.min(28, Math.max(8, ...places.map((name) => name.length)));
  const devices = Math.min(30, Math.max(4, ...hops.map((hop) => devicesText(hop, style).length)));
  const text = columns(style) - lead - place - devices - 2 * gutter;
  return { place, devices, text: text >= minTextColumns ? text : 0 };
}

/** `cni0 → flannel.1`, `eth0` where it ends or starts. */
function devicesText(hop: Hop, style: Style): string {
  const { arrow } = marks(style);
  return [hop.inDevice, hop.outDevice].filter((name) => name !== undefined).join(` ${arrow} `);
}

function wayLines(way: Way, widths: Widths, style: Style): string[] {
  const brokenAt = way.broken === undefined ? -1 : brokenIndex(way.hops, way.broken);
  const lines = way.hops.flatMap((hop, index) => {
    const isLast = index === way.hops.length - 1;
    const broken = index === brokenAt ? way.broken : undefined;
    return hopLines({ hop, broken, isFirst: index === 0, isLast }, widths, style);
  });
  const last = way.hops.at(-1);
  if (way.broken?.action !== 'lost' || last === undefined || placeOf(last) === way.target) return lines;
  const { missed } = marks(style);
  return [...lines, style.tint('dim', `  ${missed} ${cell(way.target, widths.place, style)}  not reached`)];
}

/** The hop that holds the step; by identity, since equal steps may occur on several hops. */
function brokenIndex(hops: readonly Hop[], broken: Step): number {
  const index = hops.findIndex((hop) => hop.steps.includes(broken));
  return index < 0 ? hops.length - 1 : index;
}

interface HopView {
  readonly hop: Hop;
  readonly broken: Step | undefined;
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

function hopLines(view: HopView, widths: Widths, style: Style): string[] {
  const { hop, broken } = view;
  const symbols = marks(style);
  const [mark, tint] = hopMark(view, style);
  const place = cell(placeOf(hop), widths.place, style);
  const devices = cell(devicesText(hop, style), widths.devices, style);
  const indentedMark = `  ${style.tint(tint, mark)} `;
  const tail = view.isLast ? ' ' : symbols.bar;
  const steps = [...sentLine(view, widths, style), ...stepLines(hop, broken, widths, style)];
  const name = broken === undefined ? place : style.tint('bold', place);
  const margin = `  ${style.tint('dim', tail)}     `;
  const below = explained(hop, broken, style);
  if (widths.text === 0)
    return [
      `${indentedMark}${name.trimEnd()}  ${devices.trimEnd()}`.trimEnd(),
      ...[...steps, ...below].map((line) => `${margin}${line}`),
    ];
  const blank = `  ${style.tint('dim', tail)} ${' '.repeat(widths.place + widths.devices + 2 * gutter)}`;
  const [first = '', ...rest] = steps;
  return [
    `${indentedMark}${name}  ${style.tint('dim', devices)}  ${first}`.trimEnd(),
    ...rest.map((line) => `${blank}${line}`),
    ...below.map((line) => `${margin}${line}`),
  ];
}

/** Below the hop, where there is room: what explains its break, and with -v every rule that matched. */
function explained(hop: Hop, broken: Step | undefined, style: Style): string[] {
  const width = columns(style) - 8;
  const rules = style.verbose ? ruleLines(hop.rules ?? [], width, style) : [];
  const isAsked = style.explain === true || style.verbose;
  return broken === undefined || !isAsked ? rules : [...rules, ...breakLines(broken, width, style)];
}

function hopMark({ broken, isFirst, isLast }: HopView, style: Style): [string, Tint] {
  const symbols = marks(style);
  if (broken?.action === 'lost') return [symbols.broken, 'red'];
  if (broken !== undefined) return [symbols.unsure, 'yellow'];
  return isFirst || isLast ? [symbols.start, 'green'] : [symbols.bar, 'green'];
}

/** What was sent, on the hop that sent it, where no step says so. */
function sentLine({ hop, isFirst }: HopView, widths: Widths, style: Style): string[] {
  if (!isFirst || hop.steps.some((step) => step.kind === 'send' || step.kind === 'encap')) return [];
  return wrap(`send ${formatPacket(hop.packet)}`, textColumns(widths, style));
}

const textColumns = (widths: Widths, style: Style): number =>
  widths.text === 0 ? columns(style) - 8 : widths.text;

/** Steps of the packet that carries the flow's own through a tunnel: they stand indented. */
function aboutOuter(hop: Hop): ReadonlySet<Step> {
  const found = new Set<Step>();
  const changes = hop.steps.filter(({ kind }) => kind === 'encap' || kind === 'decap');
  // It came in wrapped where the first thing that happens is its opening, or where it was lost before that.
  let isOuter = changes[0]?.kind === 'decap' || (changes.length === 0 && hop.packet.inner !== undefined);
  for (const step of hop.steps) {
    if (step.kind === 'decap') isOuter = false;
    if (isOuter) found.add(step);
    if (step.kind === 'encap' && step.action === 'pass') isOuter = true;
  }
  return found;
}

function stepLines(hop: Hop, broken: Step | undefined, widths: Widths, style: Style): string[] {
  const width = textColumns(widths, style);
  const shown = hop.steps.filter(
    (step) => step === broken || (style.verbose ? !isInRules(step, hop) : decisive(step)),
  );
  const outer = aboutOuter(hop);
  return shown.flatMap((step) => {
    const isBreak = step === broken;
    const how: Tint | undefined = isBreak ? (step.action === 'lost' ? 'red' : 'yellow') : undefined;
    const indent = outer.has(step) ? '  ' : '';
    const lines = wrap(step.text, width - indent.length).map(
      (line) => indent + (how === undefined ? line : style.tint(how, line)),
    );
    // A break that only the walk knows is a claim: show where it can be looked up.
    const isCited = isBreak || (style.verbose && !(step.kind === 'nat' && hop.rules !== undefined));
    const sources = isCited ? (step.sources ?? []) : [];
    const cited = sources.flatMap((source) => citation(source, width, style));
    return [...lines, ...cited.map((line) => style.tint('dim', line))];
  });
}

/** The rules say it better, in their order: accepted, marked, and where a translation is written. */
const isInRules = ({ kind, action }: Step, { rules }: Hop): boolean =>
  rules !== undefined && kind === 'filter' && action !== 'lost' && action !== 'unknown';

/** Where to look it up; the raw text only with -v, since the step has just said it in words. */
function citation(source: SourceRef, width: number, style: Style): string[] {
  if (source.kind === 'file' && !style.verbose)
    return [`${source.file}${source.line === undefined ? '' : `:${source.line}`}`];
  return wrap(formatSource(source), width);
}
