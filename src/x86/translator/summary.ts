/**
 * What an instruction form does to memory and registers, found by having its definition write its code once and listening:
 * the accesses in order, and which general registers change. Lets the translator look ahead without a second description
 * of each instruction.
 */
import type { Expr, LocalGet } from '../../wasm/expr.ts';
import { FunctionBuilder } from '../../wasm/function.ts';
import * as w from '../../wasm/ops.ts';
import type { Insn, Operand } from '../decode/insn.ts';
import { variantOf } from '../interpreter/handlers.ts';
import type { Size } from '../semantics/emitter.ts';
import { RegionEmitter } from './emitter.ts';

/** An access at the instruction's memory operand, at the stack pointer plus `offset`, or anywhere. */
export interface Access {
  readonly place: 'operand' | 'stack' | 'other';
  readonly offset: number;
  readonly size: number;
  readonly write: boolean;
}

export interface Summary {
  readonly accesses: readonly Access[];
  /** Operands, by position, that are general registers and are written; and registers written by number. */
  readonly operands: readonly number[];
  readonly registers: readonly number[];
  /** RSP changes by this many bytes and in no other way; undefined: as `registers` says. */
  readonly stackDelta: number | undefined;
}

const RSP = 4;
/** By position in the table, then by variant. */
const cache: (Map<number, Summary> | undefined)[] = [];

/** The summary of an instruction that has a definition. */
export function summaryOf(insn: Insn): Summary {
  const variants = (cache[insn.def.index] ??= new Map());
  const variant = variantOf(insn, true);
  let summary = variants.get(variant);
  if (summary === undefined) {
    summary = new Recorder().summarize(insn);
    variants.set(variant, summary);
  }
  return summary;
}

class Recorder extends RegionEmitter {
  readonly #accesses: Access[] = [];
  readonly #operands = new Set<number>();
  readonly #registers = new Set<number>();
  /** Addresses that were handed out: where each points. */
  readonly #places = new Map<LocalGet, { place: 'operand' | 'stack'; offset: number }>();
  #stackDelta: number | undefined;
  #committing = false;

  constructor() {
    super(
      new FunctionBuilder(['i32', 'i64'], 'i32'),
      () => 0,
      () => 0,
    );
    this.flow = { goto: () => undefined, gotoRip: () => undefined };
    this.failLabel = this.helperLabel = this.recordLabel = { depth: 0 };
  }

  summarize(insn: Insn): Summary {
    this.translate(insn, 1, 0);
    return {
      accesses: this.#accesses,
      operands: [...this.#operands],
      registers: [...this.#registers],
      stackDelta: this.#registers.has(RSP) ? undefined : this.#stackDelta,
    };
  }

  override linear(size: number, write: boolean, ea?: Expr): LocalGet {
    if (ea !== undefined) return super.linear(size, write, ea);
    const va = super.linear(size, write);
    this.#places.set(va, { place: 'operand', offset: 0 });
    return va;
  }

  override stackTop(delta: number): ReturnType<RegionEmitter['stackTop']> {
    const { linear, commit } = super.stackTop(delta);
    return {
      linear: (size, write) => {
        const va = linear(size, write);
        // later accesses of one instruction count from RSP as it was before
        this.#places.set(va, { place: 'stack', offset: delta + (this.#stackDelta ?? 0) });
        return va;
      },
      commit: () => {
        this.#committing = true;
        commit();
        this.#committing = false;
        this.#stackDelta = (this.#stackDelta ?? 0) + delta;
      },
    };
  }

  override setGpr(reg: number, size: Size, x: Expr): void {
    if (!this.#committing) this.#registers.add(reg);
    super.setGpr(reg, size, x);
  }
  protected override writeRegister(operand: Operand & { kind: 'gpr' }, x: Expr): void {
    const position = this.insn.operands.findIndex(
      ({ kind, reg, high }) => kind === 'gpr' && reg === operand.reg && high === operand.high,
    );
    if (position >= 0) this.#operands.add(position);
    // the same register may be named by several operands, and in other instructions of the form it is not
    for (const [i, { kind, reg }] of this.insn.operands.entries())
      if (kind === 'gpr' && reg === operand.reg) this.#operands.add(i);
    super.writeRegister(operand, x);
  }

  #access(va: LocalGet, size: number, write: boolean): void {
    const known = this.f.nesting === 0 ? this.#places.get(va) : undefined;
    this.#accesses.push({ place: 'other', offset: 0, ...known, size, write });
  }
  protected override readPointer(va: LocalGet, size: number): Expr {
    this.#access(va, size, false);
    return w.i32(0);
  }
  protected override writeMemory(va: LocalGet, size: number, x: Expr): void {
    void x;
    this.#access(va, size, true);
  }
  protected override updatePointer(va: LocalGet, size: number): { address: Expr; done: () => void } {
    this.#access(va, size, true);
    return { address: this.f.temporary('i32'), done: () => undefined };
  }
}
