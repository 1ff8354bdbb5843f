/** `policy list -o text`: one aligned line for each pair, the outside's addresses as ranges. */
import { type Party, partyText } from '../model/connectivity.ts';
import {
  type ConnectivityReport,
  type ConnectivityRow,
  printable,
  rangeTexts,
  rowsOf,
} from './connectivity.ts';
import { marks, type Style } from './style.ts';

/** Rows that are looked at before the first is printed: their names decide the columns' widths. */
const lookAhead = 10_000;

/** Address ranges shown of one line, unless the style is verbose. */
const shownRanges = 4;

interface Line {
  readonly src: string;
  readonly dst: string;
  readonly row: ConnectivityRow;
}

export function* connectivityText(report: ConnectivityReport, style: Style): Generator<string> {
  const lines = linesOf(rowsOf(report.connections), style);
  const head: Line[] = [];
  let next = lines.next();
  for (; next.done !== true && head.length < lookAhead; next = lines.next()) head.push(next.value);
  yield `${summary(head, next.done !== true, style)}\n`;
  const width = (side: 'src' | 'dst') => Math.min(70, Math.max(4, ...head.map((line) => line[side].length)));
  const widths = { src: width('src'), dst: width('dst') };
  if (head.length > 0)
    yield `\n${style.tint('dim', `  ${'FROM'.padEnd(widths.src)}  ${'TO'.padEnd(widths.dst)}  PORTS`)}\n`;
  for (const line of head) yield lineText(line, widths, style);
  for (; next.done !== true; next = lines.next()) yield lineText(next.value, widths, style);
  yield* footer(report, style);
}

function summary(head: readonly Line[], more: boolean, style: Style): string {
  if (head.length === 0) return style.tint('bold', 'No connection is allowed.');
  const sure = head.filter(({ row }) => row.verdict === 'allow').length;
  const maybe = head.length - sure;
  const count = (n: number) => `${n} ${n === 1 ? 'connection' : 'connections'}`;
  if (more)
    return style.tint('bold', `More than ${count(head.length)} are possible. What is not listed is denied.`);
  const depends = maybe === 0 ? '' : `, ${count(maybe)} on a condition`;
  const verb = sure === 1 ? 'is' : 'are';
  return style.tint('bold', `${count(sure)} ${verb} allowed${depends}. What is not listed is denied.`);
}

function lineText({ src, dst, row }: Line, widths: { src: number; dst: number }, style: Style): string {
  const { ok, unsure } = marks(style);
  const mark = row.verdict === 'allow' ? style.tint('green', ok) : style.tint('yellow', unsure);
  const why = row.why === '' ? '' : style.tint('dim', `  (${printable(row.why)})`);
  return `${mark} ${src.padEnd(widths.src)}  ${dst.padEnd(widths.dst)}  ${row.ports}${why}\n`;
}

/** Rows that differ in their address range only are one line. */
function* linesOf(rows: Iterable<ConnectivityRow>, style: Style): Generator<Line> {
  let open: ConnectivityRow[] = [];
  const flush = function* (): Generator<Line> {
    const [row] = open;
    if (row === undefined) return;
    const side = (party: Party, key: 'src' | 'dst'): string => {
      if (!('cidr' in party)) return printable(partyText(party));
      return outside(
        open.map((one) => one[key]),
        style,
      );
    };
    yield { src: side(row.src, 'src'), dst: side(row.dst, 'dst'), row };
    open = [];
  };
  for (const row of rows) {
    const [first] = open;
    if (first !== undefined && !joins(first, row)) yield* flush();
    open.push(row);
  }
  yield* flush();
}

function joins(a: ConnectivityRow, b: ConnectivityRow): boolean {
  if (a.ports !== b.ports || a.verdict !== b.verdict || a.why !== b.why) return false;
  if ('cidr' in a.dst && 'cidr' in b.dst) return partyText(a.src) === partyText(b.src);
  return 'cidr' in a.src && 'cidr' in b.src && partyText(a.dst) === partyText(b.dst);
}

function outside(parties: readonly Party[], style: Style): string {
  const ranges = rangeTexts(parties.flatMap((party) => ('cidr' in party ? [party.cidr] : [])));
  if (style.verbose || ranges.length <= shownRanges + 1) return ranges.join(', ');
  return `${ranges.slice(0, shownRanges).join(', ')} and ${ranges.length - shownRanges} more ranges`;
}

function* footer({ reading, problems, notes }: ConnectivityReport, style: Style): Generator<string> {
  const { dialect, ipBlockMatchesPods, because } = reading;
  const blocks = ipBlockMatchesPods === true ? 'matches pods too' : 'means addresses outside the cluster';
  const reasons = Array.isArray(because) && because.length > 0 ? ` (${because.join('; ')})` : '';
  yield `\n${style.tint('dim', `Policies read as: ${String(dialect)}${reasons}; an ipBlock ${blocks}.`)}\n`;
  for (const note of notes) yield `${style.tint('dim', printable(note))}\n`;
  if (problems.length > 0) {
    const what = problems.length === 1 ? 'one part' : `${problems.length} parts`;
    yield `${style.tint('yellow', `The answer is without ${what} of the input that could not be used.`)}\n`;
  }
}
