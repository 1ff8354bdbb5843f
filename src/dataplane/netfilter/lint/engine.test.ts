/**
 * Random rule sets over fields of which every value that a rule can tell apart is tried: what the linter and the diff claim must
 * hold for each packet in the rule engine, which shares nothing with them but the parser.
 */
import { describe, expect, it } from 'vitest';
import { type Random, randomFrom } from '../../../../test/oracles/netfilter-support.ts';
import { known, unknown } from '../../../model/known.ts';
import type { Ruleset } from '../../../model/netfilter.ts';
import { address } from '../../../net/address.ts';
import type { Packet } from '../../../net/packet.ts';
import { parseIptablesSave } from '../../../parse/iptables-save.ts';
import { buildNetns } from '../../../parse/netns.ts';
import { emptyConnections } from '../conntrack.ts';
import { diffNetfilter } from '../diff.ts';
import { traverseHook } from '../evaluate.ts';
import { lintNetfilter } from './lint.ts';

const matches: readonly (readonly string[])[] = [
  ['', '-s 10.0.0.0/8', '-s 10.0.0.0/16', '-s 10.0.0.1/32', '! -s 10.0.0.0/16', '-s 192.168.0.0/16'],
  ['', '', '-d 10.9.0.0/16', '-d 10.9.0.1/32', '! -d 10.9.0.1/32'],
  ['', '-i eth0', '-i cali+', '! -i cali1', '-i cali2'],
  [
    '',
    '-p tcp',
    '-p udp',
    '-p tcp -m tcp --dport 80',
    '-p udp -m udp --dport 53',
    '-p tcp -m multiport --dports 53,80',
    '! -p tcp',
  ],
  [
    '',
    '',
    '-m mark --mark 0x1/0x1',
    '-m mark ! --mark 0x1/0x1',
    '-m mark --mark 0x2/0x3',
    '-m mark --mark 0x0/0x2',
  ],
];
const targets = [
  'ACCEPT',
  'DROP',
  'RETURN',
  'MARK --set-xmark 0x1/0x1',
  'MARK --set-xmark 0x2/0x0',
  'MARK --set-xmark 0x0/0x3',
  'LOG',
];

const randomRule = (random: Random, chain: string, calls: readonly string[]): string => {
  const words = matches
    .map((group) => (random.chance(0.4) ? random.pick(group) : ''))
    .filter((word) => word !== '');
  const target =
    calls.length > 0 && random.chance(0.35)
      ? `${random.chance(0.25) ? '-g' : '-j'} ${random.pick(calls)}`
      : `-j ${random.pick(targets)}`;
  return [`-A ${chain}`, ...words, target].join(' ');
};

function randomRules(random: Random): string[] {
  const chains = ['FORWARD', 'U1', 'U2'];
  return chains.flatMap((chain, i) =>
    Array.from({ length: 2 + random.int(4) }, () => randomRule(random, chain, chains.slice(i + 1))),
  );
}

const save = (rules: readonly string[], policy: string): string =>
  ['*filter', `:FORWARD ${policy} [0:0]`, ':U1 - [0:0]', ':U2 - [0:0]', ...rules, 'COMMIT', ''].join('\n');

const packets: readonly { readonly packet: Packet; readonly inDevice: string }[] = [
  '10.0.0.1',
  '10.0.9.9',
  '10.200.0.1',
  '192.168.0.1',
  '172.16.0.1',
].flatMap((src) =>
  ['10.9.0.1', '10.9.0.2', '10.8.0.1'].flatMap((dst) =>
    (
      [
        ['tcp', 53],
        ['tcp', 80],
        ['tcp', 99],
        ['udp', 53],
        ['udp', 80],
        ['sctp', 7],
      ] as const
    ).flatMap(([protocol, dstPort]) =>
      [0, 1, 2, 3].flatMap((mark) =>
        ['eth0', 'cali1', 'cali2', 'eth1'].map((inDevice) => ({
          inDevice,
          packet: {
            src: address(src),
            dst: address(dst),
            protocol,
            srcPort: 4000,
            dstPort,
            flags: { syn: true },
            lengthBytes: 60,
            df: true,
            ttl: 60,
            mark,
          },
        })),
      ),
    ),
  ),
);

/** What becomes of every packet: `accept 2`, `drop`. */
function fates(text: string): string[] {
  const netns = buildNetns(
    'n',
    'n',
    undefined,
    (name) => (name === 'iptables-save.txt' ? text : name === 'nft.json' ? '{"nftables":[]}' : undefined),
    '',
  );
  return packets.map(({ packet, inDevice }) => {
    const [outcome, ...more] = traverseHook({
      netns,
      hook: 'forward',
      packet,
      inDevice,
      outDevice: 'eth1',
      connections: emptyConnections(),
    });
    if (outcome === undefined || more.length > 0 || outcome.verdict === 'unknown')
      throw new Error('not decided');
    return outcome.verdict === 'accept' ? `accept ${outcome.packet.mark}` : outcome.verdict;
  });
}

function parse(text: string): Ruleset {
  const parsed = parseIptablesSave(text, { file: 'rules', family: 4, backend: 'nft' });
  if (!parsed.ok) throw new Error(parsed.error.message);
  return parsed.value;
}

const recorded = (text: string) => ({
  rulesets: [parse(text)],
  nftTables: [],
  ipsets: known([]),
  podNetworks: [],
});

/** The rules with one of them taken away, changed, doubled or put elsewhere. */
function mutated(rules: readonly string[], random: Random): string[] {
  const out = [...rules];
  const at = random.int(out.length);
  const rule = out[at] ?? '';
  switch (random.int(4)) {
    case 0:
      out.splice(at, 1);
      break;
    case 1:
      out.splice(at, 0, rule);
      break;
    case 2:
      out.splice(at, 1);
      out.splice(random.int(out.length), 0, rule);
      break;
    default:
      out[at] = rule.replace(/^(-A \S+).*/, (_, chain: string) => randomRule(random, chain.slice(3), []));
  }
  return out;
}

const cases = Number(process.env.PODPATH_NETFILTER_CASES ?? 60);
const seed = Number(process.env.PODPATH_SEED ?? 20_261);

describe('against the rule engine', () => {
  it('a rule that is said to match nothing can go without any packet noticing', () => {
    let claims = 0;
    for (let i = 0; i < cases; i++) {
      const random = randomFrom(seed + i);
      const rules = randomRules(random);
      const policy = random.pick(['ACCEPT', 'DROP']);
      const { findings } = lintNetfilter({ ...recorded(save(rules, policy)), ipsets: unknown('none') });
      const dead = new Set(
        findings
          .filter(({ rule }) => rule === 'never-matches' || rule === 'shadowed-rule')
          .map(({ place }) => (place.line ?? 0) - 5),
      );
      if (dead.size === 0) continue;
      claims += dead.size;
      const rest = rules.filter((_, at) => !dead.has(at));
      expect({ seed: seed + i, rules, fates: fates(save(rest, policy)) }).toEqual({
        seed: seed + i,
        rules,
        fates: fates(save(rules, policy)),
      });
    }
    expect(claims).toBeGreaterThan(cases / 4);
  });

  it('saves that are said to mean the same do, and others do not', () => {
    const seen = { equal: 0, different: 0, unknown: 0 };
    for (let i = 0; i < cases; i++) {
      const random = randomFrom(seed + 7_000_000 + i);
      const rules = randomRules(random);
      const other = mutated(rules, random);
      const [a, b] = [save(rules, 'ACCEPT'), save(other, 'ACCEPT')];
      const { tables } = diffNetfilter(recorded(a), recorded(b));
      const state = tables[0]?.meaning.state ?? 'equal';
      seen[state]++;
      const same = JSON.stringify(fates(a)) === JSON.stringify(fates(b));
      const claim = { seed: seed + 7_000_000 + i, rules, other, state };
      if (state !== 'unknown') expect({ ...claim, same }).toEqual({ ...claim, same: state === 'equal' });
    }
    expect(seen.equal).toBeGreaterThan(cases / 10);
    expect(seen.different).toBeGreaterThan(cases / 5);
    expect(seen.unknown).toBe(0);
  });
});
