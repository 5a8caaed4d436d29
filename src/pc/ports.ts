/**
 * Helpers for ISA devices: their registers are bytes, but a guest may access them with words and double words, which
 * an 8-bit bus splits into byte cycles, lowest address first.
 */
import type { AccessSize, IoHandler } from '../core/bus.ts';

export interface ByteRegisters {
  read(offset: number): number;
  write(offset: number, value: number): void;
}

/** Byte registers as an `IoHandler`. Byte cycles behind `count` read as ones: nobody of this range answers. */
export function byteHandler(count: number, registers: ByteRegisters): IoHandler {
  return {
    read(offset: number, size: AccessSize): number {
      if (size === 1) return registers.read(offset) & 0xff;
      let value = 0;
      for (let i = 0; i < size; i++) {
        const byte = offset + i < count ? registers.read(offset + i) & 0xff : 0xff;
        value |= byte << (i * 8);
      }
      return value >>> 0;
    },
    write(offset: number, size: AccessSize, value: number): void {
      for (let i = 0; i < size && offset + i < count; i++) {
        registers.write(offset + i, (value >>> (i * 8)) & 0xff);
      }
    },
  };
}
