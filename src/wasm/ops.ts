/**
 * Constructors of expressions. Integer operations take the width of their first operand that has one; plain numbers
 * (and bigints, for 64 bit) stand for constants. Opcodes: WebAssembly core specification §5.4.
 */
import { assert } from '../core/errors.ts';
import { Expr, KIND, type ValType } from './expr.ts';

export type Arg = Expr | number | bigint;

/** Constants from -64 on, made once: most are small. */
const SMALL = 1024;
const small32: Expr[] = [];
const small64: Expr[] = [];

export function i32(value: number): Expr {
  const n = value | 0;
  const at = n + 64;
  if (at < 0 || at >= SMALL) return new Expr(KIND.const32, 'i32', n);
  return (small32[at] ??= new Expr(KIND.const32, 'i32', n));
}

/** A constant that is replaced when the code is used again; `what` is a number from 0 on that the user knows. */
export const symbol = (value: number, what: number): Expr =>
  new Expr(KIND.symbol, 'i32', value, undefined, undefined, what);

export function i64(value: number | bigint): Expr {
  if (typeof value === 'bigint') {
    const signed = BigInt.asIntN(64, value);
    const n = Number(signed);
    if (!Number.isSafeInteger(n))
      return new Expr(KIND.const64, 'i64', Number.NaN, undefined, undefined, signed);
    value = n;
  } else if (!Number.isSafeInteger(value)) return i64(BigInt(value));
  const at = value + 64;
  if (at < 0 || at >= SMALL) return new Expr(KIND.const64, 'i64', value);
  return (small64[at] ??= new Expr(KIND.const64, 'i64', value));
}

/** The value of a constant expression (signed; a bigint beyond 2^53), or undefined. */
export function constantOf(x: Expr): number | bigint | undefined {
  if (x.tag === KIND.const32) return x.n;
  return x.tag === KIND.const64 ? ((x.more as bigint | undefined) ?? x.n) : undefined;
}

/** The value of an i64 constant. */
const bigOf = (x: Expr): bigint => (x.more as bigint | undefined) ?? BigInt(x.n);
/** Whether `x` is the constant `n`, small enough, in either width. */
const isConstant = (x: Expr, n: number): boolean =>
  (x.tag === KIND.const32 || x.tag === KIND.const64) && x.n === n;

export function lift(x: Arg, type: ValType): Expr {
  if (typeof x === 'object') return x;
  return type === 'i64' ? i64(x) : i32(Number(x));
}

/** The width of an operation on integers: that of an operand that has one. */
function widthOf(left: Arg, right: Arg): 'i32' | 'i64' {
  const wide =
    (typeof left === 'object' && left.type === 'i64') || (typeof right === 'object' && right.type === 'i64');
  return wide ? 'i64' : 'i32';
}

type Fold32 = (a: number, b: number) => number;
type Fold64 = (a: bigint, b: bigint) => bigint;

/** An integer operation that exists for both widths; `fold` computes it on constants. */
function binary(op32: number, op64: number, fold32: Fold32, fold64: Fold64, rightZeroIsIdentity: boolean) {
  return (left: Arg, right: Arg): Expr => {
    const type = widthOf(left, right);
    const a = lift(left, type);
    const b = lift(right, type);
    assert(a.type === type && b.type === type, 'operands of different types');
    if (b.tag === KIND.const32 && a.tag === KIND.const32) return i32(fold32(a.n, b.n));
    if (b.tag === KIND.const64 && a.tag === KIND.const64) return i64(fold64(bigOf(a), bigOf(b)));
    if (rightZeroIsIdentity && isConstant(b, 0)) return a;
    return new Expr(KIND.op, type, type === 'i64' ? op64 : op32, a, b);
  };
}

function compare(op32: number, op64: number) {
  return (left: Arg, right: Arg): Expr => {
    const type = widthOf(left, right);
    const a = lift(left, type);
    const b = lift(right, type);
    assert(a.type === type && b.type === type, 'operands of different types');
    return new Expr(KIND.op, 'i32', type === 'i64' ? op64 : op32, a, b);
  };
}

const u64 = (x: bigint): bigint => BigInt.asUintN(64, x);
const s63 = (x: bigint): bigint => x & 63n;

export const add = binary(
  0x6a,
  0x7c,
  (a, b) => a + b,
  (a, b) => a + b,
  true,
);
export const sub = binary(
  0x6b,
  0x7d,
  (a, b) => a - b,
  (a, b) => a - b,
  true,
);
export const mul = binary(0x6c, 0x7e, Math.imul, (a, b) => a * b, false);
const andOp = binary(
  0x71,
  0x83,
  (a, b) => a & b,
  (a, b) => a & b,
  false,
);
export const and = (a: Arg, b: Arg): Expr => {
  if (typeof b === 'object' ? isConstant(b, -1) : b === -1 || b === -1n)
    return lift(a, typeof b === 'object' ? b.type : 'i32');
  return andOp(a, b);
};
export const or = binary(
  0x72,
  0x84,
  (a, b) => a | b,
  (a, b) => a | b,
  true,
);
export const xor = binary(
  0x73,
  0x85,
  (a, b) => a ^ b,
  (a, b) => a ^ b,
  true,
);
export const shl = binary(
  0x74,
  0x86,
  (a, b) => a << b,
  (a, b) => a << s63(b),
  true,
);
export const shrS = binary(
  0x75,
  0x87,
  (a, b) => a >> b,
  (a, b) => a >> s63(b),
  true,
);
export const shrU = binary(
  0x76,
  0x88,
  (a, b) => a >>> b,
  (a, b) => u64(a) >> s63(b),
  true,
);
const opOnly = (op32: number, op64: number) => (a: Expr, b: Arg) =>
  op(a.type, a.type === 'i64' ? op64 : op32, a, lift(b, a.type));
export const rotl = opOnly(0x77, 0x89);
export const rotr = opOnly(0x78, 0x8a);
/** Division traps on zero and on overflow: the caller has excluded both. */
export const divS = opOnly(0x6d, 0x7f);
export const divU = opOnly(0x6e, 0x80);
export const remS = opOnly(0x6f, 0x81);
export const remU = opOnly(0x70, 0x82);

export const eq = compare(0x46, 0x51);
export const ne = compare(0x47, 0x52);
export const ltS = compare(0x48, 0x53);
export const ltU = compare(0x49, 0x54);
export const gtS = compare(0x4a, 0x55);
export const gtU = compare(0x4b, 0x56);
export const leS = compare(0x4c, 0x57);
export const leU = compare(0x4d, 0x58);
export const geS = compare(0x4e, 0x59);
export const geU = compare(0x4f, 0x5a);

/** 1 when zero. */
export const eqz = (x: Expr): Expr =>
  x.tag === KIND.const32 || x.tag === KIND.const64
    ? i32(x.n === 0 ? 1 : 0)
    : op('i32', x.type === 'i64' ? 0x50 : 0x45, x);
const unary = (op32: number, op64: number) => (x: Expr) => op(x.type, x.type === 'i64' ? op64 : op32, x);
export const clz = unary(0x67, 0x79);
export const ctz = unary(0x68, 0x7a);
export const popcnt = unary(0x69, 0x7b);

/** i64 to i32, low half. */
export function wrap(x: Expr): Expr {
  if (x.tag === KIND.const64) return i32(x.more === undefined ? x.n : Number(BigInt.asIntN(32, bigOf(x))));
  if (x.tag === KIND.op && (x.n === 0xad || x.n === 0xac)) return x.a!;
  return op('i32', 0xa7, x);
}
/** i32 to i64, zero-extended. */
export const zext = (x: Expr): Expr => (x.tag === KIND.const32 ? i64(x.n >>> 0) : op('i64', 0xad, x));
/** i32 to i64, sign-extended. */
export const sext = (x: Expr): Expr => (x.tag === KIND.const32 ? i64(x.n) : op('i64', 0xac, x));
/** Sign-extends the low byte / 16 bits / 32 bits in place. */
export const ext8 = (x: Expr): Expr =>
  x.tag === KIND.const32 ? i32((x.n << 24) >> 24) : op(x.type, x.type === 'i64' ? 0xc2 : 0xc0, x);
export const ext16 = (x: Expr): Expr =>
  x.tag === KIND.const32 ? i32((x.n << 16) >> 16) : op(x.type, x.type === 'i64' ? 0xc3 : 0xc1, x);
export const ext32 = (x: Expr): Expr => op('i64', 0xc4, x);

export const select = (condition: Expr, a: Expr, b: Expr): Expr => {
  if (condition.tag === KIND.const32) return condition.n !== 0 ? a : b;
  return new Expr(KIND.select, a.type, 0, a, b, condition);
};
export const ifElse = (condition: Expr, a: Expr, b: Expr): Expr => {
  if (condition.tag === KIND.const32) return condition.n !== 0 ? a : b;
  return new Expr(KIND.ifElse, a.type, 0, a, b, condition);
};

function load(type: ValType, opcode: number, address: Expr, offset: number): Expr {
  if (address.tag !== KIND.displaced) return new Expr(KIND.load, type, opcode, address, undefined, offset);
  return new Expr(KIND.load, type, opcode, address.a, undefined, address.n + offset);
}
/** An address plus an offset that is known not to wrap around: loads and stores take the offset into the instruction. */
export const displaced = (base: Expr, offset: number): Expr => new Expr(KIND.displaced, 'i32', offset, base);
/** Loads: `address` is an i32, `offset` a constant added to it without wrap-around. */
export const load8u = (address: Expr, offset = 0): Expr => load('i32', 0x2d, address, offset);
export const load8s = (address: Expr, offset = 0): Expr => load('i32', 0x2c, address, offset);
export const load16u = (address: Expr, offset = 0): Expr => load('i32', 0x2f, address, offset);
export const load16s = (address: Expr, offset = 0): Expr => load('i32', 0x2e, address, offset);
export const load32 = (address: Expr, offset = 0): Expr => load('i32', 0x28, address, offset);
export const load64 = (address: Expr, offset = 0): Expr => load('i64', 0x29, address, offset);
export const load128 = (address: Expr, offset = 0): Expr => load('v128', 0xfd00, address, offset);
/** Loads 32 or 64 bits into a vector whose other lanes are zero. */
export const load32zero = (address: Expr, offset = 0): Expr => load('v128', 0xfd5c, address, offset);
export const load64zero = (address: Expr, offset = 0): Expr => load('v128', 0xfd5d, address, offset);

/** Floating point on f32 / f64 (the type of the first operand). */
const float = (op32: number, op64: number) => (a: Expr, b: Expr) =>
  op(a.type, a.type === 'f64' ? op64 : op32, a, b);
const float1 = (op32: number, op64: number) => (a: Expr) => op(a.type, a.type === 'f64' ? op64 : op32, a);
const floatCompare = (op32: number, op64: number) => (a: Expr, b: Expr) =>
  op('i32', a.type === 'f64' ? op64 : op32, a, b);
export const fadd = float(0x92, 0xa0);
export const fsub = float(0x93, 0xa1);
export const fmul = float(0x94, 0xa2);
export const fdiv = float(0x95, 0xa3);
export const fsqrt = float1(0x91, 0x9f);
export const feq = floatCompare(0x5b, 0x61);
export const fne = floatCompare(0x5c, 0x62);
export const flt = floatCompare(0x5d, 0x63);
export const fgt = floatCompare(0x5e, 0x64);
/** Any operation by its opcode, for the conversions and reinterpretations that are used once. */
export const op = (type: ValType, opcode: number, a: Expr, b?: Expr): Expr =>
  new Expr(KIND.op, type, opcode, a, b);
/** A vector (0xFD) operation by number (SIMD proposal numbering of the core specification §5.4.9). */
export const simd = (type: ValType, opcode: number, operands: Expr[], immediates: number[] = []): Expr =>
  new Expr(KIND.prefixed, type, 0xfd0000 | opcode, undefined, undefined, [operands, immediates]);
/** Conversion to an integer that saturates (the 0xFC prefix); `a` is f32 or f64. */
export const truncSat = (type: 'i32' | 'i64', a: Expr): Expr =>
  new Expr(
    KIND.prefixed,
    type,
    0xfc0000 | ((type === 'i64' ? 4 : 0) + (a.type === 'f64' ? 2 : 0)),
    undefined,
    undefined,
    [[a], []],
  );
/** A v128 constant of 16 bytes, or a lane shuffle's pattern. */
export const v128 = (bytes: readonly number[]): Expr =>
  new Expr(KIND.const128, 'v128', 0, undefined, undefined, bytes);
/** A call of a function that has a result. */
export const call = (type: ValType, index: number, args: readonly Expr[]): Expr =>
  new Expr(KIND.call, type, index, undefined, undefined, args);
