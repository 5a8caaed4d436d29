/**
 * Block nodes by name: what `-blockdev` and `blockdev-add` make, and the layers that a `-drive` has. A node gives its
 * bytes to devices and to nodes above it; a `file` node holds the host's file, a `raw` node its format. Who uses a
 * node is kept, because a node in use may not go away and two may not write it. Error texts are QEMU's.
 */
import { UsageError } from '../core/errors.ts';
import type { BlockBackend } from './backend.ts';
import type { BlockHost, HostFile } from './file.ts';
import { NullBackend } from './null.ts';
import type { BlockOptions } from './open.ts';
import { openFile, openLayers } from './open.ts';
import { RawBackend } from './raw.ts';

export type DetectZeroes = 'off' | 'on' | 'unmap';

/** A node's options, typed. */
export interface NodeOptions {
  readonly driver: string;
  readonly nodeName?: string | undefined;
  readonly filename?: string | undefined;
  /** The node below: its name, or what to make of it. */
  readonly file?: string | NodeOptions | undefined;
  readonly readOnly?: boolean | undefined;
  readonly autoReadOnly?: boolean | undefined;
  readonly direct?: boolean | undefined;
  readonly noFlush?: boolean | undefined;
  readonly discard?: boolean | undefined;
  readonly detectZeroes?: DetectZeroes | undefined;
  readonly locking?: string | undefined;
  /** Bytes, for drivers that make the disk up. */
  readonly size?: number | undefined;
  readonly readZeroes?: boolean | undefined;
}

/** A device or monitor that has a node at the root of its disk. */
export interface NodeUser {
  /** `block device '/machine/peripheral/d0/virtio-backend'`: as messages call it. */
  readonly label: string;
  readonly writes: boolean;
  /** Another may write as well (share-rw=on). */
  readonly shares: boolean;
  resized?(): void;
}

export interface BlockNode {
  readonly name: string;
  readonly driver: string;
  readonly filename: string;
  readonly backend: BlockBackend;
  readonly file: BlockNode | undefined;
  readonly hostFile: HostFile | undefined;
  readonly direct: boolean;
  noFlush: boolean;
  detectZeroes: DetectZeroes;
  /** Made by itself, to be deleted by itself; other nodes go with what they were made for. */
  readonly owned: boolean;
  readonly users: Set<NodeUser>;
  /** Nodes that have it below them. */
  readonly parents: Set<BlockNode>;
}

/** QEMU's node names: 31 characters that ids are made of, starting with a letter. */
const NAME = /^[A-Za-z][A-Za-z0-9._-]{0,30}$/;
/** Levels of nodes given in one go. */
const MAX_DEPTH = 8;

export class BlockGraph {
  /** Oldest first. */
  readonly nodes = new Map<string, BlockNode>();
  readonly #host: BlockHost;
  /** True for names that disks have. */
  readonly #taken: (name: string) => boolean;
  #generated = 0;

  constructor(host: BlockHost, taken: (name: string) => boolean = () => false) {
    this.#host = host;
    this.#taken = taken;
  }

  find(name: string): BlockNode | undefined {
    return this.nodes.get(name);
  }

  /** Makes a node and those below it. @throws UsageError, HostError */
  async add(options: NodeOptions): Promise<BlockNode> {
    if (options.nodeName === undefined)
      throw new UsageError("'node-name' must be specified for the root node");
    return this.#make(options, true, {}, 0);
  }

  /** The layers of a `-drive`: the format's node. */
  async addImage(options: BlockOptions, nodeName: string | undefined): Promise<BlockNode> {
    const fileName = this.#generate();
    const name = this.#checkName(nodeName ?? this.#generate());
    const { backend, raw, file, cache } = await openLayers(options, this.#host);
    const settings = raw?.options;
    const common = {
      filename: options.file,
      direct: cache.direct,
      noFlush: cache.noFlush,
      owned: false,
      users: new Set<NodeUser>(),
      parents: new Set<BlockNode>(),
    };
    if (raw === undefined || file === undefined)
      return this.#enter({
        ...common,
        name,
        driver: 'null-co',
        backend,
        file: undefined,
        hostFile: undefined,
        detectZeroes: 'off',
      });
    const below = this.#enter({
      ...common,
      users: new Set(),
      parents: new Set(),
      name: fileName,
      driver: file.kind === 'device' ? 'host_device' : 'file',
      backend: new RawBackend(file, { ...raw.options, detectZeroes: 'off' }),
      file: undefined,
      hostFile: file,
      detectZeroes: 'off',
    });
    const node = this.#enter({
      ...common,
      name,
      driver: 'raw',
      backend,
      file: below,
      hostFile: undefined,
      detectZeroes: settings?.detectZeroes ?? 'off',
    });
    below.parents.add(node);
    return node;
  }

  /** Deletes a node that was made by itself. @throws UsageError */
  async remove(name: string): Promise<void> {
    const node = this.#named(name);
    if (node.users.size > 0) throw new UsageError(`Node ${name} is in use`);
    if (!node.owned) throw new UsageError(`Node ${name} is not owned by the monitor`);
    if (node.parents.size > 0) throw new UsageError(`Block device ${name} is in use`);
    await this.drop(node);
  }

  /** Closes a node, and those below it that were made for it. */
  async drop(node: BlockNode): Promise<void> {
    if (!this.nodes.delete(node.name)) return;
    const { file, backend } = node;
    file?.parents.delete(node);
    if (file !== undefined && (file.owned || file.parents.size > 0)) await backend.flush();
    // Closing the format closes the file.
    else {
      if (file !== undefined) this.nodes.delete(file.name);
      await backend.close();
    }
  }

  /** Everything is flushed and closed; the first failure is thrown at the end. */
  async close(): Promise<void> {
    let failure: unknown;
    for (const node of [...this.nodes.values()].reverse()) {
      try {
        await node.backend.flush();
        await this.drop(node);
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  /** Puts a disk on a node. @throws UsageError when somebody writes who does not share */
  attach(node: BlockNode, user: NodeUser): () => void {
    if (user.writes && node.backend.readOnly) throw new UsageError('Block node is read-only');
    for (let at: BlockNode | undefined = node, mine: BlockNode | undefined; at !== undefined; at = at.file) {
      for (const other of at.users) this.#checkShared(at, other, at.users, user, mine);
      for (const parent of at.parents) {
        if (parent === mine) continue;
        for (const other of rootUsers(parent)) this.#checkShared(at, other, at.users, user, mine, parent);
      }
      mine = at;
    }
    node.users.add(user);
    return () => {
      node.users.delete(user);
    };
  }

  /** Another size for a node, and for all that is above it. Bytes. @throws UsageError, BlockIoError */
  async resize(node: BlockNode, size: number): Promise<void> {
    if (node.backend.readOnly) throw new UsageError('Image is read-only');
    if (node.backend.resize === undefined)
      throw new UsageError(`Image format driver does not support resize`);
    await node.backend.resize(size);
    this.#resized(node);
  }

  /** Changes options of a node in use. @throws UsageError for what cannot be changed */
  reopen(options: NodeOptions): void {
    const { nodeName } = options;
    if (nodeName === undefined) throw new UsageError('node-name not specified');
    const node = this.#named(nodeName);
    const refuse = (option: string): UsageError => new UsageError(`Cannot change the option '${option}'`);
    if (options.driver !== node.driver) throw refuse('driver');
    if (options.filename !== undefined && options.filename !== node.filename) throw refuse('filename');
    if (typeof options.file === 'string' && options.file !== node.file?.name) throw refuse('file');
    if ((options.direct ?? false) !== node.direct) throw refuse('cache.direct');
    if (options.size !== undefined && options.size !== node.backend.size) throw refuse('size');
    const readOnly = options.readOnly ?? false;
    if (readOnly && writersAbove(node))
      throw new UsageError(`Read-only block node '${node.name}' cannot support read-write users`);
    if (!readOnly && writableBelow(node) === false)
      throw new UsageError(`Block node is read-only: the file of '${node.name}' was opened so`);
    node.noFlush = options.noFlush ?? false;
    node.detectZeroes = options.detectZeroes ?? 'off';
    if (node.backend instanceof RawBackend)
      node.backend.reconfigure({
        readOnly,
        cache: { writeback: true, direct: node.direct, noFlush: node.noFlush },
        discard: options.discard ?? false,
        detectZeroes: node.detectZeroes,
      });
  }

  #checkShared(
    at: BlockNode,
    other: NodeUser,
    direct: ReadonlySet<NodeUser>,
    user: NodeUser,
    mine: BlockNode | undefined,
    parent?: BlockNode,
  ): void {
    const describe = (who: NodeUser, by: BlockNode | undefined): string =>
      by === undefined
        ? `${who.label} (uses node '${at.name}' as 'root' child)`
        : `node '${by.name}' (uses node '${at.name}' as 'file' child)`;
    const theirs = direct.has(other) ? undefined : parent;
    const conflict = (writer: string, refuser: string): UsageError =>
      new UsageError(
        `Permission conflict on node '${at.name}': permissions 'write' are both required by ${writer} and unshared by ${refuser}.`,
      );
    if (other.writes && !user.shares) throw conflict(describe(other, theirs), describe(user, mine));
    if (user.writes && !other.shares) throw conflict(describe(user, mine), describe(other, theirs));
  }

  #resized(node: BlockNode): void {
    const size = node.hostFile?.size() ?? node.file?.hostFile?.size();
    if (size !== undefined) {
      for (const other of [...node.parents, ...(node.file === undefined ? [] : [node.file])])
        if (other.backend instanceof RawBackend) other.backend.refreshSize();
    }
    for (const user of rootUsers(node)) user.resized?.();
  }

  async #make(
    options: NodeOptions,
    owned: boolean,
    inherited: Partial<NodeOptions>,
    depth: number,
  ): Promise<BlockNode> {
    if (depth > MAX_DEPTH) throw new UsageError('block nodes are nested too deeply');
    const { driver } = options;
    const name = this.#checkName(options.nodeName ?? this.#generate());
    const readOnly = options.readOnly ?? inherited.readOnly ?? false;
    const direct = options.direct ?? inherited.direct ?? false;
    const noFlush = options.noFlush ?? inherited.noFlush ?? false;
    const discard = options.discard ?? inherited.discard ?? false;
    const detectZeroes = options.detectZeroes ?? 'off';
    const cache = { writeback: true, direct, noFlush };
    const entry = { name, driver, direct, noFlush, detectZeroes, owned };
    const sets = { users: new Set<NodeUser>(), parents: new Set<BlockNode>() };
    if (driver === 'raw') {
      const { file } = options;
      if (file === undefined) throw new UsageError("Parameter 'file' is missing");
      const below =
        typeof file === 'string'
          ? this.#reference(file)
          : await this.#make(file, false, { readOnly, direct, noFlush, discard }, depth + 1);
      if (below.hostFile === undefined)
        return this.#above(below, { ...entry, ...sets, backend: below.backend });
      const raw = new RawBackend(below.hostFile, {
        readOnly: readOnly || !below.hostFile.writable,
        cache,
        discard,
        detectZeroes,
      });
      return this.#above(below, { ...entry, ...sets, backend: raw });
    }
    if (driver === 'null-co' || driver === 'null-aio') {
      const { size, readZeroes } = options;
      const backend = new NullBackend(size, { readOnly, readZeroes: readZeroes ?? false });
      const filename = size === undefined ? `${driver}://` : `json:{"driver": "${driver}", "size": ${size}}`;
      return this.#enter({ ...entry, ...sets, filename, backend, file: undefined, hostFile: undefined });
    }
    if (driver !== 'file' && driver !== 'host_device')
      throw new UsageError(`Parameter 'driver' does not accept value '${driver}'`);
    const { filename } = options;
    if (filename === undefined) throw new UsageError("Parameter 'filename' is missing");
    const hostFile = await openFile(
      filename,
      { write: !readOnly, cache, locking: options.locking, 'auto-read-only': options.autoReadOnly },
      this.#host,
    );
    if ((hostFile.kind === 'device') !== (driver === 'host_device')) {
      await hostFile.close();
      throw new UsageError(
        driver === 'file'
          ? `'file' driver requires '${filename}' to be a regular file`
          : `'host_device' driver requires '${filename}' to be a block device`,
      );
    }
    const backend = new RawBackend(hostFile, {
      readOnly: !hostFile.writable,
      cache,
      discard,
      detectZeroes,
    });
    return this.#enter({ ...entry, ...sets, filename, backend, file: undefined, hostFile });
  }

  #above(below: BlockNode, rest: Omit<BlockNode, 'filename' | 'file' | 'hostFile'>): BlockNode {
    const node = this.#enter({ ...rest, filename: below.filename, file: below, hostFile: undefined });
    below.parents.add(node);
    return node;
  }

  #enter(node: BlockNode): BlockNode {
    this.nodes.set(node.name, node);
    return node;
  }

  #reference(name: string): BlockNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new UsageError(`Cannot find device='${name}' nor node-name='${name}'`);
    return node;
  }

  #named(name: string): BlockNode {
    const node = this.nodes.get(name);
    if (node === undefined) throw new UsageError(`Failed to find node with node-name='${name}'`);
    return node;
  }

  #checkName(name: string): string {
    if (this.nodes.has(name)) throw new UsageError(`Duplicate nodes with node-name='${name}'`);
    if (name.startsWith('#block')) return name;
    if (!NAME.test(name)) throw new UsageError(`Invalid node-name: '${name}'`);
    if (this.#taken(name)) throw new UsageError(`node-name=${name} is conflicting with a device id`);
    return name;
  }

  #generate(): string {
    return `#block${String(this.#generated++).padStart(3, '0')}`;
  }
}

/** Everybody who has the node, or one above it, at the root of a disk. */
function* rootUsers(node: BlockNode): Generator<NodeUser> {
  yield* node.users;
  for (const parent of node.parents) yield* rootUsers(parent);
}

const writersAbove = (node: BlockNode): boolean => [...rootUsers(node)].some(({ writes }) => writes);

/** False when the host's file under it cannot be written. */
function writableBelow(node: BlockNode): boolean {
  for (let at: BlockNode | undefined = node; at !== undefined; at = at.file)
    if (at.hostFile !== undefined && !at.hostFile.writable) return false;
  return true;
}
