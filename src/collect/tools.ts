/** Versions of the programs that collect, for podpath.json: their outputs differ between versions. */
import { release } from 'node:os';
import { exec, mapLimit } from '../system/exec.ts';

const programs: readonly (readonly [name: string, ...argv: string[]])[] = [
  ['iproute2', 'ip', '-V'],
  ['iptables', 'iptables-nft', '-V'],
  ['nft', 'nft', '-v'],
  ['ipset', 'ipset', '-v'],
  ['conntrack', 'conntrack', '-V'],
  ['sysctl', 'sysctl', '-V'],
  ['ethtool', 'ethtool', '--version'],
];

/** Version line by program; programs that are not installed are left out (their files are gaps then). */
export async function toolVersions(): Promise<Readonly<Record<string, string>>> {
  const found = await mapLimit(programs, 4, async ([name, ...argv]) => {
    const result = await exec(argv, { timeoutMs: 5_000 });
    const line = (result.stdout || result.stderr).trim().split('\n')[0] ?? '';
    return result.startError === undefined && line !== '' ? [[name, line] as const] : [];
  });
  return { kernel: release(), ...Object.fromEntries(found.flat()) };
}
