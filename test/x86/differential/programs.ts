/**
 * Tiny random programs: a few instructions with forward branches, calls, bounded loops, string instructions and stack
 * work, for 64-bit, 32-bit and 16-bit code (the latter with a flat
 * DS and ES, reached by 32-bit addresses). They come to an end whatever the registers hold: only fixed addresses are
 * jumped to, loops count in memory that nothing else reaches, and a register is loaded right before it addresses memory.
 */
import { Decoder } from '../../../src/x86/decode/decode.ts';
import { opcodeTable } from '../../../src/x86/table/index.ts';
import type { CompiledDef } from '../../../src/x86/table/compile.ts';
import { AREA_BYTES, NATIVE_DATA } from '../../native/processor.ts';
import { Assembler, type Label } from './assembler.ts';
import { RIP_TARGET, WINDOW } from './compare.ts';
import { comparable, encode, type Encoding } from './generator.ts';
import { BIT_TESTS, DS, encodeLegacy, legacyComparable, SS, STRINGS } from './legacy-generator.ts';
import type { Random } from './random.ts';
import { undefinedFlags } from './undefined-flags.ts';

/** The stack lies across a page boundary, apart from the data that instructions touch. */
export const STACK_AT = 0x8000;
/** Loop counters and jump targets in memory. */
const PRIVATE = NATIVE_DATA + 0x9000;
const MOST_ITEMS = 12;

const LEFT_OUT =
  /^(?:maskmov.*|xlat|leave|enter|push|pop|pusha|popa|pushf|bound|ldmxcsr|shld|shrd|movs|stos|lods|scas|cmps)$/;

const RCX = 1;
const RSI = 6;
const RDI = 7;

export class ProgramGenerator {
  readonly #bits: 16 | 32 | 64;
  /** Prefixes for 32-bit operands and for 32-bit addresses. */
  readonly #o32: readonly number[];
  readonly #a32: readonly number[];
  readonly #forms: readonly CompiledDef[];
  readonly #random: Random;
  readonly #decoder: Decoder;
  #asm: Assembler;
  #counters = 0;

  constructor(bits: 16 | 32 | 64, random: Random, hostHas: (feature: string) => boolean) {
    this.#bits = bits;
    this.#o32 = bits === 16 ? [0x66] : [];
    this.#a32 = bits === 16 ? [0x67] : [];
    this.#random = random;
    this.#asm = new Assembler(bits);
    const allowed = bits === 64 ? comparable : legacyComparable;
    this.#forms = opcodeTable().defs.filter((def) => allowed(def, hostHas) && !LEFT_OUT.test(def.name));
    this.#decoder = new Decoder(opcodeTable(), hostHas);
  }

  /** Code to be placed at offset `origin` of its segment; it ends by running past its last byte. */
  program(origin: number): number[] {
    const random = this.#random;
    for (;;) {
      this.#asm = new Assembler(this.#bits);
      this.#counters = 0;
      const asm = this.#asm;
      const end = asm.label();
      const subroutines = Array.from({ length: random.below(3) }, () => ({
        entry: asm.label(),
        // the argument that RET drops
        drops: random.chance(30),
      }));
      this.#sequence(3 + random.below(MOST_ITEMS - 2), end, subroutines, true);
      if (subroutines.length > 0) {
        asm.jump('jmp', end);
        for (const { entry, drops } of subroutines) {
          asm.place(entry);
          const leave = asm.label();
          this.#sequence(1 + random.below(4), leave, [], false);
          asm.place(leave);
          asm.bytes(...(drops ? [0xc2, this.#bits / 8, 0] : [0xc3]));
        }
      }
      asm.place(end);
      const code = asm.assemble(origin, random);
      if (code !== undefined) return code;
    }
  }

  #sequence(
    items: number,
    end: Label,
    subroutines: readonly { entry: Label; drops: boolean }[],
    outermost: boolean,
  ): void {
    const random = this.#random;
    const asm = this.#asm;
    const labels = Array.from({ length: items }, () => asm.label());
    for (let i = 0; i < items; i++) {
      asm.place(labels[i]!);
      const later = (): Label => labels[i + 1 + random.below(items - i)] ?? end;
      const kind = random.below(100);
      if (kind < 50) this.#instruction();
      else if (kind < 66) this.#branch(later());
      else if (kind < 72 && subroutines.length > 0) this.#call(random.pick(subroutines));
      else if (kind < 80 && outermost) this.#loop(subroutines);
      else if (kind < 84) this.#indirectJump(later());
      else if (kind < 92) this.#stack();
      else if (kind < 97) this.#string();
      else this.#flagsThroughStack();
    }
  }

  // --- registers and memory ---------------------------------------------------------------------------------------

  /** MOV r32, imm32, which clears the upper half. */
  #load(register: number, value: number): void {
    const bytes = [0xb8 | (register & 7), value, value >> 8, value >> 16, value >> 24];
    if (register >= 8) bytes.unshift(0x41);
    this.#asm.bytes(...this.#o32, ...bytes.map((byte) => byte & 0xff));
  }

  #target(): number {
    const random = this.#random;
    if (random.chance(1)) return NATIVE_DATA + AREA_BYTES - random.below(8);
    const at = NATIVE_DATA + WINDOW + 64 + random.below(320);
    return random.chance(85) ? at & ~15 : at;
  }

  #encode(def: CompiledDef): Encoding {
    return this.#bits === 64
      ? encode(def, this.#random)
      : encodeLegacy(def, this.#bits === 16 ? 0 : 1, [DS], () => this.#target(), this.#random);
  }

  /** An instruction of the table. Memory operands are made to lie in the window first. */
  #instruction(): void {
    const random = this.#random;
    for (;;) {
      const def = random.pick(this.#forms);
      if (/^i?div$/.test(def.name) && random.chance(80)) continue;
      const encoding = this.#encode(def);
      const { address, bytes } = encoding;
      const insn = this.#decoder.decode(Uint8Array.from(bytes), 0, bytes.length, 0, this.#bits >> 5);
      if (typeof insn === 'string' || (insn.mem !== undefined && insn.addrsize === 2)) continue;
      // SS is not flat
      if (this.#bits === 16 && insn.mem?.seg === SS) continue;
      // the stack pointer is left alone
      if (insn.operands.some(({ kind, reg, high }) => kind === 'gpr' && reg === 4 && !high)) continue;
      if (
        insn.mem?.base === 4 ||
        (insn.mem !== undefined && BIT_TESTS.test(def.name) && def.operandCodes[1] === 'Gv')
      )
        continue;
      if (address?.ripRelative) this.#asm.ripRelative(encoding, RIP_TARGET & ~15);
      else {
        if (address !== undefined && address.base >= 0) {
          const { base, index, scale, disp } = address;
          const step = index >= 0 && index !== base ? random.below(16) : 0;
          if (index >= 0 && index !== base) this.#load(index, step);
          this.#load(base, this.#target() - disp - (step << scale));
        }
        this.#asm.bytes(...bytes);
      }
      // flags that are not defined are not looked at: set them all
      if (!/^(?:and|or|xor|test)$/.test(def.name))
        if ([1, 2, 20, 31].some((count) => undefinedFlags(def.name, count, 32) !== 0))
          this.#asm.bytes(0x83, 0xf8 | random.pick([0, 1, 2, 3, 5, 6, 7]), random.below(256)); // cmp r32, imm8
      return;
    }
  }

  // --- control ----------------------------------------------------------------------------------------------------

  #branch(to: Label): void {
    const random = this.#random;
    const asm = this.#asm;
    if (random.chance(12)) asm.jump(random.pick(['loop', 'loope', 'loopne', 'jcxz']), to);
    else if (random.chance(10)) asm.jump('jmp', to);
    else asm.jump(random.below(16), to);
  }

  #call({ entry, drops }: { entry: Label; drops: boolean }): void {
    const random = this.#random;
    const asm = this.#asm;
    if (drops) asm.bytes(0x6a, random.below(256)); // push imm8
    if (random.chance(60)) asm.jump('call', entry);
    else {
      asm.address(random.pick([0, 2, 6]), entry);
      asm.lastRegister([0xff], 0xd0); // call r
    }
  }

  #indirectJump(to: Label): void {
    const asm = this.#asm;
    asm.address(0, to);
    if (this.#random.chance(50)) {
      asm.bytes(0xff, 0xe0); // jmp rax
      return;
    }
    const slot = PRIVATE + 256;
    const absolute = [0x04, 0x25, slot & 0xff, (slot >> 8) & 0xff, (slot >> 16) & 0xff, slot >>> 24];
    if (this.#bits === 64) asm.bytes(0x48);
    asm.bytes(...this.#a32, 0x89, ...absolute); // mov [slot], rax
    asm.bytes(...this.#a32, 0xff, 0x24, ...absolute.slice(1)); // jmp [slot]
  }

  /** DEC counter; JNZ, or LOOP with the register saved on the stack. */
  #loop(subroutines: readonly { entry: Label; drops: boolean }[]): void {
    const random = this.#random;
    const asm = this.#asm;
    const times = 2 + random.below(5);
    const top = asm.label();
    const bottom = asm.label();
    if (random.chance(50)) {
      const counter = PRIVATE + 8 * this.#counters++;
      const at = [0x25, counter & 0xff, (counter >> 8) & 0xff, (counter >> 16) & 0xff, counter >>> 24];
      const zeros = this.#bits === 16 ? [0] : [0, 0, 0];
      asm.bytes(...this.#a32, 0xc7, 0x04, ...at, times, ...zeros); // mov [counter], times
      asm.place(top);
      this.#sequence(1 + random.below(4), bottom, subroutines, false);
      asm.place(bottom);
      asm.bytes(...this.#a32, 0xff, 0x0c, ...at); // dec [counter]
      asm.jump(5, top); // jnz
      return;
    }
    this.#load(RCX, times);
    asm.place(top);
    asm.bytes(0x51); // push rcx
    this.#sequence(1 + random.below(3), bottom, subroutines, false);
    asm.place(bottom);
    asm.bytes(0x59); // pop rcx
    asm.jump('loop', top);
  }

  // --- stack and strings ------------------------------------------------------------------------------------------

  #stack(): void {
    const random = this.#random;
    const asm = this.#asm;
    const registers = [0, 1, 2, 3, 5, 6, 7];
    const word = random.chance(15) ? [0x66] : [];
    const window = NATIVE_DATA + WINDOW + 64 + random.below(300);
    const absolute = [0x25, window & 0xff, (window >> 8) & 0xff, (window >> 16) & 0xff, window >>> 24];
    switch (random.below(6)) {
      case 0:
        // through memory: push m; pop m
        asm.bytes(...this.#a32, ...word, 0xff, 0x34, ...absolute);
        asm.bytes(...this.#a32, ...word, 0x8f, 0x04, ...absolute);
        return;
      case 1:
        asm.bytes(0xc8, random.below(64), 0, random.below(2)); // enter
        if (random.chance(50)) asm.bytes(0x50);
        asm.bytes(0xc9); // leave
        return;
      case 2:
        asm.bytes(0x68, random.below(256), random.below(256));
        if (this.#bits !== 16) asm.bytes(random.below(256), random.below(256));
        break;
      case 3:
        if (this.#bits !== 64) {
          asm.bytes(...word, 0x60, ...word, 0x61); // pusha; popa
          return;
        }
        asm.bytes(0x41, 0x50 | random.below(8), 0x41, 0x58 | random.below(8)); // push r8..r15; pop r8..r15
        return;
      case 4:
        asm.bytes(0x54); // push rsp
        break;
      default:
        asm.bytes(...word, 0x50 | random.pick(registers));
        asm.bytes(...word, 0x58 | random.pick(registers));
        return;
    }
    asm.bytes(0x58 | random.pick(registers));
  }

  /** A string instruction on the window; what only writes may run into the unmapped page. */
  #string(): void {
    const random = this.#random;
    const asm = this.#asm;
    const name = random.pick([...STRINGS]);
    const compares = name === 'cmps' || name === 'scas';
    const count = random.below(compares ? 12 : 40);
    const place = (): number => NATIVE_DATA + WINDOW + 64 + random.below(128);
    this.#load(RSI, place());
    this.#load(RDI, !compares && random.chance(4) ? NATIVE_DATA + AREA_BYTES - 20 : place());
    this.#load(RCX, random.chance(10) ? 0 : count);
    asm.bytes(random.chance(70) ? 0xfc : 0xfd); // cld, std
    const opcode = { movs: 0xa4, cmps: 0xa6, stos: 0xaa, lods: 0xac, scas: 0xae }[name]!;
    const size = random.below(this.#bits === 64 ? 4 : 3);
    const repeat = random.chance(70) ? [compares && random.chance(50) ? 0xf2 : 0xf3] : [];
    const prefixes = [[], [0x66], [], [0x48]][size]!;
    asm.bytes(...this.#a32, ...repeat, ...prefixes, opcode + (size === 0 ? 0 : 1));
    if (random.chance(70)) asm.bytes(0xfc);
  }

  /** PUSHF, change arithmetic flags and DF in the image, POPF. */
  #flagsThroughStack(): void {
    const asm = this.#asm;
    const mask = this.#random.u32() & 0xcd5;
    const zeros = this.#bits === 16 ? [] : [0, 0];
    // pushf; xor [rsp], mask; popf
    asm.bytes(0x9c, ...this.#a32, 0x81, 0x34, 0x24, mask & 0xff, mask >> 8, ...zeros, 0x9d);
  }
}
