/** Where `podpath netfilter` finds rules: files as the tools print them, or the namespaces of a snapshot or lab. */
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import type { RecordedRules } from '../dataplane/netfilter/lint/lint.ts';
import { PodpathError } from '../model/errors.ts';
import { type Known, known, orElse, unknown } from '../model/known.ts';
import type { IpSet, Ruleset, TableName } from '../model/netfilter.ts';
import type { Netns } from '../model/netns.ts';
import type { NftTable } from '../model/nft.ts';
import type { Snapshot } from '../model/snapshot.ts';
import type { Family } from '../net/address.ts';
import type { Prefix } from '../net/prefix.ts';
import { note } from './context.ts';
import { openSource, type SourceFlags, withSource } from './source.ts';

export interface NetfilterFlags extends SourceFlags {
  readonly node?: string;
  readonly pod?: string;
}

/** The rules of one namespace. */
export interface NetfilterSource extends RecordedRules {
  /** `node1`, `node1/shop_web-1`; empty for files. */
  readonly name: string;
}

export const withNetfilterSource = (command: Command): Command =>
  withSource(
    command.argument(
      '[file...]',
      'iptables-save or ip6tables-save output of either backend, nft list ruleset (also -j), ipset save',
    ),
  )
    .option('--node <name>', 'of a snapshot or lab: this node only')
    .option('--pod <ns/name>', "of a snapshot or lab: this pod's own namespace");

/** All files together are one namespace; a snapshot has one a node, or that of the pod asked for. */
export async function openNetfilter(
  files: readonly string[],
  flags: NetfilterFlags,
): Promise<readonly NetfilterSource[]> {
  if (files.length > 0 && (flags.snapshot !== undefined || flags.lab !== undefined))
    throw new PodpathError({
      code: 'usage/two-sources',
      what: 'files and a snapshot or lab were given',
      why: 'one run looks at one of them',
      todo: 'leave one of them out',
    });
  if (files.length > 0) return [{ name: '', ...(await readRuleFiles(files)) }];
  const { snapshot } = await openSource(flags);
  return ofSnapshot(snapshot, flags);
}

export function ofSnapshot(
  snapshot: Snapshot,
  { node, pod }: Pick<NetfilterFlags, 'node' | 'pod'>,
): readonly NetfilterSource[] {
  const all = [...snapshot.netns.values()];
  const chosen = all.filter((netns) => {
    if (pod !== undefined)
      return netns.pod !== undefined && `${netns.pod.namespace}/${netns.pod.name}` === pod;
    return netns.pod === undefined && (node === undefined || netns.node === node);
  });
  if (all.length === 0)
    throw new PodpathError({
      code: 'usage/no-namespace',
      what: `no rules of ${snapshot.source.name} can be shown`,
      why: 'only objects were recorded, the state of no network namespace',
      todo: 'save the rules on the node (iptables-save -c, nft -j list ruleset) and give the files',
    });
  if (chosen.length === 0) {
    const names = all.map(({ pod: own, node: of }) =>
      pod === undefined ? of : own && `${own.namespace}/${own.name}`,
    );
    throw new PodpathError({
      code: 'usage/no-namespace',
      what:
        pod === undefined
          ? `there is no node ${node ?? ''}`
          : `there is no pod ${pod} with a recorded namespace`,
      why: `recorded are: ${[...new Set(names.filter((name) => name !== undefined))].join(', ') || 'none'}`,
      todo: 'name one of them',
    });
  }
  const podNetworks = orElse(snapshot.cluster.nodes, []).flatMap(({ podCidrs }) => podCidrs);
  return chosen.map((netns) => ofNetns(netns, podNetworks));
}

/** What was not recorded is said; the rest is still worth looking at. */
function ofNetns(netns: Netns, podNetworks: readonly Prefix[]): NetfilterSource {
  const { rulesets, nftTables, ipsets } = netns;
  if (rulesets.state === 'unknown' && nftTables.state === 'unknown')
    throw new PodpathError({
      code: 'netfilter/not-recorded',
      what: `the rules of ${netns.id} are not known`,
      why: rulesets.why,
      todo: 'record iptables-save.txt and nft.json or nft.txt of that namespace',
    });
  for (const part of [rulesets, nftTables])
    if (part.state === 'unknown') note(`podpath: ${netns.id}: ${part.why}`);
  const saves = orElse(rulesets, []);
  for (const { unseen } of saves) if (unseen !== undefined) note(`podpath: ${netns.id}: ${unseen}`);
  return {
    name: netns.id,
    rulesets: saves.filter(({ unseen }) => unseen === undefined),
    nftTables: orElse(nftTables, []),
    ipsets,
    podNetworks,
  };
}

/** One save, or several of one namespace, with the sets that lie beside them. */
export async function readRuleFiles(files: readonly string[]): Promise<RecordedRules> {
  const rulesets: Ruleset[] = [];
  const nftTables: NftTable[] = [];
  let ipsets: Known<readonly IpSet[]> | undefined;
  for (const file of files) {
    const read = await readRules(file);
    if (read.kind === 'iptables') rulesets.push(read.ruleset);
    else if (read.kind === 'nft') nftTables.push(...read.tables);
    else ipsets = known([...(ipsets?.state === 'known' ? ipsets.value : []), ...read.sets]);
  }
  ipsets ??= await setsBeside(files);
  return { rulesets, nftTables, ipsets, podNetworks: [] };
}

async function setsBeside(files: readonly string[]): Promise<Known<readonly IpSet[]>> {
  for (const folder of new Set(files.map((file) => dirname(file)))) {
    const path = join(folder, 'ipset.txt');
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    const { parseIpset } = await import('../parse/ipset.ts');
    const { toKnown } = await import('../parse/result.ts');
    return toKnown(parseIpset(text, path));
  }
  return unknown('no ipset.txt lies beside the file');
}

type RuleFile =
  | { readonly kind: 'iptables'; readonly ruleset: Ruleset }
  | { readonly kind: 'nft'; readonly tables: readonly NftTable[] }
  | { readonly kind: 'ipset'; readonly sets: readonly IpSet[] };

async function readRules(file: string): Promise<RuleFile> {
  const text = await readText(file);
  if (/^\s*\{/.test(text)) {
    const { parseNftJson } = await import('../parse/nft/json.ts');
    return { kind: 'nft', tables: accept(parseNftJson(text, file)) };
  }
  const { isNftText, parseNftText } = await import('../parse/nft/text.ts');
  if (isNftText(text)) return { kind: 'nft', tables: accept(parseNftText(text, file)) };
  if (/^\s*(#.*\n)*\s*create \S+ \S+:/.test(text)) {
    const { parseIpset } = await import('../parse/ipset.ts');
    return { kind: 'ipset', sets: accept(parseIpset(text, file)) };
  }
  const { parseIptablesSave } = await import('../parse/iptables-save.ts');
  const table = tableOf(text);
  if (table !== undefined && /^\s*\*/m.test(text))
    note(`podpath: ${file} is an excerpt (no COMMIT): what it leaves out is not judged`);
  const options = { file, family: familyOf(file, text), backend: backendOf(file, text) };
  return {
    kind: 'iptables',
    ruleset: accept(parseIptablesSave(text, { ...options, ...(table === undefined ? {} : { table }) })),
  };
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw unreadable(file, error instanceof Error ? error.message : String(error));
  }
}

const unreadable = (file: string, why: string): PodpathError =>
  new PodpathError({
    code: 'netfilter/unreadable',
    what: `${file} cannot be read as packet-filter rules`,
    why,
    todo: 'give a file that iptables-save, ip6tables-save or nft list ruleset printed',
  });

type Parsed<T> =
  | { readonly ok: true; readonly value: T }
  | {
      readonly ok: false;
      readonly error: {
        readonly message: string;
        readonly line?: number;
        readonly column?: number;
        readonly file: string;
      };
    };

function accept<T>(parsed: Parsed<T>): T {
  if (parsed.ok) return parsed.value;
  const { file, line, column, message } = parsed.error;
  const place = [file, line, line === undefined ? undefined : column].filter((part) => part !== undefined);
  throw unreadable(place.join(':'), message);
}

/** By the tool that the header names, the file's name, or what only IPv6 rules have. */
function familyOf(file: string, text: string): Family {
  const tool = /^# Generated by (ip6?tables)/m.exec(text)?.[1];
  if (tool !== undefined && tool !== 'iptables') return 6;
  if (/ip6tables/.test(file)) return 6;
  return /^-A .* (-[sd] [0-9a-f]*:[0-9a-f:]*(\/\d+)?|-p ipv6-icmp|--reject-with icmp6-\S+)( |$)/m.test(text)
    ? 6
    : 4;
}

const backendOf = (file: string, text: string): Ruleset['backend'] =>
  /legacy/.test(file.split('/').at(-1) ?? '') || /^# Generated by ip6?tables-legacy/m.test(text)
    ? 'legacy'
    : 'nft';

/** `iptables -S` has no table header: the built-in chains tell which it is. Excerpts of saves have no COMMIT. */
function tableOf(text: string): TableName | undefined {
  if (/^\s*COMMIT/m.test(text) || !/^\s*-[PNA] /m.test(text)) return undefined;
  if (/^\s*-P (PRE|POST)ROUTING /m.test(text)) return 'nat';
  return 'filter';
}
