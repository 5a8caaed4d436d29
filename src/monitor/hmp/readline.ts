/**
 * A line editor for the monitor: keys in, text for the terminal out. It knows cursor keys, Emacs' control keys,
 * history and completion, and no commands. ECMA-48 for the sequences.
 */

/** Characters in a line; QEMU's bound. */
const MAX_LINE = 4095;
/** Lines of history, as in QEMU. */
const MAX_HISTORY = 64;
const ESC = '\x1b';

export interface ReadlineHooks {
  print(text: string): void;
  line(text: string): void;
  /** What the word that ends at the cursor could become, given all that stands in front of the cursor. */
  complete(before: string): readonly string[];
}

export class Readline {
  readonly #hooks: ReadlineHooks;
  readonly #prompt: string;
  readonly #history: string[] = [];
  readonly #decoder = new TextDecoder();
  /** Position in the history; its length while a new line is edited. */
  #at = 0;
  #line = '';
  #cursor = 0;
  /** A sequence that has begun: what came of it. */
  #sequence: string | undefined;
  #skipNewline = false;

  constructor(prompt: string, hooks: ReadlineHooks) {
    this.#prompt = prompt;
    this.#hooks = hooks;
  }

  /** Starts a new line. */
  showPrompt(): void {
    this.#line = '';
    this.#cursor = 0;
    this.#at = this.#history.length;
    this.#hooks.print(this.#prompt);
  }

  get history(): readonly string[] {
    return this.#history;
  }

  /** Handles keys until a line is complete; returns how many bytes were used. */
  feed(data: Uint8Array): number {
    for (let i = 0; i < data.length; i++) {
      const text = this.#decoder.decode(data.subarray(i, i + 1), { stream: true });
      let ended = false;
      for (const character of text) ended = this.#key(character) || ended;
      if (ended) return i + 1;
    }
    return data.length;
  }

  /** True when the line is complete. */
  #key(character: string): boolean {
    if (this.#sequence !== undefined) {
      this.#escape(character);
      return false;
    }
    const skip = this.#skipNewline;
    this.#skipNewline = false;
    switch (character) {
      case '\n':
        // The second half of CR LF.
        return skip ? false : this.#enter();
      case '\r':
        this.#skipNewline = true;
        return this.#enter();
      case ESC:
        this.#sequence = '';
        break;
      case '\t':
        this.#tab();
        break;
      case '\x01':
        this.#move(0);
        break;
      case '\x02':
        this.#move(this.#cursor - 1);
        break;
      case '\x04':
        this.#replace(this.#cursor, this.#cursor + 1, '');
        break;
      case '\x05':
        this.#move(this.#line.length);
        break;
      case '\x06':
        this.#move(this.#cursor + 1);
        break;
      case '\b':
      case '\x7f':
        if (this.#cursor > 0) this.#replace(this.#cursor - 1, this.#cursor, '');
        break;
      case '\x0b':
        this.#replace(this.#cursor, this.#line.length, '');
        break;
      case '\x0c':
        this.#hooks.print(`${ESC}[H${ESC}[2J${this.#prompt}${this.#line}`);
        this.#back(this.#line.length - this.#cursor);
        break;
      case '\x0e':
        this.#recall(this.#at + 1);
        break;
      case '\x10':
        this.#recall(this.#at - 1);
        break;
      case '\x15':
        this.#replace(0, this.#cursor, '');
        break;
      case '\x17':
        this.#replace(this.#wordStart(), this.#cursor, '');
        break;
      case '\x03':
        this.#hooks.print('\r\n');
        this.showPrompt();
        break;
      default:
        if (character >= ' ' && this.#line.length < MAX_LINE)
          this.#replace(this.#cursor, this.#cursor, character);
    }
    return false;
  }

  #enter(): boolean {
    const line = this.#line;
    this.#hooks.print('\r\n');
    if (line.trim() !== '' && this.#history.at(-1) !== line) {
      this.#history.push(line);
      if (this.#history.length > MAX_HISTORY) this.#history.shift();
    }
    this.#line = '';
    this.#cursor = 0;
    this.#at = this.#history.length;
    this.#hooks.line(line);
    return true;
  }

  #escape(character: string): void {
    const sequence = this.#sequence! + character;
    // `ESC [`, parameters, one letter or `~`; or `ESC O` and a letter.
    if (/^(\[[0-9;]{0,8}|O)$/.test(sequence)) {
      this.#sequence = sequence;
      return;
    }
    this.#sequence = undefined;
    switch (sequence) {
      case '[A':
      case 'OA':
        return this.#recall(this.#at - 1);
      case '[B':
      case 'OB':
        return this.#recall(this.#at + 1);
      case '[C':
      case 'OC':
        return this.#move(this.#cursor + 1);
      case '[D':
      case 'OD':
        return this.#move(this.#cursor - 1);
      case '[H':
      case 'OH':
      case '[1~':
        return this.#move(0);
      case '[F':
      case 'OF':
      case '[4~':
        return this.#move(this.#line.length);
      case '[3~':
        return this.#replace(this.#cursor, this.#cursor + 1, '');
      case 'b':
        return this.#move(this.#wordStart());
      default:
    }
  }

  #wordStart(): number {
    return this.#line.slice(0, this.#cursor).search(/\S*\s*$/);
  }

  #back(count: number): void {
    if (count > 0) this.#hooks.print(`${ESC}[${count}D`);
  }

  #move(to: number): void {
    const target = Math.max(0, Math.min(this.#line.length, to));
    if (target < this.#cursor) this.#back(this.#cursor - target);
    else this.#hooks.print(this.#line.slice(this.#cursor, target));
    this.#cursor = target;
  }

  /** Puts `text` in the place of [from, to) and the cursor behind it. */
  #replace(from: number, to: number, text: string): void {
    const end = Math.min(to, this.#line.length);
    if (from === end && text === '') return;
    const tail = this.#line.slice(end);
    if (from < this.#cursor) this.#back(this.#cursor - from);
    this.#line = this.#line.slice(0, from) + text + tail;
    this.#cursor = from + text.length;
    const clear = end > from ? `${ESC}[K` : '';
    this.#hooks.print(`${text}${clear}${tail}`);
    this.#back(tail.length);
  }

  #recall(to: number): void {
    if (to < 0 || to > this.#history.length) return;
    this.#at = to;
    this.#move(this.#line.length);
    this.#replace(0, this.#line.length, this.#history[to] ?? '');
  }

  #tab(): void {
    const before = this.#line.slice(0, this.#cursor);
    const found = [...new Set(this.#hooks.complete(before))].sort();
    if (found.length === 0) return;
    // The part of the word that all have in common.
    let common = found[0]!;
    for (const one of found) while (!one.startsWith(common)) common = common.slice(0, -1);
    const typed = typedPart(before, common);
    this.#replace(this.#cursor, this.#cursor, common.slice(typed) + (found.length === 1 ? ' ' : ''));
    if (found.length === 1 || common.length > typed) return;
    this.#hooks.print(`\r\n${columns(found)}${this.#prompt}${this.#line}`);
    this.#back(this.#line.length - this.#cursor);
  }
}

/** How much of `word` stands at the end of `before` already. */
function typedPart(before: string, word: string): number {
  for (let length = Math.min(word.length, before.length); length > 0; length--)
    if (before.endsWith(word.slice(0, length))) return length;
  return 0;
}

/** As many columns of equal width as go on a terminal of 80. */
function columns(words: readonly string[]): string {
  const width = Math.max(...words.map((word) => word.length)) + 2;
  const count = Math.max(1, Math.floor(80 / width));
  let text = '';
  words.forEach((word, index) => {
    const last = index % count === count - 1 || index === words.length - 1;
    text += last ? `${word}\r\n` : word.padEnd(width);
  });
  return text;
}
