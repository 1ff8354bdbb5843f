import { once } from 'node:events';
import { createReadStream } from 'node:fs';
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Command } from 'commander';
import { PodpathError } from '../model/errors.ts';
import type { Netns } from '../model/netns.ts';
import { note } from './context.ts';
import { exitCode } from './errors.ts';

export function register(program: Command): void {
  program
    .command('simulate')
    .description('what one recorded network namespace does with packets, one verdict a line')
    .requiredOption('--state <dir>', "the namespace's files, as nodes/NODE of a snapshot has them")
    .requiredOption('--packets <file>', 'one JSON object a line; - reads stdin')
    .option('--assume-empty', 'lists that were not recorded (rules, sets, tables) are empty, not unknown')
    .option(
      '--explain',
      'also every rule that a packet matched, and for a drop the nearest that would have accepted',
    )
    .addHelpText('after', help)
    .action(run);
}

const help = `
A packet:  {"iif":"eth0","src":"10.0.0.1","dst":"10.0.0.2","proto":"tcp","sport":4000,"dport":80}
  also flags ("syn", "SA", ["ack"]; default syn), chunk (of sctp; default init), len, df, ttl, mark,
  icmpType, icmpCode, icmpId, quoted (the packet that an ICMP error is about). Without iif the namespace itself sends it.
A verdict: {"verdict":"forward|deliver|drop|reject|unknown","oif":..,"src":..,"dst":..,"sport":..,
  "dport":..,"mark":..,"reason":..,"rule":..}
The packets share one connection table, in their order. Exits 0, or 3 if a line was no packet.`;

interface Flags {
  readonly state: string;
  readonly packets: string;
  readonly assumeEmpty?: boolean;
  readonly explain?: boolean;
}

async function run(flags: Flags): Promise<void> {
  const { lacksDevice, simulation } = await import('../dataplane/simulate.ts');
  const { parsePacketLine } = await import('../parse/packet-lines.ts');
  const { simulatedJson } = await import('../report/simulate.ts');
  const netns = await readState(flags.state, flags.assumeEmpty === true);
  const lines = await openLines(flags.packets);
  const send = simulation(netns, flags.explain === true ? { explain: true } : {});
  let lineNumber = 0;
  let bad = 0;
  for await (const line of lines) {
    lineNumber++;
    if (line.trim() === '') continue;
    const parsed = parsePacketLine(line);
    if (!parsed.ok || (parsed.iif !== undefined && lacksDevice(netns, parsed.iif))) {
      bad++;
      const error = parsed.ok
        ? { field: 'iif', message: `the namespace has no device ${parsed.iif}` }
        : { ...(parsed.field === undefined ? {} : { field: parsed.field }), message: parsed.message };
      await write({
        error: error.message,
        line: lineNumber,
        ...('field' in error ? { field: error.field } : {}),
      });
      continue;
    }
    await write(simulatedJson(send(parsed)));
  }
  if (bad === 0) return;
  note(`podpath: ${bad} of ${lineNumber} lines are no packets`);
  process.exitCode = exitCode.error;
}

async function write(value: object): Promise<void> {
  if (!process.stdout.write(`${JSON.stringify(value)}\n`)) await once(process.stdout, 'drain');
}

async function openLines(path: string): Promise<AsyncIterable<string>> {
  if (path === '-') return createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const input = createReadStream(path);
  try {
    await once(input, 'open');
  } catch (error) {
    throw unreadable('packets', path, error);
  }
  return createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
}

const unreadable = (what: string, where: string, error: unknown): PodpathError =>
  new PodpathError({
    code: `simulate/no-${what}`,
    what: `the ${what} cannot be read`,
    where,
    why: error instanceof Error ? error.message : String(error),
    todo: 'podpath simulate --help shows what it reads',
  });

/** What stands in for files that were not recorded, if the user says that nothing is missing. */
const empty: Readonly<Record<string, string>> = {
  'iptables-save.txt': '',
  'ip6tables-save.txt': '',
  'iptables-legacy-save.txt': '',
  'ip6tables-legacy-save.txt': '',
  'nft.json': '{"nftables":[]}',
  'ipset.txt': '',
  'conntrack.txt': '',
  'ip-route6.json': '[]',
};

async function readState(dir: string, assumeEmpty: boolean): Promise<Netns> {
  const { buildNetns } = await import('../parse/netns.ts');
  const files = new Map(assumeEmpty ? Object.entries(empty) : []);
  try {
    for (const name of await readdir(dir)) {
      const path = join(dir, name);
      if ((await stat(path)).isFile()) files.set(name, await readFile(path, 'utf8'));
    }
  } catch (error) {
    throw unreadable('state', dir, error);
  }
  if (!files.has('ip-link.json') && !files.has('ip-route.json')) {
    const holds = [...files.keys()].slice(0, 5).join(', ') || 'nothing';
    throw unreadable('state', dir, new Error(`it has no ip-link.json; it holds ${holds}`));
  }
  const node = basename(dir) || 'node';
  return buildNetns(node, node, undefined, (name) => files.get(name), '');
}
