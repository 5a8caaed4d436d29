import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { OptionEntry } from './options.ts';
import { checkId, formatOptions, parseOptions } from './options.ts';

const pairs = (text: string, implied?: string) =>
  parseOptions(text, implied).map(({ name, value }) => [name, value]);

describe('option syntax', () => {
  it('reads keys and values, an implied first key, and flags', () => {
    expect(pairs('virtio-blk-pci,drive=d,share-rw', 'driver')).toEqual([
      ['driver', 'virtio-blk-pci'],
      ['drive', 'd'],
      ['share-rw', 'on'],
    ]);
    expect(pairs('driver=x,drive=d', 'driver')).toEqual([
      ['driver', 'x'],
      ['drive', 'd'],
    ]);
    expect(parseOptions('', 'driver')).toEqual([]);
  });

  it('takes a double comma for a comma', () => {
    expect(pairs('file=a,,b.raw,if=virtio')).toEqual([
      ['file', 'a,b.raw'],
      ['if', 'virtio'],
    ]);
    expect(pairs('a,,b', 'name')).toEqual([['name', 'a,b']]);
    expect(pairs('file=x,,,if=none')).toEqual([
      ['file', 'x,'],
      ['if', 'none'],
    ]);
  });

  it('keeps later equals signs in the value', () => {
    expect(pairs('string=a=b=c')).toEqual([['string', 'a=b=c']]);
  });

  it('reads JSON, nested things as dotted keys', () => {
    expect(
      pairs('{"driver":"virtio-blk-pci","share-rw":true,"queue-size":64,"a":{"b":"c"},"l":["x","y"]}'),
    ).toEqual([
      ['driver', 'virtio-blk-pci'],
      ['share-rw', 'on'],
      ['queue-size', '64'],
      ['a.b', 'c'],
      ['l.0', 'x'],
      ['l.1', 'y'],
    ]);
    expect(() => parseOptions('{foo')).toThrow('JSON parse error');
    expect(() => parseOptions('{"a":null}')).toThrow("'null' is not expected");
    expect(() => parseOptions(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`)).toThrow('too deep');
  });

  it('writes what it reads, whatever the values hold', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9._-]{0,8}$/).filter((text) => text !== 'driver');
    const entry = fc.record({ name, value: fc.string() });
    fc.assert(
      fc.property(fc.array(entry, { minLength: 1 }), fc.boolean(), (entries, implied) => {
        const given: OptionEntry[] = implied
          ? [{ name: 'driver', value: entries[0]!.value }, ...entries]
          : entries;
        const key = implied ? 'driver' : undefined;
        const text = formatOptions(given, key);
        // An empty first value cannot be told from no value; JSON is another syntax.
        fc.pre(text !== '' && !text.startsWith(',') && !text.startsWith('{'));
        expect(parseOptions(text, key)).toEqual(given);
      }),
    );
  });

  it('checks ids as QEMU does', () => {
    expect(checkId('a-1._B')).toBe('a-1._B');
    for (const bad of ['', '1a', '-a', 'a b', 'ä'])
      expect(() => checkId(bad)).toThrow("Parameter 'id' expects an identifier");
  });
});
