/** xt_string over the packet's headers; what is behind them is not known. */
import type { ModuleTest } from '../../../model/match-modules.ts';
import type { Truth } from '../truth.ts';
import type { HeaderBytes } from './header-bytes.ts';

const lower = (byte: number): number => (byte >= 65 && byte <= 90 ? byte + 32 : byte);

/**
 * skb_find_text: kernels differ in whether the whole text or only its start must lie before `to`, so that only what all of
 * them find or do not find is decided.
 */
export function stringMatches(test: Extract<ModuleTest, { kind: 'string' }>, bytes: HeaderBytes): Truth {
  const { bytes: text, from, to, ignoreCase } = test;
  const fold = ignoreCase ? lower : (byte: number) => byte;
  let isPossible = false;
  for (let start = from; start <= to && start + text.length <= bytes.lengthBytes; start++) {
    let isSure = start + text.length <= to;
    let fits = true;
    for (let i = 0; fits && i < text.length; i++) {
      const { value, known } = bytes.at(start + i);
      const wanted = text[i] ?? 0;
      if (known === 0xff) fits = fold(value) === fold(wanted);
      else {
        isSure = false;
        fits = ignoreCase || ((value ^ wanted) & known) === 0;
      }
    }
    if (fits && isSure) return true;
    isPossible ||= fits;
  }
  return isPossible ? { doubt: 'string looks for a text where the walk does not know the bytes' } : false;
}
