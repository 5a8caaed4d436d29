import { describe, expect, it } from 'vitest';
import { AddressSpace } from '../core/bus.ts';
import { GuestMemory } from '../core/memory.ts';
import { FW_CFG, FwCfg, encodeE820 } from './fwcfg.ts';

function rig() {
  const ports = new AddressSpace('ports');
  const memory = GuestMemory.create(0x10000);
  const fw = new FwCfg(ports, memory);
  const view = memory.view;
  const read = (key: number, count: number): number[] => {
    ports.write(0x510, 2, key);
    return Array.from({ length: count }, () => ports.read(0x511, 1));
  };
  /** A DMA transfer; returns the control word that it leaves. */
  const dma = (control: number, length: number, target: number, at = 0x100): number => {
    view.setUint32(at, control);
    view.setUint32(at + 4, length);
    view.setUint32(at + 8, 0);
    view.setUint32(at + 12, target);
    ports.write(0x514, 4, 0);
    ports.write(0x518, 4, new DataView(Uint32Array.of(at).buffer).getUint32(0));
    return view.getUint32(at);
  };
  return { ports, memory, fw, read, dma, view };
}

const text = (bytes: Iterable<number>): string => String.fromCharCode(...bytes);

describe('fw_cfg', () => {
  it('identifies itself by port and DMA', () => {
    const { ports, read } = rig();
    expect(text(read(0, 4))).toBe('QEMU');
    expect(read(1, 4)).toEqual([3, 0, 0, 0]);
    expect(new DataView(Uint32Array.of(ports.read(0x514, 4), ports.read(0x518, 4)).buffer).getUint8(0)).toBe(
      0x51,
    );
    const bytes = new Uint8Array(Uint32Array.of(ports.read(0x514, 4), ports.read(0x518, 4)).buffer);
    expect(text(bytes)).toBe('QEMU CFG');
  });

  it('reads zeroes behind an item and for one that is not there', () => {
    const { read } = rig();
    expect(read(0, 6).slice(4)).toEqual([0, 0]);
    expect(read(0x3f, 3)).toEqual([0, 0, 0]);
  });

  it('lists files by name, with their keys', () => {
    const { fw, read } = rig();
    fw.addFile({ name: 'opt/z', data: Uint8Array.of(1, 2, 3) });
    fw.addFile({ name: 'etc/e820', data: encodeE820([{ base: 0, size: 0x9fc00, type: 1 }]) });
    const directory = Uint8Array.from(read(FW_CFG.fileDirectory, 4 + 2 * 64));
    const view = new DataView(directory.buffer);
    expect(view.getUint32(0)).toBe(2);
    expect(view.getUint32(4)).toBe(20);
    expect(text(directory.subarray(12, 20))).toBe('etc/e820');
    const key = view.getUint16(8);
    expect(read(key, 20)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfc, 9, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    expect(read(view.getUint16(4 + 64 + 4), 3)).toEqual([1, 2, 3]);
    fw.addFile({ name: 'opt/z', data: Uint8Array.of(9) });
    expect(read(view.getUint16(4 + 64 + 4), 1)).toEqual([9]);
    expect(() => fw.addFile({ name: 'x'.repeat(56), data: new Uint8Array(0) })).toThrow('too long');
  });

  it('transfers by DMA: select, skip and read', () => {
    const { fw, memory, dma } = rig();
    fw.set(
      FW_CFG.kernelData,
      Uint8Array.from({ length: 100 }, (_, i) => i),
    );
    memory.bytes.fill(0xee, 0x200, 0x300);
    expect(dma((FW_CFG.kernelData << 16) | 0x0a, 4, 0x200)).toBe(0);
    expect(dma(0x04, 90, 0)).toBe(0);
    expect(dma(0x02, 10, 0x204)).toBe(0);
    expect([...memory.bytes.subarray(0x200, 0x20f)]).toEqual([
      0, 1, 2, 3, 94, 95, 96, 97, 98, 99, 0, 0, 0, 0, 0xee,
    ]);
  });

  it('refuses DMA outside RAM and writes to what is read-only', () => {
    const { fw, dma, ports } = rig();
    expect(dma(0x02, 0x1000, 0xfff0)).toBe(1);
    expect(dma(0x02, 0xffffffff, 0)).toBe(1);
    fw.addFile({ name: 'opt/ro', data: new Uint8Array(4) });
    expect(dma((0x20 << 16) | 0x18, 4, 0x200)).toBe(1);
    ports.write(0x518, 4, 0xffffffff);
  });

  it('takes writes for a file that wants them', () => {
    const { fw, memory, dma } = rig();
    const data = new Uint8Array(8);
    const writes: [number, number][] = [];
    fw.addFile({ name: 'etc/rw', data, onWrite: (offset, length) => writes.push([offset, length]) });
    memory.bytes.set([5, 6, 7], 0x200);
    expect(dma((0x20 << 16) | 0x0c, 2, 0)).toBe(0);
    expect(dma(0x10, 3, 0x200)).toBe(0);
    expect([...data]).toEqual([0, 0, 5, 6, 7, 0, 0, 0]);
    expect(writes).toEqual([[2, 3]]);
  });

  it('makes an item when it is selected, if asked', () => {
    const { fw, read } = rig();
    const data = new Uint8Array(1);
    fw.addFile({ name: 'etc/late', data, onSelect: () => data.fill(7) });
    expect(read(0x20, 1)).toEqual([7]);
  });
});
