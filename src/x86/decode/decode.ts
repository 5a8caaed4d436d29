/**
 * The instruction decoder: bytes to `Insn`, by the opcode table. It knows prefixes, ModRM, SIB, displacements and
 * immediates and nothing about what instructions do. Intel SDM volume 2, chapter 2.
 */
import type { CompiledDef, MandatoryPrefix, OpcodeTable } from '../table/compile.ts';
import { VEX_MAPS } from '../table/compile.ts';
import { type Insn, makeOperand, type MemAddress, type Operand } from './insn.ts';

export const SEG_ES = 0;
export const SEG_CS = 1;
export const SEG_SS = 2;
export const SEG_DS = 3;
export const SEG_FS = 4;
export const SEG_GS = 5;

/** Longest instruction (SDM 2.3.11); a longer one raises #GP(0). */
export const MAX_LENGTH = 15;

/** Why there is no instruction: the exception to raise, or bytes of the next page are needed. */
export type DecodeFailure = 'ud' | 'gp' | 'short';

export class Decoder {
  readonly table: OpcodeTable;
  readonly #has: (feature: string) => boolean;
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;
  #end = 0;

  /** @param has tells whether the processor model has a CPUID feature */
  constructor(table: OpcodeTable, has: (feature: string) => boolean) {
    this.table = table;
    this.#has = has;
  }

  /**
   * Decodes the instruction at bytes[at..end). `offset` is its place in its page (for branch targets), `code` the
   * code size of CS: 0 = 16 bit, 1 = 32 bit, 2 = 64 bit. 'short' when it runs past `end`.
   */
  decode(bytes: Uint8Array, at: number, end: number, offset: number, code: number): Insn | DecodeFailure {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = Math.min(end, at + MAX_LENGTH);
    const result = this.#decode(at, offset, code);
    // What looks undefined at the very end may become something with the bytes that follow.
    const ranOut = this.#at > this.#end || (result === 'ud' && this.#at === this.#end);
    if (ranOut) return end - at < MAX_LENGTH ? 'short' : this.#at > this.#end ? 'gp' : 'ud';
    return result;
  }

  #u8(): number {
    const at = this.#at++;
    return at < this.#end ? this.#bytes[at]! : 0;
  }
  #s8(): number {
    return (this.#u8() << 24) >> 24;
  }
  #u16(): number {
    const low = this.#u8();
    return low | (this.#u8() << 8);
  }
  #s16(): number {
    return (this.#u16() << 16) >> 16;
  }
  #s32(): number {
    const low = this.#u16();
    return low | (this.#u16() << 16);
  }
  #u64(): bigint {
    const low = BigInt(this.#s32() >>> 0);
    return low | (BigInt(this.#s32() >>> 0) << 32n);
  }

  #decode(start: number, offset: number, code: number): Insn | DecodeFailure {
    let has66 = false;
    let has67 = false;
    let lock = false;
    let rep: 0 | 1 | 2 = 0;
    let seg = -1;
    let rex = 0;
    let byte = this.#u8();
    prefixes: for (;;) {
      switch (byte) {
        case 0x26:
          if (code !== 2) seg = SEG_ES;
          break;
        case 0x2e:
          if (code !== 2) seg = SEG_CS;
          break;
        case 0x36:
          if (code !== 2) seg = SEG_SS;
          break;
        case 0x3e:
          if (code !== 2) seg = SEG_DS;
          break;
        case 0x64:
          seg = SEG_FS;
          break;
        case 0x65:
          seg = SEG_GS;
          break;
        case 0x66:
          has66 = true;
          break;
        case 0x67:
          has67 = true;
          break;
        case 0xf0:
          lock = true;
          break;
        case 0xf2:
          rep = 2;
          break;
        case 0xf3:
          rep = 1;
          break;
        default:
          if (code === 2 && (byte & 0xf0) === 0x40) {
            // A REX prefix counts only directly in front of the opcode.
            rex = byte;
            byte = this.#u8();
            if ((byte & 0xf0) === 0x40 || isLegacyPrefix(byte)) {
              rex = 0;
              if (this.#at > this.#end) return 'ud';
              continue;
            }
          }
          break prefixes;
      }
      if (this.#at > this.#end) return 'ud';
      byte = this.#u8();
    }

    let map = 0;
    let vvvv = 0;
    let vexW = 0;
    let prefix: MandatoryPrefix = rep === 1 ? 'f3' : rep === 2 ? 'f2' : has66 ? '66' : 'np';
    if (
      (byte === 0xc4 || byte === 0xc5) &&
      (code === 2 || (this.#at < this.#end && this.#bytes[this.#at]! >= 0xc0)) &&
      this.#at < this.#end
    ) {
      if (has66 || rep !== 0 || lock || rex !== 0) return 'ud';
      const first = this.#u8();
      let last = first;
      map = VEX_MAPS + 1;
      rex = first & 0x80 ? 0 : 4;
      if (byte === 0xc4) {
        last = this.#u8();
        if ((first & 0x1f) < 1 || (first & 0x1f) > 3) return 'ud';
        map = VEX_MAPS + (first & 0x1f);
        rex |= (first & 0x40 ? 0 : 2) | (first & 0x20 ? 0 : 1);
        vexW = last >> 7;
        rex |= vexW << 3;
      }
      vvvv = ~(last >> 3) & 15;
      if (last & 4) return 'ud';
      prefix = (['np', '66', 'f3', 'f2'] as const)[last & 3]!;
      byte = this.#u8();
    } else if (byte === 0x0f) {
      map = 1;
      byte = this.#u8();
      if (byte === 0x38 || byte === 0x3a) {
        map = byte === 0x38 ? 2 : 3;
        byte = this.#u8();
      }
    }

    let modrm = this.#at < this.#end ? this.#bytes[this.#at]! : 0;
    // MOV to and from CR and DR ignores mod: the operand is a register (SDM volume 2, "MOV—Move to/from Control Registers")
    if (map === 1 && (byte & 0xfc) === 0x20) modrm |= 0xc0;
    const w = map >= VEX_MAPS ? vexW : (rex >> 3) & 1;
    const def = this.#choose(map, byte, modrm, prefix, w, rex & 1, code === 2);
    if (def === undefined) return 'ud';
    // VEX.vvvv that names no operand must be 1111b (SDM volume 2, 2.3.5.6)
    if (vvvv !== 0 && !def.hasVvvv) return 'ud';
    if (code !== 2 && map >= VEX_MAPS) {
      // Only eight registers, of 32 bits: W, B and the top bit of vvvv do not count (SDM volume 2, 2.3.5)
      rex = 0;
      vvvv &= 7;
    }

    let opsize: 2 | 4 | 8 = code === 0 ? (has66 ? 4 : 2) : has66 && def.prefix !== '66' ? 2 : 4;
    if (code === 0 && def.prefix === '66') opsize = 4;
    if (code === 2) {
      if (rex & 8 || def.isF64) opsize = 8;
      else if (def.isD64 && opsize === 4) opsize = 8;
    }
    const addrsize: 2 | 4 | 8 = code === 2 ? (has67 ? 4 : 8) : (code === 1) === !has67 ? 4 : 2;

    let mem: MemAddress | undefined;
    if (def.hasModrm) {
      this.#at++;
      if (modrm < 0xc0) mem = addrsize === 2 ? this.#address16(modrm) : this.#address32(modrm, rex, code);
    }
    const operands: Operand[] = [];
    const { operandCodes } = def;
    for (let i = 0; i < operandCodes.length; i++) {
      const operandCode = operandCodes[i]!;
      if (operandCode === 'Ob' || operandCode === 'Ov') {
        const disp = addrsize === 8 ? this.#u64() : addrsize === 4 ? this.#s32() >>> 0 : this.#u16();
        mem = { base: -1, index: -1, scale: 0, disp, seg: SEG_DS, ripRelative: false };
        operands.push(makeOperand('mem', 0, operandCode === 'Ob' ? 1 : opsize));
        continue;
      }
      const operand = this.#operand(operandCode, opsize, rex, byte, modrm, vvvv, code);
      if (operand === undefined) return 'ud';
      operands.push(operand);
    }
    if (lock && !(def.mayLock && operands[0]?.kind === 'mem')) return 'ud';
    const length = this.#at - start;
    if (mem !== undefined) {
      if (seg >= 0) mem.seg = seg;
      if (mem.ripRelative) mem.disp = Number(mem.disp) + offset + length;
    }
    if (def.ends && operands.length > 0 && operands[0]!.kind === 'rel')
      operands[0] = makeOperand('rel', operands[0]!.reg + offset + length, operands[0]!.size);
    return {
      def,
      offset,
      length,
      opsize,
      addrsize,
      rexW: (rex & 8) !== 0,
      lock,
      rep,
      segOverride: seg,
      operands,
      mem,
    };
  }

  #choose(
    map: number,
    opcode: number,
    modrm: number,
    prefix: MandatoryPrefix,
    vexW: number,
    rexB: number,
    long: boolean,
  ): CompiledDef | undefined {
    const candidates = this.table.candidates(map, opcode);
    for (let i = 0; i < candidates.length; i++) {
      const def = candidates[i]!;
      // some encodings are another instruction outside 64-bit mode (ARPL, MOVSXD)
      if (long ? def.isI64 : def.isO64) continue;
      if (def.prefix !== undefined && def.prefix !== prefix) continue;
      if (def.reg !== undefined && def.reg !== ((modrm >> 3) & 7)) continue;
      if (def.mod !== undefined && (def.mod === 'reg') !== modrm >= 0xc0) continue;
      if (def.modrmFirst >= 0 && (modrm < def.modrmFirst || modrm > def.modrmLast)) continue;
      if (def.vexW !== undefined && def.vexW !== vexW) continue;
      if (def.rexB !== undefined && def.rexB !== rexB) continue;
      if (def.feature !== undefined && !this.#has(def.feature)) continue;
      return def;
    }
    return undefined;
  }

  #address16(modrm: number): MemAddress {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    // BX+SI BX+DI BP+SI BP+DI SI DI BP BX
    let base = [3, 3, 5, 5, 6, 7, 5, 3][rm]!;
    const index = [6, 7, 6, 7, -1, -1, -1, -1][rm]!;
    let disp = 0;
    if (mod === 0 && rm === 6) {
      base = -1;
      disp = this.#u16();
    } else if (mod === 1) disp = this.#s8();
    else if (mod === 2) disp = this.#s16();
    return { base, index, scale: 0, disp, seg: base === 5 ? SEG_SS : SEG_DS, ripRelative: false };
  }

  #address32(modrm: number, rex: number, code: number): MemAddress {
    const mod = modrm >> 6;
    const rm = modrm & 7;
    let base = rm | ((rex & 1) << 3);
    let index = -1;
    let scale = 0;
    let ripRelative = false;
    let disp = 0;
    let baseless = false;
    if (rm === 4) {
      const sib = this.#u8();
      scale = sib >> 6;
      index = ((sib >> 3) & 7) | ((rex & 2) << 2);
      if (index === 4) index = -1;
      base = (sib & 7) | ((rex & 1) << 3);
      baseless = (sib & 7) === 5 && mod === 0;
    } else if (rm === 5 && mod === 0) {
      baseless = true;
      ripRelative = code === 2;
    }
    if (baseless) {
      base = -1;
      disp = this.#s32();
    } else if (mod === 1) disp = this.#s8();
    else if (mod === 2) disp = this.#s32();
    const stack = base === 4 || base === 5;
    return { base, index, scale, disp, seg: stack ? SEG_SS : SEG_DS, ripRelative };
  }

  #operand(
    operandCode: string,
    opsize: 2 | 4 | 8,
    rex: number,
    opcode: number,
    modrm: number,
    vvvv: number,
    code: number,
  ): Operand | undefined {
    const regField = ((modrm >> 3) & 7) | ((rex & 4) << 1);
    const rmField = (modrm & 7) | ((rex & 1) << 3);
    const kind = operandCode[0]!;
    const isMem = modrm < 0xc0;
    switch (kind) {
      case 'E':
      case 'G':
      case 'R':
      case 'Z':
      case 'B': {
        // Edb, Edw: a 32-bit register, or memory of one or two bytes
        const size = sizeOf(isMem ? operandCode.at(-1)! : operandCode[1]!, opsize, rex);
        if (kind === 'E' && isMem) return makeOperand('mem', 0, size);
        if (kind === 'R' && isMem) return undefined;
        const reg =
          kind === 'G'
            ? regField
            : kind === 'Z'
              ? (opcode & 7) | ((rex & 1) << 3)
              : kind === 'B'
                ? vvvv
                : rmField;
        if (size === 1 && (rex & 0x40) === 0 && reg >= 4) return makeOperand('gpr', reg - 4, size, true);
        return makeOperand('gpr', reg, size, false);
      }
      case 'M': {
        if (!isMem) return undefined;
        const suffix = operandCode.slice(1);
        if (suffix === '') return makeOperand('mem', 0, 0);
        if (suffix === 'p') return makeOperand('mem', 0, opsize + 2);
        if (suffix === 'dq') return makeOperand('mem', 0, 16);
        if (suffix === 't') return makeOperand('mem', 0, 10);
        return makeOperand('mem', 0, sizeOf(suffix, opsize, rex));
      }
      case 'A':
        if (operandCode === 'AL') return makeOperand('gpr', 0, 1, false);
        if (operandCode === 'AX') return makeOperand('gpr', 0, 2, false);
        // Ap: offset first, then the selector as a second immediate
        return makeOperand(
          'imm',
          0,
          opsize + 2,
          false,
          (opsize === 2 ? BigInt(this.#u16()) : BigInt(this.#s32() >>> 0)) | (BigInt(this.#u16()) << 32n),
        );
      case 'C':
        if (operandCode === 'CL') return makeOperand('gpr', 1, 1, false);
        return makeOperand('cr', regField, 8);
      case 'D':
        if (operandCode === 'DX') return makeOperand('gpr', 2, 2, false);
        return makeOperand('dr', regField, 8);
      case 'r':
        return makeOperand('gpr', 0, opsize, false);
      case '1':
        return makeOperand('imm', 0, 1, false, 1);
      case 'I':
        switch (operandCode) {
          case 'Ib':
            return makeOperand('imm', 0, 1, false, this.#u8());
          case 'Ibs':
            return makeOperand('imm', 0, 1, false, this.#s8());
          case 'Iw':
            return makeOperand('imm', 0, 2, false, this.#u16());
          case 'Iz':
            return makeOperand('imm', 0, opsize, false, opsize === 2 ? this.#s16() : this.#s32());
          default:
            return makeOperand(
              'imm',
              0,
              opsize,
              false,
              opsize === 8 ? this.#u64() : opsize === 4 ? this.#s32() : this.#s16(),
            );
        }
      case 'J':
        return makeOperand(
          'rel',
          operandCode === 'Jb' ? this.#s8() : opsize === 2 ? this.#s16() : this.#s32(),
          code === 2 ? 8 : opsize,
        );
      case 'V':
        return makeOperand('xmm', regField, vectorSize(operandCode));
      case 'W':
        if (isMem) return makeOperand('mem', 0, vectorSize(operandCode));
        return makeOperand('xmm', rmField, vectorSize(operandCode));
      case 'U':
        return isMem ? undefined : makeOperand('xmm', rmField, vectorSize(operandCode));
      case 'P':
        return makeOperand('mmx', regField & 7, 8);
      case 'Q':
        if (isMem) return makeOperand('mem', 0, vectorSize(operandCode));
        return makeOperand('mmx', rmField & 7, vectorSize(operandCode));
      case 'N':
        return isMem ? undefined : makeOperand('mmx', rmField & 7, 8);
      case 'S':
        if (operandCode === 'ST') return makeOperand('st', modrm & 7, 10);
        return (modrm & 0x38) >= 0x30 ? undefined : makeOperand('seg', (modrm >> 3) & 7, 2);
      default:
        throw new Error(`instruction table: operand code '${operandCode}'`);
    }
  }
}

export function isLegacyPrefix(byte: number): boolean {
  return (
    byte === 0x26 ||
    byte === 0x2e ||
    byte === 0x36 ||
    byte === 0x3e ||
    (byte >= 0x64 && byte <= 0x67) ||
    byte === 0xf0 ||
    byte === 0xf2 ||
    byte === 0xf3
  );
}

function sizeOf(letter: string, opsize: 2 | 4 | 8, rex: number): 1 | 2 | 4 | 8 {
  switch (letter) {
    case 'b':
      return 1;
    case 'w':
      return 2;
    case 'd':
      return 4;
    case 'q':
      return 8;
    case 'y':
      return rex & 8 ? 8 : 4;
    default:
      return opsize;
  }
}

function vectorSize(operandCode: string): number {
  switch (operandCode.slice(1)) {
    case 'dq':
      return 16;
    case 'd':
      return 4;
    case 'w':
      return 2;
    case 'b':
      return 1;
    default:
      return 8;
  }
}
