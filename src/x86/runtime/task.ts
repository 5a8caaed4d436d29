// Hardware task switches through 16- and 32-bit task state segments, outside long mode: far JMP and CALL to a TSS or a
// task gate, interrupts through task gates, IRET with NT. Source: Intel SDM volume 3, chapter 8 ("Task Management").
import {
  ATTENTION,
  ATTENTION_SHUTDOWN,
  CPL,
  CR0,
  CR3,
  CS_LIMIT,
  EFLAGS,
  GPR,
  RIP,
  SEG_ATTR,
  SEG_BASE,
  SEG_SEL,
  TLB_BASE,
} from './names';
import {
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_P,
  ATTR_RW,
  ATTR_S,
  CR0_PG,
  CR0_TS,
  FLAG_NT,
  FLAG_VM,
  SEG_CS,
  SEG_ES,
  SEG_GS,
  SEG_LDTR,
  SEG_SS,
  SEG_TR,
  VEC_GP,
  VEC_NP,
  VEC_SS,
  VEC_TS,
} from './bits';
import { deliverException, raise } from './exceptions';
import { getRflags, setRflags } from './flags';
import { begin, ok, systemRead, systemWrite, writeOk } from './memory';
import { systemTlb, tlbFlushLocal } from './tlb';
import {
  attrDpl,
  descriptor,
  descriptorAddress,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  fetchDescriptor,
  installDescriptor,
  markAccessed,
  readDescriptor,
  setNull,
  setSegment,
  setVm86Segment,
  updateMode,
} from './segments';
import { frameCommit, frameHere, framePush } from './stack';

// How a switch comes about: it decides about busy bits, the back link and NT. SDM 3A table 8-2.
export const TASK_JUMP = 0;
export const TASK_CALL = 1;
export const TASK_IRET = 2;

/** Offsets in a 32-bit TSS; the 16-bit one has words in the same order from 0Eh on, without CR3, FS and GS. */
const TSS32_CR3 = 0x1c;
const TSS32_EIP = 0x20;
const TSS16_IP = 0x0e;
/** Smallest limits. */
const TSS32_LIMIT: u32 = 0x67;
const TSS16_LIMIT: u32 = 0x2b;
/** Items from the instruction pointer on: EIP EFLAGS, 8 registers, ES CS SS DS [FS GS] LDT. */
const FIRST_REGISTER = 2;
const FIRST_SEGMENT = 10;

/** The new task's image: CR3, then EIP … LDT in the order of the TSS, 8 bytes each. */
const IMAGE: i32 = memory.data(160, 8) as i32;

/** Switches under way one inside the other: the guest cannot make us recurse without end. */
let depth: i32 = 0;

function item(n: i32): u64 {
  return load<u64>(IMAGE + 8 + (n << 3));
}

function wide(attr: i32): bool {
  return (attr & 8) != 0;
}

/** Address of item `n` of a TSS. */
function itemAt(base: u64, isWide: bool, n: i32): u64 {
  return (base + (isWide ? TSS32_EIP + n * 4 : TSS16_IP + n * 2)) & 0xffff_ffff;
}

/** Could [base, base + size) be written with supervisor rights? It may span two pages. */
function writable(base: u64, size: i32): bool {
  const tlb = load<i32>(TLB_BASE);
  store<i32>(TLB_BASE, systemTlb());
  const result = writeOk(base, size);
  store<i32>(TLB_BASE, tlb);
  return result != 0;
}

/** Sets or clears the busy bit in the descriptor of a TSS. */
function setBusy(selector: i32, busy: bool): void {
  if (readDescriptor(selector) <= 0) return;
  const type = (descriptor >> 40) & 0xff;
  systemWrite(descriptorAddress + 5, 1, busy ? type | 2 : type & ~(2 as u64));
}

/** Writes the registers of the running task to its TSS. */
function saveTask(base: u64, isWide: bool, rip: u64, flags: u64): void {
  const size = isWide ? 4 : 2;
  systemWrite(itemAt(base, isWide, 0), size, rip);
  systemWrite(itemAt(base, isWide, 1), size, flags);
  for (let n = 0; n < 8; n++) {
    systemWrite(itemAt(base, isWide, FIRST_REGISTER + n), size, load<u64>(GPR + (n << 3)));
  }
  const segments = isWide ? 6 : 4;
  for (let n = 0; n < segments; n++) {
    systemWrite(itemAt(base, isWide, FIRST_SEGMENT + n), 2, load<u32>(SEG_SEL + (n << 2)));
  }
}

/** Reads a task's image; clears `ok` where its TSS cannot be read. */
function readTask(base: u64, isWide: bool): void {
  const size = isWide ? 4 : 2;
  store<u64>(IMAGE, isWide ? systemRead((base + TSS32_CR3) & 0xffff_ffff, 4) : load<u64>(CR3));
  const items = isWide ? 17 : 15;
  for (let n = 0; n < items; n++) {
    if (ok == 0) return;
    const selector = n >= FIRST_SEGMENT;
    store<u64>(IMAGE + 8 + (n << 3), systemRead(itemAt(base, isWide, n), selector ? 2 : size));
  }
  if (isWide) return;
  // A 16-bit task has no FS and GS, and its LDT comes two items earlier.
  store<u64>(IMAGE + 8 + 16 * 8, item(14));
  store<u64>(IMAGE + 8 + 14 * 8, 0);
  store<u64>(IMAGE + 8 + 15 * 8, 0);
}

/**
 * Switches to the task that `selector` names; `rip` is where the old one goes on. False = an exception was raised in
 * the old task and nothing has changed: `vector`(selector) for a selector that is no TSS's. What goes wrong after
 * that happens in the new task, and is delivered there. `error` ≥ 0 is pushed on the new task's stack.
 */
export function switchTask(selector: i32, how: i32, vector: i32, ext: i32, rip: u64, error: i32): bool {
  const code = (selector & 0xfffc) | ext;
  if (code == ext || (selector & 4) != 0) {
    raise(vector, code);
    return false;
  }
  if (!fetchDescriptor(selector, vector, ext)) return false;
  const attr = descriptorAttr(descriptor);
  const type = attr & 0x1f;
  const available = type == 1 || type == 9;
  const busy = type == 3 || type == 11;
  if (how == TASK_IRET ? !busy : !available) {
    raise(vector, code);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_NP, code);
    return false;
  }
  const isWide = wide(attr);
  const base = descriptorBase(descriptor);
  const limit = descriptorLimit(descriptor);
  const least = isWide ? TSS32_LIMIT : TSS16_LIMIT;
  if (limit < least) {
    raise(VEC_TS, code);
    return false;
  }

  const oldSelector = load<u32>(SEG_SEL + (SEG_TR << 2));
  const oldBase = load<u64>(SEG_BASE + (SEG_TR << 3));
  const oldWide = wide(load<u32>(SEG_ATTR + (SEG_TR << 2)));
  begin();
  readTask(base, isWide);
  if (ok == 0 || !writable(oldBase, oldWide ? 0x60 : 0x2a)) return false;
  if (how == TASK_CALL && !writable(base, 2)) return false;

  let flags = getRflags() as u64;
  if (how == TASK_IRET) flags &= ~(FLAG_NT as u64);
  saveTask(oldBase, oldWide, rip, flags);
  if (how != TASK_CALL) setBusy(oldSelector, false);
  if (how == TASK_CALL) systemWrite(base, 2, oldSelector);
  if (how != TASK_IRET) setBusy(selector, true);
  setSegment(SEG_TR, selector, base, limit, attr | 2);
  store<u64>(CR0, load<u64>(CR0) | CR0_TS);
  enterTask(isWide, how == TASK_CALL, error);
  return true;
}

/** The point of no return is behind us: takes over the image; exceptions are those of the new task. */
function enterTask(isWide: bool, nested: bool, error: i32): void {
  if (isWide && (load<u32>(CR0) & CR0_PG) != 0 && load<u64>(CR3) != load<u64>(IMAGE)) {
    store<u64>(CR3, load<u64>(IMAGE));
    tlbFlushLocal();
  }
  store<u64>(RIP, item(0));
  setRflags((item(1) | (nested ? FLAG_NT : 0)) as i64, isWide ? 0x3f7fd5 : 0x7fd5);
  for (let n = 0; n < 8; n++) {
    const register = GPR + (n << 3);
    const value = item(FIRST_REGISTER + n);
    if (isWide) store<u64>(register, value);
    else store<u64>(register, (load<u64>(register) & 0xffff_0000) | value);
  }
  const loaded = loadTask(error, isWide);
  updateMode();
  if (loaded) return;
  if (depth >= 3) {
    store<i32>(ATTENTION, load<i32>(ATTENTION) | ATTENTION_SHUTDOWN);
    return;
  }
  depth++;
  deliverException();
  depth--;
}

/** Loads LDTR and the segments of the new task. False = exception raised. */
function loadTask(error: i32, isWide: bool): bool {
  const codeSelector = item(FIRST_SEGMENT + SEG_CS) as i32;
  const vm86 = (load<i32>(EFLAGS) & FLAG_VM) != 0;
  store<i32>(CPL, vm86 ? 3 : codeSelector & 3);
  for (let seg = SEG_ES; seg <= SEG_GS; seg++) setNull(seg, item(FIRST_SEGMENT + seg) as i32);
  const table = item(FIRST_SEGMENT + 6) as i32;
  setNull(SEG_LDTR, table);
  if ((table & 0xfffc) != 0) {
    if ((table & 4) != 0 || readDescriptor(table) <= 0 || (descriptorAttr(descriptor) & 0x9f) != 0x82) {
      raise(VEC_TS, table & 0xfffc);
      return false;
    }
    setSegment(SEG_LDTR, table, descriptorBase(descriptor), descriptorLimit(descriptor), 0x82);
  }
  if (vm86) {
    for (let seg = SEG_ES; seg <= SEG_GS; seg++) setVm86Segment(seg, item(FIRST_SEGMENT + seg) as i32);
  } else {
    if (!loadTaskSegment(SEG_CS, codeSelector)) return false;
    updateMode();
    for (let seg = SEG_SS; seg <= SEG_GS; seg++) {
      if (!loadTaskSegment(seg, item(FIRST_SEGMENT + seg) as i32)) return false;
    }
    if (!loadTaskSegment(SEG_ES, item(FIRST_SEGMENT) as i32)) return false;
  }
  updateMode();
  if (load<u64>(RIP) > load<u32>(CS_LIMIT)) {
    raise(VEC_GP, 0);
    return false;
  }
  if (error < 0) return true;
  begin();
  frameHere();
  framePush(error as u64, isWide ? 4 : 2);
  if (ok == 0) return false;
  frameCommit();
  return true;
}

/** One segment of the new task: CPL is the new one already. SDM 3A table 8-1. */
function loadTaskSegment(seg: i32, selector: i32): bool {
  const code = selector & 0xfffc;
  const cpl = load<i32>(CPL);
  if (code == 0) {
    if (seg != SEG_CS && seg != SEG_SS) return true;
    raise(VEC_TS, 0);
    return false;
  }
  if (!fetchDescriptor(selector, VEC_TS, 0)) return false;
  const attr = descriptorAttr(descriptor);
  const dpl = attrDpl(attr);
  const rpl = selector & 3;
  const isCode = (attr & ATTR_CODE) != 0;
  const conforming = isCode && (attr & ATTR_CONFORMING) != 0;
  let allowed: bool;
  if (seg == SEG_CS) allowed = isCode && (conforming ? dpl <= rpl : dpl == rpl);
  else if (seg == SEG_SS) allowed = !isCode && (attr & ATTR_RW) != 0 && dpl == cpl && rpl == cpl;
  else allowed = (!isCode || (attr & ATTR_RW) != 0) && (conforming || (dpl >= cpl && dpl >= rpl));
  if ((attr & ATTR_S) == 0 || !allowed) {
    raise(VEC_TS, code);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(seg == SEG_SS ? VEC_SS : VEC_NP, code);
    return false;
  }
  if (!markAccessed()) return false;
  installDescriptor(seg, selector);
  return true;
}
