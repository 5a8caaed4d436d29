/** Numbers as the monitor takes them: C's integers, `'c'`, `$register`, brackets, and operators. 64 bits, wrapping. */
import { HmpError } from './error.ts';

export type RegisterReader = (name: string) => bigint | undefined;

/** Levels of brackets and signs: a line has at most 4095 characters, but nobody means so many. */
const MAX_DEPTH = 256;

const wrap = (value: bigint): bigint => BigInt.asIntN(64, value);

export class ExpressionReader {
  readonly #text: string;
  readonly #register: RegisterReader;
  #at: number;
  #depth = 0;

  constructor(text: string, at: number, register: RegisterReader) {
    this.#text = text;
    this.#at = at;
    this.#register = register;
  }

  /** Where the expression ended. */
  get position(): number {
    return this.#at;
  }

  /** Sums bind least, then `& | ^`, then products: QEMU's order. */
  sum(): bigint {
    let value = this.#logic();
    for (;;) {
      const operator = this.#operator('+-');
      if (operator === undefined) return value;
      const right = this.#logic();
      value = wrap(operator === '+' ? value + right : value - right);
    }
  }

  #logic(): bigint {
    let value = this.#product();
    for (;;) {
      const operator = this.#operator('&|^');
      if (operator === undefined) return value;
      const right = this.#product();
      value = wrap(operator === '&' ? value & right : operator === '|' ? value | right : value ^ right);
    }
  }

  #product(): bigint {
    let value = this.#unary();
    for (;;) {
      const operator = this.#operator('*/%');
      if (operator === undefined) return value;
      const right = this.#unary();
      if (operator === '*') value = wrap(value * right);
      else {
        if (right === 0n) throw new HmpError('division by zero');
        value = wrap(operator === '/' ? value / right : value % right);
      }
    }
  }

  #operator(operators: string): string | undefined {
    this.#space();
    const character = this.#text[this.#at];
    if (character === undefined || !operators.includes(character)) return undefined;
    this.#at++;
    return character;
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? '')) this.#at++;
  }

  #unary(): bigint {
    if (++this.#depth > MAX_DEPTH) throw new HmpError('expression too deep');
    try {
      return this.#term();
    } finally {
      this.#depth--;
    }
  }

  #term(): bigint {
    this.#space();
    const character = this.#text[this.#at];
    switch (character) {
      case undefined:
        throw new HmpError('unexpected end of expression');
      case '+':
        this.#at++;
        return this.#unary();
      case '-':
        this.#at++;
        return wrap(-this.#unary());
      case '~':
        this.#at++;
        return wrap(~this.#unary());
      case '(': {
        this.#at++;
        const value = this.sum();
        this.#space();
        if (this.#text[this.#at] !== ')') throw new HmpError("')' expected");
        this.#at++;
        return value;
      }
      case "'": {
        const code = this.#text.charCodeAt(this.#at + 1);
        if (Number.isNaN(code)) throw new HmpError('character constant expected');
        if (this.#text[this.#at + 2] !== "'") throw new HmpError("missing terminating ' character");
        this.#at += 3;
        return BigInt(code);
      }
      case '$':
        return this.#registerValue();
      default:
        return this.#number();
    }
  }

  #registerValue(): bigint {
    const [whole] = /^\$[A-Za-z0-9_.-]*/.exec(this.#text.slice(this.#at))!;
    const value = this.#register(whole.slice(1).toLowerCase());
    if (value === undefined) throw new HmpError('unknown register');
    this.#at += whole.length;
    return value;
  }

  #number(): bigint {
    const match = /^(0x[0-9a-f]+|0[0-7]*|[1-9][0-9]*)/i.exec(this.#text.slice(this.#at));
    if (match === null) throw new HmpError(`invalid char '${this.#text[this.#at]}' in expression`);
    const [digits] = match;
    this.#at += digits.length;
    const value = BigInt(/^0[0-7]+$/.test(digits) ? `0o${digits.slice(1)}` : digits);
    if (value >= 1n << 64n) throw new HmpError('number too large');
    return wrap(value);
  }
}
