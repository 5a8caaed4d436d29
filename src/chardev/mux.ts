/**
 * One terminal for several front ends (`mux=on`, `mon:`): all of them write to it, one of them has the keyboard.
 * Ctrl-A is the escape key; what the commands do is the machine's business (`MuxActions`).
 */
import { UsageError } from '../core/errors.ts';
import { CharBase } from './base.ts';
import type { Chardev, CharEvent, CharFrontend } from './chardev.ts';

/** More front ends make no sense on one terminal; QEMU's bound is the same. */
export const MAX_MUX = 4;

/** Bytes kept for a front end that has no room: so much can be typed at a guest that hangs before C-a x is late. */
const TYPE_AHEAD = 4096;

/** Ctrl-A, unless -echr says otherwise. */
const ESCAPE = 0x01;

/** What the escape keys do beyond the mux itself. */
export interface MuxActions {
  /** C-a x. Without it, the key does nothing. */
  onQuit?: () => void;
  /** C-a s: write snapshots back. */
  onSave?: () => void;
  /** Milliseconds for the timestamps of C-a t. */
  now?: () => number;
  /** The byte of the escape key; Ctrl-A unless given. */
  readonly escape?: number;
}

const encoder = new TextEncoder();

/** `C-a` for 1, and so on; other bytes by their number. */
const keyName = (byte: number): string =>
  byte >= 1 && byte <= 26 ? `C-${String.fromCharCode(0x60 + byte)}` : `0x${byte.toString(16)}`;

export class MuxChardev implements Chardev {
  readonly id: string;
  readonly type = 'mux';
  actions: MuxActions = {};
  readonly #base: Chardev;
  readonly #ports: MuxPort[] = [];
  #detach: () => void;
  #focus: MuxPort | undefined;
  #escaped = false;
  /** Timestamps: undefined when off; the first line's time is 0. */
  #stampFrom: number | undefined;
  #lineStart = true;

  constructor(id: string, base: Chardev) {
    this.id = id;
    this.#base = base;
    this.#detach = base.attach({
      canReceive: () => this.#canReceive(),
      receive: (data) => this.#receive(data),
      event: (event) => {
        for (const port of this.#ports) port.pass(event);
      },
      writable: () => {
        for (const port of this.#ports) port.writable();
      },
    });
  }

  get open(): boolean {
    return this.#base.open;
  }

  /** What is shared. */
  get base(): Chardev {
    return this.#base;
  }

  /** Places for front ends that are left. */
  get free(): number {
    return MAX_MUX - this.#ports.length;
  }

  /** A chardev for one more front end. It gets the keyboard when its front end is attached. */
  port(): Chardev {
    if (this.#ports.length >= MAX_MUX) {
      throw new UsageError(`chardev '${this.id}' has ${MAX_MUX} users already`);
    }
    const port = new MuxPort(this, `${this.id}`);
    this.#ports.push(port);
    return port;
  }

  attach(frontend: CharFrontend): () => void {
    const port = this.port();
    const detach = port.attach(frontend);
    return () => {
      detach();
      this.release(port);
    };
  }

  release(port: Chardev): void {
    const index = this.#ports.indexOf(port as MuxPort);
    if (index >= 0) this.#ports.splice(index, 1);
    if (this.#focus === port) this.#focus = this.#ports[0];
  }

  /** Gives a port the keyboard; the one that had it hears 'mux-out'. */
  focus(port: Chardev): void {
    if (this.#focus === port) return;
    this.#focus?.pass('mux-out');
    this.#focus = port as MuxPort;
    this.#focus.pass('mux-in');
    this.#base.acceptInput();
  }

  isFocused(port: Chardev): boolean {
    return this.#focus === port;
  }

  write(data: Uint8Array): number {
    return this.#stampFrom === undefined ? this.#plain(data) : this.#stamped(data);
  }

  acceptInput(): void {
    this.#base.acceptInput();
  }

  sendBreak(): void {
    this.#focus?.pass('break');
  }

  size(): { readonly columns: number; readonly rows: number } | undefined {
    return this.#base.size?.();
  }

  describe(): string {
    return 'mux';
  }

  async close(): Promise<void> {
    this.#detach();
    this.#detach = () => {};
    await this.#base.close();
  }

  /** A front end that is full does not stop the escape keys: some typing ahead is taken, within a bound. */
  #canReceive(): number {
    return this.#focus?.room() ?? 0;
  }

  get #escape(): number {
    return this.actions.escape ?? ESCAPE;
  }

  #receive(data: Uint8Array): void {
    let from = 0;
    for (let i = 0; i < data.length; i++) {
      if (this.#escaped) {
        this.#escaped = false;
        from = i + 1;
        this.#command(data[i]!, data.subarray(i, i + 1));
      } else if (data[i] === this.#escape) {
        this.#pass(data.subarray(from, i));
        this.#escaped = true;
        from = i + 1;
      }
    }
    this.#pass(data.subarray(from));
  }

  #pass(data: Uint8Array): void {
    if (data.length > 0) this.#focus?.input(data);
  }

  #command(key: number, raw: Uint8Array): void {
    const actions = this.actions;
    if (key === this.#escape) return this.#pass(raw);
    switch (key) {
      case 0x68: // h
      case 0x3f: // ?
        return this.#print(this.#help());
      case 0x78: // x
        if (actions.onQuit === undefined) return;
        this.#print('Paravane: terminated\r\n');
        return actions.onQuit();
      case 0x73: // s
        return actions.onSave?.();
      case 0x62: // b
        return this.#focus?.pass('break');
      case 0x63: // c
        return this.#rotate();
      case 0x74: // t
        this.#stampFrom = this.#stampFrom === undefined ? (actions.now?.() ?? performance.now()) : undefined;
        return;
      default:
    }
  }

  #rotate(): void {
    const attached = this.#ports.filter((port) => port.attached);
    if (attached.length === 0) return;
    const at = attached.findIndex((port) => port === this.#focus);
    this.focus(attached[(at + 1) % attached.length]!);
  }

  #help(): string {
    const key = keyName(this.#escape);
    return [
      '',
      `${key} h    this list`,
      `${key} x    leave: the machine is switched off at once`,
      `${key} s    write changes of snapshot disks back to their files`,
      `${key} t    times in front of the lines, on and off`,
      `${key} b    send a break (magic SysRq)`,
      `${key} c    switch between the console and the monitor`,
      `${key} ${key}  send ${key}`,
      '',
    ].join('\r\n');
  }

  #print(text: string): void {
    this.#base.write(encoder.encode(text));
  }

  #plain(data: Uint8Array): number {
    const count = this.#base.write(data);
    if (count > 0) this.#lineStart = data[count - 1] === 0x0a;
    return count;
  }

  /** Writes line by line, each with the time in front. */
  #stamped(data: Uint8Array): number {
    let done = 0;
    while (done < data.length) {
      if (this.#lineStart) {
        this.#lineStart = false;
        this.#print(this.#stamp());
      }
      const end = data.indexOf(0x0a, done);
      const line = data.subarray(done, end < 0 ? data.length : end + 1);
      const count = this.#plain(line);
      done += count;
      if (count < line.length) break;
    }
    return done;
  }

  #stamp(): string {
    const elapsed = Math.max(0, (this.actions.now?.() ?? performance.now()) - this.#stampFrom!);
    const two = (value: number): string => String(Math.floor(value)).padStart(2, '0');
    const seconds = elapsed / 1000;
    const time = `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
    return `[${time}.${String(Math.floor(elapsed % 1000)).padStart(3, '0')}] `;
  }
}

/** One place at the mux. */
class MuxPort extends CharBase {
  readonly type = 'mux';
  readonly #mux: MuxChardev;

  constructor(mux: MuxChardev, id: string) {
    super(id);
    this.#mux = mux;
    if (mux.open) this.setOpen();
  }

  get attached(): boolean {
    return this.frontend !== undefined;
  }

  override attach(frontend: CharFrontend): () => void {
    const detach = super.attach(frontend);
    this.#mux.focus(this);
    return detach;
  }

  /** What it takes now, or is ready to keep. */
  room(): number {
    return this.frontend === undefined ? 0 : TYPE_AHEAD - this.waiting;
  }

  input(data: Uint8Array): void {
    // The array is the base's and only good for now; what does not fit waits here.
    if (this.frontend !== undefined) this.deliver(new Uint8Array(data));
  }

  pass(event: CharEvent): void {
    if (event === 'opened') this.setOpen();
    else if (event === 'closed') this.setClosed();
    else this.event(event);
  }

  writable(): void {
    this.drained();
  }

  override acceptInput(): void {
    super.acceptInput();
    if (this.#mux.isFocused(this)) this.#mux.acceptInput();
  }

  describe(): string {
    return this.#mux.describe();
  }

  protected send(data: Uint8Array): number {
    return this.#mux.write(data);
  }

  protected shutdown(): Promise<void> {
    this.#mux.release(this);
    return Promise.resolve();
  }
}
