import { describe, expect, test } from 'vitest';
import { known } from '../../model/known.ts';
import type { Netns } from '../../model/netns.ts';
import { address } from '../../net/address.ts';
import type { Packet } from '../../net/packet.ts';
import { buildNetns } from '../../parse/netns.ts';
import { parseNftJson } from '../../parse/nft/json.ts';
import { emptyConnections } from './conntrack.ts';
import { traverseHook } from './evaluate.ts';
import { visitsOf } from './path.ts';

const syn: Packet = {
  src: address('10.244.1.2'),
  dst: address('10.244.2.3'),
  protocol: 'tcp',
  srcPort: 40_000,
  dstPort: 80,
  flags: { syn: true },
  lengthBytes: 60,
  df: true,
  ttl: 63,
  mark: 0,
};

/** The path at FORWARD, `chain: verdict to [effect]`. */
function path(netns: Netns, packet = syn): readonly string[] {
  const [outcome] = traverseHook({
    netns,
    hook: 'forward',
    packet,
    connections: emptyConnections(),
    record: true,
  });
  return visitsOf(outcome?.path, outcome?.packet ?? packet).map(
    ({ chains, verdict, to, policy, effect }) =>
      `${chains.join(' > ')}${policy === true ? ' policy' : ''}: ${[verdict, to, effect === undefined ? undefined : `[${effect}]`].filter((word) => word !== undefined).join(' ')}`,
  );
}

function save(text: string): Netns {
  const files: Record<string, string> = { 'iptables-save.txt': text, 'nft.json': '{"nftables":[]}' };
  return buildNetns('node1', 'node1', undefined, (name) => files[name], '');
}

describe('the rules that a packet matched', () => {
  test('in order, with what they did: LOG, marks, goto, return and the policy among them', () => {
    const netns = save(`*filter
:FORWARD ACCEPT [0:0]
:a - [0:0]
:b - [0:0]
-A FORWARD -p udp -j DROP
-A FORWARD -p tcp -j LOG
-A FORWARD -j MARK --set-xmark 0x4/0x4
-A FORWARD -j a
-A FORWARD -m limit --limit 1/sec
-A a -p tcp -g b
-A a -j DROP
-A b -m mark --mark 0x4/0x4 -j RETURN
COMMIT
`);
    expect(path(netns)).toEqual([
      'FORWARD: continue',
      'FORWARD: continue [mark 0x0 -> 0x4]',
      'FORWARD: jump a',
      'FORWARD > a: goto b',
      'FORWARD > a > b: return',
      'FORWARD policy: accept',
    ]);
  });

  test('a rule of a long chain that only looks is found too', () => {
    const many = Array.from({ length: 40 }, (_, i) => `-A FORWARD -d 10.9.0.${i}/32 -j DROP`);
    const netns = save(
      `*filter\n:FORWARD DROP [0:0]\n${many.join('\n')}\n-A FORWARD -d 10.244.2.3/32 -j NFLOG\nCOMMIT\n`,
    );
    expect(path(netns)).toEqual(['FORWARD: continue', 'FORWARD policy: drop']);
  });

  // Found by the kernel's trace: conditions behind the last statement with an effect were not asked.
  test('nftables: a rule that only counts has matched if its last conditions hold', () => {
    const match = (protocol: string) => ({
      match: { op: '==', left: { payload: { protocol: 'ip', field: 'protocol' } }, right: protocol },
    });
    const place = { family: 'ip', table: 't', chain: 'f' };
    const rule = (handle: number, expr: readonly object[]) => ({ rule: { ...place, handle, expr } });
    const mark = { mangle: { key: { meta: { key: 'mark' } }, value: 1 } };
    const nftables = [
      { table: { family: 'ip', name: 't', handle: 1 } },
      {
        chain: {
          family: 'ip',
          table: 't',
          name: 'f',
          handle: 1,
          type: 'filter',
          hook: 'forward',
          prio: 0,
          policy: 'accept',
        },
      },
      rule(2, [match('udp'), { counter: { packets: 0, bytes: 0 } }]),
      rule(3, [match('tcp'), { counter: { packets: 0, bytes: 0 } }]),
      rule(4, [mark, match('udp')]),
      rule(5, [mark, match('tcp')]),
    ];
    const tables = parseNftJson(JSON.stringify({ nftables }), 'nft.json');
    if (!tables.ok) throw new Error(tables.error.message);
    const netns = { ...save(''), rulesets: known([]), nftTables: known(tables.value) };
    const [outcome] = traverseHook({
      netns,
      hook: 'forward',
      packet: syn,
      connections: emptyConnections(),
      record: true,
    });
    const visits = visitsOf(outcome?.path, syn);
    expect(visits.map(({ handle, verdict }) => [handle, verdict])).toEqual([
      [3, 'continue'],
      [5, 'continue'],
      [undefined, 'accept'],
    ]);
  });

  test('nothing is kept where nobody asks', () => {
    const netns = save('*filter\n:FORWARD ACCEPT [0:0]\n-A FORWARD -j ACCEPT\nCOMMIT\n');
    const asked = { netns, hook: 'forward', packet: syn, connections: emptyConnections() } as const;
    expect(traverseHook(asked)[0]).not.toHaveProperty('path');
  });
});
