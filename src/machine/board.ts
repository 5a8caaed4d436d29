/**
 * The hardware of a machine, put together: processor, platform, devices in the order of the configuration, and what
 * stands in for firmware. `buildBoard` fails with the option that is wrong; what was opened by then is closed.
 */
import { AddressSpace } from '../core/bus.ts';
import { UsageError } from '../core/errors.ts';
import type { PciFunction } from '../core/pci.ts';
import type { Tracer } from '../core/trace.ts';
import type { KernelCache } from '../boot/linux.ts';
import { ramBelow4G as lowRam } from '../pc/info.ts';
import { PciBridge } from '../pc/pci/bridge.ts';
import type { PciBus } from '../pc/pci/bus.ts';
import { Platform } from '../pc/platform.ts';
import { blame, blamed } from '../qapi/parse-command-line.ts';
import type { VirtioDevice } from '../virtio/device.ts';
import { VirtioPci } from '../virtio/transport/pci.ts';
import type { CpuBus, CpuInterface, EntryState } from '../x86/cpu.ts';
import type { Backends } from './backends.ts';
import type { BootFiles } from './boot.ts';
import { lastKernel, loadGuest } from './boot.ts';
import type { MachineClock } from './clock.ts';
import type { DeviceConfig, MachineConfig } from './config.ts';
import type { MachineHost } from './host.ts';
import type { Emitter } from './events.ts';
import type { Board, MachineControl, MachineEvents } from './machine.ts';
import type {
  BusType,
  DeviceBus,
  DeviceClass,
  DeviceContext,
  DeviceRequest,
  PluggedDevice,
} from './registry.ts';
import { acpiHotplug, globalsFor } from './globals.ts';
import { functionOf, readRequest, requireClass } from './registry.ts';

export interface BoardParts {
  readonly config: MachineConfig;
  readonly host: MachineHost;
  readonly clock: MachineClock;
  readonly tracer: Tracer;
  readonly backends: Backends;
  readonly files: BootFiles;
  /** Devices that a program brings: each becomes a PCI function behind the others. */
  readonly plug: readonly VirtioDevice[];
  readonly control: MachineControl;
  /** The processor's interrupt line, by way of the run loop. */
  setInterrupt(level: boolean): void;
  nmi(): void;
  onResume(call: () => void): () => void;
  readonly events: Emitter<MachineEvents>;
}

/** A device, and where it came from. */
export interface PlacedDevice {
  readonly device: PluggedDevice;
  /** In QEMU's object tree: `/machine/peripheral/ID`, or `/machine/peripheral-anon/device[N]`. */
  readonly path: string;
  /** As it was asked for; a program's own devices have none. */
  readonly request: DeviceRequest | undefined;
  readonly deviceClass: DeviceClass | undefined;
  /** Plugged into the machine when that was complete. */
  readonly hotplugged: boolean;
}

/** A board, and what monitors and tools look at. */
export interface PcBoard extends Board {
  readonly platform: Platform;
  readonly backends: Backends;
  readonly devices: readonly PluggedDevice[];
  /** The same with their places. */
  readonly placed: readonly PlacedDevice[];
  readonly ports: AddressSpace;
  readonly mmio: AddressSpace;
  /** Plugs a device into the machine as it is. @throws UsageError */
  plugDevice(config: DeviceConfig): PlacedDevice;
  /**
   * Takes a device out: at once, or for PCI when the guest has given it back (`deviceDeleted` tells).
   * @throws UsageError when it cannot be taken out, or is on its way out already
   */
  unplugDevice(placed: PlacedDevice): void;
}

export async function buildBoard(parts: BoardParts): Promise<PcBoard> {
  const { config, host, clock, tracer } = parts;
  const ports = new AddressSpace('ports');
  const mmio = new AddressSpace('mmio');
  const below = lowRam(config.machine, config.memory);
  // The processor's calls reach the platform, which is built after it, for it needs the processor's memory.
  let platform!: Platform;
  const lapic = () => platform.lapics[0]!;
  const word = new Uint8Array(4);
  const trace = {
    portRead: tracer.point('cpu.port.read'),
    portWrite: tracer.point('cpu.port.write'),
    mmioRead: tracer.point('cpu.mmio.read'),
    mmioWrite: tracer.point('cpu.mmio.write'),
    interrupt: tracer.point('cpu.interrupt'),
  };
  const bus: CpuBus = {
    readPort: (port, size) => {
      const value = ports.read(port, size);
      if (trace.portRead.on) trace.portRead.emit({ port: hex(port), size, value: hex(value) });
      return value;
    },
    writePort: (port, size, value) => {
      if (trace.portWrite.on) trace.portWrite.emit({ port: hex(port), size, value: hex(value) });
      ports.write(port, size, value);
    },
    readMmio: (address, size) => {
      const value = mmio.read(address, size);
      if (trace.mmioRead.on) trace.mmioRead.emit({ address: hex(address), size, value: hex(value) });
      return value;
    },
    writeMmio: (address, size, value) => {
      if (trace.mmioWrite.on) trace.mmioWrite.emit({ address: hex(address), size, value: hex(value) });
      mmio.write(address, size, value);
    },
    acknowledgeInterrupt: () => {
      const vector = lapic().acknowledgeInterrupt();
      if (trace.interrupt.on) trace.interrupt.emit({ vector: hex(vector) });
      return vector;
    },
    readMsr: (index) => lapic().readMsr(index),
    writeMsr: (index, low, high) => lapic().writeMsr(index, low, high),
    readCr8: () => lapic().readCr8(),
    writeCr8: (value) => lapic().writeCr8(value),
    readTsc: () => clock.now(),
    // counted time is exact
    tscEstimate: config.icount === undefined ? TSC_ESTIMATE : 0,
    random: () => {
      host.random(word);
      return (word[0]! | (word[1]! << 8) | (word[2]! << 16) | (word[3]! << 24)) >>> 0;
    },
  };
  const cpu = await host.createCpu({
    cpu: config.cpu,
    ramBelow4G: below,
    ramAbove4G: config.memory - below,
    bus,
    tracer,
    count: config.stats,
    deterministic: config.icount !== undefined,
    keepTranslations: config.keepTranslations,
    translationBytes: config.translationBytes,
  });
  platform = new Platform({
    machine: config.machine,
    ports,
    mmio,
    memory: cpu.guestMemory,
    clock,
    tracer,
    // Interrupts go by way of the run loop, which wakes a sleeping machine.
    processors: [{ setInterrupt: (level) => parts.setInterrupt(level), nmi: () => parts.nmi() }],
    hpet: config.hpet,
    rtc: { base: config.rtc.base, clock: config.rtc.clock === 'vm' ? 'vm' : 'host' },
    // The slot that QEMU's video card would have stays free, so that the others get QEMU's numbers.
    reserveVgaSlot: config.videoSlot,
    acpiHotplug: acpiHotplug(config.globals, config.machine),
    onPowerOff: () => parts.control.powerOff(),
    onReset: () => parts.control.reset(),
  });
  const board = new MachineBoard(parts, cpu, platform, ports, mmio);
  await board.populate();
  return board;
}

/** Instructions: well below a microsecond's worth of them, and few enough that one look in hundreds is left. */
const TSC_ESTIMATE = 500;

const hex = (value: number): string => `0x${value.toString(16)}`;

class MachineBoard implements PcBoard {
  readonly cpu: CpuInterface;
  readonly platform: Platform;
  readonly tracer: Tracer;
  readonly backends: Backends;
  readonly ports: AddressSpace;
  readonly mmio: AddressSpace;
  placed: PlacedDevice[] = [];
  readonly #parts: BoardParts;
  readonly #buses: DeviceBus[] = [];
  /** How each device gives back what it has claimed. */
  readonly #releases = new Map<PlacedDevice, () => void>();
  /** When the guest was asked to give a device back, in milliseconds of the machine's time. */
  readonly #leaving = new Map<PlacedDevice, number>();
  #anonymous = 0;
  /** Devices come into a running machine from now on. */
  #complete = false;
  #deviceContext: DeviceContext | undefined;
  #path = '';
  readonly #cache: KernelCache;
  #entry: EntryState | undefined;

  constructor(
    parts: BoardParts,
    cpu: CpuInterface,
    platform: Platform,
    ports: AddressSpace,
    mmio: AddressSpace,
  ) {
    this.#parts = parts;
    this.cpu = cpu;
    this.platform = platform;
    this.tracer = parts.tracer;
    this.backends = parts.backends;
    this.ports = ports;
    this.mmio = mmio;
    this.#cache = parts.host.kernelCache ?? lastKernel();
  }

  /** Serial ports, devices, and the first boot. */
  async populate(): Promise<void> {
    const { config, backends, host } = this.#parts;
    config.serials.forEach((id, index) => {
      if (id !== undefined) this.platform.attachSerial(index, backends.claimChardev(id, 'isa-serial'));
    });
    for (const device of config.devices) blame(device.origin, () => this.plugDevice(device));
    for (const device of this.#parts.plug) {
      const pci = new VirtioPci(device, { memory: this.cpu.guestMemory, tracer: this.tracer });
      this.platform.pci.add(pci, device.name);
      this.#place({ id: undefined, className: pci.name, pci }, this.#newPath(undefined));
    }
    await this.#addFwCfg();
    for (const netdev of backends.unused()) host.warn(`netdev ${netdev} has no peer`);
    this.platform.hotplug.onRemoved = ({ fn }) => {
      const placed = this.placed.find(({ device }) => functionOf(device) === fn);
      if (placed !== undefined) this.#removed(placed);
    };
    this.#complete = true;
    await this.#boot();
  }

  get devices(): readonly PluggedDevice[] {
    return this.placed.map(({ device }) => device);
  }

  plugDevice(config: DeviceConfig): PlacedDevice {
    const { host, backends } = this.#parts;
    const deviceClass = requireClass(config.driver);
    const request = readRequest(
      config,
      deviceClass,
      (message) => host.warn(`${config.origin}: ${message}`),
      globalsFor(deviceClass, this.#parts.config.globals),
    );
    const { id } = request;
    const context = (this.#deviceContext ??= this.#context());
    if (this.#complete) this.#checkHotplug(deviceClass.bus, () => this.#pciBus(request));
    if (id !== undefined && this.placed.some(({ device }) => device.id === id))
      throw new UsageError(
        this.#complete ? `Duplicate device ID '${id}'` : `Duplicate ID '${id}' for device`,
      );
    this.#path = this.#newPath(id);
    const { made, release } = backends.claiming(() => deviceClass.create(context, request));
    const placed = this.#place(made, this.#path, request, deviceClass);
    this.#releases.set(placed, release);
    return placed;
  }

  unplugDevice(placed: PlacedDevice): void {
    const { device, deviceClass } = placed;
    if (device.unplug !== undefined) {
      device.unplug();
      return this.#removed(placed);
    }
    const fn = functionOf(device);
    const place = fn === undefined ? undefined : this.platform.pci.placeOf(fn);
    this.#checkHotplug(deviceClass?.bus ?? 'PCI', () => place?.bus ?? this.platform.pci);
    const now = Math.floor(this.#parts.clock.now() / 1e6);
    const asked = this.#leaving.get(placed);
    // QEMU's rule for ACPI: to be asked again at once, but in the first millisecond of the machine's time.
    if (asked === 0 || (asked ?? now) > now)
      throw new UsageError(`Device ${device.id ?? device.className} is already in the process of unplug`);
    if (place === undefined)
      throw new UsageError(`Device '${device.className}' does not support hotplugging`);
    const patience = this.platform.hotplug.requestRemove(place.bus, place.slot);
    // It may have gone at once.
    if (this.placed.includes(placed)) this.#leaving.set(placed, now + patience);
  }

  /** Ports come and go on any controller, PCI functions where there are slots for it, and nothing else. */
  #checkHotplug(type: BusType, bus: () => PciBus): void {
    if (type === 'virtio-serial-bus') return;
    const fixed = { name: type === 'ISA' ? 'isa.0' : 'virtio-mmio-bus.0' };
    const on = type === 'PCI' ? bus() : undefined;
    const name = on?.name ?? fixed.name;
    if (on === undefined || !this.platform.hotplug.supports(on))
      throw new UsageError(`Bus '${name}' does not support hotplugging`);
  }

  #newPath(id: string | undefined): string {
    return id === undefined
      ? `/machine/peripheral-anon/device[${this.#anonymous}]`
      : `/machine/peripheral/${id}`;
  }

  #removed(placed: PlacedDevice): void {
    const { device, path } = placed;
    this.placed = this.placed.filter((other) => other !== placed);
    this.#leaving.delete(placed);
    const { events } = this.#parts;
    if (device.carries !== undefined) {
      // Whatever sits on its bus goes with it, what came last first.
      const on = this.placed.filter(({ device: { bus } }) => bus === device.carries!.name);
      for (const other of on.reverse()) {
        other.device.unplug?.();
        this.#removed(other);
      }
      this.#buses.splice(this.#buses.indexOf(device.carries), 1);
    }
    device.pci?.reset();
    void Promise.resolve(device.close?.()).catch((error: unknown) => this.#parts.host.warn(String(error)));
    this.#releases.get(placed)?.();
    this.#releases.delete(placed);
    // Told when whoever asked has been answered, as by QEMU.
    void this.#parts.host.yieldToHost().then(() => {
      if (device.pci !== undefined) events.emit('deviceDeleted', undefined, `${path}/virtio-backend`);
      events.emit('deviceDeleted', device.id, path);
    });
  }

  async reset(): Promise<void> {
    const trace = this.tracer.point('machine.reset');
    if (trace.on) trace.emit({ instructions: this.cpu.instructionCount });
    this.cpu.reset();
    this.platform.reset();
    for (const device of this.devices) device.reset?.();
    await this.#boot();
  }

  powerButton(): void {
    this.platform.powerButton();
  }

  async close(): Promise<void> {
    const { devices } = this;
    this.placed = [];
    for (const device of [...devices].reverse()) await device.close?.();
    await this.backends.close();
    const { kernel, initrd } = this.#parts.files;
    await kernel?.close();
    await initrd?.close();
  }

  async #boot(): Promise<void> {
    const { config, files, host } = this.#parts;
    this.platform.firmwareInit();
    const memory = this.cpu.guestMemory;
    this.#entry = await loadGuest(config, files, memory, this.platform.info, host, this.#cache);
    if (this.#entry !== undefined) this.cpu.enter(this.#entry);
  }

  #place(
    device: PluggedDevice,
    path: string,
    request?: DeviceRequest,
    deviceClass?: DeviceClass,
  ): PlacedDevice {
    const placed = { device, path, request, deviceClass, hotplugged: this.#complete };
    this.placed.push(placed);
    if (device.id === undefined) this.#anonymous++;
    if (device.carries !== undefined) this.#buses.push(device.carries);
    return placed;
  }

  async #addFwCfg(): Promise<void> {
    const { config, host } = this.#parts;
    for (const entry of config.fwCfg) {
      try {
        const data =
          entry.file === undefined
            ? new TextEncoder().encode(entry.text ?? '')
            : await host.readFile(entry.file);
        this.platform.fwCfg.addFile({ name: entry.name, data });
      } catch (error) {
        throw blamed(entry.origin, error);
      }
    }
  }

  #context(): DeviceContext {
    const { config, clock, tracer, backends, control, host } = this.#parts;
    const counts = new Map<string, number>();
    return {
      events: this.#parts.events,
      path: () => this.#path,
      busOf: (owner) => this.#buses.find((bus) => bus.owner === owner)!.name,
      machine: config.machine,
      memory: this.cpu.guestMemory,
      ports: this.ports,
      mmio: this.mmio,
      clock,
      tracer,
      backends,
      control,
      random: (view) => host.random(view),
      pciBus: (request) => this.#pciBus(request),
      nativeHotplug: this.platform.info.nativeHotplug,
      plugPci: (fn, request) => this.#plugPci(fn, request),
      plugMmio: (make) => this.platform.addVirtioMmio(make),
      isaIrq: (irq) => this.platform.isaIrq(irq),
      attachSerial: (index, request) => this.#attachSerial(index, request),
      portNames: new Set(),
      chassisSlots: new Set(),
      macs: new Set(),
      cards: { count: 0 },
      busName: (type, id) => {
        const count = counts.get(type) ?? 0;
        if (id !== undefined) return `${id}.0`;
        counts.set(type, count + 1);
        return `${type}.${count}`;
      },
      findBus: (type, name, device) => this.#findBus(type, name, device),
      onResume: (call) => this.#parts.onResume(call),
      warn: (message) => host.warn(message),
    };
  }

  /** The PCI bus that `bus=` names; QEMU takes the root bus's name without its number, too. */
  #pciBus({ bus, className }: DeviceRequest): PciBus {
    const { pci } = this.platform;
    if (bus === undefined || bus === pci.name || bus === pci.name.replace(/\.0$/, '')) return pci;
    return this.#findBus('PCI', bus, className) as PciBus;
  }

  #plugPci(fn: PciFunction, request: DeviceRequest): void {
    const bus = this.#pciBus(request);
    const addr = request.values.addr as number | undefined;
    const label = request.id === undefined ? request.className : `${request.className},id=${request.id}`;
    const place = addr === undefined ? undefined : { slot: addr >> 3, function: addr & 7 };
    const { slot } = this.#complete
      ? this.platform.hotplug.add(bus, fn, label, place)
      : bus.add(fn, label, place);
    if (bus.kind === 'port' && slot !== 0)
      // "The link behind a Downstream Port has only Device 0" (PCI Express Base 3.0 §7.3.1).
      this.#parts.host.warn(
        `PCI: slot ${slot} is not valid for ${request.className}, parent device only allows plugging into slot 0.`,
      );
  }

  #attachSerial(index: number, request: DeviceRequest): void {
    const used = new Set(this.platform.info.serialPorts.map((port) => port.index));
    const free = [0, 1, 2, 3].find((candidate) => !used.has(candidate));
    const wanted = index === 0xffffffff ? free : index;
    if (wanted === undefined || wanted > 3)
      throw new UsageError('Max. supported number of ISA serial ports is 4.');
    if (used.has(wanted)) throw new UsageError(`serial port ${wanted} is in use`);
    const chardev = this.#parts.backends.claimChardev(String(request.values.chardev), request.className);
    this.platform.attachSerial(wanted, chardev);
  }

  /** Where a device goes that names no bus: as in QEMU, to what came last. */
  #latestBus(type: BusType, on: PciBus): DeviceBus | undefined {
    const here = this.placed.filter(({ device }) => on.functions.some(({ fn }) => fn === functionOf(device)));
    for (const { device } of here.reverse()) {
      if (device.carries?.type === type) return device.carries;
      const { fn } = device;
      const behind = fn instanceof PciBridge ? this.#latestBus(type, fn.secondary) : undefined;
      if (behind !== undefined) return behind;
    }
    return undefined;
  }

  #findBus(type: BusType, name: string | undefined, device: string): unknown {
    if (name !== undefined) {
      const bus = this.#buses.find((candidate) => candidate.name === name);
      if (bus === undefined && [this.platform.pci.name, 'isa.0'].includes(name))
        throw new UsageError(`Device '${device}' can't go on ${name === 'isa.0' ? 'ISA' : 'PCI'} bus`);
      if (bus === undefined) {
        const names = [this.platform.pci, ...this.#buses].map((candidate) => candidate.name);
        throw new UsageError(
          `Bus '${name}' not found${names.length > 0 ? ` (there is: ${names.join(', ')})` : ''}`,
        );
      }
      if (bus.type !== type) throw new UsageError(`Device '${device}' can't go on ${bus.type} bus`);
      return bus.owner;
    }
    const outside = this.placed.findLast(
      ({ device, deviceClass }) => deviceClass?.bus === 'virtio-bus' && device.carries?.type === type,
    );
    const bus = this.#latestBus(type, this.platform.pci) ?? outside?.device.carries;
    if (bus !== undefined) return bus.owner;
    throw new UsageError(
      `No '${type}' bus found for device '${device}' (add -device virtio-serial in front of it)`,
    );
  }
}
