/**
 * One QMP client: greeting, negotiation of capabilities, commands in order, events. It speaks to a chardev and knows
 * neither what commands do nor where events come from. QEMU's docs/interop/qmp-spec.
 */
import type { Chardev, CharEvent } from '../../chardev/chardev.ts';
import { JsonStream } from '../json/parser.ts';
import type { JsonObject, JsonValue } from '../json/value.ts';
import { formatJson, isObject } from '../json/value.ts';
import { Output } from '../output.ts';
import type { MonitorTarget } from '../target.ts';
import type { Command } from './command.ts';
import type { QmpErrorClass } from './error.ts';
import { asQmpError, QmpError } from './error.ts';
import { checkMembers } from './types.ts';

/** Commands that wait: as many as QEMU takes before it stops reading. */
const QUEUE_MAX = 8;
/** Bytes of answers that a client may leave unread before no more commands are read from it. */
const OUTPUT_HIGH = 65536;
/** Bytes that are read at once. */
const CHUNK = 4096;

/** What the greeting tells: the version of QEMU that we speak like, and our own name. */
export interface QmpVersion {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  readonly package: string;
}

export interface QmpOptions {
  readonly target: MonitorTarget;
  readonly commands: ReadonlyMap<string, Command>;
  readonly version: QmpVersion;
  readonly pretty?: boolean;
  /** Out-of-band execution is offered: not behind a mux, as in QEMU. */
  readonly oob?: boolean;
  /** A bug of ours: the client hears of it, and so does the user. */
  readonly onBug: (error: unknown) => void;
}

export const versionJson = ({ major, minor, micro, package: name }: QmpVersion): JsonObject => ({
  qemu: { micro, minor, major },
  package: name,
});

type Request = { readonly value: JsonValue } | { readonly failure: string };

export class QmpSession {
  readonly #options: QmpOptions;
  readonly #chardev: Chardev;
  readonly #output: Output;
  readonly #parser: JsonStream;
  #queue: Request[] = [];
  #busy = false;
  /** Counts connections: the answer to a client that is gone reaches nobody. */
  #life = 0;
  #negotiated = false;
  #oob = false;
  #detach: () => void;

  constructor(chardev: Chardev, options: QmpOptions) {
    this.#options = options;
    this.#chardev = chardev;
    this.#output = new Output(chardev, () => this.#chardev.acceptInput());
    this.#parser = new JsonStream({
      value: (value) => this.#request({ value }),
      error: (failure) => this.#request({ failure }),
    });
    this.#detach = () => {};
    this.#detach = chardev.attach({
      canReceive: () => (this.#roomForCommands() ? CHUNK : 0),
      receive: (data) => this.#parser.feed(data),
      event: (event) => this.#event(event),
      writable: () => this.#output.drain(),
    });
  }

  /** The machine is complete: commands are taken from now on. */
  start(): void {
    this.#chardev.acceptInput();
  }

  #roomForCommands(): boolean {
    const { target } = this.#options;
    return target.ready && this.#queue.length < QUEUE_MAX && this.#output.waiting < OUTPUT_HIGH;
  }

  close(): void {
    this.#detach();
    this.#life++;
  }

  /** Sends an event, once the client has negotiated. */
  emit(event: JsonObject): void {
    if (this.#negotiated && this.#chardev.open) this.#send(event, true);
  }

  #event(event: CharEvent): void {
    if (event !== 'opened' && event !== 'closed') return;
    this.#life++;
    this.#negotiated = false;
    this.#oob = false;
    this.#queue = [];
    this.#parser.reset();
    this.#output.clear();
    if (event === 'closed') return;
    const { version, oob } = this.#options;
    this.#send({ QMP: { version: versionJson(version), capabilities: oob === true ? ['oob'] : [] } });
  }

  #request(request: Request): void {
    this.#queue.push(request);
    if (!this.#busy) void this.#serve();
  }

  async #serve(): Promise<void> {
    this.#busy = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const life = this.#life;
        const answer = this.#answer(next);
        const response = answer instanceof Promise ? await answer : answer;
        if (life === this.#life) this.#send(response);
      }
    } finally {
      this.#busy = false;
    }
    this.#chardev.acceptInput();
  }

  #send(value: JsonObject, optional = false): void {
    this.#output.write(`${formatJson(value, this.#options.pretty).replaceAll('\n', '\r\n')}\r\n`, optional);
  }

  /** Commands that are done at once are answered at once: nothing comes between two of one packet. */
  #answer(request: Request): JsonObject | Promise<JsonObject> {
    if ('failure' in request) return failed('GenericError', request.failure);
    const { value } = request;
    if (!isObject(value)) return failed('GenericError', 'QMP input must be a JSON object');
    const id = value.id === undefined ? {} : { id: value.id };
    const fail = (error: unknown): JsonObject => {
      const known = asQmpError(error);
      if (known === undefined) this.#options.onBug(error);
      return {
        ...id,
        ...failed(known?.errorClass ?? 'GenericError', known?.message ?? `internal error: ${String(error)}`),
      };
    };
    try {
      const result = this.#execute(value);
      if (result instanceof Promise) return result.then((done) => ({ return: done, ...id }), fail);
      return { return: result, ...id };
    } catch (error) {
      return fail(error);
    }
  }

  #execute(request: JsonObject): JsonValue | Promise<JsonValue> {
    const { name, given, oob } = readRequest(request, this.#oob);
    const found = this.#options.commands.get(name);
    if (!this.#negotiated && name !== 'qmp_capabilities')
      throw new QmpError(
        found === undefined
          ? `The command ${name} has not been found`
          : "Expecting capabilities negotiation with 'qmp_capabilities'",
        'CommandNotFound',
      );
    if (found === undefined) throw new QmpError(`The command ${name} has not been found`, 'CommandNotFound');
    if (oob && found.oob !== true) throw new QmpError(`The command ${name} does not support OOB`);
    const checked = checkMembers(found.arguments, given);
    if (name === 'qmp_capabilities' && this.#negotiated)
      throw new QmpError('Capabilities negotiation is already complete, command ignored', 'CommandNotFound');
    if (name === 'qmp_capabilities') return this.#negotiate(checked);
    return found.run(checked, this.#options.target);
  }

  #negotiate(given: JsonObject): JsonValue {
    const enable = (given.enable ?? []) as readonly string[];
    if (enable.includes('oob') && this.#options.oob !== true)
      throw new QmpError('Capability oob is not available');
    this.#oob = enable.includes('oob');
    this.#negotiated = true;
    return {};
  }
}

const failed = (errorClass: QmpErrorClass, desc: string): JsonObject => ({
  error: { class: errorClass, desc },
});

/** The shape of a request, checked member by member as QEMU does. */
function readRequest(
  request: JsonObject,
  oobEnabled: boolean,
): { name: string; given: JsonObject; oob: boolean } {
  let name: string | undefined;
  let given: JsonObject = {};
  let oob = false;
  for (const [key, value] of Object.entries(request)) {
    if (key === 'execute' || (key === 'exec-oob' && oobEnabled)) {
      if (typeof value !== 'string') throw new QmpError(`QMP input member '${key}' must be a string`);
      if (name !== undefined) throw new QmpError("QMP input member 'execute' clashes with 'exec-oob'");
      name = value;
      oob = key === 'exec-oob';
    } else if (key === 'arguments') {
      if (!isObject(value)) throw new QmpError("QMP input member 'arguments' must be an object");
      given = value;
    } else if (key !== 'id') throw new QmpError(`QMP input member '${key}' is unexpected`);
  }
  if (name === undefined) throw new QmpError("QMP input lacks member 'execute'");
  return { name, given, oob };
}
