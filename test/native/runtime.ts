/**
 * The AssemblyScript runtime (dist/x86/runtime.wasm) alone in a memory of its own, for tests that call its functions
 * without an interpreter. Host functions that are not given throw when they are called.
 */
import { readFileSync } from 'node:fs';
import { TLB, TLB_BASE } from '../../src/x86/layout.ts';

export type RuntimeExports = Record<string, (...args: (number | bigint)[]) => number | bigint>;

export interface LoadedRuntime {
  readonly memory: WebAssembly.Memory;
  readonly view: DataView;
  readonly exports: RuntimeExports;
}

/** `host`: implementations of host_… functions by name. The memory has 256 MiB. */
export function loadRuntime(host: Record<string, (...args: never[]) => unknown> = {}): LoadedRuntime {
  const path = process.env.PARAVANE_RUNTIME ?? new URL('../../dist/x86/runtime.wasm', import.meta.url);
  const module = new WebAssembly.Module(readFileSync(path));
  const memory = new WebAssembly.Memory({ initial: 4096, maximum: 65536, shared: true });
  const imports: WebAssembly.Imports = {};
  for (const { module: room, name, kind } of WebAssembly.Module.imports(module)) {
    const things = (imports[room] ??= {}) as Record<string, WebAssembly.ImportValue>;
    if (kind === 'memory') things[name] = memory;
    else if (kind === 'table') things[name] = new WebAssembly.Table({ initial: 4096, element: 'anyfunc' });
    else if (kind === 'function') {
      const given = host[name];
      things[name] = (given ??
        ((): never => {
          throw new Error(`runtime called ${room}.${name}`);
        })) as WebAssembly.ImportValue;
    }
  }
  const instance = new WebAssembly.Instance(module, imports);
  const view = new DataView(memory.buffer);
  view.setInt32(TLB_BASE, TLB, true);
  return { memory, view, exports: instance.exports as unknown as RuntimeExports };
}
