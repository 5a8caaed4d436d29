/**
 * The messages that interrupt controllers send to local APICs (in hardware, over the system bus): destination,
 * delivery mode, vector and trigger; and the bus that finds the receivers. Intel SDM volume 3, chapter 11 (10 in
 * older editions), sections "Determining IPI Destination" and "Message Signalled Interrupts".
 */
import type { MsiTarget } from '../../core/irq.ts';

export const DELIVERY = {
  fixed: 0,
  lowestPriority: 1,
  smi: 2,
  nmi: 4,
  init: 5,
  startup: 6,
  extInt: 7,
} as const;

export interface ApicMessage {
  /** APIC id or logical destination: 8 bits in xAPIC form, 32 bits from an x2APIC. */
  readonly destination: number;
  readonly logical: boolean;
  readonly delivery: number;
  readonly vector: number;
  readonly level: boolean;
  /** True when the destination has the 32-bit form of x2APIC mode. */
  readonly wide?: boolean;
}

/** What the bus needs of a local APIC. */
export interface ApicReceiver {
  /** Whether `message.destination` means this APIC. */
  matches(message: ApicMessage): boolean;
  /** The processor priority, by which lowest-priority delivery chooses. */
  readonly priority: number;
  receive(message: ApicMessage): void;
}

/** Who hears that a level-triggered vector was served: the I/O APICs. */
export type EoiListener = (vector: number) => void;

// The address of a message: FEEh, destination 19-12, redirection hint 3, destination mode 2 (SDM, MSI address).
const MSI_DESTINATION_SHIFT = 12;
const MSI_LOGICAL = 0x4;
const MSI_BASE = 0xfee;
// Its data: vector 7-0, delivery mode 10-8, assert 14, level-triggered 15.
const MSI_LEVEL = 0x8000;

export class ApicBus implements MsiTarget {
  readonly receivers: ApicReceiver[] = [];
  readonly #eoiListeners: EoiListener[] = [];
  /** Round robin among equals, so that lowest-priority interrupts spread. */
  #lastLowest = 0;

  onEoi(listener: EoiListener): void {
    this.#eoiListeners.push(listener);
  }

  /** A local APIC has finished a level-triggered vector. */
  broadcastEoi(vector: number): void {
    for (const listener of this.#eoiListeners) listener(vector);
  }

  /** Delivers to every APIC that the destination names (one of them for lowest priority); false if there is none. */
  deliver(message: ApicMessage): boolean {
    if (message.delivery === DELIVERY.lowestPriority) return this.#deliverLowest(message);
    let found = false;
    for (const receiver of this.receivers) {
      if (!receiver.matches(message)) continue;
      found = true;
      receiver.receive(message);
    }
    return found;
  }

  /** A device's write of `data` to `address`. An address that is none of the APICs' reaches nobody. */
  send(address: number, data: number): void {
    if (Math.floor(address / 2 ** 20) !== MSI_BASE) return;
    this.deliver({
      destination: (address >>> MSI_DESTINATION_SHIFT) & 0xff,
      logical: (address & MSI_LOGICAL) !== 0,
      delivery: (data >>> 8) & 7,
      vector: data & 0xff,
      level: (data & MSI_LEVEL) !== 0,
    });
  }

  #deliverLowest(message: ApicMessage): boolean {
    const { receivers } = this;
    let best: ApicReceiver | undefined;
    let bestAt = 0;
    for (let i = 1; i <= receivers.length; i++) {
      const at = (this.#lastLowest + i) % receivers.length;
      const receiver = receivers[at]!;
      if (!receiver.matches(message)) continue;
      if (best !== undefined && receiver.priority >= best.priority) continue;
      best = receiver;
      bestAt = at;
    }
    if (best === undefined) return false;
    this.#lastLowest = bestAt;
    best.receive(message);
    return true;
  }
}
