/** Paging: walks of every kind with their fault codes, accessed and dirty bits, TLBs, and pages that hold code. */
import { describe, expect, it } from 'vitest';
import { DEVICE, PTE, ROM_AT, ROOT, SystemMachine } from '../../test/x86/system-machine.ts';
import * as L from './layout.ts';

const READ = 0;
const WRITE = 1;
const EXEC = 2;
const { P, W, U, A, D, PS, NX } = PTE;
const RW = P | W;
const PAGE = 0x5000;
const VA = 0x7f12_3456_7000n;

const CR0_WP = 0x10000n;
const CR4_SMEP = 0x100000n;
const CR4_SMAP = 0x200000n;

/** Sets bits of a control register and what depends on them. */
function set(machine: SystemMachine, register: number, bits: bigint): void {
  machine.set64(register, machine.get64(register) | bits);
  machine.call('updateMode');
  machine.call('tlbReset');
}

function fill(machine: SystemMachine, va: bigint, access: number): number {
  return (machine.call('tlbFill', va, access) as number) >>> 0;
}

/** The error code of the #PF that an access raises, or 'ok'. CR2 must be the address. */
function fault(machine: SystemMachine, va: bigint, access: number): number | 'ok' {
  machine.set64(L.CR2, 0);
  if (fill(machine, va, access) !== 0) return 'ok';
  const [vector, error] = machine.exception;
  expect(vector).toBe(14);
  expect(machine.get64(L.CR2)).toBe(va);
  return error;
}

describe('4-level paging', () => {
  it('finds 4 KiB, 2 MiB and 1 GiB pages', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW);
    m.map(0x40_0000, 0x20_0000, RW, 2);
    m.map(0x80_0000_0000, 0, RW, 3);
    expect(fill(m, VA + 0x123n, READ)).toBe(L.RAM_BASE + PAGE + 0x123);
    expect(fill(m, 0x41_2345n, READ)).toBe(L.RAM_BASE + 0x21_2345);
    expect(fill(m, 0x80_0012_3456n, READ)).toBe(L.RAM_BASE + 0x12_3456);
  });

  it('gives the error code of each violation', () => {
    const m = new SystemMachine().longMode();
    expect(fault(m, VA, READ)).toBe(0);
    expect(fault(m, VA, WRITE)).toBe(2);
    expect(fault(m, VA, EXEC)).toBe(16);
    const user = new SystemMachine().longMode(3);
    user.map(VA, PAGE, RW);
    user.map(VA + 0x1000n, PAGE, P | U);
    user.map(VA + 0x2000n, PAGE, P | U | NX);
    expect(fault(user, VA, READ)).toBe(5);
    expect(fault(user, VA, WRITE)).toBe(7);
    expect(fault(user, VA, EXEC)).toBe(21);
    expect(fault(user, VA + 0x1000n, READ)).toBe('ok');
    expect(fault(user, VA + 0x1000n, WRITE)).toBe(7);
    expect(fault(user, VA + 0x2000n, EXEC)).toBe(21);
    expect(fault(user, VA + 0x3000n, WRITE)).toBe(6);
  });

  it('lets the supervisor write read-only pages unless CR0.WP', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, P);
    expect(fault(m, VA, WRITE)).toBe('ok');
    set(m, L.CR0, CR0_WP);
    expect(fault(m, VA, WRITE)).toBe(3);
    expect(fault(m, VA, READ)).toBe('ok');
  });

  it('SMEP: the supervisor does not execute user pages', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW | U);
    expect(fault(m, VA, EXEC)).toBe('ok');
    set(m, L.CR4, CR4_SMEP);
    expect(fault(m, VA, EXEC)).toBe(17);
    expect(fault(m, VA, READ)).toBe('ok');
  });

  it('SMAP: the supervisor touches user pages only with RFLAGS.AC', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW | U);
    set(m, L.CR4, CR4_SMAP);
    expect(fault(m, VA, READ)).toBe(1);
    expect(fault(m, VA, WRITE)).toBe(3);
    expect(m.exec('0f01cb')).toBe(L.NEXT); // STAC
    expect(fault(m, VA, WRITE)).toBe('ok');
    expect(m.exec('0f01ca')).toBe(L.NEXT); // CLAC
    expect(fault(m, VA, READ)).toBe(1);
  });

  it('faults on reserved bits with RSVD', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW | (1n << 40n));
    expect(fault(m, VA, READ)).toBe(9);
    m.map(0x40_0000, 0x20_0000 | 0x4000, RW, 2);
    expect(fault(m, 0x40_0000n, WRITE)).toBe(11);
    // PS in a PML4 entry
    m.setPhys64(ROOT + 8, BigInt(ROOT + 0x1000) | RW | PS);
    expect(fault(m, 0x80_0000_0000n, READ)).toBe(9);
    // NX without EFER.NXE
    m.map(VA + 0x1000n, PAGE, RW | NX);
    m.set64(L.EFER, 0x501);
    expect(fault(m, VA + 0x1000n, READ)).toBe(9);
  });

  it('sets accessed bits on the way, the dirty bit on a write', () => {
    const m = new SystemMachine().longMode();
    const slot = m.map(VA, PAGE, RW);
    fill(m, VA, READ);
    expect(m.phys64(slot) & (A | D)).toBe(A);
    expect(m.phys64(ROOT + Number((VA >> 39n) & 511n) * 8) & A).toBe(A);
    m.call('storeSlow8', VA, 1);
    expect(m.phys64(slot) & (A | D)).toBe(A | D);
  });

  it('a write after a read on a clean page still sets the dirty bit', () => {
    const m = new SystemMachine().longMode();
    const slot = m.map(VA, PAGE, RW);
    m.call('loadSlow', VA, 4);
    const entry = m.get32(L.TLB_BASE) + Number((VA >> 12n) & BigInt(L.TLB_ENTRIES - 1)) * 32;
    expect(m.get64(entry + L.TLB_READ)).toBe(VA);
    expect(m.get64(entry + L.TLB_WRITE)).toBe(1n);
    m.call('storeSlow32', VA, 5);
    expect(m.phys64(slot) & D).toBe(D);
    expect(m.get64(entry + L.TLB_WRITE)).toBe(VA);
  });

  it('raises #GP(0) for a non-canonical address', () => {
    const m = new SystemMachine().longMode();
    expect(fill(m, 0x8000_0000_0000n, READ)).toBe(0);
    expect(m.exception).toEqual([13, 0]);
  });

  it('raises nothing in a region', () => {
    const m = new SystemMachine().longMode();
    m.set32(L.IN_REGION, 1);
    m.set32(L.EXC_VECTOR, 99);
    expect(m.call('loadSlow', VA, 4)).toBe(0);
    expect(m.call('storeSlow32', VA, 4)).toBe(0);
    expect(m.call('loadSlow', 0x8000_0000_0000n, 4)).toBe(0);
    expect(m.exception[0]).toBe(99);
    expect(m.get64(L.CR2)).toBe(0n);
  });

  it('a user program fills another table than the supervisor', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW);
    fill(m, VA, READ);
    m.set32(L.CPL, 3);
    m.call('updateMode');
    expect(m.get32(L.TLB_BASE)).toBe(L.TLB + 2 * L.TLB_BYTES);
    expect(m.call('translate', VA, READ)).toBe(0);
    expect(m.exception).toEqual([14, 5]);
  });
});

describe('other kinds of paging', () => {
  it('5-level', () => {
    const m = new SystemMachine().longMode();
    m.set64(L.CR4, m.get64(L.CR4) | 0x1000n);
    const va = 0x12_3456_789a_b000n;
    m.map(va, PAGE, RW, 1, 5);
    expect(fill(m, va + 8n, READ)).toBe(L.RAM_BASE + PAGE + 8);
    expect(fault(m, va + 0x1000n, READ)).toBe(0);
    expect(fill(m, 0x100_0000_0000_0000n, READ)).toBe(0);
    expect(m.exception).toEqual([13, 0]);
  });

  it('PAE', () => {
    const m = new SystemMachine().flat32();
    m.set64(L.CR3, ROOT);
    m.set64(L.CR4, 0x20);
    m.set64(L.CR0, 0x80000011);
    m.setPhys64(ROOT + 3 * 8, 0x101000n | P);
    m.setPhys64(0x101000, 0x102000n | RW | U);
    m.setPhys64(0x102000 + 5 * 8, BigInt(PAGE) | RW);
    m.setPhys64(0x101000 + 8, 0x20_0000n | RW | PS);
    expect(fill(m, 0xc000_5010n, READ)).toBe(L.RAM_BASE + PAGE + 0x10);
    expect(fill(m, 0xc020_1234n, READ)).toBe(L.RAM_BASE + 0x20_1234);
    expect(fault(m, 0x1000n, WRITE)).toBe(2);
    // SDM 3A table 4-11: bits 52 to 62 are reserved here, others than with 4 levels
    m.setPhys64(0x102000 + 6 * 8, BigInt(PAGE) | RW | (1n << 52n));
    expect(fault(m, 0xc000_6000n, READ)).toBe(9);
    m.setPhys64(0x102000 + 6 * 8, BigInt(PAGE) | RW | (1n << 62n));
    expect(fault(m, 0xc000_6000n, READ)).toBe(9);
    m.setPhys64(ROOT + 3 * 8, 0x101000n | RW);
    m.call('tlbFlush');
    expect(fault(m, 0xc000_5000n, READ)).toBe(9);
  });

  it('32-bit with 4 MiB pages', () => {
    const m = new SystemMachine().flat32();
    m.set64(L.CR3, ROOT);
    m.set64(L.CR4, 0x10);
    m.set64(L.CR0, 0x80000011);
    m.setPhys32(ROOT + 0x300 * 4, 0x101007);
    m.setPhys32(0x101000 + 5 * 4, PAGE | 3);
    m.setPhys32(ROOT + 4, 0x400083);
    expect(fill(m, 0xc000_5010n, WRITE)).toBe(L.RAM_BASE + PAGE + 0x10);
    expect(m.phys32(0x101000 + 5 * 4) & 0x60).toBe(0x60);
    expect(fill(m, 0x41_2345n, READ)).toBe(L.RAM_BASE + 0x41_2345);
    m.setPhys32(ROOT + 4, 0x200083); // bit 21
    expect(fault(m, 0x40_0000n, READ)).toBe(9);
  });

  it('none', () => {
    const m = new SystemMachine();
    expect(fill(m, 0x1_0000_1234n, WRITE)).toBe(L.RAM_BASE + 0x1234);
  });
});

describe('the TLB', () => {
  it('remembers until INVLPG, and forgets all of a large page', () => {
    const m = new SystemMachine().longMode();
    const slot = m.map(VA, PAGE, RW);
    const large = m.map(0x40_0000, 0x20_0000, RW, 2);
    fill(m, VA, READ);
    fill(m, 0x40_1000n, READ);
    fill(m, 0x40_2000n, READ);
    m.setPhys64(slot, 0);
    m.setPhys64(large, 0);
    expect(m.call('translate', VA, READ)).not.toBe(0);
    m.call('tlbFlushPage', VA);
    expect(m.call('translate', VA, READ)).toBe(0);
    expect(m.call('translate', 0x40_2000n, READ)).not.toBe(0);
    m.call('tlbFlushPage', 0x40_1000n);
    expect(m.call('translate', 0x40_2000n, READ)).toBe(0);
  });

  it('forgets everything on a CR3 load', () => {
    const m = new SystemMachine().longMode().identity();
    const slot = m.map(VA, PAGE, RW);
    fill(m, VA, READ);
    m.setPhys64(slot, 0);
    m.set64(L.RAX, ROOT);
    m.set64(L.RIP, 0x8000);
    expect(m.exec('0f22d8')).toBe(L.END_BLOCK);
    expect(m.rip).toBe(0x8003n);
    expect(m.call('translate', VA, READ)).toBe(0);
  });

  it('remembers page tables until INVLPG of any address, but no fault comes of that', () => {
    const m = new SystemMachine().longMode();
    set(m, L.CR0, CR0_WP);
    for (let n = 0; n < 4; n++) m.map(VA + BigInt(n) * 0x1000n, PAGE, RW);
    const slot = ROOT + Number((VA >> 39n) & 511n) * 8;
    const entry = m.phys64(slot);
    fill(m, VA, READ);
    m.setPhys64(slot, 0);
    expect(fault(m, VA + 0x1000n, READ)).toBe('ok');
    m.call('tlbFlushPage', 0n);
    expect(fault(m, VA + 0x2000n, READ)).toBe(0);
    m.setPhys64(slot, entry & ~W);
    expect(fault(m, VA + 0x2000n, WRITE)).toBe(3);
    expect(fault(m, VA + 0x2000n, READ)).toBe('ok');
    m.setPhys64(slot, entry);
    expect(fault(m, VA + 0x3000n, WRITE)).toBe('ok');
  });

  it('keeps global pages over a CR3 load, until CR4.PGE changes or INVLPG', () => {
    const m = new SystemMachine().longMode().identity();
    set(m, L.CR4, 0x80n);
    const global = m.map(VA, PAGE, RW | PTE.G);
    const local = m.map(VA + 0x1000n, PAGE, RW);
    const other = m.map(VA + 0x2000n, PAGE, RW | PTE.G);
    for (const n of [0n, 1n, 2n]) fill(m, VA + n * 0x1000n, READ);
    for (const slot of [global, local, other]) m.setPhys64(slot, 0);
    m.set64(L.RAX, ROOT);
    m.set64(L.RIP, 0x8000);
    m.exec('0f22d8');
    expect(m.call('translate', VA, READ)).not.toBe(0);
    expect(m.call('translate', VA + 0x1000n, READ)).toBe(0);
    m.call('tlbFlushPage', VA);
    expect(m.call('translate', VA, READ)).toBe(0);
    expect(m.call('translate', VA + 0x2000n, READ)).not.toBe(0);
    m.set64(L.RAX, 0x220);
    m.exec('0f22e0');
    expect(m.call('translate', VA + 0x2000n, READ)).toBe(0);
  });

  it('makes the jump cache forget code of the ring that an INVLPG concerns, and nothing for pages of data', () => {
    const m = new SystemMachine().longMode();
    const [program, kernel, data] = [VA, VA + 0x1000n, VA + 0x2000n];
    m.map(program, PAGE, RW | PTE.U);
    m.map(kernel, PAGE, RW);
    m.map(data, PAGE, RW | PTE.NX);
    const generations = (): number[] => [0, 4].map((offset) => m.get32(L.JUMP_GENERATION + offset));
    const ring = (cpl: number): void => {
      m.set32(L.CPL, cpl);
      m.call('updateMode');
    };
    /** Whether code below CPL 3, and at CPL 3, is forgotten. */
    const forgets = (page: bigint): boolean[] => {
      const before = generations();
      m.call('tlbFlushPage', page);
      return generations().map((now, i) => now !== before[i]);
    };
    set(m, L.EFER, 0xd00n);
    ring(3);
    fill(m, program, EXEC);
    ring(0);
    fill(m, kernel, EXEC);
    fill(m, data, READ);
    expect(forgets(data)).toEqual([false, false]);
    expect(forgets(program)).toEqual([false, true]);
    expect(forgets(kernel)).toEqual([true, false]);
    // SMEP is off: the kernel may run a program's pages, too
    fill(m, program, EXEC);
    expect(forgets(program)).toEqual([true, true]);
  });

  it('never calls a generation of the jump cache 0, and begins again with an empty one', () => {
    const m = new SystemMachine().longMode();
    for (const offset of [0, 4]) {
      m.set32(L.JUMP_GENERATION + offset, 2 ** 23 - 1);
      m.set64(L.JUMP_CACHE, 0x1234n);
      m.call('tlbFlush');
      expect(m.get32(L.JUMP_GENERATION + offset)).toBe(1);
      expect(m.get64(L.JUMP_CACHE)).toBe(0n);
    }
  });

  it('a page that becomes code loses its write entries', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW);
    m.map(VA + 0x1000n, PAGE + 0x1000, RW);
    m.call('storeSlow8', VA, 1);
    m.call('storeSlow8', VA + 0x1000n, 1);
    m.call('tlbDropWrite', PAGE >> 12);
    const entry = m.get32(L.TLB_BASE) + Number((VA >> 12n) & BigInt(L.TLB_ENTRIES - 1)) * 32;
    expect(m.get64(entry + L.TLB_WRITE)).toBe(1n);
    expect(m.get64(entry + L.TLB_READ)).toBe(VA);
    expect(m.get64(entry + 32 + L.TLB_WRITE)).toBe(VA + 0x1000n);
  });
});

describe('accesses off the fast path', () => {
  it('crossing a page: read, write and read-modify-write', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW);
    m.map(VA + 0x1000n, PAGE + 0x4000, RW);
    const at = VA + 0xffdn;
    expect(m.call('storeSlow64', at, 0x0807060504030201n)).toBe(1);
    expect([...m.bytes(PAGE + 0xffd, 3)]).toEqual([1, 2, 3]);
    expect([...m.bytes(PAGE + 0x4000, 5)]).toEqual([4, 5, 6, 7, 8]);
    expect(m.call('loadSlow', at, 8)).toBe(L.BOUNCE);
    expect(m.get64(L.BOUNCE)).toBe(0x0807060504030201n);
    expect(m.call('rmwSlow', at, 4)).toBe(L.BOUNCE);
    m.set32(L.BOUNCE, 0xaabbccdd);
    expect(m.call('rmwCommit')).toBe(1);
    expect([...m.bytes(PAGE + 0x4000, 2)]).toEqual([0xaa, 5]);
  });

  it('a crossing write that faults in the second page writes nothing', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW);
    expect(m.call('storeSlow32', VA + 0xffen, -1)).toBe(0);
    expect(m.exception).toEqual([14, 2]);
    expect(m.get64(L.CR2)).toBe(VA + 0x1000n);
    expect([...m.bytes(PAGE + 0xffe, 2)]).toEqual([0, 0]);
  });

  it('32-bit linear addresses wrap at 4 GiB', () => {
    const m = new SystemMachine().flat32();
    const entry = L.PAGE_TABLE + 0xfffff * 4;
    m.set32(entry, (L.RAM_BASE + PAGE) | L.PAGE_RAM);
    expect(m.call('storeSlow32', 0xffff_fffen, 0x04030201)).toBe(1);
    expect([...m.bytes(PAGE + 0xffe, 2)]).toEqual([1, 2]);
    expect([...m.bytes(0, 2)]).toEqual([3, 4]);
  });

  it('devices see aligned parts of 1, 2 and 4 bytes, low addresses first', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, DEVICE, RW);
    m.mmio.set(DEVICE + 0x10, 0x11223344).set(DEVICE + 0x14, 0x55667788);
    expect(m.call('loadSlow', VA + 0x10n, 8)).toBe(L.BOUNCE);
    expect(m.get64(L.BOUNCE)).toBe(0x5566778811223344n);
    m.call('storeSlow64', VA + 0x20n, 0x0807060504030201n);
    m.call('storeSlow32', VA + 0x31n, 0x04030201);
    m.call('storeSlow16', VA + 0x40n, 0x1234);
    const base = DEVICE.toString(16).slice(0, -2);
    expect(m.log).toEqual([
      `read4 ${base}10`,
      `read4 ${base}14`,
      `write4 ${base}20 4030201`,
      `write4 ${base}24 8070605`,
      `write1 ${base}31 1`,
      `write2 ${base}32 302`,
      `write1 ${base}34 4`,
      `write2 ${base}40 1234`,
    ]);
  });

  it('devices are not reached from a region', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, DEVICE, RW);
    m.set32(L.IN_REGION, 1);
    expect(m.call('loadSlow', VA, 4)).toBe(0);
    expect(m.call('storeSlow32', VA, 4)).toBe(0);
    expect(m.call('rmwSlow', VA, 4)).toBe(0);
    expect(m.log).toEqual([]);
  });

  it('ROM reads and ignores writes', () => {
    const m = new SystemMachine().longMode();
    m.map(VA, ROM_AT, RW);
    const rom = L.RAM_BASE + 16 * 2 ** 20;
    m.set32(rom, 0xfeedface);
    expect(m.call('storeSlow32', VA, 1)).toBe(1);
    expect(m.call('loadSlow', VA, 4)).toBe(rom);
    expect(m.get32(rom)).toBe(0xfeedface);
  });
});

describe('pages that hold decoded instructions', () => {
  function codePage(): SystemMachine {
    const m = new SystemMachine().longMode();
    m.map(VA, PAGE, RW);
    const entry = L.PAGE_TABLE + (PAGE >> 12) * 4;
    m.set32(entry, m.get32(entry) | L.PAGE_CODE);
    m.set64(L.CODE_LINES + (PAGE >> 12) * 8, (1n << 2n) | (1n << 40n)); // bytes 80h-BFh, A00h-A3Fh
    return m;
  }

  it('writes beside the instructions go through, without an entry in the TLB', () => {
    const m = codePage();
    expect(m.call('storeSlow32', VA + 0xc0n, 7)).toBe(1);
    expect(m.phys32(PAGE + 0xc0)).toBe(7);
    expect(m.log).toEqual([]);
    expect(m.get32(L.BREAK)).toBe(0);
    const entry = m.get32(L.TLB_BASE) + Number((VA >> 12n) & BigInt(L.TLB_ENTRIES - 1)) * 32;
    expect(m.get64(entry + L.TLB_WRITE)).toBe(1n);
  });

  it('writes over instructions tell the host which bytes and break the block', () => {
    const m = codePage();
    expect(m.call('storeSlow32', VA + 0xa3en, 7)).toBe(1);
    expect(m.phys32(PAGE + 0xa3e)).toBe(7);
    expect(m.log).toEqual(['invalidate 5 a3e+4']);
    expect(m.get32(L.BREAK)).toBe(1);
  });

  it('a write that touches two lines is told of when one holds instructions', () => {
    const m = codePage();
    m.call('storeSlow64', VA + 0x7cn, -1n);
    expect(m.log).toEqual(['invalidate 5 7c+8']);
  });

  it('in a region they fail over instructions only', () => {
    const m = codePage();
    m.set32(L.IN_REGION, 1);
    expect(m.call('storeSlow32', VA + 0xc0n, 7)).toBe(1);
    expect(m.call('storeSlow32', VA + 0x80n, 7)).toBe(0);
    expect(m.call('rmwSlow', VA + 0x80n, 4)).toBe(0);
    expect(m.phys32(PAGE + 0x80)).toBe(0);
    expect(m.log).toEqual([]);
  });
});
