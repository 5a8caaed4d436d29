/** Protection keys: what PKRU and IA32_PKRS forbid, the instructions and states that hold them, CPUID. SDM 3A 4.6.2. */
import { describe, expect, it } from 'vitest';
import { PTE, SystemMachine } from '../../test/x86/system-machine.ts';
import { buildCpuid } from './cpuid.ts';
import * as L from './layout.ts';

const READ = 0;
const WRITE = 1;
const EXEC = 2;
const { P, W, U } = PTE;
const VA = 0x7f12_3456_7000n;
const CR0_WP = 0x10000n;
const CR4_OSXSAVE = 0x40000n;
const CR4_PKE = 0x400000n;
const CR4_PKS = 0x1000000n;
const IA32_PKRS = 0x6e1;
const RDPKRU = '0f01ee';
const WRPKRU = '0f01ef';
const WRMSR = '0f30';
const RDMSR = '0f32';
const CPUID = '0fa2';

const key = (n: number): bigint => BigInt(n) << 59n;
/** ADi, WDi. */
const noAccess = (n: number): number => (1 << (2 * n)) >>> 0;
const noWrite = (n: number): number => (2 << (2 * n)) >>> 0;

function machine(cr4: bigint, cpl = 0): SystemMachine {
  const m = new SystemMachine().longMode(cpl);
  m.set64(L.CR4, m.get64(L.CR4) | cr4);
  return m;
}

function wrpkru(m: SystemMachine, value: number): number {
  m.set64(L.RCX, 0);
  m.set64(L.RDX, 0);
  m.set64(L.RAX, value);
  return m.exec(WRPKRU);
}

function wrpkrs(m: SystemMachine, value: number, high = 0): number {
  m.set64(L.RCX, IA32_PKRS);
  m.set64(L.RDX, high);
  m.set64(L.RAX, value);
  return m.exec(WRMSR);
}

/** The error code of the #PF that an access raises, or 'ok'; accesses that the TLB holds are not looked up again. */
function access(m: SystemMachine, kind: number, va = VA): number | 'ok' {
  if (m.call('translate', va, kind) !== 0) return 'ok';
  expect(m.exception[0]).toBe(14);
  return m.exception[1];
}

describe('PKRU', () => {
  it('ADi keeps CPL 3 from reading and writing pages of key i, and not from fetching', () => {
    const m = machine(CR4_PKE, 3);
    m.map(VA, 0x5000, P | W | U | key(2));
    m.map(VA + 0x1000n, 0x6000, P | W | U | key(3));
    expect(wrpkru(m, noAccess(2))).not.toBe(L.EXCEPTION);
    expect(access(m, READ)).toBe(0x25);
    expect(access(m, WRITE)).toBe(0x27);
    expect(access(m, EXEC)).toBe('ok');
    expect(access(m, WRITE, VA + 0x1000n)).toBe('ok');
  });

  it('WDi keeps CPL 3 from writing', () => {
    const m = machine(CR4_PKE, 3);
    m.map(VA, 0x5000, P | W | U | key(15));
    wrpkru(m, noWrite(15));
    expect(access(m, READ)).toBe('ok');
    expect(access(m, WRITE)).toBe(0x27);
  });

  it('heeds CR0.WP where the supervisor writes user pages', () => {
    const m = machine(CR4_PKE);
    m.map(VA, 0x5000, P | W | U | key(1));
    wrpkru(m, noWrite(1));
    expect(access(m, WRITE)).toBe('ok');
    m.call('tlbFlush');
    m.set64(L.CR0, m.get64(L.CR0) | CR0_WP);
    expect(access(m, WRITE)).toBe(0x23);
    wrpkru(m, noAccess(1));
    expect(access(m, READ)).toBe(0x21);
  });

  it('says nothing of supervisor pages, and nothing without CR4.PKE', () => {
    const m = machine(CR4_PKE);
    m.map(VA, 0x5000, P | W | key(1));
    wrpkru(m, 0xffff_ffff);
    expect(access(m, WRITE)).toBe('ok');
    const off = machine(0n, 3);
    off.map(VA, 0x5000, P | W | U | key(1));
    off.set32(L.PKRU, 0xffff_ffff);
    expect(access(off, WRITE)).toBe('ok');
  });

  it('holds from WRPKRU on for pages that the TLB knows', () => {
    const m = machine(CR4_PKE, 3);
    m.map(VA, 0x5000, P | W | U | key(4));
    expect(access(m, WRITE)).toBe('ok');
    wrpkru(m, noWrite(4));
    expect(access(m, WRITE)).toBe(0x27);
    wrpkru(m, 0);
    expect(access(m, WRITE)).toBe('ok');
  });

  it('keeps the TLB when no page in it has a key that changes', () => {
    const m = machine(CR4_PKE, 3);
    m.map(VA, 0x5000, P | W | U);
    access(m, WRITE);
    const flushes = m.get32(L.STAT_TLB_FLUSH);
    wrpkru(m, 0x5555_5554);
    expect(m.get32(L.STAT_TLB_FLUSH)).toBe(flushes);
    wrpkru(m, 0x5555_5556);
    expect(m.get32(L.STAT_TLB_FLUSH)).toBe(flushes + 1);
  });

  it('RDPKRU and WRPKRU want zeroes in ECX and EDX, and CR4.PKE', () => {
    const m = machine(CR4_PKE, 3);
    wrpkru(m, 0x1234_5678);
    m.set64(L.RDX, -1n);
    expect(m.exec(RDPKRU)).toBe(L.NEXT);
    expect([m.get64(L.RAX), m.get64(L.RDX)]).toEqual([0x1234_5678n, 0n]);
    m.set64(L.RDX, 1);
    expect(m.exec(WRPKRU)).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
    m.set64(L.RDX, 0);
    m.set64(L.RCX, 1);
    for (const code of [RDPKRU, WRPKRU]) {
      expect(m.exec(code)).toBe(L.EXCEPTION);
      expect(m.exception).toEqual([13, 0]);
    }
    const off = machine(0n);
    for (const code of [RDPKRU, WRPKRU]) {
      expect(off.exec(code)).toBe(L.EXCEPTION);
      expect(off.exception[0]).toBe(6);
    }
  });
});

describe('IA32_PKRS', () => {
  it('forbids the supervisor its own pages by key', () => {
    const m = machine(CR4_PKS);
    m.map(VA, 0x5000, P | W | key(2));
    expect(access(m, WRITE)).toBe('ok');
    wrpkrs(m, noAccess(2));
    expect(access(m, READ)).toBe(0x21);
    expect(access(m, WRITE)).toBe(0x23);
    expect(access(m, EXEC)).toBe('ok');
    wrpkrs(m, noWrite(2));
    expect(access(m, WRITE)).toBe('ok');
    m.call('tlbFlush');
    m.set64(L.CR0, m.get64(L.CR0) | CR0_WP);
    expect(access(m, WRITE)).toBe(0x23);
  });

  it('says nothing of user pages', () => {
    const m = machine(CR4_PKS);
    m.map(VA, 0x5000, P | W | U | key(2));
    wrpkrs(m, 0xffff_ffff);
    expect(access(m, WRITE)).toBe('ok');
  });

  it('has 32 bits, and is there when CPUID says so', () => {
    const m = machine(CR4_PKS);
    wrpkrs(m, 0xabcd);
    expect(m.exec(RDMSR)).toBe(L.NEXT);
    expect(m.get64(L.RAX)).toBe(0xabcdn);
    expect(wrpkrs(m, 0, 1)).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
    const without = new SystemMachine(buildCpuid({ model: 'max', remove: ['pks'] })).longMode();
    expect(wrpkrs(without, 0)).toBe(L.EXCEPTION);
    without.set64(L.RAX, 0x20n | CR4_PKS);
    expect(without.exec('0f22e0')).toBe(L.EXCEPTION); // MOV CR4, RAX
  });
});

describe('XSAVE', () => {
  const AREA = 0x8000;
  // at [RBX]
  const XSAVE = '0fae23';
  const XRSTOR = '0fae2b';
  const XSAVEC = '0fc723';

  function saving(): SystemMachine {
    const m = machine(CR4_PKE | CR4_OSXSAVE);
    m.identity(P | W);
    m.map(VA, 0x5000, P | W | U | key(1));
    m.set64(L.XCR0, 0x203);
    m.set64(L.RBX, AREA);
    m.set64(L.RDX, 0);
    return m;
  }

  it('saves PKRU where CPUID leaf Dh says, and XRSTOR brings it back into force', () => {
    const m = saving();
    wrpkru(m, noAccess(1));
    m.set64(L.RAX, 0x200);
    expect(m.exec(XSAVE)).toBe(L.NEXT);
    expect(m.phys64(AREA + 2688)).toBe(BigInt(noAccess(1)));
    expect(m.phys64(AREA + 512) & 0x200n).toBe(0x200n);
    wrpkru(m, 0);
    expect(access(m, READ)).toBe('ok');
    m.set64(L.RAX, 0x200);
    expect(m.exec(XRSTOR)).toBe(L.NEXT);
    expect(access(m, READ)).toBe(0x21);
    // an initial state: 0
    m.setPhys64(AREA + 512, 0);
    m.set64(L.RAX, 0x200);
    expect(m.exec(XRSTOR)).toBe(L.NEXT);
    expect(m.get32(L.PKRU)).toBe(0);
    // not asked for: left alone
    wrpkru(m, 4);
    m.set64(L.RAX, 3);
    expect(m.exec(XRSTOR)).toBe(L.NEXT);
    expect(m.get32(L.PKRU)).toBe(4);
  });

  it('XSAVEC puts it behind the header', () => {
    const m = saving();
    wrpkru(m, 0xc0);
    m.set64(L.RAX, 0x203);
    expect(m.exec(XSAVEC)).toBe(L.NEXT);
    expect(m.phys64(AREA + 520)).toBe(0x8000_0000_0000_0203n);
    expect(m.phys64(AREA + 576)).toBe(0xc0n);
    wrpkru(m, 0);
    m.set64(L.RAX, 0x203);
    expect(m.exec(XRSTOR)).toBe(L.NEXT);
    expect(m.get32(L.PKRU)).toBe(0xc0);
  });

  it('needs all of the area writable before it writes', () => {
    const m = saving();
    // the legacy area ends a page, PKRU would be in one that is not there
    m.map(VA - 0x1000n, 0x6000, P | W);
    m.map(VA, 0x7000, P);
    m.set64(L.CR0, m.get64(L.CR0) | CR0_WP);
    m.set64(L.RBX, VA - 640n);
    m.set64(L.RAX, 0x203);
    m.setPhys64(0x6000 + 4096 - 640, 0x1111_2222n);
    expect(m.exec(XSAVE)).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([14, 3]);
    expect(m.phys64(0x6000 + 4096 - 640)).toBe(0x1111_2222n);
  });

  it('CPUID tells sizes by XCR0, and OSPKE by CR4', () => {
    const m = saving();
    const leaf = (eax: number, ecx: number): bigint[] => {
      m.set64(L.RAX, eax);
      m.set64(L.RCX, ecx);
      m.exec(CPUID);
      return [L.RAX, L.RBX, L.RCX, L.RDX].map((at) => m.get64(at));
    };
    expect(leaf(0xd, 0)).toEqual([0x203n, 2696n, 2696n, 0n]);
    expect(leaf(0xd, 1)[1]).toBe(584n);
    expect(leaf(0xd, 9)).toEqual([8n, 2688n, 0n, 0n]);
    expect(leaf(7, 0)[2]! & 0x18n).toBe(0x18n);
    m.set64(L.XCR0, 3);
    m.set64(L.CR4, 0x620);
    expect(leaf(0xd, 0)[1]).toBe(576n);
    expect(leaf(7, 0)[2]! & 0x18n).toBe(8n);
  });
});
