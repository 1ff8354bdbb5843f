/** A namespace on the kernel with TUN devices, served by one helper process: the oracles' line to the kernel. */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { exec } from '../../src/system/exec.ts';
import { inNetns, makeNetns, run } from './netfilter-support.ts';

/** TUN devices, the third octet group of their networks, and their MTU: 10.N.0.1/16 and fd00:N::1/64. */
export const tuns = [
  { name: 'tin', net: 1, mtuBytes: 1500 },
  { name: 'tout', net: 2, mtuBytes: 1500 },
  { name: 'tc', net: 3, mtuBytes: 1400 },
  { name: 'td', net: 4, mtuBytes: 1280 },
] as const;

const program = fileURLToPath(new URL('simulate-kernel.py', import.meta.url));

export interface Command {
  readonly argv: readonly string[];
  readonly input?: string;
  /** Its failure does not matter. */
  readonly free?: true;
}

export interface Order {
  /** Key and value, in this order, before the commands. */
  readonly sysctl?: readonly (readonly [string, string])[];
  readonly run: readonly Command[];
  /** Sysctls to read at the end: patterns with `*`. */
  readonly keys?: readonly string[];
}

export interface Done {
  readonly out: readonly string[];
  readonly sysctl: string;
  /** The command that failed, and what it said; those after it did not run. */
  readonly failed?: string;
}

/** Something that left, was delivered, or was refused. */
export interface Emerged {
  /** A device, `local`, or `refused` with number and errno as data. */
  readonly where: string;
  readonly data: Buffer;
}

interface Waiting {
  readonly resolve: (body: Buffer) => void;
  readonly reject: (error: Error) => void;
}

/** Owns the namespace and its helper; `close` removes both. */
export class KernelNamespace {
  readonly name: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting: Waiting[] = [];
  #chunks: Buffer[] = [];
  #said = '';

  private constructor(name: string, child: ChildProcessWithoutNullStreams) {
    this.name = name;
    this.#child = child;
    child.stdout.on('data', (chunk: Buffer) => this.#take(chunk));
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said += chunk.toString();
    });
    const fail = () => {
      for (const { reject } of this.#waiting.splice(0)) reject(new Error(`${program} ended: ${this.#said}`));
    };
    child.on('error', fail);
    child.on('close', fail);
    child.stdin.on('error', fail);
  }

  static async open(name: string): Promise<KernelNamespace> {
    await makeNetns(name);
    await setUp(name);
    const [command = '', ...args] = inNetns(name, ['python3', program, ...tuns.map((tun) => tun.name)]);
    return new KernelNamespace(name, spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] }));
  }

  async run(order: Order): Promise<Done> {
    return JSON.parse((await this.#ask('r', Buffer.from(JSON.stringify(order)))).toString()) as Done;
  }

  /** Sends packets one after the other; `via` is a device or `out`. */
  async send(packets: readonly { readonly via: string; readonly mark: number; readonly bytes: Buffer }[]) {
    const body = packets.flatMap(({ via, mark, bytes }) => {
      const head = Buffer.alloc(7);
      head.writeUInt8(via === 'out' ? 255 : deviceNumber(via), 0);
      head.writeUInt32BE(mark, 1);
      head.writeUInt16BE(bytes.length, 5);
      return [head, bytes];
    });
    const answer = await this.#ask('p', Buffer.concat(body));
    const emerged: Emerged[] = [];
    for (let at = 0; at < answer.length; ) {
      const where = answer.readUInt8(at);
      const end = at + 3 + answer.readUInt16BE(at + 1);
      emerged.push({ where: placeOf(where), data: answer.subarray(at + 3, end) });
      at = end;
    }
    return emerged;
  }

  /** Processor time of the helper and its commands so far; what the kernel does for others' sake is not in it. */
  async processorMs(): Promise<number> {
    return (await this.#ask('u', Buffer.alloc(0))).readUInt32BE(0);
  }

  async close(): Promise<void> {
    this.#child.stdin.end();
    this.#child.kill('SIGKILL');
    await exec(['ip', 'netns', 'delete', this.name]);
  }

  #ask(kind: 'r' | 'p' | 'u', body: Buffer): Promise<Buffer> {
    const head = Buffer.alloc(5);
    head.writeUInt32BE(body.length, 0);
    head.write(kind, 4);
    return new Promise((resolve, reject) => {
      if (this.#child.exitCode !== null) {
        reject(new Error(`${program} ended: ${this.#said}`));
        return;
      }
      this.#waiting.push({ resolve, reject });
      this.#child.stdin.write(Buffer.concat([head, body]));
    });
  }

  #take(chunk: Buffer): void {
    this.#chunks.push(chunk);
    const size = this.#chunks.reduce((sum, one) => sum + one.length, 0);
    const first = this.#chunks[0];
    if (first === undefined || size < 5) return;
    if (first.length < 5) this.#chunks = [Buffer.concat(this.#chunks)];
    const wanted = 5 + (this.#chunks[0] ?? first).readUInt32BE(0);
    if (size < wanted) return;
    const whole = Buffer.concat(this.#chunks);
    this.#chunks = whole.length > wanted ? [whole.subarray(wanted)] : [];
    this.#waiting.shift()?.resolve(whole.subarray(5, wanted));
  }
}

function deviceNumber(name: string): number {
  const number = tuns.findIndex((tun) => tun.name === name);
  if (number < 0) throw new Error(`no device ${name}`);
  return number;
}

const placeOf = (where: number): string =>
  where === 254 ? 'local' : where === 255 ? 'refused' : (tuns[where]?.name ?? '?');

async function setUp(name: string): Promise<void> {
  const lines = ['link set lo up'];
  for (const { name: device, net, mtuBytes } of tuns)
    lines.push(
      `tuntap add mode tun name ${device}`,
      `link set ${device} addrgenmode none mtu ${mtuBytes} up`,
      `addr add 10.${net}.0.1/16 dev ${device}`,
      `addr add fd00:${net}::1/64 dev ${device} nodad`,
    );
  await run(inNetns(name, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
  const settings = [
    // No limit of rates: every answer that the rules allow is to be seen.
    'net.ipv4.icmp_ratelimit=0',
    'net.ipv4.icmp_ratemask=0',
    'net.ipv4.icmp_msgs_per_sec=10000000',
    'net.ipv4.icmp_msgs_burst=10000000',
    'net.ipv6.icmp.ratelimit=0',
    'net.ipv4.icmp_echo_ignore_all=1',
    'net.ipv6.icmp.echo_ignore_all=1',
    'net.ipv4.conf.all.send_redirects=0',
    'net.ipv4.conf.all.route_localnet=0',
    'net.ipv6.auto_flowlabels=0',
    ...tuns.map(({ name: device }) => `net.ipv4.conf.${device}.send_redirects=0`),
  ];
  await run(inNetns(name, ['sysctl', '-qw', ...settings]));
}
