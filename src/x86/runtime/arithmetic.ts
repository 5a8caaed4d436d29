// Arithmetic that WebAssembly has no instruction for: 128-bit division, rotation through carry, CRC-32C, bit deposit
// and extract, and the decimal adjustments. Intel SDM volume 2.
import { CC_DST, CC_EFLAGS, CC_OP, CC_SRC, CC_SRC2, EXCEPTION, NEXT, RAX, REC_IMM } from '../layout';
import { raise } from './exceptions';
import { flagsOf } from './flags';

let quotient: u64 = 0;
let remainder: u64 = 0;

/** Unsigned high:low / divisor; 0 when the quotient needs more than 64 bits or the divisor is 0. */
export function div128U(high: u64, low: u64, divisor: u64): i32 {
  if (high >= divisor) return 0; // also a zero divisor
  if (high == 0) {
    quotient = low / divisor;
    remainder = low % divisor;
    return 1;
  }
  // Knuth's algorithm D with two 32-bit digits (TAOCP volume 2, 4.3.1).
  const shift = clz<u64>(divisor);
  const v = divisor << shift;
  const v1 = v >> 32;
  const v0 = v & 0xffffffff;
  const n2 = shift == 0 ? high : (high << shift) | (low >> (64 - shift));
  const n10 = low << shift;
  const n1 = n10 >> 32;
  const n0 = n10 & 0xffffffff;
  let q1 = n2 / v1;
  let rest = n2 - q1 * v1;
  while (q1 >= 0x100000000 || q1 * v0 > ((rest << 32) | n1)) {
    q1--;
    rest += v1;
    if (rest >= 0x100000000) break;
  }
  const n21 = (n2 << 32) + n1 - q1 * v;
  let q0 = n21 / v1;
  rest = n21 - q0 * v1;
  while (q0 >= 0x100000000 || q0 * v0 > ((rest << 32) | n0)) {
    q0--;
    rest += v1;
    if (rest >= 0x100000000) break;
  }
  quotient = (q1 << 32) + q0;
  remainder = ((n21 << 32) + n0 - q0 * v) >> shift;
  return 1;
}

/** Signed high:low / divisor, truncating; 0 when the quotient does not fit in 64 bits or the divisor is 0. */
export function div128S(high: i64, low: u64, divisor: i64): i32 {
  const negativeN = high < 0;
  const negativeD = divisor < 0;
  let h: u64 = high;
  let l: u64 = low;
  if (negativeN) {
    l = 0 - l;
    h = ~h + (l == 0 ? 1 : 0);
  }
  const d: u64 = negativeD ? 0 - <u64>divisor : divisor;
  if (!div128U(h, l, d)) return 0;
  const limit: u64 = negativeN != negativeD ? 0x8000000000000000 : 0x7fffffffffffffff;
  if (quotient > limit) return 0;
  if (negativeN != negativeD) quotient = 0 - quotient;
  if (negativeN) remainder = 0 - remainder;
  return 1;
}

export function divQuotient(): u64 {
  return quotient;
}
export function divRemainder(): u64 {
  return remainder;
}

let carryOut: i32 = 0;
/** CF after the last rcl or rcr. */
export function rotateCarry(): i32 {
  return carryOut;
}

/** Rotates `size` bytes and the carry left by a masked count. */
export function rcl(size: i32, value: u64, count: i32, carry: i32): u64 {
  const bits = size * 8;
  let n = count % (bits + 1);
  carryOut = carry;
  let v = value;
  while (n-- > 0) {
    const top = <i32>((v >> (bits - 1)) & 1);
    v = (v << 1) | <u64>carryOut;
    carryOut = top;
  }
  return size == 8 ? v : v & (((<u64>1) << bits) - 1);
}

export function rcr(size: i32, value: u64, count: i32, carry: i32): u64 {
  const bits = size * 8;
  let n = count % (bits + 1);
  carryOut = carry;
  let v = value;
  while (n-- > 0) {
    const low = <i32>(v & 1);
    v = (v >> 1) | ((<u64>carryOut) << (bits - 1));
    carryOut = low;
  }
  return v;
}

/** CRC-32C (polynomial 11EDC6F41h, reflected) over `size` bytes of `data`. */
export function crc32(accumulator: u32, data: u64, size: i32): u32 {
  let crc = accumulator;
  for (let i = 0; i < size; i++) {
    crc ^= <u32>(data & 0xff);
    data >>= 8;
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return crc;
}

export function pdep(source: u64, mask: u64): u64 {
  let result: u64 = 0;
  let m = mask;
  let s = source;
  while (m != 0) {
    const low = m & (0 - m);
    if (s & 1) result |= low;
    s >>= 1;
    m ^= low;
  }
  return result;
}

export function pext(source: u64, mask: u64): u64 {
  let result: u64 = 0;
  let m = mask;
  let bit: u64 = 1;
  while (m != 0) {
    const low = m & (0 - m);
    if (source & low) result |= bit;
    bit <<= 1;
    m ^= low;
  }
  return result;
}

const CF = 0x01;
const AF = 0x10;

function flagsNow(): i32 {
  return flagsOf(load<i32>(CC_OP), load<u64>(CC_DST), load<u64>(CC_SRC), load<u64>(CC_SRC2));
}

/** Sets SF ZF PF from AL, and CF and AF as given. */
function setFromAl(al: u32, carryAndAdjust: i32): void {
  const logic = flagsOf(4, al & 0xff, 0, 0);
  store<i32>(CC_OP, CC_EFLAGS);
  store<u64>(CC_SRC, logic | carryAndAdjust);
}

export function op_daa(_record: i32): i32 {
  const flags = flagsNow();
  const old = <u32>load<u8>(RAX);
  let al = old;
  let out = 0;
  if ((old & 15) > 9 || flags & AF) {
    al += 6;
    out = AF | (flags & CF) | (al > 0xff ? CF : 0);
  }
  if (old > 0x99 || flags & CF) {
    al += 0x60;
    out |= CF;
  } else out &= ~CF;
  store<u8>(RAX, <u8>al);
  setFromAl(al, out);
  return NEXT;
}

export function op_das(_record: i32): i32 {
  const flags = flagsNow();
  const old = <u32>load<u8>(RAX);
  let al = old;
  let out = 0;
  if ((old & 15) > 9 || flags & AF) {
    out = AF | (flags & CF) | (old < 6 ? CF : 0);
    al -= 6;
  }
  if (old > 0x99 || flags & CF) {
    al -= 0x60;
    out |= CF;
  }
  store<u8>(RAX, <u8>al);
  setFromAl(al, out);
  return NEXT;
}

export function op_aaa(_record: i32): i32 {
  const flags = flagsNow();
  let out = 0;
  if ((load<u8>(RAX) & 15) > 9 || flags & AF) {
    store<u16>(RAX, <u16>(load<u16>(RAX) + 0x106));
    out = AF | CF;
  }
  store<u8>(RAX, load<u8>(RAX) & 15);
  setFromAl(load<u8>(RAX), out);
  return NEXT;
}

export function op_aas(_record: i32): i32 {
  const flags = flagsNow();
  let out = 0;
  if ((load<u8>(RAX) & 15) > 9 || flags & AF) {
    store<u16>(RAX, <u16>(load<u16>(RAX) - 6));
    store<u8>(RAX + 1, <u8>(load<u8>(RAX + 1) - 1));
    out = AF | CF;
  }
  store<u8>(RAX, load<u8>(RAX) & 15);
  setFromAl(load<u8>(RAX), out);
  return NEXT;
}

export function op_aam(rec: i32): i32 {
  const base = <u32>load<u8>(rec, REC_IMM);
  if (base == 0) {
    raise(0, -1);
    return EXCEPTION;
  }
  const al = <u32>load<u8>(RAX);
  store<u8>(RAX + 1, <u8>(al / base));
  store<u8>(RAX, <u8>(al % base));
  setFromAl(load<u8>(RAX), 0);
  return NEXT;
}

export function op_aad(rec: i32): i32 {
  const al = <u32>load<u8>(RAX) + <u32>load<u8>(RAX + 1) * <u32>load<u8>(rec, REC_IMM);
  store<u16>(RAX, <u16>(al & 0xff));
  setFromAl(al, 0);
  return NEXT;
}
