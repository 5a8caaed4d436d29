/**
 * An address space of registers: the PC's 64 K I/O ports, or guest-physical addresses that are not RAM.
 * Accesses are 1, 2 or 4 bytes and values are unsigned 32-bit numbers; the processor splits wider ones, low half
 * first. An address that nobody claims reads as all ones and ignores writes, as on a real bus.
 */
import { assert } from './errors.ts';

export type AccessSize = 1 | 2 | 4;

/** What a device puts behind a range. `offset` counts from the start of its range. */
export interface IoHandler {
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
}

export interface IoRange {
  readonly name: string;
  readonly base: number;
  readonly size: number;
  readonly handler: IoHandler;
}

export class AddressSpace {
  readonly name: string;
  /** Sorted by base; ranges never overlap. */
  #ranges: IoRange[] = [];
  #last: IoRange | undefined;

  constructor(name: string) {
    this.name = name;
  }

  get ranges(): readonly IoRange[] {
    return this.#ranges;
  }

  /** True when [base, base + size) touches no claimed range. */
  isFree(base: number, size: number): boolean {
    return !this.#ranges.some((range) => base < range.base + range.size && range.base < base + size);
  }

  /** Claims a range; returns the function that gives it back. An overlap is a bug of the caller's. */
  add(range: IoRange): () => void {
    assert(this.isFree(range.base, range.size), `${this.name}: ${range.name} overlaps another range`, {
      base: range.base,
      size: range.size,
    });
    this.#ranges = [...this.#ranges, range].sort((a, b) => a.base - b.base);
    this.#last = undefined;
    return () => {
      this.#ranges = this.#ranges.filter((other) => other !== range);
      this.#last = undefined;
    };
  }

  find(address: number): IoRange | undefined {
    const last = this.#last;
    if (last !== undefined && address >= last.base && address < last.base + last.size) return last;
    let low = 0;
    let high = this.#ranges.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const range = this.#ranges[middle]!;
      if (address < range.base) high = middle - 1;
      else if (address >= range.base + range.size) low = middle + 1;
      else return (this.#last = range);
    }
    return undefined;
  }

  read(address: number, size: AccessSize): number {
    const range = this.find(address);
    if (range === undefined) return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
    return range.handler.read(address - range.base, size) >>> 0;
  }

  write(address: number, size: AccessSize, value: number): void {
    const range = this.find(address);
    range?.handler.write(address - range.base, size, value >>> 0);
  }
}
