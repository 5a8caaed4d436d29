/**
 * Memory that a driver gives out to rings and buffers: a first-fit allocator over a run of guest RAM. It is what an
 * operating system's page allocator is to a real driver, and no more.
 */
import type { GuestMemory } from '../../core/memory.ts';

/** A piece of guest-physical memory, as drivers put it into descriptors. */
export interface Sg {
  readonly address: number;
  readonly length: number;
}

export class DriverMemory {
  readonly ram: GuestMemory;
  /** Free pieces, sorted by address, never adjacent. */
  #free: { address: number; length: number }[];
  readonly #sizes = new Map<number, number>();

  /** @param start, end the part of guest RAM that may be given out; `end` is exclusive */
  constructor(ram: GuestMemory, start: number, end: number) {
    this.ram = ram;
    this.#free = [{ address: start, length: end - start }];
  }

  /** Guest-physical address of `length` zeroed bytes, a multiple of `align`; throws when memory is used up. */
  allocate(length: number, align = 16): number {
    for (const [at, piece] of this.#free.entries()) {
      const address = Math.ceil(piece.address / align) * align;
      const end = piece.address + piece.length;
      if (address + length > end) continue;
      const rest = [
        { address: piece.address, length: address - piece.address },
        { address: address + length, length: end - address - length },
      ];
      this.#free.splice(at, 1, ...rest.filter((left) => left.length > 0));
      this.#sizes.set(address, length);
      this.ram.slice(address, length)!.fill(0);
      return address;
    }
    throw new RangeError(`the driver's memory is used up: ${length} bytes wanted`);
  }

  /** Gives back what `allocate` gave. */
  free(address: number): void {
    const length = this.#sizes.get(address);
    if (length === undefined) throw new RangeError(`0x${address.toString(16)} was not allocated`);
    this.#sizes.delete(address);
    this.#free.push({ address, length });
    this.#free.sort((a, b) => a.address - b.address);
    this.#free = this.#free.reduce<{ address: number; length: number }[]>((merged, piece) => {
      const last = merged.at(-1);
      if (last !== undefined && last.address + last.length === piece.address) last.length += piece.length;
      else merged.push({ ...piece });
      return merged;
    }, []);
  }

  /** A buffer of its own with `data` in it. */
  buffer(data: Uint8Array): Sg {
    const address = this.allocate(Math.max(1, data.length));
    this.ram.write(address, data);
    return { address, length: data.length };
  }

  /** A copy of what is at `sg`. */
  read(sg: Sg, length = sg.length): Uint8Array {
    return this.ram.slice(sg.address, length)!.slice();
  }
}
