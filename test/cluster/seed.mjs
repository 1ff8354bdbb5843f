// node seed.mjs URL TOKEN COUNT: that many pods in the namespace shop, several at a time (kubectl makes one after the other).
import https from 'node:https';

const [url = '', token = '', count = '0'] = process.argv.slice(2);
const agent = new https.Agent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 16 });

const post = (name) =>
  new Promise((resolve, reject) => {
    const request = https.request(
      new URL('/api/v1/namespaces/shop/pods', url),
      {
        method: 'POST',
        agent,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      },
      (answer) => {
        answer.resume();
        answer.on('end', () =>
          answer.statusCode === 201 ? resolve() : reject(new Error(`status ${answer.statusCode}`)),
        );
      },
    );
    request.on('error', reject);
    request.end(
      JSON.stringify({
        metadata: { name, labels: { app: 'many' } },
        spec: { containers: [{ name: 'c', image: 'x' }] },
      }),
    );
  });

await Promise.all(Array.from({ length: Number(count) }, (_, i) => post(`many-${i}`)));
agent.destroy();
