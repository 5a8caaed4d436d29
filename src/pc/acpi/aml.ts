/**
 * A small encoder for ACPI machine language: each function gives the bytes of one term, and terms nest as they
 * do in ASL. Only what our DSDT uses. Specification: ACPI 6.4 chapter 20.
 */
import { assert } from '../../core/errors.ts';

export type Aml = readonly number[];

/** A string is a name path, a number an integer: what most arguments are. */
export type Term = Aml | number | bigint | string;

const EXT = 0x5b;

function bytesOf(value: number | bigint, size: number): number[] {
  const wide = BigInt(value);
  return Array.from({ length: size }, (_, i) => Number((wide >> BigInt(8 * i)) & 0xffn));
}

function term(value: Term): Aml {
  if (typeof value === 'string') return path(value);
  return typeof value === 'object' ? value : integer(value);
}

function join(terms: readonly Term[]): number[] {
  return terms.flatMap((each) => [...term(each)]);
}

/** §20.2.3: the shortest form; it is part of what must be equal when tables are compared. */
export function integer(value: number | bigint): Aml {
  const wide = BigInt(value);
  assert(wide >= 0n && wide < 2n ** 64n, 'AML integer out of range', { value: String(value) });
  if (wide <= 1n) return [Number(wide)];
  if (wide < 2n ** 8n) return [0x0a, ...bytesOf(wide, 1)];
  if (wide < 2n ** 16n) return [0x0b, ...bytesOf(wide, 2)];
  if (wide < 2n ** 32n) return [0x0c, ...bytesOf(wide, 4)];
  return [0x0e, ...bytesOf(wide, 8)];
}

export function string(text: string): Aml {
  return [0x0d, ...new TextEncoder().encode(text), 0];
}

/** §20.2.2: a path of four-letter segments, `\` for the root, `^` for the parent; short ones are padded with `_`. */
export function path(text: string): Aml {
  const prefix = /^(\\|\^*)/.exec(text)![0];
  const segments = text
    .slice(prefix.length)
    .split('.')
    .filter((each) => each !== '');
  for (const each of segments) assert(/^[A-Z_][A-Z0-9_]{0,3}$/.test(each), `bad AML name '${text}'`);
  const letters = segments.flatMap((each) => [...each.padEnd(4, '_')].map((letter) => letter.charCodeAt(0)));
  const head = [...prefix].map((letter) => letter.charCodeAt(0));
  if (segments.length === 0) return [...head, 0];
  if (segments.length === 1) return [...head, ...letters];
  if (segments.length === 2) return [...head, 0x2e, ...letters];
  return [...head, 0x2f, segments.length, ...letters];
}

/** §20.2.4: the length counts itself; one byte up to 63, then 4 bits and up to three bytes. */
function withLength(body: readonly number[]): number[] {
  if (body.length + 1 <= 63) return [body.length + 1, ...body];
  for (let extra = 1; extra <= 3; extra++) {
    const total = body.length + 1 + extra;
    if (total < 2 ** (4 + 8 * extra))
      return [(extra << 6) | (total & 15), ...bytesOf(total >> 4, extra), ...body];
  }
  throw new RangeError('AML term too long');
}

/** An EISA id such as PNP0A03, packed as §19.6.36 says. */
export function eisaId(id: string): Aml {
  assert(/^[A-Z]{3}[0-9A-F]{4}$/.test(id), `bad EISA id '${id}'`);
  // Five bits a letter, counted from 1.
  const letter = (index: number): number => id.charCodeAt(index) - 0x40;
  const vendor = (letter(0) << 10) | (letter(1) << 5) | letter(2);
  const product = Number.parseInt(id.slice(3), 16);
  return [0x0c, vendor >> 8, vendor & 255, product >> 8, product & 255];
}

export const name = (at: string, value: Term): Aml => [0x08, ...path(at), ...term(value)];
export const scope = (at: string, ...body: Term[]): Aml => [
  0x10,
  ...withLength([...path(at), ...join(body)]),
];
export const device = (at: string, ...body: Term[]): Aml => [
  EXT,
  0x82,
  ...withLength([...path(at), ...join(body)]),
];
/** `args` is the number of arguments, or-ed with 8 for a serialized method. */
export const method = (at: string, args: number, ...body: Term[]): Aml => [
  0x14,
  ...withLength([...path(at), args, ...join(body)]),
];
export const pack = (...elements: Term[]): Aml => [0x12, ...withLength([elements.length, ...join(elements)])];
export const buffer = (bytes: readonly number[]): Aml => [
  0x11,
  ...withLength([...integer(bytes.length), ...bytes]),
];

export const local = (n: number): Aml => [0x60 + n];
export const arg = (n: number): Aml => [0x68 + n];
export const store = (value: Term, target: Term): Aml => [0x70, ...term(value), ...term(target)];
export const and = (a: Term, b: Term, target: Term = [0]): Aml => [
  0x7b,
  ...term(a),
  ...term(b),
  ...term(target),
];
export const or = (a: Term, b: Term, target: Term = [0]): Aml => [
  0x7d,
  ...term(a),
  ...term(b),
  ...term(target),
];
export const not = (value: Term): Aml => [0x92, ...term(value)];
export const equal = (a: Term, b: Term): Aml => [0x93, ...term(a), ...term(b)];
export const less = (a: Term, b: Term): Aml => [0x95, ...term(a), ...term(b)];
export const when = (condition: Term, ...body: Term[]): Aml => [
  0xa0,
  ...withLength([...term(condition), ...join(body)]),
];
export const otherwise = (...body: Term[]): Aml => [0xa1, ...withLength(join(body))];
/** ShiftLeft (value, count) without a target. */
export const shiftLeft = (value: Term, count: Term): Aml => [0x79, ...term(value), ...term(count), 0];
/** Notify (object, value): the operating system's driver of the object hears it. */
export const notify = (object: Term, value: Term): Aml => [0x86, ...term(object), ...term(value)];
/** A method's call. The encoding does not tell how many arguments it takes: they just follow. */
export const call = (at: string, ...args: Term[]): Aml => [...path(at), ...join(args)];
/** Mutex at sync level 0. */
export const mutex = (at: string): Aml => [EXT, 0x01, ...path(at), 0];
/** Acquire without a timeout. */
export const acquire = (at: string): Aml => [EXT, 0x23, ...path(at), 0xff, 0xff];
export const release = (at: string): Aml => [EXT, 0x27, ...path(at)];
export const give = (value: Term): Aml => [0xa4, ...term(value)];
/** CreateDWordField (source, byte index, name). */
export const dwordField = (source: Term, index: number, at: string): Aml => [
  0x8a,
  ...term(source),
  ...integer(index),
  ...path(at),
];

export const REGION = { SystemMemory: 0, SystemIO: 1, PCI_Config: 2 } as const;

export const region = (at: string, space: number, offset: number, length: number): Aml => [
  EXT,
  0x80,
  ...path(at),
  space,
  ...integer(offset),
  ...integer(length),
];

/**
 * A field list of double-word accesses, of registers that do something when they are read or written: what is not
 * written is written as zeroes (§20.2.5.2, FieldFlags: DWordAcc, NoLock, WriteAsZeros).
 */
export function dwordRegisters(at: string, fields: readonly string[]): Aml {
  const list = fields.flatMap((field) => [...path(field), ...withLengthOf(32)]);
  return [EXT, 0x81, ...withLength([...path(at), 0x43, ...list])];
}

/** A field list of byte accesses: names with their widths in bits; a nameless entry skips. */
export function byteFields(at: string, fields: readonly (readonly [string | undefined, number])[]): Aml {
  // Access type ByteAcc, no lock, preserve (§20.2.5.2, FieldFlags).
  const list = fields.flatMap(([field, bits]) => [
    ...(field === undefined ? [0] : path(field)),
    ...withLengthOf(bits),
  ]);
  return [EXT, 0x81, ...withLength([...path(at), 0x01, ...list])];
}

/** A bare PkgLength, as field lists use it for widths: it does not count itself. */
function withLengthOf(value: number): number[] {
  if (value <= 63) return [value];
  return [0x40 | (value & 15), value >> 4];
}
