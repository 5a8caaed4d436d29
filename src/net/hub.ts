/**
 * A hub: what comes in at one port goes out at all others (`-net`, `-netdev hubport,hubid=`). A port looks like a
 * netdev to a card; a netdev is plugged in with `plug`. A port that is busy loses frames, and stalls nobody else.
 */
import type { Netdev, NetFrontend, OffloadCaps } from './netdev.ts';

/** No offloads: each party would have to take what any other sends. */
const NO_CAPS: OffloadCaps = { csum: false, tso4: false, tso6: false, ufo: false };

/** Frames that a port keeps for a party without room, as a small switch would. */
const MAX_QUEUED = 256;

export class NetHub {
  readonly id: number;
  readonly #ports: HubPort[] = [];

  constructor(id: number) {
    this.id = id;
  }

  get ports(): readonly HubPort[] {
    return this.#ports;
  }

  /** A new port, for a card to attach to. */
  port(id: string): HubPort {
    const port = new HubPort(id, this.id, (frame, from) => {
      for (const other of this.#ports) if (other !== from) other.deliver(frame);
    });
    this.#ports.push(port);
    return port;
  }

  /** A new port with a back end in it, which is closed with the port. */
  plug(id: string, netdev: Netdev): HubPort {
    const port = this.port(id);
    const detach = this.join(port, netdev);
    port.onClose = async () => {
      detach();
      await netdev.close();
    };
    return port;
  }

  /** Connects a back end to a port: its frames reach the cards, and the other way. The result takes it out again. */
  join(port: HubPort, netdev: Netdev): () => void {
    const leave = port.attach({
      rxCaps: NO_CAPS,
      receive: (frame) => {
        netdev.send(frame);
        return true;
      },
      linkChanged() {},
    });
    const detach = netdev.attach({
      rxCaps: NO_CAPS,
      receive: (frame) => {
        port.send(frame);
        return true;
      },
      linkChanged() {},
    });
    return () => {
      leave();
      detach();
    };
  }

  remove(port: HubPort): void {
    const index = this.#ports.indexOf(port);
    if (index >= 0) this.#ports.splice(index, 1);
  }
}

export class HubPort implements Netdev {
  readonly id: string;
  readonly type = 'hubport';
  readonly txCaps = NO_CAPS;
  readonly linkUp = true;
  /** Called when the port is closed. */
  onClose: () => Promise<void> = () => Promise.resolve();
  /** The number of its hub. */
  readonly hub: number;
  readonly #forward: (frame: Uint8Array, from: HubPort) => void;
  readonly #queue: Uint8Array[] = [];
  #frontend: NetFrontend | undefined;

  constructor(id: string, hub: number, forward: (frame: Uint8Array, from: HubPort) => void) {
    this.id = id;
    this.hub = hub;
    this.#forward = forward;
  }

  send(frame: Uint8Array): void {
    this.#forward(frame, this);
  }

  /** A frame for this port's party. */
  deliver(frame: Uint8Array): void {
    const frontend = this.#frontend;
    if (frontend === undefined) return;
    if (this.#queue.length === 0 && frontend.receive(frame)) return;
    if (this.#queue.length < MAX_QUEUED) this.#queue.push(frame.slice());
  }

  acceptInput(): void {
    while (this.#queue.length > 0 && this.#frontend?.receive(this.#queue[0]!)) this.#queue.shift();
  }

  attach(frontend: NetFrontend): () => void {
    this.#frontend = frontend;
    return () => {
      if (this.#frontend === frontend) this.#frontend = undefined;
    };
  }

  describe(): string {
    return `index=0,type=hubport,hubid=${this.hub}`;
  }

  close(): Promise<void> {
    this.#frontend = undefined;
    return this.onClose();
  }
}
