/**
 * What the fast ways through the kernel must not lose: translated code found by linear address while address spaces
 * change, and the instruction after STI, in front of which no interrupt comes.
 */
import { describe, expect, it } from 'vitest';
import * as L from '../../src/x86/layout.ts';
import { makeProcessor } from './differential/guest.ts';
import { CODE, hex, little, runFunction, setHandler, writeU64 } from './long-mode.ts';

/** Two address spaces: low memory is mapped to itself in both; VIRTUAL goes to ONE or to TWO. */
const SPACES = [0x1000, 0x5000] as const;
const VIRTUAL = 0x40_0000;
const ONE = 0x12_000;
const TWO = 0x13_000;
const HANDLER = 0x31_000;
const VECTOR = 0x40;
const GLOBAL = 0x100;
const CR4_PAE_PGE = 0xa0n;

class Machine {
  readonly cpu;
  readonly view: DataView;
  onOut: () => void = () => {};
  acknowledged = 0;

  /** @param flags of the pages at VIRTUAL and of those around, beside present and writable */
  constructor(hotThreshold: number, flags: { virtual: number; low: number }) {
    this.cpu = makeProcessor(hotThreshold, {
      writePort: () => this.onOut(),
      acknowledgeInterrupt: () => {
        this.acknowledged++;
        this.cpu.setInterrupt(false);
        return VECTOR;
      },
    });
    this.view = new DataView(this.cpu.engine.memory.buffer);
    for (const [n, root] of SPACES.entries()) {
      this.u64(root, (root + 0x1000) | 3);
      this.u64(root + 0x1000, (root + 0x2000) | 3);
      this.u64(root + 0x2000, 0x83 | flags.low);
      this.u64(root + 0x2000 + 16, (root + 0x3000) | 3);
      this.u64(root + 0x3000, (n === 0 ? ONE : TWO) | 3 | flags.virtual);
    }
    this.cpu.enter({ mode: 'long', rip: 0n, cr3: BigInt(SPACES[0]) });
    this.view.setBigUint64(L.CR4, CR4_PAE_PGE, true);
    setHandler(this.cpu, VECTOR, HANDLER);
  }

  u64(gpa: number, value: number): void {
    writeU64(this.cpu, gpa, value);
  }

  write(gpa: number, code: string): void {
    this.cpu.guestMemory.write(gpa, hex(code));
  }

  /** Runs CODE to HLT with RCX = `count`; gives RBX. */
  run(count: number, slice: () => number, between: () => void = () => {}): number {
    return runFunction(this.cpu, count, CODE, { slice, most: 100_000, between });
  }
}

const tiers: [string, number][] = [
  ['interpreter', Number.POSITIVE_INFINITY],
  ['translator', 1],
  ['translator, hot in the middle', 3],
];
const N = 60;

describe.each(tiers)('address spaces: %s', (_name, threshold) => {
  const [one, two] = SPACES;
  // mov eax, 1; ret in one space, mov eax, 100; ret in the other
  const functions = (m: Machine): void => {
    m.write(ONE, 'b801000000 c3');
    m.write(TWO, 'b864000000 c3');
  };
  const call = `bf${little(VIRTUAL)} ffd7 01c3`; // mov edi, VIRTUAL; call rdi; add ebx, eax
  const load = (root: number): string => `b8${little(root)} 0f22d8`; // mov eax, root; mov cr3, rax
  const again = (length: number): string => `ffc9 0f85${little(-(length + 8))} f4`; // dec ecx; jnz CODE; hlt
  const program = (...parts: string[]): string => {
    const text = parts.join('').replaceAll(' ', '');
    return text + again(text.length / 2);
  };

  it.each([0, GLOBAL])(
    'finds code by its new mapping after MOV CR3, beside other pages of flags %i',
    (low) => {
      const m = new Machine(threshold, { virtual: 0, low });
      functions(m);
      m.write(CODE, program(call, load(two), call, load(one)));
      expect(m.run(N, () => 1000)).toBe(101 * N);
      expect(m.run(N, () => 17)).toBe(101 * N);
    },
  );

  it('finds code of global pages by its new mapping after INVLPG', () => {
    const m = new Machine(threshold, { virtual: GLOBAL, low: GLOBAL });
    functions(m);
    const forget = `0f013c25${little(VIRTUAL)}`; // invlpg [VIRTUAL]
    m.write(CODE, program(call, load(two), forget, call, load(one), forget));
    expect(m.run(N, () => 1000)).toBe(101 * N);
  });

  it('finds code that its page table entry was changed for, after INVLPG', () => {
    const m = new Machine(threshold, { virtual: 0, low: GLOBAL });
    functions(m);
    // mov dword [entry], page | 3; invlpg [VIRTUAL]
    const map = (page: number): string =>
      `c70425${little(SPACES[0] + 0x3000)}${little(page | 3)} 0f013c25${little(VIRTUAL)}`;
    m.write(CODE, program(map(ONE), call, map(TWO), call));
    expect(m.run(N, () => 1000)).toBe(101 * N);
  });

  it('finds data that its page table entry was changed for, after INVLPG, more pages than are noted included', () => {
    const m = new Machine(threshold, { virtual: 0, low: GLOBAL });
    m.u64(ONE, 1);
    m.u64(TWO, 100);
    const add = `031c25${little(VIRTUAL)}`; // add ebx, [VIRTUAL]
    m.write(CODE, program(add, load(two), add, load(one)));
    expect(m.run(N, () => 1000)).toBe(101 * N);
    // 1500 pages, each to ONE: 3 page tables at 20_0000h + …
    for (let n = 0; n < 1536; n++) m.u64(0x38_000 + 8 * n, ONE | 3);
    for (let n = 0; n < 3; n++) m.u64(SPACES[0] + 0x2000 + 8 * (4 + n), (0x38_000 + 0x1000 * n) | 3);
    // mov esi, 80_0000h; l: mov eax, [rsi]; add esi, 1000h; cmp esi, 80_0000h + 1500 pages; jne l
    const touch = `be${little(0x80_0000)} 8b06 81c600100000 81fe${little(0x80_0000 + 1500 * 4096)} 75f0`;
    m.write(CODE, program(touch, add, load(two), add, load(one)));
    expect(m.run(N, () => 5000)).toBe(101 * N);
  });
});

describe.each(tiers)('STI: %s', (_name, threshold) => {
  // pop rsi; push rsi; inc ebx; cmp si, low half of …: see below
  const handler = (forbidden: number): string =>
    // cmp qword [rsp], forbidden; jne +3; or r15, -1 (sign-extended); inc ebx; iretq
    `48813c24${little(forbidden)} 7504 4983cfff ffc3 48cf`;

  it('lets one instruction go before an interrupt that was waiting', () => {
    const m = new Machine(threshold, { virtual: 0, low: GLOBAL });
    // cli; out 80h, al; sti; inc edx; dec ecx; jnz CODE; hlt
    m.write(CODE, 'fa e680 fb ffc2 ffc9 75f6 f4');
    m.write(HANDLER, handler(CODE + 4));
    m.onOut = () => m.cpu.setInterrupt(true);
    expect(m.run(N, () => 1000)).toBe(N);
    expect(m.view.getBigUint64(L.GPR + 120, true)).toBe(0n);
  });

  it('lets one instruction go before an interrupt that comes between slices', () => {
    for (const body of ['fb ffc2 ffc9 75f9', 'eb01 fb ffc2 ffc9 75f9', 'ffc2 fa fb ffc9 75f8']) {
      const m = new Machine(threshold, { virtual: 0, low: GLOBAL });
      const code = `fa ${body} f4`.replaceAll(' ', '');
      m.write(CODE, code);
      const sti = code.match(/../g)!.indexOf('fb');
      m.write(HANDLER, handler(CODE + sti + 1));
      let length = 1;
      // a jump back behind CLI leaves interrupts on; where they were on, STI holds nothing off
      let early = 0;
      const rip = (): number => Number(m.view.getBigUint64(L.RIP, true));
      const on = (): boolean => (m.view.getInt32(L.EFLAGS, true) & 0x200) !== 0;
      const slice = (): number => (length = (length % 7) + 1);
      const between = (): void => {
        if (rip() === CODE + sti + 1 && on() && m.view.getInt32(L.SHADOW, true) === 0) early++;
        else m.cpu.setInterrupt(true);
      };
      const count = m.run(400, slice, between);
      expect(count).toBe(m.acknowledged);
      expect(count).toBeGreaterThan(10);
      if (early === 0) expect(m.view.getBigUint64(L.GPR + 120, true)).toBe(0n);
    }
  });
});

// Mixes into RBX: the flags as PUSHF shows them around CLI, STI, STAC, CLAC and arithmetic, bases of FS and GS around
// SWAPGS, selectors; goes through MOV CR3, INVLPG and IRETQ; reads a user page with AC set, and with AC clear, which
// SMAP forbids (the handler of #PF counts in R8 and goes on behind the read).
const SHORT = `
  9c5848c1c3074831c3 669c665848c1c3074831c3 fa9c5848c1c3074831c3 fb9c5848c1c3074831c3 0f01f8f3480faec848c1c3074831c3
  0f01f8 4889da48c1e21148c1fa11f3480faedaf30faed2f3480faec048c1c3074831c3 f30faec848c1c3074831c3 8cd048c1c3074831c3
  668cc848c1c3074831c3 8cd848c1c3074831c3 047f9c5848c1c3074831c3 f99c5848c1c3074831c3 0f20d80f22d8 0f013c2500004000
  0f01cb8b04250000400048c1c3074831c3 9c5848c1c3074831c3 0f01ca9c5848c1c3074831c3 8a042500004000
  8cd050488d442408509c8cc850488d05030000005048cf 9c5848c1c3074831c3 ffc90f8507fffffff4`;

it('does short system instructions in regions as the interpreter does', () => {
  const results = tiers.map(([, threshold]) => {
    const m = new Machine(threshold, { virtual: 4, low: GLOBAL });
    for (const root of SPACES)
      for (const at of [root, root + 0x1000, root + 0x2010])
        m.u64(at, m.cpu.guestMemory.bytes[L.RAM_BASE + at + 1]! * 256 + 7);
    m.view.setBigUint64(L.CR4, CR4_PAE_PGE | 0x21_0000n, true);
    (m.cpu.engine.runtime.updateMode as unknown as () => void)();
    setHandler(m.cpu, 14, HANDLER);
    m.u64(ONE, 0x1234_5678);
    m.write(CODE, SHORT);
    // add rsp, 8; add qword [rsp], 7; inc r8; iretq
    m.write(HANDLER, '4883c408 4883042407 49ffc0 48cf');
    const rbx = m.run(2000, () => 100);
    expect(m.view.getBigUint64(L.GPR + 64, true)).toBe(2000n);
    return rbx;
  });
  expect(results).toEqual(tiers.map(() => results[0]));
  expect(new Set([...results, 0]).size).toBe(2);
});
