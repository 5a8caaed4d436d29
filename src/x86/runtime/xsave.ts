// FXSAVE, FXRSTOR, XSAVE, XSAVEC, XRSTOR for the x87, SSE and PKRU components, LDMXCSR and STMXCSR. The image's first 512
// bytes are the same for all. Source: SDM volume 1, 10.5 and chapter 13; the legacy area: table 10-2.
import {
  CR0,
  CR4,
  FCS,
  FCW,
  FDP,
  FDS,
  FIP,
  FOP,
  FSW,
  FTW,
  IN_REGION,
  in64,
  MXCSR,
  NEXT,
  PKRU,
  PKRU_OFFSET,
  RAX,
  RDX,
  REC_OPSIZE,
  REEXECUTE,
  X87,
  XCR0,
  XMM,
} from './names';
import { CR0_EM, CR0_TS, CR4_OSFXSR, CR4_OSXSAVE } from './bits';
import { raise } from './exceptions';
import { begin, ok, readBytes, writeBytes, writeOk } from './memory';
import { setPkru } from './protection-keys';
import { effectiveAddress, linearAt } from './record';
import { fault, memoryFault, slot, top, updateSummary } from './x87-state';

const VEC_UD: i32 = 6;
const VEC_NM: i32 = 7;
const VEC_GP: i32 = 13;
/** Bits of MXCSR that may be set (MXCSR_MASK). */
const MXCSR_MASK: u32 = 0xffff;
const MXCSR_INITIAL: u32 = 0x1f80;
const COMPONENT_X87: u64 = 1;
const COMPONENT_SSE: u64 = 2;
const COMPONENT_PKRU: u64 = 0x200;
/** The image goes through here: 512 bytes, the 64 of XSAVE's header, the 8 of PKRU. */
const IMAGE: i32 = memory.data(640, 64) as i32;
const HEADER: i32 = 512;
const EXTENDED: i32 = 576;

function badOperand(): i32 {
  return load<i32>(IN_REGION) ? REEXECUTE : raise(VEC_GP, 0);
}

/** Bytes of the SSE part: XMM8 to XMM15 exist in 64-bit mode only. */
function xmmBytes(): i32 {
  return in64() ? 256 : 128;
}

/** Bytes 0 to 23 and 32 to 159: everything of the x87. */
function packX87(rec: i32): void {
  store<u16>(IMAGE, <u16>load<u32>(FCW));
  store<u16>(IMAGE + 2, <u16>load<u32>(FSW));
  let used: u32 = 0;
  for (let r = 0; r < 8; r++) if (((load<u32>(FTW) >> (r << 1)) & 3) != 3) used |= 1 << r;
  store<u16>(IMAGE + 4, <u16>used);
  store<u16>(IMAGE + 6, <u16>(load<u32>(FOP) & 0x7ff));
  if (load<u8>(rec + REC_OPSIZE) == 8) {
    store<u64>(IMAGE + 8, load<u64>(FIP));
    store<u64>(IMAGE + 16, load<u64>(FDP));
  } else {
    store<u64>(IMAGE + 8, (load<u64>(FIP) & 0xffffffff) | ((<u64>load<u32>(FCS) & 0xffff) << 32));
    store<u64>(IMAGE + 16, (load<u64>(FDP) & 0xffffffff) | ((<u64>load<u32>(FDS) & 0xffff) << 32));
  }
  for (let i = 0; i < 8; i++) {
    store<u64>(IMAGE + 32 + 16 * i, load<u64>(slot(i)));
    store<u64>(IMAGE + 40 + 16 * i, load<u16>(slot(i) + 8));
  }
}

function unpackX87(rec: i32): void {
  store<u32>(FCW, (load<u16>(IMAGE) & 0x1f3f) | 0x40);
  store<u32>(FSW, load<u16>(IMAGE + 2));
  const used: u32 = load<u8>(IMAGE + 4);
  let tags: u32 = 0;
  for (let r = 0; r < 8; r++) if (!((used >> r) & 1)) tags |= 3 << (r << 1);
  store<u32>(FTW, tags);
  store<u32>(FOP, load<u16>(IMAGE + 6) & 0x7ff);
  if (load<u8>(rec + REC_OPSIZE) == 8) {
    store<u64>(FIP, load<u64>(IMAGE + 8));
    store<u64>(FDP, load<u64>(IMAGE + 16));
    store<u32>(FCS, 0);
    store<u32>(FDS, 0);
  } else {
    store<u64>(FIP, load<u32>(IMAGE + 8));
    store<u32>(FCS, load<u16>(IMAGE + 12));
    store<u64>(FDP, load<u32>(IMAGE + 16));
    store<u32>(FDS, load<u16>(IMAGE + 20));
  }
  const t = top();
  for (let i = 0; i < 8; i++) {
    const at = X87 + (((t + i) & 7) << 4);
    store<u64>(at, load<u64>(IMAGE + 32 + 16 * i));
    store<u64>(at + 8, load<u16>(IMAGE + 40 + 16 * i));
  }
  updateSummary();
}

function initialX87(): void {
  store<u32>(FCW, 0x37f);
  store<u32>(FSW, 0);
  store<u32>(FTW, 0xffff);
  store<u32>(FOP, 0);
  store<u32>(FCS, 0);
  store<u32>(FDS, 0);
  store<u64>(FIP, 0);
  store<u64>(FDP, 0);
  memory.fill(X87, 0, 128);
}

/** Linear address of the operand, aligned as `align` asks; 0 (with `status` set) when there is a fault. */
let status: i32 = 0;
function operand(rec: i32, size: i32, write: i32, align: u64): u64 {
  begin();
  const linear = linearAt(rec, effectiveAddress(rec), size, write);
  if (!ok) {
    status = memoryFault();
    return 0;
  }
  if (linear & (align - 1)) {
    status = badOperand();
    return 0;
  }
  if (write && !writeOk(linear, size)) {
    status = memoryFault();
    return 0;
  }
  status = NEXT;
  return linear;
}

/** Writes [from, to) of the image. */
function put(linear: u64, from: i32, to: i32): bool {
  for (let at = from; at < to; at += 64) {
    if (!writeBytes(linear + at, IMAGE + at, to - at < 64 ? to - at : 64)) return false;
  }
  return true;
}

function get(linear: u64, from: i32, to: i32): bool {
  for (let at = from; at < to; at += 16) {
    if (!readBytes(linear + at, IMAGE + at, to - at < 16 ? to - at : 16)) return false;
  }
  return true;
}

export function op_fxsave(rec: i32): i32 {
  if (load<u32>(CR0) & (CR0_EM | CR0_TS)) return fault(VEC_NM);
  const linear = operand(rec, 512, 1, 16);
  if (status) return status;
  packX87(rec);
  store<u32>(IMAGE + 24, load<u32>(MXCSR));
  store<u32>(IMAGE + 28, MXCSR_MASK);
  memory.copy(IMAGE + 160, XMM, 256);
  // What lies behind the registers is not written.
  return put(linear, 0, 160 + xmmBytes()) ? NEXT : memoryFault();
}

export function op_fxrstor(rec: i32): i32 {
  if (load<u32>(CR0) & (CR0_EM | CR0_TS)) return fault(VEC_NM);
  const linear = operand(rec, 512, 0, 16);
  if (status) return status;
  if (!get(linear, 0, 416)) return memoryFault();
  // "Attempting to set a reserved bit in MXCSR" is #GP (SDM 10.5.1.2).
  if (load<u32>(IMAGE + 24) & ~MXCSR_MASK) return badOperand();
  unpackX87(rec);
  store<u32>(MXCSR, load<u32>(IMAGE + 24));
  memory.copy(XMM, IMAGE + 160, xmmBytes());
  return NEXT;
}

/** XSAVE feature checks: #UD without CR4.OSXSAVE, #NM with CR0.TS. */
function xsaveAllowed(): bool {
  status = NEXT;
  if (!(load<u32>(CR4) & CR4_OSXSAVE)) status = fault(VEC_UD);
  else if (load<u32>(CR0) & CR0_TS) status = fault(VEC_NM);
  return status == NEXT;
}

/** Components that are enabled and asked for in EDX:EAX. */
function requested(): u64 {
  return load<u64>(XCR0) & (load<u32>(RAX) | ((<u64>load<u32>(RDX)) << 32));
}

/** The SSE state counts as being in use when it differs from its initial configuration. */
function inUse(): u64 {
  let bits = COMPONENT_X87;
  if (load<u32>(MXCSR) != MXCSR_INITIAL) bits |= COMPONENT_SSE;
  for (let at = XMM; at < XMM + 256; at += 8) if (load<u64>(at)) bits |= COMPONENT_SSE;
  if (load<u32>(PKRU)) bits |= COMPONENT_PKRU;
  return bits;
}

/** The compacted form has PKRU, the only extended component here, behind the header. */
function placeOfPkru(compact: bool): i32 {
  return compact ? EXTENDED : PKRU_OFFSET;
}

function save(rec: i32, compact: bool): i32 {
  if (!xsaveAllowed()) return status;
  const linear = operand(rec, 576, 1, 64);
  if (status) return status;
  const mask = requested();
  const keys = mask & COMPONENT_PKRU;
  const keysAt = linear + placeOfPkru(compact);
  if (keys && !writeOk(keysAt, 8)) return memoryFault();
  if (!get(linear, HEADER, HEADER + 8)) return memoryFault();
  let present: u64;
  if (compact) {
    present = inUse() & mask;
    memory.fill(IMAGE + HEADER, 0, 64);
    store<u64>(IMAGE + HEADER + 8, ((<u64>1) << 63) | mask);
  } else {
    // Bits of components that were not asked for stay as they are.
    present =
      (load<u64>(IMAGE + HEADER) & ~mask) |
      ((COMPONENT_X87 | COMPONENT_SSE | (inUse() & COMPONENT_PKRU)) & mask);
  }
  store<u64>(IMAGE + HEADER, present);
  const saved = compact ? present : mask;
  if (saved & COMPONENT_X87) {
    packX87(rec);
    if (!put(linear, 0, 24) || !put(linear, 32, 160)) return memoryFault();
  }
  if (saved & COMPONENT_SSE) {
    store<u32>(IMAGE + 24, load<u32>(MXCSR));
    store<u32>(IMAGE + 28, MXCSR_MASK);
    memory.copy(IMAGE + 160, XMM, 256);
    if (!put(linear, 24, 32) || !put(linear, 160, 160 + xmmBytes())) return memoryFault();
  }
  if (saved & COMPONENT_PKRU) {
    store<u64>(IMAGE + EXTENDED, load<u32>(PKRU));
    if (!writeBytes(keysAt, IMAGE + EXTENDED, 8)) return memoryFault();
  }
  return put(linear, HEADER, HEADER + (compact ? 64 : 8)) ? NEXT : memoryFault();
}

export function op_xsave(rec: i32): i32 {
  return save(rec, false);
}

export function op_xsavec(rec: i32): i32 {
  return save(rec, true);
}

/** Is the header one that XRSTOR accepts (SDM 13.8.1 and 13.8.2)? */
function headerValid(present: u64, compact: u64): bool {
  const enabled = load<u64>(XCR0);
  if (!(compact >> 63)) {
    return !(present & ~enabled) && compact == 0 && load<u64>(IMAGE + HEADER + 16) == 0;
  }
  if (((compact << 1) >> 1) & ~enabled || present & ~compact) return false;
  for (let at = 16; at < 64; at += 8) if (load<u64>(IMAGE + HEADER + at)) return false;
  return true;
}

export function op_xrstor(rec: i32): i32 {
  if (!xsaveAllowed()) return status;
  const linear = operand(rec, 576, 0, 64);
  if (status) return status;
  if (!get(linear, 0, 576)) return memoryFault();
  const present = load<u64>(IMAGE + HEADER);
  const compact = load<u64>(IMAGE + HEADER + 8);
  if (!headerValid(present, compact)) return badOperand();
  const mask = requested();
  const sse = mask & COMPONENT_SSE;
  // The standard form loads MXCSR even when the registers are to be initialised (SDM 13.8.1).
  const loadsControl = sse && (present & COMPONENT_SSE || !(compact >> 63));
  if (loadsControl && load<u32>(IMAGE + 24) & ~MXCSR_MASK) return badOperand();
  const keys = mask & COMPONENT_PKRU;
  store<u64>(IMAGE + EXTENDED, 0);
  if (keys & present) {
    if (!readBytes(linear + placeOfPkru(compact >> 63 != 0), IMAGE + EXTENDED, 8)) return memoryFault();
  }
  if (mask & COMPONENT_X87) {
    if (present & COMPONENT_X87) unpackX87(rec);
    else initialX87();
  }
  if (sse) {
    store<u32>(MXCSR, loadsControl ? load<u32>(IMAGE + 24) : MXCSR_INITIAL);
    if (present & COMPONENT_SSE) memory.copy(XMM, IMAGE + 160, xmmBytes());
    else memory.fill(XMM, 0, xmmBytes());
  }
  if (keys) setPkru(load<u32>(IMAGE + EXTENDED));
  return NEXT;
}

/** #UD or #NM as every SSE instruction may raise them. */
function sseChecks(): i32 {
  const cr0 = load<u32>(CR0);
  if (cr0 & CR0_EM || !(load<u32>(CR4) & CR4_OSFXSR)) return fault(VEC_UD);
  return cr0 & CR0_TS ? fault(VEC_NM) : NEXT;
}

export function op_ldmxcsr(rec: i32): i32 {
  const check = sseChecks();
  if (check) return check;
  const linear = operand(rec, 4, 0, 1);
  if (status) return status;
  if (!get(linear, 0, 4)) return memoryFault();
  if (load<u32>(IMAGE) & ~MXCSR_MASK) return badOperand();
  store<u32>(MXCSR, load<u32>(IMAGE));
  return NEXT;
}

export function op_stmxcsr(rec: i32): i32 {
  const check = sseChecks();
  if (check) return check;
  const linear = operand(rec, 4, 1, 1);
  if (status) return status;
  store<u32>(IMAGE, load<u32>(MXCSR));
  return put(linear, 0, 4) ? NEXT : memoryFault();
}
