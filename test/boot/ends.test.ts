/** A guest that has written the register that ends it does not run on: firmware and kernels count on that. */
import { existsSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { createMachine } from '../../src/index.ts';
import { makeElf } from './images.ts';

/** Where the program counts its rounds. */
const COUNTER = 0x2000000;
/** Enough for the loop to be translated. */
const ROUNDS = 5_000_000;

/** A loop that writes `value` to `port` in its round number `ROUNDS`, and goes on. */
function program(port: number, value: number, out: readonly number[]): Uint8Array {
  const u32 = (n: number): number[] => [n & 255, (n >> 8) & 255, (n >> 16) & 255, n >>> 24];
  const head = [0, 0, 0, 0, 0, 0, 0, 0]; // `makeElf` enters behind eight bytes.
  return Uint8Array.from([
    ...head,
    ...[0xbf, ...u32(COUNTER)], // mov edi, COUNTER
    ...[0xba, ...u32(port)], // mov edx, port
    ...[0xb8, ...u32(value)], // mov eax, value
    ...[0xff, 0x07], // again: inc dword [rdi]
    ...[0x81, 0x3f, ...u32(ROUNDS)], // cmp dword [rdi], ROUNDS
    ...[0x75, 0x02], // jne skip
    ...out, // out dx, ax or out dx, al
    ...[0xeb, 0xf2], // skip: jmp again
  ]);
}

const WAYS: Record<string, { text: Uint8Array; reason: string }> = {
  'power off by ACPI S5': { text: program(0x604, 0x2000, [0x66, 0xef]), reason: 'guest-shutdown' },
  'reset by the keyboard controller': { text: program(0x64, 0xfe, [0x90, 0xee]), reason: 'guest-reset' },
  'reset by port CF9': { text: program(0xcf9, 0x06, [0x90, 0xee]), reason: 'guest-reset' },
};

describe.skipIf(!existsSync('dist/x86/runtime.wasm'))('the end of a machine (needs a build)', () => {
  it.each(Object.entries(WAYS))('%s comes at once', { timeout: 60_000 }, async (_, { text, reason }) => {
    const vm = await createMachine({
      m: '64M',
      kernel: makeElf(64, text),
      net: 'none',
      serial: 'none',
      'no-reboot': true,
    });
    const counter = vm.memory(COUNTER, 4)!;
    await vm.start();
    expect((await vm.wait()).reason).toBe(reason);
    const rounds = new DataView(counter.buffer, counter.byteOffset, 4).getUint32(0, true);
    expect(rounds).toBeGreaterThanOrEqual(ROUNDS);
    expect(rounds - ROUNDS).toBeLessThan(100);
  });
});
