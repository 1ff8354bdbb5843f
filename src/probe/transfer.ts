/** TCP transfers: do full-size segments pass as well as the handshake's small ones, in either direction? */
import { type Reply, readReply } from './http.ts';
import type { Found } from './outcome.ts';
import { hostPort, timeoutOf } from './request.ts';
import { socketInfo } from './socket-info.ts';
import { type TcpRequest, withSocket } from './tcp.ts';

export const probeTransfer = (request: TcpRequest, bulk: NonNullable<TcpRequest['bulk']>): Promise<Found> =>
  bulk.direction === 'from-src' ? upload(request, bulk.sizeBytes) : download(request, bulk.sizeBytes);

/**
 * Sends a large POST, because an HTTP server answers one of any size; an echo server sends the bytes back, and then all
 * of them must return. The kernel cuts the one write into full-size segments from the first on, so any byte of an HTTP
 * answer shows that such a segment arrived.
 */
function upload(request: TcpRequest, sizeBytes: number): Promise<Found> {
  const post = `POST / HTTP/1.1\r\nHost: ${hostOf(request)}\r\nContent-Type: application/octet-stream\r\nContent-Length: ${sizeBytes}\r\nConnection: close\r\n\r\n`;
  const asked = Buffer.concat([Buffer.from(post), Buffer.alloc(sizeBytes, '.')]);
  let received = Buffer.alloc(0);
  return withSocket(
    request,
    (socket, finish) => {
      socket.on('connect', () => socket.write(asked));
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        const reply = readReply(received);
        if (reply !== undefined)
          finish({ outcome: 'ok', output: `sent ${sizeBytes} bytes: ${reply.status}` });
        else if (received.length >= asked.length)
          finish({ outcome: 'ok', output: `${received.length} bytes were echoed` });
      });
      // A server of another protocol may hang up on what it does not understand; that says nothing about sizes.
      socket.on('end', () => finish(untested(`the peer closed after ${received.length} bytes of answer`)));
    },
    async (socket) => {
      const info = await socketInfo(socket);
      if (info === undefined) return untested('no answer to the transfer, and ss(8) shows no counters');
      const { ackedBytes, retransmits, mssBytes } = info;
      const output = `connected; after ${timeoutOf(request)} ms ${ackedBytes} of ${asked.length} bytes acknowledged, ${received.length} received, ${retransmits} segments retransmitted, MSS ${mssBytes}`;
      // Full-size segments were acknowledged: the path carries them, and only the program at its end keeps silent.
      const silent = received.length === 0 && ackedBytes >= Math.min(asked.length, 2 * mssBytes);
      return silent
        ? { outcome: 'ok', output: `${output}; the server did not answer` }
        : { outcome: 'timeout', output };
    },
  );
}

/**
 * Asks for one byte and then, on the same connection, for many. A server that does not answer the small question says
 * nothing about sizes; one that does, and then stays silent, has sent segments that were lost.
 */
function download(request: TcpRequest, sizeBytes: number): Promise<Found> {
  const ask = (bytes: number) => `GET /bytes/${bytes} HTTP/1.1\r\nHost: ${hostOf(request)}\r\n\r\n`;
  let stage: 'small' | 'large' = 'small';
  let received = Buffer.alloc(0);
  const refusal = (reply: Reply | undefined): Found | undefined => {
    if (reply === undefined)
      return received.length < 'HTTP/1.1 '.length ? undefined : untested('the peer does not speak HTTP');
    return reply.code === 200 ? undefined : untested(`the peer serves no large reply: ${reply.status}`);
  };
  return withSocket(
    request,
    (socket, finish) => {
      socket.on('connect', () => socket.write(ask(1)));
      socket.on('end', () => finish(untested('the peer closed before its reply was whole')));
      socket.on('data', (chunk: Buffer) => {
        received = Buffer.concat([received, chunk]);
        const reply = readReply(received);
        const refused = refusal(reply);
        if (refused !== undefined) finish(refused);
        else if (reply?.isWhole !== true) return;
        else if (stage === 'large') finish({ outcome: 'ok', output: `received ${reply.bodyBytes} bytes` });
        else {
          stage = 'large';
          received = Buffer.alloc(0);
          socket.write(ask(sizeBytes));
        }
      });
    },
    async () =>
      stage === 'small'
        ? untested('the peer did not answer a small request')
        : {
            outcome: 'timeout',
            output: `connected; a small reply came, then ${received.length} of ${sizeBytes} bytes in ${timeoutOf(request)} ms`,
          },
  );
}

/** `error`: a probe that could not be made, not a failed one. */
const untested = (why: string): Found => ({ outcome: 'error', output: `not tested: ${why}` });

const hostOf = (request: TcpRequest): string => hostPort(request.dst, request.port);
