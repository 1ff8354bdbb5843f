/** `conntrack -L`, also with `-o extended` and as /proc/net/nf_conntrack prints it. */

import type { ConntrackEntry, Tuple } from '../model/netns.ts';
import { parseAddress } from '../net/address.ts';
import { readLines } from './lines.ts';
import type { Parsed } from './result.ts';

export function parseConntrack(text: string, file: string): Parsed<readonly ConntrackEntry[]> {
  return readLines<ConntrackEntry>(text, file, {
    format: 'conntrack',
    read: (line, lineNumber) => {
      // `conntrack v1.4.7 (conntrack-tools): 12 flow entries have been shown.` goes to stderr, and into merged files.
      if (/^conntrack v\S+ \(conntrack-tools\): \d+ flow entries/.test(line)) return 'skip';
      return readEntry(line, file, lineNumber);
    },
  });
}

function readEntry(line: string, file: string, lineNumber: number): ConntrackEntry | undefined {
  const words = line.trim().split(/\s+/);
  // The extended forms put the address family in front: `ipv4 2 tcp 6 ...`.
  const start = words[0] === 'ipv4' || words[0] === 'ipv6' ? 2 : 0;
  const protocol = words[start];
  if (protocol === undefined || !/^\d+$/.test(words[start + 1] ?? '')) return undefined;
  let state: string | undefined;
  let mark = 0;
  const flags: string[] = [];
  const tuples: Record<string, string>[] = [];
  for (const word of words.slice(start + 2)) {
    const equals = word.indexOf('=');
    if (word.startsWith('[')) flags.push(word.slice(1, -1));
    else if (equals < 0) {
      // The first number is the timeout; a word without `=` is the protocol's state.
      if (!/^\d+$/.test(word) && state === undefined) state = word;
    } else {
      const key = word.slice(0, equals);
      const value = word.slice(equals + 1);
      if (key === 'src') tuples.push({});
      if (key === 'mark') mark = Number(value);
      const tuple = tuples[tuples.length - 1];
      if (tuple !== undefined && !(key in tuple)) tuple[key] = value;
    }
  }
  const original = readTuple(tuples[0]);
  const reply = readTuple(tuples[1]);
  if (original === undefined || reply === undefined || !Number.isSafeInteger(mark)) return undefined;
  return {
    family: original.src.family,
    protocol: protocol === 'unknown' ? (words[start + 1] ?? protocol) : protocol,
    ...(state === undefined ? {} : { state }),
    original,
    reply,
    flags,
    mark,
    source: { kind: 'file', file, line: lineNumber, text: line.trim() },
  };
}

function readTuple(fields: Record<string, string> | undefined): Tuple | undefined {
  const src = parseAddress(fields?.src ?? '');
  const dst = parseAddress(fields?.dst ?? '');
  const srcPort = Number(fields?.sport ?? 0);
  const dstPort = Number(fields?.dport ?? 0);
  if (src === undefined || dst === undefined || !isPort(srcPort) || !isPort(dstPort)) return undefined;
  return { src, dst, srcPort, dstPort };
}

const isPort = (port: number): boolean => Number.isInteger(port) && port >= 0 && port <= 65535;
