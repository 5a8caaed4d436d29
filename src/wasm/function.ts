/**
 * Builds the body of one WebAssembly function: locals, statements, structured control flow with labels by object
 * (branch depths are computed here). See module.ts for what goes around it. Branches that are rarely, or mostly, taken
 * may say so: V8's optimising compiler (from V8 13 on) lays the rare code out of line, and does not let it take part in
 * choosing registers. Source: WebAssembly core specification, appendix on custom sections, branch hints.
 */
import { assert } from '../core/errors.ts';
import { ByteWriter } from './bytes.ts';
import { CALLED, Expr, KIND, type LocalGet, localGet, VAL_TYPE_CODE, type ValType } from './expr.ts';

/** The target of a branch; made by `block` and `loop`. */
export interface Label {
  readonly depth: number;
}

/** Used again for each function: typed arrays are dear to make. */
const declarations = new ByteWriter(64);

export class FunctionBuilder {
  readonly params: readonly ValType[];
  readonly result: ValType | undefined;
  readonly code: ByteWriter;
  /** What `mark` was given, for listings; empty unless `marking`. */
  readonly marks: { at: number; readonly thing: unknown }[] = [];
  marking = false;
  /** Places of branches that have hints, each times two, plus one if the condition is likely; in order. */
  #hints: number[] = [];
  #locals: ValType[] = [];
  /** Locals that `temporary` gives out, and how many of them are taken. */
  readonly #pools: Readonly<Record<ValType, { readonly locals: LocalGet[]; taken: number }>> = {
    i32: { locals: [], taken: 0 },
    i64: { locals: [], taken: 0 },
    f32: { locals: [], taken: 0 },
    f64: { locals: [], taken: 0 },
    v128: { locals: [], taken: 0 },
  };
  #depth = 0;
  /**
   * Runs what writes an arm of an `if`, or the inside of a `block` or `loop` (not of `open`): whoever keeps account of
   * what has been computed learns of it.
   */
  nested: (body: () => void) => void = (body) => body();

  /** @param code where the code is written, from its start: may be used again when the module has been built */
  constructor(params: readonly ValType[], result: ValType | undefined, code = new ByteWriter(1024)) {
    this.params = params;
    this.result = result;
    this.code = code;
    code.length = 0;
    code.fixups = [];
  }

  /** How many blocks, loops and ifs are open. */
  get nesting(): number {
    return this.#depth;
  }

  param(index: number): LocalGet {
    return localGet(this.params[index]!, index);
  }

  /** A new local, zero at first. */
  local(type: ValType, temporary = false): LocalGet {
    this.#locals.push(type);
    return localGet(type, this.params.length + this.#locals.length - 1, temporary);
  }

  /**
   * Computes `x` now and gives the local that holds it, good until `releaseTemporaries`. A temporary is not copied: who
   * gets one does not set it again.
   */
  tmp(x: Expr): LocalGet {
    if (x.tag === KIND.local && x.more !== undefined) return x as LocalGet;
    const local = this.temporary(x.type);
    this.set(local, x);
    return local;
  }

  /** A local of undefined content, good until `releaseTemporaries`. */
  temporary(type: ValType): LocalGet {
    const pool = this.#pools[type];
    const { locals } = pool;
    if (pool.taken === locals.length) locals.push(this.local(type, true));
    return locals[pool.taken++]!;
  }

  /** All temporaries may be used again: few locals keep V8's baseline compiler fast. */
  releaseTemporaries(): void {
    const { i32, i64, f32, f64, v128 } = this.#pools;
    i32.taken = i64.taken = f32.taken = f64.taken = v128.taken = 0;
  }

  /** Notes that the code of `thing` begins here. */
  mark(thing: unknown): void {
    if (this.marking) this.marks.push({ at: this.code.length, thing });
  }

  /** Puts what `write` emits in front of the code written so far. */
  prepend(write: () => void): void {
    const hints = this.#hints;
    this.#hints = [];
    const body = this.code.length;
    write();
    const front = this.code.length - body;
    this.code.turn(body);
    for (const mark of this.marks) mark.at += front;
    const all = this.#hints.map((hint) => hint - 2 * body);
    for (const hint of hints) all.push(hint + 2 * front);
    this.#hints = all;
  }

  set(local: LocalGet, x: Expr): void {
    assert(local.type === x.type, 'local of another type', { local: local.type, value: x.type });
    x.write(this.code);
    this.code.indexed(0x21, local.n);
  }

  tee(local: LocalGet, x: Expr): Expr {
    return new Expr(KIND.tee, x.type, local.n, x);
  }

  /** Computes `x` for its effects. */
  drop(x: Expr): void {
    x.write(this.code);
    this.code.u8(0x1a);
  }

  /** Calls a function without result. */
  call(index: number, args: readonly Expr[]): void {
    for (const arg of args) arg.write(this.code);
    this.code.u8(0x10);
    this.code.u14Fixed(index, CALLED);
  }

  #store(opcode: number, address: Expr, value: Expr, offset: number): void {
    if (address.tag === KIND.displaced) {
      this.#store(opcode, address.a!, value, address.n + offset);
      return;
    }
    address.write(this.code);
    value.write(this.code);
    if (opcode >= 0x100) this.code.indexed(opcode >> 8, opcode & 0xff);
    else this.code.u8(opcode);
    this.code.indexed(0, offset);
  }

  store8(address: Expr, value: Expr, offset = 0): void {
    this.#store(value.type === 'i64' ? 0x3c : 0x3a, address, value, offset);
  }
  store16(address: Expr, value: Expr, offset = 0): void {
    this.#store(value.type === 'i64' ? 0x3d : 0x3b, address, value, offset);
  }
  store32(address: Expr, value: Expr, offset = 0): void {
    this.#store(value.type === 'i64' ? 0x3e : 0x36, address, value, offset);
  }
  store64(address: Expr, value: Expr, offset = 0): void {
    this.#store(0x37, address, value, offset);
  }
  store128(address: Expr, value: Expr, offset = 0): void {
    this.#store(0xfd0b, address, value, offset);
  }

  /** `block`: a branch to its label goes behind it. */
  block(body: (label: Label) => void): void {
    this.#enter(0x02, body);
  }

  /** `loop`: a branch to its label goes back to its start. */
  loop(body: (label: Label) => void): void {
    this.#enter(0x03, body);
  }

  /** Opens a block without closing it (for chains of blocks whose number is data); close with `end`. */
  open(kind: 'block' | 'loop'): Label {
    this.code.u8(kind === 'block' ? 0x02 : 0x03);
    this.code.u8(0x40);
    this.#depth++;
    return { depth: this.#depth };
  }

  end(): void {
    this.#depth--;
    this.code.u8(0x0b);
  }

  #enter(opcode: number, body: (label: Label) => void): void {
    this.code.u8(opcode);
    this.code.u8(0x40);
    this.#depth++;
    const label = { depth: this.#depth };
    this.nested(() => body(label));
    this.#depth--;
    this.code.u8(0x0b);
  }

  /** @param likely whether the condition is expected to hold; undefined: nobody knows */
  if(condition: Expr, then: () => void, otherwise?: () => void, likely?: boolean): void {
    condition.write(this.code);
    if (likely !== undefined) this.#hints.push(2 * this.code.length + (likely ? 1 : 0));
    this.code.u8(0x04);
    this.code.u8(0x40);
    this.#depth++;
    this.nested(then);
    if (otherwise !== undefined) {
      this.code.u8(0x05);
      this.nested(otherwise);
    }
    this.#depth--;
    this.code.u8(0x0b);
  }

  /** `if` with a condition that hardly ever holds. */
  ifRarely(condition: Expr, then: () => void): void {
    this.if(condition, then, undefined, false);
  }

  br(label: Label): void {
    this.code.indexed(0x0c, this.#depth - label.depth);
  }

  /** @param likely as for `if` */
  brIf(condition: Expr, label: Label, likely?: boolean): void {
    condition.write(this.code);
    if (likely !== undefined) this.#hints.push(2 * this.code.length + (likely ? 1 : 0));
    this.code.indexed(0x0d, this.#depth - label.depth);
  }

  brTable(index: Expr, labels: readonly Label[], otherwise: Label): void {
    index.write(this.code);
    this.code.u8(0x0e);
    this.code.u32(labels.length);
    for (const label of labels) this.code.u32(this.#depth - label.depth);
    this.code.u32(this.#depth - otherwise.depth);
  }

  return(x?: Expr): void {
    x?.write(this.code);
    this.code.u8(0x0f);
  }

  /** Calls a function in place of this one, which returns what that returns. */
  returnCall(index: number, args: readonly Expr[]): void {
    for (const arg of args) arg.write(this.code);
    this.code.u8(0x12);
    this.code.u14Fixed(index, CALLED);
  }

  /** The same through table 0; `type` is the index of the signature in the module. */
  returnCallIndirect(type: number, slot: Expr, args: readonly Expr[]): void {
    for (const arg of args) arg.write(this.code);
    slot.write(this.code);
    this.code.u8(0x13);
    this.code.u32(type);
    this.code.u32(0);
  }

  unreachable(): void {
    this.code.u8(0x00);
  }

  /** Writes the declaration of the locals, with which the entry in the code section begins. */
  #declare(head: ByteWriter): void {
    const locals = this.#locals;
    let runs = 0;
    for (let i = 0; i < locals.length; i++) if (i === 0 || locals[i] !== locals[i - 1]) runs++;
    head.length = 0;
    head.u32(runs);
    for (let i = 0; i < locals.length; ) {
      const first = i;
      while (i < locals.length && locals[i] === locals[first]) i++;
      head.u32(i - first);
      head.u8(VAL_TYPE_CODE[locals[first]!]);
    }
  }

  /** The function, to be used again in other modules. */
  written(): WrittenFunction {
    assert(this.#depth === 0, 'unbalanced blocks', { depth: this.#depth });
    const head = declarations;
    this.#declare(head);
    const body = new Uint8Array(head.length + this.code.length + 1);
    body.set(head.bytes.subarray(0, head.length));
    body.set(this.code.bytes.subarray(0, this.code.length), head.length);
    body[body.length - 1] = 0x0b;
    return {
      body,
      hints: this.#hints.map((hint) => hint + 2 * head.length),
      fixups: this.code.fixups.map((value, i) => (i % 2 === 0 ? value + head.length : value)),
    };
  }

  /** See FunctionSource. */
  finish(out: ByteWriter, hints: ByteWriter, index: number): boolean {
    assert(this.#depth === 0, 'unbalanced blocks', { depth: this.#depth });
    const head = declarations;
    this.#declare(head);
    out.u32(head.length + this.code.length + 1);
    out.append(head.bytes.subarray(0, head.length));
    out.append(this.code.bytes.subarray(0, this.code.length));
    out.u8(0x0b);
    return writeHints(hints, index, this.#hints, head.length);
  }
}

/** Something that a module can take as the code of a function. */
export interface FunctionSource {
  /**
   * Writes the entry of the code section (size, locals, code, end) to `out`, and the function's entry of the section
   * of branch hints to `hints`.
   * @param index of the function in the module
   * @returns whether there are hints
   */
  finish(out: ByteWriter, hints: ByteWriter, index: number): boolean;
}

/** A function that was built before. */
export interface WrittenFunction {
  /** Declaration of the locals, code, end. */
  readonly body: Uint8Array;
  /** Places of branches in it, each times two, plus one if the condition is likely. */
  readonly hints: readonly number[];
  /** As in ByteWriter: places in the body, and what stands there. */
  readonly fixups: readonly number[];
}

/** @param body with what `fixups` names filled in */
export function functionAgain({ body, hints: places }: WrittenFunction): FunctionSource {
  return {
    finish: (out, hints, index) => {
      out.u32(body.length);
      out.append(body);
      return writeHints(hints, index, places, 0);
    },
  };
}

/** Places count from the declaration of the locals. */
function writeHints(out: ByteWriter, index: number, places: readonly number[], from: number): boolean {
  if (places.length === 0) return false;
  out.u32(index);
  out.u32(places.length);
  for (const hint of places) {
    out.u32(from + (hint >> 1));
    out.u8(1);
    out.u8(hint & 1);
  }
  return true;
}
