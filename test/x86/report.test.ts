/** What the processor tells of itself: listings of regions, why regions are left, what they call. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { Tracer } from '../../src/core/trace.ts';
import { buildCpuid } from '../../src/x86/cpuid.ts';
import { Processor } from '../../src/x86/processor.ts';
import { bareBus } from './bare-bus.ts';
import { CODE, enterLongMode, hex } from './long-mode.ts';

/** Long mode on an identity map of 2 MiB; code at 10000h runs in regions from the start. */
function machine(code: string): { cpu: Processor; seen: Map<string, Record<string, unknown>[]> } {
  const tracer = new Tracer();
  const seen = new Map<string, Record<string, unknown>[]>();
  tracer.enable('cpu.translate.*', (name, fields) => seen.set(name, [...(seen.get(name) ?? []), fields]));
  const cpu = new Processor({
    runtimeCode: readFileSync(new URL('../../dist/x86/runtime.wasm', import.meta.url)),
    ram: [{ gpa: 0, size: 2 ** 21 }],
    cpuid: buildCpuid({ model: 'max' }),
    tracer,
    hotThreshold: 1,
    countCalls: true,
    bus: bareBus,
  });
  cpu.guestMemory.write(CODE, hex(code));
  enterLongMode(cpu);
  return { cpu, seen };
}

function run(cpu: Processor): void {
  for (let turns = 0; turns < 1000; turns++) {
    if (cpu.run(100) === 'halted') return;
    cpu.translator.flush();
  }
  throw new Error(cpu.describeRegisters());
}

// mov $500, %ecx; 1: add %rcx, %rax; rdtsc; mov %cr3, %rdx; mov %rdx, %cr3; dec %ecx; jnz 1b; hlt
const LOOP = 'b9f40100004801c80f310f20da0f22daffc975f1f4';

describe('listings of regions', () => {
  it("show the guest's code, the region's shape, and its WebAssembly with the instructions between", () => {
    const { cpu, seen } = machine(LOOP);
    run(cpu);
    const text = (name: string): string =>
      (seen.get(name) ?? []).map(({ listing }) => String(listing)).join('\n');
    expect(text('cpu.translate.in')).toMatch(/0x10005: {2}addq +%rcx, %rax\n +0x10008: {2}rdtsc/);
    expect(text('cpu.translate.op')).toMatch(/page 0x10000 physical 0x10000\n/);
    expect(text('cpu.translate.op')).toMatch(/entry \d+: block 0x10005 /);
    const out = text('cpu.translate.out').split('\n');
    const place = out.findIndex((line) => line.includes(';; 0x10005:  addq'));
    expect(place).toBeGreaterThan(0);
    expect(out.slice(place).join('\n')).toMatch(/i64\.add\(/);
    expect(text('cpu.translate.out')).toContain('op_rdtsc(');
    // nothing that the disassembler does not know
    expect(text('cpu.translate.out')).not.toMatch(/opcode 0x|simd 0x|function \d|\?/);
    expect(seen.get('cpu.translate.in')![0]!['address']).toBeTypeOf('bigint');
  });
});

describe('the report', () => {
  it('names what regions call and what they are left for, and the hottest places', () => {
    const { cpu } = machine(LOOP);
    run(cpu);
    const report = cpu.report('0000000000010000 T the_loop\n');
    const count = (name: string): number =>
      Number(new RegExp(`(\\d+) +[\\d.]+% +${name}$`, 'm').exec(report)?.[1] ?? 0);
    // all but the first few rounds run in regions; reading CR3 leaves them, for that instruction and the next
    expect(count('op_rdtsc')).toBeGreaterThan(400);
    expect(count('op_rdtsc')).toBeLessThanOrEqual(500);
    expect(count('op_mov_from_cr')).toBeGreaterThan(400);
    expect(count('op_mov_from_cr')).toBeLessThanOrEqual(500);
    expect(count('the_loop')).toBeGreaterThan(0);
    expect(cpu.stats()).toMatchObject({ userShare: 0 });
  });
});
