/**
 * A PCI-to-PCI bridge as its configuration space shows it: numbers of buses, windows of what it forwards, bridge
 * control. The bus behind it is a `PciBus`; what kind of bridge it is (a PCI Express port, say) a subclass adds.
 * PCI-to-PCI Bridge Architecture 1.2 §3.2.
 */
import {
  PCI_BRIDGE_CONTROL,
  PCI_BRIDGE_CTL_BUS_RESET,
  PCI_COMMAND,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_HEADER_TYPE,
  PCI_HEADER_TYPE_BRIDGE,
  PCI_IO_BASE,
  PCI_IO_LIMIT,
  PCI_MEMORY_BASE,
  PCI_MEMORY_LIMIT,
  PCI_PREF_BASE_UPPER32,
  PCI_PREF_LIMIT_UPPER32,
  PCI_PREF_MEMORY_BASE,
  PCI_PREF_MEMORY_LIMIT,
  PCI_PRIMARY_BUS,
  PCI_SECONDARY_BUS,
  PCI_SEC_STATUS,
  PCI_STATUS_W1C,
  PCI_SUBORDINATE_BUS,
  PciFunction,
  type PciIdentity,
} from '../../core/pci.ts';
import { assert } from '../../core/errors.ts';
import type { PciBus } from './bus.ts';

/** Bits of bridge control that software may change (§3.2.5.18): all but the discard timer's status. */
const CONTROL_WRITABLE = 0x0bff;
const CONTROL_DISCARD_STATUS = 0x0400;
/** "The prefetchable window has 64-bit addresses" (§3.2.5.10). */
const PREF_64 = 0x01;

const BASE_CLASS_BRIDGE = 0x060400;

export interface PciBridgeOptions {
  readonly vendor: number;
  readonly device: number;
  readonly revision?: number;
  /** Name of the bus behind it: the bridge's id. */
  readonly busName: string;
  /** A PCI Express port: 4 KiB of configuration space, and endpoints behind it. */
  readonly express: boolean;
  /** Functions behind it come and go while the machine runs. */
  readonly hotplug: boolean;
}

/** A range of addresses, both ends included. */
export interface BridgeWindow {
  readonly base: number;
  readonly limit: number;
}

export class PciBridge extends PciFunction {
  readonly busName: string;
  readonly express: boolean;
  readonly hotplug: boolean;
  #secondary: PciBus | undefined;

  constructor(name: string, options: PciBridgeOptions) {
    const identity: PciIdentity = {
      vendor: options.vendor,
      device: options.device,
      revision: options.revision ?? 0,
      classCode: BASE_CLASS_BRIDGE,
      // A type 1 header has other registers there.
      subsystemVendor: 0,
      subsystem: 0,
      interruptPin: 1,
    };
    super(name, identity, options.express ? 4096 : 256);
    this.busName = options.busName;
    this.express = options.express;
    this.hotplug = options.hotplug;
    this.config[PCI_HEADER_TYPE]! |= PCI_HEADER_TYPE_BRIDGE;
    const mask = this.writeMask;
    mask.fill(0xff, PCI_PRIMARY_BUS, PCI_SUBORDINATE_BUS + 1);
    // I/O addresses are 16 bits wide, in steps of 4 KiB; memory is in steps of 1 MiB (§3.2.5.6, §3.2.5.8).
    mask.set([0xf0, 0xf0], PCI_IO_BASE);
    for (const at of [PCI_MEMORY_BASE, PCI_MEMORY_LIMIT, PCI_PREF_MEMORY_BASE, PCI_PREF_MEMORY_LIMIT])
      mask.set([0xf0, 0xff], at);
    mask.fill(0xff, PCI_PREF_BASE_UPPER32, PCI_PREF_LIMIT_UPPER32 + 4);
    mask.set([CONTROL_WRITABLE & 0xff, CONTROL_WRITABLE >> 8], PCI_BRIDGE_CONTROL);
    this.clearMask[PCI_BRIDGE_CONTROL + 1] = CONTROL_DISCARD_STATUS >> 8;
    this.clearMask[PCI_SEC_STATUS + 1] = PCI_STATUS_W1C >> 8;
    this.config[PCI_PREF_MEMORY_BASE]! |= PREF_64;
    this.config[PCI_PREF_MEMORY_LIMIT]! |= PREF_64;
  }

  /** Called by the bus that the bridge is put on. */
  attach(secondary: PciBus): void {
    this.#secondary = secondary;
  }

  /** The bus behind it; there is one as soon as the bridge is on a bus. */
  get secondary(): PciBus {
    assert(this.#secondary !== undefined, `${this.name}: the bridge is on no bus`);
    return this.#secondary;
  }

  /** The bus behind it, or undefined before it is on a bus itself. */
  protected get behind(): PciBus | undefined {
    return this.#secondary;
  }

  /** Power for what is behind it. */
  protected setPower(on: boolean): void {
    this.#secondary?.setPower(on);
  }

  /** Something was put on the bus behind it, while the machine runs or before. For subclasses. */
  populated(_running: boolean): void {}

  get secondaryNumber(): number {
    return this.byte(PCI_SECONDARY_BUS);
  }

  get subordinateNumber(): number {
    return this.byte(PCI_SUBORDINATE_BUS);
  }

  get ioWindow(): BridgeWindow {
    return {
      base: (this.byte(PCI_IO_BASE) & 0xf0) << 8,
      limit: ((this.byte(PCI_IO_LIMIT) & 0xf0) << 8) | 0xfff,
    };
  }

  get memoryWindow(): BridgeWindow {
    return {
      base: (this.word(PCI_MEMORY_BASE) & 0xfff0) * 0x10000,
      limit: (this.word(PCI_MEMORY_LIMIT) & 0xfff0) * 0x10000 + 0xfffff,
    };
  }

  get prefetchableWindow(): BridgeWindow {
    const low = (at: number): number => (this.word(at) & 0xfff0) * 0x10000;
    return {
      base: low(PCI_PREF_MEMORY_BASE) + this.dword(PCI_PREF_BASE_UPPER32) * 2 ** 32,
      limit: low(PCI_PREF_MEMORY_LIMIT) + this.dword(PCI_PREF_LIMIT_UPPER32) * 2 ** 32 + 0xfffff,
    };
  }

  /** Whether accesses to these addresses pass from the primary to the secondary bus (§4.2, §4.3). */
  forwards(space: 'io' | 'mem', base: number, size: number): boolean {
    const enable = space === 'io' ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
    if ((this.word(PCI_COMMAND) & enable) === 0) return false;
    const windows = space === 'io' ? [this.ioWindow] : [this.memoryWindow, this.prefetchableWindow];
    // A window whose base is above its limit is closed.
    return windows.some((window) => base >= window.base && base + size - 1 <= window.limit);
  }

  override reset(): void {
    super.reset();
    // The window registers that lie where other functions have no BARs.
    this.config.fill(0, PCI_PREF_BASE_UPPER32, PCI_PREF_LIMIT_UPPER32 + 4);
    // Windows are closed: base above limit.
    this.config[PCI_IO_BASE] = 0xf0;
    this.setWord(PCI_MEMORY_BASE, 0xfff0);
    this.setWord(PCI_PREF_MEMORY_BASE, 0xfff0 | PREF_64);
    this.setWord(PCI_BRIDGE_CONTROL, 0);
    this.setWord(PCI_SEC_STATUS, 0);
    this.#secondary?.reset();
  }

  protected override afterConfigWrite(offset: number, size: number, value: number): void {
    const end = offset + size;
    // Those of 10h to 27h are seen to by the function itself.
    if (offset < PCI_PREF_LIMIT_UPPER32 + 4 && end > PCI_PREF_BASE_UPPER32) this.host.mappingChanged(this);
    if (offset > PCI_BRIDGE_CONTROL || end <= PCI_BRIDGE_CONTROL) return;
    // "Setting this bit ... forces the assertion of RST# on the secondary interface" (§3.2.5.18).
    const low = (value >>> ((PCI_BRIDGE_CONTROL - offset) * 8)) & 0xff;
    if ((low & PCI_BRIDGE_CTL_BUS_RESET) !== 0) this.#secondary?.reset();
  }
}
