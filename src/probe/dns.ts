/** DNS questions straight to one server: the resolver library would hide which server answered what. */
import { createConnection } from 'node:net';
import { type DecodedPacket, decode, encode, streamEncode } from 'dns-packet';
import { type Found, outcomeOfError } from './outcome.ts';
import { type ProbeRequest, timeoutOf } from './request.ts';
import { exchange } from './udp.ts';

type DnsRequest = ProbeRequest & { kind: 'dns' };

export async function probeDns(request: DnsRequest): Promise<Found> {
  const query = {
    type: 'query' as const,
    id: 1 + Math.floor(Math.random() * 65_534),
    flags: 0x0100, // recursion desired
    questions: [
      {
        type: request.family === 4 ? ('A' as const) : ('AAAA' as const),
        name: request.name.replace(/\.$/, ''),
      },
    ],
  };
  const timeoutMs = timeoutOf(request);
  const to = { dst: request.server, port: 53, timeoutMs };
  const answer =
    request.transport === 'udp'
      ? await exchange({ ...to, payload: encode(query) })
      : await tcpExchange({ ...to, payload: streamEncode(query) });
  return answer.reply === undefined ? answer.found : readReply(answer.reply, query.id);
}

/** NXDOMAIN and an empty answer are `ok` transports with nothing found: the caller looks at `dns`. */
export function readReply(reply: Buffer, id: number): Found {
  let packet: DecodedPacket;
  try {
    packet = decode(reply);
  } catch {
    return { outcome: 'error', output: `${reply.length} bytes that are no DNS message` };
  }
  if (packet.id !== id) return { outcome: 'error', output: 'a reply to another question' };
  const answers = (packet.answers ?? []).flatMap((record) =>
    record.type === 'A' || record.type === 'AAAA' ? [record.data] : [],
  );
  const rcode = 'rcode' in packet ? String(packet.rcode) : 'NOERROR';
  return {
    outcome: 'ok',
    output: `status ${rcode}, ${answers.length === 0 ? 'no addresses' : answers.join(', ')}`,
    dns: { rcode, answers },
  };
}

interface Question {
  readonly dst: string;
  readonly port: number;
  readonly payload: Buffer;
  readonly timeoutMs: number;
}

/** One question and its length-prefixed answer over TCP. Never rejects. */
function tcpExchange(to: Question): Promise<{ found: Found; reply?: Buffer }> {
  return new Promise((resolve) => {
    const socket = createConnection({ host: to.dst, port: to.port });
    let received = Buffer.alloc(0);
    const finish = (found: Found, reply?: Buffer) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reply === undefined ? { found } : { found, reply });
    };
    const timer = setTimeout(
      () => finish({ outcome: 'timeout', output: `no answer in ${to.timeoutMs} ms` }),
      to.timeoutMs,
    );
    socket.on('error', (error: NodeJS.ErrnoException) =>
      finish({ outcome: outcomeOfError(error.code), output: error.message }),
    );
    socket.on('end', () => finish({ outcome: 'error', output: 'the server closed without an answer' }));
    socket.on('connect', () => socket.write(to.payload));
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      const length = received.length < 2 ? undefined : received.readUInt16BE(0);
      if (length !== undefined && received.length >= length + 2)
        finish({ outcome: 'ok', output: '' }, received.subarray(2, length + 2));
    });
  });
}
