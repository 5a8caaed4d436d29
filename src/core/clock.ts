/**
 * Machine time. All of a machine's devices take time from one `Clock`; nothing else reads the host's. Times are
 * nanoseconds since the machine started, as numbers (exact for 104 days).
 */

/** A scheduled call; `cancel` is idempotent and harmless after it has fired. */
export interface Timer {
  readonly deadline: number;
  cancel(): void;
}

export interface Clock {
  /** Nanoseconds since the machine started; never goes back, stands still while the machine is stopped. */
  now(): number;
  /** Milliseconds since 1970 (UTC) that the real-time clock shows. */
  wallClock(): number;
  /** Calls `fire` once, when `now()` has reached `deadline`. */
  schedule(deadline: number, fire: () => void): Timer;
}

interface Entry extends Timer {
  fire: (() => void) | undefined;
  readonly order: number;
}

/** The timers of a clock, soonest first (binary heap; equal deadlines fire in the order they were set). */
export class TimerQueue {
  #heap: Entry[] = [];
  #order = 0;

  schedule(deadline: number, fire: () => void): Timer {
    const entry: Entry = {
      deadline,
      fire,
      order: this.#order++,
      cancel: () => {
        entry.fire = undefined;
      },
    };
    this.#heap.push(entry);
    this.#up(this.#heap.length - 1);
    return entry;
  }

  /** Deadline of the soonest live timer, or Infinity. */
  next(): number {
    this.#dropCancelled();
    return this.#heap[0]?.deadline ?? Number.POSITIVE_INFINITY;
  }

  /** Fires every timer whose deadline is at or before `now`. */
  run(now: number): void {
    for (;;) {
      this.#dropCancelled();
      const first = this.#heap[0];
      if (first === undefined || first.deadline > now) return;
      const fire = first.fire!;
      first.fire = undefined;
      fire();
    }
  }

  #dropCancelled(): void {
    while (this.#heap.length > 0 && this.#heap[0]!.fire === undefined) {
      const last = this.#heap.pop()!;
      if (this.#heap.length > 0) {
        this.#heap[0] = last;
        this.#down(0);
      }
    }
  }

  #before(a: Entry, b: Entry): boolean {
    return a.deadline < b.deadline || (a.deadline === b.deadline && a.order < b.order);
  }

  #up(index: number): void {
    const heap = this.#heap;
    let at = index;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(heap[at]!, heap[parent]!)) return;
      [heap[at], heap[parent]] = [heap[parent]!, heap[at]!];
      at = parent;
    }
  }

  #down(index: number): void {
    const heap = this.#heap;
    let at = index;
    for (;;) {
      const left = 2 * at + 1;
      let least = at;
      if (left < heap.length && this.#before(heap[left]!, heap[least]!)) least = left;
      if (left + 1 < heap.length && this.#before(heap[left + 1]!, heap[least]!)) least = left + 1;
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}

/** A clock that moves only when told to: for tests, and for machines that count instructions as time. */
export class ManualClock implements Clock {
  readonly timers = new TimerQueue();
  readonly #epoch: number;
  #now = 0;

  /** @param epoch what `wallClock` shows at time 0, milliseconds since 1970 */
  constructor(epoch = 0) {
    this.#epoch = epoch;
  }

  now(): number {
    return this.#now;
  }

  wallClock(): number {
    return this.#epoch + this.#now / 1e6;
  }

  schedule(deadline: number, fire: () => void): Timer {
    return this.timers.schedule(deadline, fire);
  }

  /** Moves time forward by `ns`, firing timers on the way, each at its own deadline. */
  advance(ns: number): void {
    const end = this.#now + ns;
    while (this.timers.next() <= end) {
      this.#now = Math.max(this.#now, this.timers.next());
      this.timers.run(this.#now);
    }
    this.#now = end;
  }
}
