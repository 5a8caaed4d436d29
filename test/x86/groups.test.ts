/** Accesses that a region checks together, where they do not lie in one page. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { Tracer } from '../../src/core/trace.ts';
import { buildCpuid } from '../../src/x86/cpuid.ts';
import { Processor } from '../../src/x86/processor.ts';
import { bareBus } from './bare-bus.ts';

// mov $0x20ffc, %ebx; mov $9000, %ecx; 1: mov (%rbx), %eax; add 4(%rbx), %eax; add %rax, %rdx; dec %ecx; jnz 1b; hlt
const LOOP = 'bbfc0f0200b9282300008b030343044801c2ffc975f4f4';

it('two accesses on both sides of a border of pages are right, and do not have regions made without end', () => {
  const cpu = new Processor({
    runtimeCode: readFileSync(new URL('../../dist/x86/runtime.wasm', import.meta.url)),
    ram: [{ gpa: 0, size: 2 ** 21 }],
    cpuid: buildCpuid({ model: 'max' }),
    tracer: new Tracer(),
    hotThreshold: 1,
    bus: bareBus,
  });
  const u64 = (gpa: number, value: number): boolean =>
    cpu.guestMemory.write(gpa, new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  // an identity map of 2 MiB
  u64(0x1000, 0x2003);
  u64(0x2000, 0x3003);
  u64(0x3000, 0x83);
  u64(0x20ffc, 1 + 2 * 2 ** 32);
  cpu.guestMemory.write(
    0x10000,
    Uint8Array.from(LOOP.match(/../g)!, (pair) => Number.parseInt(pair, 16)),
  );
  cpu.enter({ mode: 'long', rip: 0x10000n, rsp: 0x9000n, cr3: 0x1000n });
  let turns = 0;
  while (cpu.run(1000) !== 'halted') expect(++turns).toBeLessThan(1000);
  expect(cpu.describeRegisters()).toContain(`RDX=${(9000 * 3).toString(16).padStart(16, '0')}`);
  const { regions, regionRuns, interpretedInstructions } = cpu.stats();
  // first together, then each on its own
  expect(regions).toBeGreaterThan(1);
  expect(regions).toBeLessThan(8);
  expect(regionRuns).toBeGreaterThan(10);
  expect(interpretedInstructions).toBeLessThan(10_000);
});
