// IN and OUT with the I/O permission bitmap. INS and OUTS are in string.ts. Source: Intel SDM volume 1, 19.5.
import { CR0, EFLAGS, NEXT, RAX, RDX, REC_IMM, SEG_ATTR, SEG_BASE, SEG_LIMIT, STAT_PORT, cpl } from './names';
import { CR0_PE, FLAG_VM, SEG_TR, VEC_GP } from './bits';
import { raise } from './exceptions';
import { host_portRead, host_portWrite } from './host';
import { forgetTsc } from './msr';
import { begin, ok, systemRead } from './memory';
import { failure, opSize } from './record';

/** Offset of the I/O map base in a 32- or 64-bit TSS. */
const TSS_IO_MAP: u32 = 0x66;

/** May the program access ports [port, port + size)? False = exception raised. */
export function portAllowed(port: i32, size: i32): bool {
  if ((load<u32>(CR0) & CR0_PE) == 0) return true;
  const flags = load<i32>(EFLAGS);
  if ((flags & FLAG_VM) == 0 && cpl() <= ((flags >> 12) & 3)) return true;
  const attr = load<u32>(SEG_ATTR + (SEG_TR << 2));
  const limit = load<u32>(SEG_LIMIT + (SEG_TR << 2));
  const base = load<u64>(SEG_BASE + (SEG_TR << 3));
  if ((attr & 0x88) == 0x88 && limit >= TSS_IO_MAP + 1) {
    begin();
    const map = systemRead(base + TSS_IO_MAP, 2) as u32;
    if (ok == 0) return false;
    const at = map + (port >> 3);
    // Two bytes are always read, so that an access may cross a byte's border.
    if (at + 1 <= limit) {
      const bits = (systemRead(base + at, 2) as i32) >> (port & 7);
      if (ok == 0) return false;
      if ((bits & ((1 << size) - 1)) == 0) return true;
    }
  }
  raise(VEC_GP, 0);
  return false;
}

export function countPort(): void {
  forgetTsc();
  store<u32>(STAT_PORT, load<u32>(STAT_PORT) + 1);
}

function input(port: i32, size: i32): i32 {
  if (!portAllowed(port, size)) return failure();
  countPort();
  const value = host_portRead(port, size);
  if (size == 1) store<u8>(RAX, value as u8);
  else if (size == 2) store<u16>(RAX, value as u16);
  else store<u64>(RAX, value as u32 as u64);
  return NEXT;
}

function output(port: i32, size: i32): i32 {
  if (!portAllowed(port, size)) return failure();
  countPort();
  const value = load<i32>(RAX);
  host_portWrite(port, size, size == 1 ? value & 0xff : size == 2 ? value & 0xffff : value);
  return NEXT;
}

/** Ports are 1, 2 or 4 bytes wide; REX.W does not matter. */
function width(rec: i32): i32 {
  return opSize(rec) == 2 ? 2 : 4;
}

function immediate(rec: i32): i32 {
  return load<u8>(rec + REC_IMM);
}

export function op_in_al_imm(rec: i32): i32 {
  return input(immediate(rec), 1);
}
export function op_in_ax_imm(rec: i32): i32 {
  return input(immediate(rec), width(rec));
}
export function op_in_al_dx(_rec: i32): i32 {
  return input(load<u16>(RDX), 1);
}
export function op_in_ax_dx(rec: i32): i32 {
  return input(load<u16>(RDX), width(rec));
}
export function op_out_al_imm(rec: i32): i32 {
  return output(immediate(rec), 1);
}
export function op_out_ax_imm(rec: i32): i32 {
  return output(immediate(rec), width(rec));
}
export function op_out_al_dx(_rec: i32): i32 {
  return output(load<u16>(RDX), 1);
}
export function op_out_ax_dx(rec: i32): i32 {
  return output(load<u16>(RDX), width(rec));
}
