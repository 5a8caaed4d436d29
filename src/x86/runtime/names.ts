// The layout under one roof, with the few addresses that the runtime computes from it.
import { CPL, EFLAGS, GPR, MODE, MODE_CODE, SEG_ATTR, SEG_BASE, SEG_LIMIT, SEG_SEL } from '../layout';

export * from '../layout';

export const CS_BASE = SEG_BASE + 8;
export const SS_BASE = SEG_BASE + 16;
export const CS_SEL = SEG_SEL + 4;
export const SS_SEL = SEG_SEL + 8;
export const CS_ATTR = SEG_ATTR + 4;
export const SS_ATTR = SEG_ATTR + 8;
export const CS_LIMIT = SEG_LIMIT + 4;
export const SS_LIMIT = SEG_LIMIT + 8;

export function cpl(): i32 {
  return load<i32>(CPL);
}

/** Is the code segment a 64-bit one? */
export function in64(): bool {
  return (load<i32>(MODE) & MODE_CODE) == 2;
}

export function eflags(): i32 {
  return load<i32>(EFLAGS);
}

/** General register `n` (0..15), 64 bits. */
export function gpr(n: i32): u64 {
  return load<u64>(GPR + (n << 3));
}
