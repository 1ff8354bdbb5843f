/** Our route lookup against the kernel's: random tables and rules, and what `ip route get` says about them. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { lookupRoute, reversePathCheck } from '../../src/dataplane/routing.ts';
import type { Netns } from '../../src/model/netns.ts';
import { address, type Family, formatAddress, parseAddress } from '../../src/net/address.ts';
import type { Packet } from '../../src/net/packet.ts';
import { exec } from '../../src/system/exec.ts';
import {
  cannotRun,
  inNetns,
  makeNetns,
  type Random,
  randomFrom,
  readNetns,
  run,
} from './netfilter-support.ts';

const why = cannotRun();
if (why !== undefined) console.log(`routing oracle skipped: ${why}`);

const name = `pp-nfr-${process.pid}`;
const devices = ['d0', 'd1', 'd2', 'd3'];
const worlds = 12;
const queriesPerWorld = 200;
const baseSeed = Number(process.env.PODPATH_SEED ?? 20_261_122);

/** Veth pairs with both ends inside: this kernel may lack dummy devices. d3 is down. */
async function setUp(): Promise<void> {
  await makeNetns(name);
  const lines = ['link set lo up'];
  for (const [i, device] of devices.entries()) {
    lines.push(`link add ${device} type veth peer name p${i}`, `link set p${i} up`);
    if (device !== 'd3') lines.push(`link set ${device} up`);
    lines.push(`addr add 10.${i}.0.1/24 dev ${device}`, `addr add 10.${i}.0.9/24 dev ${device}`);
    lines.push(`addr add fd00:${i}::1/64 dev ${device} nodad`);
  }
  lines.push('addr add 10.77.0.1/32 dev d1 scope link', 'addr add 10.88.0.1/16 dev d0');
  await run(inNetns(name, ['ip', '-batch', '-']), `${lines.join('\n')}\n`);
  await run(inNetns(name, ['sysctl', '-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']));
}

/** Octets from a small alphabet, so that prefixes overlap and lookups hit. */
function someAddress(random: Random, family: Family): string {
  const n = () => random.pick([0, 1, 2, 3, 9]);
  return family === 4
    ? `10.${random.pick([0, 1, 2, 3, 50, 51, 77, 88])}.${n()}.${n()}`
    : `fd00:${random.pick([0, 1, 2, 3, 50, 51])}::${n()}:${n()}`;
}

function somePrefix(random: Random, family: Family): string {
  const length = random.pick(
    family === 4 ? [0, 8, 15, 16, 23, 24, 30, 32] : [0, 16, 31, 32, 64, 112, 127, 128],
  );
  if (length === 0) return 'default';
  const base = parseAddress(someAddress(random, family));
  if (base === undefined) throw new Error('no address');
  const host = BigInt((family === 4 ? 32 : 128) - length);
  return `${formatAddress({ family, value: (base.value >> host) << host })}/${length}`;
}

function someGateway(random: Random, family: Family, device: string): string {
  const i = device.slice(1);
  return family === 4 ? `10.${i}.0.${random.pick([2, 3])}` : `fd00:${i}::${random.pick([2, 3])}`;
}

function someRoute(random: Random, family: Family): string {
  const table = random.pick(['main', 'main', 'main', '100', '101']);
  const tail = `table ${table} metric ${random.pick([0, 0, 10, 20].map((m) => m + (family === 6 ? 1 : 0)))}`;
  const prefix = somePrefix(random, family);
  if (random.chance(0.2))
    return `route append ${random.pick(['blackhole', 'unreachable', 'prohibit', 'throw'])} ${prefix} ${tail}`;
  const hop = (device: string) => `via ${someGateway(random, family, device)} dev ${device} onlink`;
  if (family === 4 && random.chance(0.15))
    return `route append ${prefix} ${tail} nexthop ${hop('d0')} weight 1 nexthop ${hop('d1')} weight 3`;
  const device = random.pick(devices);
  if (random.chance(0.4)) return `route append ${prefix} dev ${device} ${tail}`;
  const source = family === 4 && random.chance(0.2) ? ` src 10.${random.pick([0, 1, 2])}.0.1` : '';
  return `route append ${prefix} ${hop(device)} ${tail}${source}`;
}

function someRule(random: Random, family: Family): string {
  const parts = [`rule add pref ${random.pick([10, 20, 30, 40, 50])}`];
  if (random.chance(0.15)) parts.splice(0, 1, `rule add not pref ${random.pick([10, 20, 30, 40, 50])}`);
  if (random.chance(0.4)) parts.push(`from ${somePrefix(random, family).replace('default', 'all')}`);
  if (random.chance(0.3)) parts.push(`to ${somePrefix(random, family).replace('default', 'all')}`);
  if (random.chance(0.25)) parts.push(`iif ${random.pick([...devices, 'lo'])}`);
  if (random.chance(0.1)) parts.push(`oif ${random.pick(devices)}`);
  if (random.chance(0.3)) parts.push(`fwmark ${random.pick(['1', '2', '0x10/0x10'])}`);
  const action = random.int(10);
  if (action === 0) parts.push(random.pick(['blackhole', 'unreachable', 'prohibit']));
  else if (action === 1) parts.push(`goto ${random.pick([60, 70])}`);
  else {
    parts.push(`table ${random.pick(['100', '101', 'main'])}`);
    if (random.chance(0.2)) parts.push(`suppress_prefixlength ${random.pick([0, 8, 24])}`);
  }
  return parts.join(' ');
}

async function randomWorld(random: Random, family: Family): Promise<Netns> {
  const ip = ['ip', `-${family}`];
  await exec(inNetns(name, [...ip, 'rule', 'flush']));
  const lines = ['main', '100', '101'].map((table) => `route flush table ${table} proto boot`);
  lines.push('rule add pref 0 table local', 'rule add pref 32766 table main');
  lines.push('rule add pref 60 table 100', 'rule add pref 70 table 101');
  for (let i = 0; i < 30; i++) lines.push(someRoute(random, family));
  for (let i = random.int(7); i > 0; i--) lines.push(someRule(random, family));
  // Some lines are refused (a duplicate rule, a gateway on a device that is down): what was taken is read back.
  await exec(inNetns(name, [...ip, '-force', '-batch', '-']), { input: `${lines.join('\n')}\n` });
  if (family === 4)
    for (const device of ['all', ...devices])
      await run(
        inNetns(name, [
          'sysctl',
          '-qw',
          `net.ipv4.conf.${device}.rp_filter=${random.int(device === 'all' ? 2 : 3)}`,
        ]),
      );
  return readNetns(name, [
    'ip-link.json',
    'ip-addr.json',
    family === 4 ? 'ip-route.json' : 'ip-route6.json',
    family === 4 ? 'ip-rule.json' : 'ip-rule6.json',
    'sysctl.txt',
  ]);
}

interface Query {
  readonly dst: string;
  readonly src?: string;
  readonly iif?: string;
  readonly oif?: string;
  readonly mark: number;
}

function someQuery(random: Random, family: Family): Query {
  const dst = someAddress(random, family);
  const mark = random.pick([0, 0, 1, 2, 0x11]);
  if (random.chance(0.4))
    return { dst, mark, iif: random.pick(['d0', 'd1', 'd2']), src: someAddress(random, family) };
  const own = family === 4 ? `10.${random.int(3)}.0.1` : `fd00:${random.int(3)}::1`;
  return {
    dst,
    mark,
    ...(random.chance(0.3) ? { src: own } : {}),
    ...(random.chance(0.15) ? { oif: random.pick(['d0', 'd1', 'd2']) } : {}),
  };
}

const queryLine = ({ dst, src, iif, oif, mark }: Query): string =>
  [
    `route get ${dst}`,
    src === undefined ? '' : `from ${src}`,
    iif === undefined ? '' : `iif ${iif}`,
    oif === undefined ? '' : `oif ${oif}`,
    mark === 0 ? '' : `mark ${mark}`,
  ]
    .filter((part) => part !== '')
    .join(' ');

/** One line a query: `refused`, or type, device, gateway and the source that was chosen. */
async function askKernel(queries: readonly Query[], family: Family): Promise<readonly string[]> {
  const input = `${queries.map(queryLine).join('\n')}\n`;
  const result = await exec(inNetns(name, ['ip', `-${family}`, '-j', '-force', '-batch', '-']), { input });
  const failed = new Set(
    [...result.stderr.matchAll(/Command failed -:(\d+)/g)].map((match) => Number(match[1])),
  );
  const answers = result.stdout.split('\n').filter((line) => line.startsWith('[{'));
  return queries.map((query, i) => {
    if (failed.has(i + 1)) return 'refused';
    const [answer] = JSON.parse(answers.shift() ?? '[]') as Record<string, string>[];
    if (answer === undefined) return 'no answer';
    // IPv6 answers with the refusing route itself instead of an error.
    if (['blackhole', 'unreachable', 'prohibit'].includes(answer.type ?? '')) return 'refused';
    return describeRoute(answer.type ?? 'unicast', answer.dev, answer.gateway, query.src ?? answer.prefsrc);
  });
}

const describeRoute = (type: string, device?: string, gateway?: string, source?: string): string =>
  type === 'local' || type === 'anycast'
    ? type
    : `${type} dev ${device} via ${gateway ?? '-'} src ${source ?? '-'}`;

/** Our answers: several where a multipath route leaves a choice. */
function askUs(netns: Netns, query: Query): readonly string[] {
  const dst = address(query.dst);
  const src = query.src === undefined ? undefined : address(query.src);
  const { iif, oif, mark } = query;
  if (iif !== undefined && src !== undefined) {
    const packet: Packet = {
      src,
      dst,
      mark,
      protocol: 'udp',
      srcPort: 0,
      dstPort: 0,
      lengthBytes: 60,
      df: false,
      ttl: 64,
    };
    const check = reversePathCheck(netns, packet, iif);
    if (check.state === 'unknown') return [`unknown: ${check.why}`];
    if (check.state !== 'pass') return ['refused'];
  }
  const result = lookupRoute(netns, { dst, src, iif, oif, mark });
  if (result.state === 'unknown') return [`unknown: ${result.why}`];
  if (result.state !== 'found') return ['refused'];
  return result.alternatives.map(({ nexthop, source: chosen }) => {
    const { gateway, device } = nexthop;
    const source = query.src ?? (chosen === undefined ? undefined : formatAddress(chosen));
    return describeRoute(result.route.type, device, gateway && formatAddress(gateway), source);
  });
}

describe.skipIf(why !== undefined)('routing agrees with the kernel', () => {
  beforeAll(setUp);
  afterAll(async () => {
    await exec(['ip', 'netns', 'delete', name]);
  });

  test.each([4, 6] as const)('IPv%d', { timeout: 120_000 }, async (family) => {
    let asked = 0;
    let found = 0;
    for (let world = 0; world < worlds; world++) {
      const seed = baseSeed + world;
      const random = randomFrom(seed);
      const netns = await randomWorld(random, family);
      const queries = Array.from({ length: queriesPerWorld }, () => someQuery(random, family));
      const theirs = await askKernel(queries, family);
      for (const [i, query] of queries.entries()) {
        const ours = askUs(netns, query);
        const answer = theirs[i] ?? '';
        asked++;
        if (answer !== 'refused') found++;
        const agrees = ours.some((line) => sameAnswer(line, answer, family));
        if (!agrees && process.env.PODPATH_ORACLE_DEBUG !== undefined)
          console.log(`seed ${seed}: ${queryLine(query)}\n  kernel ${answer}\n  ours   ${ours.join(' | ')}`);
        else if (!agrees)
          expect.fail(`seed ${seed}: ${queryLine(query)}\n  kernel ${answer}\n  ours   ${ours.join(' | ')}`);
      }
    }
    console.log(
      `routing IPv${family}: ${asked} lookups agree (${found} found), seeds ${baseSeed}..${baseSeed + worlds - 1}`,
    );
    // A run in which nothing is ever found would prove nothing.
    expect(found).toBeGreaterThan(asked / 4);
  });
});

/** IPv6 sources are compared only by their presence: the kernel also weighs lifetimes and labels that no dump has. */
const sameAnswer = (ours: string, theirs: string, family: Family): boolean =>
  family === 4 ? ours === theirs : ours.replace(/ src .*/, '') === theirs.replace(/ src .*/, '');
