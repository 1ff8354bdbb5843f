// node fault-proxy.mjs https://127.0.0.1:6443: an HTTP proxy in front of an API server that spoils answers as stdin tells it.
// Prints its URL; then one line of stdin, {"faults":[...]} or {"log":true}, is answered by one line of stdout.
import http from 'node:http';
import https from 'node:https';
import { createInterface } from 'node:readline';

const target = new URL(process.argv[2] ?? '');
const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false });
let faults = [];
let log = [];

/** The fault for this request, if it is its turn. */
function faultOf(path) {
  for (const fault of faults) {
    if (!new RegExp(fault.match).test(path)) continue;
    if (fault.after > 0) fault.after--;
    else if (fault.times > 0) {
      fault.times--;
      return fault;
    }
  }
  return undefined;
}

const server = http.createServer((request, response) => {
  const fault = faultOf(request.url);
  const note = (status) => log.push({ method: request.method, path: request.url, status });
  if (fault?.kind === 'cut') {
    note(0);
    request.socket.destroy();
    return;
  }
  if (fault?.kind === 'status') {
    note(fault.status);
    const reasons = { 410: 'Expired', 429: 'TooManyRequests', 401: 'Unauthorized' };
    response.writeHead(fault.status, {
      'content-type': 'application/json',
      ...(fault.retryAfterSeconds === undefined ? {} : { 'retry-after': String(fault.retryAfterSeconds) }),
    });
    const reason = reasons[fault.status] ?? 'InternalError';
    // As the API server offers to go on at its present state: the token that was asked with is still good in truth.
    const token = new URL(request.url, target).searchParams.get('continue');
    const metadata = fault.resume === true ? { continue: token } : {};
    response.end(
      JSON.stringify({
        kind: 'Status',
        status: 'Failure',
        metadata,
        reason,
        message: `injected ${reason}`,
        code: fault.status,
      }),
    );
    return;
  }
  if (fault?.kind === 'html') {
    note(200);
    response.writeHead(200, { 'content-type': 'text/html' });
    response.end('<html><body><h1>Please log in</h1></body></html>');
    return;
  }
  const forward = () => {
    const upstream = https.request(
      new URL(request.url, target),
      { method: request.method, headers: { ...request.headers, host: target.host }, agent },
      (answer) => {
        note(answer.statusCode);
        if (fault?.kind !== 'cut-body') {
          response.writeHead(answer.statusCode, answer.headers);
          answer.pipe(response);
          return;
        }
        const chunks = [];
        answer.on('data', (chunk) => chunks.push(chunk));
        answer.on('end', () => {
          const whole = Buffer.concat(chunks);
          response.writeHead(answer.statusCode, {
            ...answer.headers,
            'content-length': String(whole.length),
          });
          response.write(whole.subarray(0, Math.floor(whole.length / 2)), () => request.socket.destroy());
        });
      },
    );
    upstream.on('error', () => {
      note(502);
      request.socket.destroy();
    });
    request.pipe(upstream);
  };
  if (fault?.kind === 'slow') setTimeout(forward, fault.delayMs);
  else forward();
});

server.listen(0, '127.0.0.1', () => process.stdout.write(`http://127.0.0.1:${server.address().port}\n`));
const lines = createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const asked = JSON.parse(line);
  if (asked.log === true) process.stdout.write(`${JSON.stringify(log)}\n`);
  else {
    faults = asked.faults;
    log = [];
    process.stdout.write('{}\n');
  }
});
// Whoever started it is gone.
lines.on('close', () => process.exit(0));
