/**
 * Whole machines on kernels of a few bytes: each kind of kernel is entered as its protocol says, finds its command
 * line where the protocol says, prints it on the serial port, and powers the machine off.
 */
import { existsSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { createMachine } from '../../src/index.ts';
import { ENTRY, makeBzImage, makeElf, makePvhNote } from './images.ts';

/** From EDI on, the same in 32- and 64-bit mode: the string there to COM1, a line feed, S5. */
const PRINT_AND_POWER_OFF = [
  ...[0x66, 0xba, 0xf8, 0x03], // mov dx, 3f8h
  ...[0x8a, 0x07], // next: mov al, [edi]
  ...[0x84, 0xc0], // test al, al
  ...[0x74, 0x05], // jz done
  0xee, // out dx, al
  ...[0xff, 0xc7], // inc edi
  ...[0xeb, 0xf5], // jmp next
  ...[0xb0, 0x0a], // done: mov al, 0ah
  0xee, // out dx, al
  ...[0x66, 0xba, 0x04, 0x06], // mov dx, 604h: PM1a_CNT of the machine pc
  ...[0x66, 0xb8, 0x00, 0x20], // mov ax, 2000h: SLP_EN, SLP_TYP 0
  ...[0x66, 0xef], // out dx, ax
  0xf4, // hlt
];
/** mov edi, [rsi + 228h]: cmd_line_ptr of boot_params */
const FROM_BOOT_PARAMS = [0x8b, 0xbe, 0x28, 0x02, 0x00, 0x00];
/** mov edi, [ebx + 18h]: cmdline_paddr of hvm_start_info */
const FROM_START_INFO = [0x8b, 0x7b, 0x18];
/** mov edi, [ebx + 10h]: cmdline of the multiboot information */
const FROM_MULTIBOOT = [0x8b, 0x7b, 0x10];

/** Code behind eight bytes: `makeElf` puts the entry point there. */
function text(load: readonly number[], head: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0]): Uint8Array {
  return Uint8Array.from([...head, ...load, ...PRINT_AND_POWER_OFF]);
}

/** A multiboot kernel without ELF: its header has the addresses. */
function makeMultiboot(): Uint8Array {
  const code = text(FROM_MULTIBOOT, []);
  const file = new Uint8Array(32 + code.length);
  const view = new DataView(file.buffer);
  const flags = 0x10000;
  const fields = [0x1badb002, flags, -(0x1badb002 + flags) >>> 0, 0x200000, 0x200000, 0, 0, 0x200020];
  fields.forEach((value, i) => view.setUint32(i * 4, value, true));
  file.set(code, 32);
  return file;
}

/** A bzImage that nobody can unpack: its own 64-bit entry point, 200h into the protected-mode part, must do. */
function makeSelfUnpacking(): Uint8Array {
  const image = makeBzImage({ payload: new Uint8Array(0x200).fill(0x90) });
  image.set(text(FROM_BOOT_PARAMS, []), 1024 + 0x200);
  return image;
}

const elf64 = makeElf(64, text(FROM_BOOT_PARAMS));
const elf32 = makeElf(32, text(FROM_BOOT_PARAMS));
const KERNELS: Record<string, Uint8Array> = {
  'a bzImage with a 64-bit payload': makeBzImage({ payload: gzipSync(elf64) }),
  'a bzImage with a 32-bit payload': makeBzImage({ payload: gzipSync(elf32), xloadflags: 0 }),
  'a bzImage that unpacks itself': makeSelfUnpacking(),
  'a bare vmlinux': elf64,
  'a PVH kernel': makeElf(64, text(FROM_START_INFO), ENTRY, makePvhNote(ENTRY + 8)),
  'a multiboot kernel': makeMultiboot(),
};

describe.skipIf(!existsSync('dist/x86/runtime.wasm'))('kernels of a few bytes (need a build)', () => {
  it.each(Object.entries(KERNELS))('%s finds its command line', { timeout: 60_000 }, async (name, kernel) => {
    await using vm = await createMachine({ m: '32M', kernel, append: 'word=1 "two words"', net: 'none' });
    // Asked for before the start: what nobody waits for is dropped.
    const output = vm.serial[0]!.waitFor('\n');
    await vm.start();
    const line = await output;
    // Multiboot's command line starts with the kernel's name.
    expect(line).toBe(`${name === 'a multiboot kernel' ? 'kernel ' : ''}word=1 "two words"\n`);
    expect((await vm.wait()).reason).toBe('guest-shutdown');
  });
});
