/** `policy list -o html`: a matrix of sources and destinations in one file, without scripts and without anything from elsewhere. */
import { type Party, partyText } from '../model/connectivity.ts';
import {
  type ConnectivityReport,
  type ConnectivityRow,
  problemText,
  rangeTexts,
  rowsOf,
} from './connectivity.ts';
import { htmlText } from './escape.ts';

/** A browser shows a matrix of this size at once; larger ones are folded into namespaces. */
const maxParties = 250;
const maxRanges = 12;
/** Lines of one cell's tooltip. */
const maxTipLines = 12;

export function* connectivityHtml(report: ConnectivityReport): Generator<string> {
  const matrix = new Matrix();
  for (const row of rowsOf(report.connections)) matrix.add(row);
  const { sources, destinations, folded } = matrix;
  yield `<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" content="width=device-width">\n<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n<title>Connectivity</title>\n<style>${css}</style>\n</head>\n<body>\n<h1>Who may talk to whom</h1>\n`;
  yield `<p>Rows are sources, columns destinations. <span class="key all">everything</span> <span class="key some">some ports</span> <span class="key maybe">on a condition</span> <span class="key none">denied</span>${folded ? ' Pods are folded into their namespaces: there are too many for one page.' : ''}</p>\n`;
  if (sources.length === 0) yield '<p>No connection is allowed.</p>\n';
  else {
    yield `<div class="wide"><table>\n<thead><tr><td></td>${destinations.map((name) => `<th scope="col"><span>${html(name)}</span></th>`).join('')}</tr></thead>\n<tbody>\n`;
    for (const source of sources)
      yield `<tr><th scope="row">${html(source)}</th>${destinations.map((name) => cellHtml(source, name, matrix.cell(source, name))).join('')}</tr>\n`;
    yield '</tbody>\n</table></div>\n';
  }
  yield* list('Remarks', [readingText(report), ...report.notes]);
  yield* list('What the answer is without', report.problems.map(problemText));
  yield '</body>\n</html>\n';
}

const readingText = ({ reading }: ConnectivityReport): string =>
  `Policies read as ${String(reading.dialect)}; an ipBlock ${reading.ipBlockMatchesPods === true ? 'matches pods too' : 'means addresses outside the cluster'}.`;

function* list(title: string, items: readonly string[]): Generator<string> {
  if (items.length === 0) return;
  yield `<h2>${title}</h2>\n<ul>\n${items.map((item) => `<li>${html(item)}</li>\n`).join('')}</ul>\n`;
}

interface Cell {
  /** The most that any of its connections allows. */
  readonly shade: 'all' | 'some' | 'maybe';
  readonly lines: readonly string[];
  readonly more: number;
}

function cellHtml(source: string, destination: string, cell: Cell | undefined): string {
  const title = `${source} to ${destination}`;
  if (cell === undefined)
    return source === destination
      ? '<td class="self"></td>'
      : `<td class="none" title="${html(`${title}\ndenied`)}"></td>`;
  const more = cell.more === 0 ? [] : [`and ${cell.more} more`];
  const mark = { all: '\u25cf', some: '\u25d0', maybe: '?' }[cell.shade];
  return `<td class="${cell.shade}" title="${html([title, ...cell.lines, ...more].join('\n'))}">${mark}</td>`;
}

/** Cells by the names of their ends; names get coarser when there are too many. */
class Matrix {
  readonly #cells = new Map<string, Map<string, Cell>>();
  readonly #names = new Map<string, Party>();
  #foldRanges = false;
  #foldPods = false;

  get folded(): boolean {
    return this.#foldPods;
  }

  get sources(): readonly string[] {
    return [...this.#cells.keys()].sort();
  }

  get destinations(): readonly string[] {
    return [...new Set([...this.#cells.values()].flatMap((row) => [...row.keys()]))].sort();
  }

  cell(source: string, destination: string): Cell | undefined {
    return this.#cells.get(source)?.get(destination);
  }

  add({ src, dst, ports, verdict, why }: ConnectivityRow): void {
    const shade = verdict === 'conditional' ? 'maybe' : ports.startsWith('everything') ? 'all' : 'some';
    const text = verdict === 'conditional' ? `${ports} (${why})` : ports;
    const before = this.#names.size;
    const [from, to] = [this.#nameOf(src), this.#nameOf(dst)];
    const detail = this.#detail(src, dst);
    this.#put(from, to, { shade, lines: [detail === '' ? text : `${detail}: ${text}`], more: 0 });
    if (this.#names.size > before) this.#foldIfLarge();
  }

  #nameOf(party: Party): string {
    const name = this.#coarse(party);
    if (!this.#names.has(name)) this.#names.set(name, party);
    return name;
  }

  #coarse(party: Party): string {
    if ('cidr' in party) return this.#foldRanges ? 'outside' : (rangeTexts([party.cidr])[0] ?? party.cidr);
    if (this.#foldPods && party.namespace !== '') return `${party.namespace}/*`;
    return partyText(party);
  }

  /** What the coarse names leave out. */
  #detail(src: Party, dst: Party): string {
    const fine = [src, dst].filter((party) => this.#coarse(party) !== partyText(party));
    return fine.map(partyText).join(' to ');
  }

  #put(from: string, to: string, cell: Cell): void {
    const row = this.#cells.get(from) ?? new Map<string, Cell>();
    this.#cells.set(from, row);
    const known = row.get(to);
    row.set(to, known === undefined ? cell : joined(known, cell));
  }

  #foldIfLarge(): void {
    const parties = [...(this.#names.size > maxRanges ? this.#names.values() : [])];
    if (!this.#foldRanges && parties.filter((party) => 'cidr' in party).length > maxRanges) {
      this.#foldRanges = true;
      this.#rename();
    }
    if (!this.#foldPods && this.#names.size > maxParties) {
      this.#foldPods = true;
      this.#rename();
    }
  }

  #rename(): void {
    const names = new Map([...this.#names].map(([name, party]) => [name, this.#coarse(party)]));
    const cells = [...this.#cells].flatMap(([from, row]) =>
      [...row].map(([to, cell]) => ({ from, to, cell })),
    );
    const parties = [...this.#names.values()];
    this.#cells.clear();
    this.#names.clear();
    for (const party of parties) this.#nameOf(party);
    for (const { from, to, cell } of cells) {
      const [src, dst] = [names.get(from) ?? from, names.get(to) ?? to];
      const detail = [from === src ? '' : from, to === dst ? '' : to]
        .filter((text) => text !== '')
        .join(' to ');
      const lines = detail === '' ? cell.lines : cell.lines.map((line) => `${detail}: ${line}`);
      this.#put(src, dst, { ...cell, lines });
    }
  }
}

function joined(a: Cell, b: Cell): Cell {
  const lines = [...new Set([...a.lines, ...b.lines])];
  return {
    shade: a.shade === b.shade ? a.shade : 'some',
    lines: lines.slice(0, maxTipLines),
    more: a.more + b.more + Math.max(0, lines.length - maxTipLines),
  };
}

/** Line breaks are our own: names cannot bring any along. */
const html = (text: string): string => text.split('\n').map(htmlText).join('&#10;');

const css = `
:root{color-scheme:light dark;--line:#8884;--all:#2e9e5b;--some:#8fd19e;--maybe:#f0c040;--none:#d9534f22;--ink:#111}
@media (prefers-color-scheme:dark){:root{--all:#2e9e5b;--some:#2b5f3d;--maybe:#8a6d1a;--none:#d9534f33;--ink:#eee}}
body{font:14px/1.5 system-ui,sans-serif;margin:1.5rem}
h1{font-size:1.3rem}h2{font-size:1.05rem}
.wide{overflow:auto;max-height:85vh;border:1px solid var(--line)}
table{border-collapse:separate;border-spacing:0}
td,th{border-right:1px solid var(--line);border-bottom:1px solid var(--line)}
thead th{position:sticky;top:0;background:Canvas;vertical-align:bottom;font-weight:400;z-index:1}
thead th span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap;max-height:22rem;padding:.4rem .2rem}
tbody th{position:sticky;left:0;background:Canvas;text-align:left;font-weight:400;white-space:nowrap;padding:.1rem .5rem}
thead td{position:sticky;left:0;top:0;background:Canvas;z-index:2}
tbody td{min-width:1.6rem;height:1.6rem;text-align:center;cursor:default;color:var(--ink)}
.all{background:var(--all)}.some{background:var(--some)}.maybe{background:var(--maybe)}.none{background:var(--none)}
.self{background:repeating-linear-gradient(45deg,transparent 0 4px,var(--line) 4px 5px)}
tbody tr:hover th,tbody tr:hover td{box-shadow:inset 0 1px 0 currentColor,inset 0 -1px 0 currentColor}
.key{padding:.1rem .5rem;border-radius:.2rem;margin-right:.2rem;color:var(--ink)}
`;
