/**
 * What the parts of the processor share: the WebAssembly memory, the function table, the compiled AssemblyScript
 * runtime, and instantiation of generated modules against them.
 */
import { UsageError } from '../core/errors.ts';
import type { MemoryImport } from '../wasm/module.ts';
import * as L from './layout.ts';

const PAGE = 65536;
const MEMORY_MAX_PAGES = 65536;
/** How modules that are built ahead of time import the memory. */
export const SHARED_MEMORY: MemoryImport = { initial: 1, maximum: MEMORY_MAX_PAGES, shared: true };

/** Bytes of guest RAM that fit beside the processor's own data in a 32-bit memory. */
export const MAX_GUEST_RAM = MEMORY_MAX_PAGES * PAGE - L.RAM_BASE - 16 * 1024 * 1024;

export type RuntimeExports = Record<string, (...args: never[]) => unknown>;

export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly memoryImport: MemoryImport;
  readonly table: WebAssembly.Table;
  readonly runtime: RuntimeExports;
  #free: number[] = [];
  #next = 1;

  /**
   * @param runtimeCode bytes of runtime.wasm
   * @param ramBytes RAM and ROM that follow RAM_BASE
   * @param host functions that the runtime imports, by name
   */
  constructor(
    runtimeCode: Uint8Array,
    ramBytes: number,
    host: Record<string, (...args: never[]) => unknown>,
  ) {
    const pages = Math.ceil((L.RAM_BASE + ramBytes) / PAGE);
    if (pages > MEMORY_MAX_PAGES)
      throw new UsageError(
        `guest RAM of ${ramBytes} bytes does not fit: at most ${MAX_GUEST_RAM >> 20}M with 32-bit WebAssembly memories`,
      );
    const shared = typeof SharedArrayBuffer !== 'undefined';
    try {
      this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
    } catch (error) {
      throw new UsageError(`cannot allocate ${ramBytes >> 20}M of guest RAM`, { cause: error });
    }
    const view = new DataView(this.memory.buffer);
    view.setBigInt64(L.PLUS_4G, 1n << 32n, true);
    view.setBigInt64(L.MINUS_4G, -(1n << 32n), true);
    this.memoryImport = { ...SHARED_MEMORY, shared };
    this.table = new WebAssembly.Table({ element: 'anyfunc', initial: 16384 });
    const module = new WebAssembly.Module(patchMemoryImport(runtimeCode, shared) as BufferSource);
    const imports: Record<string, Record<string, WebAssembly.ImportValue>> = {};
    for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
      imports[from] ??= {};
      if (kind === 'memory') imports[from][name] = this.memory;
      else if (kind === 'table') imports[from][name] = this.table;
      else {
        const short = name.includes('/') ? name.slice(name.lastIndexOf('/') + 1) : name;
        const fn = host[short.replace(/^host_/, '')];
        if (fn === undefined) throw new Error(`the runtime imports ${from}.${name}, which is not provided`);
        imports[from][name] = fn as WebAssembly.ImportValue;
      }
    }
    this.runtime = new WebAssembly.Instance(module, imports).exports as RuntimeExports;
  }

  /** A slot of the function table holding `fn`. */
  allocate(fn: (() => number) | null): number {
    const index = this.#free.pop() ?? this.#next++;
    if (index >= this.table.length) this.table.grow(this.table.length);
    this.table.set(index, fn);
    return index;
  }

  release(index: number): void {
    this.table.set(index, null);
    this.#free.push(index);
  }

  /** Likewise for code that was built ahead of time, for a shared memory. */
  instantiatePrebuilt(code: Uint8Array): Record<string, WebAssembly.ExportValue> {
    return this.instantiate(patchMemoryImport(code, this.memoryImport.shared), { table: this.table });
  }

  /** @param env what the module imports from `env` beside the memory */
  instantiate(
    code: Uint8Array,
    env: Record<string, WebAssembly.ImportValue> = {},
  ): Record<string, WebAssembly.ExportValue> {
    return this.instantiateModule(new WebAssembly.Module(code as BufferSource), env);
  }

  /** The same with a module that is compiled already. */
  instantiateModule(
    module: WebAssembly.Module,
    env: Record<string, WebAssembly.ImportValue>,
  ): Record<string, WebAssembly.ExportValue> {
    return new WebAssembly.Instance(module, {
      env: { memory: this.memory, ...env },
      runtime: this.runtime as Record<string, WebAssembly.ImportValue>,
    }).exports;
  }
}

/** Modules built ahead of time are for a shared memory; where there is none, its import is changed to an unshared one. */
function patchMemoryImport(code: Uint8Array, shared: boolean): Uint8Array {
  if (shared) return code;
  // import entry: "env" "memory" 0x02 (memory) 0x03 (shared, with maximum)
  const pattern = [3, 0x65, 0x6e, 0x76, 6, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 2, 3];
  const copy = code.slice();
  for (let at = 0; at + pattern.length < copy.length; at++)
    if (pattern.every((byte, i) => copy[at + i] === byte)) {
      copy[at + pattern.length - 1] = 1;
      return copy;
    }
  throw new Error('a prebuilt module has no memory import');
}
