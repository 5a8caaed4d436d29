/**
 * Tokens into values. Values may follow one another without anything between; each is told when its last byte is
 * there. Errors carry QEMU's texts, and the parser goes on behind what was wrong.
 */
import type { Token } from './lexer.ts';
import { JsonLexer } from './lexer.ts';
import type { JsonValue } from './value.ts';
import { Float } from './value.ts';

/** Bounds on one value, as in QEMU: levels of nesting, and tokens and bytes before it is complete. */
const MAX_NESTING = 1024;
const MAX_TOKEN_COUNT = 2 * 2 ** 20;
const MAX_TOTAL_SIZE = 64 * 2 ** 20;

export class JsonError extends Error {}

const parseError = (text: string): JsonError => new JsonError(`JSON parse error, ${text}`);

const lossy = new TextDecoder('utf-8');
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export interface JsonSink {
  value(value: JsonValue): void;
  /** `message` as QMP's `desc` has it. */
  error(message: string): void;
}

export class JsonStream {
  readonly #sink: JsonSink;
  readonly #lexer: JsonLexer;
  #tokens: Token[] = [];
  #size = 0;
  #braces = 0;
  #brackets = 0;

  constructor(sink: JsonSink) {
    this.#sink = sink;
    this.#lexer = new JsonLexer(
      (token) => this.#token(token),
      () => this.#fail('JSON token size limit exceeded'),
    );
  }

  feed(data: Uint8Array): void {
    this.#lexer.feed(data);
  }

  /** Forgets what is half there: the peer is gone. */
  reset(): void {
    this.#lexer.reset();
    this.#forget();
  }

  #forget(): void {
    this.#tokens = [];
    this.#size = this.#braces = this.#brackets = 0;
  }

  #fail(message: string): void {
    this.#forget();
    this.#sink.error(message);
  }

  #token(token: Token): void {
    switch (token.type) {
      case '{':
        this.#braces++;
        break;
      case '}':
        this.#braces--;
        break;
      case '[':
        this.#brackets++;
        break;
      case ']':
        this.#brackets--;
        break;
      case 'error':
        return this.#fail(`JSON parse error, stray '${untilNul(lossy.decode(token.bytes))}'`);
      default:
    }
    if (this.#size + token.bytes.length + 1 > MAX_TOTAL_SIZE)
      return this.#fail('JSON token size limit exceeded');
    if (this.#tokens.length + 1 > MAX_TOKEN_COUNT) return this.#fail('JSON token count limit exceeded');
    if (this.#braces + this.#brackets > MAX_NESTING) return this.#fail('JSON nesting depth limit exceeded');
    this.#size += token.bytes.length + 1;
    this.#tokens.push(token);
    const open = this.#braces > 0 || this.#brackets > 0;
    if (open && this.#braces >= 0 && this.#brackets >= 0) return;
    const tokens = this.#tokens;
    this.#forget();
    let value: JsonValue;
    try {
      value = new TokenReader(tokens).value();
    } catch (error) {
      if (!(error instanceof JsonError)) throw error;
      return this.#sink.error(error.message);
    }
    this.#sink.value(value);
  }
}

class TokenReader {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  value(): JsonValue {
    const token = this.#next();
    switch (token.type) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case 'integer':
        return parseInteger(ascii(token));
      case 'float':
        return new Float(Number(ascii(token)));
      case 'string':
        return parseString(token.bytes);
      case 'keyword':
        return parseKeyword(ascii(token));
      default:
        throw parseError('expecting value');
    }
  }

  #object(): JsonValue {
    // Without a prototype, so that `__proto__` is a key like others.
    const object = Object.create(null) as Record<string, JsonValue>;
    if (this.#peek()?.type === '}') {
      this.#at++;
      return object;
    }
    for (;;) {
      const key = this.value();
      if (typeof key !== 'string') throw parseError('key is not a string in object');
      if (this.#next().type !== ':') throw parseError('missing : in object pair');
      const value = this.value();
      if (key in object) throw parseError('duplicate key');
      object[key] = value;
      const { type } = this.#next();
      if (type === '}') return object;
      if (type !== ',') throw parseError('expected separator in dict');
    }
  }

  #array(): JsonValue {
    const array: JsonValue[] = [];
    if (this.#peek()?.type === ']') {
      this.#at++;
      return array;
    }
    for (;;) {
      array.push(this.value());
      const { type } = this.#next();
      if (type === ']') return array;
      if (type !== ',') throw parseError('expected separator in list');
    }
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #next(): Token {
    const token = this.#tokens[this.#at++];
    if (token === undefined) throw parseError('premature EOI');
    return token;
  }
}

const ascii = (token: Token): string => lossy.decode(token.bytes);

/** 64 bits, signed or not, are exact; beyond that a number is a floating-point one. */
function parseInteger(text: string): JsonValue {
  const value = Number(text);
  if (Number.isSafeInteger(value)) return value + 0;
  const exact = BigInt(text);
  return exact >= -(2n ** 63n) && exact < 2n ** 64n ? exact : new Float(value);
}

function parseKeyword(text: string): JsonValue {
  if (text === 'true') return true;
  if (text === 'false') return false;
  if (text === 'null') return null;
  throw parseError(`invalid keyword '${text}'`);
}

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

/** What Unicode keeps from being characters: the last two of each plane, and FDD0 to FDEF. */
const NEVER = /\p{Noncharacter_Code_Point}/u;

/** Errors are printed as C does, which ends a text at the first NUL. */
const untilNul = (text: string): string => text.split('\0', 1)[0]!;

/** UTF-8, and C0 80 for NUL as QEMU has it. @throws where it is neither */
function decode(bytes: Uint8Array): string {
  if (!bytes.includes(0xc0)) return strict.decode(bytes);
  const plain = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0; at < bytes.length; at++) {
    const isNul = bytes[at] === 0xc0 && bytes[at + 1] === 0x80;
    plain[length++] = isNul ? 0 : bytes[at]!;
    if (isNul) at++;
  }
  return strict.decode(plain.subarray(0, length));
}

/** `bytes` with its quotes. */
function parseString(bytes: Uint8Array): string {
  let text: string;
  try {
    text = decode(bytes);
  } catch {
    throw parseError('invalid UTF-8 sequence in string');
  }
  if (NEVER.test(text)) throw parseError('invalid UTF-8 sequence in string');
  const end = text.length - 1;
  if (!text.includes('\\')) return text.slice(1, end);
  let result = '';
  for (let at = 1; at < end; ) {
    if (text[at] !== '\\') {
      result += text[at++];
      continue;
    }
    const letter = text[at + 1]!;
    if (letter === 'u') {
      const { character, length } = parseUnicode(text, at);
      result += character;
      at += length;
    } else {
      if (!Object.hasOwn(ESCAPES, letter)) throw parseError('invalid escape sequence in string');
      result += ESCAPES[letter];
      at += 2;
    }
  }
  return result;
}

/** `\uXXXX` at `at`, or a pair of them. */
function parseUnicode(text: string, at: number): { character: string; length: number } {
  let code = hexUnit(text, at);
  let length = 6;
  if (code >= 0xd800 && code < 0xdc00 && text.startsWith('\\u', at + 6)) {
    const low = hexUnit(text, at + 6);
    if (low >= 0xdc00 && low < 0xe000) {
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
      length = 12;
    }
  }
  // Halves of a pair, and what Unicode keeps from being characters (the last two of each plane, FDD0 to FDEF).
  const half = code >= 0xd800 && code < 0xe000;
  const never = (code & 0xfffe) === 0xfffe || (code >= 0xfdd0 && code <= 0xfdef);
  if (code < 0 || half || never)
    throw parseError(`${text.slice(at, at + 6)} is not a valid Unicode character`);
  return { character: String.fromCodePoint(code), length };
}

/** The value of `\uXXXX` at `at`; -1 when the digits are none. */
function hexUnit(text: string, at: number): number {
  const digits = text.slice(at + 2, at + 6);
  return /^[0-9a-fA-F]{4}$/.test(digits) ? Number.parseInt(digits, 16) : -1;
}
