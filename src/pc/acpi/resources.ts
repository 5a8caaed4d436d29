/**
 * Resource descriptors: what a device says that it uses, as the bytes of a `_CRS` or `_PRS` buffer.
 * Specification: ACPI 6.4 §6.4.
 */
import { type Aml, buffer } from './aml.ts';

function le(value: number, size: number): number[] {
  const wide = BigInt(value);
  return Array.from({ length: size }, (_, i) => Number((wide >> BigInt(8 * i)) & 0xffn));
}

/** A resource template: the descriptors and the end tag (checksum 0: not used). */
export function template(...descriptors: readonly Aml[]): Aml {
  return buffer([...descriptors.flat(), 0x79, 0x00]);
}

/** Ports at a fixed place, decoded with 16 bits (§6.4.2.5). */
export function ports(base: number, size: number, alignment = 1): Aml {
  return [0x47, 0x01, ...le(base, 2), ...le(base, 2), alignment, size];
}

/** Interrupts of the PIC, edge-triggered and active high (§6.4.2.1, the form without flags). */
export function irq(...numbers: readonly number[]): Aml {
  return [
    0x22,
    ...le(
      numbers.reduce((mask, each) => mask | (1 << each), 0),
      2,
    ),
  ];
}

/** An interrupt that may be shared: level-triggered, active high (§6.4.3.6). */
export function sharedInterrupt(...gsis: readonly number[]): Aml {
  // Consumer, level, active high, shared.
  const body = [0x09, gsis.length, ...gsis.flatMap((gsi) => le(gsi, 4))];
  return [0x89, ...le(body.length, 2), ...body];
}

/** 32-bit memory at a fixed place (§6.4.3.4). */
export function memory32(base: number, size: number, writable = true): Aml {
  return [0x86, ...le(9, 2), writable ? 1 : 0, ...le(base, 4), ...le(size, 4)];
}

/** Resource types of address space descriptors (§6.4.3.5). */
const SPACE = { memory: 0, io: 1, bus: 2 } as const;

interface Window {
  readonly min: number;
  readonly max: number;
  readonly space: keyof typeof SPACE;
  /** Memory: cacheable and prefetchable or not. */
  readonly cacheable?: boolean;
}

/** A range that a bridge passes on: producer, positive decode, both ends fixed; 16, 32 or 64 bits wide. */
function passed(tag: number, size: 2 | 4 | 8, { min, max, space, cacheable = false }: Window): Aml {
  // Memory: read/write, and cacheable (bits 1-2). I/O: the whole range, not just ISA aliases.
  const specific = space === 'memory' ? (cacheable ? 3 : 1) : space === 'io' ? 3 : 0;
  const fields = [0, min, max, 0, max - min + 1].flatMap((field) => le(field, size));
  const body = [SPACE[space], 0x0c, specific, ...fields];
  return [tag, ...le(body.length, 2), ...body];
}

export const wordBus = (min: number, max: number): Aml => passed(0x88, 2, { min, max, space: 'bus' });
export const wordIo = (min: number, max: number): Aml => passed(0x88, 2, { min, max, space: 'io' });
export const dwordMemory = (min: number, max: number, cacheable = false): Aml =>
  passed(0x87, 4, { min, max, space: 'memory', cacheable });
export const qwordMemory = (min: number, max: number, cacheable = false): Aml =>
  passed(0x8a, 8, { min, max, space: 'memory', cacheable });
