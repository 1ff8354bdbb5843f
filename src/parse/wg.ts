/**
 * WireGuard's devices and peers: `wg show all` by column (public-key, listen-port, fwmark, endpoints, allowed-ips,
 * latest-handshakes), each part below a line `# NAME`, or `wg show all dump`. Private and preshared keys of a dump are
 * dropped here, and no message quotes a line.
 */
import type { WireGuardDevice, WireGuardPeer } from '../model/tunnel.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { type Prefix, parsePrefix } from '../net/prefix.ts';
import { looksLikeToolError, splitLines } from './lines.ts';
import { failed, type Parsed, type ParseNote, parsed } from './result.ts';

interface Draft {
  publicKey?: string;
  listenPort?: number;
  fwmark: number;
  readonly peers: Map<string, PeerDraft>;
  readonly place: Place;
}

interface PeerDraft {
  endpoint?: { readonly address: Address; readonly port: number };
  allowedIps: readonly Prefix[];
  latestHandshake?: number;
  readonly place: Place;
}

/** Column commands in the order in which `podpath collect` runs them. */
export const wgColumns = [
  'public-key',
  'listen-port',
  'fwmark',
  'endpoints',
  'allowed-ips',
  'latest-handshakes',
] as const;
type Column = (typeof wgColumns)[number];

/** A column's own output, or a text with headings or from `dump`. */
export interface WgPart {
  readonly column?: Column;
  readonly text: string;
  readonly file: string;
}

export const parseWg = (text: string, file: string): Parsed<readonly WireGuardDevice[]> =>
  parseWgParts([{ text, file }]);

export function parseWgParts(parts: readonly WgPart[]): Parsed<readonly WireGuardDevice[]> {
  const drafts = new Map<string, Draft>();
  const notes: ParseNote[] = [];
  for (const part of parts) {
    const read = readPart(drafts, part);
    if (!read.ok) return read;
    notes.push(...read.notes);
  }
  return parsed(
    [...drafts].map(([device, draft]) => finished(device, draft)),
    notes,
  );
}

function readPart(drafts: Map<string, Draft>, { text, file, column: whole }: WgPart): Parsed<undefined> {
  const notes: ParseNote[] = [];
  let column = whole;
  let understood = 0;
  for (const [index, line] of splitLines(text).entries()) {
    if (line.trim() === '') continue;
    const heading = /^# ([a-z-]+)$/.exec(line)?.[1];
    if (heading !== undefined) {
      column = wgColumns.find((name) => name === heading);
      if (column !== undefined) understood++;
      continue;
    }
    const fields = line.split('\t');
    const isRead =
      column === undefined
        ? readDumped(drafts, fields, { file, line: index + 1 })
        : readColumn(drafts, column, fields, { file, line: index + 1 });
    if (isRead) understood++;
    else if (looksLikeToolError(line))
      return failed({ code: 'wg/tool-error', file, line: index + 1, message: 'the tool failed' });
    else notes.push({ code: 'wg/unknown-line', file, line: index + 1, message: 'not a line of wg show all' });
  }
  const [first] = notes;
  if (understood === 0 && first !== undefined) return failed({ ...first, code: 'wg/foreign' });
  return parsed(undefined, notes);
}

interface Place {
  readonly file: string;
  readonly line: number;
}

const deviceOf = (drafts: Map<string, Draft>, name: string, place: Place): Draft => {
  const found = drafts.get(name) ?? { fwmark: 0, peers: new Map(), place };
  drafts.set(name, found);
  return found;
};

const peerOf = (device: Draft, key: string, place: Place): PeerDraft => {
  const found = device.peers.get(key) ?? { allowedIps: [], place };
  device.peers.set(key, found);
  return found;
};

/** 32 bytes in base64. */
const isKey = (text: string | undefined): text is string =>
  text !== undefined && /^[A-Za-z0-9+/]{43}=$/.test(text);

/** False: not understood. */
function readColumn(
  drafts: Map<string, Draft>,
  column: Column,
  fields: readonly string[],
  place: Place,
): boolean {
  const [name, first, second] = fields;
  if (name === undefined || name === '' || first === undefined) return false;
  const device = deviceOf(drafts, name, place);
  switch (column) {
    case 'public-key':
      return setPublicKey(device, first);
    case 'listen-port':
      return setPort(device, first);
    case 'fwmark':
      return setMark(device, first);
    default: {
      if (!isKey(first)) return false;
      const peer = peerOf(device, first, place);
      if (column === 'endpoints') return setEndpoint(peer, second ?? '');
      if (column === 'allowed-ips') return setAllowed(peer, second ?? '', /\s+/);
      return setHandshake(peer, second ?? '');
    }
  }
}

/** A device has five fields, a peer nine (show.c, dump_print). */
function readDumped(drafts: Map<string, Draft>, fields: readonly string[], place: Place): boolean {
  const [name, first, second, third, fourth, fifth] = fields;
  if (name === undefined || first === undefined || second === undefined || third === undefined) return false;
  if (fields.length === 5) {
    const device = deviceOf(drafts, name, place);
    return setPublicKey(device, second) && setPort(device, third) && setMark(device, fourth ?? '');
  }
  if (fields.length !== 9 || !isKey(first)) return false;
  const peer = peerOf(deviceOf(drafts, name, place), first, place);
  return setEndpoint(peer, third) && setAllowed(peer, fourth ?? '', /,/) && setHandshake(peer, fifth ?? '');
}

function setPublicKey(device: Draft, text: string): boolean {
  if (isKey(text)) device.publicKey = text;
  return isKey(text) || text === '(none)';
}

function setPort(device: Draft, text: string): boolean {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : -1;
  if (port < 0 || port > 65535) return false;
  device.listenPort = port;
  return true;
}

function setMark(device: Draft, text: string): boolean {
  if (text === 'off') return true;
  if (!/^0x[0-9a-f]{1,8}$/.test(text)) return false;
  device.fwmark = Number(text);
  return true;
}

/** `192.0.2.1:51820`, `[2001:db8::1]:51820`, `(none)`; a link-local address has its device: `[fe80::1%eth0]:51820`. */
function setEndpoint(peer: PeerDraft, text: string): boolean {
  if (text === '(none)') return true;
  const colon = text.lastIndexOf(':');
  const address = parseAddress(
    text
      .slice(0, Math.max(0, colon))
      .replace(/^\[|\]$/g, '')
      .replace(/%.*$/, ''),
  );
  const port = Number(text.slice(colon + 1));
  if (address === undefined || !/^\d{1,5}$/.test(text.slice(colon + 1)) || port > 65535) return false;
  peer.endpoint = { address, port };
  return true;
}

function setAllowed(peer: PeerDraft, text: string, separator: RegExp): boolean {
  if (text === '(none)' || text === '') return true;
  const prefixes = text.trim().split(separator).map(parsePrefix);
  if (!prefixes.every((prefix) => prefix !== undefined)) return false;
  peer.allowedIps = prefixes;
  return true;
}

function setHandshake(peer: PeerDraft, text: string): boolean {
  if (!/^\d{1,15}$/.test(text)) return false;
  peer.latestHandshake = Number(text);
  return true;
}

function finished(device: string, draft: Draft): WireGuardDevice {
  const { publicKey, listenPort, fwmark, peers, place } = draft;
  return {
    device,
    ...(publicKey === undefined ? {} : { publicKey }),
    ...(listenPort === undefined ? {} : { listenPort }),
    fwmark,
    peers: [...peers].map(
      ([key, { place: peerPlace, ...peer }]): WireGuardPeer => ({
        publicKey: key,
        ...peer,
        source: { kind: 'file', ...peerPlace, text: `${device} peer ${key}` },
      }),
    ),
    source: { kind: 'file', ...place, text: device },
  };
}
