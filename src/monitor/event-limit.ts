/**
 * Events that a guest can cause as often as it likes are sent at most once in a while for each thing they are about;
 * of those in between, the last one is sent when the time is over. So no change is missed for good.
 */
import type { JsonObject } from './json/value.ts';
import type { EventDeclaration, EventName } from './qmp/events.ts';
import { EVENTS } from './qmp/events.ts';

/** Calls back after so many milliseconds; the result calls it off. */
export type Delay = (milliseconds: number, call: () => void) => () => void;

interface Held {
  waiting: JsonObject | undefined;
  cancel: () => void;
}

export class EventLimit {
  readonly #send: (name: EventName, data: JsonObject | undefined) => void;
  readonly #delay: Delay;
  readonly #held = new Map<string, Held>();

  constructor(delay: Delay, send: (name: EventName, data: JsonObject | undefined) => void) {
    this.#delay = delay;
    this.#send = send;
  }

  emit(name: EventName, data: JsonObject | undefined): void {
    const { rate, key }: EventDeclaration = EVENTS[name];
    if (rate === undefined) return this.#send(name, data);
    const thing = `${name} ${key === undefined ? '' : String(data?.[key])}`;
    const held = this.#held.get(thing);
    if (held !== undefined) {
      held.waiting = data ?? {};
      return;
    }
    this.#send(name, data);
    this.#hold(thing, name, rate);
  }

  close(): void {
    for (const { cancel } of this.#held.values()) cancel();
    this.#held.clear();
  }

  #hold(thing: string, name: EventName, rate: number): void {
    const held: Held = { waiting: undefined, cancel: () => {} };
    this.#held.set(thing, held);
    held.cancel = this.#delay(rate, () => {
      this.#held.delete(thing);
      if (held.waiting === undefined) return;
      this.#send(name, held.waiting);
      this.#hold(thing, name, rate);
    });
  }
}
