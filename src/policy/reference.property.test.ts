/**
 * The reference against a predicate made the other way round: instead of asking rules about one flow, expand every rule into the
 * set of (peer, protocol, port) that it admits over a small universe, unite the sets, and look the flow up.
 */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  cluster,
  ipBlock,
  namespace,
  pod,
  podsPeer,
  ports,
  rules,
  selector,
} from '../../test/support/objects.ts';
import type { NetworkPolicy, Pod, PolicyPeer, PolicyRule, Selector } from '../model/cluster.ts';
import { formatAddress } from '../net/address.ts';
import { decide } from './reference.ts';

const spaces = [namespace('a', { team: 'x' }), namespace('b', { team: 'y' }), namespace('c')];
const pods: Pod[] = ['a', 'b', 'c'].flatMap((space, i) =>
  [{ app: 'web' }, { app: 'api', tier: 'x' }, { tier: '' }].map((labels, j) =>
    pod(`${space}/p${j}`, `10.${i}.0.${j + 1}`, {
      labels,
      node: `node${j}`,
      containers: j === 1 ? ports([80, 'http'], [81, 'http', 'UDP']) : ports([82, 'http']),
    }),
  ),
);
const protocols = ['TCP', 'UDP', 'SCTP'] as const;
const numbers = [80, 81, 82];

const arbitrarySelector: fc.Arbitrary<Selector> = fc
  .record({
    labels: fc.dictionary(fc.constantFrom('app', 'tier', 'team'), fc.constantFrom('web', 'x', ''), {
      maxKeys: 1,
    }),
    expressions: fc.array(
      fc.record({
        key: fc.constantFrom('app', 'tier', 'team', 'none'),
        operator: fc.constantFrom('In', 'NotIn', 'Exists', 'DoesNotExist'),
        values: fc.subarray(['web', 'api', 'x', '']),
      }),
      { maxLength: 1 },
    ),
  })
  .map(({ labels, expressions }) => selector(labels, expressions));

const arbitraryPeer: fc.Arbitrary<PolicyPeer> = fc.oneof(
  fc
    .tuple(fc.option(arbitrarySelector, { nil: undefined }), fc.option(arbitrarySelector, { nil: undefined }))
    .filter(([p, n]) => p !== undefined || n !== undefined)
    .map(([p, n]) => podsPeer(p, n)),
  fc
    .tuple(
      fc.constantFrom('10.0.0.0/8', '10.1.0.0/16', '0.0.0.0/0'),
      fc.subarray(['10.1.0.0/24', '10.0.0.2/32']),
    )
    .map(([cidr, except]) => ipBlock(cidr, ...except)),
);
const arbitraryPort = fc.oneof(
  fc.record({ protocol: fc.constantFrom(...protocols) }),
  fc.record({
    protocol: fc.constantFrom(...protocols),
    port: fc.oneof(fc.constantFrom(...numbers), fc.constant('http')),
  }),
  fc.record({
    protocol: fc.constantFrom(...protocols),
    port: fc.constant(80),
    endPort: fc.constantFrom(80, 81),
  }),
);
const arbitraryRules = (direction: 'ingress' | 'egress') =>
  fc
    .array(
      fc.record(
        {
          peers: fc.array(arbitraryPeer, { maxLength: 2 }),
          ports: fc.array(arbitraryPort, { minLength: 1, maxLength: 2 }),
        },
        { requiredKeys: [] },
      ),
      { maxLength: 2 },
    )
    .map((list) => rules(direction, ...list));
const arbitraryPolicies: fc.Arbitrary<NetworkPolicy[]> = fc.array(
  fc
    .record(
      {
        namespace: fc.constantFrom('a', 'b'),
        podSelector: arbitrarySelector,
        ingress: arbitraryRules('ingress'),
        egress: arbitraryRules('egress'),
      },
      { requiredKeys: ['namespace', 'podSelector'] },
    )
    .map((fields) => ({ name: 'p', problems: [], ...fields })),
  { maxLength: 3 },
);

const key = (id: string, protocol: string, port: number) => `${id} ${protocol} ${port}`;
const id = (p: Pod) => `${p.namespace}/${p.name}`;

function selects(s: Selector, labels: Record<string, string>): boolean {
  const map = new Map(Object.entries(labels));
  const wanted = Object.entries(s.matchLabels).map(([k, v]) => map.get(k) === v);
  const asked = s.matchExpressions.map(({ key: k, operator, values }) => {
    if (operator === 'Exists' || operator === 'DoesNotExist') return map.has(k) === (operator === 'Exists');
    const listed = map.has(k) && values.includes(map.get(k) ?? '');
    return listed === (operator === 'In');
  });
  return ![...wanted, ...asked].includes(false);
}

const startsWith = (address: string, cidr: string): boolean => {
  const [base = '', length = ''] = cidr.split('/');
  const octets = Number(length) / 8;
  return address.split('.').slice(0, octets).join('.') === base.split('.').slice(0, octets).join('.');
};

function peersOf(rule: PolicyRule, home: string): { pod: Pod; byAddress: boolean }[] {
  if (rule.peers === undefined) return pods.map((p) => ({ pod: p, byAddress: false }));
  return rule.peers.flatMap((peer) =>
    pods
      .filter((p) => {
        if (peer.kind === 'ip-block') {
          const own = p.addresses.map(formatAddress).join();
          const text = (x: typeof peer.cidr) => `${formatAddress(x)}/${x.length}`;
          return (
            startsWith(own, text(peer.cidr)) && peer.except.every((hole) => !startsWith(own, text(hole)))
          );
        }
        const space = spaces.find((s) => s.name === p.namespace);
        const inSpace =
          peer.namespaceSelector === undefined
            ? p.namespace === home
            : selects(peer.namespaceSelector, space?.labels ?? {});
        return inSpace && selects(peer.podSelector ?? selector(), p.labels);
      })
      .map((p) => ({ pod: p, byAddress: peer.kind === 'ip-block' })),
  );
}

/** Everything that the rule admits for one subject pod. */
function expand(rule: PolicyRule, subject: Pod, direction: 'ingress' | 'egress'): string[] {
  return peersOf(rule, subject.namespace).flatMap(({ pod: peer, byAddress }) => {
    const destination = direction === 'ingress' ? subject : peer;
    const nameless = direction === 'egress' && byAddress;
    return protocols.flatMap((protocol) =>
      numbers
        .filter((number) => {
          if (rule.ports === undefined) return true;
          return rule.ports.some((port) => {
            if (port.protocol !== protocol) return false;
            if (typeof port.port !== 'string')
              return (
                port.port === undefined || (number >= port.port && number <= (port.endPort ?? port.port))
              );
            return (
              !nameless &&
              destination.containers.some((c) =>
                c.ports.some((p) => p.name === port.port && p.protocol === protocol && p.port === number),
              )
            );
          });
        })
        .map((number) => key(id(peer), protocol, number)),
    );
  });
}

function admitted(
  policies: NetworkPolicy[],
  subject: Pod,
  direction: 'ingress' | 'egress',
): Set<string> | 'all' {
  const mine = policies.filter(
    (p) =>
      p.namespace === subject.namespace &&
      p[direction] !== undefined &&
      selects(p.podSelector, subject.labels),
  );
  if (mine.length === 0) return 'all';
  return new Set(
    mine.flatMap((p) => (p[direction] ?? []).flatMap((rule) => expand(rule, subject, direction))),
  );
}

it('agrees with the expanded rules on every pair of pods, protocol and port', () => {
  fc.assert(
    fc.property(arbitraryPolicies, (policies) => {
      const world = cluster({ pods, namespaces: spaces, networkPolicies: policies });
      for (const src of pods) {
        const out = admitted(policies, src, 'egress');
        for (const dst of pods) {
          if (src === dst) continue;
          const into = admitted(policies, dst, 'ingress');
          for (const protocol of protocols)
            for (const dstPort of numbers) {
              const expected =
                (out === 'all' || out.has(key(id(dst), protocol, dstPort))) &&
                (into === 'all' || into.has(key(id(src), protocol, dstPort)));
              const end = (p: Pod) => ({
                kind: 'pod' as const,
                namespace: p.namespace,
                name: p.name,
                address: p.addresses[0] ?? { family: 4 as const, value: 0n },
              });
              const flow = protocol.toLowerCase() as 'tcp' | 'udp' | 'sctp';
              const got = decide(world, { src: end(src), dst: end(dst), protocol: flow, dstPort });
              expect(got.verdict, `${id(src)} -> ${id(dst)} ${protocol} ${dstPort}`).toBe(
                expected ? 'allow' : 'deny',
              );
            }
        }
      }
    }),
    { numRuns: 60 },
  );
});
