/** The agent that opens connections to one API server: TLS, client certificate, proxy; kept alive between requests. */
import http from 'node:http';
import https from 'node:https';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { throughProxy } from './proxy.ts';

export interface AgentOptions {
  readonly server: URL;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly servername?: string;
  readonly insecure: boolean;
  readonly proxy?: URL;
}

const pool = { keepAlive: true, maxSockets: 8 } as const;

export function makeAgent(options: AgentOptions): http.Agent {
  const { server, ca, cert, key, servername, insecure, proxy } = options;
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    rejectUnauthorized: !insecure,
  };
  const plain = server.protocol === 'http:';
  if (proxy === undefined) return plain ? new http.Agent(pool) : new https.Agent({ ...pool, ...tls });
  const host = server.hostname.replace(/^\[|\]$/g, '');
  const port = Number(server.port) || (plain ? 80 : 443);
  const open = async (): Promise<Socket> => {
    const socket = await throughProxy(proxy, host, port);
    if (plain) return socket;
    // Node's own check of an address as server name is none; client-go's neither.
    return connectTls({ ...tls, socket, host, servername: servername ?? host });
  };
  return plain ? new ProxiedHttpAgent(open) : new ProxiedHttpsAgent(open);
}

type Opened = (error: Error | null, stream: Duplex) => void;

class ProxiedHttpAgent extends http.Agent {
  readonly #open: () => Promise<Socket>;
  constructor(open: () => Promise<Socket>) {
    super(pool);
    this.#open = open;
  }
  override createConnection(_options: object, opened?: Opened): undefined {
    deliver(this.#open, opened);
  }
}

class ProxiedHttpsAgent extends https.Agent {
  readonly #open: () => Promise<Socket>;
  constructor(open: () => Promise<Socket>) {
    super(pool);
    this.#open = open;
  }
  override createConnection(_options: object, opened?: Opened): undefined {
    deliver(this.#open, opened);
  }
}

function deliver(open: () => Promise<Socket>, opened?: Opened): void {
  open().then(
    (socket) => opened?.(null, socket),
    // With an error nobody looks at the stream.
    (error: Error) => opened?.(error, undefined as unknown as Duplex),
  );
}
