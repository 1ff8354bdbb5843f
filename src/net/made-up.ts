/**
 * Ports and ICMP ids that a kernel makes up when it translates (`--random-fully`, a range of ports): nobody can tell which one
 * it took, only from where to where it may be, and that all packets of the connection have the same one.
 */
export interface MadeUpPort {
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
  /** The translation that it was made up for. Equal ones are one port; the kernel gives different ones to others. */
  readonly of: string;
}

/** Of packets and tuples. The numbers beside them stand for nothing. The id of ICMP is `src`, both ways. */
export interface MadeUpPorts {
  readonly src?: MadeUpPort;
  readonly dst?: MadeUpPort;
}

interface Ports {
  readonly srcPort: number;
  readonly dstPort: number;
  readonly madeUp?: MadeUpPorts;
}

/** The ports of an answer. ICMP keeps its id. */
export function swappedPorts({ srcPort, dstPort, madeUp }: Ports, isIcmp: boolean): Ports {
  const swapped = { srcPort: dstPort, dstPort: srcPort };
  if (madeUp === undefined) return swapped;
  const { src, dst } = madeUp;
  return isIcmp ? { ...swapped, madeUp } : { ...swapped, madeUp: portsOf(dst, src) };
}

export const portsOf = (src: MadeUpPort | undefined, dst: MadeUpPort | undefined): MadeUpPorts => ({
  ...(src === undefined ? {} : { src }),
  ...(dst === undefined ? {} : { dst }),
});

/** Whether two ports are the same: a made-up one may be any of its range. */
export function samePort(
  a: number,
  madeA: MadeUpPort | undefined,
  b: number,
  madeB: MadeUpPort | undefined,
): boolean | 'maybe' {
  if (madeA === undefined && madeB === undefined) return a === b;
  if (madeA !== undefined && madeB !== undefined) return madeA.of === madeB.of;
  const [port, made] = madeA === undefined ? [a, madeB] : [b, madeA];
  return made !== undefined && made.from <= port && port <= made.to ? 'maybe' : false;
}

/** Whether a port, made up or not, is in one of the ranges; 'maybe' where only a part of what it may be is. */
export function portIn(
  port: number,
  made: MadeUpPort | undefined,
  ranges: readonly { readonly from: number; readonly to: number }[],
): boolean | 'maybe' {
  if (made === undefined) return ranges.some(({ from, to }) => from <= port && port <= to);
  if (ranges.some(({ from, to }) => from <= made.from && made.to <= to)) return true;
  return ranges.some(({ from, to }) => from <= made.to && made.from <= to) ? 'maybe' : false;
}

export const whyMadeUp = ({ from, to }: MadeUpPort): string =>
  `the kernel made up the port when it translated the packet (one of ${from}-${to})`;
