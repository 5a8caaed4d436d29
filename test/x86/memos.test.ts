/**
 * Loops whose accesses keep the page of the time before: over borders of pages that do not lie side by side in memory,
 * in both tiers.
 */
import { expect, it } from 'vitest';
import { pagedProcessor, TABLE, writeU64 } from './long-mode.ts';

/** Linear pages from here on are mapped to pages from DATA on, in another order. */
const LINEAR = 0x40;
const DATA = 0x80;
const PAGES = 32;

const LOOPS = {
  // mov $0x40ff1, %ebx; mov $6000, %ecx; 1: mov (%rbx), %rax; add %rax, %rdx; add $3, %rbx; dec %ecx; jnz 1b; hlt
  'loads that are not aligned': 'bbf10f0400b970170000488b034801c24883c303ffc975f2f4',
  // the same with add $8, %rbx
  'loads of which each 512th lies in two pages': 'bbf10f0400b970170000488b034801c24883c308ffc975f2f4',
  // 1: mov %rcx, (%rbx); add $5, %rbx; dec %ecx; jnz 1b
  'stores that are not aligned': 'bbf10f0400b97017000048890b4883c305ffc975f5f4',
  // mov $0x40ff2, %ebx; 1: add %ecx, (%rbx); add $2, %rbx; dec %ecx; jnz 1b
  'read-modify-writes that overlap': 'bbf20f0400b970170000010b4883c302ffc975f6f4',
  // 1: mov (%rbx), %rax; add %rax, %rdx; mov %dx, 11(%rbx); add $4, %rbx; dec %ecx; jnz 1b
  'a load and a store that are checked together':
    'bbf10f0400b970170000488b034801c26689530b4883c304ffc975eef4',
  // 1: mov (%rbx), %rax; add 8(%rbx), %rax; add %rax, %rdx; add $4, %rbx; dec %ecx; jnz 1b
  'two loads that are checked together': 'bbf10f0400b970170000488b03480343084801c24883c304ffc975eef4',
  // mov $0x40000, %ebx; 1: movzbl (%rbx), %eax; add 0x43ffc(, %rax, 8), %rdx; inc %rbx; dec %ecx; jnz 1b
  'a table in two pages': 'bb00000400b9701700000fb603480314c5fc3f040048ffc3ffc975eef4',
  // mov $300, %r9d; 2: mov $0x40000, %ebx; mov $64, %ecx; 1: mov (%rbx), %rax; add %rax, %rdx; rol $1, %rdx;
  // mov %edx, 4(%rbx); add $8, %rbx; dec %ecx; jnz 1b; xorq $0x10000, 0x4200; invlpg 0x40000; dec %r9d; jnz 2b; hlt
  'a page that is mapped elsewhere between two rounds':
    '41b92c010000bb00000400b940000000488b034801c248d1c28953044883c308ffc975ec4881342500420000000001000f013c250000040041ffc975c9f4',
} as const;

function run(code: string, hotThreshold: number) {
  const cpu = pagedProcessor(code, hotThreshold);
  for (let i = 0; i < PAGES; i++)
    writeU64(cpu, TABLE + 8 * (LINEAR + i), ((DATA + ((7 * i) % PAGES)) << 12) | 3);
  const data = Uint8Array.from({ length: PAGES * 4096 }, (_, i) => (i * 0x9e3779b1) >>> 24);
  cpu.guestMemory.write(DATA << 12, data);
  let turns = 0;
  while (cpu.run(5000) !== 'halted') expect(++turns).toBeLessThan(1000);
  const after = cpu.guestMemory.slice(DATA << 12, data.length);
  return { registers: cpu.describeRegisters(), data: after!, regionRuns: cpu.stats().regionRuns! };
}

it.each(Object.entries(LOOPS))('%s', (_name, code) => {
  const interpreted = run(code, Infinity);
  const translated = run(code, 1);
  expect(interpreted.regionRuns).toBe(0);
  expect(translated.regionRuns).toBeGreaterThan(0);
  expect(translated.registers).toBe(interpreted.registers);
  expect(Buffer.compare(translated.data, interpreted.data)).toBe(0);
});
