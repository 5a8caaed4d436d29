/**
 * Where the guest spends its time: the instruction pointer, looked at each time the processor comes back because its
 * budget is used up, some five thousand times a second. Costs nothing that could be measured, so it is always on. Regions
 * give control back at the ends of loops and in front of other regions: what is exact is the loop, not the instruction.
 */
import type { Symbols } from './symbols.ts';

/** Addresses that are kept apart; the guest decides how many there are. */
const MAX_ADDRESSES = 65536;

export interface HotSpot {
  /** A symbol, or an address. */
  readonly where: string;
  readonly samples: number;
  /** Of all samples, 0 to 1. */
  readonly share: number;
}

export class Profile {
  readonly #counts = new Map<bigint, number>();
  samples = 0;
  /** Samples in user code (CPL 3). */
  userSamples = 0;

  sample(address: bigint, user: boolean): void {
    this.samples++;
    if (user) this.userSamples++;
    const count = this.#counts.get(address);
    if (count !== undefined || this.#counts.size < MAX_ADDRESSES) this.#counts.set(address, (count ?? 0) + 1);
  }

  /** The hottest `count` places: functions where `symbols` knows them, else addresses. */
  top(count: number, symbols?: Symbols): HotSpot[] {
    const places = new Map<string, number>();
    for (const [address, samples] of this.#counts) {
      const where = symbols?.find(address)?.name ?? `0x${address.toString(16)}`;
      places.set(where, (places.get(where) ?? 0) + samples);
    }
    return [...places]
      .sort(([, a], [, b]) => b - a)
      .slice(0, count)
      .map(([where, samples]) => ({ where, samples, share: samples / this.samples }));
  }
}
