/**
 * The machine's disks: what `-drive`, `-blockdev` and monitors made, as devices and monitors see it. A disk has a
 * medium (the node at the root of its layers) or none, counts its requests, and may be held to limits.
 */
import { AccountedBackend } from '../block/accounting.ts';
import type { BlockNode, NodeOptions, NodeUser } from '../block/graph.ts';
import { BlockGraph } from '../block/graph.ts';
import type { BlockOptions } from '../block/open.ts';
import { isLimited, NO_LIMITS, ThrottledBackend, ThrottleGroup, throttleConfig } from '../block/throttle.ts';
import type { ThrottleConfig } from '../block/throttle.ts';
import { UsageError } from '../core/errors.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import { defined } from '../qapi/suggest.ts';
import { throttleNumbers } from '../qapi/schema/throttle.ts';
import type { BlockdevConfig, DriveConfig } from './config.ts';
import type { MachineHost } from './host.ts';

export interface DiskUser {
  /** The class of the device, for messages. */
  readonly name: string;
  /** Its place in the object tree. */
  readonly path: string;
  /** Another disk may write the same node. */
  readonly shares?: boolean;
}

export class Disk {
  /** Empty for a disk that a device made of a node, or whose `-drive` was deleted. */
  id: string;
  readonly config: DriveConfig | undefined;
  /** The device that has it. */
  user: DiskUser | undefined;
  root: BlockNode | undefined;
  backend: AccountedBackend | undefined;
  group: ThrottleGroup | undefined;
  /** The disk has another size. */
  onResize: () => void = () => {};
  #throttled: ThrottledBackend | undefined;
  #detach: (() => void) | undefined;
  readonly #now: () => number;

  constructor(id: string, config: DriveConfig | undefined, now: () => number) {
    this.id = id;
    this.config = config;
    this.#now = now;
  }

  /** Puts a medium in; it may belong to a disk that writes, and none else then. */
  insert(graph: BlockGraph, root: BlockNode): void {
    const user: NodeUser = {
      label: `block device '${this.id === '' ? (this.user?.path ?? '') : this.id}'`,
      writes: !root.backend.readOnly,
      shares: this.user?.shares ?? false,
      resized: () => this.onResize(),
    };
    this.#detach = graph.attach(root, user);
    this.root = root;
    this.#throttled = new ThrottledBackend(root.backend);
    this.#throttled.group = this.group;
    this.backend = new AccountedBackend(this.#throttled, this.#now);
  }

  /** Takes the medium out; the caller closes what was made for it. */
  remove(): BlockNode | undefined {
    const { root } = this;
    this.#throttled?.cut();
    this.#detach?.();
    this.#detach = undefined;
    this.root = undefined;
    this.backend = undefined;
    this.#throttled = undefined;
    return root;
  }

  /** Joins a group, or leaves the one it is in. */
  join(group: ThrottleGroup | undefined): void {
    this.group?.members.delete(this);
    this.group = group;
    group?.members.add(this);
    if (this.#throttled !== undefined) this.#throttled.group = group;
  }
}

export class Disks {
  /** In the order in which they were made. */
  readonly all = new Set<Disk>();
  readonly graph: BlockGraph;
  readonly #groups = new Map<string, ThrottleGroup>();
  readonly #host: MachineHost;

  constructor(host: MachineHost) {
    this.#host = host;
    this.graph = new BlockGraph(host.block, (name) => this.find(name) !== undefined);
  }

  /** The disk that a `-drive` named. */
  find(id: string): Disk | undefined {
    if (id === '') return undefined;
    for (const disk of this.all) if (disk.id === id) return disk;
    return undefined;
  }

  /** Opens a `-drive`. */
  async open(config: DriveConfig): Promise<Disk> {
    const { values } = config;
    const disk = new Disk(config.id, config, () => this.#host.time.monotonic());
    if (this.find(config.id) !== undefined) throw new UsageError(`Duplicate ID '${config.id}' for drive`);
    if (this.graph.find(config.id) !== undefined)
      throw new UsageError(`Device with id '${config.id}' already exists`);
    const limits = throttleConfig(throttleNumbers(values));
    if (config.file !== undefined) disk.insert(this.graph, await this.#image(config, config.file));
    if (isLimited(limits)) this.limit(disk, limits, values['throttling.group'] as string | undefined);
    this.all.add(disk);
    return disk;
  }

  /** Opens what the configuration names, in its order. */
  async openAll(blockdevs: readonly BlockdevConfig[], drives: readonly DriveConfig[]): Promise<void> {
    for (const { options, origin } of blockdevs) await during(origin, this.graph.add(options));
    for (const config of drives) await during(config.origin, this.open(config));
  }

  /**
   * The disk called `name` for a device, or a new one on the node of that name.
   * @throws UsageError when there is none, or somebody has it
   */
  claim(name: string, user: DiskUser): Disk {
    const disk = this.find(name);
    if (disk === undefined) return this.#claimNode(name, user);
    if (disk.root === undefined) throw new UsageError('Device needs media, but drive is empty');
    if (disk.user !== undefined) throw new UsageError(`Drive '${name}' is already in use by another device`);
    disk.user = user;
    return disk;
  }

  /** The device is gone; a `-drive` goes with it, as in QEMU. */
  release(disk: Disk): void {
    disk.user = undefined;
    disk.onResize = () => {};
    if (disk.id === '') {
      disk.remove();
      disk.join(undefined);
      this.all.delete(disk);
    }
  }

  /** Takes a disk away altogether; a device that has it keeps an empty one, whose requests fail. */
  async delete(disk: Disk): Promise<void> {
    disk.join(undefined);
    if (disk.user === undefined) this.all.delete(disk);
    else disk.id = '';
    await this.#close(disk.remove());
  }

  /** Puts another image into a disk without a device. */
  async change(disk: Disk, options: BlockOptions): Promise<void> {
    const root = await this.graph.addImage(options, undefined);
    await this.#close(disk.remove());
    disk.insert(this.graph, root);
  }

  async eject(disk: Disk): Promise<void> {
    await this.#close(disk.remove());
  }

  /** Holds a disk to limits, with the others of the group; none: to none any more. */
  limit(disk: Disk, config: ThrottleConfig, groupName?: string): void {
    if (!isLimited(config)) {
      const { group } = disk;
      disk.join(undefined);
      if (group?.members.size === 0) {
        group.release();
        this.#groups.delete(group.name);
      }
      return;
    }
    const name = groupName ?? disk.group?.name ?? (disk.id === '' ? (disk.user?.path ?? '') : disk.id);
    let group = this.#groups.get(name);
    if (group === undefined) {
      const { time, char } = this.#host;
      group = new ThrottleGroup(name, {
        now: () => time.monotonic(),
        delay: (milliseconds, call) => char.delay(milliseconds, call),
      });
      this.#groups.set(name, group);
    }
    disk.join(group);
    group.config = config;
  }

  limits(disk: Disk): ThrottleConfig {
    return disk.group?.config ?? NO_LIMITS;
  }

  async close(): Promise<void> {
    for (const group of this.#groups.values()) group.release();
    for (const disk of this.all) disk.remove();
    this.all.clear();
    await this.graph.close();
  }

  #claimNode(name: string, user: DiskUser): Disk {
    const root = this.graph.find(name);
    if (root === undefined) {
      const known = [...this.all].flatMap(({ id }) => (id === '' ? [] : [id]));
      throw new UsageError(`Property '${user.name}.drive' can't find value '${name}'${defined(known)}`);
    }
    const disk = new Disk('', undefined, () => this.#host.time.monotonic());
    disk.user = user;
    disk.insert(this.graph, root);
    this.all.add(disk);
    return disk;
  }

  #image(config: DriveConfig, file: string): Promise<BlockNode> {
    const { values } = config;
    const options: BlockOptions = {
      ...(values as Partial<BlockOptions>),
      file,
      snapshot: config.snapshot,
    };
    return this.graph.addImage(options, values['node-name'] as string | undefined);
  }

  async #close(root: BlockNode | undefined): Promise<void> {
    if (root !== undefined && !root.owned && root.users.size === 0 && root.parents.size === 0)
      await this.graph.drop(root);
  }
}

async function during<T>(origin: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw blamed(origin, error);
  }
}

export type { NodeOptions };
