/**
 * The disassembler: bytes to lines of text, by the same table and decoder as the processor. What the table has not is
 * shown as bytes. The monitor's `x/i` and the translator's reports print what it gives.
 */
import { Decoder, MAX_LENGTH } from '../decode/decode.ts';
import { opcodeTable } from '../table/index.ts';
import { formatAtt } from './att.ts';

/** 16-, 32- or 64-bit code. */
export type CodeBits = 16 | 32 | 64;

export interface Disassembled {
  readonly address: bigint;
  readonly bytes: Uint8Array;
  /** Mnemonic and operands, such as `movq     %rax, (%rdi)`. */
  readonly text: string;
}

const CODE: Readonly<Record<CodeBits, number>> = { 16: 0, 32: 1, 64: 2 };
/** Columns of the mnemonic. */
const NAME_WIDTH = 8;
/** Bytes in a line, in front of the text. */
const LINE_BYTES = 8;

/** Of ES, CS, SS, DS, FS, GS; and those that may stand beside. */
const SEGMENT_PREFIXES = [0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65];
const OTHER_PREFIXES = new Set([0x66, 0x67, 0xf0, 0xf2, 0xf3]);

let decoder: Decoder | undefined;

/**
 * One instruction.
 * @param address of the first byte, for branch targets
 * @returns undefined when it does not end within `bytes`
 */
export function disassemble(bytes: Uint8Array, address: bigint, bits: CodeBits): Disassembled | undefined {
  decoder ??= new Decoder(opcodeTable(), () => true);
  const insn = decoder.decode(bytes, 0, Math.min(bytes.length, MAX_LENGTH), 0, CODE[bits]);
  if (insn === 'short') return undefined;
  if (typeof insn === 'string')
    return {
      address,
      bytes: bytes.subarray(0, 1),
      text: `${'.byte'.padEnd(NAME_WIDTH)} 0x${bytes[0]!.toString(16).padStart(2, '0')}`,
    };
  const override = segmentPrefix(bytes.subarray(0, insn.length));
  const { name, operands } = formatAtt(insn, { address, bits, override });
  return {
    address,
    bytes: bytes.subarray(0, insn.length),
    text: `${name.padEnd(NAME_WIDTH)} ${operands}`,
  };
}

/** The last segment prefix in front of the opcode. In 64-bit mode most of them mean nothing, and are shown all the same. */
function segmentPrefix(bytes: Uint8Array): number {
  let segment = -1;
  for (const byte of bytes) {
    const index = SEGMENT_PREFIXES.indexOf(byte);
    if (index >= 0) segment = index;
    else if (!OTHER_PREFIXES.has(byte)) break;
  }
  return segment;
}

/** Lines as QEMU prints them: address, bytes eight in a row, text. */
export function formatLine({ address, bytes, text }: Disassembled, bits: CodeBits): string {
  const place = (at: bigint): string => `0x${at.toString(16).padStart(bits === 64 ? 16 : 8, '0')}:  `;
  const row = (from: number): string =>
    [...bytes.subarray(from, from + LINE_BYTES)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
  let line = `${place(address)}${row(0).padEnd(LINE_BYTES * 3 - 1)}  ${text}\n`;
  for (let from = LINE_BYTES; from < bytes.length; from += LINE_BYTES)
    line += `${place(address + BigInt(from))}${row(from)}\n`;
  return line;
}
