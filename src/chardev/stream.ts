/**
 * A chardev over one byte stream of the host that is there from the start: standard input and output, a pipe, a
 * serial port, a pseudo-terminal.
 */
import type { Chardev } from './chardev.ts';
import { CharBase } from './base.ts';
import type { HostStream, HostTerminal } from './host.ts';

export class StreamChardev extends CharBase {
  readonly type: string;
  protected readonly stream: HostStream;
  readonly #description: string;

  constructor(id: string, type: string, stream: HostStream, description = type) {
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
export class PtyChardev extends StreamChardev {
  readonly #connected: () => boolean;

  constructor(id: string, stream: HostStream, name: string, connected: () => boolean) {
    super(id, 'pty', stream, `pty:${name}`);
    this.#connected = connected;
  }

  protected override send(data: Uint8Array): number {
    return this.#connected() ? super.send(data) : data.length;
  }
}
