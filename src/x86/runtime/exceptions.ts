// Exceptions and interrupts: noting one, and delivering it through the IDT of each mode. IRET is in iret.ts.
// Source: Intel SDM volume 3, chapter 6; real mode: 21.1.4.
import {
  ATTENTION,
  ATTENTION_NMI,
  ATTENTION_SHUTDOWN,
  CPL,
  CR0,
  CS_SEL,
  DR,
  EFLAGS,
  EXC_ERROR,
  EXC_VECTOR,
  EXCEPTION,
  HALTED,
  IDT_BASE,
  IDT_LIMIT,
  IN_REGION,
  REEXECUTE,
  RIP,
  RSP,
  SEG_ATTR,
  SEG_BASE,
  SEG_LIMIT,
  SEG_SEL,
  SHADOW,
  SS_SEL,
  STAT_EXCEPTIONS,
  STAT_INTERRUPTS,
  TLB_BASE,
} from './names';
import {
  ATTR_CODE,
  ATTR_CONFORMING,
  ATTR_DB,
  ATTR_L,
  ATTR_P,
  ATTR_RW,
  ATTR_S,
  CR0_PE,
  FLAG_AC,
  FLAG_IF,
  FLAG_NT,
  FLAG_RF,
  FLAG_TF,
  FLAG_VM,
  SEG_CS,
  SEG_DS,
  SEG_ES,
  SEG_FS,
  SEG_GS,
  SEG_SS,
  SEG_TR,
  VEC_DB,
  VEC_DF,
  VEC_GP,
  VEC_NMI,
  VEC_NP,
  VEC_PF,
  VEC_SS,
  VEC_TS,
} from './bits';
import { forgetHits, reportHits } from './debug';
import { flagsChanged, getRflags } from './flags';
import { begin, failed, ok, systemRead } from './memory';
import { clearCanonicalFault, isCanonical } from './mmu';
import {
  attrDpl,
  descriptor,
  descriptorAttr,
  descriptorBase,
  descriptorLimit,
  fetchDescriptor,
  longActive,
  markAccessed,
  setNull,
  setRealSegment,
  setSegment,
  updateMode,
  withinLimit,
} from './segments';
import { frameCommit, frameHere, frameIn, frameLong, framePointer, framePush } from './stack';
import { switchTask, TASK_CALL } from './task';
import { tlbFor } from './tlb';

/** Where an event comes from: that decides the EXT bit of error codes, DPL checks and the RF flag pushed. */
const SOURCE_FAULT = 0;
const SOURCE_EXTERNAL = 1;
export const SOURCE_SOFTWARE = 2;

let nmiBlocked: i32 = 0;
let nmiPending: i32 = 0;

/** Notes an exception (error -1: it has no error code). In a region it notes nothing: the interpreter will. */
export function raise(vector: i32, error: i32): i32 {
  clearCanonicalFault();
  if (load<i32>(IN_REGION) != 0) return REEXECUTE;
  store<i32>(EXC_VECTOR, vector);
  store<i32>(EXC_ERROR, error);
  return EXCEPTION;
}

/** Reads the field at `offset` of the TSS; #TS(TR) when the limit excludes it. */
export function readTss(offset: i32, size: i32, ext: i32): u64 {
  const limit = load<u32>(SEG_LIMIT + (SEG_TR << 2));
  if (((offset + size - 1) as u32) > limit) {
    raise(VEC_TS, (load<u32>(SEG_SEL + (SEG_TR << 2)) & 0xfffc) | ext);
    failed();
    return 0;
  }
  let address = load<u64>(SEG_BASE + (SEG_TR << 3)) + offset;
  if (!longActive()) address &= 0xffff_ffff;
  return systemRead(address, size);
}

/** Is the TSS in TR a 32-bit one (or a 64-bit one)? */
function wideTss(): bool {
  return (load<u32>(SEG_ATTR + (SEG_TR << 2)) & 8) != 0;
}

// A stack segment for an inner ring, checked and not loaded yet.
export let innerSelector: i32 = 0;
export let innerPointer: u64 = 0;
let innerDescriptor: u64 = 0;

/** Reads SS:ESP of `ring` from a 16- or 32-bit TSS and checks the segment. SDM 3A 6.12.1. */
export function fetchInnerStack(ring: i32, ext: i32): bool {
  begin();
  if (wideTss()) {
    innerPointer = readTss(4 + ring * 8, 4, ext);
    if (ok != 0) innerSelector = readTss(8 + ring * 8, 2, ext) as i32;
  } else {
    innerPointer = readTss(2 + ring * 4, 2, ext);
    if (ok != 0) innerSelector = readTss(4 + ring * 4, 2, ext) as i32;
  }
  if (ok == 0) return false;
  if ((innerSelector & 0xfffc) == 0) {
    raise(VEC_TS, ext);
    return false;
  }
  if (!fetchDescriptor(innerSelector, VEC_TS, ext)) return false;
  const attr = descriptorAttr(descriptor);
  const error = (innerSelector & 0xfffc) | ext;
  const data = (attr & (ATTR_S | ATTR_CODE | ATTR_RW)) == (ATTR_S | ATTR_RW);
  if (!data || (innerSelector & 3) != ring || attrDpl(attr) != ring) {
    raise(VEC_TS, error);
    return false;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_SS, error);
    return false;
  }
  if (!markAccessed()) return false;
  innerDescriptor = descriptor;
  return true;
}

/** Starts the frame on the stack that fetchInnerStack found. */
export function frameInner(ext: i32): void {
  frameIn(
    innerPointer,
    descriptorBase(innerDescriptor),
    descriptorLimit(innerDescriptor),
    descriptorAttr(innerDescriptor),
    (innerSelector & 0xfffc) | ext,
  );
}

export function installInnerStack(): void {
  setSegment(
    SEG_SS,
    innerSelector,
    descriptorBase(innerDescriptor),
    descriptorLimit(innerDescriptor),
    descriptorAttr(innerDescriptor),
  );
}

/** Memory rights of `cpl` from now on (the frame is pushed with the rights of the new ring). */
export function setRights(cpl: i32): void {
  store<i32>(TLB_BASE, tlbFor(cpl, load<i32>(EFLAGS) & FLAG_AC));
}

/** RFLAGS as pushed: RF is set for faults, so that an instruction breakpoint does not hit again. SDM 3B 17.3.1.1. */
function flagsImage(vector: i32, source: i32): u64 {
  const flags = getRflags() as u64;
  if (source != SOURCE_FAULT) return flags & ~(FLAG_RF as u64);
  // Faults: all but #DB (here always a trap), NMI, #BP, #OF, #DF, #MC.
  if (vector == VEC_DB) return flags;
  const faults: i32 = 0b1011_0111_1100_1110_0001;
  return vector < 20 && ((faults >> vector) & 1) != 0 ? flags | FLAG_RF : flags;
}

/** Clears TF, NT, RF, VM, and IF if `gate` is an interrupt gate. */
function maskFlags(interruptGate: bool): void {
  let clear = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
  if (interruptGate) clear |= FLAG_IF;
  store<i32>(EFLAGS, load<i32>(EFLAGS) & ~clear);
  flagsChanged();
}

/** Real mode: a far pointer from the table at IDT_BASE, three words on the stack. */
function deliverReal(vector: i32, source: i32, rip: u64): bool {
  const ext: i32 = source == SOURCE_SOFTWARE ? 0 : 1;
  if (((vector * 4 + 3) as u32) > load<u32>(IDT_LIMIT)) {
    raise(VEC_GP, vector * 8 + 2 + ext);
    return false;
  }
  begin();
  const target = systemRead(load<u64>(IDT_BASE) + vector * 4, 4) as u32;
  frameHere();
  framePush(getRflags() as u64, 2);
  framePush(load<u32>(CS_SEL), 2);
  framePush(rip, 2);
  if (ok == 0) return false;
  frameCommit();
  maskFlags(true);
  setRealSegment(SEG_CS, target >> 16);
  store<u64>(RIP, target & 0xffff);
  updateMode();
  return true;
}

/** Checks the code segment of a gate: the selector's descriptor is in `descriptor` afterwards. -1 = raised, else new CPL. */
function gateTarget(selector: i32, ext: i32): i32 {
  if ((selector & 0xfffc) == 0) {
    raise(VEC_GP, ext);
    return -1;
  }
  if (!fetchDescriptor(selector, VEC_GP, ext)) return -1;
  const attr = descriptorAttr(descriptor);
  const error = (selector & 0xfffc) | ext;
  const cpl = load<i32>(CPL);
  const dpl = attrDpl(attr);
  if ((attr & (ATTR_S | ATTR_CODE)) != (ATTR_S | ATTR_CODE) || dpl > cpl) {
    raise(VEC_GP, error);
    return -1;
  }
  if ((attr & ATTR_P) == 0) {
    raise(VEC_NP, error);
    return -1;
  }
  if (longActive() && (attr & (ATTR_L | ATTR_DB)) != ATTR_L) {
    raise(VEC_GP, error);
    return -1;
  }
  if (!markAccessed()) return -1;
  return (attr & ATTR_CONFORMING) != 0 ? cpl : dpl;
}

/** Long mode: 16-byte gates, a 64-bit frame that always holds SS:RSP, stacks by IST or ring. SDM 3A 6.14. */
function deliverLong(vector: i32, error: i32, source: i32, rip: u64): bool {
  const ext: i32 = source == SOURCE_SOFTWARE ? 0 : 1;
  const gateError = vector * 8 + 2;
  if (((vector * 16 + 15) as u32) > load<u32>(IDT_LIMIT)) {
    raise(VEC_GP, gateError + ext);
    return false;
  }
  begin();
  const gate = systemRead(load<u64>(IDT_BASE) + vector * 16, 8);
  const high = ok != 0 ? systemRead(load<u64>(IDT_BASE) + vector * 16 + 8, 4) : 0;
  if (ok == 0) return false;
  const type = ((gate >> 40) as i32) & 0x1f;
  const cpl = load<i32>(CPL);
  if ((type != 14 && type != 15) || (source == SOURCE_SOFTWARE && (((gate >> 45) as i32) & 3) < cpl)) {
    raise(VEC_GP, gateError + ext);
    return false;
  }
  if (((gate >> 47) & 1) == 0) {
    raise(VEC_NP, gateError + ext);
    return false;
  }
  const selector = ((gate >> 16) as i32) & 0xffff;
  const newCpl = gateTarget(selector, ext);
  if (newCpl < 0) return false;
  const codeDescriptor = descriptor;
  const target = (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) | (high << 32);
  if (!isCanonical(target)) {
    raise(VEC_GP, ext);
    return false;
  }

  const ist = ((gate >> 32) as i32) & 7;
  let sp = load<u64>(RSP);
  begin();
  if (ist != 0) sp = readTss(0x1c + ist * 8, 8, ext);
  else if (newCpl != cpl) sp = readTss(4 + newCpl * 8, 8, ext);
  if (ok == 0) return false;
  if (!isCanonical(sp)) {
    raise(VEC_SS, ext);
    return false;
  }
  frameLong(sp & ~(15 as u64));
  setRights(newCpl);
  framePush(load<u32>(SS_SEL), 8);
  framePush(load<u64>(RSP), 8);
  framePush(flagsImage(vector, source), 8);
  framePush(load<u32>(CS_SEL), 8);
  framePush(rip, 8);
  if (error >= 0) framePush(error as u64, 8);
  if (ok == 0) {
    setRights(cpl);
    return false;
  }
  store<u64>(RSP, framePointer());
  store<i32>(CPL, newCpl);
  if (newCpl != cpl) setNull(SEG_SS, newCpl);
  maskFlags(type == 14);
  setSegment(
    SEG_CS,
    (selector & 0xfffc) | newCpl,
    descriptorBase(codeDescriptor),
    descriptorLimit(codeDescriptor),
    descriptorAttr(codeDescriptor),
  );
  store<u64>(RIP, target);
  updateMode();
  return true;
}

/** Protected mode with 8-byte gates of 16 and 32 bits, from virtual-8086 mode too. SDM 3A 6.12, 20.3. */
function deliverProtected(vector: i32, error: i32, source: i32, rip: u64): bool {
  const ext: i32 = source == SOURCE_SOFTWARE ? 0 : 1;
  const gateError = vector * 8 + 2;
  if (((vector * 8 + 7) as u32) > load<u32>(IDT_LIMIT)) {
    raise(VEC_GP, gateError + ext);
    return false;
  }
  begin();
  const gate = systemRead((load<u64>(IDT_BASE) + vector * 8) & 0xffff_ffff, 8);
  if (ok == 0) return false;
  const type = ((gate >> 40) as i32) & 0x1f;
  const cpl = load<i32>(CPL);
  const selector = ((gate >> 16) as i32) & 0xffff;
  const known = type == 5 || type == 6 || type == 7 || type == 14 || type == 15;
  if (!known || (source == SOURCE_SOFTWARE && (((gate >> 45) as i32) & 3) < cpl)) {
    raise(VEC_GP, gateError + ext);
    return false;
  }
  if (((gate >> 47) & 1) == 0) {
    raise(VEC_NP, gateError + ext);
    return false;
  }
  if (type == 5) {
    return switchTask(selector, TASK_CALL, VEC_TS, ext, rip, error);
  }
  const newCpl = gateTarget(selector, ext);
  if (newCpl < 0) return false;
  const codeDescriptor = descriptor;
  const size: i32 = type >= 14 ? 4 : 2;
  const target = size == 4 ? (gate & 0xffff) | ((gate >> 32) & 0xffff_0000) : gate & 0xffff;
  const vm86 = (load<i32>(EFLAGS) & FLAG_VM) != 0;
  if (vm86 && newCpl != 0) {
    raise(VEC_GP, (selector & 0xfffc) | ext);
    return false;
  }
  if (!withinLimit(descriptorAttr(codeDescriptor), descriptorLimit(codeDescriptor), target, 1)) {
    raise(VEC_GP, ext);
    return false;
  }
  const inner = newCpl != cpl;
  if (inner) {
    if (!fetchInnerStack(newCpl, ext)) return false;
    frameInner(ext);
    setRights(newCpl);
  } else {
    frameHere();
  }
  begin();
  if (vm86) {
    framePush(load<u32>(SEG_SEL + (SEG_GS << 2)), size);
    framePush(load<u32>(SEG_SEL + (SEG_FS << 2)), size);
    framePush(load<u32>(SEG_SEL + (SEG_DS << 2)), size);
    framePush(load<u32>(SEG_SEL + (SEG_ES << 2)), size);
  }
  if (inner) {
    framePush(load<u32>(SS_SEL), size);
    framePush(load<u64>(RSP), size);
  }
  framePush(flagsImage(vector, source), size);
  framePush(load<u32>(CS_SEL), size);
  framePush(rip, size);
  if (error >= 0) framePush(error as u64, size);
  if (ok == 0) {
    setRights(cpl);
    return false;
  }
  if (vm86) {
    setNull(SEG_GS, 0);
    setNull(SEG_FS, 0);
    setNull(SEG_DS, 0);
    setNull(SEG_ES, 0);
  }
  if (inner) {
    installInnerStack();
    store<u64>(RSP, framePointer());
  } else {
    frameCommit();
  }
  store<i32>(CPL, newCpl);
  maskFlags((type & 1) == 0);
  setSegment(
    SEG_CS,
    (selector & 0xfffc) | newCpl,
    descriptorBase(codeDescriptor),
    descriptorLimit(codeDescriptor),
    descriptorAttr(codeDescriptor),
  );
  store<u64>(RIP, target);
  updateMode();
  return true;
}

/** DR7.GD: cleared when a #DB is delivered. */
const DR7_GD: u64 = 0x2000;

/** Delivers an event with `rip` as the return address; false = another exception was raised, nothing changed. */
export function deliver(vector: i32, error: i32, source: i32, rip: u64): bool {
  let done: bool;
  if (longActive()) done = deliverLong(vector, error, source, rip);
  else if ((load<u32>(CR0) & CR0_PE) != 0) done = deliverProtected(vector, error, source, rip);
  else done = deliverReal(vector, source, rip);
  if (done) {
    store<i32>(SHADOW, 0);
    if (vector == VEC_DB) store<u64>(DR + 56, load<u64>(DR + 56) & ~DR7_GD);
  }
  return done;
}

/** Contributory exceptions: #DE #TS #NP #SS #GP. SDM 3A table 6-4. */
function isContributory(vector: i32): bool {
  return vector == 0 || (vector >= VEC_TS && vector <= VEC_GP);
}

/** Delivers an event; what fails in doing so becomes the next exception, a double fault or a shutdown (table 6-5). */
function deliverChain(vector: i32, error: i32, source: i32): void {
  store<i32>(IN_REGION, 0);
  let from = source;
  while (!deliver(vector, error, from, load<u64>(RIP))) {
    const second = load<i32>(EXC_VECTOR);
    const severe = from == SOURCE_FAULT;
    if (severe && vector == VEC_DF) {
      store<i32>(ATTENTION, load<i32>(ATTENTION) | ATTENTION_SHUTDOWN);
      return;
    }
    const double =
      severe &&
      ((isContributory(vector) && isContributory(second)) ||
        (vector == VEC_PF && (isContributory(second) || second == VEC_PF)));
    vector = double ? VEC_DF : second;
    error = double ? 0 : load<i32>(EXC_ERROR);
    from = SOURCE_FAULT;
  }
}

/** Delivers EXC_VECTOR, EXC_ERROR; RIP is the instruction that raised it. */
export function deliverException(): void {
  store<u32>(STAT_EXCEPTIONS, load<u32>(STAT_EXCEPTIONS) + 1);
  forgetHits();
  deliverChain(load<i32>(EXC_VECTOR), load<i32>(EXC_ERROR), SOURCE_FAULT);
}

/** Delivers an external interrupt at the present RIP. */
export function deliverInterrupt(vector: i32): void {
  store<u32>(STAT_INTERRUPTS, load<u32>(STAT_INTERRUPTS) + 1);
  store<i32>(HALTED, 0);
  deliverChain(vector, -1, SOURCE_EXTERNAL);
}

/** Delivers an NMI, or keeps it until the IRET of the one that is being handled. SDM 3A 6.7.1. */
export function deliverNmi(): void {
  store<i32>(ATTENTION, load<i32>(ATTENTION) & ~ATTENTION_NMI);
  if (nmiBlocked != 0) {
    nmiPending = 1;
    return;
  }
  nmiBlocked = 1;
  store<i32>(HALTED, 0);
  deliverChain(VEC_NMI, -1, SOURCE_EXTERNAL);
}

/** IRET has been executed: the next NMI may come. */
export function unblockNmi(): void {
  nmiBlocked = 0;
  if (nmiPending == 0) return;
  nmiPending = 0;
  store<i32>(ATTENTION, load<i32>(ATTENTION) | ATTENTION_NMI);
}

export function resetNmi(): void {
  nmiBlocked = 0;
  nmiPending = 0;
}

/** The instruction that has just been executed with TF set causes no single-step trap (see stepDone). */
let stepAnswered: bool = false;

/**
 * To be called by instructions that go to a handler themselves, with RFLAGS.TF as it was before them: they cause no
 * single-step trap when the way there has cleared TF. SDM 3B 17.3.1.4.
 */
export function stepDone(before: i32): void {
  if ((before & FLAG_TF) != 0 && (load<i32>(EFLAGS) & FLAG_TF) == 0) stepAnswered = true;
}

/** DR6 bit 14: the exception comes from single-stepping. */
const DR6_BS: u64 = 0x4000;

/** ATTENTION_TRAP: an instruction has been executed with TF set; RIP is the next one. SDM 3B 17.3.1.4. */
export function trapStep(): void {
  if (stepAnswered) {
    stepAnswered = false;
    return;
  }
  store<u64>(DR + 48, load<u64>(DR + 48) | DR6_BS);
  reportHits();
  deliverTrap();
}

/** Delivers #DB as a trap at the present RIP; DR6 tells why. */
export function deliverTrap(): void {
  store<i32>(HALTED, 0);
  store<u32>(STAT_EXCEPTIONS, load<u32>(STAT_EXCEPTIONS) + 1);
  deliverChain(VEC_DB, -1, SOURCE_EXTERNAL);
}
