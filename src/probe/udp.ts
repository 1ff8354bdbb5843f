/** One datagram from a connected socket: connected, so that ICMP errors come back as errors of the socket. */
import { createSocket } from 'node:dgram';
import { encode } from 'dns-packet';
import { parseAddress } from '../net/address.ts';
import { type Found, outcomeOfError } from './outcome.ts';
import { type ProbeRequest, timeoutOf } from './request.ts';

export function probeUdp(request: ProbeRequest & { kind: 'udp' }): Promise<Found> {
  return exchange({
    dst: request.dst,
    port: request.port,
    payload: payloadFor(request),
    timeoutMs: timeoutOf(request),
  }).then((answer) =>
    answer.reply === undefined
      ? answer.found
      : { outcome: 'ok', output: `${answer.reply.length} bytes of reply` },
  );
}

/** DNS servers stay silent to noise, so port 53 is sent a question that every server must answer. */
function payloadFor(request: ProbeRequest & { kind: 'udp' }): Buffer {
  const sizeBytes = request.sizeBytes ?? 8;
  if (request.port !== 53) return Buffer.alloc(sizeBytes, 'podpath ');
  return encode({ type: 'query', id: 1, questions: [{ type: 'NS', name: '.' }] });
}

export interface Exchange {
  readonly found: Found;
  readonly reply?: Buffer;
}

/** Sends one datagram and waits for the first that comes back. Never rejects. */
export function exchange(to: {
  readonly dst: string;
  readonly port: number;
  readonly payload: Buffer;
  readonly timeoutMs: number;
}): Promise<Exchange> {
  return new Promise((resolve) => {
    const socket = createSocket(parseAddress(to.dst)?.family === 6 ? 'udp6' : 'udp4');
    let done = false;
    const finish = (found: Found, reply?: Buffer) => {
      if (done) return;
      done = true;
      clearTimeout(timer);
      socket.removeAllListeners().on('error', () => {});
      socket.close();
      resolve(reply === undefined ? { found } : { found, reply });
    };
    const fail = (error: NodeJS.ErrnoException) =>
      finish({ outcome: outcomeOfError(error.code), output: error.message });
    const timer = setTimeout(
      () => finish({ outcome: 'timeout', output: `no reply in ${to.timeoutMs} ms` }),
      to.timeoutMs,
    );
    socket.on('error', fail);
    socket.on('message', (reply) => finish({ outcome: 'ok', output: '' }, reply));
    socket.on('connect', () => socket.send(to.payload, (error) => error && fail(error)));
    socket.connect(to.port, to.dst);
  });
}
