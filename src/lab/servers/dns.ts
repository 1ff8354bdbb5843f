/** Cluster DNS: A and AAAA of Services and of the pods behind headless Services, from the lab's objects as they are now. */
import { readFileSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { type Answer, type DecodedPacket, decode, encode, type Packet } from 'dns-packet';

const zone = 'cluster.local';
/** CoreDNS' default for its kubernetes plugin. */
const ttlSeconds = 5;
const [noError, nameError, notImplemented] = [0, 3, 4];
const maxUdpBytes = 512;

interface Service {
  readonly metadata: { readonly namespace: string; readonly name: string };
  readonly spec: { readonly clusterIP?: string; readonly clusterIPs?: readonly string[] };
}

interface Slice {
  readonly metadata: { readonly namespace: string; readonly labels?: Readonly<Record<string, string>> };
  readonly endpoints?: readonly { readonly addresses: readonly string[] }[];
}

/** Addresses by name, `api.shop.svc.cluster.local`; undefined for a name that does not exist. */
export type Names = (name: string) => readonly string[] | undefined;

/** Looks names up in the lab's objects, read again whenever their files have changed. */
export function cluster(labDir: string): Names {
  const services = cachedItems<Service>(join(labDir, 'cluster', 'services.json'));
  const slices = cachedItems<Slice>(join(labDir, 'cluster', 'endpointslices.discovery.k8s.io.json'));
  return (name) => {
    const [service, namespace, ...rest] = name.split('.');
    if (service === undefined || namespace === undefined || rest.join('.') !== `svc.${zone}`)
      return undefined;
    const found = services().find(
      ({ metadata }) => metadata.namespace === namespace && metadata.name === service,
    );
    if (found === undefined) return undefined;
    if (found.spec.clusterIP !== 'None') return found.spec.clusterIPs ?? [];
    return slices()
      .filter(({ metadata }) => metadata.namespace === namespace)
      .filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === service)
      .flatMap(({ endpoints }) => (endpoints ?? []).flatMap(({ addresses }) => addresses));
  };
}

function cachedItems<T>(path: string): () => readonly T[] {
  let stamp = '';
  let items: readonly T[] = [];
  return () => {
    try {
      const { mtimeMs, ino } = statSync(path);
      if (stamp !== `${mtimeMs} ${ino}`) {
        items = (JSON.parse(readFileSync(path, 'utf8')) as { items: readonly T[] }).items;
        stamp = `${mtimeMs} ${ino}`;
      }
    } catch {
      // The file is gone while the lab is being removed: the last answers stand.
    }
    return items;
  };
}

/** The answer to a query as a message; undefined for bytes that are no query. */
export function answerQuery(message: Buffer, names: Names, maxBytes = maxUdpBytes): Buffer | undefined {
  let query: DecodedPacket;
  try {
    query = decode(message);
  } catch {
    return undefined;
  }
  if (query.type !== 'query') return undefined;
  const answer = encode(answerOf(query, names));
  if (answer.length <= maxBytes) return answer;
  // TC: the client asks again over TCP.
  return encode({ ...answerOf(query, () => []), flags: flagsOf(query, noError) | 0x0200 });
}

function answerOf(query: DecodedPacket, names: Names): Packet {
  const question = query.questions?.[0];
  const base = { type: 'response' as const, ...(query.id === undefined ? {} : { id: query.id }) };
  if (question === undefined) return { ...base, flags: flagsOf(query, notImplemented) };
  const found = names(question.name.toLowerCase().replace(/\.$/, ''));
  const answers = (found ?? []).flatMap((address): Answer[] => {
    const type = address.includes(':') ? 'AAAA' : 'A';
    return question.type === type ? [{ type, name: question.name, ttl: ttlSeconds, data: address }] : [];
  });
  return {
    ...base,
    flags: flagsOf(query, found === undefined ? nameError : noError),
    questions: [question],
    answers,
  };
}

/** AA, RA, and RD as the client set it. */
const flagsOf = (query: DecodedPacket, code: number): number =>
  0x0400 | 0x0080 | ((query.flags ?? 0) & 0x0100) | code;

/** DNS over TCP: two length bytes before each message. */
export function streamQueries(socket: Socket, names: Names): void {
  let pending = Buffer.alloc(0);
  socket.on('data', (data: Buffer) => {
    pending = Buffer.concat([pending, data]);
    while (pending.length >= 2 && pending.length >= 2 + pending.readUInt16BE(0)) {
      const end = 2 + pending.readUInt16BE(0);
      const answer = answerQuery(pending.subarray(2, end), names, 65_535);
      pending = pending.subarray(end);
      if (answer === undefined) {
        socket.destroy();
        return;
      }
      const length = Buffer.alloc(2);
      length.writeUInt16BE(answer.length);
      socket.write(Buffer.concat([length, answer]));
    }
  });
}
