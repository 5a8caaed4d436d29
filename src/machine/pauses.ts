/**
 * How long the machine's thread was kept from what else it has to do: slices of the processor and its devices, in which
 * the host's event loop waits, and turns of that loop between slices, in which the guest does. Only figures, for `-stats`.
 */

/** Nanoseconds: what a person at a console, or a sound card, notices. */
const LONG = 20e6;

export interface PauseFigures {
  readonly count: number;
  /** Nanoseconds. */
  readonly sum: number;
  readonly longest: number;
  /** When the longest began, in the clock's nanoseconds. */
  readonly longestAt: number;
  /** How many took more than 20 ms. */
  readonly over20: number;
  /**
   * The same in time that the thread was on a processor of the host: what others, or the host, take does not count.
   * Linux says it to a tick of its own, 1 to 10 ms. Undefined where the host does not say.
   */
  readonly longestOnProcessor: number | undefined;
  readonly over20OnProcessor: number | undefined;
}

class Kind implements PauseFigures {
  count = 0;
  sum = 0;
  longest = 0;
  longestAt = 0;
  over20 = 0;
  longestOnProcessor: number | undefined;
  over20OnProcessor: number | undefined;

  note(start: number, pause: number, onProcessor: number | undefined): void {
    this.count++;
    this.sum += pause;
    if (pause > LONG) this.over20++;
    if (pause > this.longest) {
      this.longest = pause;
      this.longestAt = start;
    }
    if (onProcessor === undefined) return;
    // what a tick adds is not of this pause
    const own = Math.min(onProcessor, pause);
    this.longestOnProcessor = Math.max(this.longestOnProcessor ?? 0, own);
    this.over20OnProcessor = (this.over20OnProcessor ?? 0) + (own > LONG ? 1 : 0);
  }
}

export class Pauses {
  readonly #slices = new Kind();
  readonly #turns = new Kind();
  readonly #processorTime: () => number | undefined;
  #at = 0;
  #processorAt: number | undefined;
  /** The event loop has had the thread since `#at`, and the guest wants to go on. */
  #turning = false;

  /** @param processorTime nanoseconds that this thread was on a processor of the host; undefined where nobody knows */
  constructor(processorTime: () => number | undefined = () => undefined) {
    this.#processorTime = processorTime;
  }

  get slices(): PauseFigures {
    return this.#slices;
  }

  get turns(): PauseFigures {
    return this.#turns;
  }

  sliceBegins(now: number): void {
    const processor = this.#processorTime();
    if (this.#turning) this.#note(this.#turns, now, processor);
    this.#at = now;
    this.#processorAt = processor;
  }

  sliceEnds(now: number): void {
    const processor = this.#processorTime();
    this.#note(this.#slices, now, processor);
    this.#at = now;
    this.#processorAt = processor;
    this.#turning = true;
  }

  /** The guest has nothing to do, or stands still. */
  rests(): void {
    this.#turning = false;
  }

  #note(kind: Kind, now: number, processor: number | undefined): void {
    const before = this.#processorAt;
    const known = processor !== undefined && before !== undefined;
    kind.note(this.#at, now - this.#at, known ? processor - before : undefined);
  }
}
