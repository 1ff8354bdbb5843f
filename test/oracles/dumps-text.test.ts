/** `ip route` and `ip rule` as text say what their JSON says; and every file of the dumps is read, or it is said why not. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseIpRoute } from '../../src/parse/ip-route.ts';
import { parseIpRule } from '../../src/parse/ip-rule.ts';
import { parseNftText } from '../../src/parse/nft/text.ts';
import type { Parsed } from '../../src/parse/result.ts';
import { parseSysctl } from '../../src/parse/sysctl.ts';
import { exec } from '../../src/system/exec.ts';
import { dumpFiles, dumpFolder, dumpSaves, readDump } from './dumps-files.ts';
import { parseSave } from './dumps-world.ts';
import { cannotRun, inNetns, makeNetns, run } from './netfilter-support.ts';

const why = cannotRun();
if (why !== undefined) console.log(`text of ip against its JSON: skipped: ${why}`);
const name = `pp-text-${process.pid}`;

const setUp = [
  'link set lo up',
  'link add v0 type veth peer name v1',
  'link set v0 up',
  'link set v1 up',
  'addr add 10.0.0.1/24 dev v0',
  'addr add fd00::1/64 dev v0 nodad',
  'route add default via 10.0.0.9 dev v0 metric 202 mtu 1400',
  'route add 10.1.0.0/16 nexthop via 10.0.0.2 dev v0 weight 2 nexthop via 10.0.0.3 dev v0',
  'route add 10.2.0.0/16 via 192.0.2.1 dev v0 onlink src 10.0.0.1 proto bird table 100',
  'route add blackhole 10.3.0.0/26 proto 80',
  'route add 10.5.0.0/16 via inet6 fd00::2 dev v0',
  'route add unreachable 10.4.0.0/16 metric 7',
  'route add fd00:1::/64 via fd00::2 dev v0 metric 9 mtu lock 1300',
  'route add fd00:2::/64 nexthop via fd00::2 nexthop via fd00::3',
  'rule add pref 100 not from 10.0.0.0/8 to 10.9.9.9 fwmark 0x80/0xf0 iif v0 lookup 100',
  'rule add pref 101 fwmark 0x5 oif gone goto 32766',
  'rule add pref 102 from all lookup main suppress_prefixlength 0',
  'rule add pref 103 from 10.7.0.0/16 unreachable',
  'rule add pref 104 from all ipproto tcp dport 80 lookup 100',
];

describe.skipIf(why !== undefined)('the text of ip against its JSON', () => {
  beforeAll(async () => {
    await makeNetns(name);
    for (const line of setUp) await run(inNetns(name, ['ip', ...line.split(' ')]));
  });
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  // `ip -j` prints a locked MTU like any other (print_rta_metrics).
  const facts = (
    result: Parsed<readonly { readonly source: unknown; readonly mtuLocked?: boolean }[]>,
  ): unknown =>
    result.ok ? result.value.map(({ source: _, mtuLocked: __, ...entry }) => entry) : result.error;
  it.each([
    ['-4', 'route', 4, parseIpRoute],
    ['-6', 'route', 6, parseIpRoute],
    ['-4', 'rule', 4, parseIpRule],
    ['-6', 'rule', 6, parseIpRule],
  ] as const)('ip %s %s', async (option, object, family, parse) => {
    const list = object === 'route' ? ['show', 'table', 'all'] : ['show'];
    const text = await run(inNetns(name, ['ip', option, object, ...list]));
    const json = await run(inNetns(name, ['ip', '-j', option, object, ...list]));
    const [ours, theirs] = [parse(text, 'f', family), parse(json, 'f', family)];
    expect(theirs).toMatchObject({ ok: true, notes: [] });
    expect(ours).toMatchObject({ ok: true, notes: [] });
    expect(facts(ours)).toEqual(facts(theirs));
  });
});

/** Files that no reader of the data plane takes, with the reason. */
const notRead: readonly (readonly [RegExp, string])[] = [
  [/^manifest\.tsv$/, 'the list of the folder itself'],
  [/patterns\.yaml$/, 'expressions that allow rules, not rules'],
  [/netpol\.yaml$|k8s-.*\.yaml$/, 'Kubernetes objects: read as manifests'],
  [
    /npmcache/,
    'the cache of Azure NPM: names of pods and sets, which iptables-save and ipset save show as they are in force',
  ],
  [/\.log$|k8s-pods|k-get-pod/, 'for people: no state of the data plane'],
  [
    /-arp-n|-ip-a\.txt$|ip--4-n|ip--d--s-l|ip-netns\.txt$|flannel-vxlan-state/,
    'text of ip addr, link, neigh, netns and arp: the collector records them as JSON',
  ],
  [/kubenet-routes/, 'route -n: without tables, types and source addresses'],
  [/lsmod/, 'modules: what is loaded shows in what it does'],
];

const readers: readonly (readonly [RegExp, (text: string, file: string) => Parsed<unknown>])[] = [
  [/ip--4-r|ip-route/, (text, file) => parseIpRoute(text, file, 4)],
  [/ip--6-r/, (text, file) => parseIpRoute(text, file, 6)],
  [/ip-rule/, (text, file) => parseIpRule(text, file, 4)],
  [/sysctl/, parseSysctl],
  [/nft-excerpt/, parseNftText],
];

describe.skipIf(dumpFolder === undefined)('every file of the dumps', () => {
  it.each(dumpFiles())('%s', (file) => {
    const save = dumpSaves().find((entry) => entry.name === file);
    const reader = readers.find(([pattern]) => pattern.test(file))?.[1];
    const reason = notRead.find(([pattern]) => pattern.test(file))?.[1];
    const result = save === undefined ? reader?.(readDump(file), file) : parseSave(save);
    if (result === undefined) return expect(reason, 'neither read nor explained').toBeDefined();
    expect(reason).toBeUndefined();
    const codes = result.ok ? result.notes.map(({ code }) => code) : [result.error.message];
    // The only remark that there may be: an excerpt leaves the headers of chains out.
    expect(codes.filter((code) => !(save?.excerpt && code === 'iptables/undeclared-chain'))).toEqual([]);
  });
});
