import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Property } from './property.ts';
import { formatSize, parseBool, parseDevfn, parseSize, parseUuid, parseValue } from './values.ts';

const property = (type: Property['type'], more: Partial<Property> = {}): Property => ({
  name: 'x',
  type,
  help: '',
  ...more,
});

describe('sizes', () => {
  it('take suffixes, fractions, hexadecimal, and a default unit', () => {
    expect(parseSize('size', '1G')).toBe(2 ** 30);
    expect(parseSize('size', '1024k')).toBe(2 ** 20);
    expect(parseSize('size', '1.5G')).toBe(1.5 * 2 ** 30);
    expect(parseSize('size', '0x1000')).toBe(4096);
    expect(parseSize('size', '512', 2 ** 20)).toBe(2 ** 29);
    expect(parseSize('size', '512b', 2 ** 20)).toBe(512);
  });

  it('are refused in the words of QEMU', () => {
    for (const bad of ['', 'foo', '-5', '1X', '1.2', '99999999999E', '1GB'])
      expect(() => parseSize('size', bad), bad).toThrow(
        "Parameter 'size' expects a non-negative number below 2^64\nOptional suffix k, M, G, T, P or E",
      );
  });

  it('are written shortest, and read back', () => {
    expect(formatSize(2 ** 30)).toBe('1G');
    expect(formatSize(1000)).toBe('1000');
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 48 }), (n) => parseSize('s', formatSize(n)) === n));
  });
});

describe('values', () => {
  it('booleans', () => {
    for (const yes of ['on', 'yes', 'true', 'y']) expect(parseBool('b', yes)).toBe(true);
    for (const no of ['off', 'no', 'false', 'n']) expect(parseBool('b', no)).toBe(false);
    expect(() => parseBool('b', '1')).toThrow("Parameter 'b' expects 'on' or 'off'");
  });

  it('integers of each width', () => {
    expect(parseValue(property('uint32'), '0x10')).toBe(16);
    expect(parseValue(property('uint32'), '010')).toBe(8);
    expect(parseValue(property('int32'), '-5')).toBe(-5);
    expect(parseValue(property('uint64'), '18446744073709551615')).toBe(2n ** 64n - 1n);
    expect(() => parseValue(property('uint32'), '-1')).toThrow("Parameter 'x' expects uint32_t");
    expect(() => parseValue(property('uint8'), '256')).toThrow("Parameter 'x' expects uint8_t");
    expect(() => parseValue(property('uint32'), 'foo')).toThrow("Parameter 'x' expects integer");
    expect(() => parseValue(property('uint32'), '09')).toThrow("Parameter 'x' expects integer");
    expect(() => parseValue(property('uint32', { max: 5 }), '6')).toThrow("doesn't take value 6");
  });

  it('addresses of cards and slots', () => {
    expect(parseValue(property('mac'), '52:54:00:AB:cd:ef')).toBe('52:54:00:ab:cd:ef');
    expect(() => parseValue(property('mac'), 'zz', 'virtio-net-pci')).toThrow(
      "Property 'virtio-net-pci.x' doesn't take value 'zz'",
    );
    expect(parseDevfn('1f.7')).toBe(255);
    expect(parseDevfn('06')).toBe(48);
    expect(parseDevfn('0x3')).toBe(24);
    for (const bad of ['20', '3.8', '-1', '', '3.']) expect(parseDevfn(bad), bad).toBeUndefined();
  });

  it('one of several words, with the nearest', () => {
    const cache = property('enum', { values: ['writeback', 'none'] });
    expect(parseValue(cache, 'none')).toBe('none');
    expect(() => parseValue(cache, 'writebck')).toThrow(
      "Parameter 'x' does not accept value 'writebck' (did you mean 'writeback'?)",
    );
    expect(() => parseValue(cache, 'zzz')).toThrow('(it takes writeback, none)');
    expect(parseValue(property('on-off-auto'), 'auto')).toBe('auto');
  });

  it('UUIDs', () => {
    expect(parseUuid('01234567-89AB-cdef-0123-456789abcdef')).toBe('01234567-89ab-cdef-0123-456789abcdef');
    expect(() => parseUuid('3')).toThrow('failed to parse UUID string: wrong format');
  });
});
