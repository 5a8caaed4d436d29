/**
 * A device that exists in no specification: it answers each buffer with what it read, bytes reversed, and has eight
 * bytes of configuration. Tests of rings and transports put it behind them; it is also the smallest device to learn
 * from.
 */
import type { DeviceHost, QueueSpec, VirtioDevice } from '../device.ts';
import type { Chain } from '../queue/queue.ts';

export class EchoDevice implements VirtioDevice {
  readonly deviceId: number = 42;
  readonly name: string = 'virtio-echo';
  features = 0b1011n;
  readonly queues: readonly QueueSpec[];
  readonly config = new Uint8Array(8);
  readonly configSize: number = 8;
  host!: DeviceHost;
  /** Calls so far, in order: `start`, `notify 0`, `stop`, `reset 1`. */
  readonly calls: string[] = [];
  /** Keep chains until `finish` is called. */
  hold = false;
  readonly held: Chain[] = [];
  /** What `stop` and `queueReset` return: to play a back end that takes its time. */
  pending: Promise<void> | undefined;
  refuse = false;

  constructor(
    queues: readonly QueueSpec[] = [
      { name: 'echoq', size: 256 },
      { name: 'otherq', size: 8 },
    ],
  ) {
    this.queues = queues;
  }

  attach(host: DeviceHost): void {
    this.host = host;
  }

  acceptFeatures(): boolean {
    return !this.refuse;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.config[offset + i]!;
    return value;
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    for (let i = 0; i < size; i++) this.config[offset + i] = (value >>> (i * 8)) & 0xff;
  }

  start(): void {
    this.calls.push('start');
  }

  notify(index: number): void {
    this.calls.push(`notify ${index}`);
    for (const chain of this.host.queues[index]!) {
      if (this.hold) this.held.push(chain);
      else this.answer(index, chain);
    }
    this.host.queues[index]!.flush();
  }

  answer(index: number, chain: Chain): void {
    const input = chain.readable.flatMap((part) => [...part]).reverse();
    let written = 0;
    for (const part of chain.writable) {
      const piece = input.slice(written, written + part.length);
      part.set(piece);
      written += piece.length;
    }
    this.host.queues[index]!.push(chain, written);
  }

  /** Answers what was held, in the order that `order` gives (oldest first by default). */
  finish(index: number, order: (chains: Chain[]) => Chain[] = (chains) => chains): void {
    for (const chain of order(this.held.splice(0))) this.answer(index, chain);
    this.host.queues[index]!.flush();
  }

  stop(): void | Promise<void> {
    this.calls.push('stop');
    this.held.length = 0;
    return this.pending;
  }

  queueReset(index: number): void | Promise<void> {
    this.calls.push(`reset ${index}`);
    this.held.length = 0;
    return this.pending;
  }
}
