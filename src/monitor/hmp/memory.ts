/** Looking at memory, ports and numbers: x, xp, print, sum, i, o, memsave, pmemsave. */
import { MAX_LENGTH } from '../../x86/decode/decode.ts';
import type { CodeBits } from '../../x86/disassemble/index.ts';
import { disassemble, formatLine } from '../../x86/disassemble/index.ts';
import { readMapped, readPhysical, readVirtual } from '../memory.ts';
import { readSegments } from '../registers.ts';
import { saveMemory } from '../qmp/commands/memory.ts';
import type { MonitorTarget } from '../target.ts';
import type { Format, HmpArguments } from './arguments.ts';
import type { HmpCommand } from './command.ts';
import { HmpError } from './error.ts';

/** More than this of memory at once is no dump that anybody reads. */
const MAX_DUMP = 2 ** 20;

const PAGE = 4096n;

const hex = (value: bigint | number, digits: number): string => value.toString(16).padStart(digits, '0');

/** A character constant as C writes it. */
function quoted(byte: number): string {
  if (byte === 0x27) return "'\\''";
  if (byte === 0x5c) return "'\\\\'";
  if (byte === 0x0a) return "'\\n'";
  if (byte === 0x0d) return "'\\r'";
  return byte >= 32 && byte <= 126 ? `'${String.fromCharCode(byte)}'` : `'\\x${hex(byte, 2)}'`;
}

/** Width of the largest number of so many bits, as QEMU reckons it. */
const WIDTHS: Readonly<Record<string, (bits: number) => number>> = {
  o: (bits) => Math.floor((bits + 2) / 3),
  x: (bits) => bits / 4,
  u: (bits) => Math.floor((bits * 10 + 32) / 33),
  d: (bits) => Math.floor((bits * 10 + 32) / 33),
};

function item(data: Uint8Array, at: number, size: number, form: string): string {
  if (form === 'c') return quoted(data[at]!);
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(data[at + i]!);
  const width = WIDTHS[form]!(size * 8);
  if (form === 'x') return `0x${hex(value, width)}`;
  if (form === 'o') return (value === 0n ? '0' : `0${value.toString(8)}`).padStart(width);
  return String(form === 'd' ? BigInt.asIntN(size * 8, value) : value).padStart(width);
}

function dump(given: HmpArguments, target: MonitorTarget, virtual: boolean): string {
  const { count, form, size } = given.fmt as Format;
  const start = BigInt.asUintN(64, given.addr as bigint);
  if (form === 'i') return disassembly(target, start, count, virtual);
  const total = count * size;
  if (total > MAX_DUMP) throw new HmpError(`more than ${MAX_DUMP} bytes at once`, false);
  const unit = form === 'c' ? 1 : size;
  const lineSize = size === 1 ? 8 : 16;
  let text = '';
  for (let at = 0; at < total; at += lineSize) {
    const length = Math.min(lineSize, total - at);
    const address = start + BigInt(at);
    text += `${hex(BigInt.asUintN(64, address), 16)}:`;
    const data = virtual ? readVirtual(target, address, length) : readMapped(target, address, length);
    if (data === undefined) return `${text} Cannot access memory\n`;
    for (let i = 0; i < length; i += unit) text += ` ${item(data, i, unit, form)}`;
    text += '\n';
  }
  return text;
}

/** Instructions that are shown at once. */
const MAX_INSTRUCTIONS = 65536;
const EFER_LMA = 0x400n;
const DESC_LONG = 1n << 21n;
const DESC_BIG = 1n << 22n;

/** What the processor takes bytes for: its code segment says. */
function codeBits(target: MonitorTarget): CodeBits {
  const registers = readSegments(target);
  const flags = registers.get('cs_flags') ?? 0n;
  const long = ((registers.get('efer') ?? 0n) & EFER_LMA) !== 0n;
  if (long && (flags & DESC_LONG) !== 0n) return 64;
  return (flags & DESC_BIG) !== 0n ? 32 : 16;
}

function disassembly(target: MonitorTarget, start: bigint, count: number, virtual: boolean): string {
  if (count > MAX_INSTRUCTIONS)
    throw new HmpError(`more than ${MAX_INSTRUCTIONS} instructions at once`, false);
  const bits = codeBits(target);
  const width = bits === 64 && virtual ? 16 : 8;
  let text = '';
  for (let at = start, left = count; left > 0; left--) {
    const one = disassemble(readCode(target, at, virtual), at, bits);
    if (one === undefined) return `${text}0x${hex(at, width)}: unable to read memory\n`;
    text += formatLine(one, width === 16 ? 64 : 32);
    at = BigInt.asUintN(64, at + BigInt(one.bytes.length));
  }
  return text;
}

/** Up to an instruction's length, as far as there is memory. */
function readCode(target: MonitorTarget, at: bigint, virtual: boolean): Uint8Array {
  const read = (from: bigint, size: number) =>
    virtual ? readVirtual(target, from, size) : readPhysical(target, from, size);
  const whole = read(at, MAX_LENGTH);
  if (whole !== undefined) return whole;
  const inPage = Number(PAGE - (at % PAGE));
  return (inPage < MAX_LENGTH ? read(at, inPage) : undefined) ?? new Uint8Array();
}

function print(given: HmpArguments): string {
  const { form } = given.fmt as Format;
  const value = given.val as bigint;
  const unsigned = BigInt.asUintN(64, value);
  switch (form) {
    case 'o':
      return `${unsigned === 0n ? '0' : `0${unsigned.toString(8)}`}\n`;
    case 'u':
      return `${unsigned}\n`;
    // Instructions are no numbers.
    case 'd':
    case 'i':
      return `${BigInt.asIntN(64, value)}\n`;
    case 'c':
      return `${quoted(Number(unsigned & 0xffn))}\n`;
    default:
      // C's `%#x` has no prefix for zero.
      return `${unsigned === 0n ? '0' : `0x${unsigned.toString(16)}`}\n`;
  }
}

/** The checksum of BSD's sum(1): 16 bits, rotated right before each byte. */
function sum(data: Uint8Array): number {
  let total = 0;
  for (const byte of data) {
    total = ((total >> 1) | (total << 15)) & 0xffff;
    total = (total + byte) & 0xffff;
  }
  return total;
}

const SUFFIX: Readonly<Record<number, string>> = { 1: 'b', 2: 'w', 4: 'l' };

function portSize(format: Format): 1 | 2 | 4 {
  if (format.size === 1 || format.size === 2) return format.size;
  return 4;
}

export const memoryCommands: readonly HmpCommand[] = [
  {
    name: 'x',
    takes: 'fmt:/,addr:l',
    synopsis: '/fmt addr',
    help: 'show memory at a virtual address',
    run: (given, target) => dump(given, target, true),
  },
  {
    name: 'xp',
    takes: 'fmt:/,addr:l',
    synopsis: '/fmt addr',
    help: 'show memory at a physical address',
    run: (given, target) => dump(given, target, false),
  },
  {
    name: 'print',
    aliases: ['p'],
    takes: 'fmt:/,val:l',
    synopsis: '/fmt expr',
    help: 'show the value of an expression (registers are $rip, $rax, …)',
    run: (given) => print(given),
  },
  {
    name: 'sum',
    takes: 'start:i,size:i',
    synopsis: 'addr size',
    help: 'show the BSD checksum of physical memory',
    run: ({ start, size }, target) => {
      const length = Number(size);
      if (length < 0 || length > 2 ** 32) throw new HmpError('size out of range', false);
      const data = readPhysical(target, start as bigint, length) ?? new Uint8Array(length);
      return `${String(sum(data)).padStart(5, '0')}\n`;
    },
  },
  {
    name: 'i',
    takes: 'fmt:/,addr:i',
    synopsis: '/fmt addr',
    help: 'read an I/O port',
    run: ({ fmt, addr }, target) => {
      const size = portSize(fmt as Format);
      const port = Number(addr as bigint) & 0xffff;
      const value = target.board.ports.read(port, size);
      return `port${SUFFIX[size]}[0x${hex(port, 4)}] = 0x${hex(value, size * 2)}\n`;
    },
  },
  {
    name: 'o',
    takes: 'fmt:/,addr:i,val:i',
    synopsis: '/fmt addr value',
    help: 'write to an I/O port',
    run: ({ fmt, addr, val }, target) => {
      const size = portSize(fmt as Format);
      target.board.ports.write(
        Number(addr as bigint) & 0xffff,
        size,
        Number(BigInt.asUintN(size * 8, val as bigint)),
      );
    },
  },
  {
    name: 'memsave',
    takes: 'val:l,size:i,filename:s',
    synopsis: 'addr size file',
    help: 'save memory at a virtual address to a file',
    run: ({ val, size, filename }, target) =>
      saveMemory(target, 'virtual', val as bigint, Number(size), String(filename)),
  },
  {
    name: 'pmemsave',
    takes: 'val:l,size:i,filename:s',
    synopsis: 'addr size file',
    help: 'save memory at a physical address to a file',
    run: ({ val, size, filename }, target) =>
      saveMemory(target, 'physical', val as bigint, Number(size), String(filename)),
  },
];
