/** What probe results say about a flow: sentences for the evidence, and an answer of their own. Pure. */
import type { Evidence, ProbeResult } from '../model/evidence.ts';
import type { Flow } from '../model/flow.ts';
import type { Answer } from '../model/verdict.ts';
import { formatAddress } from '../net/address.ts';
import { labelOf } from './facts.ts';
import { hostPort } from './request.ts';

export interface ProbeReading {
  /** unknown where no probe tried the flow, or where silence can mean more than loss (UDP). */
  readonly answer: Answer;
  /** One clause: `the TCP handshake from shop/web-1 to 10.244.2.6:8080 timed out`. */
  readonly because: string;
  /** One sentence a probe that concerns the flow, its command as source. */
  readonly evidence: readonly Evidence[];
}

/** Reads fresh and recorded results alike: they are matched by sender and address, not by a plan. */
export function readProbes(flow: Flow, results: readonly ProbeResult[]): ProbeReading {
  const evidence = results.map(probeEvidence);
  const own = results.filter((result) => result.src === labelOf(flow.src));
  const dns = flow.hostName === undefined ? undefined : judgeDns(flow.hostName, own);
  const path = judgePath(flow, own);
  return { ...(dns?.answer === 'unreachable' ? dns : path), evidence };
}

const probeEvidence = (result: ProbeResult): Evidence => ({
  how: 'probed',
  statement: sentence(result),
  source: { kind: 'command', command: result.command, output: result.output },
});

type Judgement = Pick<ProbeReading, 'answer' | 'because'>;

function judgePath(flow: Flow, own: readonly ProbeResult[]): Judgement {
  const dst = formatAddress(flow.dst.address);
  const toDst = own.filter((result) => result.dst === dst);
  if (flow.sizeBytes !== undefined) {
    const sized = judgeSize(toDst, flow.sizeBytes);
    if (sized !== undefined) return sized;
  }
  const tries = toDst.filter((result) => result.kind === flow.protocol && result.port === flow.dstPort);
  const small = judgeSmall(
    flow,
    tries.filter((result) => isSmall(result) || endedBeforeBulk(result)),
  );
  if (small.answer !== 'reachable' || flow.protocol === 'icmp' || flow.sizeBytes !== undefined) return small;
  return (
    judgeLarge(
      flow,
      tries.filter((result) => !isSmall(result) && !endedBeforeBulk(result)),
      toDst,
    ) ?? small
  );
}

const isSmall = (result: ProbeResult): boolean => result.sizeBytes === 0;

/** A transfer whose handshake failed says nothing about sizes: behind a Service it may have got the one bad backend. */
const endedBeforeBulk = (result: ProbeResult): boolean =>
  result.kind === 'tcp' &&
  !isSmall(result) &&
  (result.outcome === 'refused' ||
    result.outcome === 'unreachable' ||
    (result.outcome === 'timeout' && /no answer to the SYN|connection timed out/i.test(result.output)));

/** A probe that could not be made (`error`) says nothing. */
const failed = (result: ProbeResult): boolean => result.outcome !== 'ok' && result.outcome !== 'error';

function judgeSmall(flow: Flow, tries: readonly ProbeResult[]): Judgement {
  const passed = tries.filter((result) => result.outcome === 'ok');
  const lost = tries.filter(failed);
  const first = lost[0];
  if (first !== undefined) {
    const many = tries.length > 1 ? `${lost.length} of ${tries.length} tries failed: ` : '';
    // A UDP server need not answer, so silence alone proves no loss.
    const silent = flow.protocol === 'udp' && lost.every((result) => result.outcome === 'timeout');
    if (silent && passed.length === 0) return { answer: 'unknown', because: `${many}${sentence(first)}` };
    return { answer: 'unreachable', because: `${many}${sentence(first)}` };
  }
  if (passed[0] !== undefined) return { answer: 'reachable', because: sentence(passed[0]) };
  return { answer: 'unknown', because: tries[0] ? sentence(tries[0]) : 'no probe tried this flow' };
}

/** Undefined if nothing speaks against full-size packets. */
function judgeLarge(
  flow: Flow,
  transfers: readonly ProbeResult[],
  toDst: readonly ProbeResult[],
): Judgement | undefined {
  const stalled = transfers.find((result) => result.outcome === 'timeout' || result.outcome === 'too-big');
  const pingPasses = toDst.some((result) => result.df === true && result.outcome === 'ok');
  // A UDP server may stay silent to a large datagram that it got: a ping of that size is the witness.
  if (stalled !== undefined && !(flow.protocol === 'udp' && pingPasses))
    return { answer: 'unreachable', because: `small packets pass, but ${sentence(stalled)}` };
  const passes = transfers.some((result) => result.outcome === 'ok');
  // Only a transfer decides: firewalls that drop large pings are common, and TCP does not need them.
  const ping = toDst.find((result) => result.df === true && result.outcome === 'timeout');
  if (flow.protocol === 'tcp' && !passes && ping !== undefined)
    return { answer: 'unknown', because: `small packets pass, but ${sentence(ping)}` };
  return undefined;
}

/** Undefined if no probe of this size was sent. */
function judgeSize(toDst: readonly ProbeResult[], sizeBytes: number): Judgement | undefined {
  const sized = toDst.filter((result) => result.df === true && result.sizeBytes === sizeBytes);
  const bad = sized.find(failed);
  return bad === undefined ? undefined : { answer: 'unreachable', because: sentence(bad) };
}

/** Resolvers ask over UDP, so only those questions count. Undefined if none was asked. */
function judgeDns(hostName: string, own: readonly ProbeResult[]): Judgement | undefined {
  const bare = hostName.replace(/\.$/, '');
  const asked = own.filter(
    (result) =>
      result.kind === 'dns' &&
      result.dns?.transport !== 'tcp' &&
      (result.dst === bare || result.dst.startsWith(`${bare}.`)),
  );
  const first = asked[0];
  if (first === undefined) return undefined;
  // A recording need not say what was answered; that nslookup succeeded is then all there is.
  const resolved = (result: ProbeResult) =>
    result.dns === undefined ? result.outcome === 'ok' : result.dns.answers.length > 0;
  if (asked.some(resolved)) return { answer: 'reachable', because: `${bare} resolves` };
  const answered = asked.filter((result) => result.dns?.rcode !== undefined);
  if (answered.length === 0) return { answer: 'unreachable', because: sentence(first) };
  return { answer: 'unreachable', because: `no nameserver knows ${bare}: ${sentence(answered[0] ?? first)}` };
}

/** One probe as a sentence without its final stop. */
function sentence(result: ProbeResult): string {
  switch (result.kind) {
    case 'icmp':
      return pingSentence(result);
    case 'tcp':
      return result.sizeBytes === 0 ? connectSentence(result) : transferSentence(result);
    case 'udp':
      return datagramSentence(result);
    case 'dns':
      return dnsSentence(result);
  }
}

const ends: Readonly<Record<ProbeResult['outcome'], (result: ProbeResult) => string>> = {
  ok: () => 'passed',
  timeout: (result) => `got no answer in ${result.ms} ms`,
  refused: (result) => `was refused${/a TCP reset: /.test(result.output) ? ' by a TCP reset' : ''}`,
  unreachable: (result) => `came back as unreachable (${firstLine(result.output)})`,
  'too-big': (result) => `came back as too big (${firstLine(result.output)})`,
  error: (result) => `could not be tried (${firstLine(result.output)})`,
};

const end = (result: ProbeResult): string => ends[result.outcome](result);
const target = (result: ProbeResult): string => hostPort(result.dst, result.port);

function pingSentence(result: ProbeResult): string {
  const what =
    result.df === true
      ? `a ping of ${result.sizeBytes} bytes that must not be fragmented`
      : result.sizeBytes === 0
        ? 'a ping'
        : `a ping with ${result.sizeBytes} bytes of payload`;
  return `${what} from ${result.src} to ${result.dst} ${result.outcome === 'ok' ? 'was answered' : end(result)}`;
}

const connectSentence = (result: ProbeResult): string =>
  `the TCP handshake from ${result.src} to ${target(result)} ${end(result)}`;

function transferSentence(result: ProbeResult): string {
  const [from, to] = result.bulk === 'from-dst' ? [target(result), result.src] : [result.src, target(result)];
  const what = `a transfer of ${result.sizeBytes} bytes from ${from} to ${to}`;
  return result.outcome === 'timeout'
    ? `${what} stalled (${firstLine(result.output)})`
    : `${what} ${end(result)}`;
}

function datagramSentence(result: ProbeResult): string {
  const size = result.sizeBytes === 0 ? '' : ` of ${result.sizeBytes} bytes`;
  const what = `a UDP datagram${size} from ${result.src} to ${target(result)}`;
  return `${what} ${result.outcome === 'ok' ? 'was answered' : end(result)}`;
}

function dnsSentence(result: ProbeResult): string {
  const via = result.dns?.transport === 'tcp' ? ' over TCP' : '';
  const server = result.dns === undefined ? 'the nameserver' : result.dns.server;
  const what = `the question of ${result.src} to ${server}${via} for ${result.dst}`;
  if (result.outcome !== 'ok') return `${what} ${end(result)}`;
  if (result.dns === undefined) return `${what} was answered`;
  const { answers } = result.dns;
  if (answers.length > 0) return `${what} was answered with ${answers.join(', ')}`;
  return `${what} was answered with ${result.dns.rcode ?? 'nothing'}${result.dns.rcode === 'NOERROR' ? ' and no address' : ''}`;
}

const firstLine = (text: string): string => text.split('\n', 1)[0] || 'no output';
