/** A run ends when its time is over: code that is new takes far longer than its number of instructions says. */
import { describe, expect, it } from 'vitest';
import { makeProcessor } from './differential/guest.ts';

const CODE = 0x1000;
const BLOCKS = 100;

describe('the time of a run', () => {
  it('is looked at when code is decoded, and no instruction is lost or done twice', () => {
    let time = 0;
    // the clock is read twice for a block
    const cpu = makeProcessor(Number.POSITIVE_INFINITY, { readTsc: () => (time += 50_000) });
    // inc %eax; jmp to the next one; at the end hlt
    const code = Array.from({ length: BLOCKS }, () => [0x40, 0xeb, 0x00]).flat();
    cpu.guestMemory.write(CODE, Uint8Array.of(...code, 0xf4));
    cpu.enter({ mode: 'flat32', rip: BigInt(CODE), rax: 0n });
    const results: string[] = [];
    const counts: number[] = [];
    while (results.at(-1) !== 'halted' && results.length < 100) {
      const before = cpu.instructionCount;
      results.push(cpu.run(1_000_000, time + 1_000_000));
      counts.push(cpu.instructionCount - before);
    }
    expect(results.slice(0, -1).every((result) => result === 'stopped')).toBe(true);
    // ten blocks of two instructions or so each time
    expect(results.length).toBeGreaterThanOrEqual(9);
    expect(Math.max(...counts)).toBeLessThanOrEqual(22);
    expect(cpu.instructionCount).toBe(2 * BLOCKS + 1);
    expect(cpu.describeRegisters()).toMatch(/[RE]AX=0*64\b/);
  });

  it('is without end unless it is given', () => {
    let time = 0;
    const cpu = makeProcessor(Number.POSITIVE_INFINITY, { readTsc: () => (time += 50_000) });
    cpu.guestMemory.write(CODE, Uint8Array.of(0x40, 0xeb, 0x00, 0xf4));
    cpu.enter({ mode: 'flat32', rip: BigInt(CODE), rax: 0n });
    expect(cpu.run(1000)).toBe('halted');
  });
});
