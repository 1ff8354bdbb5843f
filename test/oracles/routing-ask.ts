/** One question about a route, put to the kernel (`ip route get`) and to the walk's routing engine. */
import { forwards } from '../../src/dataplane/ip-forward.ts';
import {
  forwardsBroadcasts,
  lookupRoute,
  type RouteResult,
  reversePathCheck,
} from '../../src/dataplane/routing.ts';
import type { Netns, Route } from '../../src/model/netns.ts';
import { type Address, address, type Family, formatAddress } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { exec } from '../../src/system/exec.ts';
import type { Random } from './netfilter-support.ts';
import { devices, someAddress } from './routing-world.ts';

export interface Query {
  readonly dst: string;
  readonly src?: string;
  readonly iif?: string;
  readonly oif?: string;
  readonly mark: number;
  readonly tos: number;
  readonly protocol: 'tcp' | 'udp';
  readonly sport: number;
  readonly dport: number;
  /** Of an own packet: the kernel takes the asker's, root, if there is none. */
  readonly uid: number;
}

/** Addresses that no network has, and those at the edges of the devices' networks: first, last, own and beyond. */
const special4 = [
  ...[0, 1, 2, 3, 4].flatMap((i) => [`10.${i}.0.0`, `10.${i}.0.255`, `10.${i}.0.1`]),
  '10.50.0.0',
  '10.50.255.255',
  '10.1.255.255',
  '255.255.255.255',
  '127.0.0.0',
  '127.0.0.1',
  '127.0.0.9',
  '127.255.255.255',
  '0.0.0.0',
  '0.1.2.3',
  '224.0.0.1',
  '224.0.0.251',
  '239.1.2.3',
  '240.1.2.3',
];
const special6 = [
  'fd00:1::1',
  'fe80::5',
  '::',
  '::1',
  'ff02::1',
  'fd00:2::',
  'fd00:0::',
  'ff05::2',
  '2001:db8::1',
];

/** Multicast that arrives is the groups' business, and ::1 from outside is dropped before any route is asked. */
const notArriving = /^(ff|::1?$|22[4-9]|23)/;

export function someQuery(random: Random, family: Family): Query {
  const special = family === 4 ? special4 : special6;
  const arrives = random.chance(0.45);
  const edge = () => random.pick(special);
  const arrivingEdge = () => random.pick(special.filter((one) => !notArriving.test(one)));
  const dst = random.chance(0.2) ? (arrives ? arrivingEdge() : edge()) : someAddress(random, family);
  const own = family === 4 ? `10.${random.pick([0, 1, 2, 50])}.0.1` : `fd00:${random.int(3)}::1`;
  const base = {
    dst,
    mark: random.pick([0, 0, 1, 2, 0x11]),
    tos: random.chance(0.2) ? random.pick([0x08, 0x10, 0x18]) : 0,
    protocol: random.pick(['tcp', 'udp'] as const),
    sport: random.pick([1, 4000, 4500]),
    dport: random.pick([53, 80, 443]),
    uid: random.pick([0, 0, 50, 1500]),
  };
  if (!arrives)
    return {
      ...base,
      ...(random.chance(0.35) ? { src: own } : {}),
      ...(family === 4 && random.chance(0.05) ? { src: edge() } : {}),
      ...(random.chance(0.2) ? { oif: random.pick(devices) } : {}),
      // Several next hops may differ in route_localnet: one device is one answer.
      ...(family === 4 && random.chance(0.03) ? { src: '127.0.0.1', oif: random.pick(devices) } : {}),
    };
  const src = random.chance(0.15) ? edge() : someAddress(random, family);
  return { ...base, uid: 0, iif: random.pick(devices), src };
}

export const queryLine = (query: Query): string => {
  const { dst, src, iif, oif, mark, tos, protocol, sport, dport, uid } = query;
  const parts = [`route get ${dst}`];
  if (src !== undefined) parts.push(`from ${src}`);
  if (iif !== undefined) parts.push(`iif ${iif}`);
  if (oif !== undefined) parts.push(`oif ${oif}`);
  if (mark !== 0) parts.push(`mark ${mark}`);
  if (tos !== 0) parts.push(`tos 0x${tos.toString(16)}`);
  if (iif === undefined && uid !== 0) parts.push(`uid ${uid}`);
  return `${parts.join(' ')} ipproto ${protocol} sport ${sport} dport ${dport}`;
};

/** The words of the kernel's errors: what is refused, and how. */
const errorWords: readonly (readonly [RegExp, string])[] = [
  [/Network is unreachable/, 'none'],
  [/No route to host/, 'unreachable'],
  [/Permission denied/, 'prohibit'],
  [/Invalid argument/, 'invalid'],
];

const errorNumbers: Readonly<Record<number, string>> = {
  '-101': 'none',
  '-113': 'unreachable',
  '-13': 'prohibit',
  '-22': 'invalid',
};

interface Answer {
  readonly type?: string;
  readonly dev?: string;
  readonly gateway?: string;
  readonly via?: { readonly host: string };
  readonly prefsrc?: string;
  readonly table?: string;
  readonly error?: number;
  readonly metrics?: readonly { readonly mtu?: number }[];
}

/** One line a query: why it is refused, or type, device, gateway, source, table and MTU. */
export async function askKernel(
  name: string,
  queries: readonly Query[],
  family: Family,
): Promise<readonly string[]> {
  const input = `${queries.map(queryLine).join('\n')}\n`;
  const argv = ['ip', '-n', name, `-${family}`, '-j', '-force', '-batch', '-'];
  const result = await exec(argv, { input, maxOutputBytes: 64_000_000 });
  const failed = new Map<number, string>();
  let said = '';
  for (const line of result.stderr.split('\n')) {
    const number = /Command failed -:(\d+)/.exec(line)?.[1];
    if (number === undefined) said = line;
    else failed.set(Number(number), errorWords.find(([pattern]) => pattern.test(said))?.[1] ?? said);
  }
  const answers = result.stdout.split('\n').filter((line) => line.startsWith('[{'));
  return queries.map((query, i) => {
    const error = failed.get(i + 1);
    if (error !== undefined) return error;
    const [answer] = JSON.parse(answers.shift() ?? '[]') as Answer[];
    return answer === undefined ? 'no answer' : describeAnswer(answer, query, family);
  });
}

function describeAnswer(answer: Answer, query: Query, family: Family): string {
  const { type = 'unicast', dev, gateway, via, prefsrc, table, error, metrics } = answer;
  // IPv6 answers with the refusing route itself instead of an error.
  if (error !== undefined) return errorNumbers[error] ?? `error ${error}`;
  if (['blackhole', 'unreachable', 'prohibit'].includes(type)) return type === 'blackhole' ? 'invalid' : type;
  return describe(family, {
    type,
    device: dev,
    gateway: gateway ?? via?.host,
    source: query.src ?? prefsrc,
    table,
    mtu: metrics?.find((one) => one.mtu !== undefined)?.mtu,
  });
}

interface Described {
  readonly type: string;
  readonly device: string | undefined;
  readonly gateway: string | undefined;
  readonly source: string | undefined;
  readonly table: string | undefined;
  readonly mtu: number | '?' | undefined;
}

/** IPv6 sources are left out: the kernel also weighs lifetimes and labels that no dump has. */
function describe(family: Family, { type, device, gateway, source, table, mtu }: Described): string {
  if (type === 'local' || type === 'anycast') return family === 4 ? `${type} src ${source}` : type;
  if (type === 'broadcast' || type === 'multicast') return `${type} dev ${device}`;
  const from = family === 4 ? ` src ${source ?? '-'}` : '';
  return `${type} dev ${device} via ${gateway ?? '-'}${from} table ${table ?? 'main'} mtu ${mtu ?? '-'}`;
}

/** inet6_rtm_getroute() asks as nobody (INVALID_UID) for what arrives; a packet that arrives is root's in both families. */
const noUser = (dst: Address) => (dst.family === 6 ? { uid: 0xffff_ffff } : {});

const sharesHop = (route: Route): boolean => route.nexthopId !== undefined && route.prefsrc === undefined;

const refusals = {
  blackhole: 'invalid',
  invalid: 'invalid',
  unreachable: 'unreachable',
  prohibit: 'prohibit',
};

/** Our answers, each with its share: several where a multipath route leaves a choice. */
export function askUs(netns: Netns, query: Query): ReadonlyMap<string, number> {
  const dst = address(query.dst);
  const src = query.src === undefined ? undefined : address(query.src);
  const { iif, oif, mark, tos, uid, protocol } = query;
  const flow = {
    dst,
    src,
    mark,
    tos,
    protocol: protocol === 'tcp' ? 6 : 17,
    srcPort: query.sport,
    dstPort: query.dport,
  };
  const result = lookupRoute(
    netns,
    iif === undefined ? { ...flow, oif, uid, needsOwnSource: true } : { ...flow, iif, ...noUser(dst) },
  );
  if (iif !== undefined && src !== undefined && dst.family === 4) {
    // Each next hop is judged for itself: a packet that leaves as it came is looked at more closely.
    const hops =
      result.state === 'found' ? result.alternatives.map(({ nexthop }) => nexthop.device) : [undefined];
    const refusals = hops.map((leaving) =>
      refusedInput(netns, packetOf(query, src, dst), iif, result, leaving),
    );
    const refused = refusals.find((one) => one !== undefined);
    if (refused !== undefined)
      return new Map([
        ...(refusals.includes(undefined) ? described(netns, result, query) : []),
        [refused, 1],
      ]);
  }
  return described(netns, result, query);
}

function described(netns: Netns, result: RouteResult, query: Query): ReadonlyMap<string, number> {
  const { family } = address(query.dst);
  if (result.state === 'unknown') return new Map([[`unknown: ${result.why}`, 1]]);
  if (result.state === 'none') return new Map([['none', 1]]);
  if (result.state === 'refused')
    return new Map([
      [result.route === undefined && result.type === 'unreachable' ? 'none' : refusals[result.type], 1],
    ]);
  const lines = new Map<string, number>();
  for (const { nexthop, source: chosen, share, route = result.route } of result.alternatives) {
    const { gateway, device } = nexthop;
    const line = describe(family, {
      type: route.type,
      // What is taken in goes around by lo, in the words of the kernel's answer.
      device: isTakenIn(netns, query.iif, route) ? 'lo' : device,
      gateway: gateway && formatAddress(gateway),
      source: query.src ?? (sharesHop(route) ? '?' : chosen && formatAddress(chosen)),
      // Routes that share a next hop object share its cached answer too, with the table, MTU and source of whichever was
      // asked first (rt6_get_pcpu_route, rt_cache_valid, nh_saddr): what is said of them is chance.
      table: route.nexthopId === undefined || family === 4 ? result.table : '?',
      // The dump shows the metrics of the first of several IPv6 routes that it joins to one.
      mtu:
        route.nexthopId !== undefined || (family === 6 && route.nexthops.length > 1) ? '?' : route.mtuBytes,
    });
    lines.set(line, (lines.get(line) ?? 0) + share);
  }
  return lines;
}

const isTakenIn = (netns: Netns, iif: string | undefined, route: Route): boolean =>
  iif !== undefined && route.type === 'broadcast' && !forwardsBroadcasts(netns, iif);

/** ip_route_input_slow()'s refusals in their order; undefined: the route itself is the answer. */
function refusedInput(
  netns: Netns,
  packet: Packet,
  iif: string,
  result: RouteResult,
  hop: string | undefined,
): string | undefined {
  const isLocal =
    result.state === 'found' && (result.route.type === 'local' || isTakenIn(netns, iif, result.route));
  const isBroadcast = result.state === 'found' && result.route.type === 'broadcast';
  const forwarding = isBroadcast || forwards(netns, iif, 4).state === 'yes';
  const isSilent = packet.dst.value === 0n && packet.src.value === 0n;
  const limited = packet.dst.value === 0xffffffffn || isSilent;
  const isSent =
    result.state === 'found' && ['unicast', 'broadcast'].includes(result.route.type) && !isLocal && !limited;
  const check = reversePathCheck(netns, packet, iif, isSent ? hop : undefined);
  if (check.state === 'unknown') return `unknown: ${check.why}`;
  if (check.state === 'martian' && check.anywhere === true) return 'invalid';
  if (!isLocal && !limited && !forwarding) return 'unreachable';
  if (!limited && result.state !== 'found') return undefined;
  if (limited) return check.state === 'pass' ? `broadcast dev lo` : 'invalid';
  return check.state === 'pass' ? undefined : 'invalid';
}

const packetOf = (query: Query, src: Address, dst: Address): Packet => ({
  src,
  dst,
  mark: query.mark,
  tos: query.tos,
  protocol: query.protocol,
  srcPort: query.sport,
  dstPort: query.dport,
  lengthBytes: 60,
  df: false,
  ttl: 64,
});

/** Whether one of our answers is the kernel's; `?` stands for any word. */
export const agrees = (ours: ReadonlyMap<string, number>, theirs: string): boolean =>
  ours.has(theirs) ||
  [...ours.keys()].some((line) => {
    const words = theirs.split(' ');
    const mine = line.split(' ');
    return (
      line.includes('?') &&
      words.length === mine.length &&
      mine.every((word, i) => word === '?' || word === words[i])
    );
  });
