// Fast ways into the kernel and back: SYSCALL, SYSRET, SYSENTER, SYSEXIT, SWAPGS; and the software interrupts.
// Source: Intel SDM volume 2, AMD APM volume 2, 6.1.
import {
  CPL,
  CSTAR,
  EFER,
  EFLAGS,
  END_BLOCK,
  FMASK,
  KERNEL_GS_BASE,
  LSTAR,
  NEXT,
  RCX,
  RDX,
  REC_ADDRSIZE,
  REC_IMM,
  RIP,
  RSP,
  SEG_BASE,
  STAR,
  SYSENTER_CS,
  SYSENTER_EIP,
  SYSENTER_ESP,
  GPR,
  cpl,
  in64,
} from './names';
import {
  EFER_SCE,
  FLAG_IF,
  FLAG_OF,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  SEG_CS,
  SEG_GS,
  SEG_SS,
  VEC_BP,
  VEC_BR,
  VEC_DB,
  VEC_GP,
  VEC_OF,
  VEC_UD,
} from './bits';
import { reportHits } from './debug';
import { deliver, raise, SOURCE_SOFTWARE, stepDone, trapStep } from './exceptions';
import { computeFlags, getRflags, setRflags } from './flags';
import { begin, ok, readSized } from './memory';
import { isCanonical } from './mmu';
import { effectiveAddress, failure, linearAt, nextRip, opSize, r0, registerRead, truncate } from './record';
import { isProtected, longActive, setSegment, updateMode } from './segments';

const R11 = GPR + 88;

// Attributes of the flat segments that these instructions load without reading a descriptor.
const CODE64 = 0xa09b;
const CODE32 = 0xc09b;
const DATA32 = 0xc093;
const DPL3 = 0x60;

function flatSegments(codeSelector: i32, codeAttr: i32, stackSelector: i32, ring: i32): void {
  const dpl = ring == 3 ? DPL3 : 0;
  setSegment(SEG_CS, codeSelector, 0, 0xffffffff, codeAttr | dpl);
  setSegment(SEG_SS, stackSelector, 0, 0xffffffff, DATA32 | dpl);
  store<i32>(CPL, ring);
}

export function op_syscall(rec: i32): i32 {
  if ((load<u32>(EFER) & EFER_SCE) == 0 || !isProtected()) return raise(VEC_UD, -1);
  const star = load<u64>(STAR);
  const next = nextRip(rec);
  const selector = ((star >> 32) as i32) & 0xfffc;
  const before = load<i32>(EFLAGS);
  if (longActive()) {
    const flags = getRflags();
    store<u64>(RCX, next);
    store<u64>(R11, (flags & ~FLAG_RF) as u64);
    const target = in64() ? load<u64>(LSTAR) : load<u64>(CSTAR);
    flatSegments(selector, CODE64, selector + 8, 0);
    setRflags(0, (load<u64>(FMASK) as i64) | FLAG_RF);
    store<u64>(RIP, target);
  } else {
    // AMD's form outside long mode: EIP from STAR, IF and VM cleared.
    store<u64>(RCX, next);
    flatSegments(selector, CODE32, selector + 8, 0);
    setRflags(0, FLAG_IF | FLAG_VM | FLAG_RF);
    store<u64>(RIP, star & 0xffff_ffff);
  }
  updateMode();
  stepDone(before);
  return END_BLOCK;
}

/** What SYSRET takes from R11; RF and VM become 0. */
const SYSRET_FLAGS = 0x3c7fd7;

export function op_sysret(rec: i32): i32 {
  if ((load<u32>(EFER) & EFER_SCE) == 0 || !isProtected()) return raise(VEC_UD, -1);
  if (cpl() != 0) return raise(VEC_GP, 0);
  const base = ((load<u64>(STAR) >> 48) as i32) & 0xffff;
  const to64 = in64() && opSize(rec) == 8;
  const target = to64 ? load<u64>(RCX) : load<u64>(RCX) & 0xffff_ffff;
  if (to64 && !isCanonical(target)) return raise(VEC_GP, 0);
  const before = load<i32>(EFLAGS);
  flatSegments(to64 ? (base + 16) | 3 : base | 3, to64 ? CODE64 : CODE32, (base + 8) | 3, 3);
  if (longActive()) setRflags(load<i64>(R11), SYSRET_FLAGS | FLAG_RF | FLAG_VM);
  else setRflags(FLAG_IF, FLAG_IF);
  if (longActive()) store<i32>(EFLAGS, load<i32>(EFLAGS) & ~(FLAG_RF | FLAG_VM));
  store<u64>(RIP, target);
  updateMode();
  // Unlike after POPF and IRET, a TF that SYSRET sets traps at once.
  if ((before & FLAG_TF) == 0 && (load<i32>(EFLAGS) & FLAG_TF) != 0) trapStep();
  return END_BLOCK;
}

export function op_sysenter(_rec: i32): i32 {
  const selector = load<i32>(SYSENTER_CS) & 0xfffc;
  if (!isProtected() || selector == 0) return raise(VEC_GP, 0);
  const long = longActive();
  setRflags(0, FLAG_IF | FLAG_VM | FLAG_RF);
  flatSegments(selector, long ? CODE64 : CODE32, selector + 8, 0);
  store<u64>(RSP, long ? load<u64>(SYSENTER_ESP) : load<u32>(SYSENTER_ESP));
  store<u64>(RIP, long ? load<u64>(SYSENTER_EIP) : load<u32>(SYSENTER_EIP));
  updateMode();
  return END_BLOCK;
}

export function op_sysexit(rec: i32): i32 {
  const base = load<i32>(SYSENTER_CS) & 0xfffc;
  if (!isProtected() || base == 0 || cpl() != 0) return raise(VEC_GP, 0);
  const to64 = in64() && opSize(rec) == 8;
  const rip = to64 ? load<u64>(RDX) : load<u64>(RDX) & 0xffff_ffff;
  const sp = to64 ? load<u64>(RCX) : load<u64>(RCX) & 0xffff_ffff;
  if (to64 && (!isCanonical(rip) || !isCanonical(sp))) return raise(VEC_GP, 0);
  flatSegments((base + (to64 ? 32 : 16)) | 3, to64 ? CODE64 : CODE32, (base + (to64 ? 40 : 24)) | 3, 3);
  store<u64>(RIP, rip);
  store<u64>(RSP, sp);
  updateMode();
  return END_BLOCK;
}

export function op_swapgs(_rec: i32): i32 {
  if (!in64()) return raise(VEC_UD, -1);
  if (cpl() != 0) return raise(VEC_GP, 0);
  const base = load<u64>(SEG_BASE + (SEG_GS << 3));
  store<u64>(SEG_BASE + (SEG_GS << 3), load<u64>(KERNEL_GS_BASE));
  store<u64>(KERNEL_GS_BASE, base);
  return NEXT;
}

/** Delivers a software interrupt whose return address is the next instruction. */
function software(rec: i32, vector: i32): i32 {
  const before = load<i32>(EFLAGS);
  if (!deliver(vector, -1, SOURCE_SOFTWARE, nextRip(rec))) return failure();
  stepDone(before);
  return END_BLOCK;
}

export function op_int3(rec: i32): i32 {
  return software(rec, VEC_BP);
}

/** INT n. In virtual-8086 mode it needs IOPL 3. */
export function op_int(rec: i32): i32 {
  const flags = load<i32>(EFLAGS);
  if ((flags & FLAG_VM) != 0 && ((flags >> 12) & 3) < 3) return raise(VEC_GP, 0);
  return software(rec, load<u8>(rec + REC_IMM));
}

export function op_into(rec: i32): i32 {
  return (computeFlags() & FLAG_OF) != 0 ? software(rec, VEC_OF) : NEXT;
}

/** INT1: a debug trap that no DPL check stops. */
export function op_int1(rec: i32): i32 {
  const before = load<i32>(EFLAGS);
  reportHits();
  if (!deliver(VEC_DB, -1, 1, nextRip(rec))) return failure();
  stepDone(before);
  return END_BLOCK;
}

export function op_ud(_rec: i32): i32 {
  return raise(VEC_UD, -1);
}

/** BOUND r, m: two signed bounds in memory. */
export function op_bound(rec: i32): i32 {
  const size = opSize(rec);
  begin();
  const offset = effectiveAddress(rec);
  const first = linearAt(rec, offset, size, 0);
  // the second bound has an address of its own: with 16 bits it may lie at the start of the segment
  const second = ok != 0 ? linearAt(rec, truncate(offset + size, load<u8>(rec + REC_ADDRSIZE)), size, 0) : 0;
  if (ok == 0) return failure();
  const low = readSized(first, size);
  const high = ok != 0 ? readSized(second, size) : 0;
  if (ok == 0) return failure();
  const index = registerRead(r0(rec), size);
  const shift: i64 = 64 - (size << 3);
  const signed = ((index as i64) << shift) >> shift;
  const inside = signed >= ((low as i64) << shift) >> shift && signed <= ((high as i64) << shift) >> shift;
  return inside ? NEXT : raise(VEC_BR, -1);
}
