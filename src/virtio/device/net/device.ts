/**
 * The network device (VIRTIO 1.4 §5.1) between its queues and a `Netdev`. It translates headers, filters and steers
 * what comes in, and finishes in software what one side leaves and the other cannot take; frames are passed as views
 * of guest memory where they lie in one piece. Receive-side scaling, hash reports, coalescing and IPsec are not
 * offered.
 */
import type { TracePoint, Tracer } from '../../../core/trace.ts';
import { ETH_HLEN, ETH_P_8021Q, etherType } from '../../../net/headers.ts';
import type { Netdev, NetFrontend, Offload, OffloadCaps } from '../../../net/netdev.ts';
import { FINISHED, finish, NO_CAPS, takes } from '../../../net/offload.ts';
import type { DeviceHost, QueueSpec, VirtioDevice } from '../../device.ts';
import type { Chain, Queue } from '../../queue/queue.ts';
import { ConfigSpace } from '../config.ts';
import { gather, scatter } from '../iov.ts';
import { type ControlTarget, runCommand } from './control.ts';
import * as d from './defs.ts';
import { macKey, RxFilter } from './filter.ts';
import { hasCwr, PLAIN, parseHeader } from './header.ts';
import { configSize, fillConfig, offeredFeatures, queueSpecs } from './offer.ts';
import type { NetSettings } from './properties.ts';
import { ReceiveBuffers } from './receive.ts';
import { FlowTable } from './steering.ts';

/**
 * Largest frame that a driver may send: "65589 bytes long (14 bytes of Ethernet header, plus 40 bytes of the IPv6
 * header, plus 65535 bytes of maximum IPv6 payload" (§5.1.6.3), and room for two VLAN tags.
 */
const MAX_FRAME = 65589 + 8;

/** The longest command is an address table; 4096 addresses are far more than any filter holds. */
const MAX_COMMAND = 2 + 8 + 4096 * 6;

export interface VirtioNetOptions {
  readonly tracer: Tracer;
  readonly settings: NetSettings;
  /** Absent: a card whose cable is not plugged in. */
  readonly netdev?: Netdev;
  /** The driver changed its receive filter (QMP's NIC_RX_FILTER_CHANGED): told once, and again after `watchRxFilter`. */
  readonly onRxFilterChanged?: () => void;
}

export interface NetStats {
  rxPackets: number;
  rxBytes: number;
  rxDropped: number;
  txPackets: number;
  txBytes: number;
  txDropped: number;
}

export class VirtioNet implements VirtioDevice, NetFrontend {
  readonly deviceId = d.VIRTIO_ID_NETWORK;
  readonly name = 'virtio-net';
  readonly features: bigint;
  readonly queues: readonly QueueSpec[];
  readonly configSize: number;
  readonly filter = new RxFilter();
  readonly stats: NetStats = {
    rxPackets: 0,
    rxBytes: 0,
    rxDropped: 0,
    txPackets: 0,
    txBytes: 0,
    txDropped: 0,
  };
  /** What the guest takes now; the back end reads it before it makes large packets. */
  rxCaps: OffloadCaps = NO_CAPS;

  readonly #netdev: Netdev | undefined;
  readonly #settings: NetSettings;
  readonly #onRxFilterChanged: () => void;
  readonly #config = new ConfigSpace(d.CONFIG.END);
  readonly #flows = new FlowTable();
  readonly #control: ControlTarget;
  readonly #traceTx: TracePoint;
  readonly #traceRx: TracePoint;
  readonly #detach: (() => void) | undefined;

  #host!: DeviceHost;
  #running = false;
  #linkWanted = true;
  /** Key of the address in the configuration space. */
  #mac = 0;
  #guestOffloads = 0n;
  #headerSize: number = d.HDR.SIZE;
  /** Pairs of queues that the driver uses. */
  #pairs = 1;
  /** Rest of a large packet that was cut for a guest that cannot take it; served before anything else. */
  #pending: Uint8Array[] = [];
  /** The next change of the filter is told. */
  #filterWatched = true;
  /** The back end was refused and waits for `acceptInput`. */
  #backendWaits = false;
  readonly #buffers = new ReceiveBuffers((message) => this.#host.guestError(message));
  readonly #header = new Uint8Array(d.HDR.SIZE);
  readonly #scratch = new Uint8Array(MAX_FRAME);

  constructor(options: VirtioNetOptions) {
    const { settings, netdev, tracer } = options;
    this.#netdev = netdev;
    this.#settings = settings;
    this.#onRxFilterChanged = options.onRxFilterChanged ?? (() => {});
    this.features = offeredFeatures(settings.features, netdev?.txCaps ?? NO_CAPS);
    this.queues = queueSpecs(settings, (this.features & d.VIRTIO_NET_F_CTRL_VQ) !== 0n);
    this.configSize = configSize(this.features);
    this.#traceTx = tracer.point('virtio.net.tx');
    this.#traceRx = tracer.point('virtio.net.rx');
    fillConfig(this.#config, settings);
    this.#config.bytes.set(settings.mac, d.CONFIG.MAC);
    this.#mac = macKey(settings.mac);
    this.#config.u16(d.CONFIG.STATUS, this.linkUp ? d.VIRTIO_NET_S_LINK_UP : 0);
    this.#control = this.#controlTarget();
    this.filter.reset(false);
    this.#detach = netdev?.attach(this);
  }

  /** The address that it has now. */
  get mac(): Uint8Array {
    return this.#config.bytes.slice(d.CONFIG.MAC, d.CONFIG.MAC + 6);
  }

  get linkUp(): boolean {
    return this.#linkWanted && this.#netdev !== undefined && this.#netdev.linkUp;
  }

  /** `set_link`: plugs the cable in or pulls it. */
  setLink(up: boolean): void {
    this.#linkWanted = up;
    this.linkChanged();
    // What waits for buffers is lost with the link.
    this.#pending = [];
    if (this.#backendWaits) this.#callBackend();
  }

  /** Asks the guest to tell the network where it is (after a migration, or `announce_self`). */
  announce(): void {
    const needed = d.VIRTIO_NET_F_GUEST_ANNOUNCE | d.VIRTIO_NET_F_CTRL_VQ;
    if (!this.#running || (this.#host.negotiated & needed) !== needed) return;
    this.#setStatus(this.#status | d.VIRTIO_NET_S_ANNOUNCE);
  }

  /** Somebody has looked at the filter: its next change is told. A guest can cause no flood of events. */
  watchRxFilter(): void {
    this.#filterWatched = true;
  }

  #filterChanged(): void {
    if (!this.#filterWatched) return;
    this.#filterWatched = false;
    this.#onRxFilterChanged();
  }

  /** Lets go of the back end. */
  close(): void {
    this.#detach?.();
  }

  // --- the transport's side

  attach(host: DeviceHost): void {
    this.#host = host;
  }

  readConfig(offset: number, size: 1 | 2 | 4): number {
    return this.#config.read(offset, size);
  }

  writeConfig(offset: number, size: 1 | 2 | 4, value: number): void {
    // "When using the legacy interface, mac is driver-writable which provided a way for drivers to update the MAC
    // without negotiating VIRTIO_NET_F_CTRL_MAC_ADDR." (§5.1.4.4) All else is read-only.
    if ((this.#host.negotiated & (d.VIRTIO_F_VERSION_1 | d.VIRTIO_NET_F_CTRL_MAC_ADDR)) !== 0n) return;
    for (let at = d.CONFIG.MAC; at < d.CONFIG.MAC + 6; at++) {
      const byte = ConfigSpace.byteOf(at, offset, size, value);
      if (byte >= 0) this.#config.bytes[at] = byte;
    }
    this.#mac = macKey(this.#config.bytes, d.CONFIG.MAC);
  }

  start(): void {
    const { negotiated } = this.#host;
    const has = (feature: bigint) => (negotiated & feature) !== 0n;
    const mergeable = has(d.VIRTIO_NET_F_MRG_RXBUF);
    // Without both, drivers know a header without num_buffers (§5.1.6.1).
    this.#headerSize = mergeable || has(d.VIRTIO_F_VERSION_1) ? d.HDR.SIZE : d.HDR.LEGACY_SIZE;
    this.#buffers.configure(this.#headerSize, mergeable);
    this.#setGuestOffloads(negotiated & d.GUEST_OFFLOADS);
    this.filter.reset(has(d.VIRTIO_NET_F_CTRL_VLAN));
    this.#running = true;
    for (let index = 0; index < this.queues.length; index++) this.notify(index);
  }

  stop(): void {
    this.#running = false;
    this.#pairs = 1;
    this.#pending = [];
    this.#flows.reset();
    // "The device MUST have an empty MAC filtering table on reset." (§5.1.6.5.2.1)
    this.filter.reset(false);
    this.#setGuestOffloads(0n);
    this.#config.bytes.set(this.#settings.mac, d.CONFIG.MAC);
    this.#mac = macKey(this.#settings.mac);
    this.#config.u16(d.CONFIG.STATUS, this.linkUp ? d.VIRTIO_NET_S_LINK_UP : 0);
  }

  notify(index: number): void {
    const queue = this.#host.queues[index];
    if (!this.#running || queue === undefined || !queue.enabled) return;
    if (index === this.#controlIndex) this.#serveControl(queue);
    else if (index >= this.#pairs * 2) return;
    else if ((index & 1) === 1) this.#transmit(queue, index >> 1);
    else this.#receiveBuffers();
  }

  // --- from the guest

  #transmit(queue: Queue, pair: number): void {
    for (const chain of queue) {
      this.#send(chain, pair);
      queue.push(chain, 0);
    }
    queue.flush();
  }

  #send(chain: Chain, pair: number): void {
    const length = chain.readableLength - this.#headerSize;
    if (length < ETH_HLEN || length > MAX_FRAME) {
      return this.#dropTx(`a frame of ${length} bytes`);
    }
    gather(chain.readable, 0, this.#header.subarray(0, this.#headerSize));
    const offload = parseHeader(this.#header);
    if (offload === undefined) return this.#dropTx(`gso_type ${this.#header[d.HDR.GSO_TYPE]}`);
    if (!this.#mayUse(offload)) return this.#dropTx(`an offload that was not negotiated (${offload.gso})`);
    if (!this.linkUp) {
      this.stats.txDropped++;
      return;
    }
    const frame = this.#frameOf(chain, length);
    if (this.#pairs > 1) this.#flows.learn(frame, pair);
    if (this.#traceTx.on) this.#traceTx.emit({ pair, bytes: length, gso: offload.gso });
    const netdev = this.#netdev!;
    // What the back end takes may have become less than it was when the features were offered (a port of a hub).
    // One frame in, perhaps many out: the counters count what the guest sent.
    if (!finish(frame, offload, netdev.txCaps, (part, rest) => netdev.send(part, rest))) {
      return this.#dropTx('a frame that is not what its header says');
    }
    this.stats.txPackets++;
    this.stats.txBytes += length;
  }

  /** A view of the frame behind the header where it lies in one piece, a copy in the scratch buffer otherwise. */
  #frameOf(chain: Chain, length: number): Uint8Array {
    let skip = this.#headerSize;
    for (const piece of chain.readable) {
      if (skip < piece.length) {
        if (piece.length - skip >= length) return piece.subarray(skip, skip + length);
        break;
      }
      skip -= piece.length;
    }
    const frame = this.#scratch.subarray(0, length);
    gather(chain.readable, this.#headerSize, frame);
    return frame;
  }

  /** "otherwise the driver MUST NOT set gso_type to VIRTIO_NET_HDR_GSO_TCPV4" and the like (§5.1.6.2.1). */
  #mayUse(offload: Offload): boolean {
    const { negotiated } = this.#host;
    switch (offload.gso) {
      case 'tcp4':
        return (negotiated & d.VIRTIO_NET_F_HOST_TSO4) !== 0n;
      case 'tcp6':
        return (negotiated & d.VIRTIO_NET_F_HOST_TSO6) !== 0n;
      case 'udp':
        return (negotiated & d.VIRTIO_NET_F_HOST_UFO) !== 0n;
      default:
        return !offload.needsCsum || (negotiated & d.VIRTIO_NET_F_CSUM) !== 0n;
    }
  }

  #dropTx(what: string): void {
    this.stats.txDropped++;
    this.#host.guestError(`transmitq: ${what} is dropped`);
  }

  #serveControl(queue: Queue): void {
    for (const chain of queue) {
      if (chain.writableLength === 0) {
        this.#host.guestError('control command without room for its ack');
        queue.push(chain, 0);
        continue;
      }
      let ack: number = d.VIRTIO_NET_ERR;
      if (chain.readableLength >= 2 && chain.readableLength <= MAX_COMMAND) {
        const command = new Uint8Array(chain.readableLength);
        gather(chain.readable, 0, command);
        ack = runCommand(this.#control, command[0]!, command[1]!, command.subarray(2));
        if (command[0]! <= d.VIRTIO_NET_CTRL_VLAN && ack === d.VIRTIO_NET_OK) this.#filterChanged();
      }
      scatter(chain.writable, 0, Uint8Array.of(ack));
      queue.push(chain, 1);
    }
    queue.flush();
  }

  #controlTarget(): ControlTarget {
    const host = () => this.#host;
    return {
      filter: this.filter,
      maxPairs: this.#settings.queuePairs,
      get negotiated() {
        return host().negotiated;
      },
      setMac: (mac) => {
        this.#config.bytes.set(mac, d.CONFIG.MAC);
        this.#mac = macKey(mac);
      },
      setPairs: (pairs) => {
        this.#pairs = pairs;
        this.#flows.reset();
        for (let index = 0; index < pairs * 2; index++) this.notify(index);
      },
      setGuestOffloads: (bits) => this.#setGuestOffloads(bits),
      announced: () => {
        if ((this.#status & d.VIRTIO_NET_S_ANNOUNCE) === 0) return false;
        this.#config.u16(d.CONFIG.STATUS, this.#status & ~d.VIRTIO_NET_S_ANNOUNCE);
        return true;
      },
    };
  }

  // --- to the guest

  receive(frame: Uint8Array, offload: Offload = PLAIN): boolean {
    if (!this.#linkWanted) return this.#dropRx();
    if (!this.#running || this.#pending.length > 0) return this.#refuse();
    if (frame.length < ETH_HLEN || !this.filter.accepts(frame, this.#mac)) return this.#dropRx();
    // "The device MUST NOT pass received packets that exceed mtu (plus low level ethernet header length) size with
    // gso_type NONE or ECN after VIRTIO_NET_F_MTU has been successfully negotiated." (§5.1.4.2)
    if (offload.gso === 'none' && this.#exceedsMtu(frame)) return this.#dropRx();
    const ecnMissing =
      offload.gso !== 'none' && (this.#guestOffloads & d.VIRTIO_NET_F_GUEST_ECN) === 0n && hasCwr(frame);
    if (takes(this.rxCaps, offload) && !ecnMissing) return this.#deliver(frame, offload) || this.#refuse();
    // A guest that cannot take it as it is gets it finished; the parts that find no room wait here, not in the
    // back end, which has given away the whole.
    const caps = ecnMissing ? NO_CAPS : this.rxCaps;
    if (!finish(frame, offload, caps, (part) => this.#pending.push(part))) return this.#dropRx();
    this.#drainPending();
    return true;
  }

  linkChanged(): void {
    const { linkUp } = this;
    if (linkUp === ((this.#status & d.VIRTIO_NET_S_LINK_UP) !== 0)) return;
    this.#setStatus((this.#status & ~d.VIRTIO_NET_S_LINK_UP) | (linkUp ? d.VIRTIO_NET_S_LINK_UP : 0));
  }

  /** The driver has added receive buffers. */
  #receiveBuffers(): void {
    this.#drainPending();
    if (this.#pending.length === 0 && this.#backendWaits) this.#callBackend();
  }

  #callBackend(): void {
    this.#backendWaits = false;
    this.#netdev?.acceptInput();
  }

  #drainPending(): void {
    while (this.#pending.length > 0) {
      const part = this.#pending[0]!;
      if (!this.#exceedsMtu(part) && !this.#deliver(part, FINISHED)) return;
      this.#pending.shift();
    }
  }

  #refuse(): false {
    this.#backendWaits = true;
    return false;
  }

  #dropRx(): true {
    this.stats.rxDropped++;
    return true;
  }

  #exceedsMtu(frame: Uint8Array): boolean {
    if ((this.#host.negotiated & d.VIRTIO_NET_F_MTU) === 0n) return false;
    const tag = etherType(frame, 12) === ETH_P_8021Q ? 4 : 0;
    return frame.length > this.#settings.mtu + ETH_HLEN + tag;
  }

  /** Puts a frame that the guest takes into its buffers; false when there are not enough of them yet. */
  #deliver(frame: Uint8Array, offload: Offload): boolean {
    const queue = this.#steer(frame);
    // "If all receive queues are being reset, the device MUST drop the packet." (§5.1.6.5.6.2)
    if (queue === undefined) return this.#dropRx();
    switch (this.#buffers.put(queue, frame, offload, this.rxCaps.csum)) {
      case 'full':
        return false;
      case 'never':
        return this.#dropRx();
      default:
        if (this.#traceRx.on) {
          this.#traceRx.emit({ queue: queue.index, bytes: frame.length, gso: offload.gso });
        }
        this.stats.rxPackets++;
        this.stats.rxBytes += frame.length;
        return true;
    }
  }

  /** The receive queue for a frame, among those in use that are enabled. */
  #steer(frame: Uint8Array): Queue | undefined {
    const { queues } = this.#host;
    const wanted = this.#pairs > 1 ? this.#flows.find(frame) : 0;
    for (let i = 0; i < this.#pairs; i++) {
      const queue = queues[((wanted + i) % this.#pairs) * 2];
      if (queue?.enabled === true) return queue;
    }
    return undefined;
  }

  // --- configuration

  /** "2N controlq; N=1 if neither VIRTIO_NET_F_MQ nor VIRTIO_NET_F_RSS are negotiated" (§5.1.2). */
  get #controlIndex(): number {
    const { negotiated } = this.#host;
    if ((negotiated & d.VIRTIO_NET_F_CTRL_VQ) === 0n) return -1;
    return (negotiated & d.VIRTIO_NET_F_MQ) !== 0n ? this.#settings.queuePairs * 2 : 2;
  }

  get #status(): number {
    return this.#config.view.getUint16(d.CONFIG.STATUS, true);
  }

  #setStatus(status: number): void {
    this.#config.u16(d.CONFIG.STATUS, status);
    if (this.#running && (this.#host.negotiated & d.VIRTIO_NET_F_STATUS) !== 0n) this.#host.configChanged();
  }

  #setGuestOffloads(bits: bigint): void {
    this.#guestOffloads = bits;
    const has = (feature: bigint) => (bits & feature) !== 0n;
    const csum = has(d.VIRTIO_NET_F_GUEST_CSUM);
    this.rxCaps = {
      csum,
      tso4: csum && has(d.VIRTIO_NET_F_GUEST_TSO4),
      tso6: csum && has(d.VIRTIO_NET_F_GUEST_TSO6),
      ufo: csum && has(d.VIRTIO_NET_F_GUEST_UFO),
    };
  }
}
