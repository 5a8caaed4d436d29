/**
 * The name server of the user-mode network: questions go as they are to the host's name servers, one after the
 * other. When none of them answers (or there is none), addresses come from the host's own resolver.
 */
import { put32 } from '../wire/bytes.ts';
import { DNS_FLAG, DNS_RCODE, DNS_TYPE, type DnsAnswer, parseDns, serializeDns } from '../wire/dns.ts';
import { parseIpv4Address } from '../wire/bytes.ts';
import type { HostUdp, NetHost } from './host.ts';

/** Milliseconds for one server. Resolvers in guests give up after 5 s. */
const TIMEOUT = 1500;
/** Questions under way; more are dropped, and the guest asks again. */
const MAX_PENDING = 128;
/** Seconds that an answer of the host's resolver, which tells no lifetime, may be kept. */
const LOOKUP_TTL = 60;

export class DnsForwarder {
  readonly #host: NetHost;
  readonly #open = new Set<() => void>();

  constructor(host: NetHost) {
    this.#host = host;
  }

  /** Answers a question later, by `reply`, or never. */
  ask(question: Uint8Array, reply: (answer: Uint8Array) => void): void {
    const message = parseDns(question);
    if (message === undefined || (message.flags & DNS_FLAG.RESPONSE) !== 0) return;
    if (this.#open.size >= MAX_PENDING) return;
    void this.#answer(question.slice()).then((answer) => {
      if (answer !== undefined) reply(answer);
    });
  }

  close(): void {
    for (const stop of this.#open) stop();
  }

  async #answer(question: Uint8Array): Promise<Uint8Array | undefined> {
    for (const server of this.#host.resolvers()) {
      const answer = await this.#forward(question, server).catch(() => undefined);
      if (answer !== undefined) return answer;
    }
    return this.#lookUp(question);
  }

  async #forward(question: Uint8Array, server: string): Promise<Uint8Array | undefined> {
    const [address, port] = server.split(':');
    let finish: (answer: Uint8Array | undefined) => void = () => {};
    const done = new Promise<Uint8Array | undefined>((resolve) => (finish = resolve));
    const stop = (): void => finish(undefined);
    this.#open.add(stop);
    let socket: HostUdp | undefined;
    const cancel = this.#host.delay(TIMEOUT, stop);
    try {
      socket = await this.#host.openUdp('0.0.0.0', 0, (data, from) => {
        // Anyone may send to the port: only the server's answer to this very question counts.
        if (from === address && data.length >= 12 && data[0] === question[0] && data[1] === question[1]) {
          finish(data);
        }
      });
      socket.send(question, address!, Number(port ?? 53));
      return await done;
    } finally {
      cancel();
      this.#open.delete(stop);
      socket?.close();
    }
  }

  /** The host's hosts file and name services, for the two questions that they answer. */
  async #lookUp(bytes: Uint8Array): Promise<Uint8Array> {
    const message = parseDns(bytes)!;
    const question = message.questions[0];
    const reply = (rcode: number, answers: readonly DnsAnswer[]): Uint8Array =>
      serializeDns({
        id: message.id,
        flags:
          DNS_FLAG.RESPONSE |
          DNS_FLAG.RECURSION_AVAILABLE |
          (message.flags & DNS_FLAG.RECURSION_DESIRED) |
          rcode,
        questions: message.questions,
        answers,
      });
    const family = question?.type === DNS_TYPE.A ? 4 : question?.type === DNS_TYPE.AAAA ? 6 : undefined;
    if (question === undefined || family === undefined) return reply(DNS_RCODE.SERVER_FAILURE, []);
    const addresses = await this.#host.lookup(question.name, family).catch(() => undefined);
    if (addresses === undefined) return reply(DNS_RCODE.SERVER_FAILURE, []);
    const answers = addresses.flatMap((address) => {
      const data = family === 4 ? ipv4Data(address) : ipv6Data(address);
      return data === undefined ? [] : [{ name: question.name, type: question.type, ttl: LOOKUP_TTL, data }];
    });
    if (answers.length > 0) return reply(DNS_RCODE.OK, answers.slice(0, 8));
    // A name may have addresses of the other family only: then it exists, without an answer.
    const other = await this.#host.lookup(question.name, family === 4 ? 6 : 4).catch(() => []);
    return reply(other.length > 0 ? DNS_RCODE.OK : DNS_RCODE.NAME_ERROR, []);
  }
}

function ipv4Data(address: string): Uint8Array | undefined {
  const value = parseIpv4Address(address);
  if (value === undefined) return undefined;
  const bytes = new Uint8Array(4);
  put32(bytes, 0, value);
  return bytes;
}

/** RFC 4291 §2.2, without zone: groups of hexadecimal digits, one run of zeroes left out. */
function ipv6Data(address: string): Uint8Array | undefined {
  const [head, tail, ...rest] = address.split('::');
  if (rest.length > 0 || !/^[0-9a-f:]*$/i.test(address)) return undefined;
  const groups = (text: string | undefined): number[] =>
    text === undefined || text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const before = groups(head);
  const after = groups(tail);
  const missing = 8 - before.length - after.length;
  if (missing < 0 || (tail === undefined && missing !== 0)) return undefined;
  const all = [...before, ...Array.from({ length: missing }, () => 0), ...after];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}
