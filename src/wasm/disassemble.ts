/**
 * The body of a function as text, for people who want to see what was made: one line for each statement, expressions
 * folded, control flow indented. Knows what `FunctionBuilder` writes, and shows anything else by its number. The numbers
 * are those of the WebAssembly core specification, §5.4.
 */
import type { FunctionBuilder } from './function.ts';
import { SIMD } from './simd.ts';

/** What is called: imports first, as in the module's index space. */
export interface Callee {
  readonly name: string;
  readonly params: number;
  readonly result: boolean;
}

const INTEGER_TESTS = ['eqz', 'eq', 'ne', 'lt_s', 'lt_u', 'gt_s', 'gt_u', 'le_s', 'le_u', 'ge_s', 'ge_u'];
const FLOAT_TESTS = ['eq', 'ne', 'lt', 'gt', 'le', 'ge'];
const INTEGER_OPS =
  'clz ctz popcnt add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr'.split(' ');
const FLOAT_OPS = 'abs neg ceil floor trunc nearest sqrt add sub mul div min max copysign'.split(' ');
const CONVERSIONS =
  'i32.wrap i32.trunc_f32_s i32.trunc_f32_u i32.trunc_f64_s i32.trunc_f64_u i64.extend_s i64.extend_u i64.trunc_f32_s i64.trunc_f32_u i64.trunc_f64_s i64.trunc_f64_u f32.convert_i32_s f32.convert_i32_u f32.convert_i64_s f32.convert_i64_u f32.demote f64.convert_i32_s f64.convert_i32_u f64.convert_i64_s f64.convert_i64_u f64.promote i32.reinterpret i64.reinterpret f32.reinterpret f64.reinterpret i32.extend8_s i32.extend16_s i64.extend8_s i64.extend16_s i64.extend32_s'.split(
    ' ',
  );
/** From 0x28 on. */
const LOADS =
  'i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u i64.load8_s i64.load8_u i64.load16_s i64.load16_u i64.load32_s i64.load32_u'.split(
    ' ',
  );
/** From 0x36 on. */
const STORES =
  'i32.store i64.store f32.store f64.store i32.store8 i32.store16 i64.store8 i64.store16 i64.store32'.split(
    ' ',
  );
const UNARY = new Set(
  'eqz clz ctz popcnt abs neg ceil floor trunc nearest sqrt'.split(' ').concat(CONVERSIONS),
);

/** Names of the one-byte operations that take one or two values, by number. */
const NAMES = new Map<number, { name: string; operands: number }>();
function enter(first: number, prefix: string, names: readonly string[]): number {
  names.forEach((name, i) =>
    NAMES.set(first + i, { name: prefix + name, operands: UNARY.has(name) ? 1 : 2 }),
  );
  return first + names.length;
}
let next = enter(0x45, 'i32.', INTEGER_TESTS);
next = enter(next, 'i64.', INTEGER_TESTS);
next = enter(next, 'f32.', FLOAT_TESTS);
next = enter(next, 'f64.', FLOAT_TESTS);
next = enter(next, 'i32.', INTEGER_OPS);
next = enter(next, 'i64.', INTEGER_OPS);
next = enter(next, 'f32.', FLOAT_OPS);
next = enter(next, 'f64.', FLOAT_OPS);
enter(next, '', CONVERSIONS);

const SIMD_NAMES = new Map(Object.entries(SIMD).map(([name, number]) => [number as number, name]));
const UNARY_SIMD =
  /^(not|any_true|f\d+x\d_sqrt)$|splat|extract|bitmask|all_true|abs$|extend|extadd|convert|demote|promote|ceil$|floor$|trunc|nearest$/;

/** Lines of a function's body. `mark` gives a comment for each thing that was marked as the code was written. */
export function disassembleFunction(
  f: FunctionBuilder,
  callee: (index: number) => Callee | undefined,
  mark: (thing: unknown) => string | undefined = () => undefined,
): string[] {
  return new Disassembly(f, callee, mark).lines;
}

class Disassembly {
  readonly lines: string[] = [];
  readonly #code: Uint8Array;
  readonly #callee: (index: number) => Callee | undefined;
  #at = 0;
  readonly #stack: string[] = [];
  /** Open blocks: kind and whether they give a value. */
  readonly #open: { kind: string; value: boolean; label: number }[] = [];
  #labels = 0;

  constructor(
    f: FunctionBuilder,
    callee: (index: number) => Callee | undefined,
    mark: (thing: unknown) => string | undefined,
  ) {
    this.#code = f.code.bytes.subarray(0, f.code.length);
    this.#callee = callee;
    const marks = [...f.marks];
    while (this.#at < this.#code.length) {
      while (marks.length > 0 && marks[0]!.at <= this.#at) {
        const text = mark(marks.shift()!.thing);
        if (text !== undefined) this.#line(`;; ${text}`);
      }
      this.#step();
    }
  }

  #u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#code[this.#at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  }

  #signed(bits: number): bigint {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#code[this.#at++] ?? 0;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return BigInt.asIntN(Math.min(bits, Number(shift) + 7), value);
    }
  }

  #line(text: string): void {
    this.lines.push('  '.repeat(this.#open.length) + text);
  }

  #pop(): string {
    return this.#stack.pop() ?? '?';
  }

  #pops(count: number): string {
    const values: string[] = [];
    for (let i = 0; i < count; i++) values.unshift(this.#pop());
    return values.join(', ');
  }

  #target(depth: number): string {
    const open = this.#open.at(-1 - depth);
    return open === undefined ? 'function' : `L${open.label}`;
  }

  #memory(name: string, operands: number): string {
    this.#u32();
    const offset = this.#u32();
    const values = this.#pops(operands);
    return `${name}${offset === 0 ? '' : `+${offset}`}(${values})`;
  }

  #step(): void {
    const opcode = this.#code[this.#at++]!;
    const named = NAMES.get(opcode);
    if (named !== undefined) {
      this.#stack.push(`${named.name}(${this.#pops(named.operands)})`);
      return;
    }
    if (opcode >= 0x28 && opcode <= 0x35) {
      this.#stack.push(this.#memory(LOADS[opcode - 0x28]!, 1));
      return;
    }
    if (opcode >= 0x36 && opcode <= 0x3e) {
      this.#line(this.#memory(STORES[opcode - 0x36]!, 2));
      return;
    }
    switch (opcode) {
      case 0x00:
        return this.#line('unreachable');
      case 0x02:
      case 0x03:
      case 0x04: {
        const kind = opcode === 0x02 ? 'block' : opcode === 0x03 ? 'loop' : 'if';
        const value = this.#code[this.#at++] !== 0x40;
        const label = this.#labels++;
        this.#line(`${kind} L${label}${opcode === 0x04 ? ` ${this.#pop()}` : ''}`);
        this.#open.push({ kind, value, label });
        return;
      }
      case 0x05:
        this.#value();
        this.lines.push(`${'  '.repeat(this.#open.length - 1)}else`);
        return;
      case 0x0b: {
        this.#value();
        const ended = this.#open.pop();
        if (ended === undefined) return;
        this.#line(`end L${ended.label}`);
        if (ended.value) this.#stack.push(`value of L${ended.label}`);
        return;
      }
      case 0x0c:
        return this.#line(`br ${this.#target(this.#u32())}`);
      case 0x0d: {
        const depth = this.#u32();
        return this.#line(`br_if ${this.#target(depth)} ${this.#pop()}`);
      }
      case 0x0e: {
        const targets: string[] = [];
        for (let left = this.#u32() + 1; left > 0; left--) targets.push(this.#target(this.#u32()));
        return this.#line(`br_table ${this.#pop()}: ${targets.join(' ')}`);
      }
      case 0x0f:
        return this.#line(`return ${this.#stack.pop() ?? ''}`);
      case 0x10:
      case 0x12: {
        const index = this.#u32();
        const callee = this.#callee(index) ?? { name: `function ${index}`, params: 0, result: false };
        const text = `${callee.name}(${this.#pops(callee.params)})`;
        if (opcode === 0x12) this.#line(`return_call ${text}`);
        else if (callee.result) this.#stack.push(text);
        else this.#line(text);
        return;
      }
      case 0x11:
      case 0x13: {
        this.#u32();
        this.#u32();
        this.#line(
          `${opcode === 0x13 ? 'return_call_indirect' : 'call_indirect'} ${this.#pops(this.#stack.length)}`,
        );
        return;
      }
      case 0x1a:
        return this.#line(`drop ${this.#pop()}`);
      case 0x1b: {
        const condition = this.#pop();
        this.#stack.push(`select(${condition}: ${this.#pops(2)})`);
        return;
      }
      case 0x20:
        this.#stack.push(`$${this.#u32()}`);
        return;
      case 0x21: {
        const local = this.#u32();
        return this.#line(`$${local} = ${this.#pop()}`);
      }
      case 0x22: {
        const local = this.#u32();
        this.#stack.push(`($${local} = ${this.#pop()})`);
        return;
      }
      case 0x41:
      case 0x42: {
        const value = this.#signed(opcode === 0x41 ? 32 : 64);
        const magnitude = value < 0n ? -value : value;
        this.#stack.push(
          magnitude < 1000n ? String(value) : `${value < 0n ? '-' : ''}0x${magnitude.toString(16)}`,
        );
        return;
      }
      case 0x43:
      case 0x44: {
        const view = new DataView(this.#code.buffer, this.#code.byteOffset + this.#at);
        this.#stack.push(String(opcode === 0x43 ? view.getFloat32(0, true) : view.getFloat64(0, true)));
        this.#at += opcode === 0x43 ? 4 : 8;
        return;
      }
      case 0xfc:
        this.#stack.push(`saturating ${this.#u32()}(${this.#pop()})`);
        return;
      case 0xfd:
        return this.#vector();
      default:
        this.#line(`opcode 0x${opcode.toString(16)}`);
    }
  }

  #vector(): void {
    const opcode = this.#u32();
    const name = SIMD_NAMES.get(opcode);
    if (opcode === 0x0b) this.#line(this.#memory('v128.store', 2));
    else if (opcode <= 0x0a || opcode === 0x5c || opcode === 0x5d)
      this.#stack.push(this.#memory(opcode === 0 ? 'v128.load' : `v128.load ${opcode}`, 1));
    else if (opcode === 0x0c || opcode === 0x0d) {
      const bytes = [...this.#code.subarray(this.#at, this.#at + 16)];
      this.#at += 16;
      const text = bytes.map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
      this.#stack.push(opcode === 0x0c ? `v128(${text})` : `shuffle(${this.#pops(2)}; ${text})`);
    } else if (opcode >= 0x15 && opcode <= 0x22) {
      const lane = this.#code[this.#at++]!;
      const replaces = name?.includes('replace') ?? false;
      this.#stack.push(`${name ?? `lane ${opcode}`} ${lane}(${this.#pops(replaces ? 2 : 1)})`);
    } else if (name === 'bitselect') this.#stack.push(`bitselect(${this.#pops(3)})`);
    else {
      const operands = name !== undefined && UNARY_SIMD.test(name) ? 1 : 2;
      this.#stack.push(`${name ?? `simd 0x${opcode.toString(16)}`}(${this.#pops(operands)})`);
    }
  }

  /** A block or a branch of one that ends with a value on the stack. */
  #value(): void {
    if (this.#open.at(-1)?.value === true && this.#stack.length > 0) this.#line(`value ${this.#pop()}`);
  }
}
