/** Text reports: the answer first, then the path, the causes with their proof, what was not seen, and what to do next. */
import type { Diagnosis } from '../model/diagnosis.ts';
import type { Evidence } from '../model/evidence.ts';
import type { Cause } from '../model/finding.ts';
import type { Endpoint } from '../model/flow.ts';
import type { Gap } from '../model/gap.ts';
import { formatSource, type SourceRef } from '../model/source.ts';
import type { Verdict } from '../model/verdict.ts';
import { type Ends, pathLines } from './path.ts';
import { probeLines } from './probes.ts';
import { columns, hang, heading, marks, type Style, wrap } from './style.ts';
import { answerTint, endpointText, headline, remarks, scoreText, shownBranch } from './words.ts';

export interface DiagnosisTextOptions {
  /** The command to run next, where the caller knows a better one than the report. */
  readonly next?: string;
}

/** The report of `podpath diagnose`, without a final newline. */
export function diagnosisText(
  diagnosis: Diagnosis,
  style: Style,
  options: DiagnosisTextOptions = {},
): string {
  const { verdict, causes, gaps, probes } = diagnosis;
  const isDecided = verdict.answer !== 'unknown';
  return sections([
    answerLines(verdict, causes, gaps, style),
    (diagnosis.remarks ?? []).flatMap((text) => wrap(text, columns(style) - 2).map((line) => `  ${line}`)),
    verdictPath(verdict, style),
    causeLines(causes, style),
    probeLines(probes, style, verdict.answer),
    gapLines(gaps, style, isDecided),
    nextLines(diagnosis, style, options),
    style.verbose ? [style.tint('dim', `diagnosed in ${Math.round(diagnosis.durationMs)} ms`)] : [],
  ]);
}

/** The report of `podpath trace`: the walk there and back, every branch with -v. */
export function traceText(verdict: Verdict, style: Style): string {
  const branches = style.verbose ? verdict.branches : [shownBranch(verdict)].flatMap((one) => one ?? []);
  return sections([
    answerLines(verdict, [], verdict.gaps, style),
    ...branches.map((branch) =>
      pathLines(branch, endsOf(verdict), { ...style, explain: true }, { bothWays: true }),
    ),
    hiddenBranches(verdict, branches.length, style),
    gapLines(verdict.gaps, style, verdict.answer !== 'unknown'),
  ]);
}

/** Blocks with an empty line between them; empty blocks vanish. */
export const sections = (blocks: readonly (readonly string[])[]): string =>
  blocks
    .filter((block) => block.length > 0)
    .map((block) => block.map((line) => line.trimEnd()).join('\n'))
    .join('\n\n');

function answerLines(
  verdict: Verdict,
  causes: readonly Cause[],
  gaps: readonly Gap[],
  style: Style,
): string[] {
  // Not wrapped: the first line is the answer, whole, also for `head -1`.
  const first = headline(verdict, causes, gaps);
  return [
    style.tint('bold', style.tint(answerTint[verdict.answer], first)),
    ...remarks(verdict).flatMap((remark) => hang('  ', remark, style)),
  ];
}

/** Names as hops have them: a node's hop is `node1`, not `node/node1`. */
const placeName = (endpoint: Endpoint): string =>
  endpoint.kind === 'node' ? endpoint.name : endpointText(endpoint);

const endsOf = ({ flow }: Verdict): Ends => ({
  src: placeName(flow.src),
  dst: placeName(flow.dst),
  isService: flow.dst.kind === 'service',
});

function verdictPath(verdict: Verdict, style: Style): string[] {
  const branch = shownBranch(verdict);
  return branch === undefined ? [] : pathLines(branch, endsOf(verdict), style);
}

function hiddenBranches(verdict: Verdict, shown: number, style: Style): string[] {
  const hidden = verdict.branches.length - shown;
  return hidden <= 0
    ? []
    : [
        style.tint(
          'dim',
          `${hidden} more ${hidden === 1 ? 'way' : 'ways'} with -v (other backends and packet sizes)`,
        ),
      ];
}

function causeLines(causes: readonly Cause[], style: Style): string[] {
  if (causes.length === 0) return [];
  const title = causes.length === 1 ? 'Cause' : 'Causes';
  return [heading(style, title), ...causes.flatMap((cause, index) => causeBlock(cause, index, style))];
}

const labelColumns = 12;

function causeBlock(cause: Cause, index: number, style: Style): string[] {
  const word = scoreText(cause.score);
  const tint = { proven: 'red', likely: 'yellow', possible: 'dim' } as const;
  const lines = [`  ${index + 1}. ${style.tint('bold', cause.id)}  ${style.tint(tint[word], word)}`];
  lines.push(...hang('     ', cause.title, style));
  for (const evidence of cause.evidence) lines.push(...evidenceLines(evidence, style));
  for (const against of cause.contradictedBy) lines.push(...labelled('against', against, style));
  for (const [at, command] of cause.repair.entries())
    lines.push(commandLine(at === 0 ? 'repair' : '', command, style));
  if (cause.nextProbe !== undefined) lines.push(commandLine('prove it', cause.nextProbe, style));
  return lines;
}

function evidenceLines(evidence: Evidence, style: Style): string[] {
  const lines = labelled(evidence.how, evidence.statement, style);
  if (evidence.source === undefined) return lines;
  const width = columns(style) - 5 - labelColumns;
  const cited = wrap(oneLine(citation(evidence.source, evidence.statement)), width);
  return [...lines, ...cited.map((line) => style.tint('dim', `${' '.repeat(5 + labelColumns)}${line}`))];
}

/** The place alone where the statement has just quoted its text. */
function citation(source: SourceRef, statement: string): string {
  if (source.kind !== 'file' || source.line === undefined || !statement.includes(source.text))
    return formatSource(source);
  return `${source.file}:${source.line}`;
}

/** Several lines of a command's output would tear the layout: they are joined. */
const oneLine = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' | ');

const labelled = (label: string, text: string, style: Style): string[] =>
  hang(`     ${label.padEnd(labelColumns)}`, text, style);

/** Commands are never wrapped: they are there to be copied. */
const commandLine = (label: string, command: string, style: Style): string =>
  `     ${label.padEnd(labelColumns)}${style.tint('cyan', command)}`;

/** Gaps that did not decide the answer get one line each; where they stand and how to fill them needs -v. */
export function gapLines(gaps: readonly Gap[], style: Style, isDecided: boolean): string[] {
  if (gaps.length === 0) return [];
  const isBrief = isDecided && !style.verbose;
  const shown = style.verbose ? gaps : gaps.slice(0, isBrief ? 3 : 8);
  const lines = [heading(style, 'Could not see'), ...shown.flatMap((gap) => gapBlock(gap, style, isBrief))];
  const hidden = gaps.length - shown.length;
  return hidden === 0 ? lines : [...lines, style.tint('dim', `  ${hidden} more with -v`)];
}

function gapBlock(gap: Gap, style: Style, isBrief: boolean): string[] {
  const lines = hang(`  ${marks(style).bullet} `, `${gap.what}: ${gap.why}`, style);
  if (isBrief) return lines;
  return [...lines, style.tint('dim', `    ${gap.where}`), ...hang('    ', gap.todo, style)];
}

function nextLines(diagnosis: Diagnosis, style: Style, options: DiagnosisTextOptions): string[] {
  const next = options.next ?? nextStep(diagnosis);
  return next === undefined ? [] : [heading(style, 'Next'), `  ${style.tint('cyan', next)}`];
}

/** A proven cause is repaired, a guess is proven first, and without a cause the first gap is filled. */
function nextStep({ verdict, causes, gaps }: Diagnosis): string | undefined {
  if (verdict.answer === 'reachable') return undefined;
  const best = causes[0];
  if (best === undefined || verdict.answer === 'unknown') return gaps[0]?.todo ?? best?.nextProbe;
  return scoreText(best.score) === 'proven' ? best.repair[0] : (best.nextProbe ?? best.repair[0]);
}
