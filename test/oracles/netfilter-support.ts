/** A throw-away namespace on the real kernel, its state read by the parsers, and seeded random choices. */

import { existsSync, readdirSync } from 'node:fs';
import type { Netns } from '../../src/model/netns.ts';
import { buildNetns } from '../../src/parse/netns.ts';
import { exec } from '../../src/system/exec.ts';

/** Why the oracle cannot run here; undefined if it can. */
export function cannotRun(): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root to make network namespaces';
  return undefined;
}

/** Runs a command and throws unless it succeeds. */
export async function run(argv: readonly string[], input?: string): Promise<string> {
  const result = await exec(argv, input === undefined ? {} : { input });
  if (result.code !== 0)
    throw new Error(`${argv.join(' ')}: ${result.stderr || result.stdout || result.code}`);
  return result.stdout;
}

export const inNetns = (name: string, argv: readonly string[]): readonly string[] => [
  'ip',
  'netns',
  'exec',
  name,
  ...argv,
];

export async function makeNetns(name: string): Promise<void> {
  await exec(['ip', 'netns', 'delete', name]);
  await run(['ip', 'netns', 'add', name]);
}

/** Removes namespaces `PREFIX-PID` and `PREFIX-PID-…` that a killed run has left behind. */
export async function sweepNetns(prefix: string): Promise<void> {
  if (!existsSync('/run/netns')) return;
  for (const name of readdirSync('/run/netns')) {
    const pid = name.startsWith(`${prefix}-`) ? name.slice(prefix.length + 1).split('-')[0] : undefined;
    if (pid === undefined || !/^\d+$/.test(pid) || existsSync(`/proc/${pid}`)) continue;
    await exec(['ip', 'netns', 'delete', name]);
  }
}

/** Reads the namespace's state with the commands that a collector uses. `skip` leaves files out that a test has no use for. */
export async function readNetns(name: string, wanted: readonly string[]): Promise<Netns> {
  const files = new Map<string, string>();
  for (const file of wanted) {
    const command = commands[file];
    if (command === undefined) throw new Error(`no command for ${file}`);
    files.set(file, await run(inNetns(name, command)));
  }
  return buildNetns('node1', 'node1', undefined, (file) => files.get(file), 'nodes/node1/');
}

const commands: Readonly<Record<string, readonly string[]>> = {
  'ip-link.json': ['ip', '-j', '-d', 'link', 'show'],
  'ip-addr.json': ['ip', '-j', 'addr', 'show'],
  'ip-route.json': ['ip', '-j', '-4', 'route', 'show', 'table', 'all'],
  'ip-route6.json': ['ip', '-j', '-6', 'route', 'show', 'table', 'all'],
  'ip-nexthop.json': ['ip', '-j', 'nexthop', 'show'],
  'ip-neigh.json': ['ip', '-j', 'neigh', 'show'],
  'ip-rule.json': ['ip', '-j', '-4', 'rule', 'show'],
  'ip-rule6.json': ['ip', '-j', '-6', 'rule', 'show'],
  'iptables-save.txt': ['iptables-nft-save', '-c'],
  'ip6tables-save.txt': ['ip6tables-nft-save', '-c'],
  'iptables-legacy-save.txt': ['iptables-legacy-save', '-c'],
  'ip6tables-legacy-save.txt': ['ip6tables-legacy-save', '-c'],
  'nft.json': ['nft', '-j', 'list', 'ruleset'],
  'nft.txt': ['nft', 'list', 'ruleset'],
  'ipset.txt': ['ipset', 'save'],
  'sysctl.txt': ['sysctl', '-a', '-r', '^net\\.(ipv4|ipv6|netfilter)'],
};

/** Mulberry32: a small generator whose whole state is the printed seed. */
export function randomFrom(seed: number) {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const int = (limit: number): number => Math.floor(next() * limit);
  return {
    int,
    chance: (p: number): boolean => next() < p,
    pick: <T>(items: readonly T[]): T => {
      const item = items[int(items.length)];
      if (item === undefined) throw new Error('nothing to pick from');
      return item;
    },
  };
}

export type Random = ReturnType<typeof randomFrom>;
