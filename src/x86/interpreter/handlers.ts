/**
 * The handlers of the interpreter: one WebAssembly function for each instruction form (opcode, operand kinds and
 * sizes, code size), made from the instruction's definition, most of them ahead of time (prebuilt.ts), and put into the
 * function table that the dispatcher calls through when the form is first met.
 */
import { assert } from '../../core/errors.ts';
import { FunctionBuilder } from '../../wasm/function.ts';
import { type MemoryImport, ModuleBuilder } from '../../wasm/module.ts';
import type { Insn } from '../decode/insn.ts';
import type { Engine } from '../engine.ts';
import { importRuntime } from '../semantics/runtime-functions.ts';
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

/** What a handler is called in its module: the same for all instructions that it serves. */
export function formName(insn: Insn, long: boolean): string {
  return `${insn.def.index}.${variantOf(insn, long)}`;
}

/** An instruction whose form is to have a handler. */
interface Wanted {
  readonly insn: Insn;
  readonly long: boolean;
}

/** Writes handlers into a module; each is exported by the name of its form. */
export function writeHandlers(memory: MemoryImport, wanted: readonly Wanted[]): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory(memory);
  const { runtime, helpers } = importRuntime(module);
  for (const { insn, long } of wanted) {
    const f = new FunctionBuilder(['i32'], 'i32');
    new InterpreterEmitter(f, long, runtime, helpers).define(insn);
    module.addFunction(formName(insn, long), ['i32'], 'i32', f);
  }
  return module.build();
}

export class HandlerLibrary {
  readonly #engine: Engine;
  readonly #prebuilt: Readonly<Record<string, WebAssembly.ExportValue>>;
  /** By position in the table, then by variant. */
  readonly #byForm: (Map<number, number> | undefined)[] = [];
  #count = 0;
  readonly #byHelper = new Map<string, number>();
  /** For reports. */
  readonly #names = new Map<number, string>();
  /** Forms that wait for `flush`. */
  #pending: (Wanted & { index: number })[] = [];

  /** @param prebuilt code of the module that `prebuiltHandlers` has made from the same sources */
  constructor(engine: Engine, prebuilt?: Uint8Array) {
    this.#engine = engine;
    this.#prebuilt = prebuilt === undefined ? {} : engine.instantiatePrebuilt(prebuilt);
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
      const ready = this.#prebuilt[formName(insn, long)];
      if (ready === undefined) this.#pending.push({ insn, long, index });
      else this.#engine.table.set(index, ready as () => number);
    }
    return index;
  }

  /** Builds what `handler` has promised. */
  flush(): void {
    if (this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    const exports = this.#engine.instantiate(writeHandlers(this.#engine.memoryImport, pending));
    for (const { insn, long, index } of pending)
      this.#engine.table.set(index, exports[formName(insn, long)] as () => number);
  }
}
