// ENTER, LEAVE (outside 64-bit mode; there it is defined with the integer instructions), PUSHA and POPA. Source: Intel SDM volume 2.
import { GPR, NEXT, RBP, REC_IMM, REC_IMM2 } from './names';
import { begin, ok } from './memory';
import { failure, opSize, registerRead, registerWrite } from './record';
import {
  frameAt,
  frameCommit,
  frameHere,
  framePeek,
  framePointer,
  framePop,
  frameProbe,
  framePush,
  setStackPointer,
  stackMask,
} from './stack';

/** ENTER imm16 (bytes for locals, REC_IMM), imm8 (nesting level, REC_IMM2). */
export function op_enter(rec: i32): i32 {
  const size = opSize(rec);
  const locals = load<u16>(rec + REC_IMM) as u64;
  const level: i32 = load<u8>(rec + REC_IMM2) & 31;
  const mask = stackMask();
  const rbp = load<u64>(RBP);
  begin();
  frameHere();
  framePush(registerRead(RBP, size), size);
  const frame = framePointer();
  if (level > 0) {
    // Copies of the callers' frame pointers, which lie below the one that RBP points to.
    for (let n = 1; n < level; n++) {
      const mine = framePointer();
      frameAt(rbp - n * size);
      const pointer = framePeek(0, size);
      frameAt(mine);
      framePush(pointer, size);
    }
    framePush(frame, size);
  }
  if (ok == 0) return failure();
  const top = (framePointer() - locals) & mask;
  // The new top must be writable; SDM: "#PF if a write using the final value of the stack pointer would fault".
  frameProbe(top, size);
  if (ok == 0) return failure();
  // With a 16-bit operand size only BP changes.
  if (size == 2) registerWrite(RBP, 2, frame);
  else if (mask == 0xffff) store<u16>(RBP, frame as u16);
  else registerWrite(RBP, size, frame);
  setStackPointer(top, mask);
  return NEXT;
}

export function op_leave(rec: i32): i32 {
  const size = opSize(rec);
  begin();
  frameAt(load<u64>(RBP));
  const value = framePop(size);
  if (ok == 0) return failure();
  frameCommit();
  registerWrite(RBP, size, value);
  return NEXT;
}

export function op_pusha(rec: i32): i32 {
  const size = opSize(rec);
  begin();
  frameHere();
  for (let n = 0; n < 8; n++) framePush(registerRead(GPR + (n << 3), size), size);
  if (ok == 0) return failure();
  frameCommit();
  return NEXT;
}

const POPPED: i32 = memory.data(64, 8) as i32;

export function op_popa(rec: i32): i32 {
  const size = opSize(rec);
  begin();
  frameHere();
  for (let n = 7; n >= 0; n--) store<u64>(POPPED + (n << 3), framePop(size));
  if (ok == 0) return failure();
  frameCommit();
  for (let n = 0; n < 8; n++) {
    // The image of SP is skipped.
    if (n != 4) registerWrite(GPR + (n << 3), size, load<u64>(POPPED + (n << 3)));
  }
  return NEXT;
}
