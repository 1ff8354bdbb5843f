/** The kernel's own account of a packet's way through the rules (nft's trace), and ours in the same words. */
import { spawn } from 'node:child_process';
import type { Netns } from '../../src/model/netns.ts';
import type { RuleVisit } from '../../src/model/verdict.ts';
import { exec } from '../../src/system/exec.ts';
import { inNetns, run } from './netfilter-support.ts';

/** `ip filter u1 8 goto u2`; the policy of a base chain has no handle: `ip filter INPUT policy drop`. */
export type Way = readonly string[];

/** Packets that the kernel itself sends get another TTL: only what is injected is traced. */
const ownTtl = 77;
const traceTable = 'pp-trace';

export const traceRules = `table inet ${traceTable} {
  chain pre { type filter hook prerouting priority -500; ip ttl 64 meta nftrace set 1; }
  chain out { type filter hook output priority -500; ip ttl 64 meta nftrace set 1; }
}
`;

export const setOwnTtl = (name: string): Promise<string> =>
  run(inNetns(name, ['sysctl', '-qw', `net.ipv4.ip_default_ttl=${ownTtl}`]));

/** Runs `act` while the kernel's trace is read. `lastId` is the IP id of the packet that `act` sends last. */
export async function traced(
  name: string,
  lastId: number,
  act: () => Promise<unknown>,
): Promise<ReadonlyMap<number, Way>> {
  const [command = '', ...argv] = inNetns(name, ['nft', '-a', 'monitor', 'trace']);
  const monitor = spawn(command, argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise((resolve) => monitor.once('close', resolve));
  let text = '';
  monitor.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  try {
    await until('nft monitor listens', async () => listens(name));
    await act();
    await until('the last packet is traced', async () => text.includes(` ip id ${lastId} `));
    // What followed it in the same burst.
    await pause(20);
  } finally {
    monitor.kill();
    await ended;
  }
  return readTrace(text);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 1000; tries++) {
    if (await holds()) return;
    await pause(5);
  }
  throw new Error(`waited in vain: ${what}`);
}

/** NFNLGRP_NFTRACE is group 9 of NETLINK_NETFILTER (protocol 12). */
async function listens(name: string): Promise<boolean> {
  const { stdout } = await exec(inNetns(name, ['cat', '/proc/net/netlink']));
  return stdout.split('\n').some((line) => {
    const [, protocol, , groups = '0'] = line.trim().split(/\s+/);
    return protocol === '12' && (Number.parseInt(groups, 16) & 0x100) !== 0;
  });
}

const event =
  /^trace id (\w+) (\w+ \S+) (\S+) (?:(packet): .*? ip id (\d+) |(policy) (\w+)|.*# handle (\d+) \(verdict ([^)]+)\))/;

/** By IP id; every base chain that a packet comes to begins with its headers. */
function readTrace(text: string): ReadonlyMap<number, Way> {
  const current = new Map<string, number>();
  const ways = new Map<number, string[]>();
  for (const line of text.split('\n')) {
    const [, trace = '', table = '', chain = '', packet, id, isPolicy, policy, handle, verdict] =
      event.exec(line) ?? [];
    if (packet !== undefined) {
      current.set(trace, Number(id));
      if (!ways.has(Number(id))) ways.set(Number(id), []);
      continue;
    }
    const way = ways.get(current.get(trace) ?? -1);
    if (way === undefined || table === `inet ${traceTable}`) continue;
    if (isPolicy !== undefined) way.push(`${table} ${chain} policy ${policy}`);
    else if (handle !== undefined) way.push(`${table} ${chain} ${handle} ${verdict}`);
  }
  return ways;
}

/** Handles of the rules in each chain, in order: what iptables-save does not print. */
export async function readHandles(name: string): Promise<ReadonlyMap<string, readonly number[]>> {
  const text = await run(inNetns(name, ['nft', '-j', 'list', 'ruleset']));
  const handles = new Map<string, number[]>();
  const { nftables } = JSON.parse(text) as { nftables: { rule?: RuleJson }[] };
  for (const { rule } of nftables) {
    if (rule === undefined) continue;
    const key = `${rule.family} ${rule.table} ${rule.chain}`;
    handles.set(key, [...(handles.get(key) ?? []), rule.handle]);
  }
  return handles;
}

interface RuleJson {
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  readonly handle: number;
}

/** Our path as the kernel would tell it: REJECT is a drop there. */
export function wordsOf(
  visits: readonly RuleVisit[],
  netns: Netns,
  handles: ReadonlyMap<string, readonly number[]>,
): Way {
  return visits.map((visit) => {
    const table = visit.backend === 'nftables' ? visit.table : `ip ${visit.table}`;
    const chain = visit.chains.at(-1) ?? '';
    if (visit.policy === true) return `${table} ${chain} policy ${visit.verdict}`;
    const handle = visit.handle ?? handles.get(`${table} ${chain}`)?.[positionOf(visit, netns)];
    const verdict = visit.verdict === 'reject' ? 'drop' : visit.verdict;
    return `${table} ${chain} ${handle} ${verdict}${visit.to === undefined ? '' : ` ${visit.to}`}`;
  });
}

function positionOf(visit: RuleVisit, netns: Netns): number {
  if (netns.rulesets.state === 'unknown') return -1;
  for (const { tables } of netns.rulesets.value)
    for (const table of tables) {
      const rules =
        table.name === visit.table ? table.chains.get(visit.chains.at(-1) ?? '')?.rules : undefined;
      const index = rules?.findIndex((rule) => rule.source === visit.source) ?? -1;
      if (index >= 0) return index;
    }
  return -1;
}
