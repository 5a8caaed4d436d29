/** Just enough of an assembler for random programs: labels, branches of the shortest form or a longer one, fixups. */
import { aimRipRelative, type Encoding } from './generator.ts';
import type { Random } from './random.ts';

export interface Label {
  at: number;
}

/** A condition code, or another branch. LOOP and JCXZ have only the short form. */
export type Branch = number | 'jmp' | 'call' | 'loop' | 'loope' | 'loopne' | 'jcxz';
const ONLY_SHORT = { loopne: 0xe0, loope: 0xe1, loop: 0xe2, jcxz: 0xe3 } as const;

type Item =
  | { kind: 'bytes'; bytes: readonly number[] }
  | { kind: 'label'; label: Label }
  | { kind: 'branch'; branch: Branch; to: Label; near: boolean }
  | { kind: 'address'; register: number; to: Label; plus: number }
  | { kind: 'quad'; to: Label }
  | { kind: 'rip'; encoding: Encoding; target: number };

const little = (value: number, bytes: number): number[] =>
  Array.from({ length: bytes }, (_, i) => (value >> (8 * i)) & 0xff);

export class Assembler {
  readonly #items: Item[] = [];
  /** Bytes of an offset or a near displacement. */
  readonly #wide: 2 | 4;
  #register = 0;

  constructor(bits: 16 | 32 | 64) {
    this.#wide = bits === 16 ? 2 : 4;
  }

  label(): Label {
    return { at: -1 };
  }

  place(label: Label): void {
    this.#items.push({ kind: 'label', label });
  }

  bytes(...bytes: number[]): void {
    this.#items.push({ kind: 'bytes', bytes });
  }

  jump(branch: Branch, to: Label): void {
    this.#items.push({ kind: 'branch', branch, to, near: branch === 'call' });
  }

  /** MOV r16 or r32, offset of a label. */
  address(register: number, to: Label, plus = 0): void {
    this.#register = register;
    this.#items.push({ kind: 'address', register, to, plus });
  }

  /** Eight bytes: the offset of a label, for tables of jump targets. */
  quad(to: Label): void {
    this.#items.push({ kind: 'quad', to });
  }

  /** An instruction whose ModRM names the register that `address` loaded last. */
  lastRegister(opcode: readonly number[], modrm: number): void {
    this.bytes(...opcode, modrm | this.#register);
  }

  ripRelative(encoding: Encoding, target: number): void {
    this.#items.push({ kind: 'rip', encoding, target });
  }

  /** The code for offset `origin` of its segment, or undefined when a short-only branch does not reach. */
  assemble(origin: number, random: Random): number[] | undefined {
    for (const item of this.#items)
      if (item.kind === 'branch' && typeof item.branch !== 'string' && random.chance(20)) item.near = true;
    for (;;) {
      let at = origin;
      for (const item of this.#items) {
        if (item.kind === 'label') item.label.at = at;
        at += length(item, this.#wide);
      }
      const longer = this.#tooShort(origin);
      if (longer === 'impossible') return undefined;
      if (longer === 0) break;
    }
    const code: number[] = [];
    for (const item of this.#items) code.push(...encodeItem(item, origin + code.length, this.#wide));
    return code;
  }

  /** Lengthens branches that do not reach; tells how many. */
  #tooShort(origin: number): number | 'impossible' {
    let at = origin;
    let changed = 0;
    for (const item of this.#items) {
      at += length(item, this.#wide);
      if (item.kind !== 'branch' || item.near) continue;
      const distance = item.to.at - at;
      if (distance >= -128 && distance < 128) continue;
      if (typeof item.branch === 'string' && item.branch in ONLY_SHORT) return 'impossible';
      item.near = true;
      changed++;
    }
    return changed;
  }
}

function length(item: Item, wide: 2 | 4): number {
  switch (item.kind) {
    case 'bytes':
      return item.bytes.length;
    case 'label':
      return 0;
    case 'branch':
      return item.near ? (typeof item.branch === 'number' ? 2 : 1) + wide : 2;
    case 'address':
      return 1 + wide;
    case 'quad':
      return 8;
    default:
      return item.encoding.bytes.length;
  }
}

function encodeItem(item: Item, at: number, wide: 2 | 4): readonly number[] {
  switch (item.kind) {
    case 'bytes':
      return item.bytes;
    case 'label':
      return [];
    case 'address':
      return [0xb8 | item.register, ...little(item.to.at + item.plus, wide)];
    case 'quad':
      return [...little(item.to.at, 4), 0, 0, 0, 0];
    case 'rip':
      return aimRipRelative(item.encoding, at, item.target);
    default: {
      const { branch, near, to } = item;
      const distance = to.at - (at + length(item, wide));
      if (near) {
        const opcode =
          branch === 'call' ? [0xe8] : branch === 'jmp' ? [0xe9] : [0x0f, 0x80 | (branch as number)];
        return [...opcode, ...little(distance, wide)];
      }
      const opcode =
        typeof branch === 'number'
          ? 0x70 | branch
          : branch === 'jmp'
            ? 0xeb
            : ONLY_SHORT[branch as keyof typeof ONLY_SHORT];
      return [opcode, distance & 0xff];
    }
  }
}
