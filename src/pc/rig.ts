/**
 * A PC without processor and host, for tests: address spaces, a clock that is moved by hand, and what the platform
 * tells its processor written down. Tests drive it as a guest does, with port and memory accesses.
 */
import type { CharFrontend, Chardev } from '../chardev/chardev.ts';
import { AddressSpace } from '../core/bus.ts';
import { ManualClock } from '../core/clock.ts';
import { GuestMemory } from '../core/memory.ts';
import { Tracer } from '../core/trace.ts';
import type { MachineType } from './info.ts';
import { Platform, type PlatformOptions } from './platform.ts';

/** 2024-02-29 23:59:58 UTC. */
export const RIG_EPOCH = Date.UTC(2024, 1, 29, 23, 59, 58);

export class PcRig {
  readonly ports = new AddressSpace('ports');
  readonly mmio = new AddressSpace('mmio');
  readonly memory = GuestMemory.create(32 * 2 ** 20);
  readonly clock = new ManualClock(RIG_EPOCH);
  readonly tracer = new Tracer();
  readonly platform: Platform;
  /** The interrupt request to the processor. */
  interrupt = false;
  nmis = 0;
  powerOffs = 0;
  resets = 0;
  readonly warnings: string[] = [];
  readonly guestErrors: string[] = [];

  constructor(machine: MachineType = 'pc', options: Partial<PlatformOptions> = {}) {
    this.tracer.onWarning = (who, message) => this.warnings.push(`${who}: ${message}`);
    this.tracer.onGuestError = (who, message) => this.guestErrors.push(`${who}: ${message}`);
    this.platform = new Platform({
      machine,
      ports: this.ports,
      mmio: this.mmio,
      memory: this.memory,
      clock: this.clock,
      tracer: this.tracer,
      processors: [
        {
          setInterrupt: (level) => {
            this.interrupt = level;
          },
          nmi: () => {
            this.nmis++;
          },
        },
      ],
      onPowerOff: () => {
        this.powerOffs++;
      },
      onReset: () => {
        this.resets++;
      },
      ...options,
    });
  }

  inb(port: number): number {
    return this.ports.read(port, 1);
  }

  outb(port: number, value: number): void {
    this.ports.write(port, 1, value);
  }

  /** A configuration dword by mechanism #1. */
  config(slot: number, fn: number, offset: number): number {
    this.ports.write(0xcf8, 4, (0x80000000 | (slot << 11) | (fn << 8) | offset) >>> 0);
    return this.ports.read(0xcfc, 4);
  }

  setConfig(slot: number, fn: number, offset: number, value: number): void {
    this.ports.write(0xcf8, 4, (0x80000000 | (slot << 11) | (fn << 8) | offset) >>> 0);
    this.ports.write(0xcfc, 4, value);
  }

  /** A local APIC register by its offset in the page. */
  apic(offset: number): number {
    return this.mmio.read(0xfee00000 + offset, 4);
  }

  setApic(offset: number, value: number): void {
    this.mmio.write(0xfee00000 + offset, 4, value);
  }

  ioapic(register: number): number {
    this.mmio.write(0xfec00000, 4, register);
    return this.mmio.read(0xfec00010, 4);
  }

  setIoapic(register: number, value: number): void {
    this.mmio.write(0xfec00000, 4, register);
    this.mmio.write(0xfec00010, 4, value);
  }

  /** Interrupt acknowledge, as the processor does it. */
  acknowledge(): number {
    return this.platform.lapics[0]!.acknowledgeInterrupt();
  }

  /** The 8259 pair as a boot loader sets it up: vectors 20h and 28h, nothing masked. */
  initPics(): void {
    for (const [base, vector, icw3] of [
      [0x20, 0x20, 4],
      [0xa0, 0x28, 2],
    ] as const) {
      for (const [port, value] of [
        [0, 0x11],
        [1, vector],
        [1, icw3],
        [1, 0x01],
        [1, 0x00],
      ] as const) {
        this.outb(base + port, value);
      }
    }
  }
}

/** A chardev that keeps what it is given, and takes only as much as it is told to. */
export class TestChardev implements Chardev {
  readonly id = 'test';
  readonly type = 'test';
  readonly open = true;
  /** Bytes that it still takes. */
  room = Number.POSITIVE_INFINITY;
  readonly written: number[] = [];
  /** Bytes for the front end. */
  readonly pending: number[] = [];
  #frontend: CharFrontend | undefined;

  get text(): string {
    return String.fromCharCode(...this.written);
  }

  write(data: Uint8Array): number {
    const count = Math.min(data.length, this.room);
    this.written.push(...data.subarray(0, count));
    this.room -= count;
    return count;
  }

  /** The host has room for `count` more bytes. */
  makeRoom(count: number): void {
    this.room += count;
    this.#frontend?.writable();
  }

  /** The host sends. */
  input(data: Iterable<number>): void {
    this.pending.push(...data);
    this.acceptInput();
  }

  sendBreak(): void {
    this.#frontend?.event('break');
  }

  acceptInput(): void {
    const frontend = this.#frontend;
    if (frontend === undefined) return;
    for (;;) {
      const count = Math.min(frontend.canReceive(), this.pending.length);
      if (count <= 0) return;
      frontend.receive(Uint8Array.from(this.pending.splice(0, count)));
    }
  }

  attach(frontend: CharFrontend): () => void {
    this.#frontend = frontend;
    return () => {
      this.#frontend = undefined;
    };
  }

  describe(): string {
    return 'test';
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
