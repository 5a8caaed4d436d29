/**
 * JSON into tokens, byte by byte as it arrives, with QEMU's extensions: strings may be in single quotes and `\'` is an
 * escape. What cannot be a token is told with the bytes that were stray, and skipped up to the next structural byte.
 * RFC 8259; the recovery is that of QEMU's QMP server, which clients see.
 */

export type TokenType =
  | '{'
  | '}'
  | '['
  | ']'
  | ':'
  | ','
  | 'integer'
  | 'float'
  | 'keyword'
  | 'string'
  | 'error';

export interface Token {
  readonly type: TokenType;
  /** The bytes as they came, quotes included. */
  readonly bytes: Uint8Array;
}

const State = {
  START: 0,
  DQ: 1,
  DQ_ESCAPE: 2,
  SQ: 3,
  SQ_ESCAPE: 4,
  NEGATIVE: 5,
  ZERO: 6,
  DIGITS: 7,
  POINT: 8,
  FRACTION: 9,
  EXP: 10,
  EXP_SIGN: 11,
  EXP_DIGITS: 12,
  KEYWORD: 13,
  RECOVERY: 14,
} as const;
type State = (typeof State)[keyof typeof State];

/** What a byte does: goes on to a state, ends a token with it, ends one before it, or is an error. */
type Step = State | 'end' | 'before-integer' | 'before-float' | 'before-keyword' | 'again' | 'error';

/** A token of more bytes is refused: 64 MiB, as in QEMU. */
export const MAX_TOKEN_SIZE = 64 * 2 ** 20;

const TAB = 0x09;
const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const BACKSLASH = 0x5c;
const STRUCTURE = '{}[]:,';
const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39;
const isLetter = (byte: number): boolean => byte >= 0x61 && byte <= 0x7a;
const isSpace = (byte: number): boolean => byte === 0x20 || byte === 0x09 || byte === 0x0a || byte === 0x0d;
const isStructure = (byte: number): boolean => STRUCTURE.includes(String.fromCharCode(byte));
/** Bytes that can stand in a string: no control characters, nothing that UTF-8 never has. */
const inString = (byte: number): boolean => byte >= 0x20 && byte < 0xfe;

function start(byte: number): Step {
  if (byte === QUOTE) return State.DQ;
  if (byte === APOSTROPHE) return State.SQ;
  if (byte === 0x2d) return State.NEGATIVE;
  if (byte === 0x30) return State.ZERO;
  if (isDigit(byte)) return State.DIGITS;
  if (isLetter(byte)) return State.KEYWORD;
  return isStructure(byte) ? 'end' : isSpace(byte) ? State.START : 'error';
}

function string(byte: number, quote: number, here: State, escape: State): Step {
  if (!inString(byte)) return 'error';
  return byte === quote ? 'end' : byte === BACKSLASH ? escape : here;
}

/** `0`, or digits, at whose end a fraction or an exponent may follow. */
function afterInteger(byte: number): Step {
  if (byte === 0x2e) return State.POINT;
  return byte === 0x65 || byte === 0x45 ? State.EXP : 'before-integer';
}

function step(state: State, byte: number): Step {
  switch (state) {
    case State.START:
      return start(byte);
    case State.DQ:
      return string(byte, QUOTE, State.DQ, State.DQ_ESCAPE);
    case State.SQ:
      return string(byte, APOSTROPHE, State.SQ, State.SQ_ESCAPE);
    case State.DQ_ESCAPE:
      return inString(byte) ? State.DQ : 'error';
    case State.SQ_ESCAPE:
      return inString(byte) ? State.SQ : 'error';
    case State.NEGATIVE:
      return byte === 0x30 ? State.ZERO : isDigit(byte) ? State.DIGITS : 'error';
    case State.ZERO:
      return isDigit(byte) ? 'error' : afterInteger(byte);
    case State.DIGITS:
      return isDigit(byte) ? State.DIGITS : afterInteger(byte);
    case State.POINT:
      return isDigit(byte) ? State.FRACTION : 'error';
    case State.FRACTION:
      if (isDigit(byte)) return State.FRACTION;
      return byte === 0x65 || byte === 0x45 ? State.EXP : 'before-float';
    case State.EXP:
      if (byte === 0x2b || byte === 0x2d) return State.EXP_SIGN;
      return isDigit(byte) ? State.EXP_DIGITS : 'error';
    case State.EXP_SIGN:
      return isDigit(byte) ? State.EXP_DIGITS : 'error';
    case State.EXP_DIGITS:
      return isDigit(byte) ? State.EXP_DIGITS : 'before-float';
    case State.KEYWORD:
      return isLetter(byte) ? State.KEYWORD : 'before-keyword';
    case State.RECOVERY:
      return isStructure(byte) || (byte < 0x20 && byte !== TAB) || byte >= 0xfe ? 'again' : State.RECOVERY;
  }
}

/** Bytes go in with `feed`; tokens come out as they end. */
export class JsonLexer {
  readonly #emit: (token: Token) => void;
  readonly #tooLong: () => void;
  #state: State = State.START;
  #buffer = new Uint8Array(256);
  #length = 0;

  /** @param tooLong a token reached `MAX_TOKEN_SIZE` and was dropped */
  constructor(emit: (token: Token) => void, tooLong: () => void) {
    this.#emit = emit;
    this.#tooLong = tooLong;
  }

  feed(data: Uint8Array): void {
    for (let i = 0; i < data.length; i++) this.#byte(data[i]!);
  }

  /** Forgets a token that is half there. */
  reset(): void {
    this.#state = State.START;
    this.#length = 0;
    if (this.#buffer.length > 65536) this.#buffer = new Uint8Array(256);
  }

  #byte(byte: number): void {
    // At most one byte is looked at twice: the one that ends a number or keyword belongs to the next token.
    for (;;) {
      const next = step(this.#state, byte);
      switch (next) {
        case 'again':
          // The byte that ended the recovery is looked at like any first byte: it may be wrong there, too.
          this.reset();
          continue;
        case 'before-integer':
        case 'before-float':
        case 'before-keyword':
          this.#end(next.slice(7) as TokenType);
          continue;
        case 'end':
          this.#push(byte);
          this.#end(
            this.#state === State.START ? (String.fromCharCode(byte) as TokenType) : ('string' as TokenType),
          );
          return;
        case 'error':
          this.#push(byte);
          this.#end('error');
          this.#state = State.RECOVERY;
          return;
        default:
          this.#state = next;
          if (next !== State.START && next !== State.RECOVERY) this.#push(byte);
          return;
      }
    }
  }

  #push(byte: number): void {
    if (this.#length === this.#buffer.length) {
      const bigger = new Uint8Array(this.#buffer.length * 2);
      bigger.set(this.#buffer);
      this.#buffer = bigger;
    }
    this.#buffer[this.#length++] = byte;
    if (this.#length <= MAX_TOKEN_SIZE) return;
    this.reset();
    this.#state = State.RECOVERY;
    this.#tooLong();
  }

  #end(type: TokenType): void {
    const bytes = this.#buffer.slice(0, this.#length);
    this.reset();
    this.#emit({ type, bytes });
  }
}
