/** The index of long chains gives what trying every rule gives, and tries few rules. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Chain } from '../../model/netfilter.ts';
import { address, type Family } from '../../net/address.ts';
import type { Packet, Transport } from '../../net/packet.ts';
import { parseIptablesSave } from '../../parse/iptables-save.ts';
import { notTracked } from './conntrack.ts';
import type { HookContext } from './context.ts';
import { nextRules } from './dispatch.ts';
import { evaluateRule } from './matches.ts';

function chainOf(rules: readonly string[], family: Family): Chain {
  const text = `*filter\n:X - [0:0]\n:Y - [0:0]\n${rules.map((rule) => `-A X ${rule}\n`).join('')}COMMIT\n`;
  const read = parseIptablesSave(text, { file: 'f', family, backend: 'nft' });
  const chain = read.ok ? read.value.tables[0]?.chains.get('X') : undefined;
  if (chain === undefined) throw new Error('no chain');
  return chain;
}

interface Case {
  readonly rules: readonly string[];
  readonly packet: Packet;
  readonly inDevice: string | undefined;
  readonly outDevice: string | undefined;
}

const addresses: Readonly<Record<Family, readonly string[]>> = {
  4: ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.128.0.1', '192.168.0.1'],
  6: ['fd00::1', 'fd00::2', 'fd00:0:0:1::1', 'fe80::1'],
};
const lengths: Readonly<Record<Family, readonly number[]>> = {
  4: [0, 8, 9, 24, 31, 32],
  6: [0, 16, 64, 127, 128],
};
const devices = ['eth0', 'eth', 'cali1', 'cali12', 'lo'];
const patterns = [...devices, '+', 'eth+', 'cali+', 'cali1+'];
const ports = [80, 81, 443];
const protocols = ['tcp', 'udp', 'icmp'] as const;

function cases(family: Family): fc.Arbitrary<Case> {
  const network = fc.tuple(fc.constantFrom(...addresses[family]), fc.constantFrom(...lengths[family]));
  const option = (name: string, value: fc.Arbitrary<string>) =>
    fc.option(
      fc
        .tuple(fc.integer({ min: 0, max: 4 }), value)
        .map(([not, text]) => `${not === 0 ? '! ' : ''}${name} ${text}`),
      { nil: '', freq: 2 },
    );
  const prefix = network.map(([base, length]) => `${base}/${length}`);
  const port = fc.oneof(fc.constantFrom(...ports).map(String), fc.constant('80:81'), fc.constant(':100'));
  const icmp = family === 4 ? 'icmp' : 'ipv6-icmp';
  const transport = fc.oneof(
    fc.constant(''),
    fc.constant(`-p ${icmp}`),
    fc.constant('! -p tcp'),
    fc
      .tuple(fc.constantFrom('tcp', 'udp'), option('--dport', port), option('--sport', port))
      .map(([p, d, s]) => `-p ${p} -m ${p} ${d} ${s}`),
    fc.constant('-p tcp -m multiport --ports 80,443'),
    fc.constant('-p udp -m multiport --dports 80'),
  );
  const more = fc.oneof(
    fc.constant(''),
    fc.constant('-m nosuchmodule --thing 1'),
    fc.constant('-m limit --limit 1/sec'),
    fc.constant('-m statistic --mode random --probability 0.5'),
    option('-m mark --mark', fc.constantFrom('0x1', '0x4000/0x4000', '0x0/0x4000', '0x1/0x2')),
  );
  const rule = fc
    .tuple(
      option('-s', prefix),
      option('-d', prefix),
      option('-i', fc.constantFrom(...patterns)),
      option('-o', fc.constantFrom(...patterns)),
      transport,
      more,
      fc.constantFrom(
        '-j ACCEPT',
        '-j DROP',
        '-j Y',
        '-g Y',
        '-j RETURN',
        '',
        '-j LOG',
        '-j MARK --set-xmark 0x1/0x1',
      ),
    )
    .map((parts) => parts.filter((part) => part !== '').join(' '));
  const packet = fc
    .tuple(
      fc.constantFrom(...addresses[family]),
      fc.constantFrom(...addresses[family]),
      fc.constantFrom(...protocols),
      fc.constantFrom(...ports),
      fc.constantFrom(...ports),
      fc.constantFrom(0, 1, 0x4000, 0x4001),
    )
    .map(([src, dst, kind, srcPort, dstPort, mark]): Packet => {
      const protocol: Transport = kind === 'icmp' && family === 6 ? 'icmpv6' : kind;
      const isIcmp = kind === 'icmp';
      return {
        src: address(src),
        dst: address(dst),
        protocol,
        srcPort: isIcmp ? 0 : srcPort,
        dstPort: isIcmp ? 0 : dstPort,
        lengthBytes: 60,
        df: false,
        ttl: 64,
        mark,
        ...(isIcmp ? { icmp: { type: family === 4 ? 8 : 128, code: 0, id: 1 } } : {}),
      };
    });
  const device = fc.option(fc.constantFrom(...devices), { nil: undefined });
  return fc.record({
    rules: fc.array(rule, { minLength: 13, maxLength: 40 }),
    packet,
    inDevice: device,
    outDevice: device,
  });
}

const netns = new Proxy({} as HookContext['netns'], {
  get: () => ({ state: 'unknown', why: 'not asked' }),
});

/** Rules that do not surely pass the packet by, in order: as they are found one by one, and as the index gives them. */
function bothWays({ rules, packet, inDevice, outDevice }: Case, family: Family) {
  const chain = chainOf(rules, family);
  const context: HookContext = {
    netns,
    hook: 'forward',
    packet,
    inDevice,
    outDevice,
    connections: { entries: [] },
  };
  const does = (index: number): boolean => {
    const rule = chain.rules[index];
    if (rule === undefined || rule.target.kind === 'continue') return false;
    return evaluateRule(rule, { context, packet, tracking: notTracked }) !== false;
  };
  const linear = chain.rules.flatMap((_, index) => (does(index) ? [index] : []));
  const next = nextRules(chain, { packet, inDevice, outDevice });
  const indexed: number[] = [];
  let tried = 0;
  for (let at = next?.(0) ?? 0; next !== undefined && at < chain.rules.length; at = next(at + 1)) {
    tried++;
    if (does(at)) indexed.push(at);
  }
  return { linear, indexed, tried };
}

describe('the index of a chain', () => {
  it.each([4, 6] as const)('gives the rules that trying all gives, IPv%i', (family) => {
    fc.assert(
      fc.property(cases(family), (one) => {
        const { linear, indexed } = bothWays(one, family);
        expect(indexed).toEqual(linear);
      }),
      { numRuns: 1500 },
    );
  });

  const packet: Packet = {
    src: address('10.1.0.7'),
    dst: address('10.96.3.9'),
    protocol: 'tcp',
    srcPort: 40_000,
    dstPort: 80,
    lengthBytes: 60,
    df: false,
    ttl: 64,
    mark: 0,
  };
  const many = (rule: (i: number) => string): readonly string[] =>
    Array.from({ length: 5_000 }, (_, i) => rule(i));
  const hostOf = (i: number) => `10.96.${i >> 8}.${i & 255}`;

  it.each([
    ['addresses of Services', many((i) => `-d ${hostOf(i)}/32 -p tcp -m tcp --dport 80 -j Y`), 1],
    ['node ports', many((i) => `-p tcp -m tcp --dport ${i + 1} -j Y`), 1],
    ['sources in networks', many((i) => `-s 10.${i >> 8}.${i & 255}.0/24 -j Y`), 1],
    ['devices of pods', many((i) => `-i cali${i} -g Y`), 1],
    ['device names by their start', many((i) => `-i cali${10_000 + i}+ -g Y`), 0],
    ['marks', many((i) => `-m mark --mark ${i} -j Y`), 1],
    ['one address with many ports', many((i) => `-d 10.96.3.9/32 -p tcp -m tcp --dport ${i + 1} -j Y`), 1],
  ] as const)('tries few rules: %s', (_name, rules, most) => {
    const one = { rules: [...rules, '-j ACCEPT'], packet, inDevice: 'cali77', outDevice: undefined };
    const { linear, indexed, tried } = bothWays(one, 4);
    expect(indexed).toEqual(linear);
    expect(tried).toBe(most + 1);
  });
});
