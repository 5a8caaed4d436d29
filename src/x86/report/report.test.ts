/** The processor's report: what counts stand for, samples by function, files of symbols. */
import { describe, expect, it } from 'vitest';
import type { HandlerLibrary } from '../interpreter/handlers.ts';
import * as L from '../layout.ts';
import { Profile } from './profile.ts';
import { describeCounts } from './report.ts';
import { parseSymbols } from './symbols.ts';

const KALLSYMS = `ffffffff81000000 T _text
ffffffff81000040 t early
ffffffff82000000 D a_variable
ffffffffc0000000 t probe\t[virtio_blk]
`;

describe('parseSymbols', () => {
  it('finds the function that holds an address, and none far behind the last', () => {
    const symbols = parseSymbols(KALLSYMS);
    expect(symbols.size).toBe(3);
    expect(symbols.find(0xffffffff81000000n)?.name).toBe('_text');
    expect(symbols.find(0xffffffff8100003fn)?.name).toBe('_text');
    expect(symbols.find(0xffffffff81000041n)?.name).toBe('early');
    expect(symbols.find(0xffffffffc0000010n)?.name).toBe('probe [virtio_blk]');
    expect(symbols.find(0xffffffff80ffffffn)).toBeUndefined();
    expect(symbols.find(0xffffffffc8000000n)).toBeUndefined();
  });

  it('says what it expects', () => {
    expect(() => parseSymbols('0000000000000000 T _text\n')).toThrow('/proc/kallsyms');
    expect(() => parseSymbols('\x7fELF')).toThrow('no symbols of functions');
  });
});

describe('Profile', () => {
  it('adds the samples of a function up', () => {
    const profile = new Profile();
    for (const address of [0xffffffff81000004n, 0xffffffff81000008n, 0xffffffff81000044n, 0x400000n])
      profile.sample(address, address < 0x800000n);
    expect(profile.userSamples).toBe(1);
    expect(profile.top(2, parseSymbols(KALLSYMS))).toEqual([
      { where: '_text', samples: 2, share: 0.5 },
      { where: 'early', samples: 1, share: 0.25 },
    ]);
    expect(profile.top(1)).toEqual([{ where: '0xffffffff81000004', samples: 1, share: 0.25 }]);
  });

  it('keeps a bounded number of addresses', () => {
    const profile = new Profile();
    for (let i = 0; i < 70000; i++) profile.sample(BigInt(i), true);
    expect(profile.samples).toBe(70000);
    expect(profile.top(100000)).toHaveLength(65536);
  });
});

describe('describeCounts', () => {
  it('names what was counted, the most frequent first', () => {
    const view = new DataView(new ArrayBuffer(L.CALL_COUNTS + 4 * L.COUNTED_HANDLERS));
    view.setUint32(L.EXIT_COUNTS + 4 * 7, 25, true);
    view.setUint32(L.EXIT_COUNTS + 4 * 9, 75, true);
    const names = new Map([
      [7, 'op_sti'],
      [9, 'mov 64 memory'],
    ]);
    const handlers = { nameOf: (index: number) => names.get(index) } as HandlerLibrary;
    const text = describeCounts(view, handlers, new Profile());
    expect(text).toContain('by instruction (100):');
    expect(text.indexOf('75  75.0%  mov 64 memory')).toBeGreaterThan(0);
    expect(text.indexOf('op_sti')).toBeGreaterThan(text.indexOf('mov 64 memory'));
    expect(text).not.toContain('samples');
  });
});
