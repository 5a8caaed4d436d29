/**
 * MSI-X: the capability, its vector table and pending bits in a BAR (PCI 3.0 §6.8.2). Vectors are sent as messages
 * by the function; a masked vector is remembered and sent when it is unmasked.
 */
import type { AccessSize, IoHandler } from '../bus.ts';
import { assert } from '../errors.ts';
import type { PciFunction } from './function.ts';
import { PCI_CAP_ID_MSIX } from './regs.ts';

// Capability: message control at 2, table offset and BAR at 4, pending bits at 8.
const CONTROL = 2;
const TABLE = 4;
const PENDING = 8;
const CAPABILITY_LENGTH = 12;
const CONTROL_ENABLE = 0x8000;
const CONTROL_MASK_ALL = 0x4000;

// A table entry: address low and high, data, vector control (bit 0: masked).
const ENTRY_SIZE = 16;
const ENTRY_DATA = 8;
const ENTRY_CONTROL = 12;

/** "No vector", in the registers of virtio and in ours. */
export const MSIX_NO_VECTOR = 0xffff;

export interface MsixState {
  readonly table: Uint8Array;
  readonly pending: Uint8Array;
}

export class Msix {
  readonly vectors: number;
  /** Offset of the capability in configuration space. */
  readonly capability: number;
  readonly #fn: PciFunction;
  readonly #table: Uint8Array;
  readonly #view: DataView;
  readonly #pending: Uint8Array;
  readonly #pbaOffset: number;

  /**
   * Adds the capability and BAR `barIndex` (memory, 32-bit, at least 4 KiB: table at 0, pending bits in the middle
   * or, for more than 128 vectors, behind the table: QEMU's layout).
   * @param vectors 1 to 2048 (§6.8.2.3)
   */
  constructor(fn: PciFunction, vectors: number, barIndex: number) {
    assert(vectors >= 1 && vectors <= 2048, `${fn.name}: MSI-X has 1 to 2048 vectors`, vectors);
    this.#fn = fn;
    this.vectors = vectors;
    this.#table = new Uint8Array(vectors * ENTRY_SIZE);
    this.#view = new DataView(this.#table.buffer);
    this.#pending = new Uint8Array(Math.ceil(vectors / 64) * 8);
    this.#pbaOffset = Math.max(2048, vectors * ENTRY_SIZE);
    const size = 2 ** Math.ceil(Math.log2(Math.max(4096, this.#pbaOffset + this.#pending.length)));
    this.capability = fn.addCapability(PCI_CAP_ID_MSIX, CAPABILITY_LENGTH);
    fn.setWord(this.capability + CONTROL, vectors - 1);
    fn.writeMask[this.capability + CONTROL + 1] = (CONTROL_ENABLE | CONTROL_MASK_ALL) >>> 8;
    fn.setDword(this.capability + TABLE, barIndex);
    fn.setDword(this.capability + PENDING, this.#pbaOffset | barIndex);
    fn.addBar(barIndex, { name: `${fn.name}-msix`, kind: 'mem32', size, handler: this.#handler() });
    fn.msix = this;
    this.reset();
  }

  get enabled(): boolean {
    return (this.#fn.word(this.capability + CONTROL) & CONTROL_ENABLE) !== 0;
  }

  isMasked(vector: number): boolean {
    const all = (this.#fn.word(this.capability + CONTROL) & CONTROL_MASK_ALL) !== 0;
    return all || (this.#table[vector * ENTRY_SIZE + ENTRY_CONTROL]! & 1) !== 0;
  }

  isPending(vector: number): boolean {
    return (this.#pending[vector >> 3]! & (1 << (vector & 7))) !== 0;
  }

  /** Raises a vector: sent now, kept pending while masked, nothing when MSI-X is off or the vector does not exist. */
  notify(vector: number): void {
    if (vector < 0 || vector >= this.vectors || !this.enabled) return;
    if (this.isMasked(vector)) {
      this.#pending[vector >> 3]! |= 1 << (vector & 7);
      return;
    }
    this.#send(vector);
  }

  /** Forgets a pending vector: its cause went away before it was unmasked. */
  clearPending(vector: number): void {
    if (vector >= 0 && vector < this.vectors) this.#pending[vector >> 3]! &= ~(1 << (vector & 7));
  }

  /** The function's configuration was written: unmasking everything sends what is pending. */
  configWritten(offset: number, size: number): void {
    const at = this.capability + CONTROL;
    if (offset < at + 2 && offset + size > at) this.#sendPending();
  }

  reset(): void {
    this.#fn.setWord(this.capability + CONTROL, this.vectors - 1);
    this.#table.fill(0);
    this.#pending.fill(0);
    for (let v = 0; v < this.vectors; v++) this.#table[v * ENTRY_SIZE + ENTRY_CONTROL] = 1;
  }

  save(): MsixState {
    return { table: this.#table.slice(), pending: this.#pending.slice() };
  }

  restore(state: MsixState): void {
    this.#table.set(state.table);
    this.#pending.set(state.pending);
  }

  #send(vector: number): void {
    const at = vector * ENTRY_SIZE;
    const address = this.#view.getUint32(at, true) + this.#view.getUint32(at + 4, true) * 2 ** 32;
    this.#fn.sendMessage(address, this.#view.getUint32(at + ENTRY_DATA, true));
  }

  #sendPending(): void {
    if (!this.enabled) return;
    for (let v = 0; v < this.vectors; v++) {
      if (!this.isPending(v) || this.isMasked(v)) continue;
      this.clearPending(v);
      this.#send(v);
    }
  }

  #handler(): IoHandler {
    return {
      read: (offset, size) => {
        const inTable = offset < this.#table.length;
        const bytes = inTable ? this.#table : this.#pending;
        const at = inTable ? offset : offset - this.#pbaOffset;
        let value = 0;
        for (let i = size - 1; i >= 0; i--) value = value * 256 + (bytes[at + i] ?? 0);
        return value;
      },
      write: (offset, size: AccessSize, value) => {
        // The pending bits are read-only (§6.8.2.10).
        if (offset + size > this.#table.length) return;
        for (let i = 0; i < size; i++) this.#table[offset + i] = (value >>> (i * 8)) & 0xff;
        this.#sendPending();
      },
    };
  }
}
