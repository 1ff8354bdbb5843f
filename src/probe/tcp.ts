/** TCP connections: the handshake as a probe, and the frame that transfers run in. */
import { createConnection, type Socket } from 'node:net';
import { type Found, outcomeOfError } from './outcome.ts';
import { refusedBy, unreachablesReceived } from './refusal.ts';
import { hostPort, type ProbeRequest, timeoutOf } from './request.ts';

export type TcpRequest = ProbeRequest & { kind: 'tcp' };

export type Finish = (found: Found) => void;

export function probeHandshake(request: TcpRequest): Promise<Found> {
  return withSocket(request, (socket, finish) => {
    socket.on('connect', () =>
      finish({
        outcome: 'ok',
        output: `connected from ${hostPort(socket.localAddress ?? '?', socket.localPort ?? 0)}`,
      }),
    );
  });
}

/**
 * Opens a connection and ends it when `run` calls back. When the time is up, `onTimeout` judges a connection that was
 * made; one that was not made has timed out. Never rejects.
 */
export function withSocket(
  request: TcpRequest,
  run: (socket: Socket, finish: Finish) => void,
  onTimeout?: (socket: Socket) => Promise<Found>,
): Promise<Found> {
  return new Promise((resolve) => {
    const timeoutMs = timeoutOf(request);
    const socket = createConnection({ host: request.dst, port: request.port, allowHalfOpen: true });
    const icmpBefore = unreachablesReceived(request.dst);
    let connected = false;
    const finish: Finish = (found) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(found);
    };
    const timer = setTimeout(async () => {
      if (connected && onTimeout !== undefined) finish(await onTimeout(socket));
      else finish({ outcome: 'timeout', output: `no answer to the SYN in ${timeoutMs} ms` });
    }, timeoutMs);
    socket.on('connect', () => {
      connected = true;
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      const outcome = connected ? 'error' : outcomeOfError(error.code);
      const who = () => ` (${refusedBy(icmpBefore, unreachablesReceived(request.dst))})`;
      finish({ outcome, output: `${error.message}${outcome === 'refused' ? who() : ''}` });
    });
    run(socket, finish);
  });
}
