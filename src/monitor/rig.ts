/**
 * A machine with monitors for tests: what monitors write is collected, what is typed is delivered, on chardevs of type
 * `stream`. The processor is a fake. Not part of the library.
 */
import { configure } from '../machine/configure.ts';
import type { CreatedMachine } from '../machine/create.ts';
import { createMachineFrom } from '../machine/create.ts';
import { FakeHost } from '../machine/fake-host.ts';
import { parseCommandLine } from '../qapi/parse-command-line.ts';
import type { JsonObject, JsonValue } from './json/value.ts';
import { Monitors } from './monitors.ts';

const BASE = '-nodefaults -m 8 -chardev stream,id=qmp -mon qmp,mode=control -chardev stream,id=hmp -mon hmp';

export interface SavedFile {
  readonly path: string;
  readonly data: Uint8Array;
}

export class MonitorRig {
  readonly host: FakeHost;
  readonly made: CreatedMachine;
  readonly saved: SavedFile[] = [];
  /** Everything that QMP said, a message each. */
  readonly said: JsonObject[] = [];
  #raw = '';
  #human = '';
  #writers = new Map<string, WritableStreamDefaultWriter<Uint8Array>>();

  private constructor(host: FakeHost, made: CreatedMachine) {
    this.host = host;
    this.made = made;
  }

  static async create(line = '', host = new FakeHost()): Promise<MonitorRig> {
    const { given } = parseCommandLine(`${BASE} ${line}`.trim().split(/ +/));
    let monitors!: Monitors;
    const saved: SavedFile[] = [];
    const os = {
      writeFile: (path: string, data: Uint8Array) => {
        saved.push({ path, data });
        return Promise.resolve();
      },
      createFile: (path: string) => {
        let data = new Uint8Array();
        return Promise.resolve({
          write: (more: Uint8Array) => {
            const all = new Uint8Array(data.length + more.length);
            all.set(data);
            all.set(more, data.length);
            data = all;
            return Promise.resolve();
          },
          close: () => {
            saved.push({ path, data });
            return Promise.resolve();
          },
        });
      },
      threadId: 4711,
    };
    const made = await createMachineFrom(configure(given, [], { streams: true }), host, {
      attachMonitors: (machine, backends) => {
        monitors = new Monitors(machine, backends, host, os);
      },
    });
    const rig = new MonitorRig(host, made);
    (rig.saved as unknown) = saved;
    rig.#listen('qmp', (text) => rig.#collect(text));
    rig.#listen('hmp', (text) => {
      rig.#human += text;
    });
    monitors.ready(made.board);
    await rig.settle();
    return rig;
  }

  /** A rig whose QMP has negotiated, and said nothing yet. */
  static async ready(line = '', host?: FakeHost): Promise<MonitorRig> {
    const rig = await MonitorRig.create(line, host);
    await rig.type('{"execute":"qmp_capabilities"}');
    rig.said.length = 0;
    rig.#human = '';
    return rig;
  }

  #listen(id: string, take: (text: string) => void): void {
    const stream = this.made.board.backends.stream(id);
    this.#writers.set(id, stream.writable.getWriter());
    const decoder = new TextDecoder();
    const reader = stream.readable.getReader();
    const next = (): void => {
      reader.read().then(
        ({ value, done }) => {
          if (done) return;
          take(decoder.decode(value, { stream: true }));
          next();
        },
        () => {},
      );
    };
    next();
  }

  #collect(text: string): void {
    this.#raw += text;
    const lines = this.#raw.split('\r\n');
    this.#raw = lines.pop()!;
    for (const line of lines) this.said.push(JSON.parse(line) as JsonObject);
  }

  /** Sends bytes to QMP as they are. */
  async type(text: string | Uint8Array): Promise<void> {
    const data = typeof text === 'string' ? new TextEncoder().encode(text) : text;
    await this.#writers.get('qmp')!.write(data);
    await this.settle();
  }

  /** Types a line at HMP and gives what came of it, without its echo and the prompt. */
  async human(line: string): Promise<string> {
    this.#human = '';
    await this.#writers.get('hmp')!.write(new TextEncoder().encode(`${line}\r`));
    await this.settle();
    const text = this.#human.replace(/^[^\r]*\r\n/, '');
    return text.replace(/\(qemu\) $/, '').replaceAll('\r\n', '\n');
  }

  /** Keys for HMP; all that it answers. */
  async keys(text: string): Promise<string> {
    this.#human = '';
    await this.#writers.get('hmp')!.write(new TextEncoder().encode(text));
    await this.settle();
    return this.#human;
  }

  /** One command; its result, or its error's class and text. Events of meanwhile are in `events`. */
  async run(name: string, given?: { readonly [key: string]: JsonValue }): Promise<JsonValue> {
    const from = this.said.length;
    await this.type(
      JSON.stringify({ execute: name, ...(given === undefined ? {} : { arguments: given }), id: 'it' }),
    );
    const answer = this.said.slice(from).find((message) => message.id === 'it');
    if (answer === undefined) throw new Error(`${name} was not answered`);
    return answer.return ?? answer.error ?? null;
  }

  /** Names of the events so far. */
  get events(): JsonValue[] {
    return this.said.flatMap(({ event }) => (event === undefined ? [] : [event]));
  }

  /** The data of the events called `name`. */
  eventData(name: string): (JsonValue | undefined)[] {
    return this.said.filter(({ event }) => event === name).map(({ data }) => data);
  }

  /** Lets promises and the run loop have their turns. */
  async settle(): Promise<void> {
    for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.made.machine.quit();
  }
}
