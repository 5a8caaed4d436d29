/** Loaders on images made here: where everything goes, and what is refused with which words. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { GuestMemory } from '../core/memory.ts';
import { buildE820, E820_RAM } from '../pc/acpi/e820.ts';
import { ENTRY, makeBzImage, makeElf, makePvhNote, TEXT } from '../../test/boot/images.ts';
import { HDR, HDR_MAGIC, parseBzImage } from './bzimage.ts';
import { type KernelCache, loadLinux } from './linux.ts';
import { LOW_LAYOUT } from './zeropage.ts';

const MIB = 0x100000;

function machine(mib = 64): { memory: GuestMemory; e820: ReturnType<typeof buildE820> } {
  const memory = GuestMemory.create(mib * MIB);
  return { memory, e820: buildE820(memory) };
}

function zeroPage(memory: GuestMemory): DataView {
  return new DataView(memory.buffer, LOW_LAYOUT.zeroPage, 4096);
}

describe('loadLinux with a bzImage', () => {
  it('unpacks the payload and enters it in 64-bit mode with boot_params', async () => {
    const { memory, e820 } = machine();
    const initrd = Uint8Array.from({ length: 5000 }, (_, i) => i);
    memory.bytes.fill(0xee, ENTRY, ENTRY + 8192);
    const state = await loadLinux(memory, {
      kernel: makeBzImage(),
      initrd,
      cmdline: 'console=ttyS0',
      e820,
      rsdp: 0xf1234,
    });
    expect(state).toMatchObject({ mode: 'long', rip: BigInt(ENTRY + 8), rsi: BigInt(LOW_LAYOUT.zeroPage) });
    expect(Array.from(memory.slice(ENTRY, 100)!)).toEqual([...TEXT]);
    // .bss is zeroed, whatever was there.
    expect(memory.slice(ENTRY + 100, 4096)!.every((byte) => byte === 0)).toBe(true);

    const page = zeroPage(memory);
    expect(page.getUint32(HDR.header, true)).toBe(HDR_MAGIC);
    expect(page.getUint8(HDR.type_of_loader)).toBe(0xff);
    const at = page.getUint32(HDR.ramdisk_image, true);
    expect(at % 4096).toBe(0);
    expect(at + 8192).toBe(64 * MIB);
    expect(page.getUint32(HDR.ramdisk_size, true)).toBe(5000);
    expect(memory.slice(at, 5000)).toEqual(initrd);
    const cmdline = page.getUint32(HDR.cmd_line_ptr, true);
    expect(new TextDecoder().decode(memory.slice(cmdline, 14))).toBe('console=ttyS0\0');
    expect(page.getBigUint64(0x70, true)).toBe(0xf1234n);
    expect(page.getUint8(0x1e8)).toBe(e820.length);
    const last = e820.length - 1;
    expect(page.getBigUint64(0x2d0 + last * 20, true)).toBe(BigInt(MIB));
    expect(page.getBigUint64(0x2d8 + last * 20, true)).toBe(BigInt(63 * MIB));
    expect(page.getUint32(0x2e0 + last * 20, true)).toBe(E820_RAM);
    expect(page.getUint8(0x1ef)).toBe(0);
  });

  it('maps the first 4 GiB one to one', async () => {
    const { memory, e820 } = machine();
    const state = await loadLinux(memory, { kernel: makeBzImage(), e820 });
    const entry = (table: number, index: number): bigint => memory.view.getBigUint64(table + index * 8, true);
    for (const address of [0, ENTRY, 3 * 2 ** 30 + 5 * 2 ** 21]) {
      const pdpt = Number(entry(Number(state.cr3), 0) & ~0xfffn);
      const directory = Number(entry(pdpt, Math.floor(address / 2 ** 30)) & ~0xfffn);
      const page = entry(directory, Math.floor(address / 2 ** 21) % 512);
      expect(page & 0x83n).toBe(0x83n);
      expect(Number(page & ~0x1fffffn)).toBe(Math.floor(address / 2 ** 21) * 2 ** 21);
    }
    // Code segment: present, 64-bit; data: writable.
    expect(memory.view.getBigUint64(Number(state.gdtBase) + state.codeSelector!, true)).toBe(
      0x00af9b000000ffffn,
    );
    expect(memory.view.getBigUint64(Number(state.gdtBase) + state.dataSelector!, true)).toBe(
      0x00cf93000000ffffn,
    );
  });

  it('reads a kernel that has been kept straight to its place, and unpacks it anew when that is not what it was', async () => {
    const elf = makeElf(64, TEXT);
    // zstd by its first bytes; the size behind the data
    const payload = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 1, 2, 3, 4, 0, 0, 0, 0);
    new DataView(payload.buffer).setUint32(8, elf.length, true);
    const kept = new Map<string, Uint8Array>();
    let unpacked = 0;
    let open = 0;
    const cache: KernelCache = {
      async open(key) {
        const data = kept.get(key);
        if (data === undefined) return undefined;
        open++;
        return {
          size: data.length,
          read: async (target, offset) => {
            target.set(data.subarray(offset, offset + target.length));
            return offset + target.length <= data.length;
          },
          close: async () => void open--,
        };
      },
      set: async (key, data) => void kept.set(key, data),
    };
    const load = async (): Promise<void> => {
      const { memory, e820 } = machine();
      memory.bytes.fill(0xee, ENTRY, ENTRY + 8192);
      const zstd = (): Uint8Array => {
        unpacked++;
        return elf;
      };
      const kernel = makeBzImage({ payload });
      const state = await loadLinux(memory, { kernel, e820, cache, decompress: { zstd } });
      expect(state).toMatchObject({ mode: 'long', rip: BigInt(ENTRY + 8) });
      expect(Array.from(memory.slice(ENTRY, 100)!)).toEqual([...TEXT]);
      expect(memory.slice(ENTRY + 100, 4096)!.every((byte) => byte === 0)).toBe(true);
      expect(zeroPage(memory).getUint32(HDR.header, true)).toBe(HDR_MAGIC);
      expect(open).toBe(0);
    };
    await load();
    expect([unpacked, kept.size]).toEqual([1, 1]);
    const [key] = [...kept.keys()];
    await load();
    expect(unpacked).toBe(1);
    const damaged = (change: (bytes: Uint8Array) => Uint8Array): Uint8Array => change(elf.slice());
    const segments = 64;
    for (const bytes of [
      elf.subarray(0, elf.length - 1),
      damaged((copy) => copy.fill(0, 0, 4)),
      damaged((copy) => copy.fill(0xff, segments + 8, segments + 16)),
    ]) {
      kept.set(key!, bytes);
      const before = unpacked;
      await load();
      expect(unpacked).toBe(before + 1);
      expect(kept.get(key!)).toBe(elf);
    }
    // one that becomes shorter, or cannot be read, while it is read
    for (const read of [async () => false, () => Promise.reject(new Error('gone'))]) {
      const before = unpacked;
      const { open: real } = cache;
      cache.open = async (name) => {
        const file = (await real(name))!;
        return { ...file, read: (target, offset) => (offset === 0 ? file.read(target, 0) : read()) };
      };
      await load();
      expect(unpacked).toBe(before + 1);
      cache.open = real;
    }
  });

  it('lets a kernel unpack itself whose packing it does not know', async () => {
    const { memory, e820 } = machine();
    const kernel = makeBzImage({ payload: new Uint8Array(64).fill(0x55) });
    const state = await loadLinux(memory, { kernel, e820 });
    expect(state).toMatchObject({ mode: 'long', rip: BigInt(ENTRY + 0x200) });
    expect(Array.from(memory.slice(ENTRY, 2)!)).toEqual([0xaa, 0xbb]);
    const old = await loadLinux(memory, {
      kernel: makeBzImage({ payload: new Uint8Array(64), xloadflags: 0 }),
      e820,
    });
    expect(old).toMatchObject({ mode: 'flat32', rip: BigInt(ENTRY) });
    expect(old.cr3).toBeUndefined();
  });

  it('enters a 32-bit kernel in protected mode', async () => {
    const { memory, e820 } = machine();
    const kernel = makeBzImage({ payload: gzipSync(makeElf(32, TEXT)), xloadflags: 0 });
    const state = await loadLinux(memory, { kernel, e820 });
    expect(state).toMatchObject({ mode: 'flat32', rip: BigInt(ENTRY + 8), rsi: BigInt(LOW_LAYOUT.zeroPage) });
  });

  it('keeps the initrd below what the kernel says, and clear of the kernel', async () => {
    const { memory, e820 } = machine();
    await loadLinux(memory, {
      kernel: makeBzImage({ initrdAddrMax: 32 * MIB - 1 }),
      initrd: new Uint8Array(MIB),
      e820,
    });
    expect(zeroPage(memory).getUint32(HDR.ramdisk_image, true)).toBe(31 * MIB);
    // Above the kernel there is room for 44 MiB of 64; below it for 15.
    const options = { kernel: makeBzImage(), e820 };
    await expect(loadLinux(memory, { ...options, initrd: new Uint8Array(47 * MIB) })).rejects.toThrow(
      /initrd of 49283072 bytes does not fit.*-m/,
    );
  });

  it('puts an initrd above 4 GiB only when there is no room below and the kernel allows it', async () => {
    const region = { gpa: 2 ** 32, size: 8 * MIB, offset: 20 * MIB };
    const memory = new GuestMemory(new ArrayBuffer(28 * MIB), [
      { gpa: 0, size: 20 * MIB, offset: 0 },
      region,
    ]);
    const e820 = buildE820(memory);
    const initrd = new Uint8Array(8 * MIB).fill(7);
    initrd.fill(8, 4 * MIB);
    const load = (xloadflags: number, size: number): Promise<unknown> =>
      loadLinux(memory, { kernel: makeBzImage({ xloadflags }), initrd: initrd.subarray(0, size), e820 });
    await load(3, 8 * MIB);
    const page = zeroPage(memory);
    // 15 MiB below the kernel are enough.
    expect([page.getUint32(HDR.ramdisk_image, true), page.getUint32(0xc0, true)]).toEqual([8 * MIB, 0]);
    const small = buildE820(new GuestMemory(memory.buffer, [{ gpa: 0, size: 20 * MIB, offset: 0 }, region]));
    const tight = small.map((each) => (each.base === MIB ? { ...each, size: 0 } : each));
    await loadLinux(memory, { kernel: makeBzImage(), initrd, e820: tight });
    expect([page.getUint32(HDR.ramdisk_image, true), page.getUint32(0xc0, true)]).toEqual([0, 1]);
    expect(Buffer.compare(memory.slice(2 ** 32, 8 * MIB)!, initrd)).toBe(0);
  });

  it('passes a seed for the random number generator', async () => {
    const { memory, e820 } = machine();
    await loadLinux(memory, { kernel: makeBzImage(), e820, rngSeed: Uint8Array.of(1, 2, 3, 4) });
    const at = Number(zeroPage(memory).getBigUint64(HDR.setup_data, true));
    // next 0, type 9, length 4
    expect(Array.from(memory.slice(at, 20)!)).toEqual([
      0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4,
    ]);
  });

  it('says what is wrong with a file or an option', async () => {
    const { memory, e820 } = machine();
    const load = (kernel: Uint8Array, extra = {}): Promise<unknown> =>
      loadLinux(memory, { kernel, e820, ...extra });
    const image = makeBzImage();
    await expect(load(new Uint8Array(0))).rejects.toThrow('kernel image is empty');
    await expect(load(image.subarray(0, 0x220))).rejects.toThrow('is cut short: 544 bytes hold no header');
    await expect(load(image.subarray(0, 1200))).rejects.toThrow(
      /is cut short: its header tells of \d+ bytes, the file has 1200/,
    );
    await expect(load(new TextEncoder().encode('#!/bin/sh\n'.repeat(100)))).rejects.toThrow(
      'neither a Linux bzImage',
    );
    await expect(load(image, { cmdline: 'x'.repeat(2048) })).rejects.toThrow(
      '-append: 2048 bytes are more than this kernel takes (2047)',
    );
    await expect(load(image, { cmdline: 'x'.repeat(2047) })).resolves.toBeDefined();
    const damaged = makeBzImage();
    damaged.fill(0x11, 1024 + 0x100 + 20, 1024 + 0x100 + 60);
    await expect(load(damaged)).rejects.toThrow('gzip data is damaged');
    const zimage = makeBzImage();
    zimage[HDR.loadflags] = 0;
    await expect(load(zimage)).rejects.toThrow('a bzImage (2.00 or later) is needed');
    const far = makeBzImage();
    new DataView(far.buffer).setUint32(HDR.payload_length, 0x7fffffff, true);
    await expect(load(far)).rejects.toThrow('kernel image is damaged: payload of');
    const small = machine(8);
    await expect(loadLinux(small.memory, { kernel: image, e820: small.e820 })).rejects.toThrow(
      'it needs RAM from 0x1000000 to 0x1001064; give the guest more with -m',
    );
  });
});

describe('loadLinux with other kernels', () => {
  it('starts a kernel with a PVH note at its 32-bit entry with hvm_start_info', async () => {
    const { memory, e820 } = machine();
    const note = makePvhNote(0x1000040);
    const initrd = Uint8Array.of(1, 2, 3);
    const state = await loadLinux(memory, {
      kernel: makeElf(64, TEXT, ENTRY, note),
      initrd,
      cmdline: 'hello',
      e820,
      rsdp: 0xf0000,
    });
    expect(state).toMatchObject({ mode: 'flat32', rip: 0x1000040n, rbx: BigInt(LOW_LAYOUT.startInfo) });
    const info = new DataView(memory.buffer, LOW_LAYOUT.startInfo, 56);
    expect(info.getUint32(0, true)).toBe(0x336ec578);
    expect(info.getUint32(4, true)).toBe(1);
    expect(info.getBigUint64(32, true)).toBe(0xf0000n);
    const module = Number(memory.view.getBigUint64(Number(info.getBigUint64(16, true)), true));
    expect(memory.slice(module, 3)).toEqual(initrd);
    expect(info.getUint32(48, true)).toBe(e820.length);
    const map = Number(info.getBigUint64(40, true));
    expect(memory.view.getBigUint64(map + 24 * (e820.length - 1), true)).toBe(BigInt(MIB));
  });

  it('starts a bare vmlinux like the one in a bzImage', async () => {
    const { memory, e820 } = machine();
    const state = await loadLinux(memory, { kernel: makeElf(64, TEXT), cmdline: 'quiet', e820 });
    expect(state).toMatchObject({ mode: 'long', rip: BigInt(ENTRY + 8) });
    expect(zeroPage(memory).getUint32(HDR.header, true)).toBe(HDR_MAGIC);
    await expect(loadLinux(memory, { kernel: makeElf(64, TEXT, 0x8000), e820 })).rejects.toThrow(
      'below 1 MiB',
    );
  });

  it('starts a multiboot kernel with its information structure', async () => {
    const { memory, e820 } = machine();
    const text = new Uint8Array(64);
    const header = new DataView(text.buffer);
    header.setUint32(16, 0x1badb002, true);
    header.setUint32(20, 3, true);
    header.setUint32(24, -(0x1badb002 + 3) >>> 0, true);
    const state = await loadLinux(memory, {
      kernel: makeElf(32, text, 0x400000),
      initrd: Uint8Array.of(9),
      cmdline: 'arg',
      e820,
    });
    expect(state).toMatchObject({ mode: 'flat32', rip: 0x400008n, rax: 0x2badb002n });
    const info = new DataView(memory.buffer, Number(state.rbx), 120);
    expect(info.getUint32(0, true)).toBe(0x24d);
    expect(info.getUint32(8, true)).toBe(63 * 1024);
    expect(new TextDecoder().decode(memory.slice(info.getUint32(16, true), 11))).toBe('kernel arg\0');
    const module = memory.view.getUint32(info.getUint32(24, true), true);
    expect(memory.bytes[module]).toBe(9);
    const map = info.getUint32(48, true);
    expect([memory.view.getUint32(map, true), memory.view.getUint32(map + 20, true)]).toEqual([20, E820_RAM]);
  });

  it('loads a multiboot kernel by the addresses in its header, and refuses what it cannot give', async () => {
    const { memory, e820 } = machine();
    const make = (flags: number): Uint8Array => {
      const file = new Uint8Array(64);
      const view = new DataView(file.buffer);
      [
        0x1badb002,
        flags,
        -(0x1badb002 + flags) >>> 0,
        0x200010,
        0x200000,
        0x200040,
        0x200080,
        0x200030,
      ].forEach((value, i) => view.setUint32(16 + i * 4, value, true));
      file[0x30] = 0xf4;
      return file;
    };
    const state = await loadLinux(memory, { kernel: make(0x10000), e820 });
    expect(state.rip).toBe(0x200030n);
    expect(memory.bytes[0x200030]).toBe(0xf4);
    await expect(loadLinux(memory, { kernel: make(0x10008), e820 })).rejects.toThrow(
      'requires features that we lack',
    );
  });

  it('refuses ELF files for other machines, and damaged ones', async () => {
    const { memory, e820 } = machine();
    const arm = makeElf(64, TEXT);
    arm[18] = 183;
    await expect(loadLinux(memory, { kernel: arm, e820 })).rejects.toThrow('not for x86 (e_machine 183)');
    await expect(loadLinux(memory, { kernel: makeElf(64, TEXT).subarray(0, 200), e820 })).rejects.toThrow(
      'cut short',
    );
  });
});

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'paravane');
const tiny = existsSync(cache)
  ? readdirSync(cache).find((name) => name.startsWith('tiny-cloud-'))
  : undefined;

describe.runIf(tiny !== undefined)('loadLinux with the cached Debian kernel', () => {
  it('finds, unpacks and places it', async () => {
    const kernel = readFileSync(join(cache, tiny!, 'kernel'));
    const { version, cmdlineSize, payload } = parseBzImage(kernel);
    expect(version).toBeGreaterThanOrEqual(0x20f);
    expect(cmdlineSize).toBe(2047);
    expect(payload!.length).toBeGreaterThan(MIB);
    const { memory, e820 } = machine(256);
    const state = await loadLinux(memory, { kernel, e820 });
    expect(state).toMatchObject({ mode: 'long', rip: BigInt(ENTRY) });
    expect(memory.slice(ENTRY, 16)!.some((byte) => byte !== 0)).toBe(true);
  });
});
