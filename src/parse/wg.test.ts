import { describe, expect, it } from 'vitest';
import { address } from '../net/address.ts';
import { prefix } from '../net/prefix.ts';
import { parseWg, parseWgParts } from './wg.ts';

const key = (letter: string) => `${letter.repeat(43)}=`;
const [secret, own, peer, shared] = ['S', 'A', 'B', 'P'].map(key);

const dump = `wg0\t${secret}\t${own}\t51820\t0xe1
wg0\t${peer}\t${shared}\t192.0.2.2:51820\t10.244.2.0/24,fd00:2::/64\t1767225600\t100\t200\t25
wg0\t${key('C')}\t(none)\t[2001:db8::3]:51821\t(none)\t0\t0\t0\toff
`;

describe('wg show', () => {
  it('reads a dump and keeps no secret of it', () => {
    const result = parseWg(dump, 'wg.txt');
    expect(result).toMatchObject({
      ok: true,
      notes: [],
      value: [
        {
          device: 'wg0',
          publicKey: own,
          listenPort: 51820,
          fwmark: 0xe1,
          peers: [
            {
              publicKey: peer,
              endpoint: { address: address('192.0.2.2'), port: 51820 },
              allowedIps: [prefix('10.244.2.0/24'), prefix('fd00:2::/64')],
              latestHandshake: 1_767_225_600,
            },
            {
              endpoint: { address: address('2001:db8::3'), port: 51821 },
              allowedIps: [],
              latestHandshake: 0,
            },
          ],
        },
      ],
    });
    const kept = JSON.stringify(result, (_, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    expect(kept).toContain(own);
    expect(kept).not.toContain(secret);
    expect(kept).not.toContain(shared);
  });

  it('reads columns from files of their own to the same', () => {
    const parts = [
      { column: 'public-key', text: `wg0\t${own}\n`, file: 'wg-public-key.txt' },
      { column: 'listen-port', text: 'wg0\t51820\n', file: 'wg-listen-port.txt' },
      { column: 'fwmark', text: 'wg0\t0xe1\n', file: 'wg-fwmark.txt' },
      {
        column: 'endpoints',
        text: `wg0\t${peer}\t192.0.2.2:51820\nwg0\t${key('C')}\t[2001:db8::3]:51821\n`,
        file: 'wg-endpoints.txt',
      },
      {
        column: 'allowed-ips',
        text: `wg0\t${peer}\t10.244.2.0/24 fd00:2::/64\nwg0\t${key('C')}\t(none)\n`,
        file: 'wg-allowed-ips.txt',
      },
      {
        column: 'latest-handshakes',
        text: `wg0\t${peer}\t1767225600\nwg0\t${key('C')}\t0\n`,
        file: 'wg-latest-handshakes.txt',
      },
    ] as const;
    const plain = (result: ReturnType<typeof parseWg>) =>
      result.ok
        ? result.value.map(({ source: _, peers, ...device }) => ({
            ...device,
            peers: peers.map(({ source: __, ...one }) => one),
          }))
        : result;
    expect(plain(parseWgParts(parts))).toEqual(plain(parseWg(dump, 'wg.txt')));
  });

  it('never quotes a line that it does not understand: it may hold a key', () => {
    const result = parseWg(`${dump}wg0 private key: ${secret}\n`, 'wg.txt');
    expect(result.ok && result.notes).toHaveLength(1);
    expect(JSON.stringify(result.ok && result.notes)).not.toContain(secret);
    expect(parseWg(`interface: wg0\n  private key: ${secret}\n`, 'wg.txt')).toMatchObject({
      ok: false,
      error: { code: 'wg/foreign' },
    });
  });
});
