/** `ss -H -lntup` (also with its header line): `netid state recv-q send-q local peer process`. */

import type { Socket } from '../model/netns.ts';
import { type Address, parseAddress } from '../net/address.ts';
import { readLines } from './lines.ts';
import type { Parsed } from './result.ts';

const protocols: Readonly<Record<string, Socket['protocol']>> = { tcp: 'tcp', udp: 'udp', sctp: 'sctp' };

export function parseSs(text: string, file: string): Parsed<readonly Socket[]> {
  return readLines<Socket>(text, file, {
    format: 'ss',
    read: (line, lineNumber) => {
      const columns = line.trim().split(/\s+/);
      const [netid, state, received, queued, local] = columns;
      if (netid === 'Netid') return 'skip';
      if (netid === undefined || state === undefined || local === undefined) return undefined;
      if (!/^\d+$/.test(received ?? '') || !/^\d+$/.test(queued ?? '')) return undefined;
      const protocol = Object.hasOwn(protocols, netid) ? protocols[netid] : undefined;
      // Raw, packet and unix sockets take no part in a flow.
      if (protocol === undefined) return /^[a-z_0-9?]+$/.test(netid) ? 'skip' : undefined;
      const end = readLocal(local);
      if (end === undefined) return undefined;
      const process = /users:\(\("([^"]*)"/.exec(line)?.[1];
      return {
        protocol,
        state,
        ...end,
        ...(process === undefined ? {} : { process }),
        source: { kind: 'file', file, line: lineNumber, text: line.trim() },
      };
    },
  });
}

/** `0.0.0.0:80`, `*:80`, `[::]:80`, `127.0.0.53%lo:53`, `[fe80::1]%eth0:546`. */
function readLocal(text: string): Pick<Socket, 'local' | 'device' | 'port'> | undefined {
  const colon = text.lastIndexOf(':');
  const portText = text.slice(colon + 1);
  // `*` as port: not bound to one (raw sockets).
  if (colon < 0 || !/^(\d{1,5}|\*)$/.test(portText)) return undefined;
  const port = portText === '*' ? 0 : Number(portText);
  if (port > 65535) return undefined;
  const host = text.slice(0, colon);
  const percent = host.indexOf('%');
  const device = percent < 0 ? undefined : host.slice(percent + 1).replace(/\]$/, '');
  const name = (percent < 0 ? host : host.slice(0, percent)).replace(/^\[|\]$/g, '');
  const bound: { port: number; device?: string } = device === undefined ? { port } : { port, device };
  if (name === '*') return bound;
  const local: Address | undefined = parseAddress(name);
  return local === undefined ? undefined : { ...bound, local };
}
