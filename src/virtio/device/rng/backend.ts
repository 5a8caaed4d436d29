/** Where the entropy device's bytes come from: `-object rng-builtin` and friends. */

export interface RngBackend {
  /**
   * Fills all of `buffer` (1 to 65536 bytes of the device's own, never guest memory) with random bytes, now or
   * by the time the promise is done. Throws or rejects when the source fails; the device then asks again later.
   */
  fill(buffer: Uint8Array): void | Promise<void>;
}

/** `-object rng-builtin`: the platform's own generator (Web Crypto, in Node and in browsers). */
export class BuiltinRng implements RngBackend {
  fill(buffer: Uint8Array<ArrayBuffer>): void {
    globalThis.crypto.getRandomValues(buffer);
  }
}
