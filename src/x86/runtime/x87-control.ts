// x87 control: control and status word, environment (FNSTENV, FLDENV) and whole state (FNSAVE, FRSTOR) in their 16-bit
// and 32-bit formats for real and protected mode, FNINIT, FNCLEX, FWAIT; and what MMX instructions do to the x87.
// Source: SDM volume 1, 8.1.10 and figures 8-9 to 8-12; 9.5.
import {
  CR0,
  FCS,
  FCW,
  FDP,
  FDS,
  FIP,
  FOP,
  FSW,
  FTW,
  MODE,
  MODE_PROTECTED,
  NEXT,
  RAX,
  REC_OPSIZE,
  X87,
} from './names';
import { CR0_EM, CR0_TS } from './bits';
import { begin, ok, readBytes, writeBytes, writeOk } from './memory';
import { linearAt, effectiveAddress } from './record';
import { NORMAL, uClass, unpack80, ZERO } from './softfloat';
import {
  enter,
  enterControl,
  enterWait,
  fault,
  FSW_ES,
  memoryFault,
  note,
  pendingFault,
  slot,
  updateSummary,
} from './x87-state';

const VEC_UD: i32 = 6;
const VEC_NM: i32 = 7;
const FCW_BITS: u32 = 0x1f3f;
/** Bit 6 of the control word reads as one. */
const FCW_FIXED: u32 = 0x40;
const SCRATCH: i32 = memory.data(128, 16) as i32;

export function op_fnstcw(rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  store<u16>(SCRATCH, <u16>load<u32>(FCW));
  return put(rec, 2) ? NEXT : memoryFault();
}

export function op_fldcw(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  if (!get(rec, 2)) return memoryFault();
  setControl(load<u16>(SCRATCH));
  return NEXT;
}

function setControl(word: u32): void {
  store<u32>(FCW, (word & FCW_BITS) | FCW_FIXED);
  updateSummary();
}

export function op_fnstsw(rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  store<u16>(SCRATCH, <u16>load<u32>(FSW));
  return put(rec, 2) ? NEXT : memoryFault();
}

export function op_fnstsw_ax(_rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  store<u16>(RAX, <u16>load<u32>(FSW));
  return NEXT;
}

export function op_fnclex(_rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  store<u32>(FSW, load<u32>(FSW) & 0x7f00);
  return NEXT;
}

function initialise(): void {
  store<u32>(FCW, 0x37f);
  store<u32>(FSW, 0);
  store<u32>(FTW, 0xffff);
  store<u32>(FOP, 0);
  store<u32>(FCS, 0);
  store<u32>(FDS, 0);
  store<u64>(FIP, 0);
  store<u64>(FDP, 0);
}

export function op_fninit(_rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  initialise();
  return NEXT;
}

export function op_fwait(_rec: i32): i32 {
  return enterWait();
}

export function op_fnop(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  return NEXT;
}

/** FENI, FDISI, FSETPM: did something on the 8087 and 80287 only. */
export function op_fnop_control(_rec: i32): i32 {
  return enterControl();
}

/** The tag word with every register's class: 0 valid, 1 zero, 2 special, 3 empty (SDM 8.1.7). */
function fullTags(): u32 {
  const kept = load<u32>(FTW);
  let tags: u32 = 0;
  for (let r = 0; r < 8; r++) {
    let tag: u32 = 3;
    if (((kept >> (r << 1)) & 3) != 3) {
      unpack80(load<u64>(X87 + (r << 4)), load<u16>(X87 + (r << 4) + 8));
      tag = uClass == NORMAL ? 0 : uClass == ZERO ? 1 : 2;
    }
    tags |= tag << (r << 1);
  }
  return tags;
}

/** Bytes of an environment: operand size 16 or 32 bits. */
function environmentSize(rec: i32): i32 {
  return load<u8>(rec + REC_OPSIZE) == 2 ? 14 : 28;
}

/** Environment to SCRATCH. */
function packEnvironment(size: i32): void {
  const real = !(load<i32>(MODE) & MODE_PROTECTED);
  const tags = fullTags();
  // Real mode keeps 20-bit (32-bit format: 32-bit) linear addresses, with the opcode beside the instruction's.
  const ip = real ? <u32>load<u64>(FIP) + (load<u32>(FCS) << 4) : <u32>load<u64>(FIP);
  const dp = real ? <u32>load<u64>(FDP) + (load<u32>(FDS) << 4) : <u32>load<u64>(FDP);
  const op = load<u32>(FOP) & 0x7ff;
  if (size == 14) {
    store<u16>(SCRATCH, <u16>load<u32>(FCW));
    store<u16>(SCRATCH + 2, <u16>load<u32>(FSW));
    store<u16>(SCRATCH + 4, <u16>tags);
    store<u16>(SCRATCH + 6, <u16>ip);
    store<u16>(SCRATCH + 8, <u16>(real ? ((ip >> 4) & 0xf000) | op : load<u32>(FCS)));
    store<u16>(SCRATCH + 10, <u16>dp);
    store<u16>(SCRATCH + 12, <u16>(real ? (dp >> 4) & 0xf000 : load<u32>(FDS)));
    return;
  }
  // Reserved halves are stored as ones.
  const ones: u32 = 0xffff0000;
  store<u32>(SCRATCH, load<u32>(FCW) | ones);
  store<u32>(SCRATCH + 4, load<u32>(FSW) | ones);
  store<u32>(SCRATCH + 8, tags | ones);
  if (real) {
    store<u32>(SCRATCH + 12, (ip & 0xffff) | ones);
    store<u32>(SCRATCH + 16, ((ip >> 4) & 0x0ffff000) | op);
    store<u32>(SCRATCH + 20, (dp & 0xffff) | ones);
    store<u32>(SCRATCH + 24, (dp >> 4) & 0x0ffff000);
  } else {
    store<u32>(SCRATCH + 12, ip);
    store<u32>(SCRATCH + 16, (load<u32>(FCS) & 0xffff) | (op << 16));
    store<u32>(SCRATCH + 20, dp);
    store<u32>(SCRATCH + 24, (load<u32>(FDS) & 0xffff) | ones);
  }
}

function unpackEnvironment(size: i32): void {
  const real = !(load<i32>(MODE) & MODE_PROTECTED);
  const step = size == 14 ? 2 : 4;
  store<u32>(FSW, load<u16>(SCRATCH + step));
  const tags: u32 = load<u16>(SCRATCH + 2 * step);
  // Only emptiness counts: classes are found again from the contents.
  let kept: u32 = 0;
  for (let r = 0; r < 8; r++) if (((tags >> (r << 1)) & 3) == 3) kept |= 3 << (r << 1);
  store<u32>(FTW, kept);
  if (real) {
    const high: u32 = size == 14 ? load<u16>(SCRATCH + 8) : load<u32>(SCRATCH + 16);
    const highData: u32 = size == 14 ? load<u16>(SCRATCH + 12) : load<u32>(SCRATCH + 24);
    store<u64>(FIP, load<u16>(SCRATCH + 3 * step) | ((high & 0x0ffff000) << 4));
    store<u64>(FDP, load<u16>(SCRATCH + 5 * step) | ((highData & 0x0ffff000) << 4));
    store<u32>(FOP, high & 0x7ff);
    store<u32>(FCS, 0);
    store<u32>(FDS, 0);
  } else if (size == 14) {
    store<u64>(FIP, load<u16>(SCRATCH + 6));
    store<u32>(FCS, load<u16>(SCRATCH + 8));
    store<u64>(FDP, load<u16>(SCRATCH + 10));
    store<u32>(FDS, load<u16>(SCRATCH + 12));
    store<u32>(FOP, 0);
  } else {
    store<u64>(FIP, load<u32>(SCRATCH + 12));
    store<u32>(FCS, load<u16>(SCRATCH + 16));
    store<u32>(FOP, load<u16>(SCRATCH + 18) & 0x7ff);
    store<u64>(FDP, load<u32>(SCRATCH + 20));
    store<u32>(FDS, load<u16>(SCRATCH + 24));
  }
  setControl(load<u16>(SCRATCH));
}

/** Moves `size` bytes between SCRATCH and the memory operand, in parts of 64 at most; 0 after a fault. */
function get(rec: i32, size: i32): i32 {
  begin();
  const linear = linearAt(rec, effectiveAddress(rec), size, 0);
  if (!ok) return 0;
  for (let at = 0; at < size; at += 16) {
    const part = size - at < 16 ? size - at : 16;
    if (!readBytes(linear + at, SCRATCH + at, part)) return 0;
  }
  return 1;
}

function put(rec: i32, size: i32): i32 {
  begin();
  const linear = linearAt(rec, effectiveAddress(rec), size, 1);
  if (!ok) return 0;
  if (size > 64 && !writeOk(linear, size)) return 0;
  for (let at = 0; at < size; at += 64) {
    const part = size - at < 64 ? size - at : 64;
    if (!writeBytes(linear + at, SCRATCH + at, part)) return 0;
  }
  return 1;
}

export function op_fnstenv(rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  const size = environmentSize(rec);
  packEnvironment(size);
  if (!put(rec, size)) return memoryFault();
  // All exceptions are masked afterwards.
  setControl(load<u32>(FCW) | 63);
  return NEXT;
}

export function op_fldenv(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  const size = environmentSize(rec);
  if (!get(rec, size)) return memoryFault();
  unpackEnvironment(size);
  return NEXT;
}

export function op_fnsave(rec: i32): i32 {
  const status = enterControl();
  if (status) return status;
  const size = environmentSize(rec);
  packEnvironment(size);
  for (let i = 0; i < 8; i++) {
    store<u64>(SCRATCH + size + 10 * i, load<u64>(slot(i)));
    store<u16>(SCRATCH + size + 10 * i + 8, load<u16>(slot(i) + 8));
  }
  if (!put(rec, size + 80)) return memoryFault();
  initialise();
  return NEXT;
}

export function op_frstor(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  const size = environmentSize(rec);
  if (!get(rec, size + 80)) return memoryFault();
  unpackEnvironment(size);
  for (let i = 0; i < 8; i++) {
    store<u64>(slot(i), load<u64>(SCRATCH + size + 10 * i));
    store<u64>(slot(i) + 8, load<u16>(SCRATCH + size + 10 * i + 8));
  }
  return NEXT;
}

/**
 * What every MMX instruction but EMMS does first: #UD with CR0.EM, #NM with TS, #MF for a pending x87 exception; then
 * TOP is 0 and all tags are valid (SDM volume 3, 12.2). NEXT when the instruction may go on.
 */
export function mmx_enter(): i32 {
  const status = mmxChecks();
  if (status) return status;
  store<u32>(FSW, load<u32>(FSW) & 0xc7ff);
  store<u32>(FTW, 0);
  return NEXT;
}

function mmxChecks(): i32 {
  const cr0 = load<u32>(CR0);
  if (cr0 & CR0_EM) return fault(VEC_UD);
  if (cr0 & CR0_TS) return fault(VEC_NM);
  return load<u32>(FSW) & FSW_ES ? pendingFault() : NEXT;
}

export function op_emms(_rec: i32): i32 {
  const status = mmxChecks();
  if (status) return status;
  store<u32>(FTW, 0xffff);
  return NEXT;
}
