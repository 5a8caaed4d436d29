/**
 * One PCI function: its configuration space with write masks, up to six BARs, a capability list, INTx and MSI-X.
 * It knows no bus: whoever carries it implements `PciHost`. Guests may write anything anywhere: bits that are not
 * writable keep their value, and accesses outside configuration space read as ones. PCI 3.0 §6.
 */
import type { AccessSize, IoHandler } from '../bus.ts';
import { assert } from '../errors.ts';
import type { IrqLine, MsiTarget } from '../irq.ts';
import type { Msix, MsixState } from './msix.ts';
import * as r from './regs.ts';

/** What a bus gives the function that it carries. */
export interface PciHost {
  /** The line that the function's interrupt pin is routed to. */
  readonly intx: IrqLine;
  readonly msi: MsiTarget;
  /** Decoding changed (command register or a BAR was written): compare `fn.mappings()` with what is mapped. */
  mappingChanged(fn: PciFunction): void;
}

export interface PciIdentity {
  readonly vendor: number;
  readonly device: number;
  readonly revision: number;
  /** 24 bits: base class, sub-class, programming interface. */
  readonly classCode: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
  /** 0 none, 1 = INTA# … 4 = INTD#. */
  readonly interruptPin: number;
}

export interface BarSpec {
  /** For messages and `info mtree`. */
  readonly name: string;
  readonly kind: 'io' | 'mem32' | 'mem64';
  readonly prefetchable?: boolean;
  /** Bytes, a power of two: at least 4 for I/O, 16 for memory. */
  readonly size: number;
  readonly handler: IoHandler;
}

/** A BAR and the address at which it answers now. */
export interface BarMapping {
  readonly index: number;
  readonly bar: BarSpec;
  readonly space: 'io' | 'mem';
  readonly base: number;
}

/** What a snapshot keeps of a function. */
export interface PciFunctionState {
  readonly config: Uint8Array;
  readonly intxLevel: boolean;
  readonly msix: MsixState | undefined;
}

const NO_HOST: PciHost = {
  intx: { set: () => {} },
  msi: { send: () => {} },
  mappingChanged: () => {},
};

export class PciFunction {
  readonly name: string;
  /** Configuration space as the guest reads it. */
  readonly config: Uint8Array;
  /** Bits that a guest's write changes, and bits that a written one clears. */
  readonly writeMask: Uint8Array;
  readonly clearMask: Uint8Array;
  /** By BAR number; the upper half of a 64-bit BAR is undefined. */
  readonly bars: (BarSpec | undefined)[] = [undefined, undefined, undefined, undefined, undefined, undefined];
  /** Set by `Msix` when the function has it. */
  msix: Msix | undefined;
  protected host: PciHost = NO_HOST;
  readonly #view: DataView;
  #intxLevel = false;
  #nextCapability = 0x40;

  /** @param configSize 256, or 4096 for a function with PCI Express extended configuration space */
  constructor(name: string, identity: PciIdentity, configSize: 256 | 4096 = r.PCI_CONFIG_SIZE) {
    this.name = name;
    this.config = new Uint8Array(configSize);
    this.writeMask = new Uint8Array(configSize);
    this.clearMask = new Uint8Array(configSize);
    this.#view = new DataView(this.config.buffer);
    this.setWord(r.PCI_VENDOR_ID, identity.vendor);
    this.setWord(r.PCI_DEVICE_ID, identity.device);
    this.config[r.PCI_REVISION_ID] = identity.revision;
    this.config[r.PCI_CLASS_PROG] = identity.classCode & 0xff;
    this.setWord(r.PCI_CLASS_DEVICE, identity.classCode >>> 8);
    this.setWord(r.PCI_SUBSYSTEM_VENDOR_ID, identity.subsystemVendor);
    this.setWord(r.PCI_SUBSYSTEM_ID, identity.subsystem);
    this.config[r.PCI_INTERRUPT_PIN] = identity.interruptPin;
    this.writeMask[r.PCI_CACHE_LINE_SIZE] = 0xff;
    this.writeMask[r.PCI_INTERRUPT_LINE] = 0xff;
    const command =
      r.PCI_COMMAND_IO |
      r.PCI_COMMAND_MEMORY |
      r.PCI_COMMAND_MASTER |
      r.PCI_COMMAND_PARITY |
      r.PCI_COMMAND_SERR |
      r.PCI_COMMAND_INTX_DISABLE;
    this.writeMask[r.PCI_COMMAND] = command & 0xff;
    this.writeMask[r.PCI_COMMAND + 1] = command >>> 8;
    this.clearMask[r.PCI_STATUS + 1] = r.PCI_STATUS_W1C >>> 8;
  }

  /** Called by the bus when the function is plugged in. */
  connect(host: PciHost): void {
    this.host = host;
    this.#driveIntx();
  }

  /** Called by the bus before the function is taken out: its line goes low and it reaches nothing any more. */
  disconnect(): void {
    this.host.intx.set(false);
    this.host = NO_HOST;
  }

  // -- building ----------------------------------------------------------------------------------------------

  /** Declares BAR `index`. A 'mem64' BAR takes `index` and `index + 1`. */
  addBar(index: number, bar: BarSpec): void {
    const least = bar.kind === 'io' ? 4 : 16;
    assert(Number.isInteger(Math.log2(bar.size)) && bar.size >= least, `${this.name}: bad BAR size`, bar);
    assert(index >= 0 && index + (bar.kind === 'mem64' ? 1 : 0) < 6, `${this.name}: no BAR ${index}`);
    this.bars[index] = bar;
    const at = r.PCI_BASE_ADDRESS_0 + index * 4;
    let type = bar.kind === 'io' ? r.PCI_BASE_ADDRESS_SPACE_IO : 0;
    if (bar.kind === 'mem64') type |= r.PCI_BASE_ADDRESS_MEM_TYPE_64;
    if (bar.prefetchable === true) type |= r.PCI_BASE_ADDRESS_MEM_PREFETCH;
    this.setDword(at, type);
    const mask = -BigInt(bar.size);
    new DataView(this.writeMask.buffer).setUint32(at, Number(mask & 0xffffffffn), true);
    if (bar.kind === 'mem64') {
      new DataView(this.writeMask.buffer).setUint32(at + 4, Number((mask >> 32n) & 0xffffffffn), true);
    }
  }

  /** Adds a capability of `length` bytes (header included) in front of the list; returns its offset. */
  addCapability(id: number, length: number): number {
    const at = this.#nextCapability;
    assert(at + length <= r.PCI_CONFIG_SIZE, `${this.name}: no room for capability ${id}`);
    this.#nextCapability = (at + length + 3) & ~3;
    this.config[at] = id;
    this.config[at + 1] = this.config[r.PCI_CAPABILITY_LIST]!;
    this.config[r.PCI_CAPABILITY_LIST] = at;
    this.config[r.PCI_STATUS]! |= r.PCI_STATUS_CAP_LIST;
    return at;
  }

  byte(offset: number): number {
    return this.config[offset]!;
  }

  word(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  dword(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  setWord(offset: number, value: number): void {
    this.#view.setUint16(offset, value, true);
  }

  setDword(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  // -- the guest's side --------------------------------------------------------------------------------------

  /** A configuration read by the guest, 1, 2 or 4 bytes; outside configuration space all ones. */
  readConfig(offset: number, size: AccessSize): number {
    if (offset < 0 || offset + size > this.config.length)
      return size === 4 ? 0xffffffff : (1 << (size * 8)) - 1;
    this.beforeConfigRead(offset, size);
    return size === 1 ? this.byte(offset) : size === 2 ? this.word(offset) : this.dword(offset);
  }

  /** A configuration write by the guest. */
  writeConfig(offset: number, size: AccessSize, value: number): void {
    if (offset < 0 || offset + size > this.config.length) return;
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const byte = (value >>> (i * 8)) & 0xff;
      const mask = this.writeMask[at]!;
      this.config[at] = (this.config[at]! & ~mask & ~(byte & this.clearMask[at]!)) | (byte & mask);
    }
    const end = offset + size;
    if (offset < r.PCI_COMMAND + 2 && end > r.PCI_COMMAND) {
      this.#driveIntx();
      this.commandChanged(this.word(r.PCI_COMMAND));
      this.host.mappingChanged(this);
    } else if (offset < r.PCI_BASE_ADDRESS_0 + 24 && end > r.PCI_BASE_ADDRESS_0) {
      this.host.mappingChanged(this);
    } else {
      this.msix?.configWritten(offset, size);
    }
    this.afterConfigWrite(offset, size, value >>> 0);
  }

  /** For subclasses: refresh bytes of `config` that change by themselves. */
  protected beforeConfigRead(_offset: number, _size: AccessSize): void {}

  /** For subclasses: registers of theirs were written (`value` as the guest gave it, masks applied in `config`). */
  protected afterConfigWrite(_offset: number, _size: AccessSize, _value: number): void {}

  /** For subclasses: the command register was written. */
  protected commandChanged(_command: number): void {}

  /** The BARs that answer now: decoding enabled in the command register, and an address that can be one. */
  mappings(): BarMapping[] {
    const found: BarMapping[] = [];
    const command = this.word(r.PCI_COMMAND);
    this.bars.forEach((bar, index) => {
      if (bar === undefined) return;
      const at = r.PCI_BASE_ADDRESS_0 + index * 4;
      const io = bar.kind === 'io';
      if ((command & (io ? r.PCI_COMMAND_IO : r.PCI_COMMAND_MEMORY)) === 0) return;
      let base = (this.dword(at) & (io ? ~3 : ~15)) >>> 0;
      if (bar.kind === 'mem64') base += this.dword(at + 4) * 2 ** 32;
      // While a driver sizes BARs they hold all ones: such an address, or none at all, decodes nothing.
      const limit = io ? 0x10000 : bar.kind === 'mem32' ? 2 ** 32 - 1 : 2 ** 52;
      if (base === 0 || base + bar.size > limit) return;
      found.push({ index, bar, space: io ? 'io' : 'mem', base });
    });
    return found;
  }

  get busMaster(): boolean {
    return (this.config[r.PCI_COMMAND]! & r.PCI_COMMAND_MASTER) !== 0;
  }

  // -- interrupts --------------------------------------------------------------------------------------------

  /** Level of the function's INTx pin, before the command register's disable bit (§6.2.2). */
  setIntx(level: boolean): void {
    if (level === this.#intxLevel) return;
    this.#intxLevel = level;
    this.#driveIntx();
  }

  /** Sends a message as the function: lost while the guest has bus mastering off, as on a real bus. */
  sendMessage(address: number, data: number): void {
    if (this.busMaster) this.host.msi.send(address, data);
  }

  #driveIntx(): void {
    if (this.#intxLevel) this.config[r.PCI_STATUS]! |= r.PCI_STATUS_INTERRUPT;
    else this.config[r.PCI_STATUS]! &= ~r.PCI_STATUS_INTERRUPT;
    const disabled = (this.word(r.PCI_COMMAND) & r.PCI_COMMAND_INTX_DISABLE) !== 0;
    this.host.intx.set(this.#intxLevel && !disabled);
  }

  // -- reset and state ---------------------------------------------------------------------------------------

  /** Bus reset: command, BARs, interrupt line and MSI-X go back to their power-on values (§6.2.2, §6.2.5.1). */
  reset(): void {
    this.setWord(r.PCI_COMMAND, 0);
    this.setWord(r.PCI_STATUS, this.word(r.PCI_STATUS) & r.PCI_STATUS_CAP_LIST);
    this.config[r.PCI_CACHE_LINE_SIZE] = 0;
    this.config[r.PCI_INTERRUPT_LINE] = 0;
    for (let at = r.PCI_BASE_ADDRESS_0; at < r.PCI_BASE_ADDRESS_0 + 24; at++) {
      this.config[at]! &= ~this.writeMask[at]!;
    }
    this.#intxLevel = false;
    this.#driveIntx();
    this.msix?.reset();
    this.host.mappingChanged(this);
  }

  saveFunction(): PciFunctionState {
    return { config: this.config.slice(), intxLevel: this.#intxLevel, msix: this.msix?.save() };
  }

  restoreFunction(state: PciFunctionState): void {
    assert(state.config.length === this.config.length, `${this.name}: state of another configuration size`);
    this.config.set(state.config);
    this.#intxLevel = state.intxLevel;
    if (state.msix !== undefined) this.msix?.restore(state.msix);
    this.#driveIntx();
    this.host.mappingChanged(this);
  }
}
