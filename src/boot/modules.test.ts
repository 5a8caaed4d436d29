import { describe, expect, it } from 'vitest';
import { loadOrder, moduleName, parseModuleInfo } from './modules.ts';

/** A 64-bit ELF file with nothing but a `.modinfo` section. */
function makeModule(modinfo: string): Uint8Array {
  const info = new TextEncoder().encode(modinfo);
  const names = new TextEncoder().encode('\0.modinfo\0.shstrtab\0');
  const file = new Uint8Array(64 + 3 * 64 + names.length + info.length);
  const view = new DataView(file.buffer);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setBigUint64(40, 64n, true); // e_shoff
  view.setUint16(58, 64, true); // e_shentsize
  view.setUint16(60, 3, true); // e_shnum
  view.setUint16(62, 2, true); // e_shstrndx
  const section = (index: number, name: number, offset: number, size: number): void => {
    view.setUint32(64 + index * 64, name, true);
    view.setBigUint64(64 + index * 64 + 24, BigInt(offset), true);
    view.setBigUint64(64 + index * 64 + 32, BigInt(size), true);
  };
  section(1, 1, 256 + names.length, info.length);
  section(2, 10, 256, names.length);
  file.set(names, 256);
  file.set(info, 256 + names.length);
  return file;
}

describe('modules', () => {
  it('names a module as the kernel does', () => {
    expect(moduleName('kernel/drivers/char/hw_random/virtio-rng.ko.xz')).toBe('virtio_rng');
    expect(moduleName('virtio.ko')).toBe('virtio');
  });

  it('reads what a module needs and answers to', () => {
    const file = makeModule('license=GPL\0depends=virtio,virtio-ring\0alias=virtio:d00000002v*\0');
    expect(parseModuleInfo(file)).toEqual({
      depends: ['virtio', 'virtio_ring'],
      aliases: ['virtio:d00000002v*'],
    });
    expect(() => parseModuleInfo(new Uint8Array(100))).toThrow('not a kernel module');
    expect(() => parseModuleInfo(file.subarray(0, 120))).toThrow('not a kernel module');
  });

  it('puts each module after what it needs, once, and leaves out what is built in', async () => {
    const needs: Record<string, string[]> = {
      virtio_pci: ['virtio', 'virtio_ring', 'builtin'],
      virtio_blk: ['virtio', 'virtio_ring'],
      virtio_ring: ['virtio'],
      virtio: [],
      // A loop would be a broken kernel; it must not hang us.
      a: ['b'],
      b: ['a'],
    };
    const order = await loadOrder(['virtio_pci', 'virtio-blk', 'absent', 'a'], async (name) =>
      needs[name] === undefined ? undefined : { depends: needs[name], aliases: [] },
    );
    expect(order).toEqual(['virtio', 'virtio_ring', 'virtio_pci', 'virtio_blk', 'b', 'a']);
  });
});
