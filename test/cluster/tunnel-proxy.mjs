// node tunnel-proxy.mjs http|socks5: a proxy that tunnels for user jo with password planted-word. Prints its port; a line of stdin
// is answered with the number of tunnels so far.
import { createConnection, createServer } from 'node:net';

const [scheme] = process.argv.slice(2);
let tunnels = 0;

function tunnel(client, host, port, ok, rest) {
  const upstream = createConnection({ host, port }, () => {
    tunnels++;
    client.write(ok);
    if (rest.length > 0) upstream.write(rest);
    client.pipe(upstream).pipe(client);
  });
  upstream.on('error', () => client.destroy());
  client.on('error', () => upstream.destroy());
  client.on('close', () => upstream.destroy());
}

function serveHttp(client) {
  let data = Buffer.alloc(0);
  const read = (chunk) => {
    data = Buffer.concat([data, chunk]);
    const end = data.indexOf('\r\n\r\n');
    if (end < 0) return;
    client.off('data', read);
    const head = data.toString('latin1', 0, end);
    const login = Buffer.from(/proxy-authorization: basic (\S+)/i.exec(head)?.[1] ?? '', 'base64').toString();
    const [, host, port] = /^CONNECT ([^:]+):(\d+) /.exec(head) ?? [];
    if (login !== 'jo:planted-word') client.end('HTTP/1.1 407 Proxy Authentication Required\r\n\r\n');
    else tunnel(client, host, Number(port), 'HTTP/1.1 200 OK\r\n\r\n', data.subarray(end + 4));
  };
  client.on('data', read);
}

/** RFC 1928 and 1929; each message of our client comes in one piece on loopback. */
function serveSocks(client) {
  client.once('data', () => {
    client.write(Buffer.from([5, 2]));
    client.once('data', (login) => {
      const user = login.toString('utf8', 2, 2 + login[1]);
      const at = 2 + login[1];
      const password = login.toString('utf8', at + 1, at + 1 + login[at]);
      const good = user === 'jo' && password === 'planted-word';
      client.write(Buffer.from([1, good ? 0 : 1]));
      if (!good) {
        client.end();
        return;
      }
      client.once('data', (asked) => {
        const host = asked.toString('utf8', 5, 5 + asked[4]);
        const port = asked.readUInt16BE(5 + asked[4]);
        tunnel(client, host, port, Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]), Buffer.alloc(0));
      });
    });
  });
}

const server = createServer(scheme === 'http' ? serveHttp : serveSocks);
server.listen(0, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`));
process.stdin.on('data', () => process.stdout.write(`${tunnels}\n`));
process.stdin.on('end', () => process.exit(0));
