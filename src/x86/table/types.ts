/**
 * The form of the instruction table. One line an instruction form: its encoding, its operands, and what it does
 * (either a definition against the emitter, or a function of the runtime). Decoder, interpreter, translator and
 * tests are all read from these lines. Source of the encodings: Intel SDM volume 2, AMD APM volume 3.
 */
import type { Semantics } from '../semantics/emitter.ts';

/**
 * Encoding, in lower case: `[66|f3|f2|np] [0f|0f38|0f3a] XX [/0../7] [mem|reg]` or, for ModRM bytes that are part of
 * the opcode, `… XX modrm=e8` or `modrm=c0+` (low three bits are the rm register).  `50+` = register in the low three bits
 * of the opcode. A mandatory prefix (66 f3 f2, or np = none of them) selects the form; without one, the prefixes keep their usual
 * meaning. A leading `w1` demands REX.W, a leading `b0` demands REX.B = 0. `vex.[np|66|f3|f2].[0f|0f38|0f3a].[w0|w1] XX` for VEX.L0 integer forms.
 *
 * Operands, separated by spaces, destination first:
 * - `Eb Ew Ed Eq Ev Ey`  general register or memory by ModRM.rm; b w d q = 8 16 32 64 bit, v = operand size 16/32/64, y = 32 or
 *   64 (REX.W); `Edb Edw` a 32-bit register or memory of 8, 16 bits
 * - `Gb Gw Gd Gq Gv Gy`  general register by ModRM.reg;  `Rd Rq Rv Ry` general register by ModRM.rm, no memory form
 * - `Mb Mw Md Mq Mdq Mt Mv My M Mp`  memory only (dq = 16 bytes, t = 10 bytes, M = address without access, Mp = far pointer)
 * - `Zb Zv` register in the opcode's low three bits;  `AL CL DX rAX` fixed registers (`rAX` of the operand size);  `1`
 * - `Ib Iw Iz Iv Ibs` immediate: b zero-extended byte, bs sign-extended byte, w 16 bit, z 16/32 bit sign-extended to the operand
 *   size, v up to 64 bit
 * - `Jb Jz` branch displacement;  `Ob Ov` absolute address (moffs);  `Ap` far pointer in the instruction
 * - `Vdq` XMM by ModRM.reg;  `Wdq Wq Wd Ww` XMM or memory of 16 8 4 2 bytes by ModRM.rm;  `Udq` XMM by rm, no memory form
 * - `Pq` MMX by ModRM.reg;  `Qq Qd` MMX or memory by rm;  `Nq` MMX by rm, no memory form
 * - `By` general register by VEX.vvvv;  `Sw` segment register;  `Cq` control register;  `Dq` debug register;  `ST` x87 register by rm
 */
export interface InsnDef {
  readonly op: string;
  readonly name: string;
  readonly operands: string;
  /** What it does, for both readers. */
  readonly semantics?: Semantics | undefined;
  /** Or: the name of a function of the runtime, `(record: i32) => status`. */
  readonly helper?: string | undefined;
  /**
   * - `d64`: operand size is 64 bit in 64-bit mode by default; `f64`: always
   * - `i64`: #UD in 64-bit mode; `o64`: #UD outside it
   * - `lock`: LOCK is allowed (with a memory destination)
   * - `end`: ends a block;  `sys`: never translated, always interpreted
   * - `rep`: F2/F3 are repeat prefixes here
   * - `unaligned`: a 16-byte memory operand need not be aligned (MOVUPS, LDDQU, …); without it SSE's Wdq/Mdq raises #GP
   * - `io`: may call out to devices
   * - `imm`: the code depends on the immediate's value (shuffles)
   */
  readonly flags?: readonly (
    | 'd64'
    | 'f64'
    | 'i64'
    | 'o64'
    | 'lock'
    | 'end'
    | 'sys'
    | 'rep'
    | 'unaligned'
    | 'io'
    | 'imm'
  )[];
  /** CPUID feature that it needs; without it the encoding is #UD. */
  readonly feature?: string | undefined;
}
