/** What was really sent, one line a probe: the rungs that pass beside those that fail show where to look. */
import type { ProbeResult } from '../model/evidence.ts';
import type { Answer } from '../model/verdict.ts';
import { cell, columns, heading, marks, type Style, type Tint } from './style.ts';

/** Equal probes (several connections to one Service) are one line. */
interface Row {
  readonly what: string;
  readonly ends: string;
  readonly results: readonly ProbeResult[];
}

/** Rows shown without -v: what fails comes first when there are more. */
const maxRows = 12;

export function probeLines(probes: readonly ProbeResult[], style: Style, answer: Answer): string[] {
  const tried = probes.filter((probe) => probe.outcome !== 'error' && !isSearchMiss(probe, probes));
  if (tried.length === 0) return [];
  const passed = tried.filter(passes).length;
  const title = `${heading(style, 'Probes')}  ${passed} of ${tried.length} passed`;
  if (answer === 'reachable' && passed === tried.length && !style.verbose) return [title];
  const rows = rowsOf(style.verbose ? probes : tried, style);
  const shown = style.verbose || rows.length <= maxRows ? rows : worstFirst(rows).slice(0, maxRows);
  const what = Math.max(...shown.map((row) => row.what.length));
  const ends = Math.min(columns(style) - what - 30, Math.max(...shown.map((row) => row.ends.length)));
  const hidden = rows.length - shown.length;
  return [
    title,
    ...shown.flatMap((row) => rowLines(row, { what, ends }, style)),
    ...(hidden === 0 ? [] : [style.tint('dim', `  ${hidden} more with -v`)]),
  ];
}

const worstFirst = (rows: readonly Row[]): Row[] => {
  const fails = (row: Row) => (row.results.every(passes) ? 1 : 0);
  return rows.toSorted((a, b) => fails(a) - fails(b));
};

/** A name of the search list that does not exist is no failure where another one of the list does. */
function isSearchMiss(probe: ProbeResult, probes: readonly ProbeResult[]): boolean {
  if (probe.outcome !== 'ok' || probe.dns === undefined || probe.dns.answers.length > 0) return false;
  const { server } = probe.dns;
  return probes.some(
    (other) => other.src === probe.src && other.dns?.server === server && other.dns.answers.length > 0,
  );
}

function rowsOf(probes: readonly ProbeResult[], style: Style): Row[] {
  const rows = new Map<string, Row>();
  for (const probe of probes) {
    const what = whatText(probe);
    const ends = `${probe.src} ${marks(style).arrow} ${targetText(probe)}`;
    const key = `${what} ${ends}`;
    rows.set(key, { what, ends, results: [...(rows.get(key)?.results ?? []), probe] });
  }
  return [...rows.values()];
}

const passes = (probe: ProbeResult): boolean =>
  probe.outcome === 'ok' && (probe.dns === undefined || probe.dns.answers.length > 0);

function whatText(probe: ProbeResult): string {
  switch (probe.kind) {
    case 'icmp':
      return probe.sizeBytes === 0 ? 'ping' : `ping ${probe.sizeBytes} B${probe.df === true ? ' DF' : ''}`;
    case 'tcp':
      if (probe.sizeBytes === 0) return 'tcp';
      return `tcp ${probe.sizeBytes} B${probe.bulk === 'from-dst' ? ' reply' : ''}`;
    case 'udp':
      return probe.sizeBytes === 0 ? 'udp' : `udp ${probe.sizeBytes} B`;
    case 'dns':
      return probe.dns?.transport === 'tcp' ? 'dns/tcp' : 'dns';
  }
}

function targetText(probe: ProbeResult): string {
  if (probe.kind === 'dns') return `${probe.dst}${probe.dns === undefined ? '' : ` at ${probe.dns.server}`}`;
  if (probe.port === 0) return probe.dst;
  return probe.dst.includes(':') ? `[${probe.dst}]:${probe.port}` : `${probe.dst}:${probe.port}`;
}

function rowLines(row: Row, widths: { what: number; ends: number }, style: Style): string[] {
  const symbols = marks(style);
  const lost = row.results.filter((probe) => !passes(probe));
  const shown = lost[0] ?? row.results[0];
  if (shown === undefined) return [];
  const skipped = row.results.every((probe) => probe.outcome === 'error');
  const [mark, tint]: [string, Tint] = skipped
    ? [symbols.missed, 'dim']
    : lost.length === 0
      ? [symbols.ok, 'green']
      : [symbols.broken, 'red'];
  const count = row.results.length > 1 && lost.length > 0 ? `${lost.length} of ${row.results.length}: ` : '';
  const line = `  ${style.tint(tint, mark)} ${cell(row.what, widths.what, style)}  ${cell(row.ends, widths.ends, style)}  ${count}${endText(shown)}`;
  if (!style.verbose) return [line];
  return [
    line,
    ...[...new Set(row.results.map((probe) => probe.command))].map((one) =>
      style.tint('dim', `      $ ${one}`),
    ),
  ];
}

function endText(probe: ProbeResult): string {
  switch (probe.outcome) {
    case 'ok':
      if (probe.dns === undefined) return `${probe.ms} ms`;
      if (probe.dns.answers.length > 0) return probe.dns.answers.join(', ');
      return probe.dns.rcode === 'NOERROR' ? 'no address' : (probe.dns.rcode ?? 'no answer');
    case 'timeout':
      return probe.kind === 'tcp' && probe.sizeBytes > 0 && probe.output.startsWith('connected')
        ? 'connects, then stalls'
        : 'no answer';
    case 'refused':
      return 'refused';
    case 'unreachable':
      return 'unreachable';
    case 'too-big':
      return 'too big';
    case 'error':
      return 'not tried';
  }
}
