/** Instructions that have one handler with the next one: stepped through, failing, and entered between the two. */
import { expect, it } from 'vitest';
import * as L from '../../src/x86/layout.ts';
import { NATIVE_CODE } from '../native/processor.ts';
import { Guest } from './differential/guest.ts';

/** RSP where the code may push, an address that is not mapped in RDI. */
function run(guest: Guest, code: string) {
  const words = new BigUint64Array(17);
  words[4] = BigInt(NATIVE_CODE + 0x4000);
  words[7] = 0x5000n;
  guest.load([...Buffer.from(code.replaceAll(' ', ''), 'hex')]);
  const stop = guest.run(words, new DataView(new ArrayBuffer(512)), 0);
  const rip = Number(guest.view.getBigUint64(L.RIP, true)) - NATIVE_CODE;
  const pushed = Number(words[4] - guest.view.getBigUint64(L.RSP, true));
  return { vector: stop.vector, rip, pushed, rbx: Number(guest.view.getBigUint64(L.RBX, true)) };
}

const interpreter = (): Guest => new Guest(Infinity);

it('has such pairs in these tests', () => {
  const { view } = interpreter();
  const numbers = new Uint8Array(view.buffer, L.PAIR_NUMBERS, L.COUNTED_HANDLERS);
  expect(numbers.some((number) => number !== 0)).toBe(false);
  const guest = interpreter();
  run(guest, '50 51');
  expect(new Uint8Array(guest.view.buffer, L.PAIR_NUMBERS, 1024).some((number) => number !== 0)).toBe(true);
});

// pushf; orl $0x100, (%rsp); popf; push %rax; push %rcx
it('stops between the two for a trap', () => {
  expect(run(interpreter(), '9c 810c2400010000 9d 50 51')).toMatchObject({ vector: 1, rip: 10, pushed: 8 });
});

// the same with test %eax, %eax; jz 1f; inc %ebx; 1:
it('stops between a comparison and its branch for a trap', () => {
  expect(run(interpreter(), '9c 810c2400010000 9d 85c0 7402 ffc3')).toMatchObject({ vector: 1, rip: 11 });
});

// push %rax; mov (%rdi), %rax
it('names the second when that fails, after the first', () => {
  expect(run(interpreter(), '50 488b07')).toMatchObject({ vector: 14, rip: 1, pushed: 8 });
});

// cmpb $0, (%rdi); jz 1f
it('names the first when that fails', () => {
  expect(run(interpreter(), '50 803f00 7402 ffc3')).toMatchObject({ vector: 14, rip: 1, pushed: 8 });
});

// jmp 1f; mov %eax, %ecx; 1: cmp %rax, %rax; jz 2f; mov $1, %bl; 2: cmp $1, %eax; jae 3f; add $2, %bl; 3:
it('compares and branches', () => {
  expect(run(interpreter(), 'eb02 89c1 4839c0 7402 b301 83f801 7303 80c302')).toMatchObject({
    vector: -1,
    rbx: 2,
  });
});

// mov $6, %edx; 1: push %rax; 2: push %rcx; dec %edx; test $1, %dl; jnz 2b; test %edx, %edx; jnz 1b
it('is entered at the second', () => {
  expect(run(interpreter(), 'ba06000000 50 51 ffca f6c201 75f8 85d2 75f3')).toMatchObject({
    vector: -1,
    pushed: 8 * (6 + 3),
  });
});
