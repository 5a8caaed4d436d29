/** Segment loads, control registers and mode switches, MSRs, flags, frames and the other system instructions. */
import { describe, expect, it } from 'vitest';
import {
  CODE32,
  CODE64,
  DATA32,
  GDT_AT,
  KERNEL_CODE,
  KERNEL_DATA,
  PTE,
  ROOT,
  SEGMENT,
  SystemMachine,
  TSS_AT,
  USER_DATA,
} from '../../test/x86/system-machine.ts';
import { buildCpuid } from './cpuid.ts';
import * as L from './layout.ts';

const { P, W, U } = PTE;
const CODE = 0x8000n;
const STACK = 0x9000n;

function long(cpl = 0): SystemMachine {
  const m = new SystemMachine()
    .longMode(cpl)
    .identity(P | W | U)
    .tables(CODE64);
  m.set64(L.RSP, STACK);
  m.set64(L.RIP, CODE);
  return m;
}

function flat(cpl = 0): SystemMachine {
  const m = new SystemMachine().flat32(cpl).tables(CODE32);
  m.set64(L.RSP, STACK);
  m.set64(L.RIP, CODE);
  return m;
}

/** The exception that an instruction raises. */
function raises(m: SystemMachine, code: string): [number, number] {
  const { rip, rsp } = m;
  expect(m.exec(code), code).toBe(L.EXCEPTION);
  expect([m.rip, m.rsp]).toEqual([rip, rsp]);
  return m.exception;
}

describe('loading segment registers', () => {
  it('reads the descriptor and sets its accessed bit', () => {
    const m = flat();
    m.setPhys64(GDT_AT + 0x30, 0x12cf_9234_5678_ffffn & ~(1n << 40n));
    m.set64(L.RAX, 0x30);
    expect(m.exec('8ed8')).toBe(L.END_BLOCK); // no longer flat
    expect(m.get64(L.SEG_BASE + 24)).toBe(0x12345678n);
    expect(m.get32(L.SEG_LIMIT + 12)).toBe(0xffffffff);
    expect(m.get32(L.SEG_ATTR + 12)).toBe(0xc093);
    expect((m.phys64(GDT_AT + 0x30) >> 40n) & 1n).toBe(1n);
    expect(m.get32(L.MODE) & L.MODE_FLAT).toBe(0);
    expect(m.exec('8ed8')).toBe(L.NEXT);
  });

  it('checks as the manual lists', () => {
    const attempt = (selector: number, code = '8ed8', cpl = 0): [number, number] => {
      const m = flat(cpl);
      m.setPhys64(GDT_AT + 0x30, 0x0000_1300_0000_ffffn); // data, not present
      m.set64(L.RAX, selector);
      return raises(m, code);
    };
    expect(attempt(0x100)).toEqual([13, 0x100]);
    expect(attempt(0x30)).toEqual([11, 0x30]);
    expect(attempt(0x28)).toEqual([13, 0x28]);
    expect(attempt(KERNEL_DATA, '8ed8', 3)).toEqual([13, KERNEL_DATA]);
    expect(attempt(KERNEL_DATA | 3, '8ed8')).toEqual([13, KERNEL_DATA]);
    expect(attempt(0, '8ed0')).toEqual([13, 0]);
    expect(attempt(KERNEL_CODE, '8ed0')).toEqual([13, KERNEL_CODE]);
    expect(attempt(USER_DATA, '8ed0')).toEqual([13, USER_DATA & ~3]);
    expect(attempt(0x30, '8ed0')).toEqual([12, 0x30]);
    expect(attempt(0x34)).toEqual([13, 0x34]); // no LDT
    const m = flat();
    m.set64(L.RAX, 8);
    expect(raises(m, '8ec8')).toEqual([6, -1]);
  });

  it('MOV SS holds interrupts off for one instruction', () => {
    const m = flat();
    m.set64(L.RAX, KERNEL_DATA);
    expect(m.exec('8ed0')).toBe(L.END_BLOCK);
    expect(m.get32(L.SHADOW)).toBe(L.SHADOW_STACK);
  });

  it('null: allowed in DS, then an access is a #GP; in 64-bit mode also in SS below ring 3', () => {
    const m = flat();
    m.exec('8ed8');
    expect(m.call('segLinear', SEGMENT.DS, 0x10n, 4, 0)).toBe(-1n);
    expect(m.exception).toEqual([13, 0]);
    expect(long().exec('8ed0')).toBe(L.END_BLOCK);
    expect(raises(long(3), '8ed0')).toEqual([13, 0]);
  });

  it('PUSH and POP, far pointers', () => {
    const m = long();
    m.exec('0fa0');
    expect(m.rsp).toBe(STACK - 8n);
    expect(m.phys64(Number(STACK) - 8)).toBe(BigInt(KERNEL_DATA));
    m.setPhys64(Number(STACK) - 8, USER_DATA);
    m.exec('0fa9');
    expect(m.selector(SEGMENT.GS)).toBe(USER_DATA);
    expect(m.rsp).toBe(STACK);
    m.setPhys64(0x5000, 0x0018_1122_3344n - 0x18_0000_0000n + (0x23n << 32n));
    m.exec('0fb40c2500500000');
    expect(m.get64(L.RCX)).toBe(0x11223344n);
    expect(m.selector(SEGMENT.FS)).toBe(0x23);
  });

  it('in real mode keeps limit and rights', () => {
    const m = new SystemMachine();
    m.segment(SEGMENT.DS, 0, 0, 0xffffffff, DATA32);
    m.set64(L.RAX, 0x1234);
    m.exec('8ed8');
    expect(m.get64(L.SEG_BASE + 24)).toBe(0x12340n);
    expect(m.call('segLinear', SEGMENT.DS, 0x10_0000n, 4, 1)).toBe(0x11_2340n);
  });
});

describe('segment limits', () => {
  const check = (
    seg: number,
    offset: number,
    size: number,
    write = 0,
    attr = 0xc093,
    limit = 0xfff,
  ): bigint => {
    const m = flat();
    m.segment(seg, 8, 0x1000, limit, attr);
    return m.call('segLinear', seg, BigInt(offset), size, write) as bigint;
  };
  it('expand-up and expand-down', () => {
    expect(check(SEGMENT.ES, 0xffc, 4)).toBe(0x1ffcn);
    expect(check(SEGMENT.ES, 0xffd, 4)).toBe(-1n);
    expect(check(SEGMENT.ES, 0x1000, 4, 0, 0xc097)).toBe(0x2000n);
    expect(check(SEGMENT.ES, 0xfff, 4, 0, 0xc097)).toBe(-1n);
    expect(check(SEGMENT.ES, 0xfffe, 4, 0, 0x0097)).toBe(-1n);
  });
  it('types', () => {
    expect(check(SEGMENT.ES, 0, 4, 1, 0xc091)).toBe(-1n);
    expect(check(SEGMENT.CS, 0, 4, 1, CODE32)).toBe(-1n);
    expect(check(SEGMENT.CS, 0, 4, 0, 0xc099)).toBe(-1n);
    expect(check(SEGMENT.CS, 0, 4, 0, CODE32)).toBe(0x1000n);
  });
  it('the stack segment raises #SS', () => {
    const m = flat();
    m.segment(SEGMENT.SS, 0x10, 0, 0xff, DATA32);
    expect(m.call('segLinear', SEGMENT.SS, 0x100n, 1, 0)).toBe(-1n);
    expect(m.exception).toEqual([12, 0]);
  });
});

describe('descriptor tables and examining selectors', () => {
  it('LGDT, SGDT, LIDT, SIDT', () => {
    const m = long();
    m.setPhys64(0x5000, 0x8000_0001_2345_0fffn);
    m.setPhys64(0x5008, 0xffff);
    m.exec('0f01142500500000');
    expect([m.get32(L.GDT_LIMIT), m.get64(L.GDT_BASE)]).toEqual([0xfff, 0xffff_8000_0001_2345n]);
    m.exec('0f01042500600000');
    expect([...m.bytes(0x6000, 10)]).toEqual([...m.bytes(0x5000, 10)]);
    const n = flat();
    n.setPhys64(0x5000, 0xaabb_ccdd_eeff_0123n);
    n.exec('660f011d00500000');
    expect([n.get32(L.IDT_LIMIT), n.get64(L.IDT_BASE)]).toEqual([0x123, 0xdd_eeffn]);
    expect(raises(long(3), '0f01142500500000')).toEqual([13, 0]);
  });

  it('LTR marks the TSS busy and refuses a busy one', () => {
    const m = long();
    m.set64(L.RAX, 0x28);
    m.setPhys64(GDT_AT + 0x30, 0xffff_8000n);
    expect(m.exec('0f00d8')).toBe(L.NEXT);
    expect(m.get64(L.SEG_BASE + 8 * SEGMENT.TR)).toBe(0xffff_8000_0000_0000n | BigInt(TSS_AT));
    expect((m.phys64(GDT_AT + 0x28) >> 40n) & 15n).toBe(11n);
    expect(raises(m, '0f00d8')).toEqual([13, 0x28]);
    m.exec('0f00cb');
    expect(m.get64(L.RBX)).toBe(0x28n);
    expect(raises(new SystemMachine(), '0f00d8')).toEqual([6, -1]);
  });

  it('LLDT, then selectors of the LDT', () => {
    const m = flat();
    m.setPhys64(GDT_AT + 0x30, 0x0000_8200_7000_000fn);
    m.setPhys64(0x7008, 0x00cf_9300_0000_ffffn);
    m.set64(L.RAX, 0x30);
    expect(m.exec('0f00d0')).toBe(L.NEXT);
    m.set64(L.RAX, 0x0c);
    expect(m.exec('8ed8')).toBe(L.NEXT);
    m.set64(L.RAX, 0x14);
    expect(raises(m, '8ed8')).toEqual([13, 0x14]);
  });

  it('LAR, LSL, VERR, VERW tell by ZF', () => {
    const m = long();
    const zf = (code: string, selector: number): boolean => {
      m.set64(L.RAX, selector);
      m.set64(L.RCX, 0x77);
      expect(m.exec(code)).toBe(L.NEXT);
      return (m.rflags & 0x40n) !== 0n;
    };
    expect(zf('0f02c8', KERNEL_CODE)).toBe(true);
    expect(m.get64(L.RCX)).toBe(0xaf9b00n);
    expect(zf('0f03c8', KERNEL_CODE)).toBe(true);
    expect(m.get64(L.RCX)).toBe(0xffffffffn);
    expect(zf('0f02c8', 0x1000)).toBe(false);
    expect(m.get64(L.RCX)).toBe(0x77n);
    expect(zf('0f02c8', 0)).toBe(false);
    expect(zf('0f00e0', KERNEL_CODE)).toBe(true);
    expect(zf('0f00e8', KERNEL_CODE)).toBe(false);
    expect(zf('0f00e8', KERNEL_DATA)).toBe(true);
  });
});

describe('control registers', () => {
  it('switch to long mode and back', () => {
    const m = flat();
    m.set64(L.CR3, ROOT);
    m.identity();
    m.set64(L.RAX, 0x20);
    expect(m.exec('0f22e0')).toBe(L.END_BLOCK);
    m.set64(L.RCX, 0xc0000080);
    m.set64(L.RAX, 0x100);
    m.set64(L.RDX, 0);
    expect(m.exec('0f30')).toBe(L.END_BLOCK);
    m.set64(L.RAX, 0x80000011);
    expect(m.exec('0f22c0')).toBe(L.END_BLOCK);
    expect(m.get64(L.EFER)).toBe(0x500n);
    expect(m.get32(L.MODE) & L.MODE_CODE).toBe(1);
    m.set64(L.RAX, 0x11);
    expect(m.exec('0f22c0')).toBe(L.END_BLOCK);
    expect(m.get64(L.EFER)).toBe(0x100n);
  });

  it('switch to protected mode', () => {
    const m = new SystemMachine();
    m.set64(L.RAX, 0x11);
    expect(m.exec('0f22c0')).toBe(L.END_BLOCK);
    expect(m.get32(L.MODE) & L.MODE_PROTECTED).toBe(L.MODE_PROTECTED);
    m.set64(L.RAX, 0);
    m.exec('0f01f0'); // LMSW cannot leave it
    expect(m.get64(L.CR0) & 1n).toBe(1n);
  });

  it('refuse what is reserved or contradictory', () => {
    const cr = (m: SystemMachine, code: string, value: bigint): [number, number] => {
      m.set64(L.RAX, value);
      return raises(m, code);
    };
    const gp = [13, 0];
    expect(cr(long(), '0f22c0', 0x1_8000_0011n)).toEqual(gp);
    expect(cr(long(), '0f22c0', 0x8000_0010n)).toEqual(gp);
    expect(cr(long(), '0f22c0', 0xa000_0011n)).toEqual(gp); // NW without CD
    expect(cr(long(), '0f22c0', 0x11n)).toEqual(gp); // PG in 64-bit mode
    expect(cr(long(), '0f22e0', 0x0n)).toEqual(gp); // PAE in long mode
    expect(cr(long(), '0f22e0', 0x1020n)).toEqual(gp); // LA57 in long mode
    expect(cr(long(), '0f22e0', 0x8020n)).toEqual(gp); // reserved
    expect(cr(long(), '0f22d8', 1n << 45n)).toEqual(gp);
    expect(cr(long(3), '0f22d8', 0n)).toEqual(gp);
    expect(cr(long(), '0f22e8', 0n)).toEqual([6, -1]); // CR5
    const plain = new SystemMachine(buildCpuid({ model: 'qemu64' })).longMode().identity();
    plain.set64(L.RIP, CODE);
    expect(cr(plain, '0f22e0', 0x10_0020n)).toEqual(gp); // SMEP
  });

  it('CR8 is the local APIC’s', () => {
    const m = long();
    m.set64(L.RAX, 9);
    m.exec('440f22c0');
    expect(m.cr8).toBe(9);
    m.exec('440f20c3');
    expect(m.get64(L.RBX)).toBe(9n);
  });

  it('CLTS and EM, TS show in the mode', () => {
    const m = long();
    m.set64(L.RAX, 0x80000019);
    m.exec('0f22c0');
    expect(m.get32(L.MODE) & L.MODE_NO_FPU).toBe(L.MODE_NO_FPU);
    expect(m.exec('0f06')).toBe(L.END_BLOCK);
    expect(m.get32(L.MODE) & L.MODE_NO_FPU).toBe(0);
  });

  it('debug registers', () => {
    const m = long();
    m.set64(L.RAX, 0);
    m.exec('0f23f0');
    m.exec('0f21f1');
    expect(m.get64(L.RCX)).toBe(0xffff0ff0n);
    m.exec('0f23f8');
    m.exec('0f21f9');
    expect(m.get64(L.RCX)).toBe(0x400n);
    m.set64(L.RAX, 1n << 32n);
    expect(raises(m, '0f23f8')).toEqual([13, 0]);
    m.set64(L.CR4, m.get64(L.CR4) | 8n);
    expect(raises(m, '0f21e1')).toEqual([6, -1]);
  });

  it('DR7.GD reports the next access to a debug register', () => {
    const m = long();
    m.gate64(1, 0x6000n);
    m.set64(L.RAX, 0x2000);
    m.exec('0f23f8');
    const { rip } = m;
    m.step('0f21c1');
    expect(m.rip).toBe(0x6000n);
    expect(m.phys64(Number(m.rsp))).toBe(rip);
    expect([m.get64(L.DR + 48) & 0x2000n, m.get64(L.DR + 56)]).toEqual([0x2000n, 0x400n]);
    expect(m.exec('0f21c1')).toBe(L.NEXT);
  });

  it('UMIP keeps SGDT, SLDT, SMSW from ring 3', () => {
    const m = long(3);
    m.set64(L.CR4, m.get64(L.CR4) | 0x800n);
    for (const code of ['0f01042500600000', '0f00c0', '0f01e0']) expect(raises(m, code)).toEqual([13, 0]);
  });
});

describe('model-specific registers', () => {
  const write = (m: SystemMachine, index: number, value: bigint): number => {
    m.set64(L.RCX, index);
    m.set64(L.RAX, value & 0xffff_ffffn);
    m.set64(L.RDX, (value >> 32n) & 0xffff_ffffn);
    return m.exec('0f30');
  };
  const read = (m: SystemMachine, index: number): bigint => {
    m.set64(L.RCX, index);
    expect(m.exec('0f32')).toBe(L.NEXT);
    return (m.get64(L.RDX) << 32n) | m.get64(L.RAX);
  };

  it('keep what is written', () => {
    const m = long();
    for (const index of [
      0xc0000081, 0xc0000082, 0xc0000100, 0xc0000101, 0xc0000102, 0x175, 0x200, 0x250, 0x26f,
    ]) {
      const value = index === 0x250 || index === 0x26f ? 0x0006_0504_0100_0606n : 0x7f_1234_5678n;
      expect(write(m, index, value), index.toString(16)).toBe(L.END_BLOCK);
      expect(read(m, index)).toBe(value);
    }
    expect(m.get64(L.SEG_BASE + 32)).toBe(0x7f_1234_5678n);
  });

  it('refuse non-canonical bases, reserved bits of EFER and unknown types', () => {
    const m = long();
    for (const [index, value] of [
      [0xc0000101, 1n << 57n],
      [0xc0000082, 1n << 63n],
      [0xc0000080, 0x1_0000n],
      [0xc0000080, 0xc01n], // LME off while paging
      [0x277, 0x2n],
      [0x48, 0x8n],
    ] as const) {
      expect(write(m, index, value)).toBe(L.EXCEPTION);
      expect(m.exception).toEqual([13, 0]);
    }
  });

  it('that nobody knows are a #GP, and reported', () => {
    const m = long();
    m.set64(L.RCX, 0x12345);
    expect(raises(m, '0f32')).toEqual([13, 0]);
    expect(m.log).toEqual(['unsupported 4 12345']);
    expect(raises(long(3), '0f32')).toEqual([13, 0]);
  });

  it('of performance counters exist on AMD processors only, and stay 0', () => {
    const amd = new SystemMachine(buildCpuid({ model: 'qemu64' })).longMode().identity();
    const intel = long();
    for (const index of [0xc0010000, 0xc0010007]) {
      write(amd, index, 0x430076n);
      expect(read(amd, index)).toBe(0n);
      intel.set64(L.RCX, index);
      expect(raises(intel, '0f32')).toEqual([13, 0]);
      expect(raises(intel, '0f30')).toEqual([13, 0]);
    }
  });

  it('of the local APIC are asked outside', () => {
    const m = long();
    m.msrs.set(0x1b, { low: 0xfee00900, high: 0 });
    expect(read(m, 0x1b)).toBe(0xfee00900n);
    write(m, 0x1b, 0xfee00800n);
    expect(m.msrs.get(0x1b)!.low).toBe(0xfee00800);
    m.set64(L.RCX, 0x802);
    expect(raises(m, '0f32')).toEqual([13, 0]);
  });

  it('the time stamp counter can be set and adjusted', () => {
    const m = long();
    m.exec('0f31');
    expect(m.get64(L.RAX)).toBe(1000n);
    write(m, 0x10, 0x1_0000_0005n);
    m.tsc += 10;
    expect(read(m, 0x10)).toBe(0x1_0000_000fn);
    expect(read(m, 0x3b)).toBe(0x1_0000_0005n - 1000n);
    write(m, 0x3b, 0n);
    expect(read(m, 0x10)).toBe(1010n);
    write(m, 0xc0000103, 7n);
    m.exec('0f01f9');
    expect(m.get64(L.RCX)).toBe(7n);
    m.exec('f30fc7f8');
    expect(m.get64(L.RAX)).toBe(7n);
  });
});

describe('flags and halting', () => {
  it('STI opens a shadow, CLI closes at once, both by IOPL', () => {
    const m = long();
    expect(m.exec('fb')).toBe(L.END_BLOCK);
    expect([m.get32(L.SHADOW), m.rflags & 0x200n]).toEqual([1, 0x200n]);
    m.set32(L.SHADOW, 0);
    expect(m.exec('fb')).toBe(L.NEXT);
    expect(m.get32(L.SHADOW)).toBe(0);
    m.exec('fa');
    expect(m.rflags & 0x200n).toBe(0n);
    expect(raises(long(3), 'fa')).toEqual([13, 0]);
  });

  it('POPF changes what the ring may change', () => {
    const m = long();
    m.setPhys64(Number(STACK), 0x3fffffn);
    expect(m.exec('9d')).toBe(L.END_BLOCK);
    expect(m.rflags).toBe(0x247fd7n);
    expect(m.get32(L.TLB_BASE)).toBe(L.TLB + L.TLB_BYTES);
    const user = long(3);
    user.rflags = 0x202n;
    user.setPhys64(Number(STACK), 0x3000n);
    user.exec('9d');
    expect(user.rflags).toBe(0x202n);
    user.exec('9c');
    expect(user.phys64(Number(STACK))).toBe(0x202n);
    const arithmetic = long();
    arithmetic.setPhys64(Number(STACK), 0x47n);
    expect(arithmetic.exec('9d')).toBe(L.NEXT);
  });

  it('HLT stops, in ring 0 only', () => {
    const m = long();
    expect(m.exec('f4')).toBe(L.END_BLOCK);
    expect([m.get32(L.HALTED), m.rip]).toEqual([1, CODE + 1n]);
    expect(raises(long(3), 'f4')).toEqual([13, 0]);
  });

  it('BOUND and INTO', () => {
    const m = flat();
    m.setPhys64(0x5000, 0x0000_0005_ffff_fffen);
    m.set64(L.RAX, 0xffff_fffe);
    expect(m.exec('620500500000')).toBe(L.NEXT);
    m.set64(L.RAX, 6);
    expect(raises(m, '620500500000')).toEqual([5, -1]);
    expect(m.exec('ce')).toBe(L.NEXT);
    m.gate32(4, 0x6000);
    m.rflags = 0x802n;
    expect(m.exec('ce')).toBe(L.END_BLOCK);
    expect(m.rip).toBe(0x6000n);
  });
});

describe('frames', () => {
  it('ENTER with a nesting level copies the display', () => {
    const m = flat();
    m.set64(L.RBP, 0x5010);
    m.setPhys32(0x500c, 0x111);
    m.setPhys32(0x5008, 0x222);
    expect(m.exec('c8200003')).toBe(L.NEXT);
    const base = Number(STACK);
    expect([4, 8, 12, 16].map((n) => m.phys32(base - n))).toEqual([0x5010, 0x111, 0x222, base - 4]);
    expect([m.get64(L.RBP), m.rsp]).toEqual([STACK - 4n, STACK - 16n - 0x20n]);
  });

  it('ENTER that would end in a page that is not there changes nothing', () => {
    const m = long();
    m.set64(L.RSP, 0x20_0008);
    m.map(0x20_0000, 0x20_0000, P | W);
    m.map(0x1f_f000, 0, 0n);
    expect(raises(m, 'c8100000')).toEqual([14, 2]);
    expect(m.get64(L.RBP)).toBe(0n);
  });

  it('PUSHA and POPA', () => {
    const m = flat();
    for (let n = 0; n < 8; n++) if (n !== 4) m.set64(L.GPR + 8 * n, 0x100 + n);
    m.exec('60');
    expect(m.phys32(Number(STACK) - 4)).toBe(0x100);
    expect(m.phys32(Number(STACK) - 20)).toBe(Number(STACK));
    for (let n = 0; n < 8; n++) if (n !== 4) m.set64(L.GPR + 8 * n, 0);
    m.exec('61');
    expect([0, 1, 2, 3, 5, 6, 7].map((n) => m.get64(L.GPR + 8 * n))).toEqual(
      [0, 1, 2, 3, 5, 6, 7].map((n) => BigInt(0x100 + n)),
    );
    expect(m.rsp).toBe(STACK);
  });
});

describe('the rest', () => {
  it('CPUID answers from the table, with OSXSAVE from CR4', () => {
    const m = long();
    m.set64(L.RAX, 1);
    m.exec('0fa2');
    expect(m.get64(L.RCX) & (1n << 27n)).toBe(0n);
    m.set64(L.CR4, m.get64(L.CR4) | 0x40000n);
    m.set64(L.RAX, 1);
    m.exec('0fa2');
    expect(m.get64(L.RCX) & (1n << 27n)).toBe(1n << 27n);
    m.set64(L.RAX, 0x12345);
    m.exec('0fa2');
    expect([L.RAX, L.RBX, L.RCX, L.RDX].map((at) => m.get64(at))).toEqual([0n, 0n, 0n, 0n]);
  });

  it('XSETBV and XGETBV', () => {
    const m = long();
    expect(raises(m, '0f01d0')).toEqual([6, -1]);
    m.set64(L.CR4, m.get64(L.CR4) | 0x40000n);
    m.set64(L.RAX, 3);
    m.set64(L.RDX, 0);
    expect(m.exec('0f01d1')).toBe(L.END_BLOCK);
    m.exec('0f01d0');
    expect(m.get64(L.RAX)).toBe(3n);
    m.set64(L.RAX, 7);
    expect(raises(m, '0f01d1')).toEqual([13, 0]);
    m.set64(L.RAX, 2);
    expect(raises(m, '0f01d1')).toEqual([13, 0]);
  });

  it('FSGSBASE needs CR4', () => {
    const m = long();
    expect(raises(m, 'f3480faec0')).toEqual([6, -1]);
    m.set64(L.CR4, m.get64(L.CR4) | 0x10000n);
    m.set64(L.RAX, 0x7f00_1234_5678n);
    expect(m.exec('f3480faed0')).toBe(L.NEXT);
    m.exec('f30faec3');
    expect(m.get64(L.RBX)).toBe(0x1234_5678n);
    m.set64(L.RAX, 1n << 57n);
    expect(raises(m, 'f3480faed8')).toEqual([13, 0]);
  });

  it('RDRAND sets CF', () => {
    const m = long();
    m.exec('480fc7f0');
    expect(m.get64(L.RAX)).toBe(0x1234_5678_1234_5678n);
    expect(m.rflags & 0x8d5n).toBe(1n);
  });

  it('INVPCID checks its type and descriptor', () => {
    const m = long();
    m.set64(L.RAX, 4);
    expect(raises(m, '660f3882042500500000')).toEqual([13, 0]);
    m.set64(L.RAX, 2);
    expect(m.exec('660f3882042500500000')).toBe(L.END_BLOCK);
  });

  it('a stack access that is not canonical is a #SS', () => {
    const m = long();
    m.set64(L.RSP, 1n << 62n);
    expect(raises(m, '9c')).toEqual([12, 0]);
    expect(raises(m, '9d')).toEqual([12, 0]);
  });

  it('reset leaves the state of the manual’s table 9-1', () => {
    const m = new SystemMachine();
    expect([m.get64(L.RIP), m.get64(L.SEG_BASE + 8), m.selector(1)]).toEqual([0xfff0n, 0xffff0000n, 0xf000]);
    expect([m.get64(L.CR0), m.rflags, m.get64(L.DR + 48), m.get64(L.DR + 56)]).toEqual([
      0x60000010n,
      2n,
      0xffff0ff0n,
      0x400n,
    ]);
    expect([m.get32(L.MXCSR), m.get32(L.FCW)]).toEqual([0x1f80, 0x37f]);
  });
});

it('tells the time stamp counter from the instructions done between looks at the clock, where it may', () => {
  const m = long();
  const done = (instructions: number): void => m.view.setInt32(L.BUDGET, 10_000 - instructions, true);
  const rdtsc = (): number => {
    m.step('0f31');
    return Number(m.get64(L.RAX));
  };
  m.tsc = 1000;
  done(0);
  expect(rdtsc()).toBe(1000);
  m.tsc = 5000;
  expect(rdtsc()).toBe(5000);
  m.view.setUint32(L.TSC_ESTIMATE, 500, true);
  expect(rdtsc()).toBe(5000);
  m.tsc = 9000;
  done(100);
  expect(rdtsc()).toBe(5050);
  expect(rdtsc()).toBe(5051);
  // far enough from the last look
  done(500);
  expect(rdtsc()).toBe(9000);
  // a clock that lags behind what was told: single steps
  done(900);
  expect(rdtsc()).toBe(9200);
  m.tsc = 9150;
  done(1000);
  expect(rdtsc()).toBe(9201);
  // a device may have taken any time
  m.tsc = 20_000;
  m.exec('e480'); // in al, 80h
  expect(rdtsc()).toBe(20_000);
});
