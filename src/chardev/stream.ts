/**
 * A chardev over one byte stream of the host that is there from the start: standard input and output, a pipe, a
 * serial port, a pseudo-terminal.
 */
import type { Chardev, SerialLine } from './chardev.ts';
import { CharBase } from './base.ts';
import type { HostPty, HostTerminal, HostTty } from './host.ts';

export class StreamChardev extends CharBase implements Chardev {
  readonly type: string;
  protected readonly stream: HostTty;
  readonly #description: string;

  constructor(id: string, type: string, stream: HostTty, description = type) {
    super(id);
    this.type = type;
    this.stream = stream;
    this.#description = description;
    stream.onData = (data) => this.deliver(data);
    stream.onDrain = () => this.drained();
    stream.onClose = () => this.setClosed();
    this.setOpen();
  }

  describe(): string {
    return this.#description;
  }

  get line(): SerialLine | undefined {
    return this.stream.line;
  }

  protected send(data: Uint8Array): number {
    return this.stream.write(data);
  }

  protected override pauseInput(): void {
    this.stream.pause();
  }

  protected override resumeInput(): void {
    this.stream.resume();
  }

  protected shutdown(): Promise<void> {
    return this.stream.close();
  }
}

/** Standard input and output. The end of the input does not end it: output goes on. */
export class StdioChardev extends StreamChardev implements Chardev {
  readonly #terminal: HostTerminal;

  constructor(id: string, terminal: HostTerminal) {
    super(id, 'stdio', terminal);
    this.#terminal = terminal;
    terminal.onResize = () => this.event('resized');
  }

  size(): { readonly columns: number; readonly rows: number } | undefined {
    return this.#terminal.size();
  }
}

/** A pseudo-terminal: open while someone has its other side open. Nobody there: what is written is dropped. */
export class PtyChardev extends CharBase {
  readonly type = 'pty';
  /** The side that others open. */
  readonly name: string;
  readonly #pty: HostPty;

  constructor(id: string, pty: HostPty) {
    super(id);
    this.name = pty.name;
    this.#pty = pty;
    pty.stream.onData = (data) => this.deliver(data);
    pty.stream.onDrain = () => this.drained();
    pty.onConnected = (connected) => {
      if (connected) this.setOpen();
      else {
        this.setClosed();
        // A writer that waited for room need not: what it writes is dropped now.
        this.drained();
      }
    };
  }

  describe(): string {
    return `pty:${this.name}`;
  }

  protected send(data: Uint8Array): number {
    return this.#pty.connected() ? this.#pty.stream.write(data) : data.length;
  }

  protected override pauseInput(): void {
    this.#pty.stream.pause();
  }

  protected override resumeInput(): void {
    this.#pty.stream.resume();
  }

  protected shutdown(): Promise<void> {
    return this.#pty.stream.close();
  }
}
