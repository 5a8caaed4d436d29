/**
 * Long random programs of 64-bit code: functions in several pages that call one another, loops in loops, tables of jump
 * targets, instructions in a row through pointers that stay, stores over code, x87 and string instructions in between,
 * and now and then a fault in the middle. They end whatever the data is: loops count in registers and memory that
 * nothing else reaches, functions call later functions only, and pointers stay within 64 bytes of where they point.
 */
import { Decoder } from '../../../src/x86/decode/decode.ts';
import type { CompiledDef } from '../../../src/x86/table/compile.ts';
import { opcodeTable } from '../../../src/x86/table/index.ts';
import { AREA_BYTES, NATIVE_DATA } from '../../native/processor.ts';
import { Assembler, type Label } from './assembler.ts';
import { randomMxcsr, RIP_TARGET, WINDOW } from './compare.ts';
import { comparable, encode, type Encoding, type Place } from './generator.ts';
import { BIT_TESTS, STRINGS } from './legacy-generator.ts';
import type { Random } from './random.ts';
import { undefinedFlags } from './undefined-flags.ts';

/** Loop counters, jump targets and control words, where no other instruction writes. */
const PRIVATE = NATIVE_DATA + 0x9000;
/** Page of the data area that can only be read. */
export const READ_ONLY_PAGE = 13;
/** Bytes in code that are written as data, on pages that hold code. */
const SCRATCH_BYTES = 320;

const [RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
const COUNTER = 15;
/** They point at data all the time: into the window, across pages, into code, to read-only data, at the end of all. */
const POINTERS = [RBX, RBP, 12, 13, 14] as const;
const KEPT = new Set<number>([RSP, COUNTER, ...POINTERS]);

const LEFT_OUT =
  /^(?:maskmov.*|xlat|leave|enter|push|pop|pusha|popa|pushf|bound|ldmxcsr|movs|stos|lods|scas|cmps)$/;
const MAY_EXCHANGE = /^(?:xchg|xadd|cmpxchg|mulx)/;

export interface LongProgram {
  readonly code: number[];
  /** It stores over its own code: to be loaded again before each run. */
  readonly modifies: boolean;
}

interface Routine {
  readonly entry: Label;
  readonly drops: boolean;
}

export class LongProgramGenerator {
  readonly #forms: readonly CompiledDef[];
  readonly #random: Random;
  readonly #decoder: Decoder;
  #asm = new Assembler(64);
  #counters = 0;
  #modifies = false;
  #scratch: Label = { at: 0 };
  #tables: [Label, Label[]][] = [];

  constructor(random: Random, hostHas: (feature: string) => boolean) {
    this.#random = random;
    this.#forms = opcodeTable().defs.filter((def) => comparable(def, hostHas) && !LEFT_OUT.test(def.name));
    this.#decoder = new Decoder(opcodeTable(), hostHas);
  }

  /** Code to be placed at `origin`; it ends by running past its last byte. At most `most` bytes. */
  program(origin: number, most: number): LongProgram {
    const random = this.#random;
    for (;;) {
      this.#asm = new Assembler(64);
      this.#counters = 0;
      this.#modifies = false;
      this.#tables = [];
      const asm = this.#asm;
      const end = asm.label();
      this.#scratch = asm.label();
      const modifies = random.chance(30);
      const routines: Routine[] = Array.from({ length: random.below(6) }, () => ({
        entry: asm.label(),
        drops: random.chance(30),
      }));
      this.#pointers();
      this.#sequence(8 + random.below(40), end, routines, 2, modifies);
      asm.jump('jmp', end);
      this.#gap();
      for (const [i, { entry, drops }] of routines.entries()) {
        asm.place(entry);
        const leave = asm.label();
        this.#sequence(1 + random.below(12), leave, routines.slice(i + 1), 0, modifies);
        asm.place(leave);
        asm.bytes(...(drops ? [0xc2, 8, 0] : [0xc3]));
        this.#gap();
      }
      for (const [label, targets] of this.#tables) {
        asm.place(label);
        for (const target of targets) asm.quad(target);
      }
      asm.place(this.#scratch);
      asm.bytes(...Array<number>(SCRATCH_BYTES).fill(0x90));
      asm.place(end);
      const code = asm.assemble(origin, random);
      if (code !== undefined && code.length <= most) return { code, modifies: this.#modifies };
    }
  }

  /** Bytes that are not executed, often so many that the next function lies on another page. */
  #gap(): void {
    const random = this.#random;
    if (random.chance(50)) return;
    const count = random.chance(50) ? random.below(64) : random.below(5000);
    this.#asm.bytes(...Array<number>(count).fill(0xcc));
  }

  /** `depth`: how many loops may still stand in one another. */
  #sequence(items: number, end: Label, routines: readonly Routine[], depth: number, modifies: boolean): void {
    const random = this.#random;
    const asm = this.#asm;
    const labels = Array.from({ length: items }, () => asm.label());
    for (let i = 0; i < items; i++) {
      asm.place(labels[i]!);
      const later = (): Label => labels[i + 1 + random.below(Math.min(items - i, 8))] ?? end;
      const kind = random.below(100);
      if (kind < 10) this.#group();
      else if (kind < 22) this.#branch(later());
      else if (kind < 29 && routines.length > 0) this.#call(random.pick(routines));
      else if (kind < 35 && depth > 0) this.#loop(routines, depth, modifies);
      else if (kind < 40) this.#hotLoop();
      else if (kind < 43) this.#indirectJump(later());
      else if (kind < 46) this.#switch([later(), later(), later(), later()]);
      else if (kind < 50) this.#stack();
      else if (kind < 53) this.#string();
      else if (kind < 55) this.#flagsThroughStack();
      else if (kind < 58) this.#movePointer();
      else if (kind < 60) this.#x87();
      else if (kind < 61) this.#control();
      else if (kind < 63) this.#carries();
      else if (kind < 67 && modifies) this.#modify(later);
      else this.#instruction();
    }
  }

  // --- registers and memory ---------------------------------------------------------------------------------------

  /** MOV r32, imm32, which clears the upper half. */
  #load(register: number, value: number): void {
    const bytes = [0xb8 | (register & 7), value, value >> 8, value >> 16, value >> 24];
    if (register >= 8) bytes.unshift(0x41);
    this.#asm.bytes(...bytes.map((byte) => byte & 0xff));
  }

  #pointers(): void {
    const random = this.#random;
    this.#load(RBX, NATIVE_DATA + WINDOW + 192 + 64 * random.below(2));
    this.#load(RBP, NATIVE_DATA + 0x3000 + random.pick([-64, 0]));
    // a few programs run into the unmapped page
    this.#load(12, NATIVE_DATA + AREA_BYTES - (random.chance(4) ? 64 : 192));
    this.#load(13, NATIVE_DATA + 4096 * READ_ONLY_PAGE + (random.chance(6) ? 0 : -256));
    this.#asm.address(RAX, this.#scratch, 128);
    this.#asm.bytes(0x49, 0x89, 0xc6); // mov r14, rax
  }

  #target(): number {
    const random = this.#random;
    if (random.below(1000) < 3) return NATIVE_DATA + AREA_BYTES - random.below(8);
    const at = NATIVE_DATA + WINDOW + 64 + random.below(320);
    return random.chance(85) ? at & ~15 : at;
  }

  /** Somewhere within 64 bytes of a pointer. */
  #place(rex: boolean, aligned: boolean): Place {
    const random = this.#random;
    const base = random.pick(POINTERS.filter((pointer) => rex || pointer < 8));
    const at = random.below(128) - 64;
    return { base, index: -1, scale: 0, disp: aligned ? at & ~15 : random.chance(30) ? at & ~7 : at };
  }

  /**
   * An instruction of the table that leaves the pointers alone, or undefined.
   * @param pointer its memory operand goes through a pointer
   */
  #encode(def: CompiledDef, pointer: boolean): Encoding | undefined {
    const random = this.#random;
    const aligned = def.operandCodes.some((code) => /^[VWQP]/.test(code)) && random.chance(97);
    const encoding = encode(def, random, pointer ? (rex) => this.#place(rex, aligned) : undefined);
    const { bytes } = encoding;
    const insn = this.#decoder.decode(Uint8Array.from(bytes), 0, bytes.length, 0, 2);
    if (typeof insn === 'string') return undefined;
    const kept = insn.operands.filter(({ kind, reg }) => kind === 'gpr' && KEPT.has(reg));
    if (kept.some(({ reg }) => reg === RSP)) return undefined;
    // the first operand is written, and the second by some
    if (kept.length > 0)
      if (MAY_EXCHANGE.test(def.name) || kept.includes(insn.operands[0]!)) return undefined;
    if (insn.mem !== undefined) {
      if (insn.mem.base === RSP || KEPT.has(insn.mem.index)) return undefined;
      if (!pointer && KEPT.has(insn.mem.base)) return undefined;
      if (BIT_TESTS.test(def.name) && def.operandCodes[1] === 'Gv') return undefined;
    }
    if (/^sh[lr]d$/.test(def.name) && insn.opsize === 2) return undefined;
    return encoding;
  }

  #instruction(): void {
    const random = this.#random;
    for (;;) {
      const def = random.pick(this.#forms);
      if (/^i?div$/.test(def.name) && random.chance(85)) continue;
      const pointer = random.chance(60);
      const encoding = this.#encode(def, pointer);
      if (encoding === undefined) continue;
      const { address, bytes } = encoding;
      if (address?.ripRelative) this.#asm.ripRelative(encoding, RIP_TARGET & ~15);
      else {
        if (!pointer && address !== undefined && address.base >= 0) {
          const { base, index, scale, disp } = address;
          const step = index >= 0 && index !== base ? random.below(16) : 0;
          if (index >= 0 && index !== base) this.#load(index, step);
          this.#load(base, this.#target() - disp - (step << scale));
        }
        this.#asm.bytes(...bytes);
      }
      this.#defineFlags(def);
      return;
    }
  }

  /** Flags that are not defined are not looked at: set them all. */
  #defineFlags(def: CompiledDef): void {
    const random = this.#random;
    if (/^(?:and|or|xor|test)$/.test(def.name)) return;
    if ([1, 2, 20, 31].some((count) => undefinedFlags(def.name, count, 32) !== 0))
      this.#asm.bytes(0x83, 0xf8 | random.pick([0, 1, 2, 3, 5, 6, 7]), random.below(256)); // cmp r32, imm8
  }

  /** Plain moves and arithmetic in a row through one pointer, as compilers write them for structures. */
  #group(): void {
    const random = this.#random;
    const pointer = random.pick(POINTERS);
    const start = random.below(128) - 64;
    for (let left = 2 + random.below(6); left > 0; left--) {
      const disp = Math.max(-64, Math.min(63, start + random.below(40) - 20));
      const register = random.pick([RAX, RCX, RDX, RSI, RDI, 8, 9, 10, 11]);
      const wide = random.below(2);
      const rex = 0x40 | (wide << 3) | ((register >> 3) << 2) | (pointer >> 3);
      const opcode = random.pick([
        0x8b, 0x8b, 0x89, 0x89, 0x03, 0x01, 0x2b, 0x33, 0x31, 0x3b, 0x39, 0x13, 0x85,
      ]);
      const sib = (pointer & 7) === 4 ? [0x24] : [];
      this.#asm.bytes(rex, opcode, 0x40 | ((register & 7) << 3) | (pointer & 7), ...sib, disp & 0xff);
    }
  }

  /** Carries handed on in a row, as in arithmetic on long numbers: instructions that set only CF or OF, or use them. */
  #carries(): void {
    const random = this.#random;
    const hasAdx = this.#forms.some(({ name }) => name === 'adcx');
    for (let left = 3 + random.below(10); left > 0; left--) {
      const [reg, rm] = [0, 0].map(() => random.pick([RAX, RCX, RDX, RSI, RDI, 8, 9, 10, 11])) as [
        number,
        number,
      ];
      const rex = 0x40 | ((reg >> 3) << 2) | (rm >> 3);
      const wide = rex | (random.below(2) << 3);
      const modrm = 0xc0 | ((reg & 7) << 3) | (rm & 7);
      const condition = random.pick([0, 1, 2, 3, 4, 6, 12, 14]);
      const kind = random.below(hasAdx ? 12 : 8);
      if (kind >= 10)
        this.#asm.bytes(0x66, wide, 0x0f, 0x38, 0xf6, modrm); // adcx
      else if (kind >= 8)
        this.#asm.bytes(0xf3, wide, 0x0f, 0x38, 0xf6, modrm); // adox
      else if (kind >= 6)
        this.#asm.bytes(wide, random.pick([0x13, 0x1b]), modrm); // adc, sbb
      else if (kind === 5)
        this.#asm.bytes(wide, 0xff, 0xc0 | (random.below(2) << 3) | (rm & 7)); // inc, dec
      else if (kind === 4)
        this.#asm.bytes(wide, 0xd1, 0xc0 | (random.below(4) << 3) | (rm & 7)); // rol ror rcl rcr
      else if (kind === 3)
        this.#asm.bytes(random.pick([0xf5, 0xf8, 0xf9])); // cmc clc stc
      else if (kind === 2)
        this.#asm.bytes(wide, 0x0f, 0x40 | condition, modrm); // cmov
      else if (kind === 1)
        this.#asm.bytes(rex, 0x0f, 0x90 | condition, 0xc0 | (rm & 7)); // set
      else this.#asm.bytes(wide, 0x8d, 0x40 | ((reg & 7) << 3) | RAX, 1); // lea 1(%rax or %r8)
    }
  }

  #movePointer(): void {
    const random = this.#random;
    const pointer = random.pick(POINTERS.filter((one) => one !== 13));
    const rex = 0x48 | (pointer >> 3);
    const step = random.pick([8, 16, 32]);
    switch (random.below(4)) {
      case 0:
        // xor, which comes back the next time (pointers are multiples of 64)
        this.#asm.bytes(rex, 0x83, 0xf0 | (pointer & 7), step);
        return;
      case 1: {
        // push pointer; add pointer, step; …; pop pointer
        const low = pointer >= 8 ? [0x41] : [];
        this.#asm.bytes(...low, 0x50 | (pointer & 7), rex, 0x83, 0xc0 | (pointer & 7), step);
        this.#group();
        this.#asm.bytes(...low, 0x58 | (pointer & 7));
        return;
      }
      case 2:
        // add pointer, step; …; lea pointer, [pointer - step]
        this.#asm.bytes(rex, 0x83, 0xc0 | (pointer & 7), step);
        this.#group();
        this.#asm.bytes(rex | ((pointer >> 3) << 2), 0x8d, 0x40 | ((pointer & 7) << 3) | (pointer & 7));
        if ((pointer & 7) === 4) this.#asm.bytes(0x24);
        this.#asm.bytes(-step & 0xff);
        return;
      default:
        // mov rdi, pointer; mov [rdi + n], eax; mov ecx, [pointer + n]
        this.#asm.bytes(0x48 | ((pointer >> 3) << 2), 0x89, 0xc7 | ((pointer & 7) << 3));
        this.#asm.bytes(0x89, 0x47, step);
        this.#asm.bytes(0x40 | (pointer >> 3), 0x8b, 0x48 | (pointer & 7));
        if ((pointer & 7) === 4) this.#asm.bytes(0x24);
        this.#asm.bytes(step - 2);
    }
  }

  // --- control ----------------------------------------------------------------------------------------------------

  #branch(to: Label): void {
    const random = this.#random;
    const asm = this.#asm;
    if (random.chance(10)) asm.jump(random.pick(['loop', 'loope', 'loopne', 'jcxz']), to);
    else if (random.chance(11)) asm.jump('jmp', to);
    else asm.jump(random.below(16), to);
  }

  #call({ entry, drops }: Routine): void {
    const random = this.#random;
    const asm = this.#asm;
    if (drops) asm.bytes(0x6a, random.below(256)); // push imm8
    if (random.chance(75)) asm.jump('call', entry);
    else {
      asm.address(random.pick([RAX, RDX, RSI]), entry);
      asm.lastRegister([0xff], 0xd0); // call r
    }
  }

  #indirectJump(to: Label): void {
    const asm = this.#asm;
    asm.address(RAX, to);
    if (this.#random.chance(50)) {
      asm.bytes(0xff, 0xe0); // jmp rax
      return;
    }
    asm.bytes(0x50, 0xc3); // push rax; ret
  }

  /** JMP [table + 8 * (register & 3)] */
  #switch(targets: Label[]): void {
    const asm = this.#asm;
    const table = asm.label();
    this.#tables.push([table, targets]);
    asm.address(RCX, table);
    asm.bytes(0x83, 0xe0 | RDX, 3); // and edx, 3
    asm.bytes(0xff, 0x24, 0xd1); // jmp [rcx + 8 * rdx]
  }

  /** DEC counter; JNZ, or LOOP with the register saved on the stack. */
  #loop(routines: readonly Routine[], depth: number, modifies: boolean): void {
    const random = this.#random;
    const asm = this.#asm;
    const times = 2 + random.below(6);
    const top = asm.label();
    const bottom = asm.label();
    if (random.chance(70)) {
      const counter = PRIVATE + 8 * this.#counters++;
      const at = [0x25, counter & 0xff, (counter >> 8) & 0xff, (counter >> 16) & 0xff, counter >>> 24];
      asm.bytes(0xc7, 0x04, ...at, times, 0, 0, 0); // mov [counter], times
      asm.place(top);
      this.#sequence(1 + random.below(8), bottom, routines, depth - 1, modifies);
      asm.place(bottom);
      asm.bytes(0xff, 0x0c, ...at); // dec [counter]
      asm.jump(5, top); // jnz
      return;
    }
    this.#load(RCX, times);
    asm.place(top);
    asm.bytes(0x51); // push rcx
    this.#sequence(1 + random.below(4), bottom, routines, depth - 1, modifies);
    asm.place(bottom);
    asm.bytes(0x59); // pop rcx
    asm.jump('loop', top);
  }

  /** Straight code and a branch or two, many times, counted in a register. */
  #hotLoop(): void {
    const random = this.#random;
    const asm = this.#asm;
    const top = asm.label();
    const bottom = asm.label();
    this.#load(COUNTER, 4 + random.below(random.chance(10) ? 200 : 20));
    asm.place(top);
    for (let left = 1 + random.below(4); left > 0; left--) {
      const skip = asm.label();
      if (random.chance(30)) asm.jump(random.below(16), skip);
      if (random.chance(40)) this.#group();
      else this.#instruction();
      asm.place(skip);
    }
    if (random.chance(20)) asm.jump(random.below(16), bottom);
    if (random.chance(50))
      asm.bytes(0x49, 0xff, 0xcf); // dec r15
    else asm.bytes(0x41, 0x83, 0xef, 1); // sub r15d, 1
    asm.jump(5, top);
    asm.place(bottom);
  }

  // --- stack, strings, floating point -----------------------------------------------------------------------------

  #stack(): void {
    const random = this.#random;
    const asm = this.#asm;
    const register = (): number => random.pick([RAX, RCX, RDX, RSI, RDI]);
    const word = random.chance(15) ? [0x66] : [];
    switch (random.below(6)) {
      case 0: {
        const window = NATIVE_DATA + WINDOW + 64 + random.below(300);
        const at = [0x25, window & 0xff, (window >> 8) & 0xff, (window >> 16) & 0xff, window >>> 24];
        asm.bytes(...word, 0xff, 0x34, ...at, ...word, 0x8f, 0x04, ...at); // push m; pop m
        return;
      }
      case 1:
        asm.bytes(0x55, 0xc8, random.below(64), 0, random.below(2), 0x50, 0xc9, 0x5d); // push rbp; enter; …; pop
        return;
      case 2:
        asm.bytes(0x68, random.below(256), random.below(256), random.below(256), random.below(256));
        break;
      case 3:
        // as a function begins and ends: push, push, sub rsp, n, store and load, add, pop, pop
        asm.bytes(0x50, 0x52, 0x48, 0x83, 0xec, 0x28);
        asm.bytes(0x48, 0x89, 0x4c, 0x24, 8 * random.below(5), 0x89, 0x74, 0x24, 4 * random.below(9));
        asm.bytes(0x48, 0x8b, 0x4c, 0x24, random.below(33), 0x48, 0x03, 0x44, 0x24, 0x28);
        asm.bytes(0x48, 0x83, 0xc4, 0x28, 0x5a, 0x58);
        return;
      case 4:
        asm.bytes(0x54); // push rsp
        break;
      default:
        asm.bytes(...word, 0x50 | register(), ...word, 0x58 | register());
        return;
    }
    asm.bytes(0x58 | register());
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
    this.#load(RDI, !compares && random.below(1000) < 5 ? NATIVE_DATA + AREA_BYTES - 20 : place());
    this.#load(RCX, random.chance(10) ? 0 : count);
    asm.bytes(random.chance(80) ? 0xfc : 0xfd); // cld, std
    const opcode = { movs: 0xa4, cmps: 0xa6, stos: 0xaa, lods: 0xac, scas: 0xae }[name]!;
    const size = random.below(4);
    const repeat = random.chance(70) ? [compares && random.chance(50) ? 0xf2 : 0xf3] : [];
    const prefixes = [[], [0x66], [], [0x48]][size]!;
    asm.bytes(...repeat, ...prefixes, opcode + (size === 0 ? 0 : 1), 0xfc);
  }

  /** PUSHF, change arithmetic flags in the image, POPF. */
  #flagsThroughStack(): void {
    const mask = this.#random.u32() & 0x8d5;
    // pushf; xor dword [rsp], mask; popf
    this.#asm.bytes(0x9c, 0x81, 0x34, 0x24, mask & 0xff, mask >> 8, 0, 0, 0x9d);
  }

  /** Takes numbers out of the window onto the empty x87 stack, computes, and leaves it empty. */
  #x87(): void {
    const random = this.#random;
    const asm = this.#asm;
    const at = (): number[] =>
      [NATIVE_DATA + WINDOW + 64 + 8 * random.below(40)].flatMap((n) => [
        n & 0xff,
        (n >> 8) & 0xff,
        (n >> 16) & 0xff,
        n >>> 24,
      ]);
    asm.bytes(0x0f, 0x77); // emms
    asm.bytes(random.pick([0xdd, 0xd9, 0xdb, 0xdf]), 0x04, 0x25, ...at()); // fld m64, m32; fild m32, m16
    asm.bytes(
      ...random.pick([
        [0xd9, 0xe8],
        [0xd9, 0xee],
        [0xd9, 0xc0],
        [0xd9, 0xeb],
      ]),
    ); // fld1, fldz, fld st0, fldpi
    for (let left = random.below(4); left > 0; left--)
      asm.bytes(random.pick([0xd8, 0xdc]), random.pick([0xc1, 0xc9, 0xe1, 0xe9, 0xf1, 0xf9])); // fadd … fdivr
    if (random.chance(50))
      asm.bytes(0xdb, random.pick([0xe9, 0xf1])); // fucomi, fcomi
    else asm.bytes(0xd9, random.pick([0xe0, 0xe1, 0xfa, 0xfc, 0xc9])); // fchs fabs fsqrt frndint fxch
    if (random.chance(30)) asm.bytes(0xdf, 0xe0, 0x25, 0x00, 0x45, 0, 0); // fnstsw ax; and eax, C0 C2 C3
    asm.bytes(random.pick([0xdd, 0xd9]), 0x1c, 0x25, ...at()); // fstp m64, m32
    if (random.chance(30))
      asm.bytes(0xdb, 0x1c, 0x25, ...at()); // fistp m32
    else asm.bytes(0xdd, 0xd8); // fstp st0
  }

  /** Rounding and the flags so far of SSE. */
  #control(): void {
    const value = randomMxcsr(this.#random);
    const slot = PRIVATE + 512;
    const at = [0x25, slot & 0xff, (slot >> 8) & 0xff, (slot >> 16) & 0xff, slot >>> 24];
    this.#asm.bytes(0xc7, 0x04, ...at, value & 0xff, value >> 8, 0, 0); // mov [slot], value
    this.#asm.bytes(0x0f, 0xae, 0x14, ...at); // ldmxcsr [slot]
  }

  // --- stores over code -------------------------------------------------------------------------------------------

  #modify(later: () => Label): void {
    const random = this.#random;
    const asm = this.#asm;
    this.#modifies = true;
    const victim = asm.label();
    const before = random.chance(50);
    const store = (): void => {
      switch (kind) {
        case 0:
          // the immediate, and what follows it
          asm.address(RDI, victim, wide ? 2 : 1);
          asm.bytes(...random.pick([[0x88], [0x89], [0x66, 0x89], wide ? [0x48, 0x89] : [0x89]]), 0x17); // mov [rdi], dl … rdx
          return;
        case 1:
          asm.address(RDI, victim, 0);
          asm.bytes(0xc6, 0x07, random.pick([0x01, 0x09, 0x11, 0x19, 0x21, 0x29, 0x31, 0x39, 0x85, 0x89])); // mov byte [rdi], n
          return;
        case 2: {
          // the registers of MOV r32, r32
          const to = random.pick([RAX, RCX, RDX, RSI, RDI]);
          asm.address(RDI, victim, 1);
          asm.bytes(0xc6, 0x07, 0xc0 | (random.below(8) << 3) | to);
          return;
        }
        case 3: {
          // the same with a string instruction, a byte or the whole
          asm.address(RDI, victim, 1);
          this.#load(RCX, 1 + random.below(4));
          asm.bytes(0xfc, 0xf3, 0xaa); // cld; rep stosb
          return;
        }
        default:
          // where a jump goes
          asm.address(RAX, random.pick(targets));
          asm.address(RCX, after);
          asm.bytes(0x29, 0xc8); // sub eax, ecx
          asm.address(RDI, victim, 1);
          asm.bytes(0x89, 0x07); // mov [rdi], eax
      }
    };
    const kind = random.below(5);
    const wide = random.chance(40);
    const targets = [later(), later()];
    const after = asm.label();
    if (before) store();
    if (random.chance(30)) this.#instruction();
    asm.place(victim);
    switch (kind) {
      case 1:
        asm.bytes(0x01, 0xc2); // add edx, eax
        break;
      case 2:
        asm.bytes(0x89, 0xc2); // mov edx, eax
        break;
      case 0:
        if (wide)
          asm.bytes(0x48, 0xb8 | random.pick([RAX, RCX, RSI]), 1, 0, 0, 0, 0, 0, 0, 0); // mov r64, imm64
        else asm.bytes(random.pick([0x05, 0x2d, 0x35, 0xb8, 0x15]), 1, 0, 0, 0); // add, sub, xor, mov, adc
        break;
      case 4:
        asm.bytes(0xe9, 0, 0, 0, 0); // jmp to what follows
        asm.place(after);
        break;
      default:
        asm.bytes(random.pick([0x05, 0x2d, 0x35, 0xb8, 0x15]), 1, 0, 0, 0); // add, sub, xor, mov, adc eax, imm32
    }
    if (!before) store();
  }
}
