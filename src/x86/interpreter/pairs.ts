/**
 * Pairs of instructions that often follow each other, and have one handler for both: the host's processor foresees hardly
 * any step from handler to handler in code that runs for the first times, and each one that it does not costs more than
 * the instruction. A comparison and its branch gain most: the flags are known there. The record of the first of a pair
 * names the handler of both; that of the second stays as it is, for whoever begins there (runtime/pairs.ts).
 */
import type { Decoder } from '../decode/decode.ts';
import type { Insn } from '../decode/insn.ts';
import * as L from '../layout.ts';

/** An example of each form, without displacement and immediate. */
const EXAMPLES = {
  push: [0x50],
  pop: [0x58],
  ret: [0xc3],
  call: [0xe8],
  jmp: [0xe9],
  jmpShort: [0xeb],
  mov: [0x48, 0x89, 0xc8],
  mov32: [0x89, 0xc8],
  load: [0x48, 0x8b, 0x00],
  load32: [0x8b, 0x00],
  store: [0x48, 0x89, 0x00],
  store32: [0x89, 0x00],
  lea: [0x48, 0x8d, 0x00],
  xor32: [0x31, 0xc0],
  set32: [0xb8],
  add: [0x48, 0x83, 0xc0],
  sub: [0x48, 0x83, 0xe8],
  zeroExtend16: [0x0f, 0xb7, 0x00],
  zeroExtend8: [0x0f, 0xb6, 0x00],
  test: [0x48, 0x85, 0xc0],
  test32: [0x85, 0xc0],
  test8: [0x84, 0xc0],
  cmp: [0x48, 0x39, 0xc8],
  cmp32: [0x39, 0xc8],
  cmpValue: [0x48, 0x83, 0xf8],
  cmpValue32: [0x83, 0xf8],
  cmpLong32: [0x81, 0xf8],
  cmpAl: [0x3c],
  cmpValue16: [0x66, 0x83, 0xf8],
  cmpValue8: [0x80, 0xf8],
  cmpValueMemory8: [0x80, 0x38],
  cmpValueMemory32: [0x83, 0x38],
  cmpValueMemory: [0x48, 0x83, 0x38],
  cmpWithMemory: [0x48, 0x3b, 0x00],
  cmpWithMemory32: [0x3b, 0x00],
  cmpMemory: [0x48, 0x39, 0x00],
  testAl: [0xa8],
  testValue8: [0xf6, 0xc0],
  testMemory8: [0xf6, 0x00],
  subValue32: [0x83, 0xe8],
  and32: [0x83, 0xe0],
} as const;
type Form = keyof typeof EXAMPLES;

const MOVES: readonly Form[] = ['push', 'mov', 'mov32', 'load', 'load32', 'store', 'store32', 'lea', 'xor32'];
/** With branches on anything but OF and PF. */
const COMPARISONS: readonly Form[] = [
  'cmp',
  'cmp32',
  'cmpValue',
  'cmpValue32',
  'cmpLong32',
  'cmpAl',
  'cmpWithMemory',
  'test',
  'test32',
];
/** With branches on equality and order without sign. */
const OTHERS: readonly Form[] = [
  'test8',
  'cmpValue16',
  'cmpValue8',
  'cmpValueMemory8',
  'cmpValueMemory32',
  'cmpValueMemory',
  'cmpWithMemory32',
  'cmpMemory',
  'testAl',
  'testValue8',
  'testMemory8',
  'add',
  'sub',
  'subValue32',
  'and32',
];
const ALL_CONDITIONS = [2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 14, 15];
const USUAL_CONDITIONS = [2, 3, 4, 5, 6, 7];

/** Each of the first with each of the second: what makes up most of gcc's and CPython's time in the interpreter. */
const PRODUCTS: readonly (readonly [readonly Form[], readonly Form[]])[] = [
  [MOVES, [...MOVES, 'set32', 'pop', 'sub', 'call']],
  [
    ['pop', 'add', 'xor32'],
    ['pop', 'ret', 'mov', 'mov32', 'cmp', 'jmp'],
  ],
  [
    ['load', 'load32', 'mov', 'store'],
    ['test', 'test32', 'cmp', 'cmpValue32', 'zeroExtend16', 'zeroExtend8', 'jmp', 'jmpShort'],
  ],
  [
    ['sub', 'set32'],
    ['load', 'store', 'mov', 'call', 'jmp'],
  ],
  [
    ['zeroExtend16', 'zeroExtend8'],
    ['cmpValue16', 'cmpAl', 'test8', 'mov', 'sub'],
  ],
];

/** Zeros for displacement and immediate. */
const REST = Array<number>(12).fill(0);
const LONG = 2;

/** An example of each pair. */
export function frequentPairs(decoder: Decoder): [Insn, Insn][] {
  const decode = (head: readonly number[]): Insn => {
    const bytes = [...head, ...REST];
    const insn = decoder.decode(Uint8Array.from(bytes), 0, bytes.length, 0, LONG);
    if (typeof insn === 'string') throw new Error(`the example ${head.join(' ')} does not decode`);
    return insn;
  };
  const example = (form: Form): Insn => decode(EXAMPLES[form]);
  const pairs = PRODUCTS.flatMap(([first, second]) =>
    first.flatMap((a) => second.map((b): [Insn, Insn] => [example(a), example(b)])),
  );
  for (const [forms, conditions] of [
    [COMPARISONS, ALL_CONDITIONS],
    [OTHERS, USUAL_CONDITIONS],
  ] as const)
    for (const form of forms)
      for (const condition of conditions)
        pairs.push(
          [example(form), decode([0x70 | condition])],
          [example(form), decode([0x0f, 0x80 | condition])],
        );
  return pairs;
}

/** What the handler of a pair is called, from the names of its forms. */
export const pairName = (first: string, second: string): string => `${first}+${second}`;

/** Tells the runtime the handlers of pairs, by the table indices of two handlers. */
export class PairTable {
  /** By name of the first form: names of the second ones. */
  readonly #known = new Map<string, Set<string>>();
  readonly #view: DataView;
  readonly #forms: { name: string; index: number }[] = [];
  readonly #make: (name: string, first: number) => number;

  /**
   * @param names of all handlers, pairs among them
   * @param make puts the handler of a pair, by name, into the function table; told the index of its first instruction's
   */
  constructor(
    memory: ArrayBufferLike,
    names: Iterable<string>,
    make: (name: string, first: number) => number,
  ) {
    this.#view = new DataView(memory);
    this.#make = make;
    for (const name of names) {
      const [first, second] = name.split('+') as [string, string | undefined];
      if (second === undefined) continue;
      let seconds = this.#known.get(first);
      if (seconds === undefined) this.#known.set(first, (seconds = new Set()));
      seconds.add(second);
      if (!this.#known.has(second)) this.#known.set(second, new Set());
    }
  }

  /** A form has got its handler at `index` of the function table. */
  add(name: string, index: number): void {
    if (!this.#known.has(name) || index >= L.COUNTED_HANDLERS) return;
    if (this.#forms.length + 1 === L.PAIRED_FORMS) return;
    const form = { name, index };
    this.#forms.push(form);
    this.#view.setUint8(L.PAIR_NUMBERS + index, this.#forms.length);
    for (const [i, other] of this.#forms.entries()) {
      this.#join(form, this.#forms.length, other, i + 1);
      if (other !== form) this.#join(other, i + 1, form, this.#forms.length);
    }
  }

  #join(
    first: { name: string; index: number },
    firstNumber: number,
    second: { name: string; index: number },
    secondNumber: number,
  ): void {
    if (!this.#known.get(first.name)!.has(second.name)) return;
    const index = this.#make(pairName(first.name, second.name), first.index);
    if (index >= L.COUNTED_HANDLERS) return;
    this.#view.setUint32(L.FIRST_HANDLERS + 4 * index, first.index, true);
    const place = firstNumber * L.PAIRED_FORMS + secondNumber;
    this.#view.setUint32(L.PAIR_HANDLERS + 4 * place, index, true);
  }
}
