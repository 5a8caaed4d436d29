/** Processor models: what they promise is there, names are understood, and wrong ones are refused with the right one. */
import { describe, expect, it } from 'vitest';
import { UsageError } from '../core/errors.ts';
import { buildCpuid, cpuFeatures, cpuModels, type CpuidModel } from './cpuid.ts';
import { CPUID_MAX } from './layout.ts';
import { opcodeTable } from './table/index.ts';

function leaf(model: CpuidModel, number: number, sub = 0): readonly number[] {
  const found = model.entries.find(([l, s]) => l === number && (s === 0xffffffff || s === sub));
  return found === undefined ? [] : found.slice(2);
}

const text = (...words: number[]): string =>
  words.map((word) => String.fromCharCode(...[0, 8, 16, 24].map((shift) => (word >>> shift) & 255))).join('');

describe('models', () => {
  it('fit into the table, in any combination', () => {
    for (const model of cpuModels())
      expect(buildCpuid({ model, add: cpuFeatures() }).entries.length).toBeLessThanOrEqual(CPUID_MAX);
  });

  it('grow from level to level', () => {
    const features = (model: string): Set<string> => new Set(buildCpuid({ model }).features);
    const [v1, v2, max] = ['x86-64-v1', 'x86-64-v2', 'max'].map(features) as [
      Set<string>,
      Set<string>,
      Set<string>,
    ];
    expect([...v1].filter((name) => !v2.has(name))).toEqual([]);
    expect([...v2].filter((name) => !max.has(name))).toEqual([]);
    for (const name of ['cx16', 'lahf_lm', 'popcnt', 'pni', 'sse4_1', 'sse4_2', 'ssse3']) {
      expect(v1.has(name)).toBe(false);
      expect(v2.has(name)).toBe(true);
    }
  });

  it('show vendor, signature and brand', () => {
    const model = buildCpuid({ model: 'max', apicId: 3 });
    const [, ebx, ecx, edx] = leaf(model, 0);
    expect(text(ebx!, edx!, ecx!)).toBe('GenuineIntel');
    expect(leaf(buildCpuid({ model: 'qemu64' }), 0)[1]).toBe(0x68747541); // 'Auth'
    const hypervisor = leaf(model, 0x40000000);
    expect(text(...hypervisor.slice(1))).toBe('ParavaneVMM ');
    expect(leaf(model, 0x40000010).slice(0, 2)).toEqual([1_000_000, 1_000_000]);
    const brand = [2, 3, 4].flatMap((n) => leaf(model, 0x80000000 + n));
    expect(text(...brand).replace(/\0+$/, '')).toBe('Paravane Virtual CPU');
    expect(leaf(model, 1)[1]! >>> 24).toBe(3);
    const [denominator, numerator, crystal] = leaf(model, 0x15);
    expect((crystal! * numerator!) / denominator!).toBe(1e9);
  });

  it('have x2APIC where it is asked for only', () => {
    expect(leaf(buildCpuid({ model: 'max' }), 1)[2]! & (1 << 21)).toBe(0);
    expect(leaf(buildCpuid({ model: 'max', add: ['x2apic'] }), 1)[2]! & (1 << 21)).not.toBe(0);
  });

  it('say in CPUID what `has` says', () => {
    const model = buildCpuid({ model: 'x86-64-v2', remove: ['popcnt'], add: ['+aes'.slice(1), 'rdrand'] });
    const ecx = leaf(model, 1)[2]!;
    expect([(ecx >>> 23) & 1, (ecx >>> 25) & 1, (ecx >>> 30) & 1]).toEqual([0, 1, 1]);
    expect([model.has('popcnt'), model.has('aes'), model.has('rdrand')]).toEqual([false, true, true]);
  });
});

describe('names', () => {
  it('of Linux and of QEMU mean the same', () => {
    for (const [one, other] of [
      ['sse4.1', 'sse4_1'],
      ['sse3', 'pni'],
      ['tsc-deadline', 'tsc_deadline_timer'],
      ['lahf-lm', 'lahf_lm'],
      ['lzcnt', 'abm'],
    ] as const)
      expect(buildCpuid({ model: 'x86-64-v1', add: [one] }).has(other), one).toBe(true);
  });

  it('that are wrong are refused with the nearest', () => {
    const message = (run: () => unknown): string => {
      try {
        run();
      } catch (error) {
        expect(error).toBeInstanceOf(UsageError);
        return (error as Error).message;
      }
      return '';
    };
    expect(message(() => buildCpuid({ model: 'qemu46' }))).toMatch(/unknown model.*'qemu64'/);
    expect(message(() => buildCpuid({ model: 'max', remove: ['popcntt'] }))).toMatch(/'popcnt'/);
    expect(message(() => buildCpuid({ model: 'max', add: ['avx2'] }))).toBe(
      "-cpu max,+avx2: this processor does not have 'avx2'",
    );
    expect(message(() => buildCpuid({ model: 'x86-64-v3' }))).toMatch(/AVX2/);
    expect(buildCpuid({ model: 'max', remove: ['avx2'] }).has('avx2')).toBe(false);
  });
});

describe('the truth', () => {
  /** Features that are behaviour, not instructions. */
  const BEHAVIOUR = new Set([
    ...[
      'fpu',
      'pks',
      'de',
      'pse',
      'tsc',
      'msr',
      'pae',
      'mce',
      'cx8',
      'apic',
      'sep',
      'mtrr',
      'pge',
      'mca',
      'cmov',
      'pat',
    ],
    ...['pse36', 'sse2', 'syscall', 'nx', 'lm', 'hypervisor', 'pcid', 'x2apic', 'tsc_deadline_timer', 'arat'],
    ...[
      'tsc_adjust',
      'smep',
      'erms',
      'umip',
      'la57',
      'spec_ctrl',
      'arch_capabilities',
      'bhi_ctrl',
      'pdpe1gb',
      'lahf_lm',
    ],
    ...['3dnowprefetch', 'invtsc'],
  ]);

  it('every feature with instructions has lines in the table, and the table asks for no other', () => {
    const asked = new Set(
      opcodeTable().defs.flatMap(({ feature }) => (feature === undefined ? [] : [feature])),
    );
    const promised = new Set(buildCpuid({ model: 'max' }).features);
    expect([...promised].filter((name) => !asked.has(name) && !BEHAVIOUR.has(name))).toEqual([]);
    expect([...asked].filter((name) => !promised.has(name))).toEqual([]);
  });
});
