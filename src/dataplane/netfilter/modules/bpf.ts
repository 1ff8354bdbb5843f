/** Classic BPF over the packet's headers, as xt_bpf runs it: the data starts at the IP header. */
import type { BpfInstruction } from '../../../model/match-modules.ts';
import type { Packet } from '../../../net/packet.ts';
import type { Truth } from '../truth.ts';
import { and, type Bits, exact, isExact, left, noBits, or, right, xor } from './bits.ts';
import { type HeaderBytes, wordAt } from './header-bytes.ts';

interface Machine {
  a: Bits;
  x: Bits;
  readonly memory: Bits[];
}

/** SKF_AD_OFF and the extensions that the walk knows something about. */
const extensions = 0xfffff000;
const markExtension = 20;

/** The answer of the program: 0 is no match. */
export function bpfMatches(program: readonly BpfInstruction[], bytes: HeaderBytes, packet: Packet): Truth {
  const machine: Machine = { a: exact(0), x: exact(0), memory: [] };
  const unread = { doubt: 'bpf looks at something of the packet that the walk does not know' };
  // Jumps only lead forward: the kernel takes no other program (bpf_check_classic).
  for (let pc = 0; pc < program.length; pc++) {
    const instruction = program[pc];
    if (instruction === undefined) break;
    const { code, k, jumpTrue, jumpFalse } = instruction;
    switch (code & 7) {
      case 0: // LD
      case 1: {
        // LDX
        const loaded = load(code, k, machine, bytes, packet);
        if (loaded === 'outside') return false;
        if (loaded === 'unknown') return unread;
        if ((code & 7) === 0) machine.a = loaded;
        else machine.x = loaded;
        break;
      }
      case 2: // ST
        machine.memory[k] = machine.a;
        break;
      case 3: // STX
        machine.memory[k] = machine.x;
        break;
      case 4: {
        const result = calculate(code, machine.a, code & 8 ? machine.x : exact(k));
        if (result === 'ends') return false;
        machine.a = result;
        break;
      }
      case 5: {
        if ((code & 0xf0) === 0) {
          pc += k;
          break;
        }
        const taken = compare(code, machine.a, code & 8 ? machine.x : exact(k));
        if (taken === undefined) return unread;
        pc += taken ? jumpTrue : jumpFalse;
        break;
      }
      case 6: {
        const result = (code & 0x18) === 0x10 ? machine.a : exact(k);
        if (result.value !== 0) return true;
        return isExact(result) ? false : unread;
      }
      default:
        // TAX and TXA.
        if (code & 0x80) machine.a = machine.x;
        else machine.x = machine.a;
    }
  }
  return unread;
}

function load(
  code: number,
  k: number,
  { x, memory }: Machine,
  bytes: HeaderBytes,
  packet: Packet,
): Bits | 'outside' | 'unknown' {
  const size = (code & 0x18) === 0 ? 4 : (code & 0x18) === 8 ? 2 : 1;
  const inside = (offset: number) => offset + size <= bytes.lengthBytes;
  switch (code & 0xe0) {
    case 0x00:
      return exact(k);
    case 0x60:
      return memory[k] ?? exact(0);
    case 0x80:
      return exact(bytes.lengthBytes);
    case 0x20:
      if (k >= extensions) return k - extensions === markExtension ? exact(packet.mark) : 'unknown';
      return inside(k) ? wordAt(bytes, k, size) : 'outside';
    case 0x40: {
      if (!isExact(x)) return 'unknown';
      const offset = (x.value + k) >>> 0;
      if (offset >= 0xffe00000) return 'unknown';
      return inside(offset) ? wordAt(bytes, offset, size) : 'outside';
    }
    default:
      // MSH: four times the low half of a byte, the length of an IPv4 header.
      return inside(k) ? left(and(wordAt(bytes, k, 1), exact(15)), 2) : 'outside';
  }
}

function calculate(code: number, a: Bits, b: Bits): Bits | 'ends' {
  const both = isExact(a) && isExact(b);
  switch (code & 0xf0) {
    case 0x00:
      return both ? exact(a.value + b.value) : noBits;
    case 0x10:
      return both ? exact(a.value - b.value) : noBits;
    case 0x20:
      return both ? exact(Math.imul(a.value, b.value)) : noBits;
    case 0x30:
    case 0x90:
      if (!both) return noBits;
      // Division by zero ends the program with 0.
      if (b.value === 0) return 'ends';
      return exact((code & 0xf0) === 0x30 ? Math.floor(a.value / b.value) : a.value % b.value);
    case 0x40:
      return or(a, b);
    case 0x50:
      return and(a, b);
    case 0x60:
      return isExact(b) && b.value < 32 ? left(a, b.value) : noBits;
    case 0x70:
      return isExact(b) && b.value < 32 ? right(a, b.value) : noBits;
    case 0x80:
      return isExact(a) ? exact(-a.value) : noBits;
    case 0xa0:
      return xor(a, b);
    default:
      return noBits;
  }
}

/** JEQ, JGT, JGE, JSET. Undefined: unknown bits decide. */
function compare(code: number, a: Bits, b: Bits): boolean | undefined {
  const both = isExact(a) && isExact(b);
  switch (code & 0xf0) {
    case 0x10:
      if (both) return a.value === b.value;
      return ((a.value ^ b.value) & a.known & b.known) >>> 0 !== 0 ? false : undefined;
    case 0x20:
      return both ? a.value > b.value : undefined;
    case 0x30:
      return both ? a.value >= b.value : undefined;
    case 0x40: {
      const common = and(a, b);
      if (common.value !== 0) return true;
      return isExact(common) ? false : undefined;
    }
    default:
      return undefined;
  }
}
