/**
 * The console device (VIRTIO 1.4 §5.3), as QEMU's virtio-serial: a controller with up to `max_ports` ports that come
 * and go while the guest runs. It owns numbers and names of ports and the control queues; a port's data is the
 * port's own business (port.ts).
 */
import type { Clock } from '../../../core/clock.ts';
import { assert, UsageError } from '../../../core/errors.ts';
import type { TracePoint, Tracer } from '../../../core/trace.ts';
import type { DeviceHost, QueueSpec, VirtioDevice } from '../../device.ts';
import { ConfigSpace } from '../config.ts';
import { type ControlMessage, ControlOutbox, parseControl } from './control.ts';
import * as d from './defs.ts';
import type { PortLink, SerialPort } from './port.ts';
import type { SerialSettings } from './properties.ts';

export interface ConsoleSize {
  readonly cols: number;
  readonly rows: number;
}

export interface VirtioSerialOptions {
  readonly tracer: Tracer;
  readonly settings: SerialSettings;
  /** Gives slow readers of consoles their time (output.ts). */
  readonly clock?: Clock;
  /** For messages; the id on the command line. */
  readonly id?: string;
  /** With a size VIRTIO_CONSOLE_F_SIZE is offered (QEMU 7.2 does not), and `resize` tells the guest. */
  readonly size?: ConsoleSize;
  /** Names in use on all controllers of the machine: they are unique across them. */
  readonly portNames?: Set<string>;
}

const encoder = new TextEncoder();

export class VirtioSerial implements VirtioDevice {
  readonly deviceId = d.VIRTIO_ID_CONSOLE;
  readonly name = 'virtio-serial';
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  readonly configSize: number;
  readonly maxPorts: number;

  readonly #tracer: Tracer;
  readonly #clock: Clock | undefined;
  readonly #id: string;
  readonly #names: Set<string>;
  readonly #config = new ConfigSpace(d.CONFIG.END);
  readonly #ports = new Map<number, SerialPort>();
  readonly #outbox = new ControlOutbox();
  readonly #traceControl: TracePoint;
  readonly #traceEmergency: TracePoint;
  #size: ConsoleSize | undefined;
  #host!: DeviceHost;
  #running = false;
  /** The driver has said DEVICE_READY. */
  #driverReady = false;
  /** Ports that the driver was told of, and not told that they are gone. */
  readonly #announced = new Set<number>();

  constructor(options: VirtioSerialOptions) {
    const { maxPorts, emergencyWrite } = options.settings;
    this.#tracer = options.tracer;
    this.#clock = options.clock;
    this.#id = options.id ?? this.name;
    this.#names = options.portNames ?? new Set();
    this.#size = options.size;
    this.maxPorts = maxPorts;
    this.features =
      (options.size !== undefined ? d.VIRTIO_CONSOLE_F_SIZE : 0n) |
      // One port needs no control queues, and drivers that know none get along.
      (maxPorts > 1 ? d.VIRTIO_CONSOLE_F_MULTIPORT : 0n) |
      (emergencyWrite ? d.VIRTIO_CONSOLE_F_EMERG_WRITE : 0n);
    this.queues = queueSpecs(maxPorts);
    this.configSize = emergencyWrite ? d.CONFIG.END : d.CONFIG.EMERG_WR;
    this.#config.u16(d.CONFIG.COLS, options.size?.cols ?? 0);
    this.#config.u16(d.CONFIG.ROWS, options.size?.rows ?? 0);
    this.#config.u32(d.CONFIG.MAX_NR_PORTS, maxPorts);
    this.#traceControl = options.tracer.point('virtio.console.control');
    this.#traceEmergency = options.tracer.point('virtio.console.emergency');
  }

  /** Its ports by number. */
  get ports(): ReadonlyMap<number, SerialPort> {
    return this.#ports;
  }

  /**
   * Plugs a port, before the machine runs or while it does.
   * @returns its number
   * @throws UsageError, with QEMU's text, when the number or the name cannot be had
   */
  addPort(port: SerialPort): number {
    const nr = this.#chooseNumber(port);
    this.#ports.set(nr, port);
    if (port.name !== undefined && port.name !== '') this.#names.add(port.name);
    port.plug(this.#linkFor(nr, port), nr);
    if (this.#running && !this.#multiport && nr === 0) port.setGuestConnected(true);
    this.#announce(nr);
    return nr;
  }

  /** Unplugs a port at once, whatever the guest does with it. */
  removePort(port: SerialPort): void {
    const { nr } = port;
    assert(this.#ports.get(nr) === port, 'port is not on this controller', { nr });
    port.unplug();
    this.#ports.delete(nr);
    if (port.name !== undefined) this.#names.delete(port.name);
    // "The device MUST NOT specify a port in VIRTIO_CONSOLE_DEVICE_REMOVE which has not been created with a
    // previous VIRTIO_CONSOLE_DEVICE_ADD." (§5.3.6.2)
    if (this.#announced.delete(nr)) {
      this.#post({ id: nr, event: d.VIRTIO_CONSOLE_DEVICE_REMOVE, value: 1 });
    }
  }

  /** The terminal has a new size: told where a size was given at first, and so VIRTIO_CONSOLE_F_SIZE is offered. */
  resize(size: ConsoleSize): void {
    if ((this.features & d.VIRTIO_CONSOLE_F_SIZE) === 0n) return;
    if (size.cols === this.#size?.cols && size.rows === this.#size.rows) return;
    this.#size = size;
    this.#config.u16(d.CONFIG.COLS, size.cols);
    this.#config.u16(d.CONFIG.ROWS, size.rows);
    if (!this.#running) return;
    this.#host.configChanged();
    for (const port of this.#ports.values()) this.#postSize(port);
  }

  // --- the transport's side

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    return this.#config.read(offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    if ((this.features & d.VIRTIO_CONSOLE_F_EMERG_WRITE) === 0n) return;
    // "The device MUST allow a write to emerg_wr, even on an unconfigured device. The device SHOULD transmit the
    // lower byte written to emerg_wr to an appropriate log or output method." (§5.3.5.1)
    const byte = ConfigSpace.byteOf(d.CONFIG.EMERG_WR, offset, size, value);
    if (byte < 0) return;
    if (this.#traceEmergency.on) this.#traceEmergency.emit({ device: this.#id, byte });
    this.#ports.get(0)?.emergencyWrite(byte);
  }

  start(): void {
    this.#running = true;
    // A driver that knows no ports cannot say that one is open: port 0 is, from now on.
    if (!this.#multiport) this.#ports.get(0)?.setGuestConnected(true);
    for (let index = 0; index < this.queues.length; index++) this.notify(index);
  }

  stop(): void {
    for (const port of this.#ports.values()) port.finishGathering();
    this.#running = false;
    this.#driverReady = false;
    this.#announced.clear();
    this.#outbox.clear();
    for (const port of this.#ports.values()) port.stop();
  }

  queueReset(index: number): void {
    if (index === d.CONTROL_RECEIVEQ || index === d.CONTROL_TRANSMITQ) return;
    if ((index & 1) === 1) this.#ports.get(d.portOf(index))?.transmitqReset();
  }

  notify(index: number): void {
    const queue = this.#host.queues[index];
    if (!this.#running || queue === undefined || !queue.enabled) return;
    if (index === d.CONTROL_RECEIVEQ) this.#outbox.drain(queue, this.#host);
    else if (index === d.CONTROL_TRANSMITQ) this.#serveControl();
    else {
      const port = this.#ports.get(d.portOf(index));
      if ((index & 1) === 0) port?.receiveBuffers();
      else if (port !== undefined) port.transmitBuffers();
      else {
        // Written to a port that is gone: given back unread.
        for (const chain of queue) queue.push(chain, 0);
        queue.flush();
      }
    }
  }

  // --- control

  get #multiport(): boolean {
    return (this.#host.negotiated & d.VIRTIO_CONSOLE_F_MULTIPORT) !== 0n;
  }

  #serveControl(): void {
    const queue = this.#host.queues[d.CONTROL_TRANSMITQ]!;
    for (const chain of queue) {
      const message = parseControl(chain.readable);
      if (message === undefined) this.#host.guestError('control message shorter than 8 bytes');
      else this.#control(message);
      queue.push(chain, 0);
    }
    queue.flush();
  }

  #control(message: ControlMessage): void {
    const { id, event, value } = message;
    if (this.#traceControl.on)
      this.#traceControl.emit({ device: this.#id, from: 'driver', id, event, value });
    if (event === d.VIRTIO_CONSOLE_DEVICE_READY) {
      if (value === 0) {
        this.#tracer.warn(this.#id, 'virtio-serial-bus: Guest failure in adding device');
        return;
      }
      this.#driverReady = true;
      for (const nr of [...this.#ports.keys()].sort((a, b) => a - b)) this.#announce(nr);
      return;
    }
    const port = this.#ports.get(id);
    if (port === undefined) {
      // Normal for a moment, when a port was unplugged while its driver still speaks of it.
      if (id >= this.maxPorts) this.#host.guestError(`control message for port ${id} of ${this.maxPorts}`);
      return;
    }
    switch (event) {
      case d.VIRTIO_CONSOLE_PORT_READY:
        if (value === 0) {
          this.#tracer.warn(this.#id, `virtio-serial-bus: Guest failure in adding port ${id}`);
          return;
        }
        port.ready = true;
        this.#describe(port);
        break;
      case d.VIRTIO_CONSOLE_PORT_OPEN:
        port.setGuestConnected(value !== 0);
        break;
      default:
        this.#host.guestError(`control event ${event} is not the driver's to send`);
    }
  }

  /** Tells a driver that is ready of a port it does not know. */
  #announce(nr: number): void {
    // "The device MUST NOT specify a port which exists in a VIRTIO_CONSOLE_DEVICE_ADD message, nor a port which is
    // equal or greater than max_nr_ports." (§5.3.6.2): the second is seen to when the number is chosen.
    if (!this.#driverReady || this.#announced.has(nr)) return;
    this.#announced.add(nr);
    this.#post({ id: nr, event: d.VIRTIO_CONSOLE_DEVICE_ADD, value: 1 });
  }

  /** All that the driver has to know of a port, in QEMU's order. */
  #describe(port: SerialPort): void {
    const id = port.nr;
    if (port.console) this.#post({ id, event: d.VIRTIO_CONSOLE_CONSOLE_PORT, value: 1 });
    this.#postSize(port);
    if (port.name !== undefined && port.name !== '') {
      // "immediately followed by the UTF-8 name of the port ... (without a NUL terminator)" (§5.3.6.2)
      this.#post({ id, event: d.VIRTIO_CONSOLE_PORT_NAME, value: 1, data: encoder.encode(port.name) });
    }
    if (port.hostConnected) this.#post({ id, event: d.VIRTIO_CONSOLE_PORT_OPEN, value: 1 });
  }

  #postSize(port: SerialPort): void {
    const size = this.#size;
    if (size === undefined || !port.console || !port.ready) return;
    if ((this.#host.negotiated & d.VIRTIO_CONSOLE_F_SIZE) === 0n) return;
    // struct virtio_console_resize: le16 cols, le16 rows.
    const data = new Uint8Array([size.cols & 0xff, size.cols >> 8, size.rows & 0xff, size.rows >> 8]);
    this.#post({ id: port.nr, event: d.VIRTIO_CONSOLE_RESIZE, value: 0, data });
  }

  #post(message: ControlMessage): void {
    if (!this.#running || !this.#multiport) return;
    if (this.#traceControl.on) {
      const { id, event, value } = message;
      this.#traceControl.emit({ device: this.#id, from: 'device', id, event, value });
    }
    this.#outbox.post(message);
    const queue = this.#host.queues[d.CONTROL_RECEIVEQ];
    if (queue?.enabled === true) this.#outbox.drain(queue, this.#host);
  }

  // --- ports

  /** QEMU's rules and texts: number 0 is the first console's, others are given out from 1. */
  #chooseNumber(port: SerialPort): number {
    const { wantedNr, name } = port;
    const fail = (text: string) => new UsageError(text);
    if (wantedNr !== undefined && this.#ports.has(wantedNr)) {
      throw fail(`virtio-serial-bus: A port already exists at id ${wantedNr}`);
    }
    if (name !== undefined && this.#names.has(name)) {
      throw fail(`virtio-serial-bus: A port already exists by name ${name}`);
    }
    const nr = wantedNr ?? (port.console && !this.#ports.has(0) ? 0 : this.#freeNumber());
    if (nr < 0) throw fail('virtio-serial-bus: Maximum port limit for this device reached');
    if (nr >= this.maxPorts) {
      throw fail(`virtio-serial-bus: Out-of-range port id specified, max. allowed: ${this.maxPorts - 1}`);
    }
    if (nr === 0 && !port.console) {
      throw fail(
        'Port number 0 on virtio-serial devices reserved for virtconsole devices for backward compatibility.',
      );
    }
    return nr;
  }

  /** QEMU looks in a map of whole 32-bit words, so that running out of ports has two texts. */
  #freeNumber(): number {
    const mapped = Math.ceil(this.maxPorts / 32) * 32;
    for (let nr = 1; nr < mapped; nr++) if (!this.#ports.has(nr)) return nr;
    return -1;
  }

  #linkFor(nr: number, port: SerialPort): PortLink {
    return {
      running: () => this.#running,
      receiveq: () => this.#host.queues[d.receiveq(nr)],
      transmitq: () => this.#host.queues[d.transmitq(nr)],
      hostChanged: (open) => {
        if (port.ready) this.#post({ id: nr, event: d.VIRTIO_CONSOLE_PORT_OPEN, value: open ? 1 : 0 });
      },
      resized: (cols, rows) => {
        // "This size applies to port 0 only" (§5.3.6).
        if (nr === 0) this.resize({ cols, rows });
      },
      warn: (message) => this.#tracer.warn(this.#id, message),
      clock: this.#clock,
      guestError: (message, clause) => this.#host.guestError(message, clause),
    };
  }
}

function queueSpecs(maxPorts: number): QueueSpec[] {
  const specs: QueueSpec[] = [
    { name: 'receiveq(port0)', size: d.DATA_QUEUE_SIZE },
    { name: 'transmitq(port0)', size: d.DATA_QUEUE_SIZE },
  ];
  // "The port 0 receive and transmit queues always exist: other queues only exist if VIRTIO_CONSOLE_F_MULTIPORT is
  // set." (§5.3.2)
  if (maxPorts === 1) return specs;
  specs.push(
    { name: 'control receiveq', size: d.CONTROL_QUEUE_SIZE },
    { name: 'control transmitq', size: d.CONTROL_QUEUE_SIZE },
  );
  for (let port = 1; port < maxPorts; port++) {
    specs.push(
      { name: `receiveq(port${port})`, size: d.DATA_QUEUE_SIZE },
      { name: `transmitq(port${port})`, size: d.DATA_QUEUE_SIZE },
    );
  }
  return specs;
}
