/**
 * QEMU's firmware configuration device: numbered items and named files that firmware and guests read by port 511h or
 * by DMA. QEMU docs/specs/fw_cfg. Guests may read every item; only files with a write callback take data.
 */
import type { AddressSpace } from '../core/bus.ts';
import { UsageError, assert } from '../core/errors.ts';
import type { GuestMemory } from '../core/memory.ts';

const SELECTOR_PORT = 0x510;
const DMA_PORT = 0x514;

/** Selector keys of the items that have no name. */
export const FW_CFG = {
  signature: 0x00,
  id: 0x01,
  uuid: 0x02,
  ramSize: 0x03,
  noGraphic: 0x04,
  cpuCount: 0x05,
  machineId: 0x06,
  kernelAddress: 0x07,
  kernelSize: 0x08,
  kernelCommandLine: 0x09,
  initrdAddress: 0x0a,
  initrdSize: 0x0b,
  bootDevice: 0x0c,
  numa: 0x0d,
  bootMenu: 0x0e,
  maxCpus: 0x0f,
  kernelEntry: 0x10,
  kernelData: 0x11,
  initrdData: 0x12,
  commandLineAddress: 0x13,
  commandLineSize: 0x14,
  commandLineData: 0x15,
  setupAddress: 0x16,
  setupSize: 0x17,
  setupData: 0x18,
  fileDirectory: 0x19,
  fileFirst: 0x20,
  acpiTables: 0x8000,
  smbiosEntries: 0x8001,
  irq0Override: 0x8002,
  e820Table: 0x8003,
  hpet: 0x8004,
} as const;

/** Version: bit 0 the port interface, bit 1 DMA. */
const VERSION = 3;
/** Files that fit the directory: as many as QEMU's default, with a generous margin. */
const MAX_FILES = 64;
const NAME_LENGTH = 56;
const DIRECTORY_ENTRY = 64;

const DMA_ERROR = 0x01;
const DMA_READ = 0x02;
const DMA_SKIP = 0x04;
const DMA_SELECT = 0x08;
const DMA_WRITE = 0x10;
/** "QEMU CFG": what the DMA register reads as, high half first. */
const DMA_SIGNATURE = [0x51454d55, 0x20434647] as const;

interface Item {
  data: Uint8Array;
  /** Called when a guest selects the item: the data may be made then. */
  readonly onSelect?: () => void;
  /** Called after a guest has written `length` bytes at `offset`; an item without it is read-only. */
  readonly onWrite?: (offset: number, length: number) => void;
}

/** One `-fw_cfg name=…` or a file of the machine's own. */
export interface FwCfgFile {
  readonly name: string;
  readonly data: Uint8Array;
  readonly onSelect?: () => void;
  readonly onWrite?: (offset: number, length: number) => void;
}

export interface FwCfgState {
  selected: number;
  offset: number;
  dmaHigh: number;
}

const encoder = new TextEncoder();

export class FwCfg {
  state: FwCfgState = { selected: 0, offset: 0, dmaHigh: 0 };
  readonly #memory: GuestMemory;
  readonly #items = new Map<number, Item>();
  readonly #files: { name: string; key: number; size: number }[] = [];

  constructor(ports: AddressSpace, memory: GuestMemory) {
    this.#memory = memory;
    this.set(FW_CFG.signature, encoder.encode('QEMU'));
    this.setNumber(FW_CFG.id, VERSION, 4);
    this.#updateDirectory();
    ports.add({
      name: 'fwcfg',
      base: SELECTOR_PORT,
      size: 2,
      handler: {
        // The selector is write-only and reads as zero; the data register is a byte.
        read: (offset, size) => (offset === 1 && size === 1 ? this.#nextByte() : 0),
        write: (offset, size, value) => {
          // Writing through the data register was withdrawn in QEMU 2.4: ignored.
          if (offset === 0 && size === 2) this.#select(value);
        },
      },
    });
    ports.add({
      name: 'fwcfg.dma',
      base: DMA_PORT,
      size: 8,
      handler: {
        read: (offset, size) => (size === 4 ? byteSwap(DMA_SIGNATURE[offset >> 2]!) : 0),
        write: (offset, size, value) => {
          if (size !== 4) return;
          // The address is big-endian; the write of its low half starts the transfer.
          if (offset === 0) this.state.dmaHigh = byteSwap(value);
          else this.#dma(this.state.dmaHigh * 2 ** 32 + byteSwap(value));
        },
      },
    });
  }

  reset(): void {
    this.state = { selected: 0, offset: 0, dmaHigh: 0 };
  }

  /** Sets a numbered item; the array is kept, not copied. */
  set(key: number, data: Uint8Array): void {
    this.#items.set(key, { data });
  }

  /** A little-endian number of `bytes` bytes (2, 4 or 8). */
  setNumber(key: number, value: number, bytes: 2 | 4 | 8): void {
    const data = new Uint8Array(bytes);
    let rest = value;
    for (let i = 0; i < bytes; i++) {
      data[i] = rest % 256;
      rest = Math.floor(rest / 256);
    }
    this.set(key, data);
  }

  /** A string item with its terminating zero. */
  setString(key: number, text: string): void {
    this.set(key, encoder.encode(`${text}\0`));
  }

  /** Adds a named file, or replaces the data of one of the same name and size or not. */
  addFile(file: FwCfgFile): void {
    const item: Item = {
      data: file.data,
      ...(file.onSelect && { onSelect: file.onSelect }),
      ...(file.onWrite && { onWrite: file.onWrite }),
    };
    if (encoder.encode(file.name).length >= NAME_LENGTH) {
      throw new UsageError(`fw_cfg: name '${file.name}' is too long (max. ${NAME_LENGTH - 1} char)`);
    }
    const known = this.#files.find((other) => other.name === file.name);
    if (known !== undefined) {
      known.size = file.data.length;
      this.#items.set(known.key, item);
    } else {
      assert(this.#files.length < MAX_FILES, 'fw_cfg: too many files', file.name);
      const key = FW_CFG.fileFirst + this.#files.length;
      this.#files.push({ name: file.name, key, size: file.data.length });
      this.#items.set(key, item);
    }
    this.#updateDirectory();
  }

  get files(): readonly string[] {
    return this.#files.map((file) => file.name);
  }

  /** What a guest would read: for tests and `info` commands. */
  item(key: number): Uint8Array | undefined {
    return this.#items.get(key)?.data;
  }

  #updateDirectory(): void {
    const sorted = [...this.#files].sort((a, b) => (a.name < b.name ? -1 : 1));
    const data = new Uint8Array(4 + sorted.length * DIRECTORY_ENTRY);
    const view = new DataView(data.buffer);
    view.setUint32(0, sorted.length);
    sorted.forEach((file, index) => {
      const at = 4 + index * DIRECTORY_ENTRY;
      view.setUint32(at, file.size);
      view.setUint16(at + 4, file.key);
      data.set(encoder.encode(file.name), at + 8);
    });
    this.set(FW_CFG.fileDirectory, data);
  }

  #select(key: number): void {
    this.state.selected = key & 0xbfff;
    this.state.offset = 0;
    this.#items.get(this.state.selected)?.onSelect?.();
  }

  #nextByte(): number {
    const data = this.#items.get(this.state.selected)?.data;
    if (data === undefined || this.state.offset >= data.length) return 0;
    return data[this.state.offset++]!;
  }

  #dma(address: number): void {
    const control = this.#memory.slice(address, 16);
    if (control === undefined) return;
    const view = new DataView(control.buffer, control.byteOffset, 16);
    const command = view.getUint32(0);
    const length = view.getUint32(4);
    const target = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    if ((command & DMA_SELECT) !== 0) this.#select(command >>> 16);
    view.setUint32(0, this.#transfer(command, length, target) ? 0 : DMA_ERROR);
    this.#memory.noteWritten(address, 4);
  }

  #transfer(command: number, length: number, target: number): boolean {
    const item = this.#items.get(this.state.selected);
    const { offset } = this.state;
    const left = item === undefined ? 0 : Math.max(0, item.data.length - offset);
    const count = Math.min(length, left);
    if ((command & DMA_READ) !== 0) {
      const to = this.#memory.slice(target, length);
      if (to === undefined) return false;
      if (item !== undefined) to.set(item.data.subarray(offset, offset + count));
      // "Reading past the end of an item yields zeroes."
      to.fill(0, count);
      this.#memory.noteWritten(target, length);
    } else if ((command & DMA_WRITE) !== 0) {
      const from = this.#memory.slice(target, length);
      if (from === undefined || item?.onWrite === undefined || count !== length) return false;
      item.data.set(from, offset);
      item.onWrite(offset, length);
    } else if ((command & DMA_SKIP) === 0) {
      return true;
    }
    this.state.offset = offset + count;
    return true;
  }
}

function byteSwap(value: number): number {
  return ((value >>> 24) | ((value >>> 8) & 0xff00) | ((value & 0xff00) << 8) | ((value & 0xff) << 24)) >>> 0;
}

/** Type of usable memory (ACPI 6.4 §15). */
export const E820_RAM = 1;

/** The `etc/e820` file: base, length, type, 20 bytes an entry, little-endian. */
export function encodeE820(
  entries: readonly { readonly base: number; readonly size: number; readonly type: number }[],
): Uint8Array {
  const data = new Uint8Array(entries.length * 20);
  const view = new DataView(data.buffer);
  entries.forEach((entry, index) => {
    const at = index * 20;
    view.setBigUint64(at, BigInt(entry.base), true);
    view.setBigUint64(at + 8, BigInt(entry.size), true);
    view.setUint32(at + 16, entry.type, true);
  });
  return data;
}
