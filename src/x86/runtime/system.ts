// The rest of the system instructions: interrupt flag, halting, identification, time, randomness, cache and TLB
// management, FS and GS bases, extended control registers. Source: Intel SDM volume 2.
import {
  CR4,
  EFLAGS,
  HALTED,
  NEXT,
  PKRU_OFFSET,
  RAX,
  RBX,
  RCX,
  RDX,
  SEG_BASE,
  SHADOW,
  TSC_AUX,
  XCR0,
  cpl,
  in64,
} from './names';
import {
  CR4_FSGSBASE,
  CR4_OSXSAVE,
  CR4_PCIDE,
  CR4_PKE,
  CR4_TSD,
  FLAGS_ARITHMETIC,
  FLAG_AC,
  FLAG_CF,
  FLAG_IF,
  FLAG_RF,
  FLAG_VIF,
  FLAG_VIP,
  FLAG_VM,
  SEG_FS,
  SEG_GS,
  VEC_GP,
  VEC_UD,
} from './bits';
import { cpuidRegister, findCpuid, isCanonicalBase } from './control';
import { raise } from './exceptions';
import { flagsChanged, getRflags, setArithmetic, setRflags } from './flags';
import { host_random } from './host';
import { changeableFlags } from './iret';
import { begin, ok, read64, read8 } from './memory';
import { tlbFlush, tlbFlushLocal, tlbFlushPage } from './tlb';
import { apicEnabled, tsc } from './msr';
import {
  effectiveAddress,
  endBlock,
  failure,
  linearAt,
  opSize,
  outcome,
  r0,
  registerRead,
  registerWrite,
} from './record';
import { frameCommit, frameHere, framePop, framePush } from './stack';

/** Does CPL (virtual-8086 mode counts as 3) allow CLI, STI, and POPF to change IF? */
function ioPrivileged(): bool {
  return cpl() <= ((load<i32>(EFLAGS) >> 12) & 3);
}

export function op_cli(_rec: i32): i32 {
  if (!ioPrivileged()) return raise(VEC_GP, 0);
  store<i32>(EFLAGS, load<i32>(EFLAGS) & ~FLAG_IF);
  return NEXT;
}

/** STI: interrupts stay off for one more instruction when they were off. */
export function op_sti(rec: i32): i32 {
  if (!ioPrivileged()) return raise(VEC_GP, 0);
  const flags = load<i32>(EFLAGS);
  if ((flags & FLAG_IF) != 0) return NEXT;
  store<i32>(EFLAGS, flags | FLAG_IF);
  store<i32>(SHADOW, 1);
  return endBlock(rec);
}

/** In virtual-8086 mode PUSHF and POPF need IOPL 3. */
function flagsForbidden(): bool {
  const flags = load<i32>(EFLAGS);
  return (flags & FLAG_VM) != 0 && ((flags >> 12) & 3) < 3;
}

export function op_pushf(rec: i32): i32 {
  if (flagsForbidden()) return raise(VEC_GP, 0);
  begin();
  frameHere();
  framePush((getRflags() & ~(FLAG_RF | FLAG_VM)) as u64, opSize(rec));
  if (ok == 0) return failure();
  frameCommit();
  return NEXT;
}

export function op_popf(rec: i32): i32 {
  if (flagsForbidden()) return raise(VEC_GP, 0);
  const size = opSize(rec);
  begin();
  frameHere();
  const value = framePop(size) as i64;
  if (ok == 0) return failure();
  frameCommit();
  const ring = cpl();
  let mask = changeableFlags(size, ring);
  // POPF always leaves RF clear; VIF and VIP are cleared at CPL 0. SDM 2 table 4-15.
  let kept = value & ~FLAG_RF;
  if (size >= 4 && ring == 0) {
    mask |= FLAG_VIF | FLAG_VIP;
    kept &= ~(FLAG_VIF | FLAG_VIP);
  }
  const old = load<i32>(EFLAGS);
  setRflags(kept, mask);
  return ((old ^ load<i32>(EFLAGS)) & ~FLAGS_ARITHMETIC) != 0 ? endBlock(rec) : NEXT;
}

/** CLAC and STAC take effect with the next access: TLB_BASE changes. */
function setAc(on: bool): i32 {
  if (cpl() != 0) return raise(VEC_UD, -1);
  const flags = load<i32>(EFLAGS);
  store<i32>(EFLAGS, on ? flags | FLAG_AC : flags & ~FLAG_AC);
  flagsChanged();
  return NEXT;
}

export function op_clac(_rec: i32): i32 {
  return setAc(false);
}
export function op_stac(_rec: i32): i32 {
  return setAc(true);
}

export function op_hlt(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  store<i32>(HALTED, 1);
  return endBlock(rec);
}

export function op_nop(_rec: i32): i32 {
  return NEXT;
}

/** WBINVD, INVD, WBNOINVD: there is no cache. */
export function op_wbinvd(_rec: i32): i32 {
  return cpl() != 0 ? raise(VEC_GP, 0) : NEXT;
}

/** CLFLUSH and its kind: only the access check of a byte read. */
export function op_clflush(rec: i32): i32 {
  begin();
  const linear = linearAt(rec, effectiveAddress(rec), 1, 0);
  if (ok != 0) read8(linear);
  return outcome();
}

export function op_invlpg(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const offset = effectiveAddress(rec);
  begin();
  const linear = linearAt(rec, offset, 1, 0);
  if (ok == 0) return failure();
  tlbFlushPage(linear);
  return endBlock(rec);
}

/** INVPCID: type in a register, descriptor of 16 bytes in memory. */
export function op_invpcid(rec: i32): i32 {
  if (cpl() != 0) return raise(VEC_GP, 0);
  const type = registerRead(r0(rec), in64() ? 8 : 4);
  begin();
  const linear = linearAt(rec, effectiveAddress(rec), 16, 0);
  if (ok == 0) return failure();
  const pcid = read64(linear);
  const address = ok != 0 ? read64(linear + 8) : 0;
  if (ok == 0) return failure();
  let wrong = type > 3;
  if (type < 2) {
    if (pcid >> 12 != 0) wrong = true;
    if ((load<u32>(CR4) & CR4_PCIDE) == 0 && pcid != 0) wrong = true;
    if (type == 0 && !isCanonicalBase(address)) wrong = true;
  }
  if (wrong) return raise(VEC_GP, 0);
  // 0: one address, 1: one PCID, 2: all, 3: all but global pages.
  if (type == 0) tlbFlushPage(address);
  else if (type == 2) tlbFlush();
  else tlbFlushLocal();
  return endBlock(rec);
}

export function op_cpuid(_rec: i32): i32 {
  const leaf = load<u32>(RAX);
  const at = findCpuid(leaf, load<u32>(RCX));
  let eax: u32 = 0;
  let ebx: u32 = 0;
  let ecx: u32 = 0;
  let edx: u32 = 0;
  if (at != 0) {
    eax = load<u32>(at + 8);
    ebx = load<u32>(at + 12);
    ecx = load<u32>(at + 16);
    edx = load<u32>(at + 20);
    // OSXSAVE and OSPKE mirror CR4, APIC the enable bit of its base register.
    if (leaf == 1) {
      ecx &= ~(1 << 27);
      if ((load<u32>(CR4) & CR4_OSXSAVE) != 0) ecx |= 1 << 27;
      if (!apicEnabled()) edx &= ~(1 << 9);
    } else if (leaf == 7) {
      if ((load<u32>(CR4) & CR4_PKE) != 0 && load<u32>(RCX) == 0) ecx |= 1 << 4;
    } else if (leaf == 0xd && (load<u32>(XCR0) & XCR0_PKRU) != 0) {
      // Size of the states that XCR0 enables: in the standard form, and in the compacted one.
      if (load<u32>(RCX) == 0) ebx = PKRU_OFFSET + 8;
      else if (load<u32>(RCX) == 1 && ebx != 0) ebx += 8;
    }
  }
  store<u64>(RAX, eax);
  store<u64>(RBX, ebx);
  store<u64>(RCX, ecx);
  store<u64>(RDX, edx);
  return NEXT;
}

const XCR0_PKRU: u32 = 0x200;

/** CR4.TSD keeps the time stamp counter from CPL 3. */
function timeForbidden(): bool {
  return cpl() != 0 && (load<u32>(CR4) & CR4_TSD) != 0;
}

function storeTsc(): void {
  const now = tsc();
  store<u64>(RAX, now & 0xffff_ffff);
  store<u64>(RDX, now >> 32);
}

export function op_rdtsc(_rec: i32): i32 {
  if (timeForbidden()) return raise(VEC_GP, 0);
  storeTsc();
  return NEXT;
}

export function op_rdtscp(_rec: i32): i32 {
  if (timeForbidden()) return raise(VEC_GP, 0);
  storeTsc();
  store<u64>(RCX, load<u32>(TSC_AUX));
  return NEXT;
}

/** RDPMC: CPUID promises no counters, so that every index is out of range. */
export function op_rdpmc(_rec: i32): i32 {
  return raise(VEC_GP, 0);
}

export function op_rdpid(rec: i32): i32 {
  store<u64>(r0(rec), load<u32>(TSC_AUX));
  return NEXT;
}

/** RDRAND and RDSEED: CF = 1, the other arithmetic flags 0. */
export function op_rdrand(rec: i32): i32 {
  let value = host_random() as u32 as u64;
  if (opSize(rec) == 8) value |= (host_random() as u32 as u64) << 32;
  registerWrite(r0(rec), opSize(rec), value);
  setArithmetic(FLAG_CF);
  return NEXT;
}

function baseForbidden(): bool {
  return !in64() || (load<u32>(CR4) & CR4_FSGSBASE) == 0;
}

function readBase(rec: i32, seg: i32): i32 {
  if (baseForbidden()) return raise(VEC_UD, -1);
  registerWrite(r0(rec), opSize(rec), load<u64>(SEG_BASE + (seg << 3)));
  return NEXT;
}

function writeBase(rec: i32, seg: i32): i32 {
  if (baseForbidden()) return raise(VEC_UD, -1);
  const base = registerRead(r0(rec), opSize(rec));
  if (!isCanonicalBase(base)) return raise(VEC_GP, 0);
  store<u64>(SEG_BASE + (seg << 3), base);
  return NEXT;
}

export function op_rdfsbase(rec: i32): i32 {
  return readBase(rec, SEG_FS);
}
export function op_rdgsbase(rec: i32): i32 {
  return readBase(rec, SEG_GS);
}
export function op_wrfsbase(rec: i32): i32 {
  return writeBase(rec, SEG_FS);
}
export function op_wrgsbase(rec: i32): i32 {
  return writeBase(rec, SEG_GS);
}

export function op_xgetbv(_rec: i32): i32 {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) return raise(VEC_UD, -1);
  if (load<u32>(RCX) != 0) return raise(VEC_GP, 0);
  store<u64>(RAX, load<u32>(XCR0));
  store<u64>(RDX, load<u32>(XCR0 + 4));
  return NEXT;
}

export function op_xsetbv(rec: i32): i32 {
  if ((load<u32>(CR4) & CR4_OSXSAVE) == 0) return raise(VEC_UD, -1);
  if (cpl() != 0 || load<u32>(RCX) != 0) return raise(VEC_GP, 0);
  const value = (load<u32>(RAX) as u64) | ((load<u32>(RDX) as u64) << 32);
  const allowed = cpuidRegister(0xd, 0, 0) as u64;
  // The x87 bit cannot be cleared. SDM 1 13.3.
  if ((value & ~allowed) != 0 || (value & 1) == 0) return raise(VEC_GP, 0);
  store<u64>(XCR0, value);
  return endBlock(rec);
}
