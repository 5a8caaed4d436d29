// Control and debug registers, the paging and mode switches that they make, and the state after reset. Source: Intel
// SDM volume 3, 2.5, 9.1, 9.8.5, 17.2.
import {
  ATTENTION,
  CC_OP,
  CC_SRC,
  CPL,
  CPUID_COUNT,
  CPUID_TABLE,
  CR0,
  CR2,
  CR3,
  CR4,
  DR,
  EFER,
  EFLAGS,
  FCW,
  FTW,
  GDT_BASE,
  GDT_LIMIT,
  GPR,
  HALTED,
  IDT_BASE,
  IDT_LIMIT,
  IN_REGION,
  MISC_ENABLE,
  MODE,
  MTRR_DEF_TYPE,
  MTRR_FIXED,
  MTRR_VARIABLE,
  MXCSR,
  NEXT,
  PAT,
  PKRS,
  PKRU,
  RDX,
  RIP,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SEL,
  SHADOW,
  SPEC_CTRL,
  TSC_OFFSET,
  XCR0,
  cpl,
  in64,
} from './names';
import {
  ATTR_L,
  CR0_AM,
  CR0_CD,
  CR0_EM,
  CR0_ET,
  CR0_MP,
  CR0_NE,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_TS,
  CR0_WP,
  CR4_DE,
  CR4_FSGSBASE,
  CR4_LA57,
  CR4_MCE,
  CR4_OSFXSR,
  CR4_OSXMMEXCPT,
  CR4_OSXSAVE,
  CR4_PAE,
  CR4_PCE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PKS,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CR4_TSD,
  CR4_UMIP,
  EFER_LMA,
  EFER_LME,
  SEG_CS,
  SEG_GS,
  SEG_LDTR,
  SEG_TR,
  VEC_DB,
  VEC_GP,
  VEC_UD,
} from './bits';
import { raise, resetNmi } from './exceptions';
import { debugChanged } from './debug';
import { host_cr8Read, host_cr8Write } from './host';
import { begin, ok } from './memory';
import {
  endBlock,
  failure,
  isMemory,
  opSize,
  outcome,
  r0,
  r1,
  readFirst,
  registerWrite,
  writeFirst,
} from './record';
import { setSegment, updateMode } from './segments';
import { umipForbids } from './segment-ops';
import { tlbFlush, tlbFlushLocal, tlbReset } from './tlb';

const CR0_ALLOWED: u32 =
  CR0_PG | CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD;

/** Bits of CR4 that decide how tables are walked and what their entries allow. */
const CR4_PAGING: u32 =
  CR4_PSE | CR4_PAE | CR4_PGE | CR4_LA57 | CR4_PCIDE | CR4_SMEP | CR4_SMAP | CR4_PKE | CR4_PKS;

/** One register (0 EAX … 3 EDX) of a CPUID leaf; 0 when the leaf is not there. */
export function cpuidRegister(leaf: u32, subleaf: u32, register: i32): u32 {
  const at = findCpuid(leaf, subleaf);
  return at == 0 ? 0 : load<u32>(at + 8 + (register << 2));
}

/** Address of the table's entry for a leaf, 0 when there is none. */
export function findCpuid(leaf: u32, subleaf: u32): i32 {
  const count = load<i32>(CPUID_COUNT);
  for (let n = 0; n < count; n++) {
    const at = CPUID_TABLE + n * 24;
    if (load<u32>(at) != leaf) continue;
    const own = load<u32>(at + 4);
    if (own == 0xffffffff || own == subleaf) return at;
  }
  return 0;
}

/**
 * Canonical for registers that hold linear addresses for later (descriptor tables, bases, entry points): these go by
 * what the processor can do, not by CR4.LA57. SDM 3A 4.5.2.
 */
export function isCanonicalBase(address: u64): bool {
  const unused: i64 = (cpuidRegister(7, 0, 2) & (1 << 16)) != 0 ? 7 : 16;
  return ((((address as i64) << unused) >> unused) as u64) == address;
}

/** The bits of CR4 that this processor's CPUID promises. */
function allowedCr4(): u32 {
  const edx = cpuidRegister(1, 0, 3);
  const ecx = cpuidRegister(1, 0, 2);
  const ebx7 = cpuidRegister(7, 0, 1);
  const ecx7 = cpuidRegister(7, 0, 2);
  let allowed: u32 = CR4_PCE | CR4_DE | CR4_TSD | CR4_PSE | CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT;
  if ((edx & (1 << 7)) != 0) allowed |= CR4_MCE;
  if ((ecx & (1 << 17)) != 0) allowed |= CR4_PCIDE;
  if ((ecx & (1 << 26)) != 0) allowed |= CR4_OSXSAVE;
  if ((ebx7 & 1) != 0) allowed |= CR4_FSGSBASE;
  if ((ebx7 & (1 << 7)) != 0) allowed |= CR4_SMEP;
  if ((ebx7 & (1 << 20)) != 0) allowed |= CR4_SMAP;
  if ((ecx7 & (1 << 2)) != 0) allowed |= CR4_UMIP;
  if ((ecx7 & (1 << 16)) != 0) allowed |= CR4_LA57;
  if ((ecx7 & (1 << 3)) != 0) allowed |= CR4_PKE;
  if ((ecx7 & (1 << 31)) != 0) allowed |= CR4_PKS;
  return allowed;
}

/** Writes CR0 with all checks; false = #GP(0) raised. */
export function writeCr0(value: u64): bool {
  const old = load<u32>(CR0);
  const next = ((value as u32) & CR0_ALLOWED) | CR0_ET;
  const paging = (next & CR0_PG) != 0;
  let wrong = value >> 32 != 0 || (paging && (next & CR0_PE) == 0);
  if ((next & CR0_NW) != 0 && (next & CR0_CD) == 0) wrong = true;
  const efer = load<u32>(EFER);
  const cr4 = load<u32>(CR4);
  const csLong = (load<u32>(SEG_ATTR + (SEG_CS << 2)) & ATTR_L) != 0;
  const toggles = ((old ^ next) & CR0_PG) != 0;
  if (toggles && paging && (efer & EFER_LME) != 0 && ((cr4 & CR4_PAE) == 0 || csLong)) wrong = true;
  if (toggles && !paging && (in64() || (cr4 & CR4_PCIDE) != 0)) wrong = true;
  if (wrong) {
    raise(VEC_GP, 0);
    return false;
  }
  store<u64>(CR0, next);
  if (toggles) {
    if (paging && (efer & EFER_LME) != 0) store<u64>(EFER, efer | EFER_LMA);
    else if (!paging) store<u64>(EFER, efer & ~EFER_LMA);
  }
  if (((old ^ next) & (CR0_PG | CR0_PE | CR0_WP)) != 0) tlbFlush();
  updateMode();
  return true;
}

function writeCr3(value: u64): bool {
  if (in64() || (load<u32>(EFER) & EFER_LMA) != 0) {
    // With PCIDs bit 63 asks to keep the TLB; we may drop it all the same.
    if ((load<u32>(CR4) & CR4_PCIDE) != 0) value &= 0x7fff_ffff_ffff_ffff;
    if (value >> 40 != 0) {
      raise(VEC_GP, 0);
      return false;
    }
  }
  store<u64>(CR3, value);
  tlbFlushLocal();
  return true;
}

function writeCr4(value: u64): bool {
  const old = load<u32>(CR4);
  const next = value as u32;
  const long = (load<u32>(EFER) & EFER_LMA) != 0;
  let wrong = value >> 32 != 0 || (next & ~allowedCr4()) != 0;
  if (long && ((next & CR4_PAE) == 0 || ((old ^ next) & CR4_LA57) != 0)) wrong = true;
  if ((next & CR4_PCIDE) != 0 && (old & CR4_PCIDE) == 0) {
    if (!long || (load<u64>(CR3) & 0xfff) != 0) wrong = true;
  }
  if (wrong) {
    raise(VEC_GP, 0);
    return false;
  }
  store<u64>(CR4, next);
  if (((old ^ next) & CR4_PAGING) != 0) tlbFlush();
  updateMode();
  return true;
}

/** MOV r, CRn: the slot of the second operand holds n. */
export function op_mov_from_cr(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const n = r1(rec);
  let value: u64;
  if (n == 0) value = load<u64>(CR0);
  else if (n == 2) value = load<u64>(CR2);
  else if (n == 3) value = load<u64>(CR3);
  else if (n == 4) value = load<u64>(CR4);
  else if (n == 8) value = (host_cr8Read() & 15) as u64;
  else return raise(VEC_UD, -1);
  store<u64>(r0(rec), in64() ? value : value & 0xffff_ffff);
  return NEXT;
}

export function op_mov_to_cr(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const n = r0(rec);
  let value = load<u64>(r1(rec));
  if (!in64()) value &= 0xffff_ffff;
  if (n == 0) {
    if (!writeCr0(value)) return failure();
  } else if (n == 2) store<u64>(CR2, value);
  else if (n == 3) {
    if (!writeCr3(value)) return failure();
  } else if (n == 4) {
    if (!writeCr4(value)) return failure();
  } else if (n == 8) {
    if (value > 15) return raise(VEC_GP, 0);
    host_cr8Write(value as i32);
  } else return raise(VEC_UD, -1);
  return endBlock(rec);
}

/** DR7.GD: an access to the debug registers is to be reported before it is made. */
const DR7_GD: u64 = 0x2000;
/** DR6.BD: it was. */
const DR6_BD: u64 = 0x2000;

/** With DR7.GD set, MOV DR raises #DB; its delivery clears GD. SDM 3B 17.2.4. */
function detected(): bool {
  if ((load<u64>(DR + 56) & DR7_GD) == 0) return false;
  store<u64>(DR + 48, load<u64>(DR + 48) | DR6_BD);
  raise(VEC_DB, -1);
  return true;
}

/** DR4 and DR5 are DR6 and DR7 unless CR4.DE. SDM 3B 17.2.2. -1 = #UD. */
function debugIndex(n: i32): i32 {
  if (n > 7) return -1;
  if (n == 4 || n == 5) return (load<u32>(CR4) & CR4_DE) != 0 ? -1 : n + 2;
  return n;
}

export function op_mov_from_dr(rec: i32): i32 {
  const n = debugIndex(r1(rec));
  if (n < 0) return raise(VEC_UD, -1);
  if (cpl() != 0) return raise(VEC_GP, 0);
  if (detected()) return failure();
  store<u64>(r0(rec), load<u64>(DR + (n << 3)));
  return NEXT;
}

export function op_mov_to_dr(rec: i32): i32 {
  const n = debugIndex(r0(rec));
  if (n < 0) return raise(VEC_UD, -1);
  if (cpl() != 0) return raise(VEC_GP, 0);
  if (detected()) return failure();
  let value = load<u64>(r1(rec));
  if (!in64()) value &= 0xffff_ffff;
  if (n >= 6) {
    if (value >> 32 != 0) return raise(VEC_GP, 0);
    if (n == 6) value = (value & 0xe00f) | 0xffff_0ff0;
    else value = (value & 0xffff_2bff) | 0x400;
  }
  store<u64>(DR + (n << 3), value);
  if (n == 6) return NEXT;
  debugChanged();
  return endBlock(rec);
}

/** LMSW: the low four bits of CR0; PE can be set and not cleared. */
export function op_lmsw(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  begin();
  const value = readFirst(rec, 2);
  if (ok == 0) return failure();
  const old = load<u64>(CR0);
  if (!writeCr0((old & ~(0xe as u64)) | (value & 0xf))) return failure();
  return endBlock(rec);
}

export function op_smsw(rec: i32): i32 {
  if (umipForbids()) return raise(VEC_GP, 0);
  begin();
  if (isMemory(rec)) writeFirst(rec, 2, load<u64>(CR0) & 0xffff);
  else registerWrite(r0(rec), opSize(rec), load<u64>(CR0));
  return outcome();
}

export function op_clts(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  store<u64>(CR0, load<u64>(CR0) & ~(CR0_TS as u64));
  updateMode();
  return endBlock(rec);
}

/** Fills the fixed MTRRs that cover [from, to), in units of their order, with one memory type. */
function setFixed(first: i32, last: i32, types: u64): void {
  for (let n = first; n <= last; n++) store<u64>(MTRR_FIXED + (n << 3), types);
}

/** The state after power-on reset (SDM 3A table 9-1), but for memory, the CPUID table and what JavaScript owns. */
export function initReset(): void {
  memory.fill(GPR, 0, 16 * 8);
  for (let seg = 0; seg <= SEG_GS; seg++) {
    store<u64>(SEG_BASE + (seg << 3), 0);
    store<u32>(SEG_LIMIT + (seg << 2), 0xffff);
    store<u32>(SEG_SEL + (seg << 2), 0);
    store<u32>(SEG_ATTR + (seg << 2), 0x93);
  }
  store<i32>(MODE, 0);
  setSegment(SEG_CS, 0xf000, 0xffff_0000, 0xffff, 0x9b);
  setSegment(SEG_LDTR, 0, 0, 0xffff, 0x82);
  setSegment(SEG_TR, 0, 0, 0xffff, 0x8b);
  store<u64>(RIP, 0xfff0);
  store<u64>(RDX, cpuidRegister(1, 0, 0));
  store<i32>(EFLAGS, 2);
  store<i32>(CC_OP, 0);
  store<u64>(CC_SRC, 0);
  store<i32>(CPL, 0);
  store<u64>(GDT_BASE, 0);
  store<u32>(GDT_LIMIT, 0xffff);
  store<u64>(IDT_BASE, 0);
  store<u32>(IDT_LIMIT, 0xffff);
  store<u64>(CR0, 0x6000_0010);
  store<u64>(CR2, 0);
  store<u64>(CR3, 0);
  store<u64>(CR4, 0);
  store<u64>(XCR0, 1);
  store<u64>(EFER, 0);
  // STAR … KERNEL_GS_BASE, SYSENTER_*, TSC_AUX lie in one run.
  memory.fill(EFER, 0, PAT - EFER);
  store<u64>(PAT, 0x0007_0406_0007_0406);
  store<u64>(TSC_OFFSET, 0);
  store<u64>(MISC_ENABLE, 1);
  store<u64>(SPEC_CTRL, 0);
  store<u64>(PKRS, 0);
  store<u32>(PKRU, 0);
  memory.fill(DR, 0, 64);
  store<u64>(DR + 48, 0xffff_0ff0);
  store<u64>(DR + 56, 0x400);
  // As firmware leaves them, for kernels that are started without any: write-back, except for the VGA window, the
  // firmware's shadow (write-protected) and the top gigabyte below 4 GiB.
  store<u64>(MTRR_DEF_TYPE, 0xc06);
  setFixed(0, 1, 0x0606_0606_0606_0606);
  setFixed(2, 2, 0);
  setFixed(3, 10, 0x0505_0505_0505_0505);
  memory.fill(MTRR_VARIABLE, 0, 128);
  store<u64>(MTRR_VARIABLE, 0xc000_0000);
  store<u64>(MTRR_VARIABLE + 8, 0xff_c000_0800);
  store<u32>(FCW, 0x37f);
  store<u32>(FCW + 4, 0);
  store<u32>(FTW, 0xffff);
  store<u32>(MXCSR, 0x1f80);
  store<i32>(SHADOW, 0);
  store<i32>(HALTED, 0);
  store<i32>(IN_REGION, 0);
  store<i32>(ATTENTION, 0);
  resetNmi();
  debugChanged();
  tlbReset();
  updateMode();
}
