/**
 * A PCI Express root port, as QEMU's `pcie-root-port` shows itself: one slot behind it, in which functions come and go.
 * The guest hears of them by ACPI (hotplug.ts), as with QEMU 7.2; the slot's own registers are kept and never signal.
 * PCI Express Base 3.0 §7.8 (capability), §7.10 (advanced errors), §7.16 (access control).
 */
import { Msix, PCI_CAP_ID_EXP, PCI_CAP_ID_SSVID } from '../../core/pci.ts';
import { PciBridge } from './bridge.ts';

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
const SLTCAP = 0x14;
const SLTCTL = 0x18;
const SLTSTA = 0x1a;
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
/** 16 GT/s, 32 lanes, ASPM L0s, link active reporting, bandwidth notification. */
const LNKCAP_VALUE = 0x00300604;
/** What the link could do: 16 GT/s, 32 lanes; and with an endpoint of ours behind it: 2.5 GT/s, one lane. */
const LNKSTA_EMPTY = 0x0204;
const LNKSTA_PLUGGED = 0x0011;
/** Attention button, power controller, both indicators, hot-plug surprise, hot-plug capable, interlock. */
const SLTCAP_HOTPLUG = 0x0002007b;
const SLTCAP_NUMBER_SHIFT = 19;
const SLTCTL_WRITABLE = 0x07f9;
/** Attention indicator off; power and its indicator off, or on. */
const SLTCTL_EMPTY = 0x07c0;
const SLTCTL_PLUGGED = 0x01c0;
const SLTSTA_EVENTS = 0x001f;
/** ARI forwarding, end-end TLP prefixes. */
const DEVCAP2_VALUE = 0x00300020;
const DEVCTL2_WRITABLE = 0x8020;
const LNKCAP2_SPEEDS = 0x1e;
const LNKCTL2_16GT = 0x0004;

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
  readonly acs: boolean;
  readonly multifunction: boolean;
}

export class PcieRootPort extends PciBridge {
  readonly #express: number;

  constructor(options: RootPortOptions) {
    super('pcie-root-port', {
      vendor: VENDOR_REDHAT,
      device: DEVICE_ROOT_PORT,
      busName: options.busName,
      express: true,
      hotplug: options.hotplug,
    });
    if (options.multifunction) this.config[0x0e]! |= 0x80;
    const subsystem = this.addCapability(PCI_CAP_ID_SSVID, 8);
    this.setWord(subsystem + 4, VENDOR_REDHAT);
    new Msix(this, 1, 0);
    this.#express = this.addCapability(PCI_CAP_ID_EXP, EXPRESS_LENGTH);
    const at = this.#express;
    this.setWord(at + FLAGS, FLAGS_ROOT_PORT);
    this.setDword(at + DEVCAP, DEVCAP_RBER);
    this.setDword(at + LNKCAP, (LNKCAP_VALUE | (options.port << 24)) >>> 0);
    const slot = ((options.slot << SLTCAP_NUMBER_SHIFT) | (options.hotplug ? SLTCAP_HOTPLUG : 0)) >>> 0;
    this.setDword(at + SLTCAP, slot);
    this.setDword(at + DEVCAP2, DEVCAP2_VALUE);
    this.setDword(at + LNKCAP2, LNKCAP2_SPEEDS);
    this.#mask(at + DEVCTL, 0x000f);
    this.#mask(at + LNKCTL, 0x00c0);
    this.#mask(at + SLTCTL, SLTCTL_WRITABLE);
    this.#mask(at + ROOTCTL, 0x0007);
    this.#mask(at + DEVCTL2, DEVCTL2_WRITABLE);
    this.clearMask[at + DEVSTA] = 0x0f;
    this.clearMask[at + SLTSTA] = SLTSTA_EVENTS;
    this.clearMask[at + ROOTSTA + 2] = 0x01;
    this.#addExtended(options.acs);
    this.reset();
  }

  override reset(): void {
    super.reset();
    const at = this.#express;
    this.setWord(at + DEVCTL, 0);
    this.setWord(at + LNKCTL, 0);
    this.setWord(at + SLTCTL, this.plugged ? SLTCTL_PLUGGED : SLTCTL_EMPTY);
    this.setWord(at + ROOTCTL, 0);
    this.setWord(at + DEVCTL2, 0);
    this.setWord(at + LNKCTL2, LNKCTL2_16GT);
    this.setDword(AER + 0x0c, AER_UNCORRECTABLE_SEVERITY);
    this.setDword(AER + 0x14, AER_CORRECTABLE_MASK);
    this.config[AER + 0x2c] = 0;
  }

  override populated(): void {
    this.setWord(this.#express + SLTCTL, SLTCTL_PLUGGED);
  }

  protected override beforeConfigRead(): void {
    this.setWord(this.#express + LNKSTA, this.plugged ? LNKSTA_PLUGGED : LNKSTA_EMPTY);
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
