/** The files of one network namespace -> its state, each part parsed when it is first read. */

import { type Known, known, unknown } from '../model/known.ts';
import { lazy } from '../model/lazy.ts';
import type { Ruleset } from '../model/netfilter.ts';
import type { Netns } from '../model/netns.ts';
import type { Family } from '../net/address.ts';
import { parseCiliumEndpoints } from './cilium-endpoints.ts';
import { parseCiliumIpcache } from './cilium-ipcache.ts';
import { parseCiliumLb } from './cilium-lb.ts';
import { parseCiliumPolicy } from './cilium-policy.ts';
import { parseConntrack } from './conntrack.ts';
import { parseDevices } from './ip-device.ts';
import { parseBridgeFdb, parseBridgeLink, parseIpNeigh, parsePortsOfLinks } from './ip-neigh.ts';
import { parseIpNexthop, resolveNextHops } from './ip-nexthop.ts';
import { parseIpRoute } from './ip-route.ts';
import { parseIpRule } from './ip-rule.ts';
import { parseIpset } from './ipset.ts';
import { parseIptablesSave, printRuleset } from './iptables-save.ts';
import { parseIpvs } from './ipvs.ts';
import { parseNftJson } from './nft/json.ts';
import { parseNftText } from './nft/text.ts';
import { parseProcNet } from './proc-net.ts';
import { parseResolvConf } from './resolv-conf.ts';
import { formatPosition, type Parsed, type ParseNote, toKnown } from './result.ts';
import { parseSs } from './ss.ts';
import { parseSysctl } from './sysctl.ts';
import { parseWg, parseWgParts, wgColumns } from './wg.ts';

/** The text of a file by its name in the namespace's folder (`ip-route.json`); undefined if it was not collected. */
export type ReadFile = (name: string) => string | undefined;

type FactName = Exclude<keyof Netns, 'id' | 'node' | 'pod'>;

/** `pathPrefix` stands before file names in sources and messages: `nodes/node1/`. */
export function buildNetns(
  id: string,
  node: string,
  pod: Netns['pod'],
  files: ReadFile,
  pathPrefix: string,
): Netns {
  const read = <T>(name: string, parse: (text: string, file: string) => Parsed<T>): Known<T> => {
    const text = files(name);
    return text === undefined ? notCollected(pathPrefix, name) : toKnown(parse(text, pathPrefix + name));
  };
  /** For lists that must be whole: a lost route or rule would change verdicts silently. */
  const readWhole = <T>(name: string, parse: (text: string, file: string) => Parsed<T>): Known<T> =>
    read(name, (text, file) => refuseNotes(parse(text, file)));
  const withNextHops = (name: string, family: Family) =>
    resolveNextHops(
      readWhole(name, (text, file) => parseIpRoute(text, file, family)),
      () => facts.nexthops(),
    );
  const facts: { [K in FactName]: () => Netns[K] } = {
    devices: lazy(() => readDevices(files, pathPrefix)),
    routes: lazy(() => withNextHops('ip-route.json', 4)),
    routes6: lazy(() => withNextHops('ip-route6.json', 6)),
    nexthops: lazy(() => readWhole('ip-nexthop.json', parseIpNexthop)),
    rules: lazy(() => readWhole('ip-rule.json', (text, file) => parseIpRule(text, file, 4))),
    rules6: lazy(() => readWhole('ip-rule6.json', (text, file) => parseIpRule(text, file, 6))),
    neighbours: lazy(() => readWhole('ip-neigh.json', parseIpNeigh)),
    fdb: lazy(() => readWhole('bridge-fdb.json', parseBridgeFdb)),
    // `ip -d link` tells the same of a port as `bridge -d link`.
    bridgePorts: lazy(() =>
      files('bridge-link.json') === undefined && files('ip-link.json') !== undefined
        ? readWhole('ip-link.json', parsePortsOfLinks)
        : readWhole('bridge-link.json', parseBridgeLink),
    ),
    wireguard: lazy(() => readWireGuard(files, pathPrefix)),
    rulesets: lazy(() => readRulesets(files, pathPrefix, () => facts.nftTables())),
    // Support tools record nft's own text; the JSON form, where it is there too, is of the same moment.
    nftTables: lazy(() =>
      files('nft.json') === undefined && files('nft.txt') !== undefined
        ? readWhole('nft.txt', parseNftText)
        : readWhole('nft.json', parseNftJson),
    ),
    ipsets: lazy(() => readWhole('ipset.txt', parseIpset)),
    ipvs: lazy(() => readIpvs(files, readWhole)),
    ciliumServices: lazy(() => readWhole('cilium-bpf-lb.txt', parseCiliumLb)),
    ciliumIpcache: lazy(() => readWhole('cilium-bpf-ipcache.txt', parseCiliumIpcache)),
    ciliumEndpoints: lazy(() => readWhole('cilium-bpf-endpoint.txt', parseCiliumEndpoints)),
    ciliumPolicies: lazy(() => readWhole('cilium-bpf-policy.txt', parseCiliumPolicy)),
    sysctls: lazy(() => read('sysctl.txt', parseSysctl)),
    sockets: lazy(() => readWhole('ss.txt', parseSs)),
    conntrack: lazy(() => read('conntrack.txt', parseConntrack)),
    counters: lazy(() => readCounters(read)),
    resolver: lazy(() => read('resolv.conf', parseResolvConf)),
  };
  return {
    id,
    node,
    ...(pod === undefined ? {} : { pod }),
    get devices() {
      return facts.devices();
    },
    get routes() {
      return facts.routes();
    },
    get routes6() {
      return facts.routes6();
    },
    get nexthops() {
      return facts.nexthops();
    },
    get rules() {
      return facts.rules();
    },
    get rules6() {
      return facts.rules6();
    },
    get neighbours() {
      return facts.neighbours();
    },
    get fdb() {
      return facts.fdb();
    },
    get bridgePorts() {
      return facts.bridgePorts();
    },
    get wireguard() {
      return facts.wireguard();
    },
    get rulesets() {
      return facts.rulesets();
    },
    get nftTables() {
      return facts.nftTables();
    },
    get ipsets() {
      return facts.ipsets();
    },
    get ipvs() {
      return facts.ipvs();
    },
    get ciliumServices() {
      return facts.ciliumServices();
    },
    get ciliumIpcache() {
      return facts.ciliumIpcache();
    },
    get ciliumEndpoints() {
      return facts.ciliumEndpoints();
    },
    get ciliumPolicies() {
      return facts.ciliumPolicies();
    },
    get sysctls() {
      return facts.sysctls();
    },
    get sockets() {
      return facts.sockets();
    },
    get conntrack() {
      return facts.conntrack();
    },
    get counters() {
      return facts.counters();
    },
    get resolver() {
      return facts.resolver();
    },
  };
}

const notCollected = (pathPrefix: string, name: string): Known<never> =>
  unknown(`${pathPrefix}${name} was not collected`);

/** An entry that was not understood makes the whole list unknown. */
function refuseNotes<T>(result: Parsed<T>): Parsed<T> {
  const note = result.ok ? result.notes[0] : undefined;
  return note === undefined ? result : { ok: false, error: note };
}

function readDevices(files: ReadFile, pathPrefix: string): Netns['devices'] {
  const link = files('ip-link.json');
  const addr = files('ip-addr.json');
  if (link === undefined) return notCollected(pathPrefix, 'ip-link.json');
  if (addr === undefined) return notCollected(pathPrefix, 'ip-addr.json');
  return toKnown(
    refuseNotes(
      parseDevices(
        { text: link, file: `${pathPrefix}ip-link.json` },
        { text: addr, file: `${pathPrefix}ip-addr.json` },
      ),
    ),
  );
}

/** `wg show all`, a file a column; or one text with all of it. */
function readWireGuard(files: ReadFile, pathPrefix: string): Netns['wireguard'] {
  const whole = files('wg.txt');
  if (whole !== undefined) return toKnown(refuseNotes(parseWg(whole, `${pathPrefix}wg.txt`)));
  const parts = wgColumns.flatMap((column) => {
    const name = `wg-${column}.txt`;
    const text = files(name);
    return text === undefined ? [] : [{ column, text, file: pathPrefix + name }];
  });
  // Without these two nobody could say which peer gets a packet, or where it is.
  const missing = (['allowed-ips', 'endpoints'] as const).find(
    (wanted) => !parts.some(({ column }) => column === wanted),
  );
  if (missing !== undefined) return notCollected(pathPrefix, `wg-${missing}.txt`);
  return toKnown(refuseNotes(parseWgParts(parts)));
}

const saves: readonly { name: string; family: Family; backend: Ruleset['backend'] }[] = [
  { name: 'iptables-save.txt', family: 4, backend: 'nft' },
  { name: 'ip6tables-save.txt', family: 6, backend: 'nft' },
  { name: 'iptables-legacy-save.txt', family: 4, backend: 'legacy' },
  { name: 'ip6tables-legacy-save.txt', family: 6, backend: 'legacy' },
];

/**
 * The rule sets of the files that are there. An empty file is a rule set without tables; a family of which neither
 * backend was collected has no rule set in the list, which is not the same. Unknown if no file is there, or if one of
 * them cannot be read: half of the rules would look like all of them.
 */
function readRulesets(
  files: ReadFile,
  pathPrefix: string,
  nftTables: () => Netns['nftTables'],
): Netns['rulesets'] {
  const rulesets: Ruleset[] = [];
  for (const { name, family, backend } of saves) {
    const text = files(name);
    if (text === undefined) continue;
    const result = parseIptablesSave(text, { file: pathPrefix + name, family, backend });
    if (!result.ok) return unknown(formatPosition(result.error));
    const unseen = result.notes.find((note) => isUnseenTable(note, family, nftTables));
    if (unseen !== undefined) return unknown(formatPosition(unseen));
    rulesets.push(result.value);
  }
  if (rulesets.length === 0) return notCollected(pathPrefix, 'iptables-save.txt');
  const own = rulesets.filter((ruleset) => !isLegacyTwin(ruleset, rulesets));
  return known([...own, ...unseenSaves(files, pathPrefix)]);
}

/** Both backends can be in force at once: one save alone may be half of the rules. */
const unseenSaves = (files: ReadFile, pathPrefix: string): Ruleset[] =>
  saves
    .filter(({ name }) => files(name) === undefined)
    .filter(({ family }) => saves.some((other) => other.family === family && files(other.name) !== undefined))
    .map(({ name, family, backend }) => ({
      family,
      backend,
      tables: [],
      file: pathPrefix + name,
      unseen: `${pathPrefix}${name} was not collected`,
    }));

/** A table that iptables-nft could not print is seen all the same where it stands among the native tables. */
function isUnseenTable(note: ParseNote, family: Family, nftTables: () => Netns['nftTables']): boolean {
  const name = /^iptables\/incompatible-(\w+)$/.exec(note.code)?.[1];
  if (name === undefined) return false;
  const tables = nftTables();
  const nftFamily = family === 4 ? 'ip' : 'ip6';
  return (
    tables.state === 'unknown' ||
    !tables.value.some((table) => table.family === nftFamily && table.name === name)
  );
}

/**
 * Where a host's `iptables-save` is the legacy tool, both files hold the same rules. They exist once: the copy that
 * passes for the nft backend is left out. (The header tells the tools apart only since iptables 1.8.8.)
 */
const isLegacyTwin = (ruleset: Ruleset, all: readonly Ruleset[]): boolean =>
  ruleset.backend === 'nft' &&
  ruleCount(ruleset) > 0 &&
  all.some(
    (other) =>
      other.backend === 'legacy' &&
      other.family === ruleset.family &&
      ruleCount(other) === ruleCount(ruleset) &&
      withoutCounters(other) === withoutCounters(ruleset),
  );

const ruleCount = (ruleset: Ruleset): number =>
  ruleset.tables.reduce(
    (sum, { chains }) => [...chains.values()].reduce((count, chain) => count + chain.rules.length, sum),
    0,
  );

/** The two files were not written in the same instant. */
const withoutCounters = (ruleset: Ruleset): string => printRuleset(ruleset).replace(/^\[\d+:\d+\] /gm, '');

/** Both files where both are there; one alone still tells its own counters. */
function readCounters(
  read: <T>(name: string, parse: (text: string, file: string) => Parsed<T>) => Known<T>,
): Netns['counters'] {
  const snmp = read('proc-net-snmp.txt', parseProcNet);
  const netstat = read('proc-net-netstat.txt', parseProcNet);
  if (snmp.state === 'unknown') return netstat.state === 'unknown' ? snmp : netstat;
  if (netstat.state === 'unknown') return snmp;
  return known(new Map([...snmp.value, ...netstat.value]));
}

type Read = <T>(name: string, parse: (text: string, file: string) => Parsed<T>) => Known<T>;

/** ipvsadm's output, or the kernel's own list, which needs no tool. */
const readIpvs = (files: ReadFile, read: Read): Netns['ipvs'] =>
  files('ipvs.txt') === undefined && files('proc-net-ip-vs.txt') !== undefined
    ? read('proc-net-ip-vs.txt', parseIpvs)
    : read('ipvs.txt', parseIpvs);
