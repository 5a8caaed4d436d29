import { describe, expect, it } from 'vitest';
import type { OptionDef } from './command-line.ts';
import { OPTIONS } from './command-line.ts';
import { formatCommandLine, mergedProperties, parseCommandLine } from './parse-command-line.ts';
import { parseShortChardev } from './schema/chardev-short.ts';

const parse = (text: string) => parseCommandLine(text.split(' '));

describe('command line', () => {
  it('takes one dash or two, and keeps the order', () => {
    expect(parse('-m 1G --device virtio-rng-pci -nographic disk.img').given.map((one) => one.origin)).toEqual(
      ['-m 1G', '--device virtio-rng-pci', '-nographic'],
    );
    expect(parse('disk.img').images).toEqual(['disk.img']);
  });

  it('refuses what it does not know, with the nearest', () => {
    expect(() => parse('-kernal x')).toThrow("-kernal: invalid option (did you mean '-kernel'?)");
    expect(() => parse('-foo')).toThrow(/^-foo: invalid option$/);
    expect(() => parse('-m=1G')).toThrow("-m=1G: invalid option (write '-m 1G')");
    expect(() => parse('-m')).toThrow('-m: requires an argument');
    expect(() => parse('-name a,foo=b')).toThrow("-name a,foo=b: Invalid parameter 'foo'");
    expect(() => parse('-enable-kvm')).toThrow(/^-enable-kvm: KVM is not available yet/);
  });

  it('merges options that may be repeated', () => {
    const { given } = parse('-machine q35 -machine hpet=off -machine accel=tcg');
    expect(mergedProperties(given, 'machine').values).toEqual({ type: 'q35', hpet: false, accel: 'tcg' });
  });

  it('can be written again, quoted for the shell', () => {
    const { given } = parseCommandLine(['-append', "console=ttyS0 it's", '-nographic', '-m', '1G']);
    expect(formatCommandLine(given)).toBe("-append 'console=ttyS0 it'\\''s' -nographic -m 1G");
  });

  it('declares each option once, with help', () => {
    const names = (OPTIONS as readonly OptionDef[]).flatMap((option) => [
      option.name,
      ...(option.aliases ?? []),
    ]);
    expect(new Set(names).size).toBe(names.length);
    for (const option of OPTIONS as readonly OptionDef[]) expect(option.help, option.name).not.toBe('');
  });
});

describe('short forms of chardevs', () => {
  const short = (text: string) => {
    const found = parseShortChardev(text);
    return found && [found.type, Object.fromEntries(found.entries.map(({ name, value }) => [name, value]))];
  };

  it('are the same as -chardev', () => {
    expect(short('none')).toBeUndefined();
    expect(short('stdio')).toEqual(['stdio', {}]);
    expect(short('mon:stdio')).toEqual(['stdio', { signal: 'off', mux: 'on' }]);
    expect(short('file:/tmp/a,b')).toEqual(['file', { path: '/tmp/a,b' }]);
    expect(short('unix:/tmp/s,server,nowait')).toEqual([
      'socket',
      { path: '/tmp/s', server: 'on', nowait: 'on' },
    ]);
    expect(short('tcp::4444,server=on,wait=off')).toEqual([
      'socket',
      { host: '', port: '4444', server: 'on', wait: 'off' },
    ]);
    expect(short('tcp:[::1]:4444')).toEqual(['socket', { host: '::1', port: '4444' }]);
    expect(short('telnet:localhost:23')).toEqual(['socket', { host: 'localhost', port: '23', telnet: 'on' }]);
    expect(short('chardev:c0')).toEqual(['chardev', { id: 'c0' }]);
    expect(short('/dev/ttyUSB0')).toEqual(['serial', { path: '/dev/ttyUSB0' }]);
    expect(short('vc:80Cx24C')).toEqual(['vc', { cols: '80', rows: '24' }]);
  });

  it('are refused by name', () => {
    expect(() => parseShortChardev('foo')).toThrow("'foo' is not a valid char driver");
    expect(() => parseShortChardev('tcp:localhost')).toThrow('expected HOST:PORT');
  });
});
