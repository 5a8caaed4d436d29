/** One encoding, many inputs: run by the host's processor and by ours, and everything compared. */
import * as L from '../../../src/x86/layout.ts';
import {
  AREA_BYTES,
  NATIVE_CODE,
  NATIVE_DATA,
  type NativeProcessor,
  RFLAGS_WORD,
  RIP_WORD,
} from '../../native/processor.ts';
import type { Encoding } from './generator.ts';
import type { Subject } from './guest.ts';
import type { Random } from './random.ts';
import { isLegacyPrefix } from '../../../src/x86/decode/decode.ts';
import { undefinedFlags, undefinedResult } from './undefined-flags.ts';

/** Data that a random instruction may touch lies in this part of the data area, across a page boundary. */
export const WINDOW = 4096 - 256;
export const WINDOW_BYTES = 512;
/** Parts of the data area that get random contents: the window, and the end in front of the unmapped page. */
const FILLED = [
  [WINDOW, WINDOW_BYTES],
  [AREA_BYTES - 64, 64],
] as const;
/** Parts that are compared: pushes and string instructions leave the window, and 16-bit addresses wrap around. */
const AREAS = [
  [0, 256],
  [WINDOW - 1024, 1024 + WINDOW_BYTES + 256],
  [AREA_BYTES - 256, 256],
] as const;
const ARITHMETIC = 0x8d5n;
/** Where RIP-relative operands point. */
export const RIP_TARGET = NATIVE_DATA + WINDOW + 128;

const REGISTERS = ['rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi'];
const registerName = (n: number): string => REGISTERS[n] ?? `r${n}`;

/** Random registers and data; the memory operand lands in the window, or now and then on the unmapped page. */
export function prepare(native: NativeProcessor, encoding: Encoding, random: Random): void {
  native.reset();
  const { words, fx } = native.input;
  for (let i = 0; i < 16; i++) words[i] = random.interesting();
  words[RFLAGS_WORD] = (random.u64() & ARITHMETIC) | 0x202n;
  words[4] = BigInt(NATIVE_DATA + WINDOW + 8 * random.below(16));
  // now and then operands whose differences are denormal, with FZ or unmasked underflow
  const tiny = random.chance(8);
  for (let i = 0; i < 32; i++)
    fx.setBigUint64(160 + 8 * i, tiny && random.chance(80) ? random.tiny() : random.floating(), true);
  for (let i = 0; i < 8; i++) {
    fx.setBigUint64(32 + 16 * i, random.interesting(), true);
    fx.setUint16(40 + 16 * i, 0xffff, true);
  }
  const mxcsr = tiny
    ? random.pick([0x9fa0, 0x17a0, 0x1fa0, 0x1f80])
    : random.chance(50)
      ? 0x1fa0
      : random.chance(40)
        ? 0x1f80
        : randomMxcsr(random);
  // now and then some exceptions are not masked, and flags are not up that would raise them at once
  fx.setUint32(24, random.chance(5) ? mxcsr & ~(random.below(64) << 7) & ~0x3f : mxcsr, true);
  const { address } = encoding;
  // parts differ in what a masked store checks: keep it where nothing can fail
  if (encoding.def.name.startsWith('maskmov')) words[7] = BigInt(NATIVE_DATA + WINDOW + random.below(64));
  if (address === undefined) return;
  if (encoding.def.name.startsWith('bt')) limitBitIndex(encoding, words, random);
  if (address.ripRelative) return;
  const { base, index, scale, disp } = address;
  const fault = random.chance(2);
  const alignment = random.chance(60) ? 16 : 1;
  let target = fault
    ? NATIVE_DATA + 0x10000 - random.below(8)
    : NATIVE_DATA + WINDOW + 64 + Math.floor(random.below(WINDOW_BYTES - 192) / alignment) * alignment;
  if (index >= 0 && index !== base) {
    const value = random.below(64) - 32;
    words[index] = BigInt.asUintN(64, BigInt(value));
    target -= value << scale;
  }
  words[base] = BigInt.asUintN(64, BigInt(target - disp));
  // an address of 32 bits ignores what stands above
  if (address.address32) words[base] = words[base]! & 0xffff_ffffn;
}

/** BT with a register index reaches far beyond its operand: keep it in the window. */
export function limitBitIndex(encoding: Encoding, words: BigUint64Array, random: Random): void {
  const { address } = encoding;
  for (let i = 0; i < 16; i++)
    if (i !== 4 && i !== address?.base && i !== address?.index)
      words[i] = BigInt.asUintN(64, BigInt(random.below(256) - 128));
}

/** All exceptions masked; any rounding, DAZ and FZ; any flags set already. */
export function randomMxcsr(random: Random): number {
  return (
    0x1f80 | (random.below(4) << 13) | (random.below(2) << 15) | (random.below(2) << 6) | random.below(64)
  );
}

export function fillData(native: NativeProcessor, random: Random): void {
  for (const [start, length] of FILLED) {
    const view = new DataView(native.data.buffer, native.data.byteOffset + start, length);
    for (let i = 0; i < length; i += 8) view.setBigUint64(i, random.floating(), true);
  }
}

/** What the host made of the input. */
export interface HostResult {
  readonly signal: number;
  readonly before: readonly Uint8Array[];
  readonly after: readonly Uint8Array[];
}

export function runHost(
  native: NativeProcessor,
  offset: number,
  run: () => number = () => native.run(),
): HostResult {
  const copy = (): Uint8Array[] => AREAS.map(([start, length]) => native.data.slice(start, start + length));
  native.input.words[RIP_WORD] = BigInt(NATIVE_CODE + offset);
  const before = copy();
  const signal = run();
  return { signal, before, after: copy() };
}

/** Runs a guest on the same input; undefined when all agrees, else what differs. */
export function compareOnce(
  native: NativeProcessor,
  host: HostResult,
  guest: Subject,
  encoding: Encoding,
  offset: number,
): string | undefined {
  const { input, output } = native;
  const { signal } = host;
  for (const [i, [start]] of AREAS.entries()) guest.data.set(host.before[i]!, start);
  const ours = guest.run(input.words, input.fx, offset);
  const theirs = native.stop();
  if (signal !== 0 && eitherFault(encoding, theirs.vector, ours.vector)) return undefined;
  if (signal === 0 ? ours.vector !== -1 : ours.vector !== theirs.vector)
    return `exception: host ${signal === 0 ? 'none' : theirs.vector}, ours ${ours.vector}`;
  if (signal !== 0 && theirs.vector === 14) {
    if (theirs.address !== ours.address)
      return `fault address: host ${theirs.address.toString(16)}, ours ${ours.address.toString(16)}`;
    const user = guest.userMode ? 0 : 4;
    if ((theirs.error & ~user) !== ours.error) return `error code: host ${theirs.error}, ours ${ours.error}`;
  }
  const bits = operandBits(encoding);
  const count =
    encoding.immediate ?? (encoding.def.operandCodes.includes('1') ? 1 : Number(input.words[1]! & 0xffn));
  if (undefinedResult(encoding.def.name, count, bits)) return undefined;
  const mask = guest.registers === 8 ? 0xffff_ffffn : 0xffff_ffff_ffff_ffffn;
  for (let i = 0; i < guest.registers; i++) {
    const mine = guest.view.getBigUint64(L.GPR + 8 * i, true) & mask;
    const host = output.words[i]! & mask;
    if (mine !== host) return `${registerName(i)}: host ${host.toString(16)}, ours ${mine.toString(16)}`;
  }
  // A fault amid REP CMPS or SCAS leaves RFLAGS as before (SDM volume 2, "REP"); AMD's have those of the last item.
  const amid = signal !== 0 && (encoding.def.name === 'cmps' || encoding.def.name === 'scas');
  const skip = amid ? ARITHMETIC : signal === 0 ? BigInt(undefinedFlags(encoding.def.name, count, bits)) : 0n;
  const flags = guest.rflags & ARITHMETIC & ~skip;
  const hostFlags = output.words[RFLAGS_WORD]! & ARITHMETIC & ~skip;
  if (flags !== hostFlags) return `flags: host ${hostFlags.toString(16)}, ours ${flags.toString(16)}`;
  for (let i = 0; i < 2 * guest.registers; i++) {
    const mine = guest.view.getBigUint64(L.XMM + 8 * i, true);
    const host = output.fx.getBigUint64(160 + 8 * i, true);
    if (mine !== host) return `xmm${i >> 1}[${i & 1}]: host ${host.toString(16)}, ours ${mine.toString(16)}`;
  }
  const mxcsr = guest.view.getUint32(L.MXCSR, true);
  const hostMxcsr = output.fx.getUint32(24, true);
  if (mxcsr !== hostMxcsr) return `mxcsr: host ${hostMxcsr.toString(16)}, ours ${mxcsr.toString(16)}`;
  for (let i = 0; i < 8; i++) {
    const mine = guest.view.getBigUint64(L.X87 + 16 * i, true);
    const host = output.fx.getBigUint64(32 + 16 * i, true);
    if (mine !== host) return `mm${i}: host ${host.toString(16)}, ours ${mine.toString(16)}`;
  }
  for (const [area, [start, length]] of AREAS.entries()) {
    const expected = host.after[area]!;
    for (let i = 0; i < length; i++) {
      const mine = guest.data[start + i];
      if (mine !== expected[i])
        return `memory ${start + i}: host ${expected[i]!.toString(16)}, ours ${mine!.toString(16)}`;
    }
  }
  return undefined;
}

/** Two faults of which one comes first, and the manuals do not say which. */
function eitherFault({ def, bytes }: Encoding, host: number, ours: number): boolean {
  // an operand that is both misaligned and outside the stack segment
  if (host === 13 && ours === 12) return def.operandCodes.some((code) => /^[VWU]/.test(code));
  // both undefined and too long
  if (host === 13 && ours === 6 && bytes.length > 15) return true;
  // source and destination both fail
  return (def.name === 'movs' || def.name === 'cmps') && host === 14 && ours === 13;
}

function operandBits(encoding: Encoding): number {
  const first = encoding.def.operandCodes[0] ?? '';
  if (first.endsWith('b') || first === 'AL') return 8;
  if (encoding.opsize !== undefined) return 8 * encoding.opsize;
  const opcode = encoding.bytes.findIndex((byte) => !isLegacyPrefix(byte));
  const rex = encoding.bytes[opcode]!;
  if ((rex & 0xf8) === 0x48) return 64;
  return encoding.bytes.slice(0, opcode).includes(0x66) ? 16 : 32;
}

export function describeInput(native: NativeProcessor, encoding: Encoding): string {
  const hex = encoding.bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  const registers = Array.from(
    { length: 16 },
    (_, i) => `${registerName(i)}=${native.input.words[i]!.toString(16)}`,
  ).join(' ');
  return `${encoding.def.name} (${hex}) ${registers} rflags=${native.input.words[RFLAGS_WORD]!.toString(16)}`;
}
