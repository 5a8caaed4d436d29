/**
 * The wire between a network card and a host back end: Ethernet frames without FCS, with the offload metadata of
 * VIRTIO 1.4 §5.1.6 beside them, so that a big segment crosses in one piece when both ends can.
 */

/** What is still to be done to a frame (fields of struct virtio_net_hdr). */
export interface Offload {
  /** The checksum at csumStart + csumOffset is partial and must be completed over [csumStart, end). */
  readonly needsCsum: boolean;
  readonly csumStart: number;
  readonly csumOffset: number;
  /** Segmentation that is still to be done. */
  readonly gso: 'none' | 'tcp4' | 'tcp6' | 'udp';
  /** Bytes of payload in a segment, when `gso` is not 'none'. */
  readonly gsoSize: number;
  /** Bytes of headers in front of the payload (a hint). */
  readonly hdrLen: number;
  /** The checksum has been verified (on frames towards the guest). */
  readonly dataValid: boolean;
}

/** Which unfinished frames a party takes. */
export interface OffloadCaps {
  readonly csum: boolean;
  readonly tso4: boolean;
  readonly tso6: boolean;
  readonly ufo: boolean;
}

/** The card's side. */
export interface NetFrontend {
  /** What the guest's driver negotiated that it can receive. */
  readonly rxCaps: OffloadCaps;
  /** Takes a frame; false when there is no room: the back end keeps it and waits for `Netdev.acceptInput`. */
  receive(frame: Uint8Array, offload?: Offload): boolean;
  /** The link went up or down. */
  linkChanged(up: boolean): void;
}

/** The host's side: `-netdev TYPE,id=`. */
export interface Netdev {
  readonly id: string;
  readonly type: string;
  /** What `send` accepts; the card offers the guest no more than this. */
  readonly txCaps: OffloadCaps;
  readonly linkUp: boolean;
  /** A frame from the guest; copied (or consumed) before it returns. */
  send(frame: Uint8Array, offload?: Offload): void;
  /** The card has room again. */
  acceptInput(): void;
  attach(frontend: NetFrontend): () => void;
  /** As `info network` prints it behind `id: `. */
  describe(): string;
  close(): Promise<void>;
}
