// RFLAGS: the six arithmetic flags out of their lazy form (end of layout.ts), conditions, and the register as a
// whole. Source: Intel SDM volume 1, 3.4.3 and appendix A.
import {
  ATTENTION,
  ATTENTION_TRAP,
  CC_ADC,
  CC_ADD,
  CC_CARRY_SHIFT,
  CC_DEC,
  CC_DST,
  CC_EFLAGS,
  CC_IMUL,
  CC_INC,
  CC_KIND,
  CC_LOGIC,
  CC_MUL,
  CC_OP,
  CC_OVERFLOW_SHIFT,
  CC_OVER_CF,
  CC_OVER_OF,
  CC_SBB,
  CC_SHL,
  CC_SHR,
  CC_SRC,
  CC_SRC2,
  CC_SUB,
  CPL,
  EFLAGS,
  TLB_BASE,
} from '../layout';
import {
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_AF,
  FLAG_CF,
  FLAG_OF,
  FLAG_PF,
  FLAG_SF,
  FLAG_TF,
  FLAG_ZF,
} from './bits';
import { tlbFor } from './tlb';

/** All ones in an operand of 1 << log2size bytes. */
function maskOf(ccop: i32): u64 {
  return 0xffff_ffff_ffff_ffff >> (64 - (8 << (ccop & 3)));
}

/** The result that SF, ZF and PF are about. */
function resultOf(kind: i32, mask: u64, dst: u64, src: u64, src2: u64): u64 {
  if (kind == CC_SUB) return (dst - src) & mask;
  if (kind == CC_SBB) return (dst - src - (src2 & 1)) & mask;
  return dst & mask;
}

/** Does the signed product of two factors of 1 << (ccop & 3) bytes, sign-extended, not fit in that many bytes? */
function overflows(ccop: i32, a: i64, b: i64): bool {
  const product = a * b;
  const size = ccop & 3;
  if (size == 0) return (product as i8) != product;
  if (size == 1) return (product as i16) != product;
  if (size == 2) return (product as i32) != product;
  if (a == 0 || b == 0) return false;
  // the one product whose division back overflows
  if (a == -1) return b == i64.MIN_VALUE;
  if (b == -1) return a == i64.MIN_VALUE;
  return product / b != a;
}

/** CF alone: 0 or 1. */
export function carryOf(ccop: i32, dst: u64, src: u64, src2: u64): i32 {
  if ((ccop & CC_OVER_CF) != 0) return (ccop >> CC_CARRY_SHIFT) & 1;
  const kind = ccop & CC_KIND;
  if (kind == CC_EFLAGS) return (src as i32) & FLAG_CF;
  if (kind == CC_LOGIC) return 0;
  if (kind == CC_ADD || kind == CC_SUB) return dst < src ? 1 : 0;
  if (kind == CC_ADC || kind == CC_SBB) return ((src2 & 1) != 0 ? dst <= src : dst < src) ? 1 : 0;
  if (kind == CC_INC || kind == CC_DEC) return (src2 as i32) & 1;
  if (kind == CC_SHL) return ((src >> ((8 << (ccop & 3)) - 1)) as i32) & 1;
  if (kind == CC_SHR) return (src as i32) & 1;
  if (kind == CC_IMUL) return overflows(ccop, src as i64, src2 as i64) ? 1 : 0;
  return src != 0 ? 1 : 0;
}

/** CF PF AF ZF SF OF at their places. Flags that the instruction leaves undefined are 0. */
export function flagsOf(ccop: i32, dst: u64, src: u64, src2: u64): i32 {
  if ((ccop & (CC_OVER_CF | CC_OVER_OF)) != 0) {
    let flags = flagsOf(ccop & 0xff, dst, src, src2);
    if ((ccop & CC_OVER_CF) != 0) flags = (flags & ~FLAG_CF) | ((ccop >> CC_CARRY_SHIFT) & 1);
    if ((ccop & CC_OVER_OF) != 0) flags = (flags & ~FLAG_OF) | (((ccop >> CC_OVERFLOW_SHIFT) & 1) << 11);
    return flags;
  }
  const kind = ccop & CC_KIND;
  if (kind == CC_EFLAGS) return (src as i32) & FLAGS_ARITHMETIC;
  const mask = maskOf(ccop);
  const top = (8 << (ccop & 3)) - 1;
  const result = resultOf(kind, mask, dst, src, src2);
  let flags = carryOf(ccop, dst, src, src2);
  if ((popcnt<i32>((result as i32) & 255) & 1) == 0) flags |= FLAG_PF;
  if (result == 0) flags |= FLAG_ZF;
  if (((result >> top) & 1) != 0) flags |= FLAG_SF;
  let overflow: u64 = 0;
  if (kind == CC_ADD || kind == CC_ADC) {
    const left = dst - src - (kind == CC_ADC ? src2 & 1 : 0);
    overflow = (left ^ dst) & (src ^ dst);
    flags |= ((left ^ src ^ dst) as i32) & FLAG_AF;
  } else if (kind == CC_SUB || kind == CC_SBB) {
    overflow = (dst ^ src) & (dst ^ result);
    flags |= ((dst ^ src ^ result) as i32) & FLAG_AF;
  } else if (kind == CC_INC) {
    overflow = result & ~(result - 1);
    if (result != (1 as u64) << top) overflow = 0;
    if ((result & 15) == 0) flags |= FLAG_AF;
  } else if (kind == CC_DEC) {
    if (result == mask >> 1) overflow = (1 as u64) << top;
    if ((result & 15) == 15) flags |= FLAG_AF;
  } else if (kind == CC_SHL || kind == CC_SHR) {
    overflow = src ^ result;
  } else if (kind == CC_MUL || kind == CC_IMUL) {
    if ((flags & FLAG_CF) != 0) flags |= FLAG_OF;
  }
  if (((overflow >> top) & 1) != 0) flags |= FLAG_OF;
  return flags;
}

/** Condition `cc` as in Jcc (0 = O … 15 = G): 0 or 1. */
export function condOf(cc: i32, ccop: i32, dst: u64, src: u64, src2: u64): i32 {
  const plain = conditionOf(cc >> 1, ccop, dst, src, src2);
  return plain ^ (cc & 1);
}

/** The most frequent conditions are told from the values; others need all flags. */
function conditionOf(kind: i32, ccop: i32, dst: u64, src: u64, src2: u64): i32 {
  const lazy = ccop & CC_KIND;
  if (lazy != CC_EFLAGS) {
    // SF, ZF and PF never lie in the upper bits of CC_OP
    if (kind == 2) return resultOf(lazy, maskOf(ccop), dst, src, src2) == 0 ? 1 : 0;
    if (kind == 1) return carryOf(ccop, dst, src, src2);
    if (kind == 4) {
      const top = (8 << (ccop & 3)) - 1;
      return ((resultOf(lazy, maskOf(ccop), dst, src, src2) >> top) as i32) & 1;
    }
    if (lazy == CC_SUB && (ccop & (CC_OVER_CF | CC_OVER_OF)) == 0) {
      if (kind == 3) return dst <= src ? 1 : 0;
      if (kind >= 6) {
        const shift = 64 - (8 << (ccop & 3));
        const left = (dst << shift) as i64;
        const right = (src << shift) as i64;
        return (kind == 6 ? left < right : left <= right) ? 1 : 0;
      }
    }
  }
  const flags = flagsOf(ccop, dst, src, src2);
  let taken: bool;
  if (kind == 0) taken = (flags & FLAG_OF) != 0;
  else if (kind == 1) taken = (flags & FLAG_CF) != 0;
  else if (kind == 2) taken = (flags & FLAG_ZF) != 0;
  else if (kind == 3) taken = (flags & (FLAG_CF | FLAG_ZF)) != 0;
  else if (kind == 4) taken = (flags & FLAG_SF) != 0;
  else if (kind == 5) taken = (flags & FLAG_PF) != 0;
  else {
    taken = ((flags >> 7) & 1) != ((flags >> 11) & 1);
    if (kind == 7) taken = taken || (flags & FLAG_ZF) != 0;
  }
  return taken ? 1 : 0;
}

/** The six arithmetic flags now. */
export function computeFlags(): i32 {
  return flagsOf(load<i32>(CC_OP), load<u64>(CC_DST), load<u64>(CC_SRC), load<u64>(CC_SRC2));
}

/** Sets the six arithmetic flags from their places in `flags`. */
export function setArithmetic(flags: i32): void {
  store<i32>(CC_OP, CC_EFLAGS);
  store<u64>(CC_SRC, (flags & FLAGS_ARITHMETIC) as u64);
}

export function getRflags(): i64 {
  return ((load<u32>(EFLAGS) & ~FLAGS_ARITHMETIC) | computeFlags() | 2) as i64;
}

/** Sets the bits of RFLAGS that `mask` names; TF and AC take effect at once. */
export function setRflags(value: i64, mask: i64): void {
  const flags = ((getRflags() & ~mask) | (value & mask)) as i32;
  setArithmetic(flags);
  const old = load<i32>(EFLAGS);
  const next = (flags & ~FLAGS_ARITHMETIC) | 2;
  store<i32>(EFLAGS, next);
  if (((old ^ next) & (FLAG_TF | FLAG_AC)) != 0) flagsChanged();
}

/** What depends on TF and AC. */
export function flagsChanged(): void {
  const flags = load<i32>(EFLAGS);
  const attention = load<i32>(ATTENTION);
  store<i32>(ATTENTION, (flags & FLAG_TF) != 0 ? attention | ATTENTION_TRAP : attention & ~ATTENTION_TRAP);
  store<i32>(TLB_BASE, tlbFor(load<i32>(CPL), flags & FLAG_AC));
}
