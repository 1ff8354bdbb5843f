/** The states of a TCP connection as conntrack follows them (nf_conntrack_proto_tcp.c). Sequence numbers are taken to fit. */
import type { TcpFlags } from '../../net/packet.ts';

export type TcpState =
  | 'syn-sent'
  | 'syn-received'
  | 'established'
  | 'fin-wait'
  | 'close-wait'
  | 'last-ack'
  | 'time-wait'
  | 'close'
  | 'syn-sent-2';

/** What is remembered beside the state. */
export interface TcpTrack {
  readonly state: TcpState;
  /** IP_CT_TCP_FLAG_CLOSE_INIT: somebody closed with a FIN. */
  readonly closing?: true;
  /** IP_CT_TCP_SIMULTANEOUS_OPEN: both sides sent a SYN. */
  readonly simultaneous?: true;
  /** The direction of the last packet, if that was a RST (last_index, last_dir). */
  readonly reset?: 'original' | 'reply';
}

export type TcpVerdict =
  /** `passedOver`: it leaves the connection as it is and is not counted (TCP_CONNTRACK_IGNORE, a repeated SYN). */
  | { readonly kind: 'go'; readonly track: TcpTrack; readonly passedOver?: true }
  /** The packet does not fit: INVALID. */
  | { readonly kind: 'invalid' }
  /** The connection is over and this packet opens another one of the same addresses and ports (-NF_REPEAT). */
  | { readonly kind: 'reopen' };

type Kind = 'syn' | 'syn-ack' | 'fin' | 'ack' | 'rst' | 'none';

/** get_conntrack_index. */
function kindOf(flags: TcpFlags): Kind {
  if (flags.rst) return 'rst';
  if (flags.syn) return flags.ack ? 'syn-ack' : 'syn';
  if (flags.fin) return 'fin';
  return flags.ack ? 'ack' : 'none';
}

/** In the order of the columns below. */
const columns: readonly TcpState[] = [
  'syn-sent',
  'syn-received',
  'established',
  'fin-wait',
  'close-wait',
  'last-ack',
  'time-wait',
  'close',
  'syn-sent-2',
];

const short: Readonly<Record<string, TcpState>> = {
  SS: 'syn-sent',
  SR: 'syn-received',
  ES: 'established',
  FW: 'fin-wait',
  CW: 'close-wait',
  LA: 'last-ack',
  TW: 'time-wait',
  CL: 'close',
  S2: 'syn-sent-2',
};

/** tcp_conntracks[][][] without its first column: IG keeps the state, IV is invalid. */
const transitions: Readonly<Record<'original' | 'reply', Readonly<Record<Kind, string>>>> = {
  original: {
    syn: 'SS IG IG IG IG IG SS SS S2',
    'syn-ack': 'IV SR IV IV IV IV IV IV SR',
    fin: 'IV FW FW LA LA LA TW CL IV',
    ack: 'IV ES ES CW CW TW TW CL IV',
    rst: 'CL CL CL CL CL CL CL CL CL',
    none: 'IV IV IV IV IV IV IV IV IV',
  },
  reply: {
    syn: 'S2 IV IV IV IV IV SS IV S2',
    'syn-ack': 'SR IG IG IG IG IG IG IG SR',
    fin: 'IV FW FW LA LA LA TW CL IV',
    ack: 'IG SR ES CW CW TW TW CL IG',
    rst: 'CL CL CL CL CL CL CL CL CL',
    none: 'IV IV IV IV IV IV IV IV IV',
  },
};

const split = (rows: Readonly<Record<Kind, string>>): Readonly<Record<Kind, readonly string[]>> => ({
  syn: rows.syn.split(' '),
  'syn-ack': rows['syn-ack'].split(' '),
  fin: rows.fin.split(' '),
  ack: rows.ack.split(' '),
  rst: rows.rst.split(' '),
  none: rows.none.split(' '),
});
const words = { original: split(transitions.original), reply: split(transitions.reply) };

/** tcp_valid_flags: all other combinations are INVALID, whatever the connection (tcp_error). */
export function isValidTcp({ syn, ack, fin, rst }: TcpFlags): boolean {
  if (syn) return !fin && !rst;
  if (rst) return !fin;
  return ack === true;
}

/** tcp_new: what the first packet of a connection makes of it. Undefined: it opens none. `loose` is nf_conntrack_tcp_loose. */
export function openTcp(flags: TcpFlags, loose: boolean): TcpTrack | undefined {
  const kind = kindOf(flags);
  if (kind === 'syn') return { state: 'syn-sent' };
  return kind === 'ack' && loose ? { state: 'established' } : undefined;
}

/** nf_conntrack_tcp_packet for a packet of a known connection. */
export function advanceTcp(
  track: TcpTrack,
  direction: 'original' | 'reply',
  flags: TcpFlags,
  seenReply: boolean,
): TcpVerdict {
  const kind = kindOf(flags);
  const word = words[direction][kind][columns.indexOf(track.state)] ?? 'IV';
  if (word === 'IV') return { kind: 'invalid' };
  const { reset: before, ...rest } = track;
  const reset = kind === 'rst' ? { reset: direction } : {};
  const next = short[word];
  if (next === undefined) {
    // A SYN that is passed over forgets what the last packets were (last_flags).
    const { simultaneous: _, ...forgetful } = rest;
    const isSyn = kind === 'syn' && direction === 'original';
    return { kind: 'go', track: { ...(isSyn ? forgetful : rest), ...reset }, passedOver: true };
  }
  if (next === 'syn-sent' && (track.state === 'time-wait' || track.state === 'close'))
    return track.closing || before === direction
      ? { kind: 'reopen' }
      : { kind: 'go', track: { ...rest, ...reset }, passedOver: true };
  const closing = next === 'fin-wait' && track.state !== 'fin-wait' ? { closing: true as const } : {};
  const both = next === 'syn-sent-2' ? { simultaneous: true as const } : {};
  const isOpen =
    next === 'syn-received' && track.simultaneous === true && direction === 'reply' && kind === 'ack';
  const state = isOpen ? 'established' : next;
  const passedOver =
    kind === 'syn' && track.state === 'syn-sent' && !seenReply ? { passedOver: true as const } : {};
  return { kind: 'go', track: { ...rest, ...closing, ...both, ...reset, state }, ...passedOver };
}

const recordedStates: Readonly<Record<string, TcpState>> = {
  NONE: 'syn-sent',
  SYN_SENT: 'syn-sent',
  SYN_RECV: 'syn-received',
  ESTABLISHED: 'established',
  FIN_WAIT: 'fin-wait',
  CLOSE_WAIT: 'close-wait',
  LAST_ACK: 'last-ack',
  TIME_WAIT: 'time-wait',
  CLOSE: 'close',
  SYN_SENT2: 'syn-sent-2',
  LISTEN: 'syn-sent-2',
};

/** Of an entry of `conntrack -L`; offloaded entries show no state and are established. */
export function recordedTcp(state: string | undefined): TcpTrack {
  const found = state === undefined ? 'established' : (recordedStates[state] ?? 'established');
  // Only a FIN leads to these.
  const closing = ['fin-wait', 'close-wait', 'last-ack', 'time-wait'].includes(found);
  return { state: found, ...(closing ? { closing: true as const } : {}) };
}
