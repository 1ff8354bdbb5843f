// Chance that can be repeated: mulberry32, a public-domain generator of 32 bits of state. Good enough for shapes, not for secrets.

const letters = 'bcdfghjklmnpqrstvwxz2456789';
const words =
  'orders cart search mail auth users billing ledger stock price media feed chat jobs queue cache index audit proxy rates tax ship track notes'.split(
    ' ',
  );

export function randomOf(seed) {
  let state = seed >>> 0;
  const bits = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
  const unit = () => bits() / 2 ** 32;
  const below = (limit) => Math.floor(unit() * limit);
  const pick = (list) => list[below(list.length)];
  const hex = (length) => Array.from({ length }, () => below(16).toString(16)).join('');
  return {
    bits,
    unit,
    below,
    pick,
    chance: (share) => unit() < share,
    word: () => pick(words),
    /** As Kubernetes names pods: no vowels. */
    suffix: (length) => Array.from({ length }, () => letters[below(letters.length)]).join(''),
    uid: () => `${hex(8)}-${hex(4)}-4${hex(3)}-a${hex(3)}-${hex(12)}`,
  };
}
