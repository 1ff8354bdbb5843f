/** xt_u32 over the packet's headers. */
import type { U32Test } from '../../../model/match-modules.ts';
import type { Truth } from '../truth.ts';
import { and, type Bits, exact, isBetween, isExact, left, right } from './bits.ts';
import { type HeaderBytes, wordAt } from './header-bytes.ts';

/** u32_match_it: a word outside the packet is no match. */
export function u32Matches(tests: readonly U32Test[], bytes: HeaderBytes): Truth {
  let doubt: Truth = true;
  for (const test of tests) {
    const result = testMatches(test, bytes);
    if (result === false) return false;
    if (result !== true) doubt = result;
  }
  return doubt;
}

const unread: Truth = { doubt: 'u32 looks at bytes of the packet that the walk does not know' };

function testMatches({ start, steps, ranges }: U32Test, bytes: HeaderBytes): Truth {
  const inside = (offset: number) => offset + 4 <= bytes.lengthBytes;
  if (!inside(start)) return false;
  let value: Bits = wordAt(bytes, start, 4);
  let at = 0;
  for (const { operator, number } of steps) {
    switch (operator) {
      case 'and':
        value = and(value, exact(number));
        break;
      case 'left':
        value = number > 31 ? exact(0) : left(value, number);
        break;
      case 'right':
        value = number > 31 ? exact(0) : right(value, number);
        break;
      case 'at':
        if (!isExact(value)) return unread;
        at += value.value;
        if (!inside(at + number)) return false;
        value = wordAt(bytes, at + number, 4);
    }
  }
  const answers = ranges.map(({ from, to }) => isBetween(value, from, to));
  if (answers.includes(true)) return true;
  return answers.includes(undefined) ? unread : false;
}
