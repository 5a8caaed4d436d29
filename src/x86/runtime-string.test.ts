/** String instructions against a plain model, item by item: overlaps, both directions, page borders, faults, limits. */
import { describe, expect, it } from 'vitest';
import { CODE64, DEVICE, PTE, SEGMENT, SystemMachine } from '../../test/x86/system-machine.ts';
import * as L from './layout.ts';

const { P, W, U } = PTE;
/** Eight pages in a row, mapped to physical pages that are not. */
const BASE = 0x40_0000n;
const PAGES = 8;
const physical = (page: number): number => 0x20_0000 + ((page * 5) % PAGES) * 0x1000;

function machine(missing = -1): SystemMachine {
  const m = new SystemMachine().longMode().tables(CODE64);
  for (let page = 0; page < PAGES; page++)
    if (page !== missing) m.map(BASE + BigInt(page * 4096), physical(page), P | W);
  m.set64(L.RIP, 0x8000);
  return m;
}

/** Physical address of an offset from BASE. */
const at = (offset: number): number => physical(offset >> 12) + (offset & 4095);

function readAll(m: SystemMachine): Uint8Array {
  const all = new Uint8Array(PAGES * 4096);
  for (let page = 0; page < PAGES; page++) all.set(m.bytes(physical(page), 4096), page * 4096);
  return all;
}

let seed = 12345;
const random = (below: number): number => {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
  return Math.floor((seed / 2 ** 32) * below);
};

const FORMS = [
  [1, 'a4', 'a6', 'aa', 'ac', 'ae'],
  [2, '66a5', '66a7', '66ab', '66ad', '66af'],
  [4, 'a5', 'a7', 'ab', 'ad', 'af'],
  [8, '48a5', '48a7', '48ab', '48ad', '48af'],
] as const;

/** Repeats an instruction until it is done, as the dispatcher would. */
function finish(m: SystemMachine, code: string): number {
  for (let n = 0; n < 100; n++) {
    const before = m.rip;
    const status = m.exec(code);
    if (status === L.EXCEPTION || m.rip !== before) return status;
  }
  throw new Error('does not come to an end');
}

function little(bytes: Uint8Array, from: number, size: number): bigint {
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[from + i]!);
  return value;
}

describe.each(FORMS)('items of %i bytes', (size, movs, cmps, stos, lods, scas) => {
  const name = (code: string, rep: string): string =>
    code.startsWith('66') ? `66${rep}${code.slice(2)}` : rep + code;

  it('REP MOVS moves as single items do', () => {
    for (let round = 0; round < 60; round++) {
      const m = machine();
      const backward = random(3) === 0;
      const count = random(round % 3 === 0 ? 2000 : 40);
      const room = PAGES * 4096 - 8 * 2000;
      const from = (backward ? 8 * 2000 : 0) + random(room - 16);
      const near = from + random(40) - 20;
      const to =
        round % 2
          ? Math.max(backward ? 8 * 2000 : 0, Math.min(near, PAGES * 4096 - 16))
          : (backward ? 8 * 2000 : 0) + random(room - 16);
      if (!backward && (from + count * size > PAGES * 4096 || to + count * size > PAGES * 4096)) continue;
      for (let i = 0; i < PAGES * 4096; i++) m.bytes(at(i), 1)[0] = (i * 7 + (i >> 8)) & 255;
      const model = readAll(m);
      const step = backward ? -size : size;
      for (let i = 0; i < count; i++)
        model.set(model.slice(from + i * step, from + i * step + size), to + i * step);
      m.rflags = backward ? 0x402n : 2n;
      m.set64(L.RSI, BASE + BigInt(from));
      m.set64(L.RDI, BASE + BigInt(to));
      m.set64(L.RCX, count);
      finish(m, name(movs, 'f3'));
      expect(Buffer.compare(readAll(m), model), `round ${round}`).toBe(0);
      expect(m.get64(L.RCX)).toBe(0n);
      expect(m.get64(L.RSI)).toBe(BASE + BigInt(from + count * step));
      expect(m.get64(L.RDI)).toBe(BASE + BigInt(to + count * step));
    }
  });

  it('REP STOS fills', () => {
    for (const value of [0n, 0x1111111111111111n, 0x0123456789abcdefn]) {
      const m = machine();
      const count = Math.floor(9000 / size);
      m.set64(L.RAX, value);
      m.set64(L.RDI, BASE + 77n);
      m.set64(L.RCX, count);
      finish(m, name(stos, 'f3'));
      const all = readAll(m);
      const item = BigInt.asUintN(size * 8, value);
      for (let i = 0; i < count; i += 13) expect(little(all, 77 + i * size, size)).toBe(item);
      expect(all[76]).toBe(0);
      expect(all[77 + count * size]).toBe(0);
      expect(m.get64(L.RDI)).toBe(BASE + 77n + BigInt(count * size));
    }
  });

  it('REPE CMPS and REPNE SCAS stop where they should, with the flags of the last comparison', () => {
    for (const place of [0, 1, 500, 700, 1999]) {
      const m = machine();
      for (let i = 0; i < 2000 * size; i++) {
        m.bytes(at(100 + i), 1)[0] = 1;
        m.bytes(at(16000 - 77 + i), 1)[0] = 1;
      }
      m.bytes(at(16000 - 77 + place * size), 1)[0] = 3;
      m.set64(L.RSI, BASE + 100n);
      m.set64(L.RDI, BASE + 16000n - 77n);
      m.set64(L.RCX, 2000);
      finish(m, name(cmps, 'f3'));
      expect(m.get64(L.RCX)).toBe(BigInt(1999 - place));
      expect(m.get64(L.RSI)).toBe(BASE + 100n + BigInt((place + 1) * size));
      expect(m.rflags & 0x41n).toBe(1n); // CF: 1 < 3
      m.set64(L.RDI, BASE + 16000n - 77n);
      m.set64(L.RCX, 2000);
      m.set64(L.RAX, 0x0101010101010103n);
      m.set64(L.RIP, 0x8000);
      finish(m, name(scas, 'f2'));
      expect(m.get64(L.RCX)).toBe(BigInt(1999 - place));
      expect(m.rflags & 0x41n).toBe(0x40n);
    }
  });

  it('without a prefix: one item', () => {
    const m = machine();
    m.setPhys64(at(8), 0x8877665544332211n);
    m.set64(L.RAX, -1);
    m.set64(L.RSI, BASE + 8n);
    m.set64(L.RCX, 5);
    expect(m.exec(lods)).toBe(L.NEXT);
    const wide = size === 4 ? 0n : -1n << BigInt(size * 8);
    expect(m.get64(L.RAX)).toBe(BigInt.asUintN(64, wide | BigInt.asUintN(size * 8, 0x8877665544332211n)));
    expect([m.get64(L.RSI), m.get64(L.RCX)]).toEqual([BASE + 8n + BigInt(size), 5n]);
  });

  it('a fault in the middle keeps what is done', () => {
    const m = machine(2);
    const count = 3000;
    m.set64(L.RSI, BASE + 0x4000n);
    m.set64(L.RDI, BASE + 0x2000n - 64n);
    m.set64(L.RCX, count);
    for (let i = 0; i < 64; i++) m.bytes(at(0x4000 + i), 1)[0] = i + 1;
    expect(finish(m, name(movs, 'f3'))).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([14, 2]);
    expect(m.get64(L.CR2)).toBe(BASE + 0x2000n);
    expect(m.get64(L.RCX)).toBe(BigInt(count - 64 / size));
    expect(m.get64(L.RDI)).toBe(BASE + 0x2000n);
    expect(m.bytes(at(0x1fff), 1)[0]).toBe(64);
    m.map(BASE + 0x2000n, physical(2), P | W);
    m.set64(L.RCX, 5);
    expect(finish(m, name(movs, 'f3'))).toBe(L.NEXT);
    expect(m.get64(L.RDI)).toBe(BASE + 0x2000n + BigInt(5 * size));
  });
});

describe('repetition', () => {
  it('pauses after 64 KiB, and when somebody wants attention', () => {
    const m = new SystemMachine().longMode();
    m.map(0x40_0000, 0x20_0000, P | W, 2);
    m.set64(L.RIP, 0x8000);
    m.set64(L.RDI, 0x40_0000);
    m.set64(L.RCX, 0x4_0000);
    expect(m.exec('f3aa')).toBe(L.END_BLOCK);
    expect(m.rip).toBe(0x8000n);
    expect(m.get64(L.RCX)).toBe(0x3_0000n);
    m.set32(L.ATTENTION, L.ATTENTION_INTR);
    expect(m.exec('f3aa')).toBe(L.END_BLOCK);
    expect(m.get64(L.RCX)).toBe(0x2_f000n);
  });

  it('a count of zero touches nothing', () => {
    const m = machine();
    m.set64(L.RSI, 1n << 50n);
    m.set64(L.RDI, 1n << 50n);
    m.rflags = 0x8d7n;
    for (const code of ['f3a4', 'f3a6', 'f3aa', 'f3ac', 'f3ae']) expect(m.exec(code)).toBe(L.NEXT);
    expect(m.rflags).toBe(0x8d7n);
  });

  it('32-bit addresses: ECX counts, ESI and EDI are zero-extended', () => {
    const m = machine();
    m.set64(L.RSI, 0xffff_0000_0000_0000n + BASE);
    m.set64(L.RDI, 0xffff_0000_0000_0000n + BASE + 0x1000n);
    m.set64(L.RCX, 0xffff_0000_0000_0004n);
    expect(m.exec('67f3a4')).toBe(L.NEXT);
    expect([m.get64(L.RSI), m.get64(L.RDI), m.get64(L.RCX)]).toEqual([BASE + 4n, BASE + 0x1004n, 0n]);
  });

  it('in a region a fault raises nothing and asks to execute again, with the progress made', () => {
    const m = machine(1);
    m.set32(L.IN_REGION, 1);
    m.set32(L.EXC_VECTOR, 99);
    m.set64(L.RDI, BASE + 0xff0n);
    m.set64(L.RCX, 0x100);
    expect(m.exec('f3aa')).toBe(L.REEXECUTE);
    expect([m.get64(L.RDI), m.get64(L.RCX)]).toEqual([BASE + 0x1000n, 0xf0n]);
    expect(m.exception[0]).toBe(99);
  });

  it('device memory is read and written item by item', () => {
    const m = machine();
    m.map(0x50_0000, DEVICE, P | W);
    m.set64(L.RSI, BASE);
    m.set64(L.RDI, 0x50_0000);
    m.set64(L.RCX, 3);
    m.exec('f3a5');
    const base = DEVICE.toString(16);
    expect(m.log).toEqual([0, 4, 8].map((n) => `write4 ${base.slice(0, -1)}${n} 0`));
  });

  it('FS and GS override the source only', () => {
    const m = machine();
    m.set64(L.SEG_BASE + 8 * SEGMENT.FS, 0x1000);
    m.bytes(at(0x1005), 1)[0] = 0x5a;
    m.set64(L.RSI, BASE + 5n);
    m.set64(L.RDI, BASE);
    expect(m.exec('64a4')).toBe(L.NEXT);
    expect(m.bytes(at(0), 1)[0]).toBe(0x5a);
  });

  /** Instructions have been decoded from the second 64 bytes of the first page. */
  function codePage(): SystemMachine {
    const m = machine();
    const entry = L.PAGE_TABLE + (physical(0) >> 12) * 4;
    m.set32(entry, m.get32(entry) | L.PAGE_CODE);
    m.set64(L.CODE_LINES + (physical(0) >> 12) * 8, 2n);
    m.set64(L.RAX, 0x55);
    return m;
  }

  it('a repeated store over decoded instructions finishes as it was fetched, and the block ends after it', () => {
    const m = codePage();
    m.set64(L.RDI, BASE + 60n);
    m.set64(L.RCX, 100);
    expect(m.exec('f3aa')).toBe(L.NEXT);
    expect(m.get64(L.RCX)).toBe(0n);
    expect(m.get64(L.RDI)).toBe(BASE + 160n);
    expect(m.get32(L.BREAK)).toBe(1);
    // told of once, in full
    expect(m.log).toEqual([`invalidate ${(physical(0) >> 12).toString(16)} 3c+100`]);
    expect(m.bytes(at(59), 102)).toEqual(Uint8Array.of(0, ...Array<number>(100).fill(0x55), 0));
  });

  it('a repeated move tells of each page with decoded instructions that it has written', () => {
    const m = codePage();
    m.set64(L.RSI, BASE + 0x4000n);
    m.set64(L.RDI, BASE);
    m.set64(L.RCX, 0x400);
    expect(m.exec('f348a5')).toBe(L.NEXT);
    expect(m.log).toEqual([`invalidate ${(physical(0) >> 12).toString(16)} 0+4096`]);
    expect(m.get64(L.RDI)).toBe(BASE + 0x2000n);
  });

  it('a repeated store beside decoded instructions ends nothing', () => {
    const m = codePage();
    m.set32(L.IN_REGION, 1);
    m.set64(L.RDI, BASE + 128n);
    m.set64(L.RCX, 0x100);
    expect(m.exec('f3aa')).toBe(L.NEXT);
    expect(m.get32(L.BREAK)).toBe(0);
    expect(m.log).toEqual([]);
    expect(m.bytes(at(128), 1)).toEqual(Uint8Array.of(0x55));
  });

  it('in a region a repeated store stops before decoded instructions', () => {
    const m = codePage();
    m.set32(L.IN_REGION, 1);
    m.set64(L.RDI, BASE + 32n);
    m.set64(L.RCX, 0x100);
    expect(m.exec('f3aa')).toBe(L.REEXECUTE);
    expect([m.get64(L.RDI), m.get64(L.RCX)]).toEqual([BASE + 64n, 0xe0n]);
    expect(m.bytes(at(63), 2)).toEqual(Uint8Array.of(0x55, 0));
    expect(m.log).toEqual([]);
  });
});

describe('segments', () => {
  it('16-bit: SI and DI wrap, limits are checked', () => {
    const m = new SystemMachine();
    m.segment(SEGMENT.ES, 0x2000, 0x20000, 0xffff, 0x93);
    m.segment(SEGMENT.DS, 0x3000, 0x30000, 0x0fff, 0x93);
    m.set64(L.RIP, 0x100);
    m.set64(L.RSI, 0x1_0ffe);
    m.set64(L.RDI, 0xfffe);
    m.set64(L.RCX, 5);
    m.bytes(0x30ffe, 2).set([7, 8]);
    expect(finish(m, 'f3a4')).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
    expect([...m.bytes(0x2fffe, 2)]).toEqual([7, 8]);
    expect([m.get64(L.RSI), m.get64(L.RDI), m.get64(L.RCX)]).toEqual([0x1_1000n, 0n, 3n]);
  });

  it('32-bit: a destination that is not writable is a #GP', () => {
    const m = new SystemMachine().flat32();
    m.segment(SEGMENT.ES, 0x10, 0, 0xffffffff, 0xc091);
    m.call('updateMode');
    m.set64(L.RDI, 0x1000);
    expect(m.exec('aa')).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
  });
});

describe('ports', () => {
  it('INS and OUTS', () => {
    const m = machine();
    m.ports.set(0x1f0, 0xbeef);
    m.set64(L.RDX, 0x1f0);
    m.set64(L.RDI, BASE + 0xfffn);
    m.set64(L.RCX, 2);
    expect(m.exec('66f36d')).toBe(L.NEXT);
    expect([...m.bytes(at(0x1000), 3)]).toEqual([0xbe, 0xef, 0xbe]);
    m.set64(L.RSI, BASE + 0x1000n);
    expect(m.exec('6e')).toBe(L.NEXT);
    expect(m.log).toEqual(['in2 1f0', 'in2 1f0', 'out1 1f0 be']);
  });

  it('INS to a page that cannot be written does not read the port', () => {
    const m = machine(0);
    m.set64(L.RDI, BASE);
    expect(m.exec('6c')).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([14, 2]);
    expect(m.log).toEqual([]);
  });

  it('a user program needs IOPL or the bitmap', () => {
    const m = new SystemMachine()
      .longMode(3)
      .identity(P | W | U)
      .tables(CODE64);
    m.set64(L.RIP, 0x8000);
    m.set64(L.RDX, 0x70);
    m.setPhys32(0x12066, 0x68); // the map begins behind the TSS's limit
    expect(m.exec('ec')).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
    m.set32(L.SEG_LIMIT + 4 * SEGMENT.TR, 0x68 + 0x2000);
    m.bytes(0x12068 + 0xe, 1)[0] = 0b10; // port 71h
    expect(m.exec('ec')).toBe(L.NEXT);
    expect(m.exec('66ed')).toBe(L.EXCEPTION);
    m.rflags = 0x3002n;
    expect(m.exec('66ed')).toBe(L.NEXT);
  });
});
