/** The sentences that reports share: who a flow is between, how it ends, how sure a cause is. */
import type { Cause } from '../model/finding.ts';
import type { Endpoint, Flow } from '../model/flow.ts';
import type { Gap } from '../model/gap.ts';
import type { Answer, Branch, Step, Verdict } from '../model/verdict.ts';
import { type Address, formatAddress, isUnspecified } from '../net/address.ts';

/** As one would type it: `shop/web-1`, `shop/svc/api`, `node/node1`, `192.0.2.1`. */
export function endpointText(endpoint: Endpoint): string {
  switch (endpoint.kind) {
    case 'pod':
      return `${endpoint.namespace}/${endpoint.name}`;
    case 'service':
      return `${endpoint.namespace}/svc/${endpoint.name}`;
    case 'node':
      return `node/${endpoint.name}`;
    case 'external':
      return formatAddress(endpoint.address);
  }
}

/** `shop/api-2:8080/TCP`, `[fd00::1]:53/UDP`, `shop/api-2 (ICMP)`, with the host name where one was asked for. */
export function destinationText(flow: Flow): string {
  const protocol = flow.protocol.toUpperCase();
  const own = endpointText(flow.dst);
  const name = flow.hostName ?? (flow.dst.kind === 'external' ? bracketed(flow.dst.address) : own);
  const size = flow.sizeBytes === undefined ? '' : ` with packets of ${flow.sizeBytes} bytes`;
  const text =
    flow.protocol === 'icmp'
      ? `${flow.hostName ?? own} (${protocol})`
      : `${name}:${flow.dstPort}/${protocol}`;
  // A name that nobody knows has no address; the unspecified one stands in for it.
  const isNowhere = flow.dst.kind === 'external' && isUnspecified(flow.dst.address);
  const known = flow.hostName === undefined || flow.hostName === own || isNowhere ? '' : ` (${own})`;
  return `${text}${known}${size}`;
}

const bracketed = (address: Address): string =>
  address.family === 6 ? `[${formatAddress(address)}]` : formatAddress(address);

/** Scores as words. Below 0.5 is a guess and must be called one. */
export function scoreText(score: number): 'proven' | 'likely' | 'possible' {
  if (score >= 0.9) return 'proven';
  return score >= 0.5 ? 'likely' : 'possible';
}

/** The first line of every report: the answer in one sentence. */
export function headline(verdict: Verdict, causes: readonly Cause[], gaps: readonly Gap[]): string {
  const { flow } = verdict;
  const src = endpointText(flow.src);
  const dst = destinationText(flow);
  switch (verdict.answer) {
    case 'reachable':
      return `${src} reaches ${dst}`;
    case 'unreachable':
      return `${src} cannot reach ${dst}: ${because(verdict, causes)}`;
    case 'unknown':
      return `cannot tell whether ${src} reaches ${dst}: ${doubt(verdict, gaps)}`;
  }
}

function because(verdict: Verdict, causes: readonly Cause[]): string {
  const first = causes[0];
  if (first !== undefined) {
    const guess = { proven: '', likely: 'probably ', possible: 'a guess: ' }[scoreText(first.score)];
    return `${guess}${first.title}`;
  }
  const broken = brokenBranch(verdict)?.broken;
  if (broken === undefined) return verdict.disposition;
  const place = placeOf(broken.hop);
  return broken.step.text.includes(place) ? broken.step.text : `${place}: ${broken.step.text}`;
}

function doubt(verdict: Verdict, gaps: readonly Gap[]): string {
  const step = brokenBranch(verdict)?.broken?.step;
  if (step !== undefined) return step.text;
  const gap = gaps[0] ?? verdict.gaps[0];
  return gap === undefined ? 'nothing that was seen decides it' : `${gap.what}: ${gap.why}`;
}

/** The branch whose trace people are shown: the one that the verdict's trace comes from. */
const brokenBranch = (verdict: Verdict): Branch | undefined =>
  verdict.branches.find((branch) => branch.trace === verdict.trace && branch.broken !== undefined) ??
  verdict.branches.find((branch) => branch.answer === verdict.answer && branch.broken !== undefined);

export const shownBranch = (verdict: Verdict): Branch | undefined =>
  brokenBranch(verdict) ??
  verdict.branches.find((branch) => branch.trace === verdict.trace) ??
  verdict.branches[0];

export const placeOf = (hop: { readonly pod?: string; readonly node: string }): string => hop.pod ?? hop.node;

/** What the first line leaves out: which sizes and which share of the connections it is about. */
export function remarks(verdict: Verdict): string[] {
  return [...sizeRemark(verdict), ...shareRemark(verdict)];
}

function sizeRemark({ answer, branches }: Verdict): string[] {
  const small = branches.filter((branch) => branch.size === 'small');
  const full = branches.filter((branch) => branch.size === 'full');
  const passes = small.length > 0 && small.every((branch) => branch.answer === 'reachable');
  if (answer === 'reachable' || !passes || !full.some((branch) => branch.answer === answer)) return [];
  return answer === 'unreachable'
    ? ['Small packets pass; full-size packets are lost.']
    : ['Small packets pass; for full-size packets it cannot be told.'];
}

function shareRemark({ branches }: Verdict): string[] {
  // A branch of each size stands for the same connections: count the worst size only.
  const sizes = (['small', 'full'] as const).map((size) => branches.filter((branch) => branch.size === size));
  for (const same of sizes) {
    const total = same.reduce((sum, branch) => sum + branch.share, 0);
    const lost = same.filter((branch) => branch.answer === 'unreachable');
    const lostShare = lost.reduce((sum, branch) => sum + branch.share, 0);
    if (lost.length === 0 || total === 0 || lost.length === same.length) continue;
    // A packet lost before its backend was known is named by an address that is none: leave it out.
    const pods = lost.flatMap((branch) => branch.backend ?? []).filter((name) => name.includes('/'));
    const names = [...new Set(pods)];
    const to = names.length === 0 ? '' : ` (${names.join(', ')})`;
    return [`${Math.round((100 * lostShare) / total)} % of new connections fail${to}; the others pass.`];
  }
  return [];
}

/** Steps worth a line to somebody who wants to know where it breaks. Marks are rewritten all the way and decide nothing. */
export function decisive(step: Step): boolean {
  if (step.action === 'lost' || step.action === 'unknown' || step.kind === 'nat') return true;
  return step.kind === 'send' || step.kind === 'route' || step.kind === 'encap' || step.kind === 'deliver';
}

export const answerTint: Readonly<Record<Answer, 'green' | 'red' | 'yellow'>> = {
  reachable: 'green',
  unreachable: 'red',
  unknown: 'yellow',
};
