/**
 * Which accesses of a block can be checked together: those whose addresses differ by constants, because they share the
 * base and index registers and these have changed by constants only in between. One look at the TLB then serves for all of
 * a group: stack frames, fields of a structure, pushes and pops.
 */
import type { LocalGet } from '../../wasm/expr.ts';
import type { Insn, MemAddress } from '../decode/insn.ts';
import { changedBy, effectsOf } from './effects.ts';
import { type Access, type Summary, summaryOf } from './summary.ts';

/** Accesses within `high - low` bytes from `low`, counted like the offsets of its accesses. */
export interface Group {
  /** What the addresses have in common: see `keyOf`. */
  readonly key: number;
  /** The registers in them, or -1. */
  readonly base: number;
  readonly index: number;
  /** The index register holds a zero-extended byte. */
  readonly narrow: boolean;
  low: number;
  high: number;
  write: boolean;
  accesses: number;
  /** Once its check has been written: the address in our memory of its lowest byte (scattered: or 0). */
  pointer: LocalGet | undefined;
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
  const grouping = new Grouping(page);
  const memberships: Memberships[] = [];
  for (let i = 0; i < insns.length; i++) memberships.push(grouping.add(insns[i]!));
  return memberships;
}

/** Segment (FS and GS only), registers and scale of an address as a number; base 16 stands for RIP. */
function keyOf(seg: number, base: number, index: number, scale: number): number {
  return ((((((seg < 4 ? 0 : seg) << 5) | (base + 1)) << 5) | (index + 1)) << 2) | scale;
}
const RIP_KEY = keyOf(0, 16, -1, 0);
const STACK_KEY = keyOf(0, RSP, -1, 0);

class Grouping {
  readonly #page: number;
  /** By how much registers have changed since the groups that they take part in began. */
  readonly #deltas = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  /** The register that was last made a zero-extended byte and has not changed since, or -1. */
  #narrow = -1;
  /** The groups that may still grow. */
  #open: Group[] = [];

  constructor(page: number) {
    this.#page = page;
  }

  /** Takes the next instruction of the block. */
  add(insn: Insn): Memberships {
    if (insn.def.semantics === undefined) {
      const effects = effectsOf(insn);
      // what the runtime does may change who may access what
      this.#open = [];
      this.#narrow = -1;
      if (effects === undefined) return NOTHING;
      for (const reg of changedBy(effects, insn)) this.#deltas[reg] = 0;
      return NOTHING;
    }
    const summary = summaryOf(insn);
    const { mem } = insn;
    let operand: Member | undefined;
    let stack: Member | undefined;
    const { accesses } = summary;
    for (let i = 0; i < accesses.length; i++) {
      const access = accesses[i]!;
      if (access.place === 'operand' && mem !== undefined && insn.addrsize === 8)
        operand = this.#joinOperand(mem, access) ?? operand;
      else if (access.place === 'stack')
        stack = this.#join(STACK_KEY, RSP, -1, this.#deltas[RSP]! + access.offset, access);
    }
    this.#advance(insn, summary);
    return operand === undefined && stack === undefined ? NOTHING : { operand, stack };
  }

  #joinOperand(
    { base, index, scale, disp, seg, ripRelative }: MemAddress,
    access: Access,
  ): Member | undefined {
    let offset = Number(disp);
    if (ripRelative) offset += this.#page;
    if (base >= 0) offset += this.#deltas[base]!;
    if (index >= 0) offset += this.#deltas[index]! * (1 << scale);
    if (!Number.isSafeInteger(offset)) return undefined;
    if (ripRelative) return this.#join(RIP_KEY, -1, -1, offset, access);
    return this.#join(keyOf(seg, base, index, scale), base, index, offset, access);
  }

  #join(key: number, base: number, index: number, offset: number, { size, write }: Access): Member {
    const open = this.#open;
    const end = offset + size;
    let at = 0;
    while (at < open.length && open[at]!.key !== key) at++;
    let group = open[at];
    const low = group === undefined ? offset : Math.min(group.low, offset);
    const high = group === undefined ? end : Math.max(group.high, end);
    if (group === undefined || high - low > MAX_SPAN) {
      const narrow = index >= 0 && index === this.#narrow;
      group = { key, base, index, narrow, low: offset, high: end, write, accesses: 1, pointer: undefined };
      open[at] = group;
    } else {
      group.low = low;
      group.high = high;
      group.write ||= write;
      group.accesses++;
    }
    return { group, offset };
  }

  /** A register changes, by no constant: nothing can join the groups that it takes part in. */
  #changed(reg: number): void {
    this.#deltas[reg] = 0;
    if (reg === this.#narrow) this.#narrow = -1;
    const open = this.#open;
    let kept = 0;
    for (let i = 0; i < open.length; i++) {
      const group = open[i]!;
      if (group.base !== reg && group.index !== reg) open[kept++] = group;
    }
    if (kept < open.length) open.length = kept;
  }

  /** Takes note of the registers that an instruction changes. */
  #advance(insn: Insn, { operands, registers, stackDelta }: Summary): void {
    const first = insn.operands[0];
    const step = first?.size === 8 ? constantStep(insn) : undefined;
    if (step !== undefined) {
      const delta = this.#deltas[first!.reg]! + step;
      if (Number.isSafeInteger(delta)) {
        this.#deltas[first!.reg] = delta;
        if (first!.reg === this.#narrow) this.#narrow = -1;
        return;
      }
    }
    for (let i = 0; i < operands.length; i++) {
      const operand = insn.operands[operands[i]!];
      if (operand !== undefined && operand.kind === 'gpr') this.#changed(operand.reg);
    }
    for (let i = 0; i < registers.length; i++) this.#changed(registers[i]!);
    if (stackDelta !== undefined) this.#deltas[RSP]! += stackDelta;
    if (insn.def.name === 'movzx' && first !== undefined && first.size >= 4 && insn.operands[1]?.size === 1)
      this.#narrow = first.reg;
  }
}

/** By what an instruction changes its first operand, a general register of 4 or 8 bytes, if that is all it changes. */
export function constantStep({ def, operands, mem, addrsize }: Insn): number | undefined {
  const first = operands[0];
  if (first?.kind !== 'gpr' || first.size < 4) return undefined;
  switch (def.name) {
    case 'inc':
      return 1;
    case 'dec':
      return -1;
    case 'add':
    case 'sub': {
      const second = operands[1];
      if (second?.kind !== 'imm') return undefined;
      return def.name === 'add' ? Number(second.value) : -Number(second.value);
    }
    case 'lea':
      if (mem === undefined || mem.base !== first.reg || mem.index >= 0 || addrsize !== 8) return undefined;
      return Number(mem.disp);
    default:
      return undefined;
  }
}
