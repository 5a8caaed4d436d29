// String instructions: MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS with their repeat prefixes. Repeated ones go page by page
// on host addresses where both sides are plain RAM, and item by item elsewhere; every item is a place where the
// instruction may stop (fault, interrupt, leaving a region) with RCX, RSI and RDI telling how far it came.
// Source: Intel SDM volume 1, 7.3.9; volume 2, "REP".
import {
  ATTENTION,
  CC_DST,
  CC_OP,
  CC_SRC,
  CC_SUB,
  EFLAGS,
  END_BLOCK,
  MODE,
  MODE_FLAT,
  NEXT,
  PAGE_CODE,
  PAGE_ROM,
  RAX,
  RCX,
  RDI,
  RDX,
  REC_ADDRSIZE,
  REC_FLAGS,
  REC_FLAG_REP,
  REC_FLAG_REPNE,
  REC_SEG,
  RIP,
  RSI,
  SEG_ATTR,
  SEG_LIMIT,
  in64,
} from './names';
import { FLAG_DF, FLAG_TF, SEG_ES } from './bits';
import { watching } from './debug';
import { host_portRead, host_portWrite } from './host';
import { begin, codeWritten, failed, ok, partAllowed, readSized, writeOk, writeSized } from './memory';
import { ACCESS_READ, ACCESS_WRITE, clearCanonicalFault, lastFlags, lastPfn, translate } from './mmu';
import { countPort, portAllowed } from './ports';
import { failure as fault, insnRip, linearAt, opSize, registerRead, registerWrite } from './record';
import { segLinear, withinLimit } from './segments';

/** How much one execution does at most before interrupts get their chance: bytes in bulk, items one by one. */
const BULK_BYTES: u64 = 65536;
const ITEMS = 4096;

// Of the execution under way.
let width: i32 = 0;
let addressMask: u64 = 0;
let addressSize: i32 = 0;
/** +width or -width. */
let step: i64 = 0;
let repeated: bool = false;
let left: u64 = 0;

/** A non-canonical address is a #GP here, never a #SS. */
function failure(): i32 {
  clearCanonicalFault();
  return fault();
}

/** Sets out; false when there is nothing to do. */
function start(rec: i32, size: i32): bool {
  begin();
  width = size;
  addressSize = load<u8>(rec + REC_ADDRSIZE);
  addressMask = 0xffff_ffff_ffff_ffff >> (64 - (addressSize << 3));
  step = (load<i32>(EFLAGS) & FLAG_DF) != 0 ? -size : size;
  repeated = (load<u8>(rec + REC_FLAGS) & (REC_FLAG_REP | REC_FLAG_REPNE)) != 0;
  left = repeated ? load<u64>(RCX) & addressMask : 1;
  return left != 0;
}

/** `count` items are done: moves RSI and RDI as asked, and RCX. */
function advance(count: u64, source: bool, destination: bool): void {
  const distance = (step * (count as i64)) as u64;
  if (source) registerWrite(RSI, addressSize, load<u64>(RSI) + distance);
  if (destination) registerWrite(RDI, addressSize, load<u64>(RDI) + distance);
  left -= count;
  if (repeated) registerWrite(RCX, addressSize, left);
}

/**
 * Must a repeated instruction that is not done yet pause here? Not because it has overwritten code, be it its own:
 * processors finish it as it was fetched.
 */
function mustPause(): bool {
  return load<i32>(ATTENTION) != 0 || (load<i32>(EFLAGS) & FLAG_TF) != 0;
}

/** Not done: the instruction goes on when it is executed next. */
function pause(rec: i32): i32 {
  store<u64>(RIP, insnRip(rec));
  return END_BLOCK;
}

/** Linear address of an item at RSI. */
function sourceLinear(rec: i32): u64 {
  return linearAt(rec, load<u64>(RSI) & addressMask, width, 0);
}

/** Linear address of an item at ES:RDI. */
function destinationLinear(write: i32): u64 {
  const offset = load<u64>(RDI) & addressMask;
  if (in64()) return offset;
  const linear = segLinear(SEG_ES, offset, width, write);
  if (linear < 0) failed();
  return linear as u64;
}

/** Items that lie ahead of `linear` in its page, 0 when the first one crosses its border. */
function itemsInPage(linear: u64): u64 {
  return ((4096 - ((linear as i32) & 4095)) / width) as u64;
}

/** Does a forward run of `count` items from `offset` of segment `seg` stay in the segment without wrapping around? */
function runFits(seg: i32, offset: u64, count: u64): bool {
  const bytes = count * width;
  if (offset + bytes - 1 > addressMask) return false;
  if ((load<i32>(MODE) & MODE_FLAT) != 0) return true;
  const attr = load<u32>(SEG_ATTR + (seg << 2));
  return withinLimit(attr, load<u32>(SEG_LIMIT + (seg << 2)), offset, bytes as i32);
}

/** Address of the RAM behind `linear`, 0 when it must be done item by item (a fault will be raised there). */
function plainSource(linear: u64): i32 {
  if (watching != 0) return 0;
  const address = translate(linear, ACCESS_READ);
  if (address == 0) failed();
  return address == -1 ? 0 : address;
}

/** Address of the RAM that [linear, linear + bytes) of one page may be written to in one go, or 0 as plainSource. */
function plainDestination(linear: u64, bytes: i32): i32 {
  if (watching != 0) return 0;
  const address = translate(linear, ACCESS_WRITE);
  if (address == 0) failed();
  if (address == -1 || (lastFlags & PAGE_ROM) != 0) return 0;
  return partAllowed(address, (linear as i32) & 4095, bytes) ? address : 0;
}

/** To be called when it has been written. */
function wroteRun(address: i32, bytes: i32): void {
  if ((lastFlags & PAGE_CODE) != 0) codeWritten(lastPfn, address & 4095, bytes);
}

function minimum(a: u64, b: u64): u64 {
  return a < b ? a : b;
}

/** Copies forward as the processor does, item after item: an overlap repeats the pattern. */
function copyForward(to: i32, from: i32, bytes: i32): void {
  const distance = (to - from) as u32;
  if (distance >= (bytes as u32)) {
    memory.copy(to, from, bytes);
    return;
  }
  if (distance == 0) return;
  if (distance >= 8 && (width == 8 || (distance & 7) == 0)) {
    // Pieces no longer than the distance do not overlap, and give the same bytes as single items.
    let done = 0;
    while (done < bytes) {
      const piece = min<i32>(distance as i32, bytes - done);
      memory.copy(to + done, from + done, piece);
      done += piece;
    }
    return;
  }
  const end = to + bytes;
  if (width == 1) for (; to != end; to++, from++) store<u8>(to, load<u8>(from));
  else if (width == 2) for (; to != end; to += 2, from += 2) store<u16>(to, load<u16>(from));
  else if (width == 4) for (; to != end; to += 4, from += 4) store<u32>(to, load<u32>(from));
  else for (; to != end; to += 8, from += 8) store<u64>(to, load<u64>(from));
}

function movs(rec: i32, size: i32): i32 {
  if (!start(rec, size)) return NEXT;
  let items = ITEMS;
  let bytes: u64 = 0;
  while (left != 0) {
    const from = sourceLinear(rec);
    if (ok == 0) return failure();
    const to = destinationLinear(1);
    if (ok == 0) return failure();
    if (left > 1 && step > 0) {
      const count = minimum(left, minimum(itemsInPage(from), itemsInPage(to)));
      if (
        count > 1 &&
        runFits(load<u8>(rec + REC_SEG), load<u64>(RSI) & addressMask, count) &&
        runFits(SEG_ES, load<u64>(RDI) & addressMask, count)
      ) {
        const source = plainSource(from);
        if (ok == 0) return failure();
        const run = count * size;
        const destination = source != 0 ? plainDestination(to, run as i32) : 0;
        if (ok == 0) return failure();
        if (destination != 0) {
          copyForward(destination, source, run as i32);
          wroteRun(destination, run as i32);
          advance(count, true, true);
          bytes += run;
          if (left != 0 && (bytes >= BULK_BYTES || mustPause())) return pause(rec);
          continue;
        }
      }
    }
    const value = readSized(from, size);
    if (ok != 0) writeSized(to, size, value);
    if (ok == 0) return failure();
    advance(1, true, true);
    if (left != 0 && (--items == 0 || mustPause())) return pause(rec);
  }
  return NEXT;
}

/** The value to fill with when all bytes of an item are equal, else -1. */
function uniformByte(value: u64, size: i32): i32 {
  const byte = value & 255;
  const repeatedByte = byte * 0x0101_0101_0101_0101;
  return (value ^ repeatedByte) << (64 - (size << 3)) == 0 ? (byte as i32) : -1;
}

function stos(rec: i32, size: i32): i32 {
  if (!start(rec, size)) return NEXT;
  const value = registerRead(RAX, size);
  const byte = uniformByte(value, size);
  let items = ITEMS;
  let bytes: u64 = 0;
  while (left != 0) {
    const to = destinationLinear(1);
    if (ok == 0) return failure();
    if (left > 1 && step > 0) {
      const count = minimum(left, itemsInPage(to));
      if (count > 1 && runFits(SEG_ES, load<u64>(RDI) & addressMask, count)) {
        const run = count * size;
        const destination = plainDestination(to, run as i32);
        if (ok == 0) return failure();
        if (destination != 0) {
          if (byte >= 0) memory.fill(destination, byte as u8, run as i32);
          else {
            const end = destination + (run as i32);
            for (let at = destination; at != end; at += size) registerStore(at, size, value);
          }
          wroteRun(destination, run as i32);
          advance(count, false, true);
          bytes += run;
          if (left != 0 && (bytes >= BULK_BYTES || mustPause())) return pause(rec);
          continue;
        }
      }
    }
    writeSized(to, size, value);
    if (ok == 0) return failure();
    advance(1, false, true);
    if (left != 0 && (--items == 0 || mustPause())) return pause(rec);
  }
  return NEXT;
}

/** A plain store of `size` bytes (registerWrite would widen 4 to 8). */
function registerStore(at: i32, size: i32, value: u64): void {
  if (size == 8) store<u64>(at, value);
  else if (size == 4) store<u32>(at, value as u32);
  else if (size == 2) store<u16>(at, value as u16);
  else store<u8>(at, value as u8);
}

function lods(rec: i32, size: i32): i32 {
  if (!start(rec, size)) return NEXT;
  let items = ITEMS;
  while (left != 0) {
    const from = sourceLinear(rec);
    const value = ok != 0 ? readSized(from, size) : 0;
    if (ok == 0) return failure();
    registerWrite(RAX, size, value);
    advance(1, true, false);
    if (left != 0 && (--items == 0 || mustPause())) return pause(rec);
  }
  return NEXT;
}

/** Flags of `left - right`, as CMP leaves them. */
function compareFlags(size: i32, dst: u64, src: u64): void {
  store<i32>(CC_OP, CC_SUB + (size == 8 ? 3 : size >> 1));
  store<u64>(CC_DST, dst);
  store<u64>(CC_SRC, src);
}

/** Does a repeated comparison end here? REPE goes on while equal, REPNE while not. */
function comparisonEnds(rec: i32, equal: bool): bool {
  if (!repeated) return true;
  return ((load<u8>(rec + REC_FLAGS) & REC_FLAG_REP) != 0) != equal;
}

function scas(rec: i32, size: i32): i32 {
  if (!start(rec, size)) return NEXT;
  const wanted = registerRead(RAX, size);
  let items = ITEMS;
  while (left != 0) {
    const at = destinationLinear(0);
    if (ok == 0) return failure();
    let value: u64 = 0;
    let count: u64 = 1;
    if (left > 1 && step > 0) {
      // Looks ahead in the page for the item that ends the search.
      const run = minimum(minimum(left, items as u64), itemsInPage(at));
      if (run > 1 && runFits(SEG_ES, load<u64>(RDI) & addressMask, run)) {
        const address = plainSource(at);
        if (ok == 0) return failure();
        if (address != 0) {
          for (count = 1; ; count++) {
            value = registerRead(address + ((count - 1) as i32) * size, size);
            if (count == run || comparisonEnds(rec, value == wanted)) break;
          }
          advance(count, false, true);
          items -= count as i32;
          if (left == 0 || comparisonEnds(rec, value == wanted)) {
            compareFlags(size, wanted, value);
            return NEXT;
          }
          if (items <= 0 || mustPause()) return pause(rec);
          continue;
        }
      }
    }
    value = readSized(at, size);
    if (ok == 0) return failure();
    advance(1, false, true);
    if (left == 0 || comparisonEnds(rec, value == wanted)) {
      compareFlags(size, wanted, value);
      return NEXT;
    }
    if (--items <= 0 || mustPause()) return pause(rec);
  }
  return NEXT;
}

function cmps(rec: i32, size: i32): i32 {
  if (!start(rec, size)) return NEXT;
  let items = ITEMS;
  while (left != 0) {
    const from = sourceLinear(rec);
    if (ok == 0) return failure();
    const to = destinationLinear(0);
    if (ok == 0) return failure();
    let first: u64 = 0;
    let second: u64 = 0;
    let count: u64 = 1;
    let looked = false;
    if (left > 1 && step > 0) {
      const run = minimum(minimum(left, items as u64), minimum(itemsInPage(from), itemsInPage(to)));
      if (
        run > 1 &&
        runFits(load<u8>(rec + REC_SEG), load<u64>(RSI) & addressMask, run) &&
        runFits(SEG_ES, load<u64>(RDI) & addressMask, run)
      ) {
        const source = plainSource(from);
        if (ok == 0) return failure();
        const destination = source != 0 ? plainSource(to) : 0;
        if (ok == 0) return failure();
        if (destination != 0) {
          looked = true;
          for (count = 1; ; count++) {
            const distance = ((count - 1) as i32) * size;
            first = registerRead(source + distance, size);
            second = registerRead(destination + distance, size);
            if (count == run || comparisonEnds(rec, first == second)) break;
          }
        }
      }
    }
    if (!looked) {
      first = readSized(from, size);
      second = ok != 0 ? readSized(to, size) : 0;
      if (ok == 0) return failure();
    }
    advance(count, true, true);
    items -= count as i32;
    if (left == 0 || comparisonEnds(rec, first == second)) {
      compareFlags(size, first, second);
      return NEXT;
    }
    if (items <= 0 || mustPause()) return pause(rec);
  }
  return NEXT;
}

/** INS: the destination is checked before the port is read, since reading may have an effect. */
function ins(rec: i32, size: i32): i32 {
  const port = load<u16>(RDX);
  if (!portAllowed(port, size)) return failure();
  if (!start(rec, size)) return NEXT;
  let items = ITEMS;
  while (left != 0) {
    const to = destinationLinear(1);
    if (ok == 0 || writeOk(to, size) == 0) return failure();
    countPort();
    const value = host_portRead(port, size) as u32 as u64;
    writeSized(to, size, value);
    if (ok == 0) return failure();
    advance(1, false, true);
    if (left != 0 && (--items == 0 || mustPause())) return pause(rec);
  }
  return NEXT;
}

function outs(rec: i32, size: i32): i32 {
  const port = load<u16>(RDX);
  if (!portAllowed(port, size)) return failure();
  if (!start(rec, size)) return NEXT;
  let items = ITEMS;
  while (left != 0) {
    const from = sourceLinear(rec);
    const value = ok != 0 ? readSized(from, size) : 0;
    if (ok == 0) return failure();
    countPort();
    host_portWrite(port, size, value as i32);
    advance(1, true, false);
    if (left != 0 && (--items == 0 || mustPause())) return pause(rec);
  }
  return NEXT;
}

/** Ports have 4 bytes at most. */
function portWidth(rec: i32): i32 {
  return opSize(rec) == 2 ? 2 : 4;
}

export function op_movs8(rec: i32): i32 {
  return movs(rec, 1);
}
export function op_movs(rec: i32): i32 {
  return movs(rec, opSize(rec));
}
export function op_stos8(rec: i32): i32 {
  return stos(rec, 1);
}
export function op_stos(rec: i32): i32 {
  return stos(rec, opSize(rec));
}
export function op_lods8(rec: i32): i32 {
  return lods(rec, 1);
}
export function op_lods(rec: i32): i32 {
  return lods(rec, opSize(rec));
}
export function op_scas8(rec: i32): i32 {
  return scas(rec, 1);
}
export function op_scas(rec: i32): i32 {
  return scas(rec, opSize(rec));
}
export function op_cmps8(rec: i32): i32 {
  return cmps(rec, 1);
}
export function op_cmps(rec: i32): i32 {
  return cmps(rec, opSize(rec));
}
export function op_ins8(rec: i32): i32 {
  return ins(rec, 1);
}
export function op_ins(rec: i32): i32 {
  return ins(rec, portWidth(rec));
}
export function op_outs8(rec: i32): i32 {
  return outs(rec, 1);
}
export function op_outs(rec: i32): i32 {
  return outs(rec, portWidth(rec));
}
