// Operands of x87 instructions: registers and memory operands of the four arithmetic formats, unpacked for softfloat.ts.
import { begin, loadSlow, ok } from './memory';
import { operandLinear } from './record';
import { unpack32, unpack64, unpack80, unpackInt } from './softfloat';
import { slot } from './x87-state';

// Formats of memory operands.
export const M32: i32 = 0;
export const M64: i32 = 1;
export const I16: i32 = 2;
export const I32: i32 = 3;

/** ST(i), unpacked in U. */
export function unpackSlot(i: i32): void {
  const at = slot(i);
  unpack80(load<u64>(at), load<u16>(at + 8));
}

/** A fetched operand, unpacked in U. */
export function unpackMemory(at: i32, format: i32): void {
  if (format == M32) unpack32(load<u32>(at));
  else if (format == M64) unpack64(load<u64>(at));
  else if (format == I16) unpackInt(load<i16>(at));
  else unpackInt(load<i32>(at));
}

/** Address of a memory operand of the format, or 0 after a fault. */
export function fetch(rec: i32, format: i32): i32 {
  const size = format == M64 ? 8 : format == I16 ? 2 : 4;
  begin();
  const linear = operandLinear(rec, size, 0);
  return ok ? loadSlow(linear, size) : 0;
}
