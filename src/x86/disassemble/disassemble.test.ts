/** What the disassembler prints, held against what QEMU 7.2's monitor printed for the same bytes. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { CodeBits } from './index.ts';
import { disassemble, formatLine } from './index.ts';

const bytesOf = (text: string): Uint8Array =>
  Uint8Array.from(text.split(' '), (one) => Number.parseInt(one, 16));

const shown = (bytes: string, bits: CodeBits, address = 0xffffffff81000000n): string | undefined =>
  disassemble(bytesOf(bytes), address, bits)?.text.replace(/ +/, ' ').trimEnd();

describe('64-bit code', () => {
  it.each([
    ['48 8d 3d f2 ff ff ff', 'leaq -0xe(%rip), %rdi'],
    ['b9 01 01 00 c0', 'movl $0xc0000101, %ecx'],
    ['48 c7 c2 00 00 00 81', 'movq $-0x7f000000, %rdx'],
    ['48 ba cf f7 53 e3 a5 9b c4 20', 'movabsq $0x20c49ba5e353f7cf, %rdx'],
    ['65 48 8b 04 25 28 00 00 00', 'movq %gs:0x28, %rax'],
    ['48 8b 04 25 58 a8 a4 82', 'movq 0xffffffff82a4a858, %rax'],
    ['0f 84 ef 00 00 00', 'je 0xffffffff810000f5'],
    ['eb d4', 'jmp 0xffffffff80ffffd6'],
    ['e8 7a 72 14 00', 'callq 0xffffffff8114727f'],
    ['ff 24 c5 10 00 00 00', 'jmpq *0x10(, %rax, 8)'],
    ['c3', 'retq'],
    ['48 cb', 'lretq'],
    ['48 cf', 'iretq'],
    ['9c', 'pushfq'],
    ['41 54', 'pushq %r12'],
    ['f3 48 ab', 'rep stosq %rax, (%rdi)'],
    ['f3 a6', 'repe cmpsb (%rdi), (%rsi)'],
    ['ac', 'lodsb (%rsi), %al'],
    ['48 83 20 fe', 'andq $0xfffffffffffffffe, (%rax)'],
    ['83 f8 a1', 'cmpl $-0x5f, %eax'],
    ['48 83 3b 00', 'cmpq $0, (%rbx)'],
    ['48 d1 ea', 'shrq $1, %rdx'],
    ['48 d3 e8', 'shrq %cl, %rax'],
    ['48 98', 'cltq'],
    ['99', 'cltd'],
    ['0f b6 07', 'movzbl (%rdi), %eax'],
    ['48 63 d0', 'movslq %eax, %rdx'],
    ['48 0f 44 c2', 'cmoveq %rdx, %rax'],
    ['0f 94 c0', 'sete %al'],
    ['3e 0f b1 0f', 'cmpxchgl %ecx, %ds:(%rdi)'],
    ['f0 0f c1 83 80 00 00 00', 'lock xaddl %eax, 0x80(%rbx)'],
    ['66 2e 0f 1f 84 00 00 00 00 00', 'nopw %cs:(%rax, %rax)'],
    ['0f 00 2d 19 fe ff ff', 'verw -0x1e7(%rip)'],
    ['0f 20 c0', 'movq %cr0, %rax'],
    ['e4 60', 'inb $0x60, %al'],
    ['ee', 'outb %al, %dx'],
    ['66 0f 6f c1', 'movdqa %xmm1, %xmm0'],
    ['f2 48 0f 2a c0', 'cvtsi2sdq %rax, %xmm0'],
    ['d9 45 fc', 'flds -4(%rbp)'],
    ['db 6d f0', 'fldt -0x10(%rbp)'],
    ['df 6d f0', 'fildll -0x10(%rbp)'],
    ['06 90', '.byte 0x06'],
  ])('%s is %s', (bytes, text) => {
    expect(shown(bytes, 64)).toBe(text);
  });
});

describe('16-bit code', () => {
  it.each([
    ['ea 5b e0 00 f0', 'ljmpw $0xf000:$0xe05b'],
    ['00 00', 'addb %al, (%bx, %si)'],
    ['30 36 2f 32', 'xorb %dh, 0x322f'],
    ['33 2f', 'xorw (%bx), %bp'],
  ])('%s is %s', (bytes, text) => {
    expect(shown(bytes, 16, 0xffff0n)).toBe(text);
  });
});

it('lines have the bytes beside the text, eight in a row', () => {
  const long = disassemble(bytesOf('65 48 8b 04 25 28 00 00 00'), 0xffffffff81001d34n, 64)!;
  expect(formatLine(long, 64)).toBe(
    '0xffffffff81001d34:  65 48 8b 04 25 28 00 00  movq     %gs:0x28, %rax\n0xffffffff81001d3c:  00\n',
  );
  expect(formatLine(disassemble(bytesOf('c3'), 0x7c00n, 16)!, 16)).toBe(
    '0x00007c00:  c3                       retw     \n',
  );
});

it('any bytes are something, or too short', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 15, maxLength: 15 }),
      fc.constantFrom(16, 32, 64),
      (bytes, bits) => {
        const one = disassemble(bytes, 0x1000n, bits as CodeBits)!;
        expect(one.bytes.length).toBeGreaterThan(0);
        expect(one.text).not.toContain('undefined');
        expect(one.text).not.toContain('?');
      },
    ),
    { numRuns: 5000 },
  );
  expect(disassemble(bytesOf('48 8b'), 0n, 64)).toBeUndefined();
});
