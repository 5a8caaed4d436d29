/** Breakpoints of the debug registers: what they catch, when, and what they leave alone. */
import { describe, expect, it } from 'vitest';
import { CODE64, PTE, SystemMachine } from '../../test/x86/system-machine.ts';
import * as L from './layout.ts';

const { P, W } = PTE;
const HANDLER = 0x6000n;
const CODE = 0x8000n;
const WATCHED = 0x5100n;
const DR6 = L.DR + 48;

/** Breakpoint 1 on WATCHED with DR7's R/W1 and LEN1 as given. */
function watching(kind: number, length: number): SystemMachine {
  const m = new SystemMachine()
    .longMode()
    .identity(P | W)
    .tables(CODE64);
  m.set64(L.RSP, 0x9000n);
  m.set64(L.RIP, CODE);
  m.gate64(1, HANDLER);
  m.set64(L.RAX, WATCHED);
  m.exec('0f23c8');
  m.set64(L.RAX, 0x404 | (kind << 20) | (length << 22));
  expect(m.exec('0f23f8')).toBe(L.END_BLOCK);
  return m;
}

const noticed = (m: SystemMachine): boolean => (m.get32(L.ATTENTION) & L.ATTENTION_DEBUG) !== 0;

describe('data breakpoints', () => {
  it('trap after a write that touches their bytes', () => {
    const m = watching(1, 3); // write, 4 bytes
    m.call('storeSlow32', WATCHED + 4n, 1);
    m.call('storeSlow32', WATCHED - 4n, 1);
    m.call('loadSlow', WATCHED, 4);
    expect([noticed(m), m.get32(L.BREAK)]).toEqual([false, 0]);
    m.call('storeSlow8', WATCHED + 3n, 0x55);
    expect([noticed(m), m.get32(L.BREAK)]).toEqual([true, 1]);
    expect(m.bytes(Number(WATCHED) + 3, 1)[0]).toBe(0x55);
    const { rip } = m;
    expect(m.call('debugEvent')).toBe(1);
    expect(m.rip).toBe(HANDLER);
    expect(m.phys64(Number(m.rsp))).toBe(rip);
    expect(m.get64(DR6) & 0xfn).toBe(2n);
    expect(noticed(m)).toBe(false);
  });

  it('for reads and writes, across a page border and in read-modify-writes too', () => {
    const m = watching(3, 0);
    m.call('loadSlow', WATCHED - 1n, 8);
    expect(noticed(m)).toBe(true);
    m.call('debugEvent');
    expect(m.call('rmwSlow', WATCHED, 1)).toBe(L.BOUNCE);
    m.call('rmwCommit');
    expect(noticed(m)).toBe(true);
  });

  it('their page has no entries in the TLB; disabling them brings these back', () => {
    const m = watching(1, 0);
    m.call('loadSlow', 0x5000n, 4);
    const entry = m.get32(L.TLB_BASE) + 5 * 32;
    expect(m.get64(entry + L.TLB_READ)).toBe(1n);
    m.call('loadSlow', 0x4000n, 4);
    m.set64(L.RAX, 0);
    m.exec('0f23f8');
    m.call('loadSlow', 0x5000n, 4);
    expect(m.get64(entry + L.TLB_READ)).toBe(0x5000n);
  });

  it('send a region back to the interpreter', () => {
    const m = watching(1, 0);
    m.set32(L.IN_REGION, 1);
    expect(m.call('storeSlow8', WATCHED, 1)).toBe(0);
    expect(m.call('storeSlow8', WATCHED + 1n, 1)).toBe(1);
    expect(noticed(m)).toBe(false);
  });

  it('stop a repeated string instruction after the item that hit', () => {
    const m = watching(1, 0);
    m.set64(L.RDI, WATCHED - 3n);
    m.set64(L.RCX, 10);
    expect(m.exec('f3aa')).toBe(L.END_BLOCK);
    expect(m.get64(L.RCX)).toBe(6n);
  });

  it('a fault in the same instruction forgets the hit', () => {
    const m = watching(1, 0);
    m.gate64(14, HANDLER + 0x100n);
    m.call('storeSlow8', WATCHED, 1);
    m.call('raise', 14, 0);
    m.call('deliverException');
    expect(m.rip).toBe(HANDLER + 0x100n);
    expect(m.call('debugEvent')).toBe(0);
    expect(noticed(m)).toBe(false);
  });
});

describe('instruction breakpoints', () => {
  it('fault before the instruction, once', () => {
    const m = watching(0, 0);
    m.set64(L.RIP, WATCHED - 1n);
    expect(m.call('debugEvent')).toBe(0);
    m.set64(L.RIP, WATCHED);
    expect(m.call('debugEvent')).toBe(1);
    expect(m.rip).toBe(HANDLER);
    expect(m.get64(DR6) & 0xfn).toBe(2n);
    expect(m.exec('48cf')).toBe(L.END_BLOCK);
    expect(m.rip).toBe(WATCHED);
    expect(m.call('debugEvent')).toBe(0);
    expect(m.call('debugEvent')).toBe(1);
  });
});
