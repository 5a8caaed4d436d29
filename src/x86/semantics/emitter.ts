/**
 * What instruction definitions are written against. A definition says once what an instruction does, as expressions
 * and statements; who reads it decides where operands live: the interpreter's handlers take them from a decoded
 * record and from memory, the translator has registers in locals and operands as constants. The rules for a
 * definition: everything that can fail (memory, faults) comes before anything that changes architectural state;
 * pin with `tmp` what is read twice or before a write.
 *
 * Values of 8, 16 and 32 bits are i32, zero-extended; 64 bits are i64; vectors are v128.
 */
import { assert } from '../../core/errors.ts';
import type { Expr, LocalGet, ValType } from '../../wasm/expr.ts';
import type { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import type { ImmOperand, Insn, Operand } from '../decode/insn.ts';
import * as L from '../layout.ts';
import { carryExpr, conditionExpr, type FlagSource } from './flags.ts';
import { RUNTIME_FUNCTIONS, type RuntimeFunction } from './runtime-functions.ts';

export type Semantics = (e: Emitter, ...operands: Operand[]) => void;

export type Size = 1 | 2 | 4 | 8;

/** In place of a segment number: the segment of the instruction's memory operand. */
export const MEMORY_OPERAND = -1;

/** Makes a runtime function callable in the module that is being built. */
export type RuntimeImports = (name: RuntimeFunction) => number;

export abstract class Emitter {
  readonly f: FunctionBuilder;
  /** The instruction at hand. */
  insn!: Insn;
  /** 64-bit code. */
  readonly long: boolean;
  /** True when operands are known while the code is made (translator), false when a record holds them. */
  abstract readonly constantOperands: boolean;
  readonly #runtime: RuntimeImports;

  constructor(f: FunctionBuilder, long: boolean, runtime: RuntimeImports) {
    this.f = f;
    this.long = long;
    this.#runtime = runtime;
  }

  // --- to be provided by the reader -----------------------------------------------------------------------------

  /** A general register by number: RAX 0, RCX 1, RDX 2, RBX 3, RSP 4, RBP 5, RSI 6, RDI 7. */
  abstract gpr(reg: number, size: Size): Expr;
  abstract setGpr(reg: number, size: Size, x: Expr): void;
  protected abstract readRegister(operand: Operand & { kind: 'gpr' }): Expr;
  protected abstract writeRegister(operand: Operand & { kind: 'gpr' }, x: Expr): void;
  abstract xmm(reg: number): Expr;
  abstract setXmm(reg: number, x: Expr): void;
  protected abstract readXmm(operand: Operand & { kind: 'xmm' }): Expr;
  protected abstract writeXmm(operand: Operand & { kind: 'xmm' }, x: Expr): void;
  /** Address in memory of the i64 of an MMX operand. */
  protected abstract mmxAddress(operand: Operand & { kind: 'mmx' }): Expr;
  /** Effective address of the memory operand, without segment, cut to the address size. i64. */
  abstract effectiveAddress(): Expr;
  /** Base of the memory operand's segment, or undefined when it is known to be 0. i64. */
  protected abstract segmentBase(): Expr | undefined;
  /** The immediate as a value of `size` bytes. */
  protected abstract immediate(operand: ImmOperand, size: Size): Expr;
  /** i32 address of `size` readable bytes at linear `va` (pinned); leaves the instruction when there are none. */
  protected abstract readPointer(va: LocalGet, size: number): Expr;
  protected abstract writeMemory(va: LocalGet, size: number, x: Expr): void;
  /** i32 address of bytes that may be read and written; `done` must follow when it has been written. */
  protected abstract updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void };
  /** Leaves the instruction because a runtime function failed. */
  abstract fail(): void;
  /** Raises an exception at this instruction: nothing of it has happened. Error code -1 = none. */
  abstract raise(vector: number, error?: number): void;
  /** Sets the lazy flags; values are i64, zero-extended. */
  protected abstract setLazyFlags(op: number, dst: Expr, src?: Expr, src2?: Expr): void;
  /** Replaces CF (i32, 0 or 1), and OF unless that is left out; the other flags stay as they are. */
  abstract overrideCarry(carry: Expr, overflow?: Expr): void;
  /** Replaces OF (i32, 0 or 1) alone. */
  abstract overrideOverflow(overflow: Expr): void;
  /** The lazy flags as they are now. */
  protected abstract flagSource(): FlagSource;
  /** Runs `body`, which sets flags, only if `condition` is nonzero. */
  abstract flagsIf(condition: Expr, body: () => void): void;
  /** Ends the block: continues at a relative target, at the next instruction, or at an address. */
  abstract jumpRelative(operand: Operand): void;
  abstract jumpIf(condition: Expr, operand: Operand): void;
  abstract jumpTo(rip: Expr): void;
  /** Ends the block: call and return, told apart so that a reader can predict. The stack work is already done. */
  abstract jumpCall(operand: Operand | Expr): void;
  abstract jumpReturn(rip: Expr): void;
  /** RIP of the next instruction, i64. */
  abstract nextRip(): Expr;
  /** Calls `name(record)`, which may read and change any state; its status ends the instruction if not NEXT. */
  abstract callHelper(name: string): void;

  /** Leaves the instruction, as `fail`, if `condition` holds, which is hardly ever so. */
  failIf(condition: Expr): void {
    this.f.ifRarely(condition, () => this.fail());
  }
  /** Raises an exception, as `raise`, if `condition` holds. */
  raiseIf(condition: Expr, vector: number, error?: number): void {
    this.f.ifRarely(condition, () => this.raise(vector, error));
  }

  // --- common ---------------------------------------------------------------------------------------------------

  /** A call of a runtime function that has a result. */
  rt(name: RuntimeFunction, ...args: Expr[]): Expr {
    const [params, result] = RUNTIME_FUNCTIONS[name] as readonly [readonly ValType[], ValType | undefined];
    assert(args.length === params.length, `runtime function ${name}: wrong number of arguments`);
    return w.call(result ?? 'i32', this.#runtime(name), args);
  }

  tmp(x: Expr): LocalGet {
    return this.f.tmp(x);
  }

  /** Like `tmp`, but leaves constants as they are. */
  pin(x: Expr): Expr {
    return w.constantOf(x) === undefined ? this.f.tmp(x) : x;
  }

  /** All 64 bits of the register that an operand names. */
  gprOf(operand: Operand): Expr {
    assert(operand.kind === 'gpr', 'register operand expected');
    return this.readRegister({ ...operand, size: 8, high: false });
  }

  setGprOf(operand: Operand, x: Expr): void {
    assert(operand.kind === 'gpr', 'register operand expected');
    this.writeRegister({ ...operand, size: 8, high: false }, x);
  }

  /** Size of an operand in bytes. */
  size(operand: Operand): Size {
    return operand.size as Size;
  }

  /** Linear address of the memory operand, pinned; `write` tells segment checks what it is for. */
  linear(size: number, write: boolean, ea: Expr = this.effectiveAddress()): LocalGet {
    if (this.long) {
      const base = this.segmentBase();
      return this.tmp(base === undefined ? ea : w.add(ea, base));
    }
    return this.segmented(MEMORY_OPERAND, ea, size, write);
  }

  /** Linear address of `ea` in segment `seg` (an instruction's implicit operand). */
  linearOf(seg: number, ea: Expr, size: number, write: boolean): LocalGet {
    if (!this.long) return this.segmented(seg, ea, size, write);
    return this.tmp(seg < 4 ? ea : w.add(ea, w.load64(w.i32(0), L.SEG_BASE + 8 * seg)));
  }

  /** Linear address of the memory operand moved by `offset` bytes (i64). */
  linearWithOffset(offset: Expr, size: number, write: boolean): LocalGet {
    const { addrsize } = this.insn;
    const sum = w.add(this.effectiveAddress(), offset);
    const ea = addrsize === 8 ? sum : w.and(sum, w.i64(addrsize === 4 ? 0xffffffff : 0xffff));
    if (!this.long) return this.segmented(MEMORY_OPERAND, ea, size, write);
    const base = this.segmentBase();
    return this.tmp(base === undefined ? ea : w.add(ea, base));
  }

  /** Checks segment limit and type outside 64-bit mode (SDM volume 3, 5.3); gives the linear address. */
  protected segmented(seg: number, offset: Expr, size: number, write: boolean): LocalGet {
    const number = seg === MEMORY_OPERAND ? this.insn.mem!.seg : seg;
    const linear = this.tmp(this.rt('segLinear', w.i32(number), offset, w.i32(size), w.i32(write ? 1 : 0)));
    this.failIf(w.eq(linear, w.i64(-1)));
    return linear;
  }

  loadAt(va: LocalGet, size: number): Expr {
    const address = this.readPointer(va, size);
    return loadBySize(address, size);
  }

  storeAt(va: LocalGet, size: number, x: Expr): void {
    this.writeMemory(va, size, x);
  }

  /** The value of an operand. Memory is read at once; registers when the expression is used. */
  read(operand: Operand): Expr {
    switch (operand.kind) {
      case 'gpr':
        return this.readRegister(operand);
      case 'imm':
        return this.immediate(operand, operand.size as Size);
      case 'mem':
        return this.tmp(this.loadAt(this.linear(operand.size, false), operand.size));
      case 'mmx':
        return operand.size === 4 ? w.load32(this.mmxAddress(operand)) : w.load64(this.mmxAddress(operand));
      default:
        throw new Error(`read of a ${operand.kind} operand`);
    }
  }

  /** Like `read`, with an immediate taken as a value of `size` bytes. */
  readAs(operand: Operand, size: Size): Expr {
    return operand.kind === 'imm' ? this.immediate(operand, size) : this.read(operand);
  }

  /** Like `readAs`, for a value that is used once, before anything else happens: not even memory is read at once. */
  readOnce(operand: Operand, size: Size): Expr {
    if (operand.kind !== 'mem') return this.readAs(operand, size);
    return this.loadAt(this.linear(operand.size, false), operand.size);
  }

  write(operand: Operand, x: Expr): void {
    switch (operand.kind) {
      case 'gpr':
        return this.writeRegister(operand, x);
      case 'mem': {
        const value = this.tmp(x);
        return this.writeMemory(this.linear(operand.size, true), operand.size, value);
      }
      case 'mmx':
        return this.f.store64(this.mmxAddress(operand), x);
      default:
        throw new Error(`write of a ${operand.kind} operand`);
    }
  }

  /** Reads, computes and writes one operand; `compute` may set flags (the write can no longer fail then). */
  update(operand: Operand, compute: (old: LocalGet) => Expr): void {
    if (operand.kind !== 'mem') {
      this.write(operand, compute(this.tmp(this.read(operand))));
      return;
    }
    this.updateAt(this.linear(operand.size, true), operand.size, compute);
  }

  updateAt(va: LocalGet, size: number, compute: (old: LocalGet) => Expr): void {
    const { address, done } = this.updatePointer(va, size);
    const result = compute(this.tmp(loadBySize(address, size)));
    storeBySize(this.f, address, size, result);
    done();
  }

  /** All 16 bytes of an XMM operand; memory of fewer bytes is zero-extended. Aligned unless the form says not. */
  readVector(operand: Operand): Expr {
    if (operand.kind === 'xmm') return this.readXmm(operand);
    assert(operand.kind === 'mem', 'vector operand expected');
    const va = this.linear(operand.size, false);
    this.#checkAlignment(va, operand.size);
    const address = this.readPointer(va, operand.size);
    switch (operand.size) {
      case 16:
        return this.tmp(w.load128(address));
      case 8:
        return this.tmp(w.load64zero(address));
      case 4:
        return this.tmp(w.load32zero(address));
      default: {
        const x = operand.size === 2 ? w.load16u(address) : w.load8u(address);
        return this.tmp(w.simd('v128', 0x1c, [w.v128(ZERO_VECTOR), x], [0]));
      }
    }
  }

  /** Writes all of an XMM register, or the low `size` bytes to memory. */
  writeVector(operand: Operand, x: Expr): void {
    if (operand.kind === 'xmm') return this.writeXmm(operand, x);
    assert(operand.kind === 'mem', 'vector operand expected');
    const value = this.tmp(x);
    const va = this.linear(operand.size, true);
    this.#checkAlignment(va, operand.size);
    if (operand.size === 16) this.writeMemory(va, 16, value);
    else if (operand.size === 8) this.writeMemory(va, 8, w.simd('i64', 0x1d, [value], [0]));
    else this.writeMemory(va, operand.size, w.simd('i32', 0x1b, [value], [0]));
  }

  /** Writes an MMX register; the exponent part of the x87 register it lies in becomes all ones. */
  writeMmx(operand: Operand, x: Expr): void {
    assert(operand.kind === 'mmx', 'MMX operand expected');
    const value = this.tmp(x);
    this.f.store64(this.mmxAddress(operand), value);
    this.f.store16(this.mmxAddress(operand), w.i32(0xffff), 8);
  }

  /** Before an instruction touches MMX registers: x87 exceptions, TOP and tags (SDM volume 3, 13.2). No-op for SSE. */
  enterMmx(): void {
    if (!this.insn.operands.some((operand) => operand.kind === 'mmx')) return;
    this.failIf(this.rt('mmx_enter'));
  }

  /** An immediate that shapes the code (a shuffle's order): the form must be flagged `imm`. */
  constantImmediate(operand: Operand): number {
    assert(operand.kind === 'imm' && this.insn.def.flagSet.has('imm'), 'constant immediate expected');
    return Number(operand.value) & 0xff;
  }

  /** SDM volume 2, table 2-21: legacy SSE memory operands of 16 bytes must be aligned. */
  #checkAlignment(va: LocalGet, size: number): void {
    if (size !== 16 || this.insn.def.flagSet.has('unaligned')) return;
    this.raiseIf(w.and(w.wrap(va), 15), 13, 0);
  }

  // --- flags ----------------------------------------------------------------------------------------------------

  /** Sets all six arithmetic flags from an operation of `size` (kinds: CC_* of layout.ts). */
  flags(kind: number, size: Size, dst: Expr, src?: Expr, src2?: Expr): void {
    const widen = (x: Expr): Expr => (x.type === 'i64' ? x : w.zext(x));
    this.setLazyFlags(
      kind + Math.log2(size),
      widen(dst),
      src === undefined ? undefined : widen(src),
      src2 === undefined ? undefined : widen(src2),
    );
  }

  /** Sets all six arithmetic flags to the given bits at their places in RFLAGS (i32). */
  flagBits(bits: Expr): void {
    this.setLazyFlags(L.CC_EFLAGS, w.i64(0), w.zext(bits));
  }

  /** The six arithmetic flags at their places in RFLAGS, i32. */
  arithmeticFlags(): Expr {
    const source = this.flagSource();
    if (source.known === L.CC_EFLAGS) {
      let bits = w.wrap(source.src);
      if (source.carry !== undefined) bits = w.or(w.and(bits, ~1), source.carry);
      if (source.overflow !== undefined) bits = w.or(w.and(bits, ~0x800), w.shl(source.overflow, 11));
      return bits;
    }
    return this.rt('flagsOf', source.op, source.dst, source.src, source.src2);
  }

  /** 1 if condition code `cc` (as in Jcc: 0 O, 2 B, 4 Z, 6 BE, 8 S, 10 P, 12 L, 14 LE; odd = not) holds. */
  condition(cc: number): Expr {
    const source = this.flagSource();
    const known = conditionExpr(cc, source);
    if (known !== undefined) return known;
    const { op, dst, src, src2 } = source;
    const asked = this.rt('condOf', w.i32(cc), op, dst, src, src2);
    return cc === 0 ? this.#kept(source, L.CC_OVER_OF, L.CC_OVERFLOW_SHIFT, asked) : asked;
  }

  carry(): Expr {
    const source = this.flagSource();
    const { op, dst, src, src2 } = source;
    return (
      carryExpr(source) ??
      this.#kept(source, L.CC_OVER_CF, L.CC_CARRY_SHIFT, this.rt('carryOf', op, dst, src, src2))
    );
  }

  /** CF or OF out of CC_OP if it is kept there, else as `asked` for: a look at it is worth more than a call. */
  #kept({ known, op }: FlagSource, over: number, shift: number, asked: Expr): Expr {
    if (known !== undefined || !this.constantOperands) return asked;
    return w.ifElse(w.and(op, over), w.and(w.shrU(op, shift), 1), asked);
  }

  /** The other bits of RFLAGS (DF, IF, AC, …) live in memory in both readers. */
  systemFlags(): Expr {
    return w.load32(w.i32(0), L.EFLAGS);
  }

  // --- stack ----------------------------------------------------------------------------------------------------

  /** Pushes `x` (i32 for sizes up to 4, i64 for 8). */
  push(size: Size, x: Expr): void {
    const value = this.tmp(x);
    const top = this.stackTop(-size);
    this.writeMemory(top.linear(size, true), size, value);
    top.commit();
  }

  /** Pops a value; RSP has changed when it returns. */
  pop(size: Size): LocalGet {
    const value = this.peek(0, size);
    this.stackTop(size).commit();
    return value;
  }

  /** Reads the stack at RSP + `offset`, changing nothing. */
  peek(offset: number, size: Size): LocalGet {
    const at = this.stackTop(offset);
    return this.tmp(this.loadAt(at.linear(size, false), size));
  }

  /** RSP moved by `delta` in the stack's address size; `commit` makes it so. */
  stackTop(delta: number): { linear: (size: number, write: boolean) => LocalGet; commit: () => void } {
    if (this.long) {
      const rsp = this.tmp(w.add(this.gpr(4, 8), w.i64(delta)));
      return { linear: () => rsp, commit: () => this.setGpr(4, 8, rsp) };
    }
    // MODE's stack bits: 0 = 16-bit SP, else 32-bit ESP
    const mask = this.tmp(
      w.select(w.and(w.load32(w.i32(0), L.MODE), 3 << L.MODE_STACK_SHIFT), w.i64(0xffffffff), w.i64(0xffff)),
    );
    const moved = this.tmp(w.and(w.add(this.gpr(4, 8), w.i64(delta)), mask));
    return {
      linear: (size, write) => this.segmented(2, moved, size, write),
      commit: () => this.setGpr(4, 8, w.or(w.and(this.gpr(4, 8), w.xor(mask, w.i64(-1))), moved)),
    };
  }

  /** Cuts a value to an operand size: zero-extends 8 and 16 bits in an i32. */
  cut(size: Size, x: Expr): Expr {
    return size === 1 ? w.and(x, 0xff) : size === 2 ? w.and(x, 0xffff) : x;
  }

  /** Sign-extends the low 8 or 16 bits of an i32; other sizes are as they are. */
  signed(size: Size, x: Expr): Expr {
    return size === 1 ? w.ext8(x) : size === 2 ? w.ext16(x) : x;
  }
}

const ZERO_VECTOR = Array.from({ length: 16 }, () => 0);

export function loadBySize(address: Expr, size: number): Expr {
  switch (size) {
    case 1:
      return w.load8u(address);
    case 2:
      return w.load16u(address);
    case 4:
      return w.load32(address);
    case 8:
      return w.load64(address);
    default:
      return w.load128(address);
  }
}

export function storeBySize(f: FunctionBuilder, address: Expr, size: number, x: Expr): void {
  switch (size) {
    case 1:
      return f.store8(address, x);
    case 2:
      return f.store16(address, x);
    case 4:
      return f.store32(address, x);
    case 8:
      return f.store64(address, x);
    default:
      return f.store128(address, x);
  }
}
