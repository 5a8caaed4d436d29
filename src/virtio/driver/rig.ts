/**
 * A test rig: puts a `VirtioDevice` on a PCI function on a tiny bus with memory of its own, and drives it through
 * this library, with no guest. Typical use:
 *
 *   const rig = await createRig(new RngDevice(...));            // on a bus, BARs assigned, nothing negotiated yet
 *   await rig.start({ features: [VIRTIO_BLK_F_FLUSH] });        // negotiate, find all queues, DRIVER_OK
 *   const { data, length } = await rig.request(0, [header], [512, 1]);   // send one chain, wait for it
 *   rig.queues[1].addInbuf([rig.memory.buffer(new Uint8Array(64))], 'token'); rig.queues[1].kick();
 *   rig.queues[1].getBuf();                                      // { token, length } or undefined
 *   rig.driver.readConfig(0, 8); rig.errors; rig.messages; rig.line; await rig.driver.reset();
 *
 * `start` takes `interface: 'modern' | 'legacy'`, `interrupts: 'msix' | 'shared' | 'intx'`, `queueSizes`,
 * `without` (ring features not to accept) and `features` (device features to accept; by default all offered).
 */
import { AddressSpace, type AccessSize } from '../../core/bus.ts';
import { GuestMemory } from '../../core/memory.ts';
import { PciFunction, type PciHost } from '../../core/pci.ts';
import { Tracer } from '../../core/trace.ts';
import type { VirtioDevice } from '../device.ts';
import { VirtioPci, type VirtioPciOptions } from '../transport/pci.ts';
import { DriverMemory, type Sg } from './memory.ts';
import { DriverDevice, VIRTIO_DEV_ANY_ID, type VirtioDriver } from './model.ts';
import { openVirtioPci, type PciAccess, type VirtioPciDriverOptions } from './pci.ts';
import type { Vring } from './vring.ts';

const IO_BASE = 0xc000;
const MEM_BASE = 0xfe00_0000;
/** Where messages of the rig's vectors go: data counts the vectors. */
const MESSAGE_ADDRESS = 0xfee0_0000;

/** A bus of one function: maps its BARs, records its interrupts and hands them to the driver. */
export class TinyPciBus implements PciHost, PciAccess {
  readonly io = new AddressSpace('io');
  readonly mem = new AddressSpace('mem');
  readonly memory: DriverMemory;
  /** Every message that arrived. */
  readonly messages: { address: number; data: number }[] = [];
  /** Level of INTA#. */
  line = false;
  /** Times that INTA# rose. */
  lineRaised = 0;
  readonly #fn: PciFunction;
  readonly #handlers = new Map<number, () => void>();
  #lineHandler: () => void = () => {};
  #unmap: (() => void)[] = [];

  constructor(fn: PciFunction, memory: DriverMemory) {
    this.memory = memory;
    this.#fn = fn;
    fn.connect(this);
    this.assignBars();
  }

  /** Gives each BAR an address, as firmware does after power-on or a bus reset. */
  assignBars(): void {
    const fn = this.#fn;
    let io = IO_BASE;
    let mem = MEM_BASE;
    fn.bars.forEach((bar, index) => {
      if (bar === undefined) return;
      const align = (at: number) => Math.ceil(at / bar.size) * bar.size;
      const base = bar.kind === 'io' ? align(io) : align(mem);
      if (bar.kind === 'io') io = base + bar.size;
      else mem = base + bar.size;
      fn.writeConfig(0x10 + index * 4, 4, base);
      if (bar.kind === 'mem64') fn.writeConfig(0x14 + index * 4, 4, 0);
    });
  }

  readonly intx = {
    set: (level: boolean) => {
      if (level && !this.line) this.lineRaised++;
      this.line = level;
      if (level) this.#lineHandler();
    },
  };

  readonly msi = {
    send: (address: number, data: number) => {
      this.messages.push({ address, data });
      if (address === MESSAGE_ADDRESS) this.#handlers.get(data)?.();
    },
  };

  mappingChanged(fn: PciFunction): void {
    for (const unmap of this.#unmap) unmap();
    this.#unmap = [];
    for (const { bar, space, base } of fn.mappings()) {
      const into = space === 'io' ? this.io : this.mem;
      // A driver may put one BAR over another: the first keeps its place.
      if (!into.isFree(base, bar.size)) continue;
      this.#unmap.push(into.add({ name: bar.name, base, size: bar.size, handler: bar.handler }));
    }
  }

  readConfig(offset: number, size: AccessSize): number {
    return this.#fn.readConfig(offset, size);
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    this.#fn.writeConfig(offset, size, value);
  }

  #place(bar: number, offset: number): [AddressSpace, number] {
    const value = this.readConfig(0x10 + bar * 4, 4);
    if ((value & 1) !== 0) return [this.io, (value & ~3) + offset];
    const high = (value & 4) !== 0 ? this.readConfig(0x14 + bar * 4, 4) : 0;
    return [this.mem, ((value & ~15) >>> 0) + high * 2 ** 32 + offset];
  }

  readBar(bar: number, offset: number, size: AccessSize): number {
    const [space, address] = this.#place(bar, offset);
    return space.read(address, size);
  }

  writeBar(bar: number, offset: number, size: AccessSize, value: number): void {
    const [space, address] = this.#place(bar, offset);
    space.write(address, size, value);
  }

  allocateMessages(count: number, handler: (n: number) => void): { address: number; data: number }[] {
    this.#handlers.clear();
    return Array.from({ length: count }, (_, n) => {
      this.#handlers.set(n, () => handler(n));
      return { address: MESSAGE_ADDRESS, data: n };
    });
  }

  onLine(handler: () => void): void {
    this.#lineHandler = handler;
  }

  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 0));
  }
}

export interface StartOptions extends VirtioPciDriverOptions {
  /** Device features (bit numbers) to accept; by default all that are offered. */
  readonly features?: readonly bigint[];
  /** Features (bit numbers) not to accept, ring features included. */
  readonly without?: readonly bigint[];
  /** Entries by queue; the device's maximum where absent. */
  readonly queueSizes?: readonly (number | undefined)[];
  /** Queues to set up; by default all. */
  readonly queueCount?: number;
}

/** What came back from the device. */
export interface Answer {
  /** The used length. */
  readonly length: number;
  /** Contents of all writable pieces, one after the other, whatever the used length says. */
  readonly data: Uint8Array;
}

export class Rig<D extends VirtioDevice = VirtioDevice> {
  readonly device: D;
  readonly fn: VirtioPci;
  readonly bus: TinyPciBus;
  readonly memory: DriverMemory;
  readonly tracer: Tracer;
  /** Guest errors and warnings, as they were logged: `device: message [clause]`. */
  readonly errors: string[] = [];
  /** Times that the driver heard of a configuration change. */
  configChanges = 0;
  #driver: DriverDevice | undefined;
  #queues: Vring[] = [];

  constructor(
    device: D,
    options: VirtioPciOptions & { readonly memorySize?: number; readonly tracer?: Tracer } = {},
  ) {
    const ram = GuestMemory.create(options.memorySize ?? 16 * 1024 * 1024);
    this.tracer = options.tracer ?? new Tracer();
    this.tracer.onGuestError = (who, message) => this.errors.push(`${who}: ${message}`);
    this.tracer.onWarning = (who, message) => this.errors.push(`${who}: ${message}`);
    this.device = device;
    // The first page stays free, so that an address of 0 is never a good one.
    this.memory = new DriverMemory(ram, 4096, ram.size);
    this.fn = new VirtioPci(device, { memory: ram, tracer: this.tracer }, options);
    this.bus = new TinyPciBus(this.fn, this.memory);
  }

  /** The device as the driver sees it, after `start`. */
  get driver(): DriverDevice {
    if (this.#driver === undefined) throw new Error('rig: call start() first');
    return this.#driver;
  }

  get queues(): readonly Vring[] {
    return this.#queues;
  }

  get messages(): readonly { address: number; data: number }[] {
    return this.bus.messages;
  }

  get line(): boolean {
    return this.bus.line;
  }

  /** Opens the transport without negotiating. */
  open(options: VirtioPciDriverOptions = {}): DriverDevice {
    this.#driver = new DriverDevice(openVirtioPci(this.bus, options));
    return this.#driver;
  }

  /** Negotiates, finds the queues and sets DRIVER_OK. May be called again after a reset. */
  async start(options: StartOptions = {}): Promise<DriverDevice> {
    const driver = this.open(options);
    const all = Array.from({ length: 128 }, (_, n) => BigInt(n)).filter((n) => n < 24n || n >= 50n);
    const model: VirtioDriver = {
      name: 'rig',
      idTable: [{ device: VIRTIO_DEV_ANY_ID, vendor: VIRTIO_DEV_ANY_ID }],
      featureTable: options.features ?? all,
      validate: (device) => {
        for (const bit of options.without ?? []) device.clearFeature(bit);
      },
      probe: () => {},
      remove: () => {},
      configChanged: () => {
        this.configChanges++;
      },
    };
    await driver.negotiate(model);
    this.#queues = driver.findVqs(
      this.device.queues.slice(0, options.queueCount).map((spec, index) => {
        const size = options.queueSizes?.[index];
        const base = { name: spec.name, callback: (queue: Vring) => this.#used(queue) };
        return size === undefined ? base : { ...base, size };
      }),
    ) as Vring[];
    driver.ready();
    return driver;
  }

  /**
   * Sends one chain and waits until the device has used it. `out` are the pieces that it reads, `into` the lengths of
   * the pieces that it may write. Buffers are freed afterwards.
   */
  request(queue: number, out: readonly Uint8Array[], into: readonly number[]): Promise<Answer> {
    const readable = out.map((data) => this.memory.buffer(data));
    const writable = into.map((length) => this.memory.buffer(new Uint8Array(length)));
    return this.submit(queue, readable, writable).then((length) => {
      const data = Uint8Array.from(writable.flatMap((sg) => [...this.memory.read(sg)]));
      for (const sg of [...readable, ...writable]) this.memory.free(sg.address);
      return { length, data };
    });
  }

  /** Sends one chain of the caller's buffers; resolves with the used length. */
  submit(queue: number, out: readonly Sg[], into: readonly Sg[]): Promise<number> {
    const ring = this.#queues[queue];
    if (ring === undefined) throw new Error(`rig: there is no queue ${queue}`);
    return new Promise((resolve, reject) => {
      const waiting: Waiting = { resolve };
      if (!ring.addBuf(out, into, waiting)) reject(new Error(`rig: queue ${queue} is full`));
      else ring.kick();
    });
  }

  #used(queue: Vring): void {
    do {
      queue.disableCb();
      for (;;) {
        // Buffers that the test added itself are for the test to take.
        const used = queue.peek();
        if (!isWaiting(used)) break;
        const { length } = queue.getBuf()!;
        used.resolve(length);
      }
    } while (!queue.enableCb() && isWaiting(queue.peek()));
  }
}

interface Waiting {
  readonly resolve: (length: number) => void;
}

function isWaiting(token: unknown): token is Waiting {
  return typeof token === 'object' && token !== null && 'resolve' in token;
}

/** A rig for `device`; see the top of this file. */
export async function createRig<D extends VirtioDevice>(
  device: D,
  options: VirtioPciOptions & { readonly memorySize?: number; readonly tracer?: Tracer } = {},
): Promise<Rig<D>> {
  return new Rig(device, options);
}
