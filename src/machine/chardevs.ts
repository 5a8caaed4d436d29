/**
 * The chardevs of one machine by id: opened from their configuration at the start or by a monitor, claimed by front
 * ends, exchanged and taken away while the machine runs. Texts of errors are QEMU's.
 */
import type { Chardev } from '../chardev/chardev.ts';
import { createChardev, ptyNote } from '../chardev/create.ts';
import type { HostTls } from '../chardev/host.ts';
import type { MuxActions } from '../chardev/mux.ts';
import { MuxChardev } from '../chardev/mux.ts';
import { ChardevSlot } from '../chardev/slot.ts';
import { HostError, UsageError } from '../core/errors.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import { defined } from '../qapi/suggest.ts';
import type { ChardevConfig, ObjectConfig } from './config.ts';
import type { MachineHost } from './host.ts';

export interface ChardevEntry {
  readonly thing: Chardev;
  /** Who has it, for messages. */
  readonly user: string | undefined;
}

interface Entry extends ChardevEntry {
  thing: Chardev;
  user: string | undefined;
  /** What the front end holds in the chardev's place. */
  slot: ChardevSlot | undefined;
}

/** Front ends that cannot have their chardev exchanged: what they told its peer would be told to nobody. */
const FIXED_USERS = ['monitor', 'isa-debugcon', 'chardev'];

const isFixed = (user: string): boolean => FIXED_USERS.some((one) => user.split(' ')[0] === one);

export class Chardevs {
  readonly #host: MachineHost;
  readonly #keys: MuxActions;
  readonly #entries = new Map<string, Entry>();
  readonly #tls = new Map<string, HostTls>();
  /** Objects that are no TLS credentials, for the message. */
  readonly #objects: { has(id: string): boolean };

  /** @param keys what the escape keys of a mux do */
  constructor(host: MachineHost, keys: MuxActions, objects: { has(id: string): boolean }) {
    this.#host = host;
    this.#keys = keys;
    this.#objects = objects;
  }

  get(id: string): ChardevEntry | undefined {
    return this.#entries.get(id);
  }

  has(id: string): boolean {
    return this.#entries.has(id);
  }

  isMux(id: string): boolean {
    return this.#entries.get(id)?.thing instanceof MuxChardev;
  }

  keys(): Iterable<string> {
    return this.#entries.keys();
  }

  [Symbol.iterator](): Iterator<readonly [string, ChardevEntry]> {
    return this.#entries[Symbol.iterator]();
  }

  /** Opens one of the command line. @throws UsageError, HostError with the option in front */
  async open(config: ChardevConfig): Promise<void> {
    try {
      const note = ptyNote(await this.add(config));
      if (note !== undefined) this.#host.char.inform(note);
    } catch (error) {
      throw blamed(config.origin, error);
    }
  }

  /** Makes a chardev. @throws UsageError, HostError */
  async add({ id, type, values }: Pick<ChardevConfig, 'id' | 'type' | 'values'>): Promise<Chardev> {
    if (this.#entries.has(id)) throw new UsageError(`Chardev with id '${id}' already exists`);
    const thing = await this.#make(id, type, values);
    // Someone else may have come first while this one waited for its client.
    if (this.#entries.has(id)) {
      await thing.close();
      throw new UsageError(`Chardev with id '${id}' already exists`);
    }
    this.#entries.set(id, { thing, user: undefined, slot: undefined });
    return thing;
  }

  /** Takes away a chardev that nobody uses. @throws UsageError in QEMU's words */
  async remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    // What a mux shares is listed under a name of its own.
    if (entry === undefined && this.isMux(id.replace(/-base$/, '')))
      throw new UsageError(`Chardev '${id}' is busy`);
    if (entry === undefined) throw new UsageError(`Chardev '${id}' not found`);
    if (isBusy(entry)) throw new UsageError(`Chardev '${id}' is busy`);
    this.#entries.delete(id);
    await entry.thing.close();
  }

  /**
   * Puts another chardev in the place of `id`. A front end keeps its connection: it hears that the old peer went and,
   * if there is one, that the new one came.
   * @throws UsageError, HostError; a front end then keeps what it had
   */
  async change(config: Pick<ChardevConfig, 'id' | 'type' | 'values'>): Promise<Chardev> {
    const { id, type, values } = config;
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new UsageError(`Chardev '${id}' does not exist`);
    if (entry.thing instanceof MuxChardev) throw new UsageError('Mux device hotswap not supported yet');
    if (entry.user === undefined) {
      // Nobody notices: the old one goes first, for the new one may want the same socket or terminal.
      this.#entries.delete(id);
      await entry.thing.close();
      return this.add(config);
    }
    const { slot } = entry;
    if (slot === undefined || isFixed(entry.user) || values['mux'] === true || type === 'mux')
      throw new UsageError('Chardev user does not support chardev hotswap');
    const thing = await this.#make(id, type, values);
    const old = entry.thing;
    entry.thing = thing;
    slot.exchange(thing);
    await old.close();
    return thing;
  }

  /**
   * The chardev for one front end, and what gives it back.
   * @param user the device, for the message when it is taken
   */
  claim(id: string, user: string): { readonly chardev: Chardev; readonly release: () => void } {
    const entry = this.#entries.get(id);
    if (entry === undefined)
      throw new UsageError(
        `Property '${user}.chardev' can't find value '${id}'${defined(this.#entries.keys())}`,
      );
    const { thing } = entry;
    if (thing instanceof MuxChardev && thing.free > 0) {
      const port = thing.port();
      return { chardev: port, release: () => thing.release(port) };
    }
    if (thing instanceof MuxChardev || entry.user !== undefined)
      throw new UsageError(`Property '${user}.chardev' can't take value '${id}': Device '${id}' is in use`);
    entry.user = user;
    entry.slot = new ChardevSlot(thing);
    return { chardev: entry.slot, release: () => this.release(id) };
  }

  /** Gives a chardev back that is no mux. */
  release(id: string): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined) entry.user = entry.slot = undefined;
  }

  /** Reads the credentials of -object tls-creds-x509 or tls-creds-psk. @throws UsageError, HostError */
  addTls({ id, type, values }: ObjectConfig): void {
    if (type !== 'tls-creds-x509' && type !== 'tls-creds-psk') return;
    if (values['passwordid'] !== undefined)
      throw new UsageError("'passwordid' is not offered here: there are no secret objects");
    if (values['dir'] === undefined) throw new HostError("Missing 'dir' property value");
    this.#tls.set(
      id,
      this.#host.char.openTls({
        type,
        dir: String(values['dir']),
        endpoint: values['endpoint'] === 'server' ? 'server' : 'client',
        verifyPeer: values['verify-peer'] !== false,
        username: String(values['username'] ?? 'qemu'),
        ...(values['priority'] === undefined ? {} : { priority: String(values['priority']) }),
      }),
    );
  }

  removeTls(id: string): void {
    this.#tls.delete(id);
  }

  /** Closes all, last opened first; the first failure is thrown at the end. */
  async close(): Promise<void> {
    const failures: unknown[] = [];
    for (const { thing } of [...this.#entries.values()].reverse())
      await thing.close().catch((error: unknown) => failures.push(error));
    this.#entries.clear();
    if (failures.length > 0) throw failures[0];
  }

  async #make(id: string, type: string, values: ChardevConfig['values']): Promise<Chardev> {
    const chardev = await createChardev(
      type,
      { ...values, id },
      {
        host: this.#host.char,
        tls: (name) => this.#credentials(name),
        claim: (base) => {
          if (!this.#entries.has(base)) throw new UsageError(`mux: base chardev ${base} not found`);
          return this.claim(base, `chardev ${id}`).chardev;
        },
      },
    );
    if (chardev instanceof MuxChardev) chardev.actions = this.#keys;
    return chardev;
  }

  #credentials(id: string): HostTls {
    const found = this.#tls.get(id);
    if (found !== undefined) return found;
    throw new UsageError(
      this.#objects.has(id)
        ? `Object with id '${id}' is not TLS credentials`
        : `No TLS credentials with id '${id}'`,
    );
  }
}

/** As QEMU has it, a mux always is. */
const isBusy = ({ thing, user }: Entry): boolean => user !== undefined || thing instanceof MuxChardev;
