/** Puts functions into a WebAssembly module that shares its memory with the rest of the machine. */
import { assert } from '../core/errors.ts';
import { ByteWriter } from './bytes.ts';
import { VAL_TYPE_CODE, type ValType } from './expr.ts';
import type { FunctionSource } from './function.ts';

export interface MemoryImport {
  /** Pages of 64 KiB; the actual memory may have at most `maximum`. */
  readonly initial: number;
  readonly maximum: number;
  readonly shared: boolean;
}

interface ImportedFunction {
  readonly module: string;
  readonly name: string;
  readonly type: number;
}

/** What modules are put together in, one at a time: typed arrays are dear to make. */
const buffers = {
  out: new ByteWriter(65536),
  body: new ByteWriter(1024),
  code: new ByteWriter(65536),
  hints: new ByteWriter(1024),
};

export class ModuleBuilder {
  #memory: MemoryImport | undefined;
  #table = false;
  #types: string[] = [];
  #imports: ImportedFunction[] = [];
  #importIndex = new Map<string, number>();
  #importsDone = false;
  #functions: { type: number; builder: FunctionSource; exportName: string }[] = [];

  /** Imports `env.memory`. */
  importMemory(memory: MemoryImport): void {
    this.#memory = memory;
  }

  /** Imports `env.table`, of functions. */
  importTable(): void {
    this.#table = true;
  }

  /** Index of a signature, for indirect calls. */
  type(params: readonly ValType[], result: ValType | undefined): number {
    return this.#type(params, result);
  }

  #type(params: readonly ValType[], result: ValType | undefined): number {
    const key = `${params.join()}:${result ?? ''}`;
    const found = this.#types.indexOf(key);
    return found >= 0 ? found : this.#types.push(key) - 1;
  }

  /** Index of an imported function; asking twice for the same name is fine. All imports come before functions. */
  importFunction(
    module: string,
    name: string,
    params: readonly ValType[],
    result: ValType | undefined,
  ): number {
    const key = `${module}.${name}`;
    const known = this.#importIndex.get(key);
    if (known !== undefined) return known;
    assert(!this.#importsDone, 'an import behind a function that is called by index', { name });
    const index = this.#imports.push({ module, name, type: this.#type(params, result) }) - 1;
    this.#importIndex.set(key, index);
    return index;
  }

  /** Index of the function that is added as number `position`, counted from 0; nothing else can be imported from now on. */
  functionIndex(position: number): number {
    this.#importsDone = true;
    return this.#imports.length + position;
  }

  /** What an imported function is, for listings. */
  importedFunction(index: number): { name: string; params: number; result: boolean } | undefined {
    const imported = this.#imports[index];
    if (imported === undefined) return undefined;
    const [params, result] = this.#types[imported.type]!.split(':') as [string, string];
    return {
      name: imported.name,
      params: params === '' ? 0 : params.split(',').length,
      result: result !== '',
    };
  }

  /** Adds a function that is exported under `exportName`. */
  addFunction(
    exportName: string,
    params: readonly ValType[],
    result: ValType | undefined,
    builder: FunctionSource,
  ): void {
    this.#functions.push({ type: this.#type(params, result), builder, exportName });
  }

  build(): Uint8Array {
    const { out, body, code, hints } = buffers;
    out.length = code.length = hints.length = 0;
    for (const byte of [0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]) out.u8(byte);
    const section = (id: number, write: () => void): void => {
      body.length = 0;
      write();
      out.u8(id);
      out.u32(body.length);
      out.append(body.bytes.subarray(0, body.length));
    };
    section(1, () => {
      body.u32(this.#types.length);
      for (const key of this.#types) {
        const [params, result] = key.split(':') as [string, string];
        const list = params === '' ? [] : (params.split(',') as ValType[]);
        body.u8(0x60);
        body.u32(list.length);
        for (const type of list) body.u8(VAL_TYPE_CODE[type]);
        body.u32(result === '' ? 0 : 1);
        if (result !== '') body.u8(VAL_TYPE_CODE[result as ValType]);
      }
    });
    section(2, () => {
      body.u32(this.#imports.length + (this.#memory ? 1 : 0) + (this.#table ? 1 : 0));
      if (this.#table) {
        body.name('env');
        body.name('table');
        body.u8(0x01);
        body.u8(0x70);
        body.u8(0x00);
        body.u32(0);
      }
      if (this.#memory) {
        body.name('env');
        body.name('memory');
        body.u8(0x02);
        body.u8(this.#memory.shared ? 0x03 : 0x01);
        body.u32(this.#memory.initial);
        body.u32(this.#memory.maximum);
      }
      for (const imported of this.#imports) {
        body.name(imported.module);
        body.name(imported.name);
        body.u8(0x00);
        body.u32(imported.type);
      }
    });
    section(3, () => {
      body.u32(this.#functions.length);
      for (const fn of this.#functions) body.u32(fn.type);
    });
    section(7, () => {
      body.u32(this.#functions.length);
      for (const [index, fn] of this.#functions.entries()) {
        body.name(fn.exportName);
        body.u8(0x00);
        body.u32(this.#imports.length + index);
      }
    });
    let hinted = 0;
    for (const [index, fn] of this.#functions.entries())
      if (fn.builder.finish(code, hints, this.#imports.length + index)) hinted++;
    // comes before the code that it is about
    if (hinted > 0)
      section(0, () => {
        body.name('metadata.code.branch_hint');
        body.u32(hinted);
        body.append(hints.bytes.subarray(0, hints.length));
      });
    section(10, () => {
      body.u32(this.#functions.length);
      body.append(code.bytes.subarray(0, code.length));
    });
    assert(this.#functions.length > 0, 'a module without functions');
    return out.finish();
  }
}
