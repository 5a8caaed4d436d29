/** What the TLBs hold, and when the jump cache must forget: random fills and flushes beside a model. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { PTE, SystemMachine } from '../../test/x86/system-machine.ts';
import * as L from './layout.ts';

const { P, W, U, G, NX } = PTE;
const RW = P | W;
const CR4_PGE = 0x80n;
const EFER_NXE = 0xd00n;
/** Addresses that are so far from each other have the same place in the TLB. */
const ROUND = BigInt(L.TLB_ENTRIES) * 4096n;
const LARGE = 0x80_0000n;
const KERNEL = 0xffff_8000_0000_0000n;
const WRITABLE_CODE = 0x5000;

/** 4 KiB pages: where, which physical page, with which rights. */
const PAGES: readonly (readonly [bigint, number, bigint])[] = [
  [0x40_0000n, WRITABLE_CODE, RW | U],
  [0x40_1000n, 0x6000, P | U],
  [0x40_0000n + ROUND, 0x7000, RW | U | NX],
  [0x40_0000n + 2n * ROUND, WRITABLE_CODE, RW | U | NX],
  [0x50_0000n, 0x8000, P | U | G],
  [0x60_0000n, 0x9000, RW],
  [LARGE + ROUND, 0xa000, RW | U | NX],
  [KERNEL + 0x40_0000n, 0xb000, RW | G],
  [KERNEL + 0x60_0000n, 0xc000, RW | NX],
  [KERNEL + 0x60_0000n + ROUND, 0xd000, RW],
  [KERNEL + LARGE, WRITABLE_CODE, RW | NX | G],
];
const IN_LARGE = [0n, 0x1000n, 0x1f_f000n].map((offset) => LARGE + offset);
const ADDRESSES = [...PAGES.map(([va]) => va), ...IN_LARGE];
const TAGS = [L.TLB_READ, L.TLB_WRITE, L.TLB_EXEC];

interface Entry {
  readonly page: bigint;
  /** Of TAGS, which are valid. */
  readonly tags: boolean[];
  readonly pfn: number;
  readonly global: boolean;
  readonly large: boolean;
}

/** Code that the jump cache may have found. */
interface Code {
  readonly page: bigint;
  readonly user: boolean;
  readonly global: boolean;
  readonly large: boolean;
}

const covers = ({ page, large }: { page: bigint; large: boolean }, va: bigint): boolean =>
  large ? page >> 21n === va >> 21n : page >> 12n === va >> 12n;

class Tlbs {
  readonly m = new SystemMachine().longMode();
  /** The model: by address of the entry. */
  readonly entries = new Map<number, Entry>();
  readonly #seen = new Set<number>();
  #code: Code[] = [];
  readonly #directoryEntry: number;

  constructor() {
    const { m } = this;
    for (const [va, pa, rights] of PAGES) m.map(va, pa, rights);
    this.#directoryEntry = m.map(LARGE, 0x20_0000, RW | U, 2);
    m.set64(L.CR4, m.get64(L.CR4) | CR4_PGE);
    m.set64(L.EFER, m.get64(L.EFER) | EFER_NXE);
    m.call('updateMode');
    m.call('tlbReset');
  }

  #generations(): { user: number; kernel: number } {
    return { kernel: this.m.get32(L.JUMP_GENERATION), user: this.m.get32(L.JUMP_GENERATION + 4) };
  }

  ring(cpl: number): void {
    this.m.set32(L.CPL, cpl);
    this.m.call('updateMode');
  }

  fill(va: bigint, access: number): void {
    const { m } = this;
    const at = m.get32(L.TLB_BASE) + Number((va >> 12n) & BigInt(L.TLB_ENTRIES - 1)) * 32;
    const found = m.call('tlbFill', va, access) as number;
    if (found === 0) return;
    const page = va & ~0xfffn;
    const tags = TAGS.map((tag) => m.get64(at + tag) === page);
    expect(tags[access]).toBe(true);
    const known = PAGES.find(([start]) => start === page);
    const large = known === undefined && this.#isLarge;
    const global = ((known?.[2] ?? 0n) & G) !== 0n;
    const pfn = (known?.[1] ?? 0x20_0000 + Number(page - LARGE)) >> 12;
    expect(m.get32(at + L.TLB_PFN)).toBe(pfn);
    this.entries.set(at, { page, tags, pfn, global, large });
    this.#seen.add(at);
    const user = m.get32(L.CPL) === 3;
    if (tags[2]!) this.#code.push({ page, user, global, large });
  }

  get #isLarge(): boolean {
    return (this.m.phys64(this.#directoryEntry) & PTE.PS) !== 0n;
  }

  /** The page of 2 MiB becomes pages of 4 KiB in the same place, and back; the TLBs are not told. */
  split(): void {
    const { m } = this;
    const large = 0x20_0000n | RW | U | PTE.PS;
    const table = 0x30_0000;
    for (let n = 0; n < 512; n++) m.setPhys64(table + 8 * n, (0x20_0000n + 4096n * BigInt(n)) | RW | U);
    m.setPhys64(this.#directoryEntry, this.#isLarge ? BigInt(table) | RW | U : large);
    // INVLPG of any address has the processor look at the tables above again
    m.call('tlbFlushPage', 0n);
  }

  #drop(which: (entry: Entry) => boolean): void {
    for (const [at, entry] of this.entries) if (which(entry)) this.entries.delete(at);
  }

  /** What must be forgotten by the jump cache now, and what is. */
  #forget(which: (code: Code) => boolean, act: () => void): void {
    const before = this.#generations();
    act();
    const after = this.#generations();
    for (const code of this.#code.filter(which))
      expect(code.user ? after.user !== before.user : after.kernel !== before.kernel).toBe(true);
    this.#code = this.#code.filter((code) => !which(code));
  }

  invalidate(va: bigint): void {
    const before = this.#generations();
    const executed = this.#code.some((code) => code.page >> 21n === va >> 21n);
    this.#forget(
      (code) => covers(code, va),
      () => this.m.call('tlbFlushPage', va),
    );
    this.#drop((entry) => covers(entry, va));
    const data = PAGES.some(([page, , rights]) => page === va && (rights & NX) !== 0n);
    if (data && !executed) expect(this.#generations()).toEqual(before);
  }

  loadCr3(): void {
    const anyGlobal = [...this.entries.values()].some(({ global }) => global);
    this.#forget(
      ({ global }) => !global,
      () => this.m.call('tlbFlushLocal'),
    );
    this.#drop(({ global }) => !global || !anyGlobal);
  }

  flush(): void {
    this.#forget(
      () => true,
      () => this.m.call('tlbFlush'),
    );
    this.entries.clear();
  }

  decode(pfn: number): void {
    this.m.call('tlbDropWrite', pfn);
    for (const entry of this.entries.values()) if (entry.pfn === pfn) entry.tags[1] = false;
  }

  check(): void {
    for (const at of this.#seen) {
      const entry = this.entries.get(at);
      const tags = TAGS.map((tag) => this.m.get64(at + tag));
      const valid = tags.map((tag) => (tag & 0xfffn) === 0n);
      expect(valid).toEqual(entry?.tags ?? [false, false, false]);
      for (const [i, tag] of tags.entries()) if (valid[i]!) expect(tag).toBe(entry!.page);
    }
  }
}

const address = fc.constantFrom(...ADDRESSES);
const action = fc.oneof(
  { weight: 8, arbitrary: fc.tuple(fc.constant('fill' as const), address, fc.nat(2)) },
  { weight: 3, arbitrary: fc.tuple(fc.constant('invalidate' as const), address, fc.constant(0)) },
  { weight: 2, arbitrary: fc.tuple(fc.constant('ring' as const), fc.constantFrom(0n, 3n), fc.constant(0)) },
  {
    weight: 2,
    arbitrary: fc.tuple(fc.constantFrom('loadCr3' as const, 'decode' as const), address, fc.constant(0)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constantFrom('flush' as const, 'split' as const), address, fc.constant(0)),
  },
);

it('hold what was filled until it must go, whatever comes in between', () => {
  fc.assert(
    fc.property(fc.array(action, { minLength: 1, maxLength: 200 }), (actions) => {
      const tlbs = new Tlbs();
      for (const [what, va, access] of actions) {
        if (what === 'fill') tlbs.fill(va, access);
        else if (what === 'ring') tlbs.ring(Number(va));
        else if (what === 'decode') tlbs.decode(WRITABLE_CODE >> 12);
        else if (what === 'invalidate') tlbs.invalidate(va);
        else tlbs[what]();
        tlbs.check();
      }
    }),
    { numRuns: 1000 },
  );
});
