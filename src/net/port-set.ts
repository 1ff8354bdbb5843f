/**
 * Sets of (protocol, port) as intervals on one number line, so that "TCP 80-90 and all of UDP" is a sorted list of numbers and
 * every set operation is one merge. ICMP types and codes, and the other IP protocols, lie on the same line.
 */

/** Where each protocol's numbers begin. Ports, or for ICMP type * 256 + code, are added to it. */
const span = 65536;
const starts = { TCP: 0, UDP: span, SCTP: 2 * span, ICMP: 3 * span, ICMPv6: 4 * span } as const;
const otherStart = 5 * span;
/** One past the last number: the other 256 protocol numbers, each as a whole. */
const end = otherStart + 256;

export type LineProtocol = keyof typeof starts;
export const lineProtocols = Object.keys(starts) as readonly LineProtocol[];

/** Sorted, disjoint, not touching: [from, to) pairs, flat. Never changed after it was made. */
export type PortSet = readonly number[];

export const noPorts: PortSet = [];
export const everyPort: PortSet = [0, end];

/** The number of one port (or ICMP type * 256 + code) on the line. */
export const linePoint = (protocol: LineProtocol, port: number): number => starts[protocol] + port;

/** Both ends inclusive. */
export const portRange = (protocol: LineProtocol, from: number, to: number): PortSet => [
  starts[protocol] + from,
  starts[protocol] + to + 1,
];

export const wholeProtocol = (protocol: LineProtocol): PortSet => [starts[protocol], starts[protocol] + span];

/** An IP protocol by its number; those with a line of their own are that line. */
export function protocolNumber(number: number): PortSet {
  const named = ({ 6: 'TCP', 17: 'UDP', 132: 'SCTP', 1: 'ICMP', 58: 'ICMPv6' } as const)[number];
  return named === undefined ? [otherStart + number, otherStart + number + 1] : wholeProtocol(named);
}

/** Everything that has no ports: ICMP, ICMPv6 and the other protocols. */
export const portless: PortSet = [starts.ICMP, end];

export function unionPorts(a: PortSet, b: PortSet): PortSet {
  if (a.length === 0) return b;
  if (b.length === 0) return a;
  const out: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length) {
    const takeA = j >= b.length || (i < a.length && (a[i] as number) <= (b[j] as number));
    const from = (takeA ? a[i] : b[j]) as number;
    const to = (takeA ? a[i + 1] : b[j + 1]) as number;
    if (takeA) i += 2;
    else j += 2;
    const last = out.length - 1;
    if (last >= 0 && (out[last] as number) >= from) out[last] = Math.max(out[last] as number, to);
    else out.push(from, to);
  }
  return out;
}

export function intersectPorts(a: PortSet, b: PortSet): PortSet {
  const out: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const from = Math.max(a[i] as number, b[j] as number);
    const to = Math.min(a[i + 1] as number, b[j + 1] as number);
    if (from < to) out.push(from, to);
    if ((a[i + 1] as number) < (b[j + 1] as number)) i += 2;
    else j += 2;
  }
  return out;
}

export function subtractPorts(a: PortSet, b: PortSet): PortSet {
  return intersectPorts(a, complementPorts(b));
}

export function complementPorts(a: PortSet): PortSet {
  const out: number[] = [];
  let from = 0;
  for (let i = 0; i < a.length; i += 2) {
    if ((a[i] as number) > from) out.push(from, a[i] as number);
    from = a[i + 1] as number;
  }
  if (from < end) out.push(from, end);
  return out;
}

export function hasPort(set: PortSet, point: number): boolean {
  for (let i = 0; i < set.length && (set[i] as number) <= point; i += 2)
    if (point < (set[i + 1] as number)) return true;
  return false;
}

export const samePorts = (a: PortSet, b: PortSet): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);

/** The set's part of one protocol: inclusive ranges of ports, port 0 left out. `all` where it is the whole protocol. */
export function portsOf(
  set: PortSet,
  protocol: LineProtocol,
): 'all' | readonly (readonly [number, number])[] {
  const start = starts[protocol];
  const ranges: [number, number][] = [];
  // No flow has port 0; ICMP's type 0 is the echo reply.
  const first = protocol === 'ICMP' || protocol === 'ICMPv6' ? 0 : 1;
  const part = intersectPorts(set, portRange(protocol, first, span - 1));
  for (let i = 0; i < part.length; i += 2)
    ranges.push([(part[i] as number) - start, (part[i + 1] as number) - start - 1]);
  const [only] = ranges;
  return ranges.length === 1 && only !== undefined && only[0] <= 1 && only[1] === span - 1 ? 'all' : ranges;
}

/** `80,443-445`, or `all`. Empty where the set has nothing of the protocol. */
export function formatPorts(set: PortSet, protocol: LineProtocol): string {
  const ranges = portsOf(set, protocol);
  if (ranges === 'all') return 'all';
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
