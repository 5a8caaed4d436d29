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
import * as w from '../../wasm/ops.ts';
import * as L from '../layout.ts';
import { importRuntime, RUNTIME_FUNCTIONS, type RuntimeFunction } from '../semantics/runtime-functions.ts';
import type { CompiledDef } from '../table/compile.ts';
import { opcodeTable } from '../table/index.ts';
import { InterpreterEmitter, next, type Thread } from './emitter.ts';
import { goOn } from './go-on.ts';
import { PairTable } from './pairs.ts';

const IN_MEMORY = 0x400;

/**
 * What a handler's code depends on beside the table line; everything else comes from the record. Operand sizes follow
 * from the line, the operand size, REX.W, and whether the ModRM operand is memory.
 */
export function variantOf(insn: Insn, long: boolean): number {
  let key = insn.opsize | (insn.addrsize << 4) | (long ? 0x100 : 0) | (insn.rexW ? 0x200 : 0);
  if (insn.mem !== undefined) key |= IN_MEMORY;
  else key |= (insn.segOverride + 1) << 11;
  if (insn.def.shapedByImmediate)
    for (const operand of insn.operands)
      if (operand.kind === 'imm') key |= (Number(operand.value) & 0xff) << 14;
  return key;
}

/** For reports: the instruction with its operand size. */
function readableName(name: string, variant: number): string {
  return `${name} ${8 * (variant & 15)}${variant & IN_MEMORY ? ' memory' : ''}`;
}

/** What a handler is called in its module: the same for all instructions that it serves. */
export function formName(insn: Insn, long: boolean): string {
  return nameOfForm(insn.def, variantOf(insn, long));
}

const nameOfForm = ({ index }: CompiledDef, variant: number): string => `${index}.${variant}`;

/** An instruction whose form is to have a handler. */
interface Wanted {
  readonly insn: Insn;
  readonly long: boolean;
}

/** What a handler that calls this runtime function is called in its module. */
const HELPER = 'helper.';
const helperName = (name: string): string => HELPER + name;
const STOP = 'stop';
/** The one among them that only sets RIP: control goes on as it does behind a jump. */
const BLOCK_END = 'op_block_end';

/**
 * Writes handlers into a module; each is exported by the name of its form, or by `helperName`.
 * @param helpers runtime functions that do whole instructions
 * @param pairs of 64-bit code, by name
 * @param threaded they go on to the next record, and to the next block, by themselves. Only such a module imports the
 *   function table, which takes Node.js 20 time
 */
export function writeHandlers(
  memory: MemoryImport,
  wanted: readonly Wanted[],
  helpers: Iterable<string>,
  threaded: boolean,
  pairs: ReadonlyMap<string, readonly [Insn, Insn]> = new Map(),
): Uint8Array {
  const module = new ModuleBuilder();
  module.importMemory(memory);
  const imports = importRuntime(module);
  const names = [...helpers];
  let thread: Thread | undefined;
  if (threaded) {
    module.importTable();
    for (const name of Object.keys(RUNTIME_FUNCTIONS)) imports.runtime(name as RuntimeFunction);
    for (const name of names) imports.helpers(name);
    thread = { handler: module.type(['i32'], 'i32'), goOn: module.functionIndex(0) };
    const region = module.type(['i32', 'i64'], 'i32');
    module.addFunction('goOn', ['i32'], 'i32', goOn(thread.handler, region));
  }
  const add = (name: string, write: (f: FunctionBuilder) => void): void => {
    const f = new FunctionBuilder(['i32'], 'i32');
    write(f);
    module.addFunction(name, ['i32'], 'i32', f);
  };
  for (const { insn, long } of wanted)
    add(formName(insn, long), (f) =>
      new InterpreterEmitter(f, long, imports.runtime, imports.helpers, thread).define(insn),
    );
  for (const [name, [first, second]] of pairs)
    add(name, (f) =>
      new InterpreterEmitter(f, true, imports.runtime, imports.helpers, thread).define(first, second),
    );
  for (const name of names)
    add(helperName(name), (f) => {
      const record = f.param(0);
      const status = f.tmp(w.call('i32', imports.helpers(name), [record]));
      f.if(status, () => {
        if (thread !== undefined && name === BLOCK_END) f.returnCall(thread.goOn, [record]);
        else f.return(w.or(record, status));
      });
      next(f, thread, true);
    });
  // behind an instruction that runs alone
  add(STOP, (f) => f.return(w.sub(f.param(0), L.REC_BYTES)));
  return module.build();
}

export class HandlerLibrary {
  readonly #engine: Engine;
  readonly #prebuilt: Readonly<Record<string, WebAssembly.ExportValue>>;
  /** By position in the table, then by variant. */
  readonly #byForm: (Map<number, number> | undefined)[] = [];
  #count = 0;
  readonly #byHelper = new Map<string, number>();
  /** Runtime functions whose handlers wait for `flush`, by name. */
  readonly #pendingHelpers = new Map<string, number>();
  readonly #pairs: PairTable;
  /** For reports. */
  readonly #names = new Map<number, string>();
  /** What handlers are called in the module that was built ahead. */
  readonly #prebuiltNames = new Map<number, string>();
  /** Forms that wait for `flush`. */
  #pending: (Wanted & { index: number })[] = [];

  /** @param prebuilt code of the module that `prebuiltHandlers` has made from the same sources */
  constructor(engine: Engine, prebuilt?: Uint8Array) {
    this.#engine = engine;
    this.#prebuilt =
      prebuilt === undefined
        ? engine.instantiate(writeHandlers(engine.memoryImport, [], [], false))
        : engine.instantiatePrebuilt(prebuilt);
    const stop = engine.allocate(this.#prebuilt[STOP] as () => number);
    new DataView(engine.memory.buffer).setUint32(L.STOP_HANDLER, stop, true);
    this.#pairs = new PairTable(engine.memory.buffer, Object.keys(this.#prebuilt), (name, first) => {
      const index = engine.allocate(this.#prebuilt[name] as () => number);
      this.#names.set(index, this.#names.get(first)!);
      return index;
    });
  }

  get count(): number {
    return this.#count;
  }

  /** Name of the runtime function, or of the instruction with its operand size, that a table index stands for. */
  nameOf(index: number): string | undefined {
    return this.#names.get(index);
  }

  /** What a handler that was built ahead is called in its module; undefined for others. */
  prebuiltName(index: number): string | undefined {
    return this.#prebuiltNames.get(index);
  }

  /** Table index of the handler with this name in the module that was built ahead; undefined where there is none. */
  prebuilt(name: string): number | undefined {
    if (name.startsWith(HELPER)) {
      const helper = name.slice(HELPER.length);
      return name in this.#prebuilt && helper in this.#engine.runtime ? this.helper(helper) : undefined;
    }
    const [, index, variant] = /^(\d+)\.(\d+)$/.exec(name) ?? [];
    const def = opcodeTable().defs[Number(index)];
    if (def === undefined || !(name in this.#prebuilt)) return undefined;
    return this.#byForm[def.index]?.get(Number(variant)) ?? this.#add(def, Number(variant));
  }

  /** Table index for the handler of a form that is met for the first time; the handler itself, if it was built ahead. */
  #add(def: CompiledDef, variant: number): number {
    const name = nameOfForm(def, variant);
    const ready = this.#prebuilt[name];
    const index = this.#engine.allocate((ready as (() => number) | undefined) ?? null);
    (this.#byForm[def.index] ??= new Map()).set(variant, index);
    this.#names.set(index, readableName(def.name, variant));
    if (ready !== undefined) this.#prebuiltNames.set(index, name);
    this.#count++;
    this.#pairs.add(name, index);
    return index;
  }

  /** Table index of a handler that calls a runtime function; callable after the next `flush`. */
  helper(name: string): number {
    let index = this.#byHelper.get(name);
    if (index === undefined) {
      assert(typeof this.#engine.runtime[name] === 'function', `the runtime has no function '${name}'`);
      const ready = this.#prebuilt[helperName(name)];
      index = this.#engine.allocate((ready as (() => number) | undefined) ?? null);
      if (ready === undefined) this.#pendingHelpers.set(name, index);
      else this.#prebuiltNames.set(index, helperName(name));
      this.#byHelper.set(name, index);
      this.#names.set(index, name);
    }
    return index;
  }

  /** Table index of the handler for an instruction; callable after the next `flush`. */
  handler(insn: Insn, long: boolean): number {
    const { def } = insn;
    if (def.helper !== undefined) return this.helper(def.helper);
    const variant = variantOf(insn, long);
    const known = this.#byForm[def.index]?.get(variant);
    if (known !== undefined) return known;
    const index = this.#add(def, variant);
    if (!this.#prebuiltNames.has(index)) this.#pending.push({ insn, long, index });
    return index;
  }

  /** Builds what `handler` has promised. */
  flush(): void {
    if (this.#pending.length === 0 && this.#pendingHelpers.size === 0) return;
    const pending = this.#pending;
    const helpers = new Map(this.#pendingHelpers);
    this.#pending = [];
    this.#pendingHelpers.clear();
    const { memoryImport, table } = this.#engine;
    const exports = this.#engine.instantiate(writeHandlers(memoryImport, pending, helpers.keys(), false));
    for (const { insn, long, index } of pending)
      table.set(index, exports[formName(insn, long)] as () => number);
    for (const [name, index] of helpers) table.set(index, exports[helperName(name)] as () => number);
  }
}
