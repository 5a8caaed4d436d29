/**
 * `-netdev tap`: frames to and from a network interface of the host. Frames carry struct virtio_net_hdr where the host
 * can, so that large segments cross in one piece. How the interface is opened is the host's business (`TapHost`).
 */
import { UsageError } from '../core/errors.ts';
import type { PropertyValues } from '../qapi/property.ts';
import type { Netdev, NetFrontend, Offload, OffloadCaps } from './netdev.ts';
import { finish, NO_CAPS, takes } from './offload.ts';

/** struct virtio_net_hdr with num_buffers (VIRTIO 1.4 §5.1.6), as the kernel has it with TUNSETVNETHDRSZ. */
const HEADER = 12;
const FLAGS_NEEDS_CSUM = 1;
const FLAGS_DATA_VALID = 2;
const GSO = { none: 0, tcp4: 1, udp: 3, tcp6: 4 } as const;
/** The largest packet of a segmenting kernel, and its headers. */
const BUFFER = 65536 + 4096;
/** Frames in one turn, so that a flood does not hold up the guest. */
const BATCH = 64;

/** An open interface. */
export interface TapLink {
  readonly name: string;
  /** Reads one frame with its header; 0: there is none now. */
  read(buffer: Uint8Array): number;
  /** Writes one frame; lost when the host has no room. */
  write(frame: Uint8Array): void;
  /** Calls when there is something to read, until the result is called. */
  watch(readable: () => void): () => void;
  /** Done when the interface is free again. */
  close(): Promise<void>;
}

export interface TapOptions {
  readonly ifname: string | undefined;
  readonly fd: number | undefined;
  /** Frames have a header of so many bytes; 0: none. */
  readonly header: number;
}

export interface TapHost {
  /** @throws HostError when there is no such interface, or it may not be used */
  openTap(options: TapOptions): TapLink;
  /** Runs a script with the interface's name; throws a `HostError` when it fails. */
  runScript(path: string, ifname: string): void;
}

const DEFAULT_UP = '/etc/qemu-ifup';
const DEFAULT_DOWN = '/etc/qemu-ifdown';

/** What would need the kernel's or another program's part of the work. */
const REFUSED: Readonly<Record<string, string>> = {
  vhost: 'frames are handled in this process: there is no vhost',
  vhostfd: 'frames are handled in this process: there is no vhost',
  vhostfds: 'frames are handled in this process: there is no vhost',
  fds: 'cards have one pair of queues here',
  helper: 'a bridge helper is not available yet: make the interface beforehand, and give ifname=',
  br: 'a bridge helper is not available yet: make the interface beforehand, and give ifname=',
};

export class TapNetdev implements Netdev {
  readonly id: string;
  readonly type = 'tap';
  readonly txCaps: OffloadCaps;
  readonly linkUp = true;
  readonly #link: TapLink;
  readonly #header: number;
  readonly #text: string;
  readonly #down: () => void;
  readonly #buffer = new Uint8Array(BUFFER);
  readonly #out = new Uint8Array(BUFFER);
  /** Frames that the card had no room for. */
  #waiting: { readonly frame: Uint8Array; readonly offload: Offload | undefined }[] = [];
  #frontend: NetFrontend | undefined;
  #unwatch: (() => void) | undefined;
  #closed = false;

  private constructor(id: string, link: TapLink, header: number, text: string, down: () => void) {
    this.id = id;
    this.#link = link;
    this.#header = header;
    this.#text = text;
    this.#down = down;
    this.txCaps = header > 0 ? { csum: true, tso4: true, tso6: true, ufo: false } : NO_CAPS;
  }

  /** @throws UsageError, HostError */
  static open(id: string, values: PropertyValues, host: TapHost, warn: (message: string) => void): TapNetdev {
    for (const [name, why] of Object.entries(REFUSED))
      if (values[name] !== undefined && values[name] !== false)
        throw new UsageError(`netdev tap: '${name}': ${why}`);
    if (Number(values.queues ?? 1) > 1)
      throw new UsageError("netdev tap: 'queues': cards have one pair of queues here");
    const text = (name: string): string | undefined => values[name] as string | undefined;
    const fd = text('fd');
    if (fd !== undefined && (text('ifname') ?? text('script') ?? text('downscript')) !== undefined)
      throw new UsageError(
        'ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are invalid with fd=',
      );
    if (fd !== undefined && !/^\d+$/.test(fd)) throw new UsageError(`${id}: Can't use file descriptor ${fd}`);
    const header = values.vnet_hdr === false ? 0 : HEADER;
    const link = host.openTap({
      ifname: text('ifname'),
      fd: fd === undefined ? undefined : Number(fd),
      header,
    });
    if (fd !== undefined) return new TapNetdev(id, link, header, `index=0,type=tap,fd=${fd}`, () => {});
    const up = text('script') ?? DEFAULT_UP;
    const down = text('downscript') ?? DEFAULT_DOWN;
    try {
      if (up !== 'no' && up !== '') host.runScript(up, link.name);
    } catch (error) {
      void link.close();
      throw error;
    }
    const off = (): void => {
      if (down === 'no' || down === '') return;
      try {
        host.runScript(down, link.name);
      } catch (error) {
        warn(error instanceof Error ? error.message : String(error));
      }
    };
    const description = `index=0,type=tap,ifname=${link.name},script=${up},downscript=${down}`;
    return new TapNetdev(id, link, header, description, off);
  }

  send(frame: Uint8Array, offload?: Offload): void {
    if (this.#closed || frame.length + this.#header > BUFFER) return;
    const out = this.#out;
    if (this.#header > 0) writeHeader(out, offload);
    out.set(frame, this.#header);
    this.#link.write(out.subarray(0, this.#header + frame.length));
  }

  attach(frontend: NetFrontend): () => void {
    this.#frontend = frontend;
    this.#watch();
    return () => {
      if (this.#frontend !== frontend) return;
      this.#frontend = undefined;
      this.#unwatch?.();
      this.#unwatch = undefined;
    };
  }

  acceptInput(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#frontend?.receive(first.frame, first.offload) !== true) return;
      this.#waiting.shift();
    }
    this.#watch();
  }

  describe(): string {
    return this.#text;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#unwatch?.();
    this.#down();
    await this.#link.close();
  }

  #watch(): void {
    if (this.#unwatch !== undefined || this.#closed || this.#frontend === undefined) return;
    this.#unwatch = this.#link.watch(() => this.#drain());
  }

  /** What the interface has, until the card is full: then the kernel keeps the rest, up to its own limit. */
  #drain(): void {
    for (let count = 0; count < BATCH && this.#waiting.length === 0; count++) {
      const length = this.#link.read(this.#buffer);
      if (length <= this.#header) return;
      const offload = this.#header > 0 ? readHeader(this.#buffer) : undefined;
      this.#deliver(this.#buffer.subarray(this.#header, length), offload);
    }
    if (this.#waiting.length === 0) return;
    this.#unwatch?.();
    this.#unwatch = undefined;
  }

  #deliver(frame: Uint8Array, offload: Offload | undefined): void {
    const frontend = this.#frontend;
    if (frontend === undefined) return;
    const give = (part: Uint8Array, rest: Offload | undefined): void => {
      if (this.#waiting.length > 0 || !frontend.receive(part, rest))
        this.#waiting.push({ frame: part.slice(), offload: rest });
    };
    if (offload === undefined || takes(frontend.rxCaps, offload)) give(frame, offload);
    else finish(frame, offload, frontend.rxCaps, give);
  }
}

function writeHeader(out: Uint8Array, offload: Offload | undefined): void {
  out.fill(0, 0, HEADER);
  if (offload === undefined) return;
  const view = new DataView(out.buffer, out.byteOffset);
  out[0] = offload.needsCsum ? FLAGS_NEEDS_CSUM : 0;
  out[1] = GSO[offload.gso];
  if (offload.gso !== 'none') {
    view.setUint16(2, offload.hdrLen, true);
    view.setUint16(4, offload.gsoSize, true);
  }
  if (offload.needsCsum) {
    view.setUint16(6, offload.csumStart, true);
    view.setUint16(8, offload.csumOffset, true);
  }
}

function readHeader(data: Uint8Array): Offload {
  const view = new DataView(data.buffer, data.byteOffset);
  // ECN (bit 7) is TCP's own business.
  const type = data[1]! & 0x7f;
  const gso = type === GSO.tcp4 ? 'tcp4' : type === GSO.tcp6 ? 'tcp6' : type === GSO.udp ? 'udp' : 'none';
  return {
    needsCsum: (data[0]! & FLAGS_NEEDS_CSUM) !== 0,
    csumStart: view.getUint16(6, true),
    csumOffset: view.getUint16(8, true),
    gso,
    gsoSize: view.getUint16(4, true),
    hdrLen: view.getUint16(2, true),
    dataValid: (data[0]! & FLAGS_DATA_VALID) !== 0,
  };
}
