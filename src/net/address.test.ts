import fc from 'fast-check';
import { expect, it } from 'vitest';
import { formatAddress, parseAddress } from './address.ts';

it('reads what it prints, of every IPv4 address', () => {
  fc.assert(
    fc.property(fc.bigInt(0n, 2n ** 32n - 1n), (value) => {
      expect(parseAddress(formatAddress({ family: 4, value }))).toEqual({ family: 4, value });
    }),
  );
});

it.each(['', '.', '1.2.3', '1.2.3.4.5', '1.2.3.', '.1.2.3', '1..2.3', '01.2.3.4', '1.2.3.00', '256.0.0.1'])(
  'refuses %j',
  (text) => expect(parseAddress(text)).toBeUndefined(),
);
it.each(['1.2.3.4 ', '1.2.3.-4', '1.2.3.4/8', '1.2.3.0x4', '1.2.3.1e1', '١.2.3.4', '1.2.3.4294967297'])(
  'refuses %j',
  (text) => expect(parseAddress(text)).toBeUndefined(),
);
it('reads an IPv4 tail of an IPv6 address', () =>
  expect(parseAddress('::ffff:10.0.0.255')).toEqual({ family: 6, value: 0xffff_0a00_00ffn }));
