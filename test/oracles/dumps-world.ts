/** A dump's rules in a namespace of their own, with devices, routes and sets made up to fit them. */
import { sysctlDevice } from '../../src/dataplane/routing.ts';
import { known } from '../../src/model/known.ts';
import type { Ruleset } from '../../src/model/netfilter.ts';
import type { Netns } from '../../src/model/netns.ts';
import { formatAddress } from '../../src/net/address.ts';
import { formatPrefix } from '../../src/net/prefix.ts';
import { parseIptablesSave, printRuleset } from '../../src/parse/iptables-save.ts';
import { formatPosition } from '../../src/parse/result.ts';
import { exec } from '../../src/system/exec.ts';
import type { Save } from './dumps-files.ts';
import { type Words, wordsOf } from './dumps-words.ts';
import { inNetns, makeNetns, type Random, readNetns, run } from './netfilter-support.ts';

export interface DumpWorld {
  readonly netns: Netns;
  readonly words: Words;
  readonly devices: readonly string[];
  /** The namespace's own addresses. */
  readonly locals: readonly string[];
  /** What was left out on both sides because this kernel does not take it, one text each. */
  readonly replaced: readonly string[];
}

export function parseSave(save: Omit<Save, 'table'> & { readonly table?: Save['table'] | undefined }) {
  const { name, text, family, backend, table } = save;
  return parseIptablesSave(text, { file: name, family, backend, ...(table === undefined ? {} : { table }) });
}

export function rulesetOf(save: Parameters<typeof parseSave>[0]): Ruleset {
  const result = parseSave(save);
  if (!result.ok) throw new Error(formatPosition(result.error));
  return result.value;
}

const builtIn = /^(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)$/;

/** An excerpt with the chains that it leaves out, empty: rules jump to them. */
export function completed(ruleset: Ruleset): Ruleset {
  const tables = ruleset.tables.map((table) => {
    const chains = new Map(table.chains);
    for (const chain of table.chains.values())
      for (const { target, source } of chain.rules)
        if ((target.kind === 'jump' || target.kind === 'goto') && !chains.has(target.chain))
          chains.set(target.chain, { name: target.chain, rules: [], source });
    for (const [name, chain] of chains)
      if (builtIn.test(name) && chain.policy === undefined) chains.set(name, { ...chain, policy: 'ACCEPT' });
    return { ...table, chains };
  });
  return { ...ruleset, tables };
}

/** nfacct counts and decides nothing, but needs an object of the kernel that the dump does not hold. */
const withoutCounting = (text: string): string => text.replace(/ -m nfacct --nfacct-name \S+/g, '');

/** Loads the text; a rule that this kernel refuses is taken out, for both sides. */
export async function restore(
  name: string,
  tool: string,
  text: string,
): Promise<{ readonly text: string; readonly replaced: readonly string[] }> {
  const lines = withoutCounting(text).split('\n');
  const replaced: string[] = [];
  for (let attempt = 0; attempt < 20; attempt++) {
    const input = lines.join('\n');
    const { code, stderr } = await exec(inNetns(name, [`${tool}-restore`]), { input });
    if (code === 0) return { text: input, replaced };
    const line = Number(/line:? (\d+)/.exec(stderr)?.[1]);
    const rule = lines[line - 1];
    if (rule === undefined || !rule.includes('-A ')) throw new Error(`${tool}-restore: ${stderr} (${rule})`);
    replaced.push(`${rule}: ${stderr.split('\n')[0]}`);
    lines.splice(line - 1, 1);
  }
  throw new Error(`${tool}-restore refuses too many rules: ${replaced.join('\n')}`);
}

/** Sets of the dump, or ones made up from the dump's own addresses and ports. */
function setLines(random: Random, words: Words, recorded: string | undefined): string {
  if (recorded !== undefined && recorded.trim() !== '') return recorded;
  const lines: string[] = [];
  const net = () =>
    words.prefixes.length === 0
      ? '10.0.0.0/24'
      : formatPrefix(random.pick(words.prefixes)).replace('0.0.0.0/0', '10.0.0.0/8');
  const host = () =>
    net()
      .replace(/\/.*$/, '')
      .replace(/^0\.0\.0\.0$/, '10.0.0.1');
  const port = () =>
    `${random.pick(['tcp', 'udp'])}:${words.ports.length === 0 ? 80 : random.pick(words.ports)}`;
  const types = [
    ['hash:net', 'hash:ip'],
    ['hash:net,port', 'hash:ip,port', 'hash:net'],
    ['hash:ip,port,ip', 'hash:ip,port,net'],
  ];
  for (const [set, count] of words.sets) {
    const type = random.pick(types[Math.min(count, 3) - 1] ?? ['hash:net']);
    lines.push(`create ${set} ${type}`);
    for (let i = random.int(4); i > 0; i--) {
      const parts = type
        .slice(type.indexOf(':') + 1)
        .split(',')
        .map((part) => (part === 'ip' ? host() : part === 'net' ? net() : port()));
      lines.push(
        `add ${set} ${parts.join(',')}${type.includes('net') && random.chance(0.2) ? ' nomatch' : ''}`,
      );
    }
  }
  return lines.join('\n') + (lines.length === 0 ? '' : '\n');
}

const stateFiles = [
  'ip-link.json',
  'ip-addr.json',
  'ip-route.json',
  'ip-rule.json',
  'ipset.txt',
  'sysctl.txt',
];

/** Devices by the names in the rules (at most six), routes to what the rules name, sets, and the rules themselves. */
export async function makeWorld(
  name: string,
  save: Save,
  tool: 'iptables-legacy' | 'iptables-nft',
  random: Random,
): Promise<DumpWorld> {
  const backend = tool === 'iptables-nft' ? 'nft' : 'legacy';
  const ruleset = completed(rulesetOf(save));
  const words = wordsOf(ruleset);
  const devices = [
    ...words.devices.slice(0, 5),
    'pp-other',
    ...(words.devices.length === 0 ? ['pp-more'] : []),
  ];
  await makeNetns(name);
  const locals = await makeDevices(name, devices, words, random);
  await run(inNetns(name, ['ipset', '-exist', 'restore']), setLines(random, words, save.ipsets));
  const loaded = await restore(name, tool, printRuleset(ruleset));
  const state = await readNetns(name, stateFiles);
  const own = rulesetOf({ name: save.name, text: loaded.text, family: 4, backend });
  const netns = { ...state, rulesets: known([own]), nftTables: known([]) };
  return { netns, words, devices, locals, replaced: loaded.replaced };
}

async function makeDevices(
  name: string,
  devices: readonly string[],
  words: Words,
  random: Random,
): Promise<readonly string[]> {
  const lines = ['link set lo up'];
  const locals: string[] = [];
  for (const [i, device] of devices.entries()) {
    lines.push(`tuntap add mode tun name ${device}`, `link set ${device} up`);
    lines.push(`addr add 192.0.2.${i * 16 + 1}/28 dev ${device}`);
    locals.push(`192.0.2.${i * 16 + 1}`);
  }
  lines.push(`route add default dev ${devices[0]}`);
  const routable = words.prefixes.filter(
    ({ value, length }) => length > 0 && value >> 24n !== 127n && value >> 28n < 14n && value >> 24n > 0n,
  );
  for (const prefix of routable.slice(0, 40)) {
    const address = formatAddress(prefix);
    if (prefix.length === 32 && !locals.includes(address) && random.chance(0.15)) {
      lines.push(`addr add ${address}/32 dev ${random.pick(devices)}`);
      locals.push(address);
    } else if (random.chance(0.6))
      lines.push(`route replace ${formatPrefix(prefix)} dev ${random.pick(devices)}`);
  }
  await run(inNetns(name, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
  const settings = ['ip_forward=1', 'icmp_ratelimit=0', 'icmp_ratemask=0', 'icmp_echo_ignore_broadcasts=1'];
  for (const device of ['all', 'default', ...devices.map(sysctlDevice)])
    settings.push(`conf.${device}.rp_filter=0`, `conf.${device}.send_redirects=0`);
  await run(inNetns(name, ['sysctl', '-qw', ...settings.map((setting) => `net.ipv4.${setting}`)]));
  return locals;
}
