/**
 * The handlers of the interpreter: one WebAssembly function for each instruction form (opcode, operand kinds and
 * sizes, code size), made from the instruction's definition when the form is first met, and put into the function
 * table that the dispatcher calls through.
 */
import { assert } from '../../core/errors.ts';
import { FunctionBuilder } from '../../wasm/function.ts';
import { ModuleBuilder } from '../../wasm/module.ts';
import type { Insn } from '../decode/insn.ts';
import { RUNTIME_FUNCTIONS, type RuntimeFunction } from '../semantics/runtime-functions.ts';
import type { Engine } from '../engine.ts';
import { InterpreterEmitter } from './emitter.ts';

/**
 * What a handler's code depends on beside the table line; everything else comes from the record. Operand sizes follow
 * from the line, the operand size, REX.W, and whether the ModRM operand is memory.
 */
export function variantOf(insn: Insn, long: boolean): number {
  let key = insn.opsize | (insn.addrsize << 4) | (long ? 0x100 : 0) | (insn.rexW ? 0x200 : 0);
  if (insn.mem !== undefined) key |= 0x400;
  else key |= (insn.segOverride + 1) << 11;
  if (insn.def.shapedByImmediate)
    for (const operand of insn.operands)
      if (operand.kind === 'imm') key |= (Number(operand.value) & 0xff) << 14;
  return key;
}

export class HandlerLibrary {
  readonly #engine: Engine;
  /** By position in the table, then by variant. */
  readonly #byForm: (Map<number, number> | undefined)[] = [];
  #count = 0;
  readonly #byHelper = new Map<string, number>();
  /** For reports. */
  readonly #names = new Map<number, string>();
  /** Forms that wait for `flush`. */
  #pending: { insn: Insn; long: boolean; index: number }[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  get count(): number {
    return this.#count;
  }

  /** Name of the runtime function, or of the instruction with its operand size, that a table index stands for. */
  nameOf(index: number): string | undefined {
    return this.#names.get(index);
  }

  /** Table index of a runtime function with the signature of a handler. */
  helper(name: string): number {
    let index = this.#byHelper.get(name);
    if (index === undefined) {
      const fn = this.#engine.runtime[name];
      assert(typeof fn === 'function', `the runtime has no function '${name}'`);
      index = this.#engine.allocate(fn as () => number);
      this.#byHelper.set(name, index);
      this.#names.set(index, name);
    }
    return index;
  }

  /** Table index of the handler for an instruction; callable after the next `flush`. */
  handler(insn: Insn, long: boolean): number {
    const { def } = insn;
    if (def.helper !== undefined) return this.helper(def.helper);
    const variants = (this.#byForm[def.index] ??= new Map());
    const variant = variantOf(insn, long);
    let index = variants.get(variant);
    if (index === undefined) {
      index = this.#engine.allocate(null);
      this.#count++;
      variants.set(variant, index);
      this.#names.set(index, `${def.name} ${8 * insn.opsize}${insn.mem === undefined ? '' : ' memory'}`);
      this.#pending.push({ insn, long, index });
    }
    return index;
  }

  /** Builds what `handler` has promised. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    const module = new ModuleBuilder();
    module.importMemory(this.#engine.memoryImport);
    const runtime = (name: RuntimeFunction): number => {
      const [params, result] = RUNTIME_FUNCTIONS[name];
      return module.importFunction('runtime', name, params, result);
    };
    const callHelper = (name: string): number => module.importFunction('runtime', name, ['i32'], 'i32');
    for (const [i, { insn, long }] of pending.entries()) {
      const f = new FunctionBuilder(['i32'], 'i32');
      new InterpreterEmitter(f, long, runtime, callHelper).define(insn);
      module.addFunction(`h${i}`, ['i32'], 'i32', f);
    }
    const exports = this.#engine.instantiate(module.build());
    for (const [i, { index }] of pending.entries())
      this.#engine.table.set(index, exports[`h${i}`] as () => number);
  }
}
