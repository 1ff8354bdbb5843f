/** A way through a proxy to the API server: HTTP CONNECT and SOCKS5, as client-go takes them from the kubeconfig or the environment. */
import { once } from 'node:events';
import { BlockList, connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';

/** The proxy for `server`: the kubeconfig's, else HTTPS_PROXY or HTTP_PROXY unless NO_PROXY excepts it (Go's ProxyFromEnvironment). */
export function proxyFor(
  server: URL,
  configured: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): URL | undefined {
  if (configured !== undefined) return new URL(configured);
  const name = server.protocol === 'http:' ? 'HTTP_PROXY' : 'HTTPS_PROXY';
  const text = env[name] || env[name.toLowerCase()] || '';
  if (text === '' || isExcepted(server, env.NO_PROXY || env.no_proxy || '')) return undefined;
  // Go takes `proxy:3128` for http://proxy:3128.
  return new URL(text.includes('://') ? text : `http://${text}`);
}

/** golang.org/x/net/http/httpproxy: `*`, addresses, prefixes, names with their subdomains, each with a port or without. */
function isExcepted(server: URL, list: string): boolean {
  const host = server.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = server.port || (server.protocol === 'http:' ? '80' : '443');
  const family = isIP(host);
  if (host === 'localhost' || host === '::1' || (family === 4 && host.startsWith('127.'))) return true;
  return list.split(',').some((raw) => {
    const entry = raw.trim().toLowerCase();
    if (entry === '') return false;
    if (entry === '*') return true;
    if (entry.includes('/')) return family !== 0 && inPrefix(host, family, entry);
    const withPort = /^(.*[^:]):(\d+)$/.exec(entry);
    const name = (withPort?.[1] ?? entry).replace(/^\[|\]$/g, '').replace(/^\*\./, '.');
    if (withPort !== null && withPort[2] !== port) return false;
    if (family !== 0) return name === host;
    return name.startsWith('.') ? host.endsWith(name) : host === name || host.endsWith(`.${name}`);
  });
}

function inPrefix(host: string, family: number, entry: string): boolean {
  const [address = '', length = ''] = entry.split('/');
  if (isIP(address) !== family) return false;
  const prefix = new BlockList();
  try {
    prefix.addSubnet(address, Number(length), family === 6 ? 'ipv6' : 'ipv4');
  } catch {
    return false;
  }
  return prefix.check(host, family === 6 ? 'ipv6' : 'ipv4');
}

/** A connected socket to `host:port` behind the proxy. Rejects with a text that names the proxy, without its password. */
export async function throughProxy(proxy: URL, host: string, port: number): Promise<Socket> {
  const socks = /^socks5h?:$/.test(proxy.protocol);
  if (!socks && proxy.protocol !== 'http:' && proxy.protocol !== 'https:')
    throw new Error(`proxy ${proxy.protocol}//${proxy.host}: only http, https and socks5 are understood`);
  const socket = await reach(proxy, socks ? 1080 : proxy.protocol === 'http:' ? 80 : 443);
  try {
    await (socks ? socksConnect(socket, proxy, host, port) : httpConnect(socket, proxy, host, port));
    return socket;
  } catch (error) {
    socket.destroy();
    throw new Error(`proxy ${proxy.host}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

async function reach(proxy: URL, defaultPort: number): Promise<Socket> {
  const target = {
    host: proxy.hostname.replace(/^\[|\]$/g, ''),
    port: Number(proxy.port) || defaultPort,
  };
  const secure = proxy.protocol === 'https:';
  const socket = secure ? connectTls({ ...target, servername: target.host }) : connectTcp(target);
  try {
    await once(socket, secure ? 'secureConnect' : 'connect');
  } catch (error) {
    throw new Error(`proxy ${proxy.host}: ${error instanceof Error ? error.message : String(error)}`);
  }
  return socket;
}

const credentials = (proxy: URL): { readonly user: string; readonly password: string } => ({
  user: decodeURIComponent(proxy.username),
  password: decodeURIComponent(proxy.password),
});

async function httpConnect(socket: Socket, proxy: URL, host: string, port: number): Promise<void> {
  const authority = `${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
  const { user, password } = credentials(proxy);
  const login =
    user === ''
      ? ''
      : `Proxy-Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}\r\n`;
  socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n${login}\r\n`);
  const head = await readUntil(socket, (data) => {
    const end = data.indexOf('\r\n\r\n');
    return end < 0 ? undefined : end + 4;
  });
  const status = /^HTTP\/1\.[01] (\d{3})[^\r\n]*/.exec(head.toString('latin1'));
  if (status?.[1]?.startsWith('2') !== true)
    throw new Error(`it refused the connection: ${status?.[0] ?? 'it speaks no HTTP'}`);
}

/** RFC 1928; names are resolved by the proxy. RFC 1929 for user and password. */
async function socksConnect(socket: Socket, proxy: URL, host: string, port: number): Promise<void> {
  const { user, password } = credentials(proxy);
  socket.write(user === '' ? Buffer.from([5, 1, 0]) : Buffer.from([5, 2, 0, 2]));
  const [, method] = await readUntil(socket, (data) => (data.length >= 2 ? 2 : undefined));
  if (method === 2) {
    const parts = [user, password].map((text) => Buffer.from(text));
    socket.write(
      Buffer.concat([Buffer.from([1]), ...parts.flatMap((part) => [Buffer.from([part.length]), part])]),
    );
    const [, refused] = await readUntil(socket, (data) => (data.length >= 2 ? 2 : undefined));
    if (refused !== 0) throw new Error('it refused the user name or password');
  } else if (method !== 0) throw new Error('it accepts none of our ways to log in');
  const name = Buffer.from(host);
  socket.write(
    Buffer.concat([Buffer.from([5, 1, 0, 3, name.length]), name, Buffer.from([port >> 8, port & 255])]),
  );
  // The answer ends with the bound address: 4 or 16 bytes, or a name with its length.
  const answer = await readUntil(socket, (data) => {
    if (data.length < 5) return undefined;
    const length = data[3] === 1 ? 10 : data[3] === 4 ? 22 : 7 + (data[4] ?? 0);
    return data.length >= length ? length : undefined;
  });
  if (answer[1] !== 0) throw new Error(`it could not connect (SOCKS5 reply ${answer[1]})`);
}

/** No proxy's answer to a handshake is longer. */
const maxHandshakeBytes = 16_384;

/** Reads up to the end that `complete` finds; what came behind it stays in the socket. */
function readUntil(socket: Socket, complete: (data: Buffer) => number | undefined): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let data: Buffer = Buffer.alloc(0);
    const stop = () => {
      socket.off('readable', read);
      socket.off('error', fail);
      socket.off('end', ended);
    };
    const fail = (error: Error) => {
      stop();
      reject(error);
    };
    const ended = () => fail(new Error('it closed the connection during the handshake'));
    const read = () => {
      for (
        let chunk = socket.read() as Buffer | null;
        chunk !== null;
        chunk = socket.read() as Buffer | null
      ) {
        data = Buffer.concat([data, chunk]);
        const end = complete(data);
        if (end !== undefined) {
          stop();
          if (data.length > end) socket.unshift(data.subarray(end));
          resolve(data.subarray(0, end));
          return;
        }
        if (data.length > maxHandshakeBytes) {
          fail(new Error('its answer to the handshake has no end'));
          return;
        }
      }
    };
    socket.on('readable', read);
    socket.on('error', fail);
    socket.on('end', ended);
    read();
  });
}
