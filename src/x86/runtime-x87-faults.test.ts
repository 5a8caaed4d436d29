/** x87 and state instructions whose operand reaches into a page that is not there: nothing may have changed. */
import { describe, expect, it } from 'vitest';
import { setRecord } from '../../test/native/x87.ts';
import { PTE, SystemMachine } from '../../test/x86/system-machine.ts';
import * as L from './layout.ts';
import { x87 } from './table/x87.ts';

const PAGE_FAULT = 14;
const PAGE = 0x5000;
const machine = new SystemMachine().longMode();
machine.map(PAGE, PAGE, PTE.P | PTE.W);
machine.map(0x8000, 0x8000, PTE.P);
const { view } = machine;

const prepare = (address: number): void => {
  machine.set32(L.CR0, 0x80010033); // PG WP NE MP PE
  machine.set32(L.CR4, 0x40620);
  machine.set64(L.XCR0, 3);
  machine.set64(L.RAX, 3);
  machine.set64(L.RDX, 0);
  machine.set64(L.RBX, address);
  machine.set32(L.FCW, 0x37f);
  machine.set32(L.FSW, 0x0500);
  machine.set32(L.FTW, 0xc000);
  machine.set32(L.MXCSR, 0x1f80);
  for (let r = 0; r < 8; r++) {
    machine.set64(L.X87 + 16 * r, 0xc000_0000_0000_0001n + BigInt(r));
    machine.set64(L.X87 + 16 * r + 8, 0x4005);
  }
  for (let i = 0; i < 4096; i += 8) machine.setPhys64(PAGE + i, 0x1111_1111_1111_1111n);
};
const state = (): string =>
  Buffer.from(new Uint8Array(view.buffer, L.XMM, 512).slice()).toString('hex') +
  Buffer.from(machine.bytes(PAGE, 4096).slice()).toString('hex');

const lines = x87.filter((def) => def.op.endsWith('mem'));

describe('a page fault in the operand', () => {
  it.each(lines.map((def) => [def.name, def] as const))('%s', (_name, def) => {
    // The state images are aligned: they begin in the page that is missing. All others cross into it.
    const aligned = /fxsave|fxrstor|xsave|xrstor/.test(def.name);
    prepare(aligned ? PAGE + 0x1000 : PAGE + 0xfff);
    const before = state();
    const rec = setRecord({ view }, [0xd8, 0x03], true);
    const run = (): number => Number(machine.exports[def.helper!]!(rec));
    expect(run()).toBe(L.EXCEPTION);
    expect(machine.exception[0]).toBe(PAGE_FAULT);
    expect(machine.get64(L.CR2)).toBe(BigInt(PAGE + 0x1000));
    expect(state()).toBe(before);

    view.setInt32(L.EXC_VECTOR, 77, true);
    view.setInt32(L.IN_REGION, 1, true);
    expect(run()).toBe(L.REEXECUTE);
    view.setInt32(L.IN_REGION, 0, true);
    expect(machine.exception[0]).toBe(77);
    expect(state()).toBe(before);
  });

  it('a store to a page that is read-only', () => {
    for (const helper of [
      'op_fstp_m64',
      'op_fistp_m16',
      'op_fbstp',
      'op_fnsave',
      'op_fxsave',
      'op_stmxcsr',
      'op_fnstsw',
    ]) {
      prepare(0x8000);
      const before = state();
      expect(machine.exports[helper]!(setRecord({ view }, [0xd8, 0x03], true))).toBe(L.EXCEPTION);
      expect(machine.exception).toEqual([PAGE_FAULT, 3]);
      expect(state()).toBe(before);
    }
  });
});
