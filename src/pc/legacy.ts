/**
 * The small ISA residents: DMA controllers that only remember what is written, the POST code port, the coprocessor
 * error port, port 92h, the reset register CF9h's logic, QEMU's debug console and its debug exit.
 */
import type { AddressSpace } from '../core/bus.ts';
import { byteHandler } from './ports.ts';

/**
 * The two 8237 DMA controllers and their page registers. Nothing here does ISA DMA: software that initialises them
 * finds its values back, and no transfer ever completes.
 */
export class DmaRegisters {
  state = { bytes: new Uint8Array(0x60) };

  constructor(ports: AddressSpace) {
    // First controller, pages, second controller; page registers only where a channel has one.
    const ranges: readonly (readonly [name: string, base: number, size: number])[] = [
      ['dma-chan', 0x00, 8],
      ['dma-cont', 0x08, 8],
      ['dma-page', 0x81, 3],
      ['dma-page', 0x87, 1],
      ['dma-page', 0x89, 3],
      ['dma-page', 0x8f, 1],
      ['dma-chan', 0xc0, 16],
      ['dma-cont', 0xd0, 16],
    ];
    let at = 0;
    for (const [name, base, size] of ranges) {
      const first = at;
      at += size;
      const registers = {
        // The status register (08h, D0h) says: no request, no terminal count.
        read: (offset: number) => (name === 'dma-cont' ? 0 : this.state.bytes[first + offset]!),
        write: (offset: number, value: number) => {
          this.state.bytes[first + offset] = value;
        },
      };
      ports.add({ name, base, size, handler: byteHandler(size, registers) });
    }
  }

  reset(): void {
    this.state.bytes.fill(0);
  }
}

const PORT92_RESET = 0x01;
const PORT92_A20 = 0x02;

/** Port 92h: fast reset and fast A20 (which is always open). */
export class Port92 {
  state = { value: PORT92_A20 };

  constructor(ports: AddressSpace, onReset: () => void) {
    const registers = {
      read: () => this.state.value | PORT92_A20,
      write: (_: number, value: number) => {
        const rising = (value & ~this.state.value & PORT92_RESET) !== 0;
        this.state.value = value;
        if (rising) onReset();
      },
    };
    ports.add({ name: 'port92', base: 0x92, size: 1, handler: byteHandler(1, registers) });
  }

  reset(): void {
    this.state.value = PORT92_A20;
  }
}

/** POST codes (80h) and the coprocessor's error latch (F0h): written, never read. */
export function addQuietPorts(ports: AddressSpace, onPostCode: (code: number) => void = () => {}): void {
  ports.add({
    name: 'ioport80',
    base: 0x80,
    size: 1,
    handler: { read: (_, size) => allOnes(size), write: (_, __, value) => onPostCode(value & 0xff) },
  });
  ports.add({
    name: 'ioportF0',
    base: 0xf0,
    size: 1,
    handler: { read: (_, size) => allOnes(size), write: () => {} },
  });
}

/** `isa-debug-exit`: a write of v ends the machine with status (v << 1) | 1. */
export function addDebugExit(
  ports: AddressSpace,
  options: { readonly iobase?: number; readonly iosize?: number; readonly onExit: (status: number) => void },
): () => void {
  return ports.add({
    name: 'isa-debug-exit',
    base: options.iobase ?? 0x501,
    size: options.iosize ?? 2,
    handler: { read: () => 0, write: (_, __, value) => options.onExit(((value << 1) | 1) & 0xff) },
  });
}

/** `isa-debugcon`: what is written goes to `onByte`; reading tells that it is there (E9h, as Bochs has it). */
export function addDebugConsole(
  ports: AddressSpace,
  options: { readonly iobase?: number; readonly readback?: number; readonly onByte: (byte: number) => void },
): () => void {
  const readback = options.readback ?? 0xe9;
  const registers = { read: () => readback, write: (_: number, value: number) => options.onByte(value) };
  return ports.add({
    name: 'isa-debugcon',
    base: options.iobase ?? 0xe9,
    size: 1,
    handler: byteHandler(1, registers),
  });
}

/** What a guest tells of itself through pvpanic: bit 0 it panicked, bit 1 it loaded its crash kernel. */
export const PVPANIC = { panicked: 1, crashLoaded: 2 } as const;

/** `pvpanic` (QEMU docs/specs/pvpanic): reading tells the events that are understood. */
export function addPvpanic(
  ports: AddressSpace,
  options: { readonly ioport?: number; readonly onEvent: (events: number) => void },
): () => void {
  const supported = PVPANIC.panicked | PVPANIC.crashLoaded;
  const registers = {
    read: () => supported,
    write: (_: number, value: number) => {
      if ((value & supported) !== 0) options.onEvent(value & supported);
    },
  };
  return ports.add({
    name: 'pvpanic',
    base: options.ioport ?? 0x505,
    size: 1,
    handler: byteHandler(1, registers),
  });
}

function allOnes(size: 1 | 2 | 4): number {
  return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
}
