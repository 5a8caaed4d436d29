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
  | { kind: 'address'; register: number; to: Label }
  | { kind: 'rip'; encoding: Encoding; target: number };

const little32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >> shift) & 0xff);

export class Assembler {
  readonly #items: Item[] = [];
  #register = 0;

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

  /** MOV r32, address of a label. */
  address(register: number, to: Label): void {
    this.#register = register;
    this.#items.push({ kind: 'address', register, to });
  }

  /** An instruction whose ModRM names the register that `address` loaded last. */
  lastRegister(opcode: readonly number[], modrm: number): void {
    this.bytes(...opcode, modrm | this.#register);
  }

  ripRelative(encoding: Encoding, target: number): void {
    this.#items.push({ kind: 'rip', encoding, target });
  }

  /** The code for linear address `origin`, or undefined when a short-only branch does not reach. */
  assemble(origin: number, random: Random): number[] | undefined {
    for (const item of this.#items)
      if (item.kind === 'branch' && typeof item.branch !== 'string' && random.chance(20)) item.near = true;
    for (;;) {
      let at = origin;
      for (const item of this.#items) {
        if (item.kind === 'label') item.label.at = at;
        at += length(item);
      }
      const longer = this.#tooShort(origin);
      if (longer === 'impossible') return undefined;
      if (longer === 0) break;
    }
    const code: number[] = [];
    for (const item of this.#items) code.push(...encodeItem(item, origin + code.length));
    return code;
  }

  /** Lengthens branches that do not reach; tells how many. */
  #tooShort(origin: number): number | 'impossible' {
    let at = origin;
    let changed = 0;
    for (const item of this.#items) {
      at += length(item);
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

function length(item: Item): number {
  switch (item.kind) {
    case 'bytes':
      return item.bytes.length;
    case 'label':
      return 0;
    case 'branch':
      return item.near ? (typeof item.branch === 'number' ? 6 : 5) : 2;
    case 'address':
      return 5;
    default:
      return item.encoding.bytes.length;
  }
}

function encodeItem(item: Item, at: number): readonly number[] {
  switch (item.kind) {
    case 'bytes':
      return item.bytes;
    case 'label':
      return [];
    case 'address':
      return [0xb8 | item.register, ...little32(item.to.at)];
    case 'rip':
      return aimRipRelative(item.encoding, at, item.target);
    default: {
      const { branch, near, to } = item;
      const distance = to.at - (at + length(item));
      if (near) {
        const opcode =
          branch === 'call' ? [0xe8] : branch === 'jmp' ? [0xe9] : [0x0f, 0x80 | (branch as number)];
        return [...opcode, ...little32(distance)];
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
