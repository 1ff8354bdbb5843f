/**
 * Packets through one network namespace, one after the other over one connection table: the walk's own stages from the
 * device that a packet comes by to the device or socket that it is given to. What is behind that device is not asked.
 */
import { orElse, unknown } from '../model/known.ts';
import type { Netns } from '../model/netns.ts';
import type { Simulated } from '../model/simulated.ts';
import type { Snapshot } from '../model/snapshot.ts';
import { snapshotSchema } from '../model/snapshot.ts';
import { formatSource } from '../model/source.ts';
import type { Step } from '../model/verdict.ts';
import type { Packet } from '../net/packet.ts';
import { type Cursor, doubt, type Stage } from './cursor.ts';
import { giveTo } from './frames.ts';
import { sendRouted } from './ip.ts';
import { attach, type Connections, setClosing } from './netfilter/conntrack.ts';
import { runUntil } from './run.ts';
import { answerTo } from './simulate-answer.ts';
import { departure } from './simulate-answer-packet.ts';
import { type ConnectionTable, connectionTable } from './simulate-table.ts';
import { World } from './world.ts';

export interface Arriving {
  /** The device it comes by; absent: a process of the namespace sends it. */
  readonly iif?: string;
  readonly packet: Packet;
}

/** `explain` keeps the rules that match, and for a drop the nearest that would have accepted. */
type Asked = Arriving & { readonly explain?: true };

/** A namespace that takes one packet after the other; each changes the connections that the next ones find. */
export function simulation(
  netns: Netns,
  options: { readonly explain?: true } = {},
): (arriving: Arriving) => Simulated {
  const world = new World(aloneIn(netns));
  // Not recorded: packets that belong to connections from before look like new ones.
  const table = connectionTable(netns.id, orElse(netns.conntrack, []));
  return (arriving) => simulate(world, netns, table, { ...arriving, ...options });
}

/** No device of this name. The caller says so: it is the question that is wrong, not the state. */
export function lacksDevice(netns: Netns, name: string): boolean {
  return netns.devices.state === 'known' && !netns.devices.value.some((device) => device.name === name);
}

function aloneIn(netns: Netns): Snapshot {
  const absent = unknown('one namespace alone has no objects');
  return {
    schema: snapshotSchema,
    takenAt: '',
    source: { kind: 'recorded', name: netns.id },
    cluster: {
      pods: absent,
      nodes: absent,
      namespaces: absent,
      services: absent,
      endpointSlices: absent,
      networkPolicies: absent,
      workloads: absent,
      configMaps: absent,
      serviceAccounts: absent,
      adminPolicies: absent,
      calico: absent,
      cilium: absent,
      istio: absent,
      linkerd: absent,
      problems: [],
    },
    netns: new Map([[netns.id, netns]]),
    probes: absent,
    gaps: [],
  };
}

type Last = Extract<Stage, { at: 'transmit' | 'deliver' | 'bridge-on' | 'end' }>;

/** The namespace as one packet finds it. */
interface Room {
  readonly world: World;
  readonly netns: Netns;
  readonly table: ConnectionTable;
}

const runOut = ({ world, netns }: Room, first: Stage) =>
  runUntil(
    world,
    first,
    (stage): stage is Last =>
      stage.at === 'deliver' ||
      stage.at === 'bridge-on' ||
      (stage.at === 'transmit' && world.device(netns, stage.device)?.kind !== 'loopback'),
  );

function simulate(world: World, netns: Netns, table: ConnectionTable, arriving: Asked): Simulated {
  const { iif, packet } = arriving;
  const room: Room = { world, netns, table };
  const unsure = unsureOf(room, packet);
  const last = runOut(room, entry(world, netns, table, arriving));
  const answer: Answering = (cursor, step) => answerEndOf(room, cursor, step, iif);
  const ends = distinct(last.map((stage) => endOf(world, stage, answer)));
  const [only] = ends;
  if (only === undefined) throw new TypeError('a packet has an end');
  if (unsure !== undefined) {
    const all = ends.flatMap(({ left }) => left);
    table.mistrust(packet, all);
    const alternatives = ends.map(({ left: _, ...end }): Simulated => end);
    return { verdict: 'unknown', packet, reason: unsure, alternatives, steps: [] };
  }
  if (ends.length > 1) {
    table.mistrust(
      packet,
      ends.flatMap(({ left }) => left),
    );
    return byChance(packet, ends);
  }
  const { left, share: _, ...end } = only;
  if (end.verdict === 'unknown' || end.answerEnd?.verdict === 'unknown') table.mistrust(packet, left);
  else if (!left.every((connections) => table.keep(connections))) {
    table.mistrust(packet, left);
    return { ...end, verdict: 'unknown', reason: takenTuple, alternatives: [end] };
  }
  return end;
}

/** The answer's end, and the connections after it. */
type Answering = (
  cursor: Cursor,
  step: Step,
) => (Pick<Simulated, 'answer' | 'answerEnd'> & { readonly left: readonly Connections[] }) | undefined;

function answerEndOf(room: Room, cursor: Cursor, step: Step, iif: string | undefined): ReturnType<Answering> {
  const { world, netns, table } = room;
  const { packet, inDevice, connections } = cursor;
  const answer = answerTo(packet, step, iif !== undefined);
  if (answer === undefined) return undefined;
  if (answer.kind === 'error') return { answer, left: [] };
  const hook = step.facts?.hook;
  const refused = {
    netns,
    packet,
    ...(inDevice === undefined ? {} : { inDevice }),
    ...(hook === undefined ? {} : { hook }),
  };
  const leaving = departure(refused, answer);
  if (leaving.kind === 'silent') {
    const answerEnd: Simulated = { verdict: 'drop', packet, reason: leaving.why, steps: [] };
    return { answer, answerEnd, left: [] };
  }
  const { inDevice: _, fragmentBytes: __, routeMark: ___, ...rest } = cursor;
  const refusedOne = answer.kind === 'tcp-reset' ? setClosing(connections, netns.id) : connections;
  const attached = attach(refusedOne, netns.id);
  const start: Cursor = {
    ...rest,
    packet: leaving.packet,
    connections: { ...attached, entries: [...table.view(leaving.packet).entries, ...attached.entries] },
    steps: [],
    hops: [],
  };
  const last = sendRouted(world, start, leaving.result).flatMap((stage) => runOut(room, stage));
  const ends = distinct(last.map((stage) => endOf(world, stage, () => undefined)));
  const [only] = ends;
  if (only === undefined) throw new TypeError('an answer has an end');
  const left = ends.flatMap((end) => end.left);
  if (ends.length > 1) return { answer, answerEnd: byChance(leaving.packet, ends), left };
  const { left: ____, share: _____, ...end } = only;
  // An answer that is refused is not answered itself.
  return { answer, answerEnd: end, left };
}

const takenTuple =
  'another connection already has the translated addresses and ports: the kernel picks a free port at random';

/** An end of one way that the packet can go, with its share of the packets and the connections that it leaves behind. */
type Way = Simulated & { readonly share: number; readonly left: readonly Connections[] };

/** Ends that nothing outside can tell apart are one: two gateways behind one device. */
function distinct(ends: readonly Way[]): readonly Way[] {
  if (ends.length < 2) return ends;
  const byLook = new Map<string, Way>();
  for (const end of ends) {
    const key = `${lookOf(end)} ${end.answerEnd === undefined ? '' : lookOf(end.answerEnd)}`;
    const same = byLook.get(key);
    byLook.set(key, { ...(same ?? end), share: (same?.share ?? 0) + end.share });
  }
  return [...byLook.values()];
}

function lookOf({ verdict, oif, packet }: Simulated): string {
  const { src, dst, srcPort, dstPort, madeUp, mark } = packet;
  const ports = [madeUp?.src?.of ?? srcPort, madeUp?.dst?.of ?? dstPort];
  return [verdict, oif, src.value, dst.value, ...ports, mark].join(' ');
}

function byChance(packet: Packet, ends: readonly Way[]): Simulated {
  const alternatives = ends.map(({ left: _, ...end }): Simulated => end);
  const [first] = alternatives;
  return {
    verdict: 'unknown',
    packet,
    reason: `chance decides among ${alternatives.length} outcomes`,
    ...(first?.rule === undefined ? {} : { rule: first.rule }),
    alternatives,
    steps: [],
  };
}

function entry(world: World, netns: Netns, table: ConnectionTable, { iif, packet, explain }: Asked): Stage {
  const fresh: Cursor = {
    netns,
    packet,
    steps: [],
    hops: [],
    connections: table.view(packet),
    share: 1,
    doubts: [],
    remarks: [],
    tunnels: [],
    ...(explain === undefined ? {} : { explain }),
  };
  const cursor = noteGaps(fresh);
  if (iif === undefined) return { at: 'send', cursor };
  const device = world.device(netns, iif);
  const what = { facts: { what: `devices of ${netns.id}` } };
  if (device === undefined) {
    const reason = netns.devices.state === 'unknown' ? netns.devices.why : `${iif} is not among the devices`;
    const step: Step = { kind: 'receive', action: 'unknown', text: reason, reason: 'unknown-state', ...what };
    return { at: 'end', cursor, end: { kind: 'unknown', step } };
  }
  if (!device.up) {
    const step: Step = {
      kind: 'receive',
      action: 'lost',
      reason: 'device-down',
      text: `device ${iif} is down`,
      sources: [device.source],
    };
    return { at: 'end', cursor, end: { kind: 'lost', step } };
  }
  // A packet that comes by a bridge port is taken to be addressed to the bridge itself, not bridged on.
  const bridge = device.master === undefined ? undefined : world.device(netns, device.master);
  return bridge?.kind === 'bridge'
    ? { at: 'ip-in', cursor: { ...cursor, inDevice: bridge.name }, device: bridge, physIn: iif }
    : { at: 'ip-in', cursor: { ...cursor, inDevice: iif }, device };
}

/** What is missing before the first rule is asked. */
function noteGaps(cursor: Cursor): Cursor {
  const { netns, packet } = cursor;
  const { family } = packet.src;
  const { rulesets, nftTables } = netns;
  if (rulesets.state === 'unknown' || rulesets.value.some((one) => one.family === family)) return cursor;
  if (nftTables.state === 'known') return cursor;
  const save = family === 4 ? 'iptables-save.txt' : 'ip6tables-save.txt';
  return doubt(cursor, 'filter', `rules of IPv${family} are not known: ${save} was not collected`);
}

/** Why nobody can tell what conntrack makes of the packet: then a loss is not certain either. */
function unsureOf({ netns, table }: Room, packet: Packet): string | undefined {
  if (!table.isTrusted(packet))
    return 'the connection it belongs to was opened by a packet whose outcome is unknown';
  // Of SCTP only the handshake is followed, and data after it.
  const { protocol, chunk } = packet;
  if (protocol !== 'sctp' || chunk === undefined) return undefined;
  const isFollowed = table.view(packet).entries.every((entry) => {
    const answers = entry.volume?.reply.packets ?? 1;
    return chunk === 'init-ack' ? answers === 0 : afterHandshake.has(chunk) && answers > 0;
  });
  return isFollowed ? undefined : `what ${chunk} does to the SCTP association in ${netns.id} is not followed`;
}

const afterHandshake: ReadonlySet<string> = new Set(['cookie-echo', 'cookie-ack', 'data']);

function endOf(world: World, stage: Last, answering: Answering): Way {
  switch (stage.at) {
    case 'deliver':
      return settled(stage.cursor, { verdict: 'deliver', reason: `for ${stage.cursor.netns.id} itself` });
    case 'bridge-on': {
      const end = { verdict: 'forward', oif: stage.device.name, reason: 'bridged on' } as const;
      return settled(stage.cursor, end);
    }
    case 'transmit': {
      const given = giveTo(world, stage.cursor, stage.device, stage.mtuBytes);
      if ('at' in given) return given.at === 'end' ? ended(given.cursor, given.end, answering) : lostInside();
      const route = given.cursor.steps.findLast((step) => step.kind === 'route');
      const reason = route?.text ?? `leaves by ${stage.device}`;
      return settled(given.cursor, { verdict: 'forward', oif: stage.device, reason });
    }
    case 'end':
      return ended(stage.cursor, stage.end, answering);
  }
}

function lostInside(): never {
  throw new TypeError('a device takes a packet or ends it');
}

/** The packet got through, unless something on the way could not be told. */
function settled(cursor: Cursor, end: Pick<Simulated, 'verdict' | 'oif' | 'reason'>): Way {
  const { packet, steps, doubts, share, connections } = cursor;
  const accepting = steps.findLast((step) => step.kind === 'filter' && step.action === 'pass');
  const done: Simulated = { ...end, ...ruleOf(accepting), packet, steps, ...rulesOf(cursor) };
  const left = { share, left: [connections] };
  const [first] = doubts;
  if (first === undefined) return { ...done, ...left };
  return {
    ...done,
    ...left,
    verdict: 'unknown',
    reason: first.text,
    ...ruleOf(first),
    alternatives: [done],
  };
}

function ended(cursor: Cursor, end: Extract<Stage, { at: 'end' }>['end'], answering: Answering): Way {
  const { packet, share, connections } = cursor;
  const steps = cursor.hops.flatMap((hop) => hop.steps);
  if (end.kind === 'delivered') return settled(cursor, { verdict: 'deliver', reason: 'delivered' });
  const told = { packet, reason: end.step.text, ...ruleOf(end.step), steps, ...rulesOf(cursor), share };
  if (end.kind === 'unknown') return { ...told, verdict: 'unknown', left: [connections] };
  // A loss that is certain stays certain, whatever was doubtful before it.
  const answered = answering(cursor, end.step);
  if (answered === undefined) return { ...told, verdict: 'drop', left: [connections] };
  const { left, ...answer } = answered;
  return { ...told, verdict: 'reject', ...answer, left: [connections, ...left] };
}

function rulesOf({ explain, hops, rules }: Cursor): Pick<Simulated, 'rules'> {
  if (explain === undefined) return {};
  return { rules: [...hops.flatMap((hop) => hop.rules ?? []), ...(rules ?? [])] };
}

function ruleOf(step: Step | undefined): { rule?: string } {
  const source = step?.sources?.[0];
  return source === undefined ? {} : { rule: formatSource(source) };
}
