/**
 * The host's side of a machine: chardevs, drives, netdevs and objects, opened in the order of the command line, each
 * used by one device. Opening fails with the option in front of the reason; what was open by then is closed again.
 */
import type { Chardev } from '../chardev/chardev.ts';
import { createChardev, logChardev } from '../chardev/create.ts';
import { MuxChardev } from '../chardev/mux.ts';
import type { MuxActions } from '../chardev/mux.ts';
import { WebStreamChardev } from '../chardev/web.ts';
import { UsageError } from '../core/errors.ts';
import type { Netdev } from '../net/netdev.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import { defined } from '../qapi/suggest.ts';
import type { ChardevConfig, MachineConfig, NetdevConfig, ObjectConfig } from './config.ts';
import type { Disk, DiskUser } from './disks.ts';
import { Disks } from './disks.ts';
import type { MachineHost } from './host.ts';

/** A source of random numbers, as virtio-rng takes it. */
export interface RandomSource {
  fill(view: Uint8Array): void | Promise<void>;
}

interface Entry<T> {
  readonly thing: T;
  /** Who has it, for messages. */
  user: string | undefined;
}

export class Backends {
  readonly chardevs = new Map<string, Entry<Chardev>>();
  readonly disks: Disks;
  readonly netdevs = new Map<string, Entry<Netdev>>();
  readonly randomSources = new Map<string, RandomSource>();
  readonly objects = new Map<string, ObjectConfig>();
  /** Objects that a device uses. */
  readonly objectUsers = new Set<string>();
  readonly #close: (() => Promise<void>)[] = [];
  readonly #host: MachineHost;
  /** Where what is claimed now is noted. */
  #claims: (() => void)[] | undefined;

  private constructor(host: MachineHost) {
    this.#host = host;
    this.disks = new Disks(host);
    this.#close.push(() => this.disks.close());
  }

  /** Opens everything that `config` names. */
  static async open(config: MachineConfig, host: MachineHost, keys: MuxActions): Promise<Backends> {
    const backends = new Backends(host);
    try {
      for (const object of config.objects) backends.#openObject(object, host);
      for (const chardev of config.chardevs) await backends.#openChardev(chardev, host, keys);
      await backends.disks.openAll(config.blockdevs, config.drives);
      for (const netdev of config.netdevs) await backends.#openNetdev(netdev, host);
      return backends;
    } catch (error) {
      await backends.close().catch(() => {});
      throw error;
    }
  }

  /**
   * Runs `make`, and notes what it claims: `release` gives all of that back, when the device that was made goes away.
   * What a failing `make` has claimed is given back at once.
   */
  claiming<T>(make: () => T): { readonly made: T; readonly release: () => void } {
    const claims: (() => void)[] = [];
    const release = (): void => {
      for (const giveBack of claims.splice(0)) giveBack();
    };
    this.#claims = claims;
    try {
      return { made: make(), release };
    } catch (error) {
      release();
      throw error;
    } finally {
      this.#claims = undefined;
    }
  }

  #use(entry: Entry<unknown>, user: string): void {
    entry.user = user;
    this.#claims?.push(() => {
      entry.user = undefined;
    });
  }

  /** The chardev `id` for one front end; `user` is the device, for the message when it is taken. */
  claimChardev(id: string, user: string): Chardev {
    const entry = this.chardevs.get(id);
    if (entry === undefined)
      throw new UsageError(
        `Property '${user}.chardev' can't find value '${id}'${defined(this.chardevs.keys())}`,
      );
    if (entry.thing instanceof MuxChardev) {
      const mux = entry.thing;
      if (mux.free > 0) {
        const port = mux.port();
        this.#claims?.push(() => mux.release(port));
        return port;
      }
    } else if (entry.user === undefined) {
      this.#use(entry, user);
      return entry.thing;
    }
    throw new UsageError(`Property '${user}.chardev' can't take value '${id}': Device '${id}' is in use`);
  }

  /** The disk of a `-drive`, or on the node of that name. @throws UsageError */
  claimDrive(name: string, user: DiskUser): Disk {
    const disk = this.disks.claim(name, user);
    this.#claims?.push(() => this.disks.release(disk));
    return disk;
  }

  claimNetdev(id: string, user: string): Netdev {
    const entry = this.netdevs.get(id);
    if (entry === undefined)
      throw new UsageError(
        `Property '${user}.netdev' can't find value '${id}'${defined(this.netdevs.keys())}`,
      );
    if (entry.user !== undefined)
      throw new UsageError(`Property '${user}.netdev' can't take value '${id}', it's in use`);
    this.#use(entry, user);
    return entry.thing;
  }

  /** Gives a chardev back, when its device goes away. */
  releaseChardev(id: string): void {
    const entry = this.chardevs.get(id);
    if (entry !== undefined) entry.user = undefined;
  }

  /** The streams of a chardev of type `stream`. */
  stream(id: string): WebStreamChardev {
    const chardev = this.chardevs.get(id)?.thing;
    if (chardev instanceof WebStreamChardev) return chardev;
    throw new UsageError(`chardev '${id}' is no stream`);
  }

  /** Makes an object while the machine runs. @throws UsageError, HostError */
  addObject(config: ObjectConfig): void {
    if (this.objects.has(config.id))
      throw new UsageError(`attempt to add duplicate property '${config.id}' to object (type 'container')`);
    this.#openObject(config, this.#host);
  }

  /** Takes an object away that nothing uses. @throws UsageError */
  removeObject(id: string): void {
    if (!this.objects.has(id)) throw new UsageError(`object '${id}' not found`);
    if (this.objectUsers.has(id)) throw new UsageError(`object '${id}' is in use, can not be deleted`);
    this.objects.delete(id);
    this.randomSources.delete(id);
  }

  /** An object that can give random numbers. */
  randomSource(id: string): RandomSource {
    const source = this.randomSources.get(id);
    if (source === undefined)
      throw new UsageError(`Device '${id}' not found${defined(this.randomSources.keys())}`);
    this.objectUsers.add(id);
    this.#claims?.push(() => this.objectUsers.delete(id));
    return source;
  }

  /** Netdevs and drives that no device uses: QEMU warns of them, for they are mostly a mistyped id. */
  unused(): string[] {
    return [...this.netdevs].filter(([, entry]) => entry.user === undefined).map(([id]) => id);
  }

  /** Flushes disks and closes everything, last opened first. The first failure is thrown at the end. */
  async close(): Promise<void> {
    let failure: unknown;
    for (const close of this.#close.splice(0).reverse()) {
      try {
        await close();
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  #openObject(config: ObjectConfig, host: MachineHost): void {
    if (config.type !== 'rng-random') this.objects.set(config.id, config);
    if (config.type === 'rng-builtin')
      this.randomSources.set(config.id, { fill: (view) => host.random(view) });
    if (config.type !== 'rng-random') return;
    try {
      const source = host.openRandom(String(config.values.filename));
      this.#close.push(() => source.close());
      this.randomSources.set(config.id, source);
      this.objects.set(config.id, config);
    } catch (error) {
      throw blamed(config.origin, error);
    }
  }

  async #openChardev(config: ChardevConfig, host: MachineHost, keys: MuxActions): Promise<void> {
    try {
      const chardev = await this.#makeChardev(config, host);
      this.#close.push(() => chardev.close());
      this.chardevs.set(config.id, { thing: chardev, user: undefined });
      if (chardev instanceof MuxChardev) chardev.actions = keys;
    } catch (error) {
      throw blamed(config.origin, error);
    }
  }

  async #makeChardev(config: ChardevConfig, host: MachineHost): Promise<Chardev> {
    const { id, type } = config;
    if (type === 'stream') {
      const stream = new WebStreamChardev(id);
      await logChardev(stream, config.values, host.char);
      return stream;
    }
    if (type === 'mux')
      return new MuxChardev(id, this.claimChardev(String(config.values.chardev), `chardev ${id}`));
    // Without a display a virtual console has nowhere to show its text.
    return createChardev(type === 'vc' ? 'null' : type, { ...config.values, id }, host.char);
  }

  async #openNetdev(config: NetdevConfig, host: MachineHost): Promise<void> {
    try {
      const netdev = await host.createNetdev(config, (message) => host.warn(`${config.origin}: ${message}`));
      this.#close.push(() => netdev.close());
      this.netdevs.set(config.id, { thing: netdev, user: undefined });
    } catch (error) {
      throw blamed(config.origin, error);
    }
  }
}
