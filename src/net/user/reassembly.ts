/** Fragments of IP packets put together again (RFC 791 §3.2), with bounds on memory and time. */
import type { Ipv4Packet } from '../wire/ipv4.ts';

/** Packets under way at once; a guest that sends more loses the oldest. */
const MAX_PACKETS = 16;
/** RFC 1122 §3.3.2 asks for 60 to 120 s; a guest on the same host needs far less. */
const LIFETIME = 30_000;
const MAX_LENGTH = 65535;

interface Partial {
  readonly born: number;
  readonly data: Uint8Array;
  /** Which 8-byte units have come. */
  readonly have: Uint8Array;
  /** Length of the whole payload, once the last fragment has come. */
  total: number;
  count: number;
}

export class Reassembler {
  readonly #now: () => number;
  readonly #partials = new Map<string, Partial>();

  constructor(now: () => number) {
    this.#now = now;
  }

  get size(): number {
    return this.#partials.size;
  }

  /** The whole payload when this fragment was the last one missing. */
  add(packet: Ipv4Packet): Uint8Array | undefined {
    const { fragmentOffset: offset, payload } = packet;
    const end = offset + payload.length;
    // All fragments but the last are multiples of 8 bytes; none reaches beyond what a length field can say.
    if (end > MAX_LENGTH || payload.length === 0) return undefined;
    if (packet.moreFragments && payload.length % 8 !== 0) return undefined;
    const partial = this.#partial(`${packet.source} ${packet.destination} ${packet.protocol} ${packet.id}`);
    if (!packet.moreFragments) {
      if (partial.total >= 0 && partial.total !== end) return undefined;
      partial.total = end;
    }
    partial.data.set(payload, offset);
    for (let unit = offset / 8; unit * 8 < end; unit++) {
      if (partial.have[unit] === 0) partial.count++;
      partial.have[unit] = 1;
    }
    if (partial.total < 0 || partial.count < Math.ceil(partial.total / 8)) return undefined;
    for (const [key, other] of this.#partials) if (other === partial) this.#partials.delete(key);
    return partial.data.subarray(0, partial.total);
  }

  #partial(key: string): Partial {
    const now = this.#now();
    for (const [old, { born }] of this.#partials) {
      if (now - born > LIFETIME) this.#partials.delete(old);
    }
    let partial = this.#partials.get(key);
    if (partial === undefined) {
      if (this.#partials.size >= MAX_PACKETS) this.#partials.delete(this.#partials.keys().next().value!);
      partial = {
        born: now,
        data: new Uint8Array(MAX_LENGTH),
        have: new Uint8Array(Math.ceil(MAX_LENGTH / 8)),
        total: -1,
        count: 0,
      };
      this.#partials.set(key, partial);
    }
    return partial;
  }
}
