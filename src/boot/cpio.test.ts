import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CpioWriter, parseCpio, S_IFCHR, S_IFDIR, S_IFLNK, S_IFREG, serializeCpio } from './cpio.ts';

describe('cpio', () => {
  it('writes the header that the kernel reads, field by field', () => {
    const archive = serializeCpio([{ name: 'a', mode: S_IFREG | 0o644, data: Uint8Array.of(0x78) }]);
    const text = new TextDecoder('latin1').decode(archive);
    const fields = [
      '070701', // c_magic
      '00000001', // c_ino
      '000081A4', // c_mode
      '00000000', // c_uid
      '00000000', // c_gid
      '00000001', // c_nlink
      '00000000', // c_mtime
      '00000001', // c_filesize
      '00000000', // c_maj
      '00000000', // c_min
      '00000000', // c_rmaj
      '00000000', // c_rmin
      '00000002', // c_namesize, with the zero
      '00000000', // c_chksum
    ];
    expect(text.slice(0, 110)).toBe(fields.join(''));
    // Name and data both end at a multiple of four.
    expect(text.slice(110, 120)).toBe('a\0x\0\0\0' + '0707');
    expect(text).toContain('TRAILER!!!');
  });

  it('adds parent directories once, and knows nodes and links', () => {
    const archive = new CpioWriter()
      .file('lib/modules/x.ko', 'data')
      .file('lib/modules/y.ko', 'data', 0o600)
      .node('dev/console', 'char', 5, 1)
      .symlink('bin/sh', 'busybox')
      .finish();
    const entries = parseCpio(archive);
    expect(entries.map((entry) => [entry.name, entry.mode])).toEqual([
      ['lib', S_IFDIR | 0o755],
      ['lib/modules', S_IFDIR | 0o755],
      ['lib/modules/x.ko', S_IFREG | 0o644],
      ['lib/modules/y.ko', S_IFREG | 0o600],
      ['dev', S_IFDIR | 0o755],
      ['dev/console', S_IFCHR | 0o600],
      ['bin', S_IFDIR | 0o755],
      ['bin/sh', S_IFLNK | 0o777],
    ]);
    expect(entries[5]).toMatchObject({ major: 5, minor: 1 });
  });

  it('parse undoes serialize', () => {
    const entry = fc.record({
      name: fc.stringMatching(/^[a-z]{1,20}$/),
      mode: fc.nat(0o7777).map((bits) => S_IFREG | bits),
      data: fc.uint8Array({ maxLength: 100 }),
    });
    fc.assert(
      fc.property(fc.array(entry), (entries) => {
        const parsed = parseCpio(serializeCpio(entries));
        expect(parsed.map((each) => ({ ...each, data: [...each.data] }))).toEqual(
          entries.map((each) => ({ ...each, data: [...each.data] })),
        );
      }),
    );
  });

  it('refuses damaged archives', () => {
    const archive = new CpioWriter().file('name', 'data').finish();
    expect(() => parseCpio(archive.subarray(0, 112))).toThrow('cut short');
    expect(() => parseCpio(archive.subarray(0, 120))).toThrow('cpio archive');
    expect(() => parseCpio(new Uint8Array(200))).toThrow('damaged at byte 0');
  });
});
