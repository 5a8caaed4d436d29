/**
 * virtio over PCI: a PCI function with the vendor capabilities of the modern interface, MSI-X, INTx and, where it is
 * transitional, the legacy I/O BAR. Ids, BARs and layout are QEMU 7.2's. It knows no device: see state.ts for the
 * protocol, pci-common.ts and pci-legacy.ts for the registers. VIRTIO 1.4 §4.1.
 */
import type { AccessSize, IoHandler } from '../../core/bus.ts';
import { UsageError } from '../../core/errors.ts';
import {
  Msix,
  MSIX_NO_VECTOR,
  PCI_CAP_ID_EXP,
  PCI_CAP_ID_PM,
  PCI_CAP_ID_VNDR,
  PCI_COMMAND,
  PCI_COMMAND_MASTER,
  PCI_HEADER_TYPE,
  PciFunction,
  type PciFunctionState,
} from '../../core/pci.ts';
import type { VirtioDevice } from '../device.ts';
import { VirtioPciCommon } from './pci-common.ts';
import * as ids from './pci-ids.ts';
import { VirtioPciLegacy, legacyBarSize } from './pci-legacy.ts';
import {
  type RingOptions,
  type TransportEnvironment,
  VirtioState,
  type VirtioStateSnapshot,
} from './state.ts';

// Types of vendor capabilities (§4.1.4).
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;

// struct virtio_pci_cap (§4.1.4)
export const CAP_LEN = 2;
export const CAP_CFG_TYPE = 3;
export const CAP_BAR = 4;
export const CAP_OFFSET = 8;
export const CAP_LENGTH = 12;
/** notify_off_multiplier, or pci_cfg_data. */
export const CAP_EXTRA = 16;

// PCI Express capability of an endpoint (PCI Express Base 3.0 §7.8), and power management (PCI PM 1.2 §3.2).
const EXP_FLAGS = 2;
const EXP_DEVCAP = 4;
const EXP_DEVCTL = 8;
const EXP_DEVSTA = 10;
const EXP_LNKCAP = 12;
const EXP_LNKCTL = 16;
const EXP_LNKSTA = 18;
const EXP_DEVCAP2 = 36;
const EXP_LENGTH = 60;
/** Version 2, endpoint. */
const EXP_FLAGS_ENDPOINT = 0x0002;
/** Role-based error reporting, function level reset. */
const EXP_DEVCAP_VALUE = 0x10008000;
const EXP_DEVCTL_ERRORS = 0x0f;
const EXP_DEVCTL_RESET = 0x80;
/** 2.5 GT/s, one lane, ASPM L0s. */
const EXP_LNKCAP_VALUE = 0x0411;
const EXP_LNKCTL_WRITABLE = 0xc0;
const EXP_LNKSTA_VALUE = 0x0011;
/** Room for end-end TLP prefixes. */
const EXP_DEVCAP2_VALUE = 0x00300000;
const PM_LENGTH = 8;
const PM_CAPABILITIES = 2;
const PM_CONTROL = 4;
const PM_VERSION_3 = 0x0003;
const PM_STATE = 0x03;

// ISR status (§4.1.4.5)
export const ISR_QUEUE = 1;
export const ISR_CONFIG = 2;

const LEGACY_BAR = 0;
const MSIX_BAR = 1;
const MODERN_BAR = 4;

// Regions of the modern BAR: each a page, so that a hypervisor could map them apart.
const COMMON_OFFSET = 0x0000;
const ISR_OFFSET = 0x1000;
const DEVICE_OFFSET = 0x2000;
const NOTIFY_OFFSET = 0x3000;
const REGION_SIZE = 0x1000;
/** Queues that QEMU's notification region has room for. */
const QUEUE_MAX = 1024;

export interface VirtioPciOptions extends RingOptions {
  /** `auto`: legacy as well, except behind a PCI Express port. */
  readonly disableLegacy?: 'on' | 'off' | 'auto';
  readonly disableModern?: boolean;
  /** MSI-X vectors; 0 for none. By default one for each queue and one for configuration changes. */
  readonly vectors?: number;
  /** A page for each queue in the notification region. */
  readonly pagePerVq?: boolean;
  /** Base class and sub-class, where the device has not the usual one. */
  readonly classCode?: number;
  readonly multifunction?: boolean;
  /** Plugged behind a PCI Express port. */
  readonly expressPort?: boolean;
}

/** What a snapshot keeps of the transport (device state is the device's own). */
export interface VirtioPciSnapshot {
  readonly fn: PciFunctionState;
  readonly state: VirtioStateSnapshot;
  readonly isr: number;
  readonly configVector: number;
  readonly queueVectors: readonly number[];
  readonly selected: readonly number[];
}

/** Register state that the modern and the legacy interface show alike. */
export interface PciRegisters {
  queueSelect: number;
  deviceFeatureSelect: number;
  driverFeatureSelect: number;
  configVector: number;
  /** By queue. */
  readonly queueVectors: number[];
}

export class VirtioPci extends PciFunction {
  readonly device: VirtioDevice;
  readonly state: VirtioState;
  readonly registers: PciRegisters;
  /** Which interfaces it has. */
  readonly legacy: boolean;
  readonly modern: boolean;
  readonly #notifyMultiplier: number;
  readonly #common: VirtioPciCommon;
  #pciCfg = 0;
  /** Offset of the PCI Express capability, 0 without one. */
  #express = 0;
  #power = 0;
  #isr = 0;

  constructor(device: VirtioDevice, env: TransportEnvironment, options: VirtioPciOptions = {}) {
    const known = ids.pciIds(device.deviceId);
    const { legacy, modern } = interfaces(known.transitional !== undefined, options);
    const identity = {
      vendor: ids.PCI_VENDOR_ID_REDHAT_QUMRANET,
      device: legacy ? known.transitional! : ids.PCI_DEVICE_ID_VIRTIO_10_BASE + device.deviceId,
      // "Non-transitional devices SHOULD have a PCI Revision ID of 1 or higher" (§4.1.2.1).
      revision: legacy ? 0 : 1,
      classCode: (options.classCode ?? known.classCode) << 8,
      subsystemVendor: ids.PCI_VENDOR_ID_REDHAT_QUMRANET,
      // Legacy drivers find the virtio device id here (§4.1.2.3).
      subsystem: legacy ? device.deviceId : ids.PCI_SUBDEVICE_ID_QEMU,
      interruptPin: 1,
    };
    super(`${device.name}-pci`, identity, options.expressPort === true ? 4096 : 256);
    if (options.multifunction === true) this.config[PCI_HEADER_TYPE]! |= 0x80;
    this.device = device;
    this.legacy = legacy;
    this.modern = modern;
    this.#notifyMultiplier = options.pagePerVq === true ? 4096 : 4;
    const vectors = options.vectors ?? device.queues.length + 1;
    if (device.queues.length > QUEUE_MAX) throw new UsageError(`${this.name}: more than ${QUEUE_MAX} queues`);
    if (vectors > 2048) throw new UsageError(`${this.name}: vectors=${vectors}: expected 0 to 2048`);
    this.state = new VirtioState(
      device,
      env,
      {
        usedBuffer: (queue) => this.#usedBuffer(queue),
        configurationChange: () => this.#configurationChange(),
      },
      { ...options, legacy, modern },
    );
    this.registers = {
      queueSelect: 0,
      deviceFeatureSelect: 0,
      driverFeatureSelect: 0,
      configVector: MSIX_NO_VECTOR,
      queueVectors: device.queues.map(() => MSIX_NO_VECTOR),
    };
    this.#common = new VirtioPciCommon(this, this.state, this.registers);
    if (options.expressPort === true) this.#addExpress();
    if (modern) this.#addModern();
    if (vectors > 0) new Msix(this, vectors, MSIX_BAR);
    if (legacy) {
      const handler = new VirtioPciLegacy(this, this.state, this.registers);
      const size = legacyBarSize(vectors > 0, device.configSize);
      this.addBar(LEGACY_BAR, { name: `${this.name}-legacy`, kind: 'io', size, handler });
    }
    this.state.setPaused(true);
  }

  // -- interrupts --------------------------------------------------------------------------------------------

  /** Reading ISR status: "simply reading this register resets it to 0 and ... de-assert[s] the interrupt". */
  readIsr(): number {
    const isr = this.#isr;
    this.#setIsr(0);
    return isr;
  }

  /** A vector that the driver wrote, or NO_VECTOR when there is no such vector (§4.1.5.1.2.1). */
  checkVector(vector: number): number {
    return this.msix !== undefined && vector < this.msix.vectors ? vector : MSIX_NO_VECTOR;
  }

  #usedBuffer(queue: number): void {
    // "If MSI-X capability is disabled, the device MUST set the Queue Interrupt bit in ISR status" (§4.1.4.5.1).
    if (this.msix?.enabled === true) this.msix.notify(this.registers.queueVectors[queue]!);
    else this.#setIsr(this.#isr | ISR_QUEUE);
  }

  #configurationChange(): void {
    this.#setIsr(this.#isr | ISR_CONFIG);
    if (this.msix?.enabled === true) this.msix.notify(this.registers.configVector);
  }

  #setIsr(isr: number): void {
    this.#isr = isr;
    this.setIntx(isr !== 0 && this.msix?.enabled !== true);
  }

  // -- what the guest's accesses cause -----------------------------------------------------------------------

  /** The driver wrote device status; 0 also forgets the vectors. */
  writeStatus(value: number, legacy: boolean): void {
    if (legacy && value === 3 && !this.busMaster) {
      // Linux before 2.6.34 never enables bus mastering for a legacy device; QEMU does it for it as well.
      this.writeConfig(PCI_COMMAND, 1, this.byte(PCI_COMMAND) | PCI_COMMAND_MASTER);
    }
    if (value === 0) this.#resetRegisters();
    this.state.writeStatus(value, legacy);
  }

  protected override commandChanged(): void {
    this.state.setPaused(!this.busMaster);
  }

  protected override beforeConfigRead(offset: number, size: AccessSize): void {
    const data = this.#pciCfg + CAP_EXTRA;
    if (this.#pciCfg === 0 || offset >= data + 4 || offset + size <= data) return;
    const window = this.#window();
    if (window === undefined) return;
    const value = this.#modernBar.read(window.offset, window.size);
    for (let i = 0; i < window.size; i++) this.config[data + i] = (value >>> (i * 8)) & 0xff;
  }

  protected override afterConfigWrite(offset: number, size: AccessSize, written: number): void {
    const control = this.#express + EXP_DEVCTL + 1;
    if (this.#express !== 0 && offset <= control && offset + size > control) {
      // "A write of 1b initiates Function Level Reset to the Function" (PCI Express 3.0 §7.8.4).
      if (((written >>> ((control - offset) * 8)) & EXP_DEVCTL_RESET) !== 0) this.reset();
    }
    if (this.msix !== undefined && offset + size > this.msix.capability) this.#setIsr(this.#isr);
    const data = this.#pciCfg + CAP_EXTRA;
    if (this.#pciCfg === 0 || offset >= data + 4 || offset + size <= data) return;
    const window = this.#window();
    if (window === undefined) return;
    let value = 0;
    for (let i = window.size - 1; i >= 0; i--) value = value * 256 + this.byte(data + i);
    this.#modernBar.write(window.offset, window.size, value);
  }

  /** Where VIRTIO_PCI_CAP_PCI_CFG points now, if that is inside the modern BAR and aligned (§4.1.4.9). */
  #window(): { offset: number; size: AccessSize } | undefined {
    const bar = this.byte(this.#pciCfg + CAP_BAR);
    const offset = this.dword(this.#pciCfg + CAP_OFFSET);
    const size = this.dword(this.#pciCfg + CAP_LENGTH);
    if (size !== 1 && size !== 2 && size !== 4) return undefined;
    if (bar !== MODERN_BAR || offset % size !== 0 || offset + size > this.bars[MODERN_BAR]!.size)
      return undefined;
    return { offset, size };
  }

  /** What an endpoint behind a PCI Express port shows, in QEMU's order. */
  #addExpress(): void {
    const at = this.addCapability(PCI_CAP_ID_EXP, EXP_LENGTH);
    this.#express = at;
    this.setWord(at + EXP_FLAGS, EXP_FLAGS_ENDPOINT);
    this.setDword(at + EXP_DEVCAP, EXP_DEVCAP_VALUE);
    this.setDword(at + EXP_LNKCAP, EXP_LNKCAP_VALUE);
    this.setWord(at + EXP_LNKSTA, EXP_LNKSTA_VALUE);
    this.setDword(at + EXP_DEVCAP2, EXP_DEVCAP2_VALUE);
    this.writeMask[at + EXP_DEVCTL] = EXP_DEVCTL_ERRORS;
    this.clearMask[at + EXP_DEVSTA] = EXP_DEVCTL_ERRORS;
    this.writeMask[at + EXP_LNKCTL] = EXP_LNKCTL_WRITABLE;
    const power = this.addCapability(PCI_CAP_ID_PM, PM_LENGTH);
    this.setWord(power + PM_CAPABILITIES, PM_VERSION_3);
    this.writeMask[power + PM_CONTROL] = PM_STATE;
    this.#power = power;
  }

  // -- the modern interface ----------------------------------------------------------------------------------

  #addModern(): void {
    const notifyLength = this.#notifyMultiplier * QUEUE_MAX;
    this.#addCap(VIRTIO_PCI_CAP_COMMON_CFG, COMMON_OFFSET, REGION_SIZE, 16);
    this.#addCap(VIRTIO_PCI_CAP_ISR_CFG, ISR_OFFSET, REGION_SIZE, 16);
    this.#addCap(VIRTIO_PCI_CAP_DEVICE_CFG, DEVICE_OFFSET, REGION_SIZE, 16);
    const notify = this.#addCap(VIRTIO_PCI_CAP_NOTIFY_CFG, NOTIFY_OFFSET, notifyLength, 20);
    this.setDword(notify + CAP_EXTRA, this.#notifyMultiplier);
    this.#pciCfg = this.#addCap(VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 20);
    this.writeMask[this.#pciCfg + CAP_BAR] = 0xff;
    this.writeMask.fill(0xff, this.#pciCfg + CAP_OFFSET, this.#pciCfg + CAP_EXTRA + 4);
    this.addBar(MODERN_BAR, {
      name: `${this.name}-modern`,
      kind: 'mem64',
      prefetchable: true,
      size: 2 ** Math.ceil(Math.log2(NOTIFY_OFFSET + notifyLength)),
      handler: this.#modernBar,
    });
  }

  #addCap(type: number, offset: number, length: number, size: number): number {
    const at = this.addCapability(PCI_CAP_ID_VNDR, size);
    this.config[at + CAP_LEN] = size;
    this.config[at + CAP_CFG_TYPE] = type;
    this.config[at + CAP_BAR] = type === VIRTIO_PCI_CAP_PCI_CFG ? 0 : MODERN_BAR;
    this.setDword(at + CAP_OFFSET, offset);
    this.setDword(at + CAP_LENGTH, length);
    return at;
  }

  readonly #modernBar: IoHandler = {
    read: (offset, size) => {
      if (offset >= NOTIFY_OFFSET) return 0;
      if (offset >= DEVICE_OFFSET) return this.state.readConfig(offset - DEVICE_OFFSET, size);
      if (offset >= ISR_OFFSET) return offset === ISR_OFFSET ? this.readIsr() : 0;
      return this.#common.read(offset, size);
    },
    write: (offset, size, value) => {
      if (offset >= NOTIFY_OFFSET) this.#notify(offset - NOTIFY_OFFSET);
      else if (offset >= DEVICE_OFFSET) this.state.writeConfig(offset - DEVICE_OFFSET, size, value);
      else if (offset < ISR_OFFSET) this.#common.write(offset, size, value);
    },
  };

  /** The offset says which queue, for `queue_notify_off` of queue n is n (§4.1.4.4). */
  #notify(offset: number): void {
    this.state.notify(Math.floor(offset / this.#notifyMultiplier));
  }

  // -- reset and state ---------------------------------------------------------------------------------------

  #resetRegisters(): void {
    this.#setIsr(0);
    this.registers.configVector = MSIX_NO_VECTOR;
    this.registers.queueVectors.fill(MSIX_NO_VECTOR);
    this.registers.queueSelect = 0;
    this.registers.deviceFeatureSelect = 0;
    this.registers.driverFeatureSelect = 0;
  }

  override reset(): void {
    this.state.reset();
    super.reset();
    if (this.#express !== 0) {
      this.config[this.#express + EXP_DEVCTL] = 0;
      this.config[this.#express + EXP_LNKCTL] = 0;
      this.config[this.#power + PM_CONTROL] = 0;
    }
    this.#resetRegisters();
    this.state.setPaused(true);
  }

  save(): VirtioPciSnapshot {
    const r = this.registers;
    return {
      fn: this.saveFunction(),
      state: this.state.save(),
      isr: this.#isr,
      configVector: r.configVector,
      queueVectors: [...r.queueVectors],
      selected: [r.queueSelect, r.deviceFeatureSelect, r.driverFeatureSelect],
    };
  }

  restore(snapshot: VirtioPciSnapshot): void {
    const r = this.registers;
    r.configVector = snapshot.configVector;
    snapshot.queueVectors.forEach((vector, queue) => (r.queueVectors[queue] = vector));
    [r.queueSelect, r.deviceFeatureSelect, r.driverFeatureSelect] = snapshot.selected as [
      number,
      number,
      number,
    ];
    this.restoreFunction(snapshot.fn);
    this.#isr = snapshot.isr;
    this.state.setPaused(!this.busMaster);
    this.state.restore(snapshot.state);
  }
}

/** Which interfaces the options leave; QEMU's two errors where they leave none. */
function interfaces(transitional: boolean, options: VirtioPciOptions): { legacy: boolean; modern: boolean } {
  const modern = options.disableModern !== true;
  const wanted = options.disableLegacy ?? 'auto';
  if (wanted === 'off' && !transitional) {
    throw new UsageError('device is modern-only, use disable-legacy=on');
  }
  const legacy = wanted === 'off' || (wanted === 'auto' && transitional && options.expressPort !== true);
  if (!modern && !legacy) {
    throw new UsageError(
      'device cannot work as neither modern nor legacy mode is enabled\n' +
        'Set either disable-modern or disable-legacy to off',
    );
  }
  return { legacy, modern };
}
