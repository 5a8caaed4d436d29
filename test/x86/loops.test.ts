/**
 * Loops: what memory and the code behind them see of the registers that they keep in locals, whichever way they are left,
 * and of accesses that are checked together; in both tiers.
 */
import { expect, it } from 'vitest';
import * as L from '../../src/x86/layout.ts';
import { CODE, hex, pagedProcessor, setHandler } from './long-mode.ts';

const PAE_OSFXSR = 0x220n;
const HANDLER = 0x20_000;
const PAGE_FAULT = 14;
const DATA = 0x40_000;
const DATA_END = 0x90_000;

/** Notes RCX, RDX, RBX and sums of RDI and RSI, maps page 60h, and goes back. */
const NOTE_AND_MAP =
  '48890c2500000500488914250800050048013c2510000500480134251800050048891c252000050048c704250043000003300800ff0425300005004883c40848cf';

const SCATTERED = 'accesses of one group in two pages';
const SCATTERED_LOOP = CODE + 0x24;

const PROGRAMS = {
  // 2: mov $20, %ecx; mov %r9d, %eax; 1: add %rax, %rbx; lea 1(%rax, %rcx), %rax; xor %rbx, %rdx; dec %ecx; jnz 1b;
  // add %rax, %r10; imul %r12, %r10; dec %r9d; jnz 2b; mov %r10, %r11; hlt
  'a loop in a loop':
    '41b9c800000041bc03000000b9140000004489c84801c3488d4408014831daffc975f14901c24d0fafd441ffc975dd4d89d3f4',
  // 3: movq $0, 0x4300; invlpg 0x60000; mov $0x5ff00, %esi; mov $64, %ecx; 1: lea (%rdx, %rcx), %rdx; mov %rdx, %rdi;
  // add (%rsi), %rdx; mov %rdx, 4(%rsi); add $8, %rsi; inc %bl; dec %ecx; jnz 1b; add %rdi, %r8; dec %r9d; jnz 3b; hlt
  'a fault in the midst of a loop':
    '41b99600000048c7042500430000000000000f013c2500000600be00ff0500b940000000488d140a4889d7480316488956044883c608fec3ffc975e84901f841ffc975c2f4',
  // 1: mov $0x40000, %edi; mov $24, %ecx; mov %r9d, %eax; rep stosb; add %rdi, %rdx; xor %eax, %eax; cpuid;
  // add %ecx, %r10d; mov %cr3, %r8; mov %r8, %cr3; add $5, %r11d; add %r8, %r12; pushf; pop %r13; dec %r9d; jnz 1b; hlt
  'a loop that calls the runtime':
    '41b92c010000bf00000400b9180000004489c8f3aa4801fa31c00fa24101ca410f20d8410f22d84183c3054d01c49c415d41ffc975d0f4',
  // 1: paddd %xmm1, %xmm2; movdqa %xmm2, %xmm3; psrlq $7, %xmm3; pxor %xmm3, %xmm4; punpckldq %xmm4, %xmm5;
  // test $31, %cl; jz 3f; 2: paddq %xmm4, %xmm6; dec %ecx; jnz 1b; movq %xmm6, %rax; movaps %xmm5, 0x40000; hlt;
  // 3: movaps %xmm6, 0x40010; pinsrw $3, %ecx, %xmm6; movq %xmm6, %rbx; jmp 2b
  'a loop of vectors':
    'b92c010000660f6ec9660ffed1660f6fda660f73d307660fefe3660f62ecf6c11f7416660fd4f4ffc975de66480f7ef00f292c2500000400f40f29342510000400660fc4f10366480f7ef3ebd6',
  // 1: mov $0x1234567890abcdef, %rax; add %bl, %ah; mov %ah, %bl; add %ax, %dx; rol $3, %dl; mov %dx, %cx;
  // test $1, %r9b; jz 2f; mov %bh, %cl; xchg %ch, %cl; 2: add %rcx, %rsi; xor %al, %sil; cmovs %r9d, %edi;
  // add %rdi, %r8; dec %r9d; jnz 1b; mov %ch, %al; mov %ax, %r10w; hlt
  'parts of registers':
    '41b99001000048b8efcdab907856341200dc88e36601c2c0c2036689d141f6c101740488f986e94801ce4030c6410f48f94901f841ffc975cd88e8664189c2f4',
  // mov $12, %edi; call 1f; mov %rax, %rbx; hlt; 1: cmp $2, %edi; jb 2f; push %rdi; dec %edi; call 1b;
  // mov (%rsp), %rdi; mov %rax, (%rsp); sub $2, %edi; call 1b; pop %rdx; add %rdx, %rax; ret; 2: mov %edi, %eax; ret
  'a function that calls itself':
    'bf0c000000e8040000004889c3f483ff02721d57ffcfe8f3ffffff488b3c244889042483ef02e8e3ffffff5a4801d0c389f8c3',
  // 2: movq $0, 0x4300; invlpg 0x60000; mov $0x5fe40, %esi; mov $48, %ecx; 1: mov (%rsi), %rax; add 8(%rsi), %eax;
  // movzbl 13(%rsi), %edx; add %rdx, %rax; mov %rax, 16(%rsi); addl $3, 27(%rsi); movdqu 3(%rsi), %xmm0;
  // paddd %xmm0, %xmm1; movdqu %xmm1, 40(%rsi); incb 33(%rsi); mov %ax, 57(%rsi); xor %rax, %rbx; rol $5, %rbx;
  // add $13, %rsi; dec %ecx; jnz 1b; mov %rsi, %rdi; dec %r9d; jnz 2b; movq %xmm1, %r10; hlt
  [SCATTERED]:
    '41b9f401000048c7042500430000000000000f013c2500000600be40fe0500b930000000488b060346080fb6560d4801d04889461083461b03f30f6f4603660ffec8f30f7f4e28fe4621668946394831c348c1c3054883c60dffc975c74889f741ffc975a166490f7ecaf4',
} as const;

function run(code: string, hotThreshold: number) {
  const cpu = pagedProcessor(code, hotThreshold);
  new DataView(cpu.engine.memory.buffer).setBigUint64(L.CR4, PAE_OSFXSR, true);
  (cpu.engine.runtime.updateMode as unknown as () => void)();
  setHandler(cpu, PAGE_FAULT, HANDLER);
  cpu.guestMemory.write(HANDLER, hex(NOTE_AND_MAP));
  let turns = 0;
  while (cpu.run(700) !== 'halted') {
    expect(++turns).toBeLessThan(2000);
    cpu.translator.flush();
  }
  const { regionRuns, exceptions } = cpu.stats();
  return {
    registers: cpu.describeRegisters(),
    data: cpu.guestMemory.slice(DATA, DATA_END - DATA)!,
    regionRuns: regionRuns!,
    exceptions,
    /** The region of what is at an address in the end. */
    region: (at: number) =>
      cpu.code.peek(at, new DataView(cpu.engine.memory.buffer).getInt32(L.MODE, true))?.region?.region,
  };
}

it.each(Object.entries(PROGRAMS))('%s', (name, code) => {
  const interpreted = run(code, Infinity);
  expect(interpreted.regionRuns).toBe(0);
  for (const hot of [1, 30]) {
    const translated = run(code, hot);
    expect(translated.regionRuns).toBeGreaterThan(0);
    expect(translated.registers).toBe(interpreted.registers);
    expect(translated.exceptions).toBe(interpreted.exceptions);
    expect(Buffer.compare(translated.data, interpreted.data)).toBe(0);
    if (name === SCATTERED) expect(translated.region(SCATTERED_LOOP)!.expectsScattered).toBe(true);
  }
});
