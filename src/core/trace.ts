/**
 * Trace points and the log of guest errors. A trace point that nobody listens to costs one branch:
 * `if (point.on) point.emit(...)`. Points register themselves under a dotted name (`virtio.queue.notify`), which
 * `-trace` and `-d` match with `*` wildcards.
 */

export type TraceSink = (name: string, fields: Readonly<Record<string, unknown>>) => void;

export class TracePoint {
  readonly name: string;
  /** True while somebody listens; check it before building the fields. */
  on = false;
  #sinks: TraceSink[] = [];

  constructor(name: string) {
    this.name = name;
  }

  emit(fields: Readonly<Record<string, unknown>>): void {
    for (const sink of this.#sinks) sink(this.name, fields);
  }

  listen(sink: TraceSink): () => void {
    this.#sinks = [...this.#sinks, sink];
    this.on = true;
    return () => {
      this.#sinks = this.#sinks.filter((other) => other !== sink);
      this.on = this.#sinks.length > 0;
    };
  }
}

/** The trace points of one machine, and what guests did wrong. Passed to every device; never global. */
export class Tracer {
  readonly #points = new Map<string, TracePoint>();
  readonly #wanted: { pattern: RegExp; sink: TraceSink }[] = [];
  readonly #seen = new Set<string>();
  /** Receives each distinct guest error once: who, what, and the clause that it breaks. */
  onGuestError: (device: string, message: string) => void = () => {};
  /** Receives each distinct warning of ours once (a register or feature that is not implemented). */
  onWarning: (who: string, message: string) => void = () => {};

  /** The point called `name`, made when it is first asked for. */
  point(name: string): TracePoint {
    let point = this.#points.get(name);
    if (point === undefined) {
      point = new TracePoint(name);
      this.#points.set(name, point);
      for (const want of this.#wanted) if (want.pattern.test(name)) point.listen(want.sink);
    }
    return point;
  }

  /** Listens to all points, now and later, whose name matches `glob` (`*` stands for any run of characters). */
  enable(glob: string, sink: TraceSink): void {
    const pattern = new RegExp(`^${glob.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')}$`);
    this.#wanted.push({ pattern, sink });
    for (const point of this.#points.values()) if (pattern.test(point.name)) point.listen(sink);
  }

  get names(): string[] {
    return [...this.#points.keys()].sort();
  }

  /** The guest broke a rule: told once for each device and message. `clause` is an id of the VIRTIO clause table. */
  guestError(device: string, message: string, clause?: string): void {
    const text = clause === undefined ? message : `${message} [${clause}]`;
    if (this.#once(`e ${device} ${text}`)) this.onGuestError(device, text);
  }

  /** Something we do not implement was used: told once. */
  warn(who: string, message: string): void {
    if (this.#once(`w ${who} ${message}`)) this.onWarning(who, message);
  }

  #once(key: string): boolean {
    // The keys hold guest-controlled numbers: bounded, so that a guest cannot grow the host's memory.
    if (this.#seen.has(key) || this.#seen.size >= 4096) return false;
    this.#seen.add(key);
    return true;
  }
}
