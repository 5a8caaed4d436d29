/**
 * Expressions of a WebAssembly function, as small trees that are written out in one pass. Building one (ops.ts) has no
 * effect and its value is computed where it is used: pin it in a local (`FunctionBuilder.tmp`) when it is used twice
 * or when something it reads may change in between. All have one shape, and are told apart by a number: they are made
 * by the million, and V8 reads objects that look alike several times faster.
 */
import type { ByteWriter } from './bytes.ts';

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export const VAL_TYPE_CODE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

/** Kinds of expressions, and what `n`, `a`, `b` and `more` are in them. */
export const KIND = {
  /** n: the value. */
  const32: 0,
  /** n: the value, or NaN when it is beyond 2^53 and stands in `more` (bigint). */
  const64: 1,
  /** more: 16 bytes. */
  const128: 2,
  /** n: the local; more: 1 if it is one of the function's temporaries. */
  local: 3,
  /** n: the local; a: its new value, and that of the expression. */
  tee: 4,
  /** n: the opcode, of one byte; a, b: one or two operands. */
  op: 5,
  /** n: prefix byte << 16 | opcode; more: operands and immediate bytes. */
  prefixed: 6,
  /** n: an offset that is known not to make the address `a` wrap around. Loads and stores take it in. */
  displaced: 7,
  /** n: prefix byte << 8 | opcode; a: the address; more: the offset. */
  load: 8,
  /** n: the function, below 2^14; more: the arguments. */
  call: 9,
  /** more ? a : b, all computed. */
  select: 10,
  /** more ? a : b, only one of them computed. */
  ifElse: 11,
  /** n: an i32 that is another one each time the code is used; more: what it stands for (ByteWriter.fixups). */
  symbol: 12,
} as const;
export type Kind = (typeof KIND)[keyof typeof KIND];

/** In `ByteWriter.fixups`: the index of an imported function. Symbols are numbers from 0 on. */
export const CALLED = -1;

export type More =
  | bigint
  | number
  | readonly number[]
  | readonly Expr[]
  | readonly [readonly Expr[], readonly number[]]
  | Expr
  | undefined;

export class Expr {
  // only declared: a defined field would be written twice
  declare readonly tag: Kind;
  declare readonly type: ValType;
  declare readonly n: number;
  declare readonly a: Expr | undefined;
  declare readonly b: Expr | undefined;
  declare readonly more: More;

  constructor(tag: Kind, type: ValType, n: number, a?: Expr, b?: Expr, more?: More) {
    this.tag = tag;
    this.type = type;
    this.n = n;
    this.a = a;
    this.b = b;
    this.more = more;
  }

  write(out: ByteWriter): void {
    switch (this.tag) {
      case KIND.local:
        out.indexed(0x20, this.n);
        return;
      case KIND.op:
        this.a!.write(out);
        if (this.b !== undefined) this.b.write(out);
        out.u8(this.n);
        return;
      case KIND.const32:
        out.u8(0x41);
        out.s32(this.n);
        return;
      case KIND.const64:
        out.u8(0x42);
        if (this.more === undefined) out.s53(this.n);
        else out.s64(this.more as bigint);
        return;
      case KIND.load:
        this.a!.write(out);
        if (this.n >= 0x100) out.indexed(this.n >> 8, this.n & 0xff);
        else out.u8(this.n);
        // Alignment is a hint only; guests are free to misalign.
        out.indexed(0, this.more as number);
        return;
      case KIND.tee:
        this.a!.write(out);
        out.indexed(0x22, this.n);
        return;
      default:
        this.#writeRare(out);
    }
  }

  #writeRare(out: ByteWriter): void {
    const { a, b } = this;
    switch (this.tag) {
      case KIND.const128:
        out.indexed(0xfd, 12);
        for (const byte of this.more as readonly number[]) out.u8(byte);
        return;
      case KIND.prefixed: {
        const [operands, immediates] = this.more as readonly [readonly Expr[], readonly number[]];
        for (const operand of operands) operand.write(out);
        out.indexed(this.n >> 16, this.n & 0xffff);
        for (const byte of immediates) out.u8(byte);
        return;
      }
      case KIND.displaced:
        a!.write(out);
        if (this.n === 0) return;
        out.u8(0x41);
        out.s32(this.n);
        out.u8(0x6a);
        return;
      case KIND.call:
        for (const argument of this.more as readonly Expr[]) argument.write(out);
        out.u8(0x10);
        out.u14Fixed(this.n, CALLED);
        return;
      case KIND.symbol:
        out.u8(0x41);
        out.s32Fixed(this.n, this.more as number);
        return;
      case KIND.select:
        a!.write(out);
        b!.write(out);
        (this.more as Expr).write(out);
        if (this.type === 'v128') {
          out.u8(0x1c);
          out.u8(1);
          out.u8(VAL_TYPE_CODE.v128);
        } else out.u8(0x1b);
        return;
      default:
        // ifElse
        (this.more as Expr).write(out);
        out.u8(0x04);
        out.u8(VAL_TYPE_CODE[this.type]);
        a!.write(out);
        out.u8(0x05);
        b!.write(out);
        out.u8(0x0b);
    }
  }
}

/** A local, as its value. */
export type LocalGet = Expr & { readonly tag: typeof KIND.local };

export function localGet(type: ValType, index: number, temporary = false): LocalGet {
  return new Expr(KIND.local, type, index, undefined, undefined, temporary ? 1 : undefined) as LocalGet;
}
