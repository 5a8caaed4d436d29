// Makes the interpreter's handlers of the usual forms ahead of time: dist/x86/handlers.wasm, from the compiled program.
import { renameSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Decoder } from '../dist/x86/decode/decode.js';
import { SHARED_MEMORY } from '../dist/x86/engine.js';
import { prebuiltHandlers } from '../dist/x86/interpreter/prebuilt.js';
import { opcodeTable } from '../dist/x86/table/index.js';

const path = fileURLToPath(new URL('../dist/x86/handlers.wasm', import.meta.url));
// moved into place: another build may be under way
writeFileSync(
  `${path}.${process.pid}`,
  prebuiltHandlers(new Decoder(opcodeTable(), () => true), SHARED_MEMORY),
);
renameSync(`${path}.${process.pid}`, path);
