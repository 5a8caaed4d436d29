/**
 * The machine's networks: netdevs by id, the hubs that join several, and who listens on their wires. Each netdev is
 * behind a plug, so that it may go away under its card.
 */
import { UsageError } from '../core/errors.ts';
import { pcapHeader, pcapRecord } from '../net/capture.ts';
import type { HubPort } from '../net/hub.ts';
import { NetHub } from '../net/hub.ts';
import type { Netdev } from '../net/netdev.ts';
import { NetPlug } from '../net/plug.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import { defined } from '../qapi/suggest.ts';
import type { NetdevConfig, ObjectConfig } from './config.ts';
import type { MachineHost } from './host.ts';

export interface NetEntry {
  readonly thing: NetPlug;
  /** Who has it, for messages. */
  user: string | undefined;
  /** Netdevs and cards count up as they are made: its own number, and that of its card. */
  readonly made: number;
  taken: number;
}

/** A port of a hub, and what is behind it. */
export interface PortEntry {
  readonly port: HubPort;
  /** The back end in it; undefined where a card is, or nothing. */
  back: string | undefined;
  leave: () => void;
}

export class Nets {
  readonly all = new Map<string, NetEntry>();
  /** Netdevs that were taken from under their card, until that goes, too. */
  readonly gone = new Map<string, NetEntry>();
  readonly hubs = new Map<number, NetHub>();
  /** By the id of the `hubport`. */
  readonly ports = new Map<string, PortEntry>();
  readonly #dumps = new Map<string, () => void>();
  readonly #host: MachineHost;
  #made = 0;

  constructor(host: MachineHost) {
    this.#host = host;
  }

  /** Opens a `-netdev`. @throws UsageError, HostError */
  async open(config: NetdevConfig): Promise<void> {
    const { id, type, origin } = config;
    if (this.all.has(id)) throw new UsageError(`Duplicate ID '${id}' for netdev`);
    try {
      const netdev =
        type === 'hubport'
          ? this.#openPort(config)
          : await this.#host.createNetdev(config, (message) => this.#host.warn(`${origin}: ${message}`));
      this.all.set(id, {
        thing: new NetPlug(netdev),
        user: this.ports.get(id)?.back,
        made: this.#made++,
        taken: 0,
      });
    } catch (error) {
      throw blamed(origin, error);
    }
  }

  /** The netdev `id` for one card; `user` is the device, for the message when it is taken. @throws UsageError */
  claim(id: string, user: string): { readonly netdev: Netdev; readonly release: () => void } {
    const entry = this.all.get(id);
    if (entry === undefined)
      throw new UsageError(`Property '${user}.netdev' can't find value '${id}'${defined(this.all.keys())}`);
    if (entry.user !== undefined)
      throw new UsageError(`Property '${user}.netdev' can't take value '${id}', it's in use`);
    entry.user = user;
    entry.taken = this.#made++;
    return {
      netdev: entry.thing,
      release: () => {
        entry.user = undefined;
        if (this.gone.get(id) === entry) this.gone.delete(id);
      },
    };
  }

  /** Takes a netdev away, from under its card as well; false when there is none. */
  async remove(id: string): Promise<boolean> {
    const entry = this.all.get(id);
    if (entry === undefined) return false;
    this.all.delete(id);
    for (const port of this.ports.values()) {
      if (port.back !== id) continue;
      port.leave();
      port.back = undefined;
    }
    const own = this.ports.get(id);
    if (own !== undefined) {
      this.ports.delete(id);
      own.leave();
      this.hubs.get(own.port.hub)?.remove(own.port);
    }
    if (entry.taken > 0 && entry.user !== undefined) this.gone.set(id, entry);
    await entry.thing.pull();
    return true;
  }

  /** Writes a netdev's frames to a file, for `-object filter-dump`. @throws UsageError, HostError */
  openDump({ id, values }: ObjectConfig): void {
    const entry = this.all.get(String(values.netdev));
    if (entry === undefined) throw new UsageError("Parameter 'netdev' expects a network backend id");
    const { char, time } = this.#host;
    const sink = char.openSink(String(values.file), false);
    const most = Number(values.maxlen);
    const wanted = values.queue;
    sink.write(pcapHeader(most));
    const stop =
      values.status === 'off'
        ? () => {}
        : entry.thing.listen((frame, direction) => {
            // The queues are named from where the back end stands: it receives what the guest sends.
            const queue = direction === 'tx' ? 'rx' : 'tx';
            if (wanted !== 'all' && wanted !== queue) return;
            sink.write(pcapRecord(frame, time.wall() * 1e6, most));
          });
    this.#dumps.set(id, () => {
      stop();
      sink.close();
    });
  }

  closeDump(id: string): void {
    this.#dumps.get(id)?.();
    this.#dumps.delete(id);
  }

  /** Netdevs that nothing uses: QEMU warns of them, for they are mostly a mistyped id. */
  unused(): string[] {
    return [...this.all].filter(([, entry]) => entry.user === undefined).map(([id]) => id);
  }

  async close(): Promise<void> {
    for (const id of [...this.#dumps.keys()]) this.closeDump(id);
    let failure: unknown;
    for (const { thing } of [...this.all.values()].reverse()) {
      try {
        await thing.close();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  #openPort({ id, values }: NetdevConfig): Netdev {
    const number = Number(values.hubid);
    const back = values.netdev as string | undefined;
    const entry = back === undefined ? undefined : this.all.get(back);
    if (back !== undefined && entry === undefined) throw new UsageError(`netdev '${back}' not found`);
    if (entry?.user !== undefined) throw new UsageError(`netdev '${back}' is in use by ${entry.user}`);
    let hub = this.hubs.get(number);
    if (hub === undefined) this.hubs.set(number, (hub = new NetHub(number)));
    const port = hub.port(id);
    const leave = entry === undefined ? () => {} : hub.join(port, entry.thing);
    if (entry !== undefined) entry.user = id;
    this.ports.set(id, { port, back, leave });
    return port;
  }
}
