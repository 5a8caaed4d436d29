/**
 * Regions that one processor hands on and another uses: only where all of their code stands as it did, with equal results.
 * Guests here are a few functions; the differential comparison does the same with random programs (long.test.ts).
 */
import { describe, expect, it } from 'vitest';
import { Tracer } from '../../src/core/trace.ts';
import type { ProcessorOptions } from '../../src/x86/processor.ts';
import * as L from '../../src/x86/layout.ts';
import type { RegionStore } from '../../src/core/translation-store.ts';
import { decodeRegion } from '../../src/x86/translator/kept-region.ts';
import { ByteWriter } from '../../src/wasm/bytes.ts';
import { makeProcessor } from './differential/guest.ts';
import {
  CODE,
  DIRECTORY,
  hex,
  LongModeGuest,
  little,
  PAGES,
  relative,
  STACK,
  setHandler,
  VIRTUAL,
} from './long-mode.ts';
import { MemoryStore } from './memory-store.ts';

interface Given {
  readonly hot?: number;
  readonly slice?: number;
  /** Slices at which a run without end is given up. */
  readonly most?: number;
  readonly compile?: ProcessorOptions['compile'];
  readonly tracer?: Tracer;
}

class Machine extends LongModeGuest {
  constructor(
    store: RegionStore | undefined,
    { hot = LATE, slice = 50, most = 5000, compile, tracer = new Tracer() }: Given = {},
  ) {
    super(makeProcessor(hot, {}, { store, compile, tracer }), { slice, most });
    // the same RAM once more, at 64 MiB
    this.u64(DIRECTORY + 8 * 32, 0x83);
  }

  get kept(): number {
    return this.cpu.translator.stats()['regionsKept']!;
  }

  get used(): number {
    return this.cpu.translator.stats()['regionsUsedAgain']!;
  }

  get regions(): number {
    return this.cpu.translator.regions;
  }
}

const N = 200;

/** Hot after more executions than there are here: what is translated then has been kept. */
const LATE = 100_000;

/** top: test cl, 3; jz +3; add ebx, 1; dec ecx; jnz top; hlt: blocks at 0, 5, 8 and 12. */
const LOOP = 'f6c103 7403 83c301 ffc9 75f4 f4';
const LOOPED = (3 * N) / 4;

/** A processor that has translated the loop at `at`, and what it keeps. */
function filled(at = CODE, given: Given = { hot: 40 }): MemoryStore {
  const store = new MemoryStore();
  const m = new Machine(store, given).write(at, LOOP);
  expect(m.run(N, at)).toBe(LOOPED);
  m.cpu.translator.flush();
  expect(m.run(N, at)).toBe(LOOPED);
  expect([m.used, m.kept > 0, store.size]).toEqual([0, true, m.kept]);
  return store;
}

describe('translations of another processor', () => {
  it('are used long before the code is hot, with equal results', () => {
    const store = filled();
    const m = new Machine(store).write(CODE, LOOP);
    expect(m.run(N)).toBe(LOOPED);
    expect([m.used > 0, m.kept]).toEqual([true, 0]);
    expect(m.used).toBe(m.regions);
    const before = m.cpu.stats()['regionRuns']!;
    expect(m.run(N)).toBe(LOOPED);
    expect(m.cpu.stats()['regionRuns']!).toBeGreaterThan(before);
    // without them it would have been interpreted
    const alone = new Machine(new MemoryStore()).write(CODE, LOOP);
    expect([alone.run(N), alone.regions]).toEqual([LOOPED, 0]);
  });

  it('are not handed on again', () => {
    const store = filled();
    const { size } = store;
    for (let n = 0; n < 3; n++) {
      const m = new Machine(store, { hot: 40 }).write(CODE, LOOP);
      expect(m.run(N)).toBe(LOOPED);
      m.cpu.translator.flush();
      expect(m.run(N)).toBe(LOOPED);
      expect([m.used > 0, m.regions - m.used, store.size]).toEqual([true, 0, size]);
    }
  });

  it('are used where the code stands in another page, and at another linear address', () => {
    const store = filled();
    for (const [physical, linear] of [
      [0x15_000, 0x15_000],
      [CODE, 0x400_0000 + CODE],
      [0x1f_000, 0x400_0000 + 0x1f_000],
    ] as const) {
      const m = new Machine(store).write(physical, LOOP);
      expect(m.run(N, linear)).toBe(LOOPED);
      expect([linear, m.used > 0, m.regions - m.used]).toEqual([linear, true, 0]);
      // several at once, each with records and pages of its own
      m.write(0x18_000, LOOP);
      const { used } = m;
      expect(m.run(N, 0x18_000)).toBe(LOOPED);
      expect(m.used).toBeGreaterThan(used);
      expect([m.run(N, linear), m.run(N, 0x18_000)]).toEqual([LOOPED, LOOPED]);
    }
  });

  it('are not used at another place of the page', () => {
    const m = new Machine(filled()).write(CODE + 16, LOOP);
    expect([m.run(N, CODE + 16), m.used]).toEqual([LOOPED, 0]);
  });

  it('find their place after a fault in the middle', () => {
    // mov eax, [rdx] reaches what is not mapped when ecx is 5; the handler halts and RBX says how far it came
    const code = '31d2 83f905 7505 ba0000f07f 8b02 01cb ffc9 75ec f4'.replaceAll(' ', '');
    const prepare = (store: MemoryStore, hot: number): Machine => {
      const m = new Machine(store, { hot });
      const handler = 0x31_000;
      setHandler(m.cpu, 14, handler);
      return m.write(handler, 'f4').write(CODE, code);
    };
    const store = new MemoryStore();
    const result = (m: Machine): unknown => {
      const sum = m.run(N);
      const frame = STACK - 40;
      const at = (offset: number): bigint => m.view.getBigUint64(L.RAM_BASE + frame + offset, true);
      return [sum, m.view.getUint32(L.GPR + 8, true), m.view.getBigUint64(L.CR2, true), at(0), at(24)];
    };
    const first = prepare(store, 40);
    const expected = result(first);
    first.cpu.translator.flush();
    expect(result(first)).toEqual(expected);
    expect(expected).toEqual([(N * (N + 1)) / 2 - 15, 5, 0x7ff0_0000n, BigInt(CODE + 12), BigInt(STACK)]);
    const second = prepare(store, LATE);
    expect(result(second)).toEqual(expected);
    expect([second.used > 0, second.regions - second.used]).toEqual([true, 0]);
    expect(result(second)).toEqual(expected);
  });

  it('are not used where any byte of their code is another one', { timeout: 60_000 }, () => {
    const original = hex(LOOP);
    const store = filled();
    const regions = store.regions.map(decodeRegion);
    // all of the loop is in one of them
    expect(regions.map(({ blocks }) => blocks.map(({ offset }) => offset))).toContainEqual([0, 5, 8]);
    let [halted, used] = [0, 0];
    for (const at of original.keys())
      for (const bit of at % 2 === 0 ? [1, 0x80] : [4]) {
        const changed = original.slice();
        changed[at]! ^= bit;
        const run = (kept: MemoryStore | undefined, hot: number): [Machine, unknown] => {
          const m = new Machine(kept, { hot, most: 50 });
          m.cpu.guestMemory.write(CODE, changed);
          // what comes behind halts, whatever the instruction in front of it has become
          m.write(CODE + original.length, 'f4'.repeat(32));
          let end: unknown;
          try {
            end = [m.run(N), m.view.getBigUint64(L.RIP, true), m.view.getBigUint64(L.GPR + 8, true)];
          } catch {
            // it has become an endless loop, or faults
          }
          return [m, end];
        };
        const [m, end] = run(store, LATE);
        const [, expected] = run(undefined, Number.POSITIVE_INFINITY);
        expect(end).toEqual(expected);
        const fitting = regions.filter(({ blocks }) =>
          blocks.every(({ offset, code }) => code.every((byte, i) => (changed[offset + i] ?? 0xf4) === byte)),
        );
        if (fitting.length === 0) expect(m.used).toBe(0);
        expect(m.used).toBeLessThanOrEqual(fitting.length);
        if (end !== undefined) halted++;
        used += m.used;
      }
    // the ends were compared, and what has not changed is used
    expect(halted).toBeGreaterThan(original.length / 2);
    expect(used).toBeGreaterThan(0);
  });
});

describe('translations of code on several pages', () => {
  const [first, one, two] = [0x24_000, 0x26_000, 0x28_000];
  const top = VIRTUAL + 4096 - 32;
  const second = (n: number): string =>
    `83c0${little(n, 1)} ffca 0f85${relative(VIRTUAL + 4096 + 11, top)} c3`;
  // xor eax, eax; mov edx, 10; call top; add ebx, eax; loop; hlt
  const CALLER = `31c0 ba0a000000 e8${relative(CODE + 12, top)} 01c3 e2f0 f4`;

  /** A function: top: add eax, 1; nops into the next page: add eax, 2; dec edx; jnz top; ret. */
  function machine(
    store: MemoryStore,
    hot: number,
    pages: readonly [number, number] = [first, one],
  ): Machine {
    const m = new Machine(store, { hot });
    m.write(pages[0] + 4096 - 32, `83c001${'90'.repeat(29)}`);
    m.write(pages[1], second(2)).write(two, second(3)).write(CODE, CALLER);
    m.map(0, pages[0]);
    m.map(1, pages[1]);
    return m;
  }

  function filledStore(): MemoryStore {
    const store = new MemoryStore();
    const m = machine(store, 40);
    expect(m.run(N)).toBe(30 * N);
    m.cpu.translator.flush();
    expect(m.run(N)).toBe(30 * N);
    expect(store.regions.map(decodeRegion).some(({ pages }) => pages.length === 2)).toBe(true);
    return store;
  }

  it('are used where these are mapped side by side, wherever they are', () => {
    for (const pages of [
      [first, one],
      [one, first],
      [0x2c_000, 0x2d_000],
    ] as const) {
      const m = machine(filledStore(), LATE, pages);
      expect(m.run(N)).toBe(30 * N);
      expect([m.used > 0, m.regions - m.used]).toEqual([true, 0]);
    }
  });

  it('are not used where another page is the neighbour, and not once it has become that', () => {
    const store = filledStore();
    const other = machine(store, LATE);
    other.map(1, two);
    expect(other.run(N)).toBe(40 * N);
    expect(other.run(N)).toBe(40 * N);
    const m = machine(store, LATE);
    expect(m.run(N)).toBe(30 * N);
    const { used } = m;
    expect(used).toBeGreaterThan(0);
    for (let n = 0; n < 3; n++) {
      m.map(1, two);
      expect(m.run(N)).toBe(40 * N);
      m.map(1, one);
      expect(m.run(N)).toBe(30 * N);
    }
    // regions that were written here would be found as such
    expect([m.kept, m.regions - m.used]).toEqual([0, 0]);
  });

  it('are not used while the neighbour is not mapped', () => {
    const m = machine(filledStore(), LATE);
    m.u64(PAGES + 8, 0);
    m.flushTlb();
    expect(() => m.run(N)).toThrow('shutdown');
    expect(m.used).toBe(0);
  });

  it('are used for an instruction that runs into the next page, while its bytes are the same', () => {
    // sub eax, eax; jmp +0: a block of two pages: add eax, imm32 with two bytes on either; then dec edx; jnz; ret
    const start = VIRTUAL + 4096 - 7;
    const across = (m: Machine, pages: readonly [number, number], imm: number): Machine => {
      m.write(pages[0] + 4096 - 7, `29c0 eb00 05${little(imm).slice(0, 4)}`);
      m.write(pages[1], `${little(imm).slice(4)} ffca 0f85${relative(VIRTUAL + 4096 + 10, start)} c3`);
      m.map(0, pages[0]);
      m.map(1, pages[1]);
      return m.write(CODE, `ba0a000000 e8${relative(CODE + 10, start)} 01c3 e2f2 f4`);
    };
    const store = new MemoryStore();
    const imm = 0x0403_0201;
    const m = across(new Machine(store, { hot: 40 }), [first, one], imm);
    const sum = (value: number): number => Number(BigInt.asUintN(32, BigInt(value) * BigInt(N)));
    expect(m.run(N)).toBe(sum(imm));
    m.cpu.translator.flush();
    expect(m.run(N)).toBe(sum(imm));
    const crossing = store.regions
      .map(decodeRegion)
      .filter(({ blocks }) => blocks.some(({ offset, code }) => (offset & 4095) + code.length > 4096));
    expect(crossing.length).toBeGreaterThan(0);
    for (const [pages, value] of [
      [[first, one], imm],
      [[one, two], imm],
      [[first, one], imm + 0x0100_0000],
      [[one, two], imm + 1],
    ] as const) {
      const again = across(new Machine(store), pages, value);
      const runs = (): void => expect(again.run(N)).toBe(sum(value));
      runs();
      runs();
      const mode = again.view.getInt32(L.MODE, true);
      const cross = again.cpu.code.peek(pages[0] + 4096 - 3, mode)!;
      expect(cross.nextPage * 4096).toBe(pages[1]);
      const regions = [...Array(4096).keys()].flatMap((at) =>
        pages.map((page) => again.cpu.code.peek(page + at, mode)?.region?.region),
      );
      const includes = regions.some((region) => region?.blocks.includes(cross) ?? false);
      expect([value, includes]).toEqual([value, value === imm]);
      // both of its pages may change
      if (value !== imm) continue;
      again.write(pages[1] + 1, '05');
      expect(again.run(N)).toBe(sum(imm + 0x0100_0000));
      again.write(pages[0] + 4094, '02');
      expect(again.run(N)).toBe(sum(imm + 0x0100_0001));
    }
  });
});

/** Gives all regions for any key, as if all keys were equal. */
class Collisions extends MemoryStore {
  override has(): boolean {
    return true;
  }

  override find(): readonly Uint8Array[] {
    return this.regions.map((region) => region.slice()).reverse();
  }
}

describe('translations that were made anew', () => {
  /** The region of the loop's start. */
  const inUse = (m: Machine) => m.cpu.code.peek(CODE, m.view.getInt32(L.MODE, true))?.region?.region;

  it.each(['patient', 'scattered'] as const)('are found as such: %s', (kind) => {
    const store = new MemoryStore();
    const first = new Machine(store, { hot: 40 }).write(CODE, LOOP);
    const settle = (m: Machine): void => {
      for (let n = 0; n < 3; n++) {
        expect(m.run(N)).toBe(LOOPED);
        m.cpu.translator.flush();
      }
    };
    const complain = (m: Machine): void => {
      const { index } = inUse(m)!;
      if (kind === 'patient') m.cpu.code.noteLeaves(index);
      else for (let n = 0; n < 256; n++) m.cpu.code.noteScattered(index);
      expect(inUse(m)).toBeUndefined();
      m.cpu.code.releaseRetired();
    };
    const is = (m: Machine): boolean => (kind === 'patient' ? inUse(m)!.patient : inUse(m)!.expectsScattered);
    settle(first);
    expect(is(first)).toBe(false);
    const before = [...store.regions];
    complain(first);
    settle(first);
    expect(is(first)).toBe(true);
    expect(store.size).toBeGreaterThan(before.length);
    // the latest comes first
    const second = new Machine(store).write(CODE, LOOP);
    settle(second);
    expect([is(second), second.regions - second.used]).toEqual([true, 0]);
    // one that is known to go wrong is not used again
    const old = new MemoryStore();
    for (const region of before) old.keep(first.cpu.code.guestCode.keyOf(block(first).address), region);
    const third = new Machine(old, { hot: 40 }).write(CODE, LOOP);
    settle(third);
    expect([is(third), third.used > 0]).toEqual([false, true]);
    complain(third);
    settle(third);
    expect(is(third)).toBe(true);
  });

  function block(m: Machine) {
    return m.cpu.code.peek(CODE, m.view.getInt32(L.MODE, true))!;
  }
});

describe('translations and code that changes', () => {
  it('go when the guest or a device writes over it', () => {
    const store = filled();
    const m = new Machine(store).write(CODE, LOOP);
    expect([m.run(N), m.used > 0]).toEqual([LOOPED, true]);
    // add ebx, 2, and back
    m.write(CODE + 7, '02');
    expect(m.run(N)).toBe(2 * LOOPED);
    m.write(CODE + 7, '01');
    const { used } = m;
    expect(m.run(N)).toBe(LOOPED);
    // it counts to the hot threshold now
    expect(m.used).toBe(used);
    // mov byte [CODE + 7], 3; jmp CODE
    const writer = CODE + 0x100;
    m.write(writer, `c60425${little(CODE + 7)}03 e9${relative(writer + 13, CODE)}`);
    expect(m.run(N, writer)).toBe(3 * LOOPED);
  });

  it('are not used when it changes while they wait or are compiled', async () => {
    const jobs: (() => Promise<void>)[] = [];
    const compile = (code: Uint8Array): Promise<WebAssembly.Module> => {
      const copy = code.slice();
      return new Promise((resolve) => {
        jobs.push(() => {
          resolve(new WebAssembly.Module(copy));
          return new Promise((settled) => setImmediate(settled));
        });
      });
    };
    const store = filled();
    const m = new Machine(store, { compile }).write(CODE, LOOP);
    expect(m.run(N)).toBe(LOOPED);
    expect([jobs.length > 0, m.regions]).toEqual([true, 0]);
    m.write(CODE + 7, '05');
    for (const job of jobs.splice(0)) await job();
    expect(m.cpu.stats()['regionsCompiledTooLate']).toBeGreaterThan(0);
    for (let n = 0; n < 3; n++) expect(m.run(N)).toBe(5 * LOOPED);
    // and in the queue, before they are written
    for (const byte of [undefined, '01', '09']) {
      const queued = new Machine(store).write(CODE, LOOP);
      queued.view.setBigUint64(L.GPR + 8, BigInt(N), true);
      queued.view.setBigUint64(L.RIP, BigInt(CODE), true);
      expect(queued.cpu.run(17 * 5)).toBe('budget');
      expect(queued.regions).toBe(0);
      // writing the same byte counts as a change
      if (byte !== undefined) queued.write(CODE + 7, byte);
      queued.cpu.translator.flush();
      expect([byte, queued.used > 0]).toEqual([byte, byte === undefined]);
      expect(queued.run(N)).toBe(Number(byte ?? 1) * LOOPED);
    }
  });

  it('are kept with the code that they were made from, though it is another one already', () => {
    const store = new MemoryStore();
    const m = new Machine(store, { hot: 40 }).write(CODE, LOOP);
    m.view.setBigUint64(L.GPR + 8, BigInt(N), true);
    m.view.setBigUint64(L.RIP, BigInt(CODE), true);
    expect(m.cpu.run(45 * 5)).toBe('budget');
    expect([m.regions, m.kept]).toEqual([0, 0]);
    // a device that is writing on another thread, and has not said so yet
    m.cpu.guestMemory.bytes[L.RAM_BASE + CODE + 7] = 5;
    m.cpu.translator.flush();
    expect(m.kept).toBeGreaterThan(0);
    const codes = store.regions.flatMap((region) =>
      decodeRegion(region).blocks.filter(({ offset }) => offset === 5),
    );
    expect(codes.map(({ code }) => [...code])).toEqual(
      codes.map(() => [0x83, 0xc3, 1, 0xff, 0xc9, 0x75, 0xf4]),
    );
    expect(codes.length).toBeGreaterThan(0);
    for (const [byte, times] of [
      ['01', 1],
      ['05', 5],
    ] as const) {
      const other = new Machine(store).write(CODE, LOOP).write(CODE + 7, byte);
      expect(other.run(N)).toBe(times * LOOPED);
    }
  });

  it('do not come in the way when all code is forgotten while they are looked for', () => {
    const store = filled();
    const forgetful: RegionStore = {
      find: (key) => {
        m.cpu.code.flushAll();
        return store.find(key);
      },
      keep: () => {},
    };
    const m: Machine = new Machine(forgetful).write(CODE, LOOP);
    for (let n = 0; n < 3; n++) expect(m.run(N)).toBe(LOOPED);
    expect(m.cpu.code.flushes).toBeGreaterThan(3);
  });

  it('are found again when all code was forgotten', () => {
    const m = new Machine(filled()).write(CODE, LOOP);
    for (let n = 1; n < 5; n++) {
      expect(m.run(N)).toBe(LOOPED);
      expect(m.used).toBeGreaterThanOrEqual(n);
      m.cpu.code.flushAll();
      m.cpu.code.releaseRetired();
    }
  });
});

describe('a store', () => {
  it('whose keys are all equal is as good', () => {
    const programs = [1, 2, 3, 4, 5].map((n) => LOOP.replace('83c301', `83c3${little(n, 1)}`));
    const store = new Collisions();
    for (const [i, program] of programs.entries()) {
      const m = new Machine(store, { hot: 40 }).write(CODE, program);
      for (let n = 0; n < 2; n++) {
        expect(m.run(N)).toBe((i + 1) * LOOPED);
        m.cpu.translator.flush();
      }
    }
    for (const [i, program] of programs.entries()) {
      const m = new Machine(store).write(CODE, program);
      expect([m.run(N), m.used > 0, m.regions - m.used]).toEqual([(i + 1) * LOOPED, true, 0]);
    }
  });

  it('with regions of other modes has nothing for this one', () => {
    const store = new Collisions();
    for (const region of filled().regions) store.keep(0, region);
    const m = new Machine(store).write(CODE, LOOP);
    // without an FPU
    m.view.setBigUint64(L.CR0, m.view.getBigUint64(L.CR0, true) | 4n, true);
    (m.cpu.engine.runtime.updateMode as unknown as () => void)();
    expect([m.run(N), m.used]).toEqual([LOOPED, 0]);
    // what is translated there is of use there only
    const own = new Machine(store, { hot: 40 }).write(CODE, LOOP);
    own.view.setBigUint64(L.CR0, own.view.getBigUint64(L.CR0, true) | 4n, true);
    (own.cpu.engine.runtime.updateMode as unknown as () => void)();
    expect(own.run(N)).toBe(LOOPED);
    own.cpu.translator.flush();
    const modes = new Set(store.regions.map((region) => decodeRegion(region).mode));
    expect([own.used, modes.size]).toEqual([0, 2]);
  });

  it('is not asked by a processor that only interprets', () => {
    const m = new Machine(filled(), { hot: Number.POSITIVE_INFINITY }).write(CODE, LOOP);
    expect([m.run(N), m.regions, m.used]).toEqual([LOOPED, 0, 0]);
  });

  describe.each(['at once', 'elsewhere'] as const)(
    'that is damaged is as good as none (compiled %s)',
    (how) => {
      const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
      const compile =
        how === 'at once'
          ? undefined
          : (code: Uint8Array) =>
              // as V8 does: an error comes later
              settled().then(() => new WebAssembly.Module(code as BufferSource));

      /** Has a guest run with what `damage` makes of the regions; gives the machine when it has settled. */
      async function runWith(damage: (region: Uint8Array) => Uint8Array): Promise<[Machine, string[]]> {
        const store = new Collisions();
        for (const region of filled().regions) store.keep(0, damage(region.slice()));
        const warnings: string[] = [];
        const tracer = new Tracer();
        tracer.onWarning = (_who, message) => void warnings.push(message);
        const m = new Machine(store, { hot: 40, compile, tracer }).write(CODE, LOOP);
        for (let n = 0; n < 8; n++) {
          expect(m.run(N)).toBe(LOOPED);
          m.cpu.translator.flush();
          await settled();
          await settled();
        }
        // it has been translated here
        expect(m.regions).toBeGreaterThan(0);
        expect(m.regions - m.used).toBe(m.kept);
        expect(m.cpu.stats()['regionRuns']).toBeGreaterThan(0);
        return [m, warnings];
      }

      it('cut short', async () => {
        const [m] = await runWith((region) => region.subarray(0, region.length - 1));
        expect(m.used).toBe(0);
      });

      it('emptied', async () => {
        const [m] = await runWith((region) => region.fill(0));
        expect(m.used).toBe(0);
      });

      it('with code that V8 does not take', async () => {
        const [, warnings] = await runWith((region) => {
          const { written } = decodeRegion(region);
          // a view of the region
          written.body.fill(0xff, 2);
          return region;
        });
        expect(warnings).toHaveLength(1);
        expect(warnings[0]).toMatch(/not used: .*Compil/);
      });

      it('with a symbol that nothing is known of', async () => {
        const [m, warnings] = await runWith((region) => {
          const { fixups } = decodeRegion(region).written;
          // the last number of all: now a function of the runtime that there is not
          const [before, now] = [new ByteWriter(), new ByteWriter()];
          before.s32(fixups.at(-1)!);
          now.s32(-10_000);
          return Uint8Array.of(...region.subarray(0, region.length - before.length), ...now.finish());
        });
        expect([m.used, warnings]).toEqual([0, []]);
      });
    },
  );
});
