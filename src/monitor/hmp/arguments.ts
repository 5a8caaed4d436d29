/**
 * A command's line taken apart as its declaration says. The declaration is a list such as `device:s`, `force:-f`,
 * `size:i?`: a name, a kind, and a question mark where it may be absent.
 */
import { parseSize } from '../../qapi/values.ts';
import { HmpError } from './error.ts';
import type { RegisterReader } from './expression.ts';
import { ExpressionReader } from './expression.ts';

/** A count, a form and a size, as `/4xw`. */
export interface Format {
  readonly count: number;
  readonly form: string;
  /** Bytes; -1 when none was given. */
  readonly size: number;
}

export type HmpValue = string | boolean | bigint | number | Format | undefined;
export type HmpArguments = Readonly<Record<string, HmpValue>>;

/** What `x`, `xp` and `print` last used: it holds until something else is given, as in QEMU. */
export interface FormatMemory {
  form: string;
  size: number;
}

export interface ArgumentContext {
  readonly command: string;
  readonly register: RegisterReader;
  readonly format: FormatMemory;
}

interface Parameter {
  readonly name: string;
  readonly kind: string;
  readonly optional: boolean;
}

export function parameters(declaration: string): Parameter[] {
  if (declaration === '') return [];
  return declaration.split(',').map((part) => {
    const [name = '', rest = ''] = part.split(':');
    const optional = rest.endsWith('?') || rest.startsWith('-');
    return { name, kind: rest.replace(/\?$/, ''), optional };
  });
}

export function parseArguments(declaration: string, line: string, context: ArgumentContext): HmpArguments {
  const reader = new LineReader(line, context);
  const values: Record<string, HmpValue> = {};
  const all = parameters(declaration);
  all.forEach((parameter, index) => {
    const later = all.slice(index + 1).flatMap(({ kind }) => (kind.startsWith('-') ? [kind[1]!] : []));
    values[parameter.name] = reader.read(parameter, later);
  });
  reader.end();
  return values;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', r: '\r', '\\': '\\', "'": "'", '"': '"' };

class LineReader {
  readonly #line: string;
  readonly #context: ArgumentContext;
  #at = 0;

  constructor(line: string, context: ArgumentContext) {
    this.#line = line;
    this.#context = context;
  }

  /** @param later letters of flags that may follow */
  read({ name, kind, optional }: Parameter, later: readonly string[] = []): HmpValue {
    this.#space();
    if (kind.startsWith('-')) return this.#flag(kind[1]!, later);
    if (kind === '/') return this.#format();
    if (optional && this.#done) return undefined;
    switch (kind) {
      case 's':
      case 'F':
      case 'B': {
        const word = this.#word();
        if (word !== undefined) return word;
        const what = kind === 'F' ? 'filename' : kind === 'B' ? 'block device name' : 'string';
        throw new HmpError(`${this.#context.command}: ${what} expected`);
      }
      // All that remains: options, or text.
      case 'O':
      case 'S': {
        const rest = this.#line.slice(this.#at).trim();
        this.#at = this.#line.length;
        if (rest === '' && kind === 'S') throw new HmpError(`${this.#context.command}: string expected`);
        return rest;
      }
      case 'i':
      case 'l':
      case 'M': {
        const value = this.#expression();
        // As in QEMU, what is negative has more than 32 bits.
        if (kind === 'i' && value !== BigInt.asUintN(32, value))
          throw new HmpError(`'${this.#context.command}' has failed: integer is for 32-bit values`);
        if (kind !== 'M') return value;
        if (value < 0n) throw new HmpError('enter a positive value');
        return value << 20n;
      }
      case 'o': {
        const word = this.#word();
        if (word === undefined || !/^[0-9]/.test(word)) throw new HmpError('invalid size');
        return parseSize(name, word, 2 ** 20);
      }
      case 'b': {
        const word = this.#word();
        if (word === 'on') return true;
        if (word === 'off') return false;
        throw new HmpError("Expected 'on' or 'off'");
      }
      default:
        throw new HmpError(`${this.#context.command}: unknown type '${kind}'`);
    }
  }

  end(): void {
    this.#space();
    if (!this.#done) throw new HmpError(`${this.#context.command}: extraneous characters at the end of line`);
  }

  get #done(): boolean {
    return this.#at >= this.#line.length;
  }

  #space(): void {
    while (/\s/.test(this.#line[this.#at] ?? '')) this.#at++;
  }

  #flag(letter: string, later: readonly string[]): boolean {
    const rest = this.#line.slice(this.#at);
    if (!rest.startsWith('-')) return false;
    if (rest[1] !== letter) {
      // It may be another flag, further on.
      if (rest[1] !== undefined && later.includes(rest[1])) return false;
      throw new HmpError(`${this.#context.command}: unsupported option -${rest[1] ?? ''}`);
    }
    this.#at += 2;
    return true;
  }

  #word(): string | undefined {
    this.#space();
    if (this.#line[this.#at] === '"') return this.#quoted();
    const [word] = /^\S*/.exec(this.#line.slice(this.#at))!;
    this.#at += word.length;
    return word === '' ? undefined : word;
  }

  #quoted(): string {
    let word = '';
    for (this.#at++; ; this.#at++) {
      const character = this.#line[this.#at];
      if (character === undefined) throw new HmpError('unterminated string');
      if (character === '"') break;
      if (character !== '\\') {
        word += character;
        continue;
      }
      const letter = this.#line[++this.#at] ?? '';
      if (!Object.hasOwn(ESCAPES, letter)) throw new HmpError(`unsupported escape code: '\\${letter}'`);
      word += ESCAPES[letter];
    }
    this.#at++;
    return word;
  }

  #expression(): bigint {
    const reader = new ExpressionReader(this.#line, this.#at, this.#context.register);
    const value = reader.sum();
    this.#at = reader.position;
    return value;
  }

  #format(): Format {
    const memory = this.#context.format;
    let count = 1;
    let form: string | undefined;
    let size: number | undefined;
    if (this.#line[this.#at] === '/') {
      this.#at++;
      const [digits] = /^[0-9]*/.exec(this.#line.slice(this.#at))!;
      this.#at += digits.length;
      if (digits !== '') count = Math.min(Number(digits), 2 ** 24);
      for (; ; this.#at++) {
        const letter = this.#line[this.#at];
        if (letter === undefined || /\s/.test(letter)) break;
        if ('oduxic'.includes(letter)) form = letter;
        else if ('bhwlgL'.includes(letter))
          size = { b: 1, h: 2, w: 4, l: 4, g: 8, L: 8 }[letter as 'b' | 'h' | 'w' | 'l' | 'g' | 'L'];
        else throw new HmpError(`invalid char in format: '${letter}'`);
      }
    }
    form ??= memory.form;
    // `print` and the ports have no size of their own to remember.
    if (form !== 'i') size ??= memory.size;
    size ??= -1;
    memory.form = form;
    if (size > 0) memory.size = size;
    return { count, form, size };
  }
}
