// The x87's registers, stack, tags and exceptions, as its instructions see them. Physical registers lie at X87, TOP in
// FSW; tags are kept as 0 (used) or 3 (empty) and told by content where an instruction stores them.
// Source: SDM volume 1, chapter 8.
import {
  CR0,
  CS_SEL,
  FCS,
  FCW,
  FDP,
  FDS,
  FIP,
  FOP,
  FSW,
  FTW,
  IN_REGION,
  NEXT,
  REC_OFFSET,
  REC_LENGTH,
  REC_R0,
  REC_SEG,
  REEXECUTE,
  SEG_SEL,
  VBASE,
  X87,
} from './names';
import { CR0_EM, CR0_MP, CR0_NE, CR0_TS } from './bits';
import { raise } from './exceptions';
import { host_ferr } from './host';
import { effectiveAddress, failure, insnRip } from './record';
import {
  IE,
  packSE,
  PRE,
  sfBeginX87,
  sfFlags,
  sfFormat,
  sfRaise,
  sfTrap,
  sfUp,
  zDefaultNaN,
  zSig,
} from './softfloat';
import { begin, ok, read8 } from './memory';

export const FSW_SF: u32 = 0x40;
export const FSW_ES: u32 = 0x80;
export const FSW_C0: u32 = 0x100;
export const FSW_C1: u32 = 0x200;
export const FSW_C2: u32 = 0x400;
export const FSW_C3: u32 = 0x4000;
export const FSW_B: u32 = 0x8000;
const FSW_TOP: u32 = 0x3800;
const VEC_NM: i32 = 7;
const VEC_MF: i32 = 16;

/** Raises an exception, or leaves a region at this instruction. Nothing may have been changed. */
export function fault(vector: i32): i32 {
  return load<i32>(IN_REGION) ? REEXECUTE : raise(vector, -1);
}

/** Checks before every x87 instruction: #NM. NEXT when it may go on. */
export function enterControl(): i32 {
  if (load<u32>(CR0) & (CR0_EM | CR0_TS)) return fault(VEC_NM);
  return NEXT;
}

/** And before a waiting one: an unmasked exception that is pending. */
export function enter(): i32 {
  if (load<u32>(CR0) & (CR0_EM | CR0_TS)) return fault(VEC_NM);
  return load<u32>(FSW) & FSW_ES ? pendingFault() : NEXT;
}

/** FWAIT heeds TS only together with MP (SDM volume 3, table 2-2). */
export function enterWait(): i32 {
  if ((load<u32>(CR0) & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS)) return fault(VEC_NM);
  return load<u32>(FSW) & FSW_ES ? pendingFault() : NEXT;
}

/** #MF; with CR0.NE clear FERR# instead, and the instruction goes on as if IGNNE# were asserted (SDM 3A 2.5). */
export function pendingFault(): i32 {
  if (load<u32>(CR0) & CR0_NE || load<i32>(IN_REGION)) return fault(VEC_MF);
  host_ferr();
  return NEXT;
}

export function top(): i32 {
  return (load<u32>(FSW) >> 11) & 7;
}

export function setTop(t: i32): void {
  store<u32>(FSW, (load<u32>(FSW) & ~FSW_TOP) | ((t & 7) << 11));
}

/** Address of ST(i). */
export function slot(i: i32): i32 {
  return X87 + (((top() + i) & 7) << 4);
}

export function isEmpty(i: i32): bool {
  return ((load<u32>(FTW) >> (((top() + i) & 7) << 1)) & 3) == 3;
}

export function markUsed(i: i32): void {
  store<u32>(FTW, load<u32>(FTW) & ~(3 << (((top() + i) & 7) << 1)));
}

export function markEmpty(i: i32): void {
  store<u32>(FTW, load<u32>(FTW) | (3 << (((top() + i) & 7) << 1)));
}

export function pop(): void {
  markEmpty(0);
  setTop(top() + 1);
}

/** The register that ModRM.rm names, 0..7. */
export function sti(rec: i32): i32 {
  return load<u16>(rec + REC_R0) & 7;
}

/** Writes Z to ST(i). */
export function putZ(i: i32): void {
  const at = slot(i);
  store<u64>(at, zSig);
  store<u64>(at + 8, packSE());
  markUsed(i);
}

export function putRaw(i: i32, sig: u64, se: i32): void {
  const at = slot(i);
  store<u64>(at, sig);
  store<u64>(at + 8, se & 0xffff);
  markUsed(i);
}

/** Starts an operation whose result has the 80-bit format. */
export function beginExtended(): void {
  const cw = load<u32>(FCW);
  sfBeginX87((cw >> 10) & 3, ~cw & 63);
  sfFormat(64, 16383);
}

/** The same with the precision that FCW asks for: 24, 53 or 64 bits. */
export function beginArithmetic(): void {
  const cw = load<u32>(FCW);
  sfBeginX87((cw >> 10) & 3, ~cw & 63);
  const pc = (cw >> 8) & 3;
  sfFormat(pc == 0 ? 24 : pc == 2 ? 53 : 64, 16383);
}

/** Sets FSW.ES and B when an unmasked exception is pending, clears them when none is. */
export function updateSummary(): void {
  const sw = load<u32>(FSW);
  if (sw & ~load<u32>(FCW) & 63) store<u32>(FSW, sw | FSW_ES | FSW_B);
  else store<u32>(FSW, sw & ~(FSW_ES | FSW_B));
}

/** Reports what the operation raised: flags, C1, summary. True when its result must not be written. */
export function report(rec: i32): bool {
  let sw = load<u32>(FSW) & ~FSW_C1;
  sw |= sfFlags;
  if (sfUp) sw |= FSW_C1;
  if (sfFlags & sfTrap) {
    sw |= FSW_ES | FSW_B;
    noteOpcode(rec);
  }
  store<u32>(FSW, sw);
  return (sfFlags & sfTrap & PRE) != 0;
}

/** Stack fault: underflow (C1 = 0) or overflow (C1 = 1). True when it is unmasked: then nothing more happens. */
export function stackFault(rec: i32, overflow: i32): bool {
  beginExtended();
  sfRaise(IE);
  const stop = report(rec);
  store<u32>(FSW, load<u32>(FSW) | FSW_SF | (overflow ? FSW_C1 : 0));
  return stop;
}

/** Underflow with ST(i) as destination. True when unmasked. */
export function underflowTo(rec: i32, i: i32): bool {
  if (stackFault(rec, 0)) return true;
  zDefaultNaN();
  putZ(i);
  return false;
}

/** Makes room for a new ST(0); false after an unmasked stack overflow. Masked: the new ST(0) shall be a NaN. */
export function overflowPush(rec: i32): void {
  if (stackFault(rec, 1)) return;
  setTop(top() - 1);
  zDefaultNaN();
  putZ(0);
}

/** Remembers where this instruction is (SDM 8.1.8); `rec` has a memory operand when `memory` is 1. */
export function note(rec: i32, memory: i32): void {
  store<u64>(FIP, insnRip(rec));
  store<u32>(FCS, load<u32>(CS_SEL));
  if (memory) {
    store<u64>(FDP, effectiveAddress(rec));
    store<u32>(FDS, load<u32>(SEG_SEL + (load<u8>(rec + REC_SEG) << 2)));
  }
}

/** FOP is kept for unmasked exceptions only (SDM 8.1.9.1): read from the instruction's bytes then. */
function noteOpcode(rec: i32): void {
  if (load<i32>(IN_REGION)) return;
  let at = load<u64>(VBASE) + load<u16>(rec + REC_OFFSET);
  const end = at + load<u8>(rec + REC_LENGTH);
  begin();
  while (at + 1 < end) {
    const byte = read8(at);
    if (!ok) return;
    if ((byte & 0xf8) == 0xd8) {
      const modrm = read8(at + 1);
      if (ok) store<u32>(FOP, ((byte & 7) << 8) | modrm);
      return;
    }
    at++;
  }
}

/** Status after a failed memory access. */
export function memoryFault(): i32 {
  return failure();
}
