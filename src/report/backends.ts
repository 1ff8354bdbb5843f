/** Every backend of a Service: which fail and why, as text and as JSON. */
import type { z } from 'zod';
import type { Answer, Branch, Disposition, Verdict } from '../model/verdict.ts';
import { type Ends, pathLines } from './path.ts';
import type { backendsReport } from './schema.ts';
import { hang, heading, type Style } from './style.ts';
import { answerTint, destinationText, endpointText, placeOf } from './words.ts';

/** One backend with its worst branch: a backend that takes small packets only has failed. */
export interface Backend {
  /** `shop/api-2 10.244.2.7:8080`; the flow's destination where no rule chose one. */
  readonly name: string;
  /** Share of new connections, 0..1. */
  readonly share: number;
  readonly answer: Answer;
  readonly disposition: Disposition;
  /** Absent where it is reached. */
  readonly reason?: string;
  readonly branch: Branch;
}

const order: Readonly<Record<Answer, number>> = { unreachable: 0, unknown: 1, reachable: 2 };

/** In the order of the walk's branches. */
function backendsOf({ branches, flow }: Verdict): readonly Backend[] {
  const byName = new Map<string, Branch[]>();
  for (const branch of branches) {
    const name = branch.backend ?? destinationText(flow);
    byName.set(name, [...(byName.get(name) ?? []), branch]);
  }
  const total = totalShare(branches);
  return [...byName].flatMap(([name, own]): Backend[] => {
    const [branch] = own.toSorted((a, b) => order[a.answer] - order[b.answer]);
    if (branch === undefined) return [];
    const { answer, disposition, broken } = branch;
    const share = total === 0 ? 0 : totalShare(own) / total;
    const size =
      branch.size === 'full' && own.some((one) => one.answer === 'reachable') ? 'full-size packets: ' : '';
    const reason =
      broken === undefined ? {} : { reason: `${size}${placeOf(broken.hop)}: ${broken.step.text}` };
    return [{ name, share, answer, disposition, ...reason, branch }];
  });
}

/** A connection sends packets of both sizes: each size's shares add up to the same. */
const totalShare = (branches: readonly Branch[]): number =>
  Math.max(...(['small', 'full'] as const).map((size) => sum(branches.filter((one) => one.size === size))));

const sum = (branches: readonly Branch[]): number => branches.reduce((all, { share }) => all + share, 0);

/** `2 of 3 backends fail`, with what cannot be told. */
function backendsSummary(verdict: Verdict, backends: readonly Backend[]): string {
  const src = endpointText(verdict.flow.src);
  const dst = destinationText(verdict.flow);
  const count = (answer: Answer) => backends.filter((one) => one.answer === answer).length;
  const [failed, unclear] = [count('unreachable'), count('unknown')];
  const all = backends.length;
  if (all === 0) return `${src} to ${dst}: no backend could be walked`;
  const parts = [
    ...(failed > 0 ? [`${failed} of ${all} backends ${failed === 1 ? 'fails' : 'fail'}`] : []),
    ...(unclear > 0 ? [`${unclear} of ${all} cannot be told`] : []),
  ];
  return `${src} to ${dst}: ${parts.length === 0 ? `all ${all} backends answer` : parts.join(', ')}`;
}

const percent = (share: number): string => `${Math.round(share * 100)} %`;
const words: Readonly<Record<Answer, string>> = {
  unreachable: 'fails',
  unknown: 'unknown',
  reachable: 'answers',
};

/** The summary, one line a backend, and the paths of those that fail (with -v of all). */
export function backendsText(verdict: Verdict, style: Style): string {
  const backends = backendsOf(verdict);
  const worst: Answer = backends.reduce<Answer>(
    (at, one) => (order[one.answer] < order[at] ? one.answer : at),
    'reachable',
  );
  const ends: Ends = {
    src: endpointText(verdict.flow.src).replace(/^node\//, ''),
    dst: endpointText(verdict.flow.dst).replace(/^node\//, ''),
    isService: verdict.flow.dst.kind === 'service',
  };
  const lines = [
    style.tint(
      'bold',
      style.tint(answerTint[backends.length === 0 ? 'unknown' : worst], backendsSummary(verdict, backends)),
    ),
    '',
    heading(style, 'Backends'),
  ];
  for (const one of backends) {
    const head = `${words[one.answer]}  ${one.name}  ${percent(one.share)} of new connections`;
    lines.push(`  ${style.tint(answerTint[one.answer], head)}`);
    if (one.reason !== undefined) lines.push(...hang('    ', one.reason, style));
  }
  for (const { branch, answer } of backends)
    if (answer !== 'reachable' || style.verbose)
      lines.push('', ...pathLines(branch, ends, { ...style, explain: true }, { bothWays: true }));
  return lines.map((line) => line.trimEnd()).join('\n');
}

export type BackendsJson = z.infer<typeof backendsReport>;

export function backendsJson(verdict: Verdict): BackendsJson {
  const backends = backendsOf(verdict);
  const count = (answer: Answer) => backends.filter((one) => one.answer === answer).length;
  return {
    apiVersion: 'podpath.dev/v1alpha1',
    kind: 'TraceBackends',
    summary: backendsSummary(verdict, backends),
    answer: verdict.answer,
    total: backends.length,
    failing: count('unreachable'),
    unknown: count('unknown'),
    backends: backends.map(({ branch, ...one }) => ({ ...one, branch: verdict.branches.indexOf(branch) })),
  };
}
