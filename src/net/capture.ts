/**
 * Frames on their way, written down for Wireshark: what `-object filter-dump,netdev=,file=` is for. The format is
 * pcap (draft-ietf-opsawg-pcap) with nanoseconds. Segments that a card is still to cut are written in one piece.
 */
import type { Netdev, NetFrontend, Offload, OffloadCaps } from './netdev.ts';

/** Says that the time stamps have nanoseconds. */
const MAGIC = 0xa1b23c4d;
const LINKTYPE_ETHERNET = 1;
const FILE_HEADER = 24;
const RECORD_HEADER = 16;

/** Where the bytes go; takes all of them. */
export interface CaptureSink {
  write(data: Uint8Array): void;
  close(): void;
}

/** A netdev with someone listening on the wire. */
export class CapturedNetdev implements Netdev {
  readonly #inner: Netdev;
  readonly #sink: CaptureSink;
  readonly #snapLength: number;
  readonly #time: () => number;

  /**
   * @param time nanoseconds since 1970
   * @param snapLength bytes kept of a frame (`maxlen=`; 65536 is QEMU's default)
   */
  constructor(inner: Netdev, sink: CaptureSink, time: () => number, snapLength = 65536) {
    this.#inner = inner;
    this.#sink = sink;
    this.#time = time;
    this.#snapLength = snapLength;
    sink.write(pcapHeader(snapLength));
  }

  get id(): string {
    return this.#inner.id;
  }

  get type(): string {
    return this.#inner.type;
  }

  get txCaps(): OffloadCaps {
    return this.#inner.txCaps;
  }

  get linkUp(): boolean {
    return this.#inner.linkUp;
  }

  send(frame: Uint8Array, offload?: Offload): void {
    this.#record(frame);
    this.#inner.send(frame, offload);
  }

  attach(frontend: NetFrontend): () => void {
    return this.#inner.attach({
      get rxCaps() {
        return frontend.rxCaps;
      },
      receive: (frame, offload) => {
        const taken = frontend.receive(frame, offload);
        // What the card had no room for comes again.
        if (taken) this.#record(frame);
        return taken;
      },
      linkChanged: (up) => frontend.linkChanged(up),
    });
  }

  acceptInput(): void {
    this.#inner.acceptInput();
  }

  describe(): string {
    return this.#inner.describe();
  }

  async close(): Promise<void> {
    await this.#inner.close();
    this.#sink.close();
  }

  #record(frame: Uint8Array): void {
    this.#sink.write(pcapRecord(frame, this.#time(), this.#snapLength));
  }
}

export function pcapHeader(snapLength: number): Uint8Array {
  const bytes = new Uint8Array(FILE_HEADER);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint16(4, 2, true);
  view.setUint16(6, 4, true);
  view.setUint32(16, snapLength, true);
  view.setUint32(20, LINKTYPE_ETHERNET, true);
  return bytes;
}

/** @param time nanoseconds since 1970 */
export function pcapRecord(frame: Uint8Array, time: number, snapLength: number): Uint8Array {
  const kept = frame.subarray(0, snapLength);
  const bytes = new Uint8Array(RECORD_HEADER + kept.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(time / 1e9), true);
  view.setUint32(4, Math.floor(time % 1e9), true);
  view.setUint32(8, kept.length, true);
  view.setUint32(12, frame.length, true);
  bytes.set(kept, RECORD_HEADER);
  return bytes;
}

export interface PcapRecord {
  /** Nanoseconds since 1970. */
  readonly time: number;
  readonly length: number;
  readonly frame: Uint8Array;
}

/** The records of a capture as written here; ends at the first that is cut short. Undefined: another format. */
export function parsePcap(bytes: Uint8Array): PcapRecord[] | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (bytes.length < FILE_HEADER || view.getUint32(0, true) !== MAGIC) return undefined;
  const records: PcapRecord[] = [];
  for (let at = FILE_HEADER; at + RECORD_HEADER <= bytes.length; ) {
    const kept = view.getUint32(at + 8, true);
    if (at + RECORD_HEADER + kept > bytes.length) break;
    records.push({
      time: view.getUint32(at, true) * 1e9 + view.getUint32(at + 4, true),
      length: view.getUint32(at + 12, true),
      frame: bytes.slice(at + RECORD_HEADER, at + RECORD_HEADER + kept),
    });
    at += RECORD_HEADER + kept;
  }
  return records;
}
