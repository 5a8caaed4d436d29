/** Sums that the authors of FNV publish (draft-eastlake-fnv, test vectors), and parts of what is given. */
import { expect, it } from 'vitest';
import { fnv1a } from './fnv.ts';

const ascii = (text: string): Uint8Array => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

it.each([
  ['', 0x811c9dc5],
  ['a', 0xe40c292c],
  ['foobar', 0xbf9cf968],
])('of "%s" is as published', (text, sum) => {
  expect(fnv1a(ascii(text))).toBe(sum | 0);
});

it('is of a part, and of what is taken first', () => {
  expect(fnv1a(ascii('..foobar..'), undefined, 2, 8)).toBe(0xbf9cf968 | 0);
  expect(fnv1a(ascii('foobar'), 'f'.charCodeAt(0), 1)).toBe(0xbf9cf968 | 0);
  expect(fnv1a(ascii('foobar'), 0x12345)).not.toBe(fnv1a(ascii('foobar'), 0x45));
});
