/**
 * A core dump of the guest as an ELF file: RAM as it is, the processor's registers as notes, and where each piece was.
 * System V ABI, "Object Files" and AMD64 supplement; the notes are those of Linux's core dumps (struct elf_prstatus)
 * and QEMU's own with the system registers, which crash(8) reads.
 */

const EHDR_SIZE = 64;
const PHDR_SIZE = 56;
const SHDR_SIZE = 64;
const ET_CORE = 4;
const EM_X86_64 = 62;
const PT_LOAD = 1;
const PT_NOTE = 4;
const NT_PRSTATUS = 1;
const NT_QEMU = 0;
/** More headers than this are counted in a section header instead. */
const PN_XNUM = 0xffff;

/** A run of memory: `offset` counts from the first byte of RAM in the file. */
export interface Segment {
  readonly physical: bigint;
  readonly virtual: bigint;
  readonly offset: bigint;
  readonly size: bigint;
}

export type Registers = ReadonlyMap<string, bigint>;

/** struct user_regs_struct of x86-64, in its order; the base addresses are those of FS and GS. */
const USER_REGISTERS = [
  ...['r15', 'r14', 'r13', 'r12', 'rbp', 'rbx', 'r11', 'r10', 'r9', 'r8', 'rax', 'rcx', 'rdx', 'rsi', 'rdi'],
  ...['orig_rax', 'rip', 'cs', 'rflags', 'rsp', 'ss', 'fs_base', 'gs_base', 'ds', 'es', 'fs', 'gs'],
] as const;
const PRSTATUS_SIZE = 336;
const PRSTATUS_PID = 32;
const PRSTATUS_REGISTERS = 112;

function prstatus(registers: Registers): Uint8Array {
  const bytes = new Uint8Array(PRSTATUS_SIZE);
  const view = new DataView(bytes.buffer);
  // The first processor; 0 would be no process.
  view.setUint32(PRSTATUS_PID, 1, true);
  USER_REGISTERS.forEach((name, index) => {
    view.setBigUint64(PRSTATUS_REGISTERS + 8 * index, registers.get(name) ?? 0n, true);
  });
  return bytes;
}

const GENERAL = ['rax', 'rbx', 'rcx', 'rdx', 'rsi', 'rdi', 'rsp', 'rbp'] as const;
const NUMBERED = Array.from({ length: 8 }, (_, index) => `r${index + 8}`);
const SEGMENTS = ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'ldt', 'tr', 'gdt', 'idt'] as const;
const QEMU_SIZE = 8 + 18 * 8 + SEGMENTS.length * 24 + 6 * 8;

/** QEMU's note, version 1: general registers, segments with what is behind them, control registers. */
function qemuState(registers: Registers): Uint8Array {
  const bytes = new Uint8Array(QEMU_SIZE);
  const view = new DataView(bytes.buffer);
  const value = (name: string): bigint => registers.get(name) ?? 0n;
  let at = 0;
  const u32 = (number: bigint): void => {
    view.setUint32(at, Number(BigInt.asUintN(32, number)), true);
    at += 4;
  };
  const u64 = (number: bigint): void => {
    view.setBigUint64(at, number, true);
    at += 8;
  };
  u32(1n);
  u32(BigInt(QEMU_SIZE));
  for (const name of [...GENERAL, ...NUMBERED, 'rip', 'rflags']) u64(value(name));
  for (const name of SEGMENTS) {
    u32(value(name));
    u32(value(`${name}_limit`));
    u32(value(`${name}_flags`));
    u32(0n);
    u64(value(`${name}_base`));
  }
  for (const name of ['cr0', 'cr1', 'cr2', 'cr3', 'cr4', 'kernel_gs_base']) u64(value(name));
  return bytes;
}

function note(name: string, type: number, content: Uint8Array): Uint8Array {
  const padded = (length: number): number => Math.ceil(length / 4) * 4;
  const label = new TextEncoder().encode(`${name}\0`);
  const bytes = new Uint8Array(12 + padded(label.length) + padded(content.length));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, label.length, true);
  view.setUint32(4, content.length, true);
  view.setUint32(8, type, true);
  bytes.set(label, 12);
  bytes.set(content, 12 + padded(label.length));
  return bytes;
}

/** All in front of the memory: headers and notes. `segments` lie in the file as they are given. */
export function elfHead(registers: Registers, segments: readonly Segment[]): Uint8Array {
  const notes = [note('CORE', NT_PRSTATUS, prstatus(registers)), note('QEMU', NT_QEMU, qemuState(registers))];
  const noteSize = notes.reduce((sum, one) => sum + one.length, 0);
  const count = segments.length + 1;
  const many = count >= PN_XNUM;
  const noteAt = EHDR_SIZE + count * PHDR_SIZE + (many ? SHDR_SIZE : 0);
  const memoryAt = BigInt(noteAt + noteSize);
  const bytes = new Uint8Array(noteAt + noteSize);
  const view = new DataView(bytes.buffer);
  // Magic, 64 bits, little-endian, version 1.
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, ET_CORE, true);
  view.setUint16(18, EM_X86_64, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(32, BigInt(EHDR_SIZE), true);
  view.setUint16(52, EHDR_SIZE, true);
  view.setUint16(54, PHDR_SIZE, true);
  view.setUint16(56, many ? PN_XNUM : count, true);
  if (many) {
    const at = EHDR_SIZE + count * PHDR_SIZE;
    view.setBigUint64(40, BigInt(at), true);
    view.setUint16(58, SHDR_SIZE, true);
    view.setUint16(60, 1, true);
    view.setUint32(at + 44, count, true);
  }
  const header = (
    index: number,
    type: number,
    fields: { offset: bigint; virtual: bigint; physical: bigint; size: bigint },
  ): void => {
    const at = EHDR_SIZE + index * PHDR_SIZE;
    view.setUint32(at, type, true);
    view.setBigUint64(at + 8, fields.offset, true);
    view.setBigUint64(at + 16, fields.virtual, true);
    view.setBigUint64(at + 24, fields.physical, true);
    view.setBigUint64(at + 32, fields.size, true);
    view.setBigUint64(at + 40, fields.size, true);
  };
  header(0, PT_NOTE, { offset: BigInt(noteAt), virtual: 0n, physical: 0n, size: BigInt(noteSize) });
  segments.forEach((segment, index) =>
    header(index + 1, PT_LOAD, { ...segment, offset: segment.offset + memoryAt }),
  );
  let at = noteAt;
  for (const one of notes) {
    bytes.set(one, at);
    at += one.length;
  }
  return bytes;
}
