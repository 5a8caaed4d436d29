// Model-specific registers. Those of the local APIC belong to JavaScript; an index that nobody knows raises #GP(0), as
// on real parts. Source: Intel SDM volume 4; AMD APM volume 2, appendix A.
import {
  BUDGET,
  CR0,
  CSTAR,
  EFER,
  FMASK,
  KERNEL_GS_BASE,
  LSTAR,
  MISC_ENABLE,
  MSR_HIGH,
  MSR_LOW,
  MTRR_DEF_TYPE,
  MTRR_FIXED,
  MTRR_VARIABLE,
  NEXT,
  PAT,
  PKRS,
  RAX,
  RCX,
  RDX,
  SEG_BASE,
  SPEC_CTRL,
  STAR,
  SYSENTER_CS,
  SYSENTER_EIP,
  SYSENTER_ESP,
  TSC_AUX,
  TSC_ESTIMATE,
  TSC_OFFSET,
  cpl,
} from './names';
import { CR0_PG, EFER_LMA, EFER_LME, EFER_NXE, EFER_SCE, VEC_GP } from './bits';
import { cpuidRegister, isCanonicalBase } from './control';
import { raise } from './exceptions';
import { host_msrRead, host_msrWrite, host_tsc, host_unsupported } from './host';
import { tlbFlush } from './tlb';
import { setPkrs } from './protection-keys';
import { updateMode } from './segments';
import { UNSUPPORTED_MSR } from './unsupported';
import { endBlock } from './record';

const MSR_TSC: u32 = 0x10;
const MSR_PLATFORM_ID: u32 = 0x17;
const MSR_APIC_BASE: u32 = 0x1b;
const APIC_BASE_EXTD: u64 = 0x400;
const MSR_TSC_ADJUST: u32 = 0x3b;
const MSR_SPEC_CTRL: u32 = 0x48;
const MSR_PRED_CMD: u32 = 0x49;
const MSR_BIOS_SIGN_ID: u32 = 0x8b;
const MSR_MTRR_CAP: u32 = 0xfe;
const MSR_ARCH_CAPABILITIES: u32 = 0x10a;
const MSR_SYSENTER_CS: u32 = 0x174;
const MSR_SYSENTER_ESP: u32 = 0x175;
const MSR_SYSENTER_EIP: u32 = 0x176;
const MSR_MCG_CAP: u32 = 0x179;
const MSR_MCG_STATUS: u32 = 0x17a;
const MSR_MISC_ENABLE: u32 = 0x1a0;
const MSR_DEBUGCTL: u32 = 0x1d9;
const MSR_MTRR_VARIABLE: u32 = 0x200;
const MSR_MTRR_FIX64K: u32 = 0x250;
const MSR_MTRR_FIX16K: u32 = 0x258;
const MSR_MTRR_FIX4K: u32 = 0x268;
const MSR_PAT: u32 = 0x277;
const MSR_MTRR_DEF_TYPE: u32 = 0x2ff;
const MSR_TSC_DEADLINE: u32 = 0x6e0;
const MSR_PKRS: u32 = 0x6e1;
const MSR_X2APIC_FIRST: u32 = 0x800;
const MSR_X2APIC_LAST: u32 = 0x8ff;
const MSR_EFER: u32 = 0xc0000080;
const MSR_STAR: u32 = 0xc0000081;
const MSR_LSTAR: u32 = 0xc0000082;
const MSR_CSTAR: u32 = 0xc0000083;
const MSR_FMASK: u32 = 0xc0000084;
const MSR_FS_BASE: u32 = 0xc0000100;
const MSR_GS_BASE: u32 = 0xc0000101;
const MSR_KERNEL_GS_BASE: u32 = 0xc0000102;
const MSR_TSC_AUX: u32 = 0xc0000103;
const MSR_AMD_EVENT_SELECT: u32 = 0xc0010000;
const MSR_AMD_SYSCFG: u32 = 0xc0010010;
const MSR_AMD_HWCR: u32 = 0xc0010015;
const MSR_AMD_TOP_MEM: u32 = 0xc001001a;
const MSR_AMD_TOP_MEM2: u32 = 0xc001001d;
const MSR_AMD_INT_PENDING: u32 = 0xc0010055;
const MSR_AMD_TSEG_ADDR: u32 = 0xc0010112;
const MSR_AMD_TSEG_MASK: u32 = 0xc0010113;
const MSR_AMD_OSVW_LENGTH: u32 = 0xc0010140;
const MSR_AMD_OSVW_STATUS: u32 = 0xc0010141;
const MSR_AMD_LS_CFG: u32 = 0xc0011020;
const MSR_AMD_IC_CFG: u32 = 0xc0011021;
const MSR_AMD_DE_CFG: u32 = 0xc0011029;

/**
 * Nothing speculates here, so nothing leaks by it: RDCL_NO (0), IBRS_ALL (1), SKIP_L1DFL (3), SSB_NO (4), MDS_NO (5),
 * PSCHANGE_MC_NO (6), TAA_NO (8), SBDR_SSDP_NO FBSDP_NO PSDP_NO (13..15), BHI_NO (20), PBRSB_NO (24), GDS_NO (26),
 * RFDS_NO (27), ITS_NO (62). IBRS_ALL spares kernels their retpolines.
 */
const ARCH_CAPABILITIES: u64 = 0x4000_0000_0d10_e17b;
/** 8 variable ranges, fixed ranges, write combining. */
const MTRR_CAP: u64 = 0x508;

/** MSRs of AMD parts that are kept and have no effect here: 16 values. */
const KEPT: i32 = memory.data(128, 8) as i32;
const TSC_ADJUST: i32 = memory.data(8, 8) as i32;

/** Place of an MSR that is kept without effect, 0 when it is none. */
function keptSlot(index: u32): i32 {
  if (index == MSR_AMD_SYSCFG) return KEPT;
  if (index == MSR_AMD_HWCR) return KEPT + 8;
  if (index == MSR_AMD_TOP_MEM) return KEPT + 16;
  if (index == MSR_AMD_TOP_MEM2) return KEPT + 24;
  if (index == MSR_AMD_INT_PENDING) return KEPT + 32;
  if (index == MSR_AMD_TSEG_ADDR) return KEPT + 40;
  if (index == MSR_AMD_TSEG_MASK) return KEPT + 48;
  if (index == MSR_AMD_LS_CFG) return KEPT + 56;
  if (index == MSR_AMD_IC_CFG) return KEPT + 64;
  if (index == MSR_AMD_DE_CFG) return KEPT + 72;
  if (index == MSR_DEBUGCTL) return KEPT + 80;
  if (index == MSR_AMD_OSVW_LENGTH) return KEPT + 88;
  if (index == MSR_AMD_OSVW_STATUS) return KEPT + 96;
  if (index == MSR_BIOS_SIGN_ID) return KEPT + 104;
  if (index == MSR_MCG_STATUS) return KEPT + 112;
  return 0;
}

/** Place of an MTRR or of another MSR that lives in the state, 0 when it is none. */
function stateSlot(index: u32): i32 {
  if (index >= MSR_MTRR_VARIABLE && index < MSR_MTRR_VARIABLE + 16) {
    return MTRR_VARIABLE + ((index - MSR_MTRR_VARIABLE) << 3);
  }
  if (index == MSR_MTRR_FIX64K) return MTRR_FIXED;
  if (index >= MSR_MTRR_FIX16K && index <= MSR_MTRR_FIX16K + 1) {
    return MTRR_FIXED + 8 + ((index - MSR_MTRR_FIX16K) << 3);
  }
  if (index >= MSR_MTRR_FIX4K && index < MSR_MTRR_FIX4K + 8) {
    return MTRR_FIXED + 24 + ((index - MSR_MTRR_FIX4K) << 3);
  }
  if (index == MSR_MTRR_DEF_TYPE) return MTRR_DEF_TYPE;
  if (index == MSR_PAT) return PAT;
  if (index == MSR_MISC_ENABLE) return MISC_ENABLE;
  if (index == MSR_SYSENTER_CS) return SYSENTER_CS;
  if (index == MSR_SYSENTER_ESP) return SYSENTER_ESP;
  if (index == MSR_SYSENTER_EIP) return SYSENTER_EIP;
  if (index == MSR_EFER) return EFER;
  if (index == MSR_STAR) return STAR;
  if (index == MSR_LSTAR) return LSTAR;
  if (index == MSR_CSTAR) return CSTAR;
  if (index == MSR_FMASK) return FMASK;
  if (index == MSR_FS_BASE) return SEG_BASE + 32;
  if (index == MSR_GS_BASE) return SEG_BASE + 40;
  if (index == MSR_KERNEL_GS_BASE) return KERNEL_GS_BASE;
  if (index == MSR_TSC_AUX) return TSC_AUX;
  return 0;
}

/** MSRs that JavaScript answers for. */
function isOutside(index: u32): bool {
  return (
    index == MSR_APIC_BASE ||
    index == MSR_TSC_DEADLINE ||
    (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST)
  );
}

// The last look at the host's clock: what it said, and BUDGET then. `tscLast` is what was answered last.
let tscRead: u64 = 0;
let tscBudget: i32 = 0;
let tscLast: u64 = 0;
let tscFresh: bool = false;

/** The next RDTSC looks at the host's clock: time has passed that the number of instructions does not tell. */
export function forgetTsc(): void {
  tscFresh = false;
}

/**
 * The time stamp counter now, in nanoseconds and TSC_OFFSET. A look at the host's clock costs as much as a hundred
 * instructions. Between two looks an instruction counts for half a nanosecond, less than nearly all take; should that
 * be too much, the counter goes on by single steps until the clock has caught up.
 */
export function tsc(): u64 {
  const allowed = load<i32>(TSC_ESTIMATE);
  if (allowed == 0) return (host_tsc() as u64) + load<u64>(TSC_OFFSET);
  const budget = load<i32>(BUDGET);
  const done = tscBudget - budget;
  let now: u64;
  if (tscFresh && done >= 0 && done < allowed) now = tscRead + (done >> 1);
  else {
    now = host_tsc() as u64;
    tscRead = now;
    tscBudget = budget;
    tscFresh = true;
  }
  // a clock that has been set back is believed
  if (now <= tscLast && tscLast - now < (allowed as u64)) now = tscLast + 1;
  tscLast = now;
  return now + load<u64>(TSC_OFFSET);
}

function hasSpecCtrl(): bool {
  return (cpuidRegister(7, 0, 3) & (1 << 26)) != 0;
}

function hasArchCapabilities(): bool {
  return (cpuidRegister(7, 0, 3) & (1 << 29)) != 0;
}

function hasPks(): bool {
  return (cpuidRegister(7, 0, 2) & (1 << 31)) != 0;
}

/** "Auth" of AuthenticAMD, as CPUID leaf 0 has it in EBX. */
const AMD: u32 = 0x68747541;

/** Event selections and counters that every AMD processor has (APM volume 2, 13.2.2): here they stay 0. */
function isAmdCounter(index: u32): bool {
  return (
    index >= MSR_AMD_EVENT_SELECT && index < MSR_AMD_EVENT_SELECT + 8 && <u32>cpuidRegister(0, 0, 1) == AMD
  );
}

/** Reads an MSR to MSR_LOW, MSR_HIGH. False = there is none. */
function readMsr(index: u32): bool {
  let value: u64 = 0;
  const slot = stateSlot(index);
  if (slot != 0) value = load<u64>(slot);
  else if (isOutside(index)) return host_msrRead(index) != 0;
  else if (index == MSR_TSC) value = tsc();
  else if (index == MSR_TSC_ADJUST) value = load<u64>(TSC_ADJUST);
  else if (index == MSR_MTRR_CAP) value = MTRR_CAP;
  else if (index == MSR_MCG_CAP || index == MSR_PLATFORM_ID || isAmdCounter(index)) value = 0;
  else if (index == MSR_SPEC_CTRL) {
    if (!hasSpecCtrl()) return false;
    value = load<u64>(SPEC_CTRL);
  } else if (index == MSR_PKRS) {
    if (!hasPks()) return false;
    value = load<u64>(PKRS);
  } else if (index == MSR_ARCH_CAPABILITIES) {
    if (!hasArchCapabilities()) return false;
    value = ARCH_CAPABILITIES;
  } else {
    const kept = keptSlot(index);
    if (kept == 0) return false;
    value = load<u64>(kept);
  }
  store<u32>(MSR_LOW, value as u32);
  store<u32>(MSR_HIGH, (value >> 32) as u32);
  return true;
}

function writeEfer(value: u64): bool {
  const old = load<u32>(EFER);
  const features = cpuidRegister(0x80000001, 0, 3);
  let allowed: u32 = EFER_SCE | EFER_LME | EFER_LMA;
  if ((features & (1 << 20)) != 0) allowed |= EFER_NXE;
  if (value >> 32 != 0 || ((value as u32) & ~allowed) != 0) return false;
  const next = ((value as u32) & ~EFER_LMA) | (old & EFER_LMA);
  if (((old ^ next) & EFER_LME) != 0 && (load<u32>(CR0) & CR0_PG) != 0) return false;
  store<u64>(EFER, next);
  if (((old ^ next) & EFER_NXE) != 0) tlbFlush();
  updateMode();
  return true;
}

/** A memory type of the MTRRs or the PAT: UC, WC, WT, WP, WB, and UC- in the PAT. */
function isMemoryType(type: i32, pat: bool): bool {
  return type == 0 || type == 1 || type == 4 || type == 5 || type == 6 || (pat && type == 7);
}

function eightTypes(value: u64, pat: bool): bool {
  for (let n = 0; n < 8; n++) {
    if (!isMemoryType(((value >> (n << 3)) as i32) & 255, pat)) return false;
  }
  return true;
}

/** May `value` be written to an MSR that lives in the state? */
function acceptable(index: u32, value: u64): bool {
  if (
    index == MSR_LSTAR ||
    index == MSR_CSTAR ||
    index == MSR_FS_BASE ||
    index == MSR_GS_BASE ||
    index == MSR_KERNEL_GS_BASE ||
    index == MSR_SYSENTER_ESP ||
    index == MSR_SYSENTER_EIP
  ) {
    return isCanonicalBase(value);
  }
  if (index == MSR_PAT) return eightTypes(value, true);
  if (index == MSR_MTRR_FIX64K || (index >= MSR_MTRR_FIX16K && index < MSR_MTRR_FIX4K + 8)) {
    return eightTypes(value, false);
  }
  if (index == MSR_MTRR_DEF_TYPE)
    return (value & ~(0xcff as u64)) == 0 && isMemoryType((value as i32) & 255, false);
  if (index == MSR_TSC_AUX || index == MSR_FMASK) return value >> 32 == 0;
  if (index >= MSR_MTRR_VARIABLE && index < MSR_MTRR_VARIABLE + 16) return value >> 40 == 0;
  return true;
}

function writeMsr(index: u32, value: u64): bool {
  if (index == MSR_EFER) return writeEfer(value);
  const slot = stateSlot(index);
  if (slot != 0) {
    if (!acceptable(index, value)) return false;
    store<u64>(slot, value);
    return true;
  }
  if (isOutside(index)) {
    // x2APIC mode cannot be enabled where CPUID does not have it.
    const x2apic = (cpuidRegister(1, 0, 2) & (1 << 21)) != 0;
    if (index == MSR_APIC_BASE && (value & APIC_BASE_EXTD) != 0 && !x2apic) return false;
    store<u32>(MSR_LOW, value as u32);
    store<u32>(MSR_HIGH, (value >> 32) as u32);
    return host_msrWrite(index) != 0;
  }
  if (index == MSR_TSC) {
    const delta = value - tsc();
    store<u64>(TSC_OFFSET, load<u64>(TSC_OFFSET) + delta);
    store<u64>(TSC_ADJUST, load<u64>(TSC_ADJUST) + delta);
    return true;
  }
  if (index == MSR_TSC_ADJUST) {
    store<u64>(TSC_OFFSET, load<u64>(TSC_OFFSET) + value - load<u64>(TSC_ADJUST));
    store<u64>(TSC_ADJUST, value);
    return true;
  }
  if (index == MSR_SPEC_CTRL) {
    // IBRS, STIBP, SSBD, and BHI_DIS_S where it is promised: nothing speculates here.
    const bhi: u64 = (cpuidRegister(7, 2, 3) & 16) != 0 ? 0x400 : 0;
    if (!hasSpecCtrl() || (value & ~(7 | bhi)) != 0) return false;
    store<u64>(SPEC_CTRL, value);
    return true;
  }
  if (index == MSR_PKRS) return hasPks() && setPkrs(value);
  if (index == MSR_PRED_CMD) return hasSpecCtrl() && value <= 1;
  // nothing counts events
  if (isAmdCounter(index)) return true;
  const kept = keptSlot(index);
  if (kept == 0) return false;
  // Microcode revision (AMD and Intel write it before reading): there is no microcode.
  if (index != MSR_BIOS_SIGN_ID) store<u64>(kept, value);
  return true;
}

/** Is the local APIC enabled in its base register? What CPUID's APIC bit tells. */
export function apicEnabled(): bool {
  return host_msrRead(MSR_APIC_BASE) == 0 || (load<u32>(MSR_LOW) & 0x800) != 0;
}

export function op_rdmsr(_rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const index = load<u32>(RCX);
  if (!readMsr(index)) {
    host_unsupported(UNSUPPORTED_MSR, index);
    return raise(VEC_GP, 0);
  }
  store<u64>(RAX, load<u32>(MSR_LOW));
  store<u64>(RDX, load<u32>(MSR_HIGH));
  return NEXT;
}

export function op_wrmsr(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const index = load<u32>(RCX);
  if (!writeMsr(index, (load<u64>(RAX) & 0xffff_ffff) | (load<u64>(RDX) << 32))) {
    host_unsupported(UNSUPPORTED_MSR, index);
    return raise(VEC_GP, 0);
  }
  // EFER may change the mode, and an end-of-interrupt may bring the next interrupt.
  return endBlock(rec);
}
