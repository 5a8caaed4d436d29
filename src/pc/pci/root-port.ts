/**
 * A PCI Express root port, as QEMU's `pcie-root-port` shows itself: one slot behind it, in which functions come and go.
 * The guest hears of them by ACPI (hotplug.ts), as with QEMU 7.2, or by the slot's own registers (slot.ts).
 * PCI Express Base 3.0 §7.8 (capability), §7.10 (advanced errors), §7.16 (access control).
 */
import { Msix, PCI_CAP_ID_EXP, PCI_CAP_ID_SSVID } from '../../core/pci.ts';
import type { AccessSize } from '../../core/bus.ts';
import type { PciFunction } from '../../core/pci.ts';
import { PciBridge } from './bridge.ts';
import type { PlacedFunction } from './bus.ts';
import { ExpressSlot } from './slot.ts';

const VENDOR_REDHAT = 0x1b36;
const DEVICE_ROOT_PORT = 0x000c;

// PCI Express capability: offsets from its start.
const FLAGS = 0x02;
const DEVCAP = 0x04;
const DEVCTL = 0x08;
const DEVSTA = 0x0a;
const LNKCAP = 0x0c;
const LNKCTL = 0x10;
const LNKSTA = 0x12;
const ROOTCTL = 0x1c;
const ROOTSTA = 0x20;
const DEVCAP2 = 0x24;
const DEVCTL2 = 0x28;
const LNKCAP2 = 0x2c;
const LNKCTL2 = 0x30;
const EXPRESS_LENGTH = 0x3c;

/** Version 2, root port, slot implemented. */
const FLAGS_ROOT_PORT = 0x0142;
/** Role-based error reporting. */
const DEVCAP_RBER = 0x8000;
/** ASPM L0s. */
const LNKCAP_L0S = 0x0400;
/** "required for Root Ports supporting Links wider than x1 or multiple Link speeds" (§7.8.6). */
const LNKCAP_BANDWIDTH_NOTIFICATION = 0x200000;
/** Link active reporting: required of ports that can be plugged. */
const LNKCAP_ACTIVE_REPORTING = 0x100000;
const LNKSTA_ACTIVE = 0x2000;
/** Of an endpoint of ours: 2.5 GT/s, one lane. */
const LNKSTA_ENDPOINT = 0x0011;
/** ARI forwarding, end-end TLP prefixes. */
const DEVCAP2_VALUE = 0x00300020;
const DEVCTL2_WRITABLE = 0x8020;

/** By the name that options have, the number that registers have. */
export const LINK_SPEEDS = { '2_5': 1, '5': 2, '8': 3, '16': 4 } as const;
export const LINK_WIDTHS = ['1', '2', '4', '8', '12', '16', '32'] as const;

// Extended capabilities, where QEMU has them.
const AER = 0x100;
const ACS = 0x148;
const AER_UNCORRECTABLE_SEVERITY = 0x00462030;
const AER_CORRECTABLE_MASK = 0x0000e000;
const AER_CONTROL = 0x000002a0;
const AER_ROOT_COMMAND = 0x07;
const ACS_CAPABILITIES = 0x005f;

export interface RootPortOptions {
  /** Name of the bus behind it. */
  readonly busName: string;
  /** The slot's number on the chassis, as software shows it. */
  readonly slot: number;
  /** Of the link capabilities. */
  readonly port: number;
  readonly hotplug: boolean;
  /** Native hot-plug may be told of in the slot's capabilities; default true. */
  readonly nativeCapable?: boolean;
  /** The guest hears of what comes and goes by the slot's registers, not by ACPI; default false. */
  readonly native?: boolean;
  /** Default true. */
  readonly powerController?: boolean;
  /** Of the link: default 4 (16 GT/s), and 32 lanes. */
  readonly speed?: number;
  readonly width?: number;
  readonly acs: boolean;
  readonly multifunction: boolean;
}

export class PcieRootPort extends PciBridge {
  readonly #express: number;
  readonly #slot: ExpressSlot;
  readonly #native: boolean;
  readonly #link: number;
  readonly #speed: number;

  constructor(options: RootPortOptions) {
    super('pcie-root-port', {
      vendor: VENDOR_REDHAT,
      device: DEVICE_ROOT_PORT,
      busName: options.busName,
      express: true,
      // With native hot-plug it is the port that refuses, in words of its own.
      hotplug: options.hotplug || options.native === true,
    });
    if (options.multifunction) this.config[0x0e]! |= 0x80;
    const subsystem = this.addCapability(PCI_CAP_ID_SSVID, 8);
    this.setWord(subsystem + 4, VENDOR_REDHAT);
    new Msix(this, 1, 0);
    this.#express = this.addCapability(PCI_CAP_ID_EXP, EXPRESS_LENGTH);
    this.#native = options.native === true;
    const at = this.#express;
    this.setWord(at + FLAGS, FLAGS_ROOT_PORT);
    this.setDword(at + DEVCAP, DEVCAP_RBER);
    this.#speed = options.speed ?? LINK_SPEEDS['16'];
    const width = options.width ?? 32;
    this.#link = this.#speed | (width << 4);
    const fast = this.#speed > LINK_SPEEDS['2_5'];
    const link =
      this.#link |
      LNKCAP_L0S |
      (fast || width > 1 ? LNKCAP_BANDWIDTH_NOTIFICATION : 0) |
      (fast ? LNKCAP_ACTIVE_REPORTING : 0);
    this.setDword(at + LNKCAP, (link | (options.port << 24)) >>> 0);
    this.setDword(at + DEVCAP2, DEVCAP2_VALUE);
    // "Supported Link Speeds Vector": 5 GT/s and less need none (§7.8.18).
    if (this.#speed > LINK_SPEEDS['5']) this.setDword(at + LNKCAP2, (2 << this.#speed) - 2);
    this.#mask(at + DEVCTL, 0x000f);
    this.#mask(at + LNKCTL, 0x00c0);
    this.#mask(at + ROOTCTL, 0x0007);
    this.#mask(at + DEVCTL2, DEVCTL2_WRITABLE);
    this.clearMask[at + DEVSTA] = 0x0f;
    this.clearMask[at + ROOTSTA + 2] = 0x01;
    const hotplug = options.hotplug && options.nativeCapable !== false;
    const powerController = options.powerController !== false;
    const slot = { number: options.slot, hotplug, powerController, native: this.#native };
    this.#slot = new ExpressSlot(this, at, slot, {
      populated: () => this.#populated,
      power: (on) => this.setPower(on),
      empty: () => this.#empty(),
      signal: (level) => this.#signal(level),
    });
    this.#addExtended(options.acs);
    this.reset();
  }

  /** "The link behind a Downstream Port has only Device 0" (§7.3.1). */
  get #populated(): boolean {
    return this.behind?.at(0, 0) !== undefined;
  }

  /** A function has left the slot because the guest has switched it off. */
  onRemoved: (placed: PlacedFunction) => void = () => {};

  override reset(): void {
    super.reset();
    const at = this.#express;
    this.setWord(at + DEVCTL, 0);
    this.setWord(at + LNKCTL, 0);
    this.setWord(at + ROOTCTL, 0);
    this.setWord(at + DEVCTL2, 0);
    // The target speed is the highest.
    this.setWord(at + LNKCTL2, this.#speed > LINK_SPEEDS['2_5'] ? this.#speed : 0);
    this.setDword(AER + 0x0c, AER_UNCORRECTABLE_SEVERITY);
    this.setDword(AER + 0x14, AER_CORRECTABLE_MASK);
    this.config[AER + 0x2c] = 0;
    this.#slot.reset();
  }

  override populated(running: boolean): void {
    if (!running) this.#slot.coldPlugged();
    else if (!this.#native) this.#slot.plugged();
  }

  /** The port does hot-plug by itself: ACPI has no part in it. */
  get native(): boolean {
    return this.#native;
  }

  /** Puts a function in while the machine runs. @throws UsageError */
  plug(
    fn: PciFunction,
    label: string,
    addr?: { readonly slot: number; readonly function: number },
  ): PlacedFunction {
    this.#slot.checkPlug(this.busName);
    const placed = this.secondary.add(fn, label, addr, true);
    this.#slot.plug();
    return placed;
  }

  /** Asks the guest for what is in the slot. @returns as `ExpressSlot.requestUnplug` @throws UsageError */
  requestUnplug(): number {
    return this.#slot.requestUnplug(this.busName);
  }

  override writeConfig(offset: number, size: AccessSize, value: number): void {
    const before = this.#slot.registers;
    super.writeConfig(offset, size, value);
    this.#slot.written(offset, size, value >>> 0, before);
  }

  protected override beforeConfigRead(): void {
    const at = this.#express + LNKSTA;
    this.setWord(at, (this.word(at) & LNKSTA_ACTIVE) | (this.#populated ? LNKSTA_ENDPOINT : this.#link));
  }

  #empty(): void {
    for (const placed of this.secondary.functions) {
      this.secondary.remove(placed.fn);
      this.onRemoved(placed);
    }
  }

  #signal(level: boolean): void {
    if (this.msix?.enabled !== true) this.setIntx(level);
    else if (level) this.msix.notify(0);
  }

  #mask(at: number, bits: number): void {
    this.writeMask[at] = bits & 0xff;
    this.writeMask[at + 1] = bits >> 8;
  }

  #addExtended(acs: boolean): void {
    // Header: id, version, offset of the next (PCI Express 3.0 §7.9.3).
    this.setDword(AER, (0x0001 | (2 << 16) | ((acs ? ACS : 0) << 20)) >>> 0);
    this.setDword(AER + 0x18, AER_CONTROL);
    // Mask and severity of uncorrectable, mask of correctable errors.
    for (const register of [0x08, 0x0c, 0x14]) this.writeMask.fill(0xff, AER + register, AER + register + 4);
    this.writeMask[AER + 0x2c] = AER_ROOT_COMMAND;
    if (!acs) return;
    this.setDword(ACS, 0x000d | (1 << 16));
    this.setWord(ACS + 4, ACS_CAPABILITIES);
    this.#mask(ACS + 6, ACS_CAPABILITIES);
  }
}
