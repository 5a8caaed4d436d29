/** `null-co`: a disk that forgets. Reads leave the buffers alone unless `read-zeroes=on`; for tests and benches. */
import type { BlockBackend, Completion } from './backend.ts';

export class NullBackend implements BlockBackend {
  readonly size: number;
  readonly readOnly: boolean;
  readonly #readZeroes: boolean;

  /** @param size bytes; QEMU's default is 1 GiB */
  constructor(size = 2 ** 30, options: { readonly readZeroes?: boolean; readonly readOnly?: boolean } = {}) {
    this.size = size;
    this.readOnly = options.readOnly ?? false;
    this.#readZeroes = options.readZeroes ?? false;
  }

  read(_offset: number, buffers: readonly Uint8Array[]): Completion {
    if (this.#readZeroes) for (const buffer of buffers) buffer.fill(0);
  }

  write(): Completion {}
  flush(): Completion {}
  discard(): Completion {}
  writeZeroes(): Completion {}

  close(): Promise<void> {
    return Promise.resolve();
  }

  describe(): string {
    return 'null-co:// (null-co)';
  }
}
