/** TCP: a handshake, and transfers that show whether full-size segments pass as well as small ones. */
import { createConnection, type Socket } from 'node:net';
import { exec } from '../system/exec.ts';
import { type Found, outcomeOfError } from './outcome.ts';
import { refusedBy, unreachablesReceived } from './refusal.ts';
import { hostPort, type ProbeRequest, timeoutOf } from './request.ts';

type TcpRequest = ProbeRequest & { kind: 'tcp' };

export const probeTcp = (request: TcpRequest): Promise<Found> =>
  request.bulk === undefined ? handshake(request) : transfer(request, request.bulk);

function handshake(request: TcpRequest): Promise<Found> {
  return withSocket(request, (socket, finish) => {
    socket.on('connect', () => finish({ outcome: 'ok', output: `connected from ${local(socket)}` }));
  });
}

type Finish = (found: Found) => void;

/** Opens a connection, ends it when `run` calls back or the time is up. Never rejects. */
function withSocket(
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

/**
 * Asks as HTTP, because an HTTP server answers a POST of any size. An echo server sends the bytes back; then all of
 * them must return. The kernel cuts the first write into full-size segments, so any byte of an HTTP answer to a large
 * POST shows that a full-size segment arrived.
 */
function transfer(request: TcpRequest, bulk: NonNullable<TcpRequest['bulk']>): Promise<Found> {
  const ask = bulk.direction === 'from-src' ? post(request, bulk.sizeBytes) : get(request, bulk.sizeBytes);
  const received: Buffer[] = [];
  let receivedBytes = 0;
  let isHttp: boolean | undefined;
  return withSocket(
    request,
    (socket, finish) => {
      const look = (ended: boolean) => {
        isHttp ??= receivedBytes === 0 ? undefined : startsAsHttp(received);
        const found = judge({ bulk, isHttp, receivedBytes, askedBytes: ask.length, received, ended });
        if (found !== undefined) finish(found);
      };
      socket.on('connect', () => socket.write(ask));
      socket.on('data', (chunk: Buffer) => {
        // The head is enough to read the status; the rest is only counted.
        if (receivedBytes < 4096) received.push(chunk);
        receivedBytes += chunk.length;
        look(false);
      });
      socket.on('end', () => look(true));
    },
    async (socket) => stalled(request, bulk, socket, receivedBytes, ask.length),
  );
}

interface Progress {
  readonly bulk: NonNullable<TcpRequest['bulk']>;
  readonly isHttp: boolean | undefined;
  readonly receivedBytes: number;
  readonly askedBytes: number;
  readonly received: readonly Buffer[];
  readonly ended: boolean;
}

/** The result, as soon as it is certain. */
function judge(progress: Progress): Found | undefined {
  const { bulk, isHttp, receivedBytes, askedBytes, ended } = progress;
  const status = isHttp === true ? statusLine(progress.received) : '';
  if (bulk.direction === 'from-src') {
    if (isHttp === true) return { outcome: 'ok', output: `sent ${bulk.sizeBytes} bytes: ${status}` };
    if (receivedBytes >= askedBytes) return { outcome: 'ok', output: `${receivedBytes} bytes were echoed` };
    // A server of another protocol may hang up on what it does not understand; that says nothing about sizes.
    return ended
      ? { outcome: 'error', output: `the peer closed after ${receivedBytes} bytes of answer` }
      : undefined;
  }
  if (isHttp === undefined) return ended ? notServed('it closed without an answer') : undefined;
  if (!isHttp) return notServed('it does not speak HTTP');
  if (!/^HTTP\/1\.[01] 200/.test(status)) return notServed(status);
  if (receivedBytes >= bulk.sizeBytes) return { outcome: 'ok', output: `received ${receivedBytes} bytes` };
  return ended ? notServed(`it sent only ${receivedBytes} bytes`) : undefined;
}

/** `error`: a probe that could not be made, not a failed one. */
const notServed = (why: string): Found => ({
  outcome: 'error',
  output: `the peer serves no large reply: ${why}`,
});

const startsAsHttp = (received: readonly Buffer[]): boolean =>
  Buffer.concat([...received])
    .subarray(0, 5)
    .toString('latin1') === 'HTTP/';

const statusLine = (received: readonly Buffer[]): string =>
  Buffer.concat([...received])
    .toString('latin1')
    .split('\r\n', 1)[0] ?? '';

function post(request: TcpRequest, sizeBytes: number): Buffer {
  const head = `POST / HTTP/1.1\r\nHost: ${hostPort(request.dst, request.port)}\r\nUser-Agent: podpath\r\nContent-Type: application/octet-stream\r\nContent-Length: ${sizeBytes}\r\nConnection: close\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.alloc(sizeBytes, 0x2e)]);
}

const get = (request: TcpRequest, sizeBytes: number): Buffer =>
  Buffer.from(
    `GET /bytes/${sizeBytes} HTTP/1.1\r\nHost: ${hostPort(request.dst, request.port)}\r\nUser-Agent: podpath\r\nConnection: close\r\n\r\n`,
  );

/** The handshake passed and the transfer did not end. The kernel's own counters tell a stall from a silent server. */
async function stalled(
  request: TcpRequest,
  bulk: NonNullable<TcpRequest['bulk']>,
  socket: Socket,
  receivedBytes: number,
  askedBytes: number,
): Promise<Found> {
  const connected = `connected, then ${receivedBytes} bytes received in ${timeoutOf(request)} ms`;
  const info = await socketInfo(socket);
  if (info === undefined) return { outcome: 'timeout', output: connected };
  const { ackedBytes, retransmits, mssBytes } = info;
  const output = `${connected}; ${ackedBytes} of ${askedBytes} sent bytes acknowledged, ${retransmits} segments retransmitted, MSS ${mssBytes}`;
  // Every byte was acknowledged: the path is good, and only the program at the other end keeps silent.
  const silent = bulk.direction === 'from-src' && ackedBytes >= askedBytes && receivedBytes === 0;
  return silent
    ? { outcome: 'ok', output: `${output}; the server did not answer` }
    : { outcome: 'timeout', output };
}

interface SocketInfo {
  readonly ackedBytes: number;
  readonly retransmits: number;
  readonly mssBytes: number;
}

/** ss(8) on one connection of this namespace; undefined where ss is missing or shows nothing. */
async function socketInfo(socket: Socket): Promise<SocketInfo | undefined> {
  if (socket.localPort === undefined) return undefined;
  const result = await exec(['ss', '-Htin', 'sport', '=', `:${socket.localPort}`], { timeoutMs: 300 });
  if (result.code !== 0 || result.stdout.trim() === '') return undefined;
  return readSocketInfo(result.stdout);
}

/** Absent counters are zero: ss prints none that is zero. The SYN counts as one acknowledged byte. */
export function readSocketInfo(text: string): SocketInfo {
  const number = (pattern: RegExp) => Number(pattern.exec(text)?.[1] ?? 0);
  return {
    ackedBytes: Math.max(0, number(/\bbytes_acked:(\d+)/) - 1),
    retransmits: number(/\bretrans:\d+\/(\d+)/),
    mssBytes: number(/\bmss:(\d+)/),
  };
}

const local = (socket: Socket): string => hostPort(socket.localAddress ?? '?', socket.localPort ?? 0);
