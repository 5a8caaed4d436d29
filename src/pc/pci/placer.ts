/**
 * Ranges that guests move: BARs, the power management block, configuration windows. A guest may put two of them at
 * the same place, or on top of a fixed device; the one that came later then waits, unmapped, until there is room.
 */
import type { AddressSpace, IoRange } from '../../core/bus.ts';
import type { Tracer } from '../../core/trace.ts';

interface Placement {
  readonly range: IoRange;
  unmap: (() => void) | undefined;
}

export class RangePlacer {
  readonly #space: AddressSpace;
  readonly #tracer: Tracer;
  readonly #placements = new Map<string, Placement>();

  constructor(space: AddressSpace, tracer: Tracer) {
    this.#space = space;
    this.#tracer = tracer;
  }

  /** Moves the range known as `key` to `range`, or takes it away. */
  place(key: string, range: IoRange | undefined): void {
    const old = this.#placements.get(key);
    if (old === undefined && range === undefined) return;
    if (
      old !== undefined &&
      range !== undefined &&
      old.range.base === range.base &&
      old.unmap !== undefined
    ) {
      if (old.range.size === range.size && old.range.handler === range.handler) return;
    }
    old?.unmap?.();
    this.#placements.delete(key);
    if (range !== undefined) this.#placements.set(key, { range, unmap: undefined });
    this.#mapWaiting();
  }

  /** Where `key` answers now, if it does. */
  base(key: string): number | undefined {
    const placement = this.#placements.get(key);
    return placement?.unmap === undefined ? undefined : placement.range.base;
  }

  #mapWaiting(): void {
    for (const placement of this.#placements.values()) {
      if (placement.unmap !== undefined) continue;
      const { range } = placement;
      if (this.#space.isFree(range.base, range.size)) {
        placement.unmap = this.#space.add(range);
      } else {
        this.#tracer.guestError(
          range.name,
          `placed at ${range.base.toString(16)}h, where another device answers`,
        );
      }
    }
  }
}
