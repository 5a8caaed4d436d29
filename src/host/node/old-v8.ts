/** What the V8 of Node.js 20 (11.3) has to be told before it compiles WebAssembly. */
import v8 from 'node:v8';
import { majorVersion } from './process.ts';

/** The first major version that needs none of this. */
const UNTIL = 22;
/**
 * How much of a WebAssembly function runs before V8 optimises it. Node.js 20's figure (1.8 million) has its optimiser
 * busy with thousands of regions that hardly pay; this is what newer versions use.
 */
const TIERING_BUDGET = 13_000_000;

/**
 * Flags are the whole process's; they are the same for programs and for the library.
 *
 * The pass that joins moves of registers takes two loads from one place of the stack for the same, though one is of 32
 * bits and the other of 64, and keeps either: where an i64 comes from an i32 on one way and not on another, its upper
 * half could be lost. Later versions compare how much is moved. Without the pass, all is right.
 */
export function tellOldV8(
  setFlags: (flags: string) => void = (flags) => v8.setFlagsFromString(flags),
  version?: string,
): void {
  if (majorVersion(version) >= UNTIL) return;
  setFlags('--no-turbo-move-optimization');
  setFlags(`--wasm-tiering-budget=${TIERING_BUDGET}`);
}
