/** The probe agent against the real kernel: two namespaces, one veth pair, the failures made by hand. */
import { spawn } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProbeResult } from '../../src/model/evidence.ts';
import { probeFromLab, runLabProbes } from '../../src/probe/lab.ts';
import type { PlannedProbe } from '../../src/probe/plan.ts';
import type { ProbeRequest } from '../../src/probe/request.ts';
import { exec } from '../../src/system/exec.ts';

const here = `pp-probe${process.pid}a`;
const there = `pp-probe${process.pid}b`;
const peer = '10.9.0.2';

const run = async (netns: string, command: string) => {
  const result = await exec(['ip', 'netns', 'exec', netns, ...command.split(' ')]);
  if (result.code !== 0) throw new Error(`${command}: ${result.stderr}`);
};
const lab = {
  exec: (netns: string, argv: readonly string[], options?: Parameters<typeof exec>[1]) =>
    exec(['ip', 'netns', 'exec', netns, ...argv], options),
};

/** An HTTP server on 8080 as pods have it, TCP echo on 7, UDP echo on 7, a mute TCP server on 9, DNS on 53. */
const server = `
import { createServer } from 'node:http';
import net from 'node:net';
import dgram from 'node:dgram';
import dns from 'dns-packet';
createServer((request, reply) => {
  let bytes = 0;
  request.on('data', (chunk) => { bytes += chunk.length; });
  request.on('end', () => reply.end(request.url.startsWith('/bytes/') ? Buffer.alloc(Number(request.url.slice(7))) : String(bytes)));
}).listen(8080);
net.createServer({ allowHalfOpen: true }, (socket) => socket.pipe(socket).on('error', () => {})).listen(7);
net.createServer((socket) => socket.on('error', () => {}).resume()).listen(9);
const echo = dgram.createSocket('udp4').bind(7);
echo.on('message', (message, from) => echo.send(message, from.port, from.address));
const names = dgram.createSocket('udp4').bind(53);
const answer = (message) => {
  const query = dns.decode(message);
  const known = query.questions[0].name === 'api.shop.svc.cluster.local';
  return { id: query.id, type: 'response', flags: known ? 0 : 3, questions: query.questions,
    answers: known ? [{ type: 'A', name: query.questions[0].name, data: '10.96.1.2' }] : [] };
};
names.on('message', (message, from) => names.send(dns.encode(answer(message)), from.port, from.address));
net.createServer((socket) => socket.on('error', () => {}).on('data', (data) => {
  if (data.length === data.readUInt16BE(0) + 2) socket.end(dns.streamEncode(answer(data.subarray(2))));
})).listen(53);
setTimeout(() => console.log('ready'), 50);
`;

let serverProcess: ReturnType<typeof spawn> | undefined;

beforeAll(async () => {
  for (const netns of [here, there]) await exec(['ip', 'netns', 'add', netns]);
  await run(here, `ip link add eth0 type veth peer name eth0 netns ${there}`);
  await run(here, 'ip addr add 10.9.0.1/24 dev eth0');
  await run(there, `ip addr add ${peer}/24 dev eth0`);
  for (const netns of [here, there]) {
    await run(netns, 'ip link set lo up');
    await run(netns, 'ip link set eth0 up');
    // Without these a 64 kB segment crosses the veth pair whole, whatever its MTU.
    await run(netns, 'ethtool -K eth0 tso off gso off gro off');
  }
  serverProcess = spawn(
    'ip',
    ['netns', 'exec', there, process.execPath, '--input-type=module', '-e', server],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  await new Promise<void>((resolve) => serverProcess?.stdout?.once('data', () => resolve()));
});

afterAll(async () => {
  if (serverProcess?.exitCode === null && serverProcess.signalCode === null) {
    const gone = new Promise((resolve) => serverProcess?.once('exit', resolve));
    serverProcess.kill('SIGKILL');
    await gone;
  }
  for (const netns of [here, there]) await exec(['ip', 'netns', 'del', netns]);
});

type Unlabelled = ProbeRequest extends infer R ? (R extends ProbeRequest ? Omit<R, 'src'> : never) : never;
const send = async (...requests: Unlabelled[]): Promise<ProbeResult[]> =>
  probeFromLab(
    lab,
    here,
    requests.map((request): ProbeRequest => ({ timeoutMs: 600, ...request, src: 'shop/web' })),
  );
const outcomes = async (...requests: Unlabelled[]) =>
  (await send(...requests)).map((result) => result.outcome);
const drop = async (rule: string, probe: () => Promise<void>) => {
  await run(there, `iptables -A ${rule}`);
  try {
    await probe();
  } finally {
    await run(there, `iptables -D ${rule}`);
  }
};

const tcp = (port: number): Unlabelled => ({ kind: 'tcp', dst: peer, port });
const bulk = (port: number, direction: 'from-src' | 'from-dst'): Unlabelled => ({
  kind: 'tcp',
  dst: peer,
  port,
  bulk: { direction, sizeBytes: 100_000 },
});
const udp = (port: number, sizeBytes?: number): Unlabelled => ({
  kind: 'udp',
  dst: peer,
  port,
  ...(sizeBytes === undefined ? {} : { sizeBytes }),
});
const ping = (sizeBytes?: number): Unlabelled => ({
  kind: 'icmp',
  dst: peer,
  ...(sizeBytes === undefined ? {} : { sizeBytes }),
});
const ask = (name: string, transport: 'udp' | 'tcp'): Unlabelled => ({
  kind: 'dns',
  name,
  family: 4,
  server: peer,
  transport,
});

describe('on a healthy path', () => {
  it('passes every kind of probe', async () => {
    const results = await send(
      ping(),
      ping(1500),
      tcp(8080),
      bulk(8080, 'from-src'),
      bulk(8080, 'from-dst'),
      bulk(7, 'from-src'),
      udp(7),
      udp(7, 1472),
      ask('api.shop.svc.cluster.local', 'udp'),
      ask('api.shop.svc.cluster.local', 'tcp'),
      udp(53),
    );
    expect(results.map((result) => `${result.command}: ${result.outcome} ${result.output}`)).toEqual(
      results.map((result) => expect.stringMatching(new RegExp(`${literal(result.command)}: ok `))),
    );
    expect(results[8]?.dns).toEqual({
      server: peer,
      transport: 'udp',
      rcode: 'NOERROR',
      answers: ['10.96.1.2'],
    });
  });

  it('takes a silent server for a good path where the kernel acknowledged every byte', async () => {
    const [result] = await send(bulk(9, 'from-src'));
    expect(result).toMatchObject({ outcome: 'ok', output: expect.stringContaining('did not answer') });
  });

  it('does not call a large reply tested where the peer serves none', async () => {
    // echo, a mute server, and a server of another protocol
    const probes = [bulk(7, 'from-dst'), bulk(9, 'from-dst'), bulk(53, 'from-dst')];
    expect(await outcomes(...probes)).toEqual(['error', 'error', 'error']);
  });

  it('tells a name that does not exist', async () => {
    const [result] = await send(ask('nobody.shop.svc.cluster.local', 'udp'));
    expect(result).toMatchObject({ outcome: 'ok', dns: { rcode: 'NXDOMAIN', answers: [] } });
  });
});

describe('on a broken path', () => {
  it('tells refused from unreachable from silence', async () => {
    expect(await outcomes(tcp(81), udp(81), { kind: 'tcp', dst: '10.77.0.1', port: 80 })).toEqual([
      'refused',
      'refused',
      'unreachable',
    ]);
    expect(
      await outcomes({ kind: 'icmp', dst: '10.77.0.1' }, { kind: 'udp', dst: '10.77.0.1', port: 1 }),
    ).toEqual(['unreachable', 'unreachable']);
  });

  it('knows a reset of the peer from the ICMP error of a filter', async () => {
    const [closed] = await send(tcp(81));
    expect(closed?.output).toContain('a TCP reset: no ICMP error arrived');
    await drop('INPUT -p tcp --dport 8080 -j REJECT', async () => {
      const [rejected] = await send(tcp(8080));
      expect(rejected?.output).toContain('perhaps an ICMP error');
    });
  });

  it('times out on DROP, all of the list at once', async () => {
    await drop('INPUT -s 10.9.0.1 -j DROP', async () => {
      const started = performance.now();
      const found = await outcomes(
        ping(),
        ping(1500),
        tcp(8080),
        udp(7),
        ask('a.b', 'udp'),
        ask('a.b', 'tcp'),
      );
      expect(found).toEqual(new Array(6).fill('timeout'));
      expect(performance.now() - started).toBeLessThan(2_500);
    });
  });

  it('sees REJECT as refused or unreachable', async () => {
    await drop('INPUT -p tcp --dport 8080 -j REJECT', async () =>
      expect(await outcomes(tcp(8080))).toEqual(['refused']),
    );
    await drop('INPUT -p tcp --dport 8080 -j REJECT --reject-with icmp-admin-prohibited', async () =>
      expect(await outcomes(tcp(8080))).toEqual(['unreachable']),
    );
    await drop('INPUT -p icmp --icmp-type echo-request -j REJECT', async () =>
      expect(await outcomes(ping())).toEqual(['unreachable']),
    );
  });

  it('sees a transfer stall where only large packets are lost', async () => {
    await drop('INPUT -m length --length 1000:65535 -j DROP', async () => {
      const results = await send(ping(), tcp(8080), ping(1500), bulk(8080, 'from-src'), bulk(7, 'from-src'));
      expect(results.map((result) => result.outcome)).toEqual(['ok', 'ok', 'timeout', 'timeout', 'timeout']);
      expect(results[3]?.output).toMatch(
        / 0 of \d+ bytes acknowledged, 0 received, [1-9]\d* segments retransmitted/,
      );
    });
  });

  it('sees a large reply stall where only the way back loses large packets', async () => {
    await drop('OUTPUT -m length --length 1000:65535 -j DROP', async () =>
      expect(await outcomes(bulk(8080, 'from-src'), bulk(8080, 'from-dst'))).toEqual(['ok', 'timeout']),
    );
  });

  it('tells a packet that the own device cannot carry', async () => {
    await run(here, 'ip link set eth0 mtu 1400');
    try {
      expect(await outcomes(ping(1500), ping(1400), bulk(8080, 'from-src'))).toEqual(['too-big', 'ok', 'ok']);
    } finally {
      await run(here, 'ip link set eth0 mtu 1500');
    }
  });
});

it('prints commands that give the same result by hand', async () => {
  const results = await send(ping(), tcp(8080), bulk(8080, 'from-src'), udp(7), tcp(81));
  for (const result of results) {
    const byHand = await exec(['bash', '-c', result.command]);
    expect(`${result.command}: ${byHand.code === 0}`).toBe(`${result.command}: ${result.outcome === 'ok'}`);
  }
});

it('runs a plan from several namespaces and keeps its order', async () => {
  const pod = { node: 'node1', addresses: [], hostDevice: 'veth0', namespace: 'shop' };
  const state = {
    nodes: [{ name: 'node1', netns: there, addresses: [], podCidrs: [] }],
    pods: [{ ...pod, name: 'web', netns: here }],
  };
  const at = (from: string, dst: string): PlannedProbe => ({
    from,
    purpose: 'ping',
    request: { kind: 'icmp', src: from, dst },
  });
  const plan = [at('node1', '10.9.0.1'), at('node1/shop_web', peer), at('node1', '10.77.0.1')];
  const results = await runLabProbes({ ...lab, state }, plan);
  expect(results.map((result) => [result.src, result.outcome])).toEqual([
    ['node1', 'ok'],
    ['node1/shop_web', 'ok'],
    ['node1', 'unreachable'],
  ]);
  await expect(runLabProbes({ ...lab, state }, [at('node9', peer)])).rejects.toThrow(/no network namespace/);
});

it('says so when a namespace is gone', async () => {
  await expect(probeFromLab(lab, 'pp-probe-gone', [{ kind: 'icmp', dst: peer, src: 'x' }])).rejects.toThrow(
    /could not be sent/,
  );
});

const literal = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
