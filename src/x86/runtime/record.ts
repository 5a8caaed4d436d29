// Decoded records as the runtime's helpers read them: addresses of the instruction itself, its operands, and how a
// helper ends. Operand slots are by position: the first operand's register is REC_R0, the second's REC_R1, whether or not
// another one is in memory. For Sw, Cq and Dq the slot holds the number of the register.
import {
  CS_BASE,
  END_BLOCK,
  EXC_VECTOR,
  EXCEPTION,
  IN_REGION,
  MODE,
  MODE_CODE,
  NEXT,
  REC_ADDRSIZE,
  REC_BASE,
  REC_DISP,
  REC_FLAGS,
  REC_FLAG_MEM,
  REC_INDEX,
  REC_LENGTH,
  REC_OFFSET,
  REC_OPSIZE,
  REC_R0,
  REC_R1,
  REC_SCALE,
  REC_SEG,
  REC_SEGBASE,
  REEXECUTE,
  RIP,
  VBASE,
} from './names';
import { SEG_SS, VEC_SS } from './bits';
import { failed, ok, readSized, writeSized } from './memory';
import { canonicalFault, clearCanonicalFault } from './mmu';
import { segLinear } from './segments';

/** What a helper returns after a failure whose exception `raise` has noted (or has not, in a region). */
export function failure(): i32 {
  return load<i32>(IN_REGION) != 0 ? REEXECUTE : EXCEPTION;
}

/** NEXT if all went well since `begin`. */
export function outcome(): i32 {
  return ok != 0 ? NEXT : failure();
}

/** An instruction pointer cut to the size of the code segment. */
export function wrapRip(rip: u64): u64 {
  return (load<i32>(MODE) & MODE_CODE) == 2 ? rip : rip & 0xffff_ffff;
}

/** RIP of the instruction (an offset in CS). */
export function insnRip(rec: i32): u64 {
  return wrapRip(load<u64>(VBASE) + load<u16>(rec + REC_OFFSET) - load<u64>(CS_BASE));
}

/** RIP of the next instruction. */
export function nextRip(rec: i32): u64 {
  return wrapRip(insnRip(rec) + load<u8>(rec + REC_LENGTH));
}

/** Ends the block after this instruction. */
export function endBlock(rec: i32): i32 {
  store<u64>(RIP, nextRip(rec));
  return END_BLOCK;
}

/** Cuts a value to `size` bytes (1, 2, 4 or 8). */
export function truncate(value: u64, size: i32): u64 {
  return value & (0xffff_ffff_ffff_ffff >> (64 - (size << 3)));
}

/** Effective address: the offset in its segment, cut to the address size. */
export function effectiveAddress(rec: i32): u64 {
  const sum =
    load<u64>(load<u16>(rec + REC_BASE)) +
    (load<u64>(load<u16>(rec + REC_INDEX)) << load<u8>(rec + REC_SCALE)) +
    <i64>load<i32>(rec + REC_DISP);
  return truncate(sum, load<u8>(rec + REC_ADDRSIZE));
}

/** Linear address of `offset` in the record's segment; clears `ok` where segmentation forbids the access. */
export function linearAt(rec: i32, offset: u64, size: i32, write: i32): u64 {
  if ((load<i32>(MODE) & MODE_CODE) == 2) return load<u64>(load<u16>(rec + REC_SEGBASE)) + offset;
  const linear = segLinear(load<u8>(rec + REC_SEG), offset, size, write);
  if (linear < 0) failed();
  return linear as u64;
}

/** Linear address of the memory operand, for an access of `size` bytes. */
export function operandLinear(rec: i32, size: i32, write: i32): u64 {
  return linearAt(rec, effectiveAddress(rec), size, write);
}

/** Short for other rooms: linear address without segment checks in 64-bit mode, with them elsewhere. */
export function ea(rec: i32): u64 {
  return operandLinear(rec, 1, 0);
}

export function opSize(rec: i32): i32 {
  return load<u8>(rec + REC_OPSIZE);
}

export function isMemory(rec: i32): bool {
  return (load<u8>(rec + REC_FLAGS) & REC_FLAG_MEM) != 0;
}

/** Reads a general register of `size` bytes at `address`. */
export function registerRead(address: i32, size: i32): u64 {
  if (size == 8) return load<u64>(address);
  if (size == 4) return load<u32>(address);
  if (size == 2) return load<u16>(address);
  return load<u8>(address);
}

/** Writes a general register; 32-bit results clear the upper half (SDM 1 3.4.1.1). */
export function registerWrite(address: i32, size: i32, value: u64): void {
  if (size == 8) store<u64>(address, value);
  else if (size == 4) store<u64>(address, value & 0xffff_ffff);
  else if (size == 2) store<u16>(address, value as u16);
  else store<u8>(address, value as u8);
}

export function r0(rec: i32): i32 {
  return load<u16>(rec + REC_R0);
}

export function r1(rec: i32): i32 {
  return load<u16>(rec + REC_R1);
}

/** The first operand when it is the ModRM one: register or memory, `size` bytes. */
export function readFirst(rec: i32, size: i32): u64 {
  return isMemory(rec) ? readOperand(rec, size) : registerRead(r0(rec), size);
}

/** The second operand when it is the ModRM one. */
export function readSecond(rec: i32, size: i32): u64 {
  return isMemory(rec) ? readOperand(rec, size) : registerRead(r1(rec), size);
}

function readOperand(rec: i32, size: i32): u64 {
  const linear = operandLinear(rec, size, 0);
  return ok != 0 ? readSized(linear, size) : 0;
}

/** Writes the first operand when it is the ModRM one. */
export function writeFirst(rec: i32, size: i32, value: u64): void {
  if (!isMemory(rec)) {
    registerWrite(r0(rec), size, value);
    return;
  }
  const linear = operandLinear(rec, size, 1);
  if (ok != 0) writeSized(linear, size, value);
}

/**
 * A non-canonical address raises #SS instead of #GP when the access was to the stack (SDM 1 3.3.7.1): by its segment,
 * or because an instruction without a memory operand has no other place to go. String instructions clear the mark.
 */
export function stackFault(rec: i32): void {
  if (canonicalFault == 0) return;
  clearCanonicalFault();
  if (!isMemory(rec) || load<u8>(rec + REC_SEG) == SEG_SS) store<i32>(EXC_VECTOR, VEC_SS);
}
