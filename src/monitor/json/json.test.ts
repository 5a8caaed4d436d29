import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonStream } from './parser.ts';
import type { JsonValue } from './value.ts';
import { Float, formatJson } from './value.ts';

/** What `text` gives, fed in pieces of `size` bytes: values as they are written back, errors as `!text`. */
function parse(text: string | Uint8Array, size = Number.POSITIVE_INFINITY): string[] {
  const heard: string[] = [];
  const stream = new JsonStream({
    value: (value) => heard.push(formatJson(value)),
    error: (message) => heard.push(`!${message}`),
  });
  const data = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
  for (let at = 0; at < data.length; at += size) stream.feed(data.subarray(at, at + size));
  return heard;
}

const BAD = '!JSON parse error, ';

describe('values', () => {
  it.each([
    ['{"a": [1, 2.5, null, true, false, "x"]}', '{"a": [1, 2.5, null, true, false, "x"]}'],
    ["{'a': 'it\\'s'}", '{"a": "it\'s"}'],
    ['[]', '[]'],
    ['{}', '{}'],
    ['-0 ', '0'],
    ['1e3 ', '1000'],
    ['0.1 ', '0.10000000000000001'],
    ['1e-7 ', '9.9999999999999995e-08'],
    ['18446744073709551615 ', '18446744073709551615'],
    ['-9223372036854775808 ', '-9223372036854775808'],
    ['-9223372036854775809 ', '-9.2233720368547758e+18'],
    ['12345678901234567890123 ', '1.2345678901234568e+22'],
    ['"\\ud834\\udd1e\\u00e9\\b\\f\\n\\r\\t\\/\\\\"', '"\\uD834\\uDD1E\\u00E9\\b\\f\\n\\r\\t/\\\\"'],
    ['"\x7f\\u0000"', '"\\u007F\\u0000"'],
    ['"\xc3\xa9"', '"\\u00E9"'],
    ['{"__proto__": 1}', '{"__proto__": 1}'],
  ])('%s', (text, written) => {
    expect(parse(text)).toEqual([written]);
    expect(parse(text, 1)).toEqual([written]);
  });

  it('may follow one another without anything between', () => {
    expect(parse('{}{"a":1}[]"x"')).toEqual(['{}', '{"a": 1}', '[]', '"x"']);
  });

  it('are written with four spaces for each level when that is asked for', () => {
    expect(formatJson({ a: [1, {}], b: [] }, true)).toBe(
      '{\n    "a": [\n        1,\n        {\n        }\n    ],\n    "b": [\n    ]\n}',
    );
  });

  it('come back as they were written', () => {
    const json = fc.letrec<{ value: JsonValue }>((tie) => ({
      value: fc.oneof(
        { depthSize: 'small' },
        fc.constant(null),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n - 1n }),
        fc.string({ unit: 'grapheme' }),
        fc.array(tie('value')),
        fc.dictionary(fc.string(), tie('value')),
      ),
    })).value;
    fc.assert(
      fc.property(json, fc.integer({ min: 1, max: 9 }), fc.boolean(), (value, size, pretty) => {
        const text = formatJson(value, pretty);
        expect(text).toMatch(/^[\n -~]*$/);
        const again: JsonValue[] = [];
        const stream = new JsonStream({
          value: (one) => again.push(one),
          error: (message) => expect.fail(message),
        });
        const data = Buffer.from(`${text} `);
        for (let at = 0; at < data.length; at += size) stream.feed(data.subarray(at, at + size));
        expect(again.map((one) => formatJson(one, pretty))).toEqual([text]);
      }),
      { numRuns: 300 },
    );
  });

  it('tell floating-point numbers from integers', () => {
    const values: JsonValue[] = [];
    new JsonStream({ value: (value) => values.push(value), error: () => {} }).feed(Buffer.from('1.0 1 '));
    expect(values[0]).toBeInstanceOf(Float);
    expect(values[1]).toBe(1);
  });
});

// Each text is QEMU 7.2's answer to the same bytes.
describe('errors', () => {
  it.each([
    ['xx\n', [`${BAD}invalid keyword 'xx'`]],
    ['{"execute" "query-status"}', [`${BAD}missing : in object pair`]],
    ['}', [`${BAD}expecting value`]],
    ['{"execute":"query-status"]', [`${BAD}expected separator in dict`]],
    ['[1 2]', [`${BAD}expected separator in list`]],
    ['{"id":"\\q"}', [`${BAD}invalid escape sequence in string`]],
    ['{"id":01}', [`${BAD}stray '01'`, `${BAD}expecting value`]],
    ['{"a":1,"a":2}', [`${BAD}duplicate key`]],
    ['{"a":tru}', [`${BAD}invalid keyword 'tru'`]],
    ['{"a":1,}', [`${BAD}expecting value`]],
    ['[1,]', [`${BAD}expecting value`]],
    ['{,}', [`${BAD}expecting value`]],
    ['{1:2}', [`${BAD}key is not a string in object`]],
    ['{"id":"abc\n}', [`${BAD}stray '"abc\n'`, `${BAD}expecting value`]],
    ['{"id":"x\xff"}', [`${BAD}stray '"x\ufffd'`, `${BAD}expecting value`]],
    ['{"id":"\xc3("}', [`${BAD}invalid UTF-8 sequence in string`]],
    ['@\n', [`${BAD}stray '@'`]],
    ['\x01{}', [`${BAD}stray '\x01'`, '{}']],
    ['\0{}', [`${BAD}stray ''`, '{}']],
    ['"a\0"\n', [`${BAD}stray '"a'`]],
    ['@\x01{}', [`${BAD}stray '@'`, `${BAD}stray '\x01'`, '{}']],
    ['@\tx{}', [`${BAD}stray '@'`, '{}']],
    ['["\xef\xbf\xbf"]', [`${BAD}invalid UTF-8 sequence in string`]],
    ['["a\xc0\x80b"]', ['["a\\u0000b"]']],
    ['["\xed\xa0\x80"]', [`${BAD}invalid UTF-8 sequence in string`]],
    ['-x\n', [`${BAD}stray '-x'`]],
    ['1.x\n', [`${BAD}stray '1.x'`]],
    ['1e\n', [`${BAD}stray '1e\n'`]],
    ['{"id":"\\ud834"}', [`${BAD}\\ud834 is not a valid Unicode character`]],
    ['{"id":"\\udd1e"}', [`${BAD}\\udd1e is not a valid Unicode character`]],
    ['{"id":"\\u12x4"}', [`${BAD}\\u12x4 is not a valid Unicode character`]],
    ['{"id":"\\u12"}', [`${BAD}\\u12" is not a valid Unicode character`]],
    ['{"id":"\\ufffe"}', [`${BAD}\\ufffe is not a valid Unicode character`]],
    ['{} junk {}', ['{}', `${BAD}invalid keyword 'junk'`, '{}']],
  ])('%j', (text, heard) => {
    expect(parse(text)).toEqual(heard);
    expect(parse(text, 1)).toEqual(heard);
  });

  it('bound the nesting, and go on behind it', () => {
    const heard = parse(`${'['.repeat(1030)}${']'.repeat(5)}{"a":1}`);
    expect(heard).toEqual(['!JSON nesting depth limit exceeded', '[[[[[]]]]]', '{"a": 1}']);
  });

  it('bound the number of tokens of one value', { timeout: 30_000 }, () => {
    const heard = parse(`[${'1,'.repeat(2 ** 20)}`);
    expect(heard[0]).toBe('!JSON token count limit exceeded');
  });
});
