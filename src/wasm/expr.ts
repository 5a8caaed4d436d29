/**
 * Expressions of a WebAssembly function, as small trees that are written out in one pass. Building one has no
 * effect and its value is computed where it is used: pin it in a local (`FunctionBuilder.tmp`) when it is used twice
 * or when something it reads may change in between. Constants fold as they are built. Fields are only declared, not
 * defined: these objects are made by the million, and a defined field is written twice.
 */
import type { ByteWriter } from './bytes.ts';

export type ValType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128';

export const VAL_TYPE_CODE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b } as const;

export abstract class Expr {
  declare readonly type: ValType;
  constructor(type: ValType) {
    this.type = type;
  }
  abstract write(out: ByteWriter): void;
}

export class Const32 extends Expr {
  declare readonly value: number;
  constructor(value: number) {
    super('i32');
    this.value = value | 0;
  }
  write(out: ByteWriter): void {
    out.u8(0x41);
    out.s32(this.value);
  }
}

export class Const64 extends Expr {
  declare readonly value: bigint;
  constructor(value: bigint) {
    super('i64');
    this.value = BigInt.asIntN(64, value);
  }
  write(out: ByteWriter): void {
    out.u8(0x42);
    if (this.value >= -0x8000_0000n && this.value <= 0x7fff_ffffn) out.s32(Number(this.value));
    else out.s64(this.value);
  }
}

/** A v128 constant of 16 bytes, or a lane shuffle's pattern. */
export class Const128 extends Expr {
  declare readonly bytes: readonly number[];
  constructor(bytes: readonly number[]) {
    super('v128');
    this.bytes = bytes;
  }
  write(out: ByteWriter): void {
    out.u8(0xfd);
    out.u32(12);
    for (const byte of this.bytes) out.u8(byte);
  }
}

export class LocalGet extends Expr {
  declare readonly index: number;
  constructor(type: ValType, index: number) {
    super(type);
    this.index = index;
  }
  write(out: ByteWriter): void {
    out.u8(0x20);
    out.u32(this.index);
  }
}

export class LocalTee extends Expr {
  declare readonly index: number;
  declare readonly value: Expr;
  constructor(index: number, value: Expr) {
    super(value.type);
    this.index = index;
    this.value = value;
  }
  write(out: ByteWriter): void {
    this.value.write(out);
    out.u8(0x22);
    out.u32(this.index);
  }
}

/** A one-byte operation on one or two operands. */
export class Op extends Expr {
  declare readonly opcode: number;
  declare readonly a: Expr;
  declare readonly b: Expr | undefined;
  constructor(type: ValType, opcode: number, a: Expr, b?: Expr) {
    super(type);
    this.opcode = opcode;
    this.a = a;
    this.b = b;
  }
  write(out: ByteWriter): void {
    this.a.write(out);
    this.b?.write(out);
    out.u8(this.opcode);
  }
}

/** An operation with a prefix byte (0xFC saturating, 0xFD vector, 0xFE atomic), operands, and immediate bytes. */
export class PrefixOp extends Expr {
  declare readonly prefix: number;
  declare readonly opcode: number;
  declare readonly operands: readonly Expr[];
  declare readonly immediates: readonly number[];
  constructor(
    type: ValType,
    prefix: number,
    opcode: number,
    operands: readonly Expr[],
    immediates: readonly number[] = [],
  ) {
    super(type);
    this.prefix = prefix;
    this.opcode = opcode;
    this.operands = operands;
    this.immediates = immediates;
  }
  write(out: ByteWriter): void {
    for (const operand of this.operands) operand.write(out);
    out.u8(this.prefix);
    out.u32(this.opcode);
    for (const byte of this.immediates) out.u8(byte);
  }
}

/** An address plus an offset that is known not to wrap around: loads and stores take the offset into the instruction. */
export class Displaced extends Expr {
  declare readonly base: Expr;
  declare readonly offset: number;
  constructor(base: Expr, offset: number) {
    super('i32');
    this.base = base;
    this.offset = offset;
  }
  write(out: ByteWriter): void {
    this.base.write(out);
    if (this.offset === 0) return;
    out.u8(0x41);
    out.s32(this.offset);
    out.u8(0x6a);
  }
}

export class Load extends Expr {
  declare readonly opcode: number;
  declare readonly address: Expr;
  declare readonly offset: number;
  constructor(type: ValType, opcode: number, address: Expr, offset: number) {
    super(type);
    this.opcode = opcode;
    const displaced = address instanceof Displaced;
    this.address = displaced ? address.base : address;
    this.offset = displaced ? address.offset + offset : offset;
  }
  write(out: ByteWriter): void {
    this.address.write(out);
    if (this.opcode >= 0x100) {
      out.u8(this.opcode >> 8);
      out.u32(this.opcode & 0xff);
    } else out.u8(this.opcode);
    // Alignment is a hint only; guests are free to misalign.
    out.u32(0);
    out.u32(this.offset);
  }
}

export class Call extends Expr {
  declare readonly index: number;
  declare readonly args: readonly Expr[];
  constructor(type: ValType, index: number, args: readonly Expr[]) {
    super(type);
    this.index = index;
    this.args = args;
  }
  write(out: ByteWriter): void {
    for (const arg of this.args) arg.write(out);
    out.u8(0x10);
    out.u32(this.index);
  }
}

/** `condition ? a : b`, both computed. */
export class Select extends Expr {
  declare readonly condition: Expr;
  declare readonly a: Expr;
  declare readonly b: Expr;
  constructor(condition: Expr, a: Expr, b: Expr) {
    super(a.type);
    this.condition = condition;
    this.a = a;
    this.b = b;
  }
  write(out: ByteWriter): void {
    this.a.write(out);
    this.b.write(out);
    this.condition.write(out);
    if (this.type === 'v128') {
      out.u8(0x1c);
      out.u8(1);
      out.u8(VAL_TYPE_CODE.v128);
    } else out.u8(0x1b);
  }
}

/** `condition ? a : b`, only one computed. */
export class IfExpr extends Expr {
  declare readonly condition: Expr;
  declare readonly a: Expr;
  declare readonly b: Expr;
  constructor(condition: Expr, a: Expr, b: Expr) {
    super(a.type);
    this.condition = condition;
    this.a = a;
    this.b = b;
  }
  write(out: ByteWriter): void {
    this.condition.write(out);
    out.u8(0x04);
    out.u8(VAL_TYPE_CODE[this.type]);
    this.a.write(out);
    out.u8(0x05);
    this.b.write(out);
    out.u8(0x0b);
  }
}
