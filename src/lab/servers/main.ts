/**
 * The lab's server process: serves the sockets that open.py made in the pods' namespaces.
 * argv: the lab's directory. PODPATH_FDS: descriptors in the order of servers.json. Descriptor 3: told when all are served.
 */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer as createTcpServer, type Server } from 'node:net';
import { join } from 'node:path';
import type { ServerSpec } from '../lab.ts';
import { answerQuery, cluster, streamQueries } from './dns.ts';
import { handleHttp } from './http.ts';

const dir = process.argv[2] ?? '.';
const specs = JSON.parse(readFileSync(join(dir, 'servers.json'), 'utf8')) as ServerSpec[];
const descriptors = (process.env.PODPATH_FDS ?? '').split(',').filter((text) => text !== '');
const names = cluster(dir);

function tcpServer(spec: ServerSpec): Server {
  switch (spec.kind) {
    case 'http':
      return createHttpServer((request, response) => handleHttp(spec.pod, request, response));
    case 'dns':
      return createTcpServer((socket) => {
        socket.on('error', () => socket.destroy());
        streamQueries(socket, names);
      });
    case 'echo':
      // Half-open is allowed: a client that ends its side still gets all of its bytes back.
      return createTcpServer({ allowHalfOpen: true }, (socket) => {
        socket.on('error', () => socket.destroy());
        socket.pipe(socket);
      });
  }
}

function udpServer(spec: ServerSpec): UdpSocket {
  const socket = createSocket(spec.address.includes(':') ? 'udp6' : 'udp4');
  // An ICMP error for an earlier answer shows up here; the peer is gone and nothing is to be done.
  socket.on('error', () => {});
  socket.on('message', (message, peer) => {
    const answer = spec.kind === 'dns' ? answerQuery(message, names) : message;
    if (answer !== undefined) socket.send(answer, peer.port, peer.address);
  });
  return socket;
}

const serve = (spec: ServerSpec, fd: number): Promise<void> =>
  new Promise((resolve, reject) => {
    if (spec.protocol === 'udp') {
      udpServer(spec).bind({ fd }, resolve);
      return;
    }
    const server = tcpServer(spec);
    server.once('error', reject);
    server.listen({ fd }, resolve);
  });

await Promise.all(specs.map((spec, index) => serve(spec, Number(descriptors[index]))));
writeSync(3, 'ready\n');
closeSync(3);
// With no socket at all the process would end at once, which the lab would take for a failure.
if (specs.length === 0) setInterval(() => {}, 2 ** 30);
