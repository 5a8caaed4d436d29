/** QEMU and us behind QMP, each in a folder of its own: what comparisons of monitors are made of. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Schema } from './schema.ts';
import { haveQemu } from '../pc/qemu-monitor.ts';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

/** QEMU is installed, and we are built. */
export const comparable = (): boolean => haveQemu() && existsSync(MAIN);

export interface Message {
  readonly [key: string]: unknown;
}

export class Client {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: Message[] = [];
  #wake: () => void = () => {};
  #ended = false;
  readonly events: string[] = [];

  constructor(program: string, args: readonly string[], cwd: string) {
    this.#child = spawn(program, args, { cwd });
    createInterface({ input: this.#child.stdout })
      .on('line', (line) => {
        // QEMU says on the same stream which image it is making.
        if (line.startsWith('Formatting ')) return;
        const message = JSON.parse(line) as Message;
        if ('event' in message) this.events.push(String(message.event));
        else this.#lines.push(message);
        this.#wake();
      })
      .on('close', () => {
        this.#ended = true;
        this.#wake();
      });
    // Who has ended hears no more.
    this.#child.stdin.on('error', () => {});
  }

  async next(): Promise<Message> {
    while (this.#lines.length === 0) {
      if (this.#ended) return { ended: true };
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#lines.shift()!;
  }

  ask(text: string): Promise<Message> {
    this.#child.stdin.write(`${text}\n`);
    return this.next();
  }

  close(): void {
    this.#child.kill('SIGKILL');
  }
}

export const run = (execute: string, given?: Message): string =>
  JSON.stringify(given === undefined ? { execute } : { execute, arguments: given });
export const human = (line: string): string => run('human-monitor-command', { 'command-line': line });

/** QEMU and us, having negotiated, in folders with the same files in them. */
export class Pair {
  readonly theirs: Client;
  readonly ours: Client;
  readonly greetings: readonly Message[];
  /** Where each runs. */
  readonly folders: readonly string[];
  readonly #folder: string;

  private constructor(
    folder: string,
    folders: readonly string[],
    theirs: Client,
    ours: Client,
    greetings: readonly Message[],
  ) {
    this.#folder = folder;
    this.folders = folders;
    this.theirs = theirs;
    this.ours = ours;
    this.greetings = greetings;
  }

  /** @param files sparse files by name, with their sizes in bytes */
  static async start(options: readonly string[], files: Readonly<Record<string, number>>): Promise<Pair> {
    const folder = mkdtempSync(join(tmpdir(), 'paravane-qmp-'));
    // Each its own disks: both would lock them.
    const folders = ['qemu', 'own'].map((name) => mkdtempSync(join(folder, name)));
    const [theirs, ours] = folders.map((own, index) => {
      for (const [file, size] of Object.entries(files)) {
        writeFileSync(join(own, file), '');
        truncateSync(join(own, file), size);
      }
      return index === 0
        ? new Client('qemu-system-x86_64', options, own)
        : new Client(process.execPath, [MAIN, ...options], own);
    }) as [Client, Client];
    const greetings = [await theirs.next(), await ours.next()];
    await theirs.ask(run('qmp_capabilities'));
    await ours.ask(run('qmp_capabilities'));
    return new Pair(folder, folders, theirs, ours, greetings);
  }

  /** Of our answers, those that are not of the type that our own introspection declares. */
  readonly invalid: string[] = [];
  #schemas: { readonly theirs: Schema; readonly ours: Schema } | undefined;

  /** What each says of itself. */
  async schemas(): Promise<{ readonly theirs: Schema; readonly ours: Schema }> {
    const read = async (client: Client): Promise<Schema> =>
      new Schema((await client.ask(run('query-qmp-schema'))).return as readonly Message[]);
    this.#schemas ??= { theirs: await read(this.theirs), ours: await read(this.ours) };
    return this.#schemas;
  }

  /** Asks both the same. */
  async #both(text: string): Promise<readonly [Message, Message]> {
    const { ours } = await this.schemas();
    const answers = await Promise.all([this.theirs.ask(text), this.ours.ask(text)]);
    const [, got] = answers;
    if (got.return !== undefined) {
      const { execute } = JSON.parse(text) as { execute: string };
      this.invalid.push(...ours.check(execute, got.return));
    }
    return answers;
  }

  /** Asks both, in order, and gives what differs beyond what `settle` takes out. */
  async differences(texts: readonly string[]): Promise<unknown[]> {
    const found: unknown[] = [];
    for (const text of texts) {
      const [wanted, got] = await this.#both(text);
      if (settled(got) !== settled(wanted)) found.push({ text, wanted, got });
    }
    return found;
  }

  /** The same for answers whose shape alone has to agree. */
  async shapes(texts: readonly string[], absent: Readonly<Record<string, string>>): Promise<unknown[]> {
    const found: unknown[] = [];
    for (const text of texts) {
      const [wanted, got] = await this.#both(text);
      const [theirs, ours] = [shape(wanted, absent), shape(got, absent)];
      const missing = [...theirs].filter((path) => !ours.has(path));
      const extra = [...ours].filter((path) => !theirs.has(path));
      if (missing.length + extra.length > 0) found.push({ text, missing, extra });
    }
    return found;
  }

  close(): void {
    this.theirs.close();
    this.ours.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Paths and kinds of all that is in a value: `[].inserted.image.format string`. */
export function shape(
  value: unknown,
  absent: Readonly<Record<string, string>>,
  at = '',
  into = new Set<string>(),
): Set<string> {
  if (Array.isArray(value)) for (const item of value) shape(item, absent, `${at}[]`, into);
  else if (typeof value === 'object' && value !== null)
    for (const [key, item] of Object.entries(value)) {
      if (key in absent) continue;
      shape(item, absent, `${at}.${key}`, into);
    }
  else into.add(`${at} ${typeof value}`);
  return into;
}

/** Without the names that QEMU makes up at random. */
const settle = (message: Message): unknown =>
  JSON.parse(
    JSON.stringify(message)
      .replace(/#block\d+/g, '#block')
      .replace(/#net\d+/g, '#net'),
  );

/** One text for all messages that say the same. */
export const settled = (message: Message): string => JSON.stringify(sorted(settle(message)));

/** With the keys in order: QEMU's are in that of its hash table. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sorted(item)]),
  );
}
