/**
 * Our driver library against QEMU's virtio devices, which nobody here wrote: through QEMU's test protocol, with no
 * guest. What one device of ours and one of QEMU's answer to the same driver is compared. The machine is stopped,
 * so that only devices that work then can be asked. Skipped without QEMU.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { AccessSize } from '../src/core/bus.ts';
import { GuestMemory } from '../src/core/memory.ts';
import { Tracer } from '../src/core/trace.ts';
import { VirtioBlk } from '../src/virtio/device/blk/device.ts';
import { MemoryDisk } from '../src/virtio/device/blk/memory-disk.ts';
import { blkSettings } from '../src/virtio/device/blk/properties.ts';
import { DriverMemory } from '../src/virtio/driver/memory.ts';
import { DriverDevice } from '../src/virtio/driver/model.ts';
import { openVirtioPci, type PciAccess, type VirtioPciDriverOptions } from '../src/virtio/driver/pci.ts';
import { Rig } from '../src/virtio/driver/rig.ts';
import type { Vring } from '../src/virtio/driver/vring.ts';

const QEMU = 'qemu-system-x86_64';
const hasQemu = spawnSync(QEMU, ['--version']).status === 0;

/** Guest memory that driver and QEMU both see, because it is copied before and after each notification. */
const BASE = 0x100000;
const SIZE = 0x10000;
const SLOT = 5;
const IO = 0xc000;
const MEM = 0xfe000000;

class QtestPci implements PciAccess {
  readonly memory: DriverMemory;
  readonly #ram: GuestMemory;
  readonly #child: ChildProcess;
  readonly #dir: string;
  readonly #in: number;
  readonly #out: number;
  readonly #shadow = Buffer.alloc(SIZE);
  #text = '';

  constructor(args: readonly string[]) {
    this.#dir = mkdtempSync(join(tmpdir(), 'paravane-qtest-'));
    const path = join(this.#dir, 'q');
    execFileSync('mkfifo', [`${path}.in`, `${path}.out`]);
    const base = ['-M', 'pc', '-accel', 'tcg', '-S', '-display', 'none', '-nodefaults', '-m', '16'];
    const channel = ['-qtest', `pipe:${path}`, '-qtest-log', 'none'];
    this.#child = spawn(QEMU, [...base, ...channel, ...args], { stdio: ['ignore', 'ignore', 'inherit'] });
    const flags = constants.O_RDWR | constants.O_NONBLOCK;
    this.#in = openSync(`${path}.in`, flags);
    this.#out = openSync(`${path}.out`, flags);
    this.#ram = new GuestMemory(new ArrayBuffer(SIZE), [{ gpa: BASE, size: SIZE, offset: 0 }]);
    this.memory = new DriverMemory(this.#ram, BASE, BASE + SIZE);
    [IO, MEM, 0, 0, MEM + 0x10000, 0].forEach((address, bar) => this.writeConfig(0x10 + bar * 4, 4, address));
  }

  command(text: string): string {
    const deadline = Date.now() + 20_000;
    const wait = (error: unknown) => {
      if ((error as { code?: string }).code !== 'EAGAIN') throw error;
      if (Date.now() > deadline) throw new Error(`QEMU does not answer '${text.slice(0, 60)}'`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    };
    const line = Buffer.from(`${text}\n`);
    for (let sent = 0; sent < line.length; ) {
      try {
        sent += writeSync(this.#in, line, sent);
      } catch (error) {
        wait(error);
      }
    }
    const buffer = Buffer.alloc(1 << 16);
    for (;;) {
      const end = this.#text.indexOf('\n');
      if (end >= 0) {
        const line = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 1);
        if (line.startsWith('OK')) return line.slice(3);
        if (line.startsWith('FAIL') || line.startsWith('ERR')) throw new Error(`${text}: ${line}`);
        continue;
      }
      try {
        this.#text += buffer.toString('latin1', 0, readSync(this.#out, buffer));
      } catch (error) {
        wait(error);
      }
    }
  }

  #letter(size: AccessSize): string {
    return size === 1 ? 'b' : size === 2 ? 'w' : 'l';
  }

  #select(offset: number): number {
    this.command(`outl 0xcf8 0x${(0x80000000 + SLOT * 0x800 + (offset & ~3)).toString(16)}`);
    return 0xcfc + (offset & 3);
  }

  readConfig(offset: number, size: AccessSize): number {
    const port = this.#select(offset);
    return Number(this.command(`in${this.#letter(size)} ${port}`));
  }

  writeConfig(offset: number, size: AccessSize, value: number): void {
    const port = this.#select(offset);
    this.command(`out${this.#letter(size)} ${port} ${value}`);
  }

  readBar(bar: number, offset: number, size: AccessSize): number {
    if (bar === 0) return Number(this.command(`in${this.#letter(size)} ${IO + offset}`));
    return Number(this.command(`read${this.#letter(size)} ${MEM + (bar === 4 ? 0x10000 : 0) + offset}`));
  }

  writeBar(bar: number, offset: number, size: AccessSize, value: number): void {
    const notifies = bar === 4 ? offset >= 0x3000 : bar === 0 && offset === 16;
    // The ring has to be there when the device is told, and when it is told where its ring is.
    if (notifies) this.push();
    if (bar === 0) this.command(`out${this.#letter(size)} ${IO + offset} ${value}`);
    else this.command(`write${this.#letter(size)} ${MEM + (bar === 4 ? 0x10000 : 0) + offset} ${value}`);
  }

  push(): void {
    for (let at = 0; at < SIZE; at += 4096) {
      const page = Buffer.from(this.#ram.bytes.subarray(at, at + 4096));
      if (page.equals(this.#shadow.subarray(at, at + 4096))) continue;
      page.copy(this.#shadow, at);
      this.command(`b64write ${BASE + at} 4096 ${page.toString('base64')}`);
    }
  }

  pull(): void {
    const all = Buffer.from(this.command(`b64read ${BASE} ${SIZE}`), 'base64');
    all.copy(this.#shadow);
    this.#ram.bytes.set(all);
  }

  allocateMessages(): undefined {
    return undefined;
  }

  onLine(): void {}

  pause(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 1));
  }

  close(): void {
    this.#child.kill('SIGKILL');
    closeSync(this.#in);
    closeSync(this.#out);
    rmSync(this.#dir, { recursive: true });
  }
}

/** Something that takes chains: ours or QEMU's. */
interface Target {
  config(offset: number, length: number): Uint8Array;
  request(out: Uint8Array[], into: number[]): Promise<{ length: number; data: Uint8Array }>;
}

async function startQemu(
  access: QtestPci,
  options: VirtioPciDriverOptions,
  features: bigint[],
): Promise<Target> {
  const driver = new DriverDevice(openVirtioPci(access, options));
  const nothing = () => {};
  await driver.negotiate({
    name: 'qtest',
    idTable: [],
    featureTable: features,
    probe: nothing,
    remove: nothing,
  });
  access.push();
  const ring = driver.findVqs([{ name: 'requests' }])[0] as Vring<number>;
  access.push();
  driver.ready();
  let token = 0;
  return {
    config: (offset, length) => driver.readConfig(offset, length),
    request: async (out, into) => {
      const readable = out.map((data) => access.memory.buffer(data));
      const writable = into.map((length) => access.memory.buffer(new Uint8Array(length)));
      expect(ring.addBuf(readable, writable, ++token)).toBe(true);
      ring.kickPrepare();
      ring.notify();
      for (let left = 2000; left > 0; left--) {
        access.pull();
        const used = ring.getBuf();
        if (used !== undefined) {
          expect(used.token).toBe(token);
          const data = Uint8Array.from(writable.flatMap((sg) => [...access.memory.read(sg)]));
          for (const sg of [...readable, ...writable]) access.memory.free(sg.address);
          return { length: used.length, data };
        }
        await access.pause();
      }
      throw new Error('QEMU did not use the buffer');
    },
  };
}

function header(type: number, sector: number): Uint8Array {
  const data = new Uint8Array(16);
  new DataView(data.buffer).setUint32(0, type, true);
  new DataView(data.buffer).setUint32(8, sector, true);
  return data;
}

describe.skipIf(!hasQemu)('the driver library drives QEMU', () => {
  let open: QtestPci | undefined;
  let dir: string | undefined;
  afterEach(() => {
    open?.close();
    open = undefined;
    if (dir !== undefined) rmSync(dir, { recursive: true });
    dir = undefined;
  });

  for (const way of ['modern', 'legacy'] as const) {
    it(`block, ${way}: QEMU's device and ours answer alike`, { timeout: 60_000 }, async () => {
      dir = mkdtempSync(join(tmpdir(), 'paravane-disk-'));
      const image = Uint8Array.from({ length: 64 * 512 }, (_, i) => (i >> 9) + 1);
      writeFileSync(join(dir, 'disk.raw'), image);
      const drive = `file=${join(dir, 'disk.raw')},if=none,id=d,format=raw`;
      open = new QtestPci(['-drive', drive, '-device', `virtio-blk-pci,addr=${SLOT},drive=d,serial=ABC`]);
      const features = [1n, 2n, 4n, 6n, 9n, 10n, 11n, 13n, 14n];
      const qemu = await startQemu(open, { interface: way }, features);
      const disk = new MemoryDisk(64);
      disk.data.set(image);
      const device = new VirtioBlk({
        backend: disk,
        tracer: new Tracer(),
        settings: blkSettings({ serial: 'ABC' }),
      });
      const rig = new Rig(device);
      await rig.start({ interface: way, features, interrupts: 'intx' });
      const ours: Target = {
        config: (offset, length) => rig.driver.readConfig(offset, length),
        request: (out, into) => rig.request(0, out, into),
      };
      // capacity, size_max, seg_max; the geometry is a guess on both sides.
      expect(ours.config(0, 16)).toEqual(qemu.config(0, 16));
      const requests: [Uint8Array[], number[]][] = [
        [[header(0, 3)], [512, 1]],
        [[header(0, 0)], [100, 924, 1]],
        [[header(1, 5), new Uint8Array(512).fill(0xee)], [1]],
        [[header(0, 5)], [512, 1]],
        [[header(0, 64)], [512, 1]],
        [[header(0, 63)], [1024, 1]],
        [[header(1, 64), new Uint8Array(512)], [1]],
        [[header(4, 0)], [1]],
        [[header(8, 0)], [20, 1]],
        [[header(0x55, 0)], [1]],
      ];
      for (const [out, into] of requests) {
        const [theirs, mine] = [await qemu.request(out, into), await ours.request(out, into)];
        const status = (answer: { data: Uint8Array }) => answer.data.at(-1);
        expect([out[0]![0], out[0]![8], status(mine)]).toEqual([out[0]![0], out[0]![8], status(theirs)]);
        if (status(theirs) === 0) expect(mine).toEqual(theirs);
      }
    });
  }
});
