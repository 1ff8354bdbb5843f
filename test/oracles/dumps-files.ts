/** The dumps of real machines in PODPATH_SHARED: which files there are, in whose format, and what of them is read. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readSnapshotFiles } from '../../src/collect/open.ts';
import type { Ruleset, TableName } from '../../src/model/netfilter.ts';
import type { Family } from '../../src/net/address.ts';

const shared = process.env.PODPATH_SHARED;
const folder = (name: string): string | undefined => {
  const path = shared === undefined ? undefined : join(shared, name);
  return path !== undefined && existsSync(path) ? path : undefined;
};
export const dumpFolder = folder('dumps');
const snapshotFolder = folder('snapshots');

export interface Save {
  readonly name: string;
  readonly text: string;
  readonly family: Family;
  readonly backend: Ruleset['backend'];
  /** Of `iptables -S`, which prints one table without its name. */
  readonly table?: TableName;
  /** `ipset save` of the same machine. */
  readonly ipsets?: string;
  /** A shortened transcription: chains may be missing. */
  readonly excerpt?: true;
}

const isSave = /ip6?tables|^nonk8s|filter-excerpt|z1-firewall|broken-nat/;
const tableOf = (file: string): { table?: TableName } => {
  if (/-S-t-nat|broken-nat/.test(file)) return { table: 'nat' };
  return /iptables-S\.|filter-excerpt/.test(file) ? { table: 'filter' } : {};
};

export const dumpFiles = (): readonly string[] => (dumpFolder === undefined ? [] : readdirSync(dumpFolder));
export const readDump = (file: string): string => readFileSync(join(dumpFolder ?? '', file), 'utf8');

export const dumpSaves = (): readonly Save[] =>
  dumpFiles()
    .filter((file) => isSave.test(file) && !file.endsWith('.yaml'))
    .map((file) => ({
      name: file,
      text: readDump(file),
      family: file.includes('ip6tables') ? 6 : 4,
      backend: 'legacy',
      ...tableOf(file),
      ...(file.includes('excerpt') ? { excerpt: true as const } : {}),
    }));

export const snapshotNames = (): readonly string[] =>
  snapshotFolder === undefined ? [] : readdirSync(snapshotFolder).filter((file) => file.endsWith('.tar.gz'));

export const snapshotFiles = (name: string): Promise<ReadonlyMap<string, string>> =>
  readSnapshotFiles(join(snapshotFolder ?? '', name)).then(({ files }) => files);

/** Rule sets of the nodes; pods have none. */
export function savesOf(name: string, files: ReadonlyMap<string, string>): readonly Save[] {
  const saves: Save[] = [];
  for (const [path, text] of files) {
    const [, node, six, legacy] = /^nodes\/([^/]+)\/ip(6?)tables(-legacy)?-save\.txt$/.exec(path) ?? [];
    if (node === undefined || text.trim() === '') continue;
    const ipsets = files.get(`nodes/${node}/ipset.txt`);
    saves.push({
      name: `${name}:${path}`,
      text,
      family: six === '6' ? 6 : 4,
      backend: legacy === undefined ? 'nft' : 'legacy',
      ...(ipsets === undefined ? {} : { ipsets }),
    });
  }
  return saves;
}
