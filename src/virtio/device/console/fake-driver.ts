/** For the tests of the console device: a multiport driver as Linux has one, and controllers with their ports. */
import { Tracer } from '../../../core/trace.ts';
import { FakeTransport, type Sent } from '../fake-transport.ts';
import { parseControl, serializeControl } from './control.ts';
import * as d from './defs.ts';
import { VirtioSerial, type VirtioSerialOptions } from './device.ts';
import { SerialPort, type SerialPortOptions } from './port.ts';
import { serialSettings } from './properties.ts';

export const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
export const text = (sent: Sent) => Buffer.from(sent.answer).toString('latin1');

/** A multiport driver: answers as Linux does, and collects what it is told. */
export class Driver {
  readonly rig: FakeTransport<VirtioSerial>;
  readonly log: string[] = [];
  #waiting: Sent[] = [];

  constructor(rig: FakeTransport<VirtioSerial>, buffers = 16) {
    this.rig = rig;
    rig.start();
    for (let i = 0; i < buffers; i++) this.#buffer();
    this.control(0xffffffff, d.VIRTIO_CONSOLE_DEVICE_READY, 1);
  }

  control(id: number, event: number, value: number): void {
    this.rig.send(d.CONTROL_TRANSMITQ, [serializeControl({ id, event, value })]);
  }

  /** Reads all control messages; with `answer`, gets ports ready and opens consoles. */
  poll(answer = true): string[] {
    const news: string[] = [];
    while (this.#waiting[0]?.used === true) {
      const sent = this.#waiting.shift()!;
      const message = parseControl([sent.answer])!;
      const data = Buffer.from(sent.answer.subarray(8)).toString('latin1');
      news.push(`${message.id}:${NAMES[message.event]}=${message.value}${data === '' ? '' : ` ${data}`}`);
      this.#buffer();
      if (!answer) continue;
      if (message.event === d.VIRTIO_CONSOLE_DEVICE_ADD) {
        this.control(message.id, d.VIRTIO_CONSOLE_PORT_READY, 1);
      }
      if (message.event === d.VIRTIO_CONSOLE_CONSOLE_PORT) {
        this.control(message.id, d.VIRTIO_CONSOLE_PORT_OPEN, 1);
      }
    }
    this.log.push(...news);
    return news;
  }

  open(port: number): void {
    this.control(port, d.VIRTIO_CONSOLE_PORT_OPEN, 1);
  }

  close(port: number): void {
    this.control(port, d.VIRTIO_CONSOLE_PORT_OPEN, 0);
  }

  write(port: number, data: string): Sent {
    return this.rig.send(d.transmitq(port), [bytes(data)]);
  }

  room(port: number, length: number): Sent {
    return this.rig.send(d.receiveq(port), [], [length]);
  }

  #buffer(): void {
    this.#waiting.push(this.rig.send(d.CONTROL_RECEIVEQ, [], [256]));
  }
}

const NAMES = ['READY', 'ADD', 'REMOVE', 'PORT_READY', 'CONSOLE', 'RESIZE', 'OPEN', 'NAME'];

export function controller(
  maxPorts = 4,
  options: Partial<VirtioSerialOptions> = {},
): FakeTransport<VirtioSerial> {
  const settings = serialSettings({ max_ports: maxPorts });
  return new FakeTransport(new VirtioSerial({ tracer: new Tracer(), settings, ...options }));
}

export const port = (options: Partial<SerialPortOptions> = {}) =>
  new SerialPort({ console: false, ...options });
export const virtconsole = (options: Partial<SerialPortOptions> = {}) => port({ console: true, ...options });
