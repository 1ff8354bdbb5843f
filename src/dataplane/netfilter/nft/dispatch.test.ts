/** Indexes of long native chains and large sets give what trying everything gives. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { NftChain, NftExpr, NftRule, NftStatement, NftTable } from '../../../model/nft.ts';
import { address } from '../../../net/address.ts';
import type { Packet } from '../../../net/packet.ts';
import { notTracked } from '../conntrack.ts';
import type { HookContext } from '../context.ts';
import { nextNftRules } from './dispatch.ts';
import { evaluateMatch } from './evaluate.ts';
import { matchesPattern, type Pattern } from './patterns.ts';
import { narrowing } from './set-index.ts';
import type { Scalar } from './values.ts';

const constant = (value: string | number): NftExpr => ({ kind: 'constant', value });
const payload = (protocol: string, field: string): NftExpr => ({ kind: 'payload', protocol, field });
const meta = (key: string): NftExpr => ({ kind: 'meta', key });
const v4 = ['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.128.0.1'];
const v6 = ['fd00::1', 'fd00::2', 'fd00:0:0:1::1'];
const devices = ['eth0', 'cali1', 'cali12'];

const prefixOf = (bases: readonly string[], lengths: readonly number[]): fc.Arbitrary<NftExpr> =>
  fc
    .tuple(fc.constantFrom(...bases), fc.constantFrom(...lengths))
    .map(([base, length]) => ({ kind: 'prefix', address: constant(base), length }));
const constants = (...values: readonly (string | number)[]): fc.Arbitrary<NftExpr> =>
  fc.constantFrom(...values).map(constant);
const range = (from: number, to: number): NftExpr => ({
  kind: 'range',
  from: constant(from),
  to: constant(to),
});

const sides: fc.Arbitrary<readonly [NftExpr, NftExpr]> = fc.oneof(
  fc.tuple(
    fc.constantFrom(payload('ip', 'saddr'), payload('ip', 'daddr')),
    fc.oneof(constants(...v4), prefixOf(v4, [0, 8, 9, 24, 32])),
  ),
  fc.tuple(
    fc.constantFrom(payload('ip6', 'saddr'), payload('ip6', 'daddr')),
    fc.oneof(constants(...v6), prefixOf(v6, [0, 16, 64, 128])),
  ),
  fc.tuple(
    fc.constantFrom(payload('tcp', 'dport'), payload('udp', 'sport'), payload('th', 'dport')),
    fc.oneof(constants(80, 81, 443), fc.constant(range(80, 81)), constants('no-such-port')),
  ),
  fc.tuple(fc.constant(meta('l4proto')), constants('tcp', 'udp', 'icmp', 58)),
  fc.tuple(fc.constantFrom(meta('iifname'), meta('oifname')), constants(...devices, 'cali*', '*', 'eth\\*')),
  fc.tuple(fc.constant(meta('mark')), constants(0, 1, 0x4000)),
  fc.tuple(
    fc.constant<NftExpr>({ kind: 'binary', op: '&', left: meta('mark'), right: constant(0x4000) }),
    constants(0, 0x4000),
  ),
);
const match: fc.Arbitrary<NftStatement> = fc
  .tuple(fc.constantFrom('==', '==', '==', '!=', '<'), sides)
  .map(([op, [left, right]]) => ({ kind: 'match', op, left, right }) as NftStatement);
const statement: fc.Arbitrary<NftStatement> = fc.oneof(
  { weight: 6, arbitrary: match },
  { weight: 1, arbitrary: fc.constant<NftStatement>({ kind: 'set-mark', value: constant(1) }) },
  { weight: 1, arbitrary: fc.constant<NftStatement>({ kind: 'rate', text: 'limit' }) },
);
const source = { kind: 'file', file: 'f', text: '' } as const;
const rule: fc.Arbitrary<NftRule> = fc
  .array(statement, { minLength: 1, maxLength: 3 })
  .map((statements) => ({ handle: 1, statements, matches: [], source }));
const packet: fc.Arbitrary<Packet> = fc
  .tuple(
    fc.oneof(
      fc.tuple(fc.constantFrom(...v4), fc.constantFrom(...v4)),
      fc.tuple(fc.constantFrom(...v6), fc.constantFrom(...v6)),
    ),
    fc.constantFrom('tcp', 'udp', 'icmp'),
    fc.constantFrom(80, 81, 443),
    fc.constantFrom(80, 81, 443),
    fc.constantFrom(0, 1, 0x4000),
  )
  .map(([[src, dst], kind, srcPort, dstPort, mark]) => ({
    src: address(src),
    dst: address(dst),
    protocol: kind === 'icmp' && src.includes(':') ? 'icmpv6' : kind,
    srcPort: kind === 'icmp' ? 0 : srcPort,
    dstPort: kind === 'icmp' ? 0 : dstPort,
    lengthBytes: 60,
    df: false,
    ttl: 64,
    mark,
    ...(kind === 'icmp' ? { icmp: { type: 8, code: 0, id: 1 } } : {}),
  }));

const table: NftTable = {
  family: 'inet',
  name: 't',
  handle: 1,
  file: 'f',
  baseChains: [],
  chains: new Map(),
  sets: new Map(),
  ruleCount: 0,
};
const netns = new Proxy({} as HookContext['netns'], { get: () => ({ state: 'unknown', why: 'not asked' }) });

describe('the index of a native chain', () => {
  it('gives the rules whose first matches are not surely false, in order', () => {
    const device = fc.option(fc.constantFrom(...devices), { nil: undefined });
    fc.assert(
      fc.property(
        fc.array(rule, { minLength: 13, maxLength: 40 }),
        packet,
        device,
        device,
        (rules, seen, inDevice, outDevice) => {
          const chain: NftChain = { name: 'c', rules, source };
          const context: HookContext = {
            netns,
            hook: 'forward',
            packet: seen,
            inDevice,
            outDevice,
            connections: { entries: [] },
          };
          /** Whether the rule does anything, or may: it is passed by where a match is false before anything else happens. */
          const starts = ({ statements }: NftRule): boolean => {
            for (const one of statements) {
              if (one.kind !== 'match') return true;
              const result = evaluateMatch(one, { context, packet: seen, tracking: notTracked, table });
              if (result !== true) return result !== false;
            }
            return true;
          };
          const linear = rules.flatMap((one, index) => (starts(one) ? [index] : []));
          const next = nextNftRules(chain, { packet: seen, inDevice, outDevice });
          const indexed: number[] = [];
          for (let at = next?.(0) ?? 0; next !== undefined && at < rules.length; at = next(at + 1)) {
            const one = rules[at];
            if (one !== undefined && starts(one)) indexed.push(at);
          }
          expect(indexed).toEqual(linear);
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('tries one of ten thousand', () => {
    const rules = Array.from(
      { length: 10_000 },
      (_, i): NftRule => ({
        handle: i,
        statements: [
          {
            kind: 'match',
            op: '==',
            left: payload('ip', 'daddr'),
            right: constant(`10.96.${i >> 8}.${i & 255}`),
          },
        ],
        matches: [],
        source,
      }),
    );
    const [seen] = fc.sample(packet, 1);
    if (seen === undefined) throw new Error('no packet');
    const next = nextNftRules(
      { name: 'c', rules, source },
      { packet: { ...seen, src: address('10.0.0.1'), dst: address('10.96.3.9') } },
    );
    expect([next?.(0), next?.(778)]).toEqual([777, 10_000]);
  });
});

describe('the index of a set', () => {
  const patternArbitrary: fc.Arbitrary<Pattern> = fc.oneof(
    fc
      .tuple(fc.integer({ min: 0, max: 60 }), fc.constantFrom(0, 0, 3, 40))
      .map(([from, more]): Pattern => ({ kind: 'range', from: BigInt(from), to: BigInt(from + more) })),
    fc.constantFrom<Pattern>(
      { kind: 'name', name: 'eth0', isPrefix: false },
      { kind: 'name', name: 'eth', isPrefix: true },
      { kind: 'any' },
      { kind: 'unclear', text: '?' },
    ),
  );
  const scalar: fc.Arbitrary<Scalar> = fc.oneof(
    {
      weight: 4,
      arbitrary: fc
        .integer({ min: 0, max: 64 })
        .map((value): Scalar => ({ kind: 'number', type: 'port', value: BigInt(value) })),
    },
    { weight: 1, arbitrary: fc.constant<Scalar>({ kind: 'number', type: 'port', value: 4n, unclear: 3n }) },
    {
      weight: 1,
      arbitrary: fc.constantFrom('eth0', 'eth1', 'lo').map((name): Scalar => ({ kind: 'name', name })),
    },
    { weight: 1, arbitrary: fc.constant<Scalar>({ kind: 'doubt', why: 'not known' }) },
  );

  it('gives every element that is not surely another, in order', () => {
    const entry = fc.tuple(patternArbitrary, patternArbitrary).map((patterns) => ({ patterns }));
    fc.assert(
      fc.property(
        fc.array(entry, { minLength: 17, maxLength: 60 }),
        fc.tuple(scalar, scalar),
        (entries, parts) => {
          const fits = ({ patterns }: { readonly patterns: readonly Pattern[] }): boolean =>
            patterns.every(
              (pattern, i) => matchesPattern(pattern, parts[i] ?? { kind: 'doubt', why: '' }) !== false,
            );
          expect(narrowing(entries)(parts).filter(fits)).toEqual(entries.filter(fits));
        },
      ),
      { numRuns: 2000 },
    );
  });

  it('looks at one of ten thousand networks', () => {
    const entries = Array.from({ length: 10_000 }, (_, i) => ({
      patterns: [{ kind: 'range' as const, from: BigInt(i * 256), to: BigInt(i * 256 + 255) }],
    }));
    const found = narrowing(entries)([{ kind: 'number', type: 'ipv4', value: 300n }]);
    expect(found).toEqual([entries[1]]);
  });
});
