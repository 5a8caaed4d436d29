/**
 * The host's side of a machine: chardevs, drives, netdevs and objects, opened in the order of the command line, each
 * used by one device. Opening fails with the option in front of the reason; what was open by then is closed again.
 */
import type { Chardev } from '../chardev/chardev.ts';
import type { MuxActions } from '../chardev/mux.ts';
import { WebStreamChardev } from '../chardev/web.ts';
import { UsageError } from '../core/errors.ts';
import type { Netdev } from '../net/netdev.ts';
import { blame, blamed } from '../qapi/parse-command-line.ts';
import { defined } from '../qapi/suggest.ts';
import { Chardevs } from './chardevs.ts';
import type { MachineConfig, ObjectConfig } from './config.ts';
import type { Disk, DiskUser } from './disks.ts';
import { Disks } from './disks.ts';
import type { MachineHost } from './host.ts';
import type { NetEntry } from './nets.ts';
import { Nets } from './nets.ts';

/** A source of random numbers, as virtio-rng takes it. */
export interface RandomSource {
  fill(view: Uint8Array): void | Promise<void>;
}

export class Backends {
  readonly chardevs: Chardevs;
  readonly disks: Disks;
  readonly nets: Nets;
  readonly randomSources = new Map<string, RandomSource>();
  readonly objects = new Map<string, ObjectConfig>();
  /** Objects that a device uses. */
  readonly objectUsers = new Set<string>();
  readonly #close: (() => Promise<void>)[] = [];
  readonly #host: MachineHost;
  /** Where what is claimed now is noted. */
  #claims: (() => void)[] | undefined;

  private constructor(host: MachineHost, keys: MuxActions) {
    this.#host = host;
    this.chardevs = new Chardevs(host, keys, this.objects);
    this.disks = new Disks(host);
    this.nets = new Nets(host);
    this.#close.push(
      () => this.chardevs.close(),
      () => this.disks.close(),
      () => this.nets.close(),
    );
  }

  /** Opens everything that `config` names. */
  static async open(config: MachineConfig, host: MachineHost, keys: MuxActions): Promise<Backends> {
    const backends = new Backends(host, keys);
    try {
      const early = (one: ObjectConfig): boolean => one.type !== 'filter-dump';
      for (const object of config.objects.filter(early)) backends.#openObject(object, host);
      for (const chardev of config.chardevs) await backends.chardevs.open(chardev);
      await backends.disks.openAll(config.blockdevs, config.drives);
      for (const netdev of config.netdevs) await backends.nets.open(netdev);
      // These are about netdevs, and so come after them, as in QEMU.
      for (const object of config.objects.filter((one) => !early(one))) backends.#openObject(object, host);
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

  /** The chardev `id` for one front end; `user` is the device, for the message when it is taken. */
  claimChardev(id: string, user: string): Chardev {
    const { chardev, release } = this.chardevs.claim(id, user);
    this.#claims?.push(release);
    return chardev;
  }

  /** The disk of a `-drive`, or on the node of that name. @throws UsageError */
  claimDrive(name: string, user: DiskUser): Disk {
    const disk = this.disks.claim(name, user);
    this.#claims?.push(() => this.disks.release(disk));
    return disk;
  }

  claimNetdev(id: string, user: string): Netdev {
    const { netdev, release } = this.nets.claim(id, user);
    this.#claims?.push(release);
    return netdev;
  }

  /** Gives a chardev back, when its device goes away. */
  releaseChardev(id: string): void {
    this.chardevs.release(id);
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
    this.chardevs.removeTls(id);
    this.nets.closeDump(id);
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

  /** Netdevs that nothing uses: QEMU warns of them, for they are mostly a mistyped id. */
  unused(): string[] {
    return this.nets.unused();
  }

  get netdevs(): ReadonlyMap<string, NetEntry> {
    return this.nets.all;
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
    if (config.type.startsWith('tls-creds-')) blame(config.origin, () => this.chardevs.addTls(config));
    if (config.type === 'filter-dump') blame(config.origin, () => this.nets.openDump(config));
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
}
