// Tries flows from the network namespace it runs in. stdin: [{address, port, protocol, sizeBytes?, hostName?, kind}], stdout: [true|text].
// A plain client, apart from podpath's own probes: what it says about a flow is not what podpath believes.
import dgram from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import net from 'node:net';
import { text } from 'node:stream/consumers';

const timeoutMs = 1_300;

async function attempt(flow) {
  try {
    if (flow.hostName === undefined) return await exchange(flow, flow.address);
    const resolver = new Resolver({ timeout: 1_000, tries: 1 });
    const [address] = await resolver.resolve4(flow.hostName);
    return await exchange(flow, address);
  } catch (error) {
    return error.code ?? error.message;
  }
}

const exchange = (flow, address) =>
  flow.protocol === 'udp' ? datagram(flow, address) : connection(flow, address);

/** Sends a request and waits for the first bytes of an answer. */
function connection({ port, kind, sizeBytes }, address) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: address, port });
    const end = (result) => {
      socket.destroy();
      resolve(result);
    };
    setTimeout(() => end('timeout'), timeoutMs).unref();
    socket.on('error', (error) => end(error.code));
    socket.on('connect', () => {
      const body = 'x'.repeat(sizeBytes ?? 0);
      const head =
        sizeBytes === undefined
          ? 'GET / HTTP/1.0\r\n\r\n'
          : `POST / HTTP/1.0\r\nContent-Length: ${sizeBytes}\r\n\r\n`;
      socket.write(kind === 'http' ? head + body : `hello${body}`);
    });
    let received = 0;
    socket.on('data', (data) => {
      received += data.length;
      if (kind === 'http' || received >= 5 + (sizeBytes ?? 0)) end(true);
    });
    socket.on('close', () => end('closed'));
  });
}

function datagram({ port }, address) {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(address.includes(':') ? 'udp6' : 'udp4');
    const end = (result) => {
      socket.close();
      resolve(result);
    };
    const timer = setTimeout(() => end('timeout'), timeoutMs);
    socket.on('message', () => {
      clearTimeout(timer);
      end(true);
    });
    socket.on('error', (error) => {
      clearTimeout(timer);
      end(error.code);
    });
    socket.connect(port, address, () => socket.send('hello'));
  });
}

const flows = JSON.parse(await text(process.stdin));
process.stdout.write(JSON.stringify(await Promise.all(flows.map(attempt))));
process.exit(0);
