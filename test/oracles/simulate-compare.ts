/** What became of each packet of a batch, in the same words for the kernel and for us. */
import type { Simulated } from '../../src/model/simulated.ts';
import { formatAddress, sameAddress } from '../../src/net/address.ts';
import { formatPacket, type Packet } from '../../src/net/packet.ts';
import { withHiddenPorts } from './made-up.ts';
import { decode, encode, type Wire } from './netfilter-wire.ts';
import type { Injection } from './simulate-flows.ts';
import type { Emerged, KernelNamespace } from './simulate-namespace.ts';

type Seen = Wire & { readonly where: string };

interface Observed {
  /** By the id of the packet that was sent: itself, or an error about it. */
  readonly byId: ReadonlyMap<number, readonly Seen[]>;
  /** Resets that the kernel itself made, by flow, in their order: each is taken out for the packet that it answers. */
  readonly resets: ReadonlyMap<number, Seen[]>;
  /** errno of sends that were refused, by id. */
  readonly refused: ReadonlyMap<number, number>;
}

function observe(emerged: readonly Emerged[]): Observed {
  const byId = new Map<number, Seen[]>();
  const resets = new Map<number, Seen[]>();
  const refused = new Map<number, number>();
  const put = (map: Map<number, Seen[]>, key: number, seen: Seen) => {
    const list = map.get(key);
    if (list === undefined) map.set(key, [seen]);
    else list.push(seen);
  };
  for (const { where, data } of emerged) {
    if (where === 'refused') {
      refused.set(data.readUInt32BE(0), data.readUInt32BE(4));
      continue;
    }
    const wire = decode(data);
    if (wire === undefined) continue;
    const id = wire.quotedId ?? wire.id;
    if (id === 0 && wire.packet.flags?.rst === true) put(resets, flowOf(wire.packet), { where, ...wire });
    else put(byId, id, { where, ...wire });
  }
  return { byId, resets, refused };
}

/** Source port or ICMP id of the flow, less 1024. */
export function flowOf({ quoted, icmp, srcPort, dstPort }: Packet): number {
  if (quoted !== undefined) return flowOf(quoted);
  // Where rules name any port, flows have ports of the highest.
  const highest = [srcPort, dstPort].find((port) => port >= 60_000);
  const port = highest ?? [srcPort, dstPort].find((one) => one >= 1024 && one !== 8080);
  return (icmp?.id ?? port ?? 0) - 1024;
}

/** ENETUNREACH, EHOSTUNREACH, EACCES, EMSGSIZE, EINVAL (a blackhole). EPERM is what a filter's drop looks like. */
const refusals = new Set([101, 113, 13, 90, 22]);

const words = (packet: Packet): string =>
  `${formatPacket(packet)} ttl ${packet.ttl} tos ${packet.tos ?? 0}${packet.quoted === undefined ? '' : ` about ${formatPacket(packet.quoted)}`}`;

const wayOf = (where: string, packet: Packet): string =>
  where === 'local' ? `deliver ${words(packet)}` : `forward ${where} ${words(packet)}`;

/** An answer's size counts too: the kernel chooses how much it quotes. */
const answerWords = (where: string, packet: Packet): string =>
  `${wayOf(where, packet)} ${packet.lengthBytes} bytes${packet.df ? ' df' : ''}`;

/** What the kernel did with packet `id`, in the words of describeOurs. */
function describeKernel(
  { byId, refused, resets }: Observed,
  id: number,
  { flow, ours, packet }: Injection,
): string {
  const { madeUp } = ours.packet;
  const seen = (byId.get(id) ?? [])
    .filter((entry) => madeUp !== undefined || flowOf(entry.packet) === flow)
    .map((entry) =>
      madeUp === undefined ? entry : { ...entry, packet: withHiddenPorts(entry.packet, madeUp) },
    );
  // Errors have ids of the kernel's choice: only a packet that is one itself may come out as one of its id.
  const isError = packet.quoted !== undefined;
  const own = seen.filter((entry) => entry.id === id && (entry.quotedId !== undefined) === isError);
  const last = own.find(({ where }) => where === 'local') ?? own[0];
  if (last !== undefined) return wayOf(last.where, last.packet);
  const error = seen.find((entry) => entry.quotedId !== undefined);
  if (error !== undefined) return `reject ${icmpWords(error)} -> ${answerWords(error.where, error.packet)}`;
  if (ours.answer?.kind === 'tcp-reset') {
    const reset = takeReset(resets.get(flow) ?? [], packet);
    return `reject tcp-reset -> ${reset === undefined ? 'silent' : answerWords(reset.where, reset.packet)}`;
  }
  return refusals.has(refused.get(id) ?? 0) ? 'reject error' : 'drop';
}

/** Devices are read one after the other, so resets of both directions may come in another order than they were sent in. */
function takeReset(seen: Seen[], { src, dst }: Packet): Seen | undefined {
  const answer = seen.findIndex(
    (entry) => sameAddress(entry.packet.src, dst) && sameAddress(entry.packet.dst, src),
  );
  return seen.splice(Math.max(answer, 0), 1)[0];
}

function icmpWords({ packet: { icmp, protocol }, mtuBytes }: Seen): string {
  if (icmp === undefined) return '?';
  const isSize = protocol === 'icmp' ? icmp.type === 3 && icmp.code === 4 : icmp.type === 2;
  return `${icmp.type}/${icmp.code}${isSize ? ` mtu ${mtuBytes}` : ''}`;
}

export function describeOurs({ verdict, packet, oif, answer, answerEnd, reason }: Simulated): string {
  switch (verdict) {
    case 'forward':
      return wayOf(oif ?? '', packet);
    case 'deliver':
      return wayOf('local', packet);
    case 'drop':
      return 'drop';
    case 'unknown':
      return `unknown: ${reason}`;
    case 'reject': {
      if (answer === undefined || answer.kind === 'error' || answerEnd === undefined) return 'reject error';
      const mtu = answer.kind === 'icmp' && answer.mtuBytes !== undefined ? ` mtu ${answer.mtuBytes}` : '';
      const what = answer.kind === 'icmp' ? `${answer.type}/${answer.code}${mtu}` : answer.kind;
      return `reject ${what} -> ${describeAnswer(answerEnd)}`;
    }
  }
}

function describeAnswer({ verdict, oif, packet, reason }: Simulated): string {
  if (verdict === 'unknown') return `unknown: ${reason}`;
  if (verdict === 'drop' || verdict === 'reject') return 'silent';
  return answerWords(verdict === 'deliver' ? 'local' : (oif ?? ''), packet);
}

export interface Disagreement {
  readonly id: number;
  readonly injection: Injection;
  readonly ours: string;
  readonly kernel: string;
}

export interface Comparison {
  readonly disagreements: readonly Disagreement[];
  /** How often the kernel did what. */
  readonly tally: ReadonlyMap<string, number>;
}

/**
 * ip_error() tells each sender only a few times that there is no route, however the rates are set: beyond them the kernel may be
 * silent. The counts live as long as the namespace.
 */
export class RouteErrors {
  readonly #told = new Map<bigint, number>();
  /** ip_rt_error_burst is five times ip_rt_error_cost. */
  protected readonly patience: number = 5;

  /** Counts the packet, and tells whether the kernel may be silent about it. */
  mayBeSilent({ via, ours }: Injection): boolean {
    const { packet, steps, verdict } = ours;
    if (via === 'out' || packet.src.family === 6) return false;
    const last = steps.at(-1)?.reason;
    if (verdict !== 'unknown' && last !== 'no-route' && last !== 'route-blackhole') return false;
    const told = this.#told.get(packet.src.value) ?? 0;
    this.#told.set(packet.src.value, told + 1);
    return told >= this.patience;
  }
}

/** Sends the whole batch and compares every packet's fate. */
export async function compare(
  kernel: KernelNamespace,
  errors: RouteErrors,
  injections: readonly Injection[],
): Promise<Comparison> {
  const emerged = await kernel.send(
    injections.map(({ via, packet, sequence }, i) => ({
      via,
      mark: packet.mark,
      bytes: encode(packet, i + 1, sequence),
    })),
  );
  const observed = observe(emerged);
  const tally = new Map<string, number>();
  const count = (what: string) => tally.set(what, (tally.get(what) ?? 0) + 1);
  const disagreements: Disagreement[] = [];
  const resetExpected = new Set(injections.filter(mayReset).map(({ flow }) => flow));
  for (const [i, injection] of injections.entries()) {
    const id = i + 1;
    const isSpared = errors.mayBeSilent(injection);
    const { verdict, answer, answerEnd, steps } = injection.ours;
    if (verdict === 'unknown') {
      count('unknown');
      continue;
    }
    const ours = describeOurs(injection.ours);
    const kernels = describeKernel(observed, id, injection);
    count(kernels.split(' ')[0] ?? '');
    if (steps.some((step) => step.kind === 'nat')) count('translated');
    if (answerEnd !== undefined) count(`answer ${answerEnd.verdict}`);
    const noReset = resetExpected.has(injection.flow) || !observed.resets.has(injection.flow);
    const isSilent = kernels === 'drop' || kernels.endsWith('-> silent');
    if (noReset && isSame(ours, kernels, isSilent, injection.ours)) continue;
    if (noReset && answer?.kind === 'icmp' && isSilent && isSpared) {
      count('limited');
      continue;
    }
    disagreements.push({ id, injection, ours, kernel: noReset ? kernels : 'reset' });
  }
  return { disagreements, tally };
}

function isSame(ours: string, kernel: string, isSilent: boolean, { answerEnd }: Simulated): boolean {
  if (ours === kernel) return true;
  if (answerEnd === undefined) return false;
  if (ours.endsWith('-> silent')) return isSilent;
  // Which of several ways the answer takes is chance: what it says and that it may be lost is all there is to compare.
  return answerEnd.verdict === 'unknown' && (isSilent || sayingOf(ours) === sayingOf(kernel));
}

const sayingOf = (text: string): string => text.split(' -> ')[0] ?? '';

/** A delivered packet may be answered with a reset by the namespace's own TCP. */
const mayReset = ({ ours }: Injection): boolean =>
  ours.answer?.kind === 'tcp-reset' || ours.verdict === 'deliver' || ours.verdict === 'unknown';

export function describeDisagreement({ id, injection, ours, kernel }: Disagreement): string {
  const { via, packet, ours: simulated } = injection;
  const { flags, lengthBytes, df, ttl, tos, mark } = packet;
  const steps = [...simulated.steps, ...(simulated.answerEnd?.steps ?? [])];
  return [
    `packet ${id} by ${via}: ${formatPacket(packet)} ${JSON.stringify({ ...flags, len: lengthBytes, df, ttl, tos, mark })}${packet.quoted === undefined ? '' : ` about ${formatAddress(packet.quoted.src)} -> ${formatAddress(packet.quoted.dst)}`}`,
    `  kernel ${kernel}`,
    `  ours   ${ours}: ${simulated.reason}${simulated.answerEnd === undefined ? '' : `; answer: ${simulated.answerEnd.reason}`}`,
    ...steps.map((step) => `    ${step.kind} ${step.action} ${step.text}`),
  ].join('\n');
}
