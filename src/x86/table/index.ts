/** The whole instruction table. A new group of instructions is a file and a line here. */
import { OpcodeTable } from './compile.ts';
import { integer } from './integer.ts';
import { sseSpecial } from './sse-special.ts';
import { sse } from './sse.ts';
import { system } from './system.ts';
import { x87 } from './x87.ts';

let table: OpcodeTable | undefined;

/** Built when it is first asked for; it never changes. */
export function opcodeTable(): OpcodeTable {
  table ??= new OpcodeTable([...integer, ...system, ...sse, ...sseSpecial, ...x87]);
  return table;
}
