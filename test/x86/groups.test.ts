/** Accesses of regions that fail their checks: those checked together that do not lie in one page, and misses of the TLB. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Tracer } from '../../src/core/trace.ts';
import { buildCpuid } from '../../src/x86/cpuid.ts';
import * as L from '../../src/x86/layout.ts';
import { Processor } from '../../src/x86/processor.ts';
import { bareBus } from './bare-bus.ts';
import { CODE, DIRECTORY, enterLongMode, hex, writeU64 } from './long-mode.ts';

// mov $0x20ffc, %ebx; mov $9000, %ecx; 1: mov (%rbx), %eax; add 4(%rbx), %eax; add %rax, %rdx; dec %ecx; jnz 1b; hlt
const LOOP = 'bbfc0f0200b9282300008b030343044801c2ffc975f4f4';

/** A machine with an identity map of its `megabytes` (even), whose registers RBX and ECX the code sets. */
function machine(megabytes: number, code: string): Processor {
  const cpu = new Processor({
    runtimeCode: readFileSync(new URL('../../dist/x86/runtime.wasm', import.meta.url)),
    ram: [{ gpa: 0, size: megabytes * 2 ** 20 }],
    cpuid: buildCpuid({ model: 'max' }),
    tracer: new Tracer(),
    hotThreshold: 1,
    bus: bareBus,
  });
  for (let i = 1; i < megabytes / 2; i++) writeU64(cpu, DIRECTORY + 8 * i, i * 2 ** 21 + 0x83);
  cpu.guestMemory.write(CODE, hex(code));
  enterLongMode(cpu);
  return cpu;
}

/** MODE, part of the key of a block. */
function modeOf(cpu: Processor): number {
  return new DataView(cpu.engine.memory.buffer).getInt32(L.MODE, true);
}

function runToHalt(cpu: Processor): void {
  let turns = 0;
  while (cpu.run(1000) !== 'halted') expect(++turns).toBeLessThan(1000);
}

it('two accesses on both sides of a border of pages are right, and do not have regions made without end', () => {
  const cpu = machine(2, LOOP);
  cpu.guestMemory.write(0x20ffc, Uint8Array.of(1, 0, 0, 0, 2, 0, 0, 0));
  runToHalt(cpu);
  expect(cpu.describeRegisters()).toContain(`RDX=${(9000 * 3).toString(16).padStart(16, '0')}`);
  const { regions, regionRuns, interpretedInstructions } = cpu.stats();
  // first together, then each on its own
  expect(regions).toBeGreaterThan(1);
  expect(regions).toBeLessThan(8);
  expect(regionRuns).toBeGreaterThan(10);
  expect(interpretedInstructions).toBeLessThan(10_000);
});

// mov $0x20000, %ebx; mov $9000, %ecx; 1: add (%rbx), %edx; mov %ecx, 0x2000000(%rbx); incl 0x4000010(%rbx); dec %ecx;
// jnz 1b; hlt
const FAR = 'bb00000200b9282300000313898b00000002ff8310000004ffc975eef4';

it('a region that goes on missing the TLB is made anew, to stay', () => {
  const cpu = machine(72, FAR);
  cpu.guestMemory.write(0x20000, Uint8Array.of(7));
  runToHalt(cpu);
  expect(cpu.describeRegisters()).toContain(`RDX=${(9000 * 7).toString(16).padStart(16, '0')}`);
  expect([...cpu.guestMemory.slice(0x4020010, 4)!]).toEqual([9000 & 0xff, 9000 >> 8, 0, 0]);
  expect([...cpu.guestMemory.slice(0x2020000, 4)!]).toEqual([1, 0, 0, 0]);
  const { regions, interpretedInstructions, tlbMisses } = cpu.stats();
  // the three pages take the same place in the TLB
  expect(0x2000000 % (L.TLB_ENTRIES * 4096)).toBe(0);
  expect(tlbMisses).toBeGreaterThan(9000);
  expect(regions).toBeGreaterThan(1);
  expect(regions).toBeLessThan(8);
  expect(interpretedInstructions).toBeGreaterThan(1000);
  expect(interpretedInstructions).toBeLessThan(10_000);
});

it('a region that complains after it was dropped is not dropped again', () => {
  const cpu = machine(2, LOOP);
  let region: number | undefined;
  // stopped amid the loop, so that it has a region
  for (let i = 0; i < 100 && region === undefined; i++) {
    cpu.run(50);
    region = cpu.code.peek(0x1000a, modeOf(cpu))?.region?.region.index;
  }
  const index = region!;
  cpu.code.invalidate(0x10);
  // as from the runtime, while the region is still on the stack
  cpu.code.noteLeaves(index);
  for (let i = 0; i < 1000; i++) cpu.code.noteScattered(index);
  cpu.code.releaseRetired();
  const slots = Array.from({ length: 8 }, () => cpu.engine.allocate(null));
  expect(new Set(slots).size).toBe(slots.length);
  expect(slots).toContain(index);
});
