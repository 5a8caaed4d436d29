import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Msix, PciFunction, type PciHost } from '../pci.ts';
import * as r from './regs.ts';

const IDENTITY = {
  vendor: 0x1234,
  device: 0x5678,
  revision: 3,
  classCode: 0x020000,
  subsystemVendor: 0x1af4,
  subsystem: 0x1100,
  interruptPin: 1,
};

const handler = { read: () => 0, write: () => {} };

function functionOf() {
  const fn = new PciFunction('test', IDENTITY);
  fn.addBar(0, { name: 'io', kind: 'io', size: 64, handler });
  fn.addBar(1, { name: 'mem', kind: 'mem32', size: 0x1000, handler });
  fn.addBar(4, { name: 'big', kind: 'mem64', prefetchable: true, size: 2 ** 33, handler });
  const log = { line: false, sent: [] as number[], changed: 0 };
  const host: PciHost = {
    intx: { set: (level) => (log.line = level) },
    msi: { send: (address, data) => log.sent.push(address, data) },
    mappingChanged: () => log.changed++,
  };
  fn.connect(host);
  return { fn, log };
}

describe('a PCI function', () => {
  it('shows its identity, and keeps it', () => {
    const { fn } = functionOf();
    for (let at = 0; at < 64; at += 4) if (at < 0x10 || at >= 0x28) fn.writeConfig(at, 4, 0xffffffff);
    expect(fn.readConfig(0, 4)).toBe(0x56781234);
    expect(fn.readConfig(8, 4)).toBe(0x02000003);
    expect(fn.readConfig(r.PCI_SUBSYSTEM_VENDOR_ID, 4)).toBe(0x11001af4);
    // Cache line size and interrupt line are memory; the pin is not.
    expect([fn.readConfig(0x0c, 1), fn.readConfig(0x3c, 2)]).toEqual([0xff, 0x01ff]);
  });

  it('decodes BARs where the guest put them, while the command register lets it', () => {
    const { fn, log } = functionOf();
    fn.writeConfig(0x10, 4, 0xc047);
    fn.writeConfig(0x14, 4, 0xfebf1234);
    fn.writeConfig(0x20, 4, 0xffffffff);
    fn.writeConfig(0x24, 4, 0x0000002f);
    expect([fn.readConfig(0x10, 4), fn.readConfig(0x14, 4)]).toEqual([0xc041, 0xfebf1000]);
    expect([fn.readConfig(0x20, 4), fn.readConfig(0x24, 4)]).toEqual([0xc, 0x2e]);
    expect(fn.mappings()).toEqual([]);
    fn.writeConfig(r.PCI_COMMAND, 2, r.PCI_COMMAND_IO);
    expect(fn.mappings().map(({ index, base }) => [index, base])).toEqual([[0, 0xc040]]);
    fn.writeConfig(r.PCI_COMMAND, 2, r.PCI_COMMAND_MEMORY);
    expect(fn.mappings().map(({ index, base }) => [index, base])).toEqual([
      [1, 0xfebf1000],
      [4, 0x2e_0000_0000],
    ]);
    expect(log.changed).toBe(6);
    fn.reset();
    expect([fn.mappings(), fn.readConfig(0x24, 4), fn.readConfig(0x20, 4)]).toEqual([[], 0, 0xc]);
  });

  it('clears error bits of the status register by writing ones, and no others', () => {
    const { fn } = functionOf();
    fn.addCapability(r.PCI_CAP_ID_VNDR, 8);
    fn.setWord(r.PCI_STATUS, 0xf910);
    fn.writeConfig(r.PCI_STATUS, 2, 0x8010);
    expect(fn.readConfig(r.PCI_STATUS, 2)).toBe(0x7910);
  });

  it('drives its line, unless the command register disables it', () => {
    const { fn, log } = functionOf();
    fn.setIntx(true);
    expect([log.line, fn.readConfig(r.PCI_STATUS, 2) & 8]).toEqual([true, 8]);
    fn.writeConfig(r.PCI_COMMAND + 1, 1, r.PCI_COMMAND_INTX_DISABLE >> 8);
    expect([log.line, fn.readConfig(r.PCI_STATUS, 2) & 8]).toEqual([false, 8]);
    fn.writeConfig(r.PCI_COMMAND, 2, 0);
    expect(log.line).toBe(true);
    fn.disconnect();
    expect(log.line).toBe(false);
  });

  it('reads all ones outside its configuration space, and takes any access', () => {
    const { fn } = functionOf();
    new Msix(fn, 4, 2);
    fc.assert(
      fc.property(
        fc.integer({ min: -8, max: 5000 }),
        fc.constantFrom(1 as const, 2 as const, 4 as const),
        fc.nat(0xffffffff),
        (at, size, value) => {
          fn.writeConfig(at, size, value);
          const read = fn.readConfig(at, size);
          if (at < 0 || at + size > 256) expect(read).toBe(2 ** (8 * size) - 1);
        },
      ),
    );
    expect(fn.readConfig(0, 4)).toBe(0x56781234);
  });
});

describe('MSI-X', () => {
  function msixOf() {
    const { fn, log } = functionOf();
    const msix = new Msix(fn, 3, 2);
    const bar = fn.bars[2]!;
    fn.writeConfig(r.PCI_COMMAND, 2, r.PCI_COMMAND_MASTER);
    for (let v = 0; v < 3; v++) {
      bar.handler.write(v * 16, 4, 0xfee00000);
      bar.handler.write(v * 16 + 4, 4, v === 2 ? 1 : 0);
      bar.handler.write(v * 16 + 8, 4, 0x40 + v);
      bar.handler.write(v * 16 + 12, 4, 0);
    }
    return { fn, log, msix, bar, control: msix.capability + 2 };
  }

  it('sends address and data of the vector, with 64 bits of address', () => {
    const { fn, log, msix, control } = msixOf();
    msix.notify(0);
    expect(log.sent).toEqual([]);
    fn.writeConfig(control, 2, 0x8000);
    msix.notify(0);
    msix.notify(2);
    msix.notify(3);
    msix.notify(-1);
    expect(log.sent).toEqual([0xfee00000, 0x40, 0x1_fee0_0000, 0x42]);
  });

  it('keeps what is masked pending, by vector and by function', () => {
    const { fn, log, msix, bar, control } = msixOf();
    fn.writeConfig(control, 2, 0xc000);
    msix.notify(1);
    expect([log.sent, bar.handler.read(2048, 4), msix.isPending(1)]).toEqual([[], 2, true]);
    fn.writeConfig(control + 1, 1, 0x80);
    expect([log.sent, bar.handler.read(2048, 4)]).toEqual([[0xfee00000, 0x41], 0]);
    bar.handler.write(12, 4, 1);
    msix.notify(0);
    msix.clearPending(0);
    bar.handler.write(12, 4, 0);
    expect(log.sent).toHaveLength(2);
  });

  it('has pending bits that cannot be written, and a table that is masked after a reset', () => {
    const { fn, msix, bar } = msixOf();
    bar.handler.write(2048, 4, 0xffffffff);
    expect([bar.handler.read(2048, 4), bar.handler.read(4092, 4)]).toEqual([0, 0]);
    fn.reset();
    expect([msix.enabled, msix.isMasked(0), bar.handler.read(0, 4)]).toEqual([false, true, 0]);
  });

  it('comes back from a snapshot', () => {
    const { fn, msix, control } = msixOf();
    fn.writeConfig(control, 2, 0xc000);
    msix.notify(2);
    const other = msixOf();
    other.fn.restoreFunction(structuredClone(fn.saveFunction()));
    expect([other.msix.enabled, other.msix.isPending(2)]).toEqual([true, true]);
    other.fn.writeConfig(control, 2, 0x8000);
    expect(other.log.sent).toEqual([0x1_fee0_0000, 0x42]);
  });
});
