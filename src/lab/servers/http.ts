/** HTTP as the lab's pods speak it: GET / names the pod, GET /bytes/N returns N bytes, POST and PUT count what they read. */
import type { IncomingMessage, ServerResponse } from 'node:http';

const chunk = Buffer.alloc(64 * 1024, 'x');
const maxBytes = 1024 * 1024 * 1024;

export function handleHttp(pod: string, request: IncomingMessage, response: ServerResponse): void {
  request.on('error', () => response.destroy());
  response.setHeader('content-type', 'text/plain');
  response.setHeader('x-pod', pod);
  if (request.method === 'POST' || request.method === 'PUT') {
    let bytes = 0;
    request.on('data', (data: Buffer) => {
      bytes += data.length;
    });
    request.on('end', () => response.end(`${bytes}\n`));
    return;
  }
  request.resume();
  const wanted = /^\/bytes\/([0-9]{1,10})$/.exec(request.url ?? '');
  if (wanted !== null && Number(wanted[1]) <= maxBytes) {
    sendBytes(response, Number(wanted[1]));
    return;
  }
  response.statusCode = request.url === '/' || request.url === '/healthz' ? 200 : 404;
  response.end(response.statusCode === 200 ? `${pod}\n` : `${pod}: not found\n`);
}

function sendBytes(response: ServerResponse, total: number): void {
  response.setHeader('content-length', total);
  let left = total;
  const more = () => {
    while (left > 0) {
      const part = chunk.subarray(0, Math.min(left, chunk.length));
      left -= part.length;
      if (!response.write(part)) {
        response.once('drain', more);
        return;
      }
    }
    response.end();
  };
  more();
}
