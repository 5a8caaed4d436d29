/**
 * Which accesses of a block can be checked together: those whose addresses differ by constants, because they share the
 * base and index registers and these have changed by constants only in between. One look at the TLB then serves for all of
 * a group: stack frames, fields of a structure, pushes and pops.
 */
import type { Insn } from '../decode/insn.ts';
import { effectsOf } from './effects.ts';
import { type Access, summaryOf } from './summary.ts';

/** Accesses within `span` bytes from `low`, counted like the offsets of its accesses. */
export interface Group {
  low: number;
  high: number;
  write: boolean;
  accesses: number;
}

/** Place of an access in its group. */
export interface Member {
  readonly group: Group;
  readonly offset: number;
}

/** Of one instruction: its accesses at the memory operand, and at the stack pointer plus an offset. */
export interface Memberships {
  readonly operand: Member | undefined;
  readonly stack: Member | undefined;
}

/** The wider a group, the more often it crosses the border of a page, where it cannot be checked as one. */
const MAX_SPAN = 512;
const RSP = 4;

const NOTHING: Memberships = { operand: undefined, stack: undefined };

/** Memberships of each instruction of a block; `page` is the offset of its page from the region's first. */
export function groupAccesses(insns: readonly Insn[], page: number): readonly Memberships[] {
  const registers = Array.from({ length: 16 }, () => ({ version: 0, delta: 0 }));
  let open = new Map<string, Group>();
  const changed = (reg: number): void => {
    registers[reg]!.version++;
    registers[reg]!.delta = 0;
  };
  const join = (key: string, offset: number, { size, write }: Access): Member => {
    let group = open.get(key);
    const low = Math.min(group?.low ?? offset, offset);
    const high = Math.max(group?.high ?? 0, offset + size);
    if (group === undefined || high - low > MAX_SPAN) {
      group = { low: offset, high: offset + size, write, accesses: 0 };
      open.set(key, group);
    } else {
      group.low = low;
      group.high = high;
      group.write ||= write;
    }
    group.accesses++;
    return { group, offset };
  };
  return insns.map((insn) => {
    if (insn.def.semantics === undefined) {
      const effects = effectsOf(insn);
      // what the runtime does may change who may access what
      open = new Map();
      for (const reg of effects?.writes ?? []) changed(reg);
      const [operand] = insn.operands;
      if (effects?.operandWritten === true && operand?.kind === 'gpr') changed(operand.reg);
      return NOTHING;
    }
    const summary = summaryOf(insn);
    let operand: Member | undefined;
    let stack: Member | undefined;
    const { mem } = insn;
    for (const access of summary.accesses) {
      if (access.place === 'operand' && mem !== undefined && insn.addrsize === 8) {
        const base = mem.base >= 0 ? registers[mem.base]! : undefined;
        const index = mem.index >= 0 ? registers[mem.index]! : undefined;
        const offset =
          Number(mem.disp) +
          (base?.delta ?? 0) +
          (index === undefined ? 0 : index.delta * 2 ** mem.scale) +
          (mem.ripRelative ? page : 0);
        const segment = mem.seg < 4 ? '' : mem.seg;
        const key = mem.ripRelative
          ? 'rip'
          : `${segment}:${mem.base}.${base?.version}:${mem.index}.${index?.version}.${mem.scale}`;
        if (Number.isSafeInteger(offset)) operand = join(key, offset, access);
      } else if (access.place === 'stack') {
        const { version, delta } = registers[RSP]!;
        stack = join(`:${RSP}.${version}:-1.undefined.0`, delta + access.offset, access);
      }
    }
    advance(insn, summary, registers, changed);
    return operand === undefined && stack === undefined ? NOTHING : { operand, stack };
  });
}

/** Takes note of the registers that an instruction changes. */
function advance(
  insn: Insn,
  { operands, registers: written, stackDelta }: ReturnType<typeof summaryOf>,
  registers: readonly { version: number; delta: number }[],
  changed: (reg: number) => void,
): void {
  const [first, second] = insn.operands;
  const { name } = insn.def;
  if (first?.kind === 'gpr' && first.size === 8 && operands.length > 0) {
    const state = registers[first.reg]!;
    if ((name === 'add' || name === 'sub') && second?.kind === 'imm') {
      const by = Number(second.value);
      state.delta += name === 'add' ? by : -by;
      if (Number.isSafeInteger(state.delta)) return;
    }
    const { mem } = insn;
    if (
      name === 'lea' &&
      mem !== undefined &&
      mem.base === first.reg &&
      mem.index < 0 &&
      insn.addrsize === 8
    ) {
      state.delta += Number(mem.disp);
      if (Number.isSafeInteger(state.delta)) return;
    }
    if (name === 'inc' || name === 'dec') {
      state.delta += name === 'inc' ? 1 : -1;
      return;
    }
  }
  for (const position of operands) {
    const operand = insn.operands[position];
    if (operand?.kind === 'gpr') changed(operand.reg);
  }
  for (const reg of written) changed(reg);
  if (stackDelta !== undefined) registers[RSP]!.delta += stackDelta;
}
