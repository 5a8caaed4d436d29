/**
 * The place of a chardev at its front end: the chardev in it can be exchanged (`chardev-change`), and the front end
 * sees one peer go and, where the new chardev has one, another come.
 */
import type { Chardev, CharFrontend, SerialLine } from './chardev.ts';

export class ChardevSlot implements Chardev {
  #chardev: Chardev;
  #frontend: CharFrontend | undefined;
  #detach: () => void = () => {};

  constructor(chardev: Chardev) {
    this.#chardev = chardev;
  }

  get id(): string {
    return this.#chardev.id;
  }

  get type(): string {
    return this.#chardev.type;
  }

  get open(): boolean {
    return this.#chardev.open;
  }

  write(data: Uint8Array): number {
    return this.#chardev.write(data);
  }

  acceptInput(): void {
    this.#chardev.acceptInput();
  }

  attach(frontend: CharFrontend): () => void {
    this.#detach = this.#chardev.attach(frontend);
    this.#frontend = frontend;
    return () => {
      if (this.#frontend !== frontend) return;
      this.#frontend = undefined;
      this.#detach();
      this.#detach = () => {};
    };
  }

  sendBreak(): void {
    this.#chardev.sendBreak?.();
  }

  get line(): SerialLine | undefined {
    return this.#chardev.line;
  }

  size(): { readonly columns: number; readonly rows: number } | undefined {
    return this.#chardev.size?.();
  }

  describe(): string {
    return this.#chardev.describe();
  }

  close(): Promise<void> {
    return this.#chardev.close();
  }

  /** Puts `next` in the place; the caller closes what was there. */
  exchange(next: Chardev): void {
    const frontend = this.#frontend;
    const wasOpen = this.#chardev.open;
    this.#detach();
    this.#detach = () => {};
    this.#chardev = next;
    if (frontend === undefined) return;
    if (wasOpen) frontend.event('closed');
    this.#detach = next.attach(frontend);
    // What the old one had no room for, the new one may have.
    frontend.writable();
  }
}
