/** A network back end for the tests: it keeps what the guest sends, and delivers with flow control. */
import type { Netdev, NetFrontend, Offload, OffloadCaps } from '../../../net/netdev.ts';
import { ALL_CAPS } from '../../../net/offload.ts';

export class FakeNetdev implements Netdev {
  readonly id = 'net0';
  readonly type = 'fake';
  txCaps: OffloadCaps;
  linkUp = true;
  readonly sent: { frame: Uint8Array; offload: Offload | undefined }[] = [];
  /** Frames that the card had no room for. */
  readonly waiting: { frame: Uint8Array; offload: Offload | undefined }[] = [];
  frontend: NetFrontend | undefined;

  constructor(txCaps: OffloadCaps = ALL_CAPS) {
    this.txCaps = txCaps;
  }

  send(frame: Uint8Array, offload?: Offload): void {
    this.sent.push({ frame: frame.slice(), offload });
  }

  /** A frame arrives from the wire. */
  deliver(frame: Uint8Array, offload?: Offload): void {
    this.waiting.push({ frame, offload });
    this.acceptInput();
  }

  acceptInput(): void {
    while (this.waiting.length > 0) {
      const { frame, offload } = this.waiting[0]!;
      if (!this.frontend!.receive(frame, offload)) return;
      this.waiting.shift();
    }
  }

  setLink(up: boolean): void {
    this.linkUp = up;
    this.frontend?.linkChanged(up);
  }

  attach(frontend: NetFrontend): () => void {
    this.frontend = frontend;
    return () => {
      this.frontend = undefined;
    };
  }

  describe(): string {
    return 'fake';
  }

  async close(): Promise<void> {}
}
