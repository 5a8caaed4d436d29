/**
 * UDP as a byte stream for chardevs: each write is a datagram, and what datagrams bring is put one behind the other.
 * Datagrams may get lost, and do when nobody takes them: those that come while the guest has no room wait up to a
 * bound, as they would in the kernel's buffer.
 */
import dgram from 'node:dgram';
import dns from 'node:dns/promises';
import type { HostStream, InetAddress } from '../../chardev/host.ts';
import { HostError } from '../../core/errors.ts';
import { errorText, hostError } from './errors.ts';

/** Bytes of the largest datagram over IPv4: 65535 without the headers of IP and UDP. */
const MAX_DATAGRAM = 65507;
/** Bytes that wait to be sent before `write` takes nothing. */
const OUTPUT_LIMIT = 262_144;
/** Bytes that wait for the guest before datagrams are dropped. */
const INPUT_LIMIT = 262_144;

class UdpStream implements HostStream {
  onData: (data: Uint8Array) => void = () => {};
  onDrain: () => void = () => {};
  /** Never called: a UDP socket does not know whether anybody is there. */
  onClose: () => void = () => {};
  readonly #socket: dgram.Socket;
  #flowing = false;
  #kept: Uint8Array[] = [];
  #keptLength = 0;
  #queued = 0;
  #blocked = false;

  constructor(socket: dgram.Socket) {
    this.#socket = socket;
    socket.on('message', (data) => this.#arrived(data));
    // What ICMP says of earlier datagrams (nobody listens there): they are lost, as datagrams may be.
    socket.on('error', () => {});
  }

  #arrived(data: Uint8Array): void {
    if (this.#flowing) return this.onData(data);
    if (this.#keptLength + data.length > INPUT_LIMIT) return;
    this.#kept.push(data);
    this.#keptLength += data.length;
  }

  write(data: Uint8Array): number {
    if (this.#queued > OUTPUT_LIMIT) {
      this.#blocked = true;
      return 0;
    }
    const datagram = Buffer.from(data.subarray(0, MAX_DATAGRAM));
    this.#queued += datagram.length;
    this.#socket.send(datagram, () => {
      this.#queued -= datagram.length;
      if (!this.#blocked || this.#queued > OUTPUT_LIMIT / 2) return;
      this.#blocked = false;
      this.onDrain();
    });
    return datagram.length;
  }

  pause(): void {
    this.#flowing = false;
  }

  resume(): void {
    this.#flowing = true;
    while (this.#kept.length > 0 && this.#flowing) {
      const data = this.#kept.shift()!;
      this.#keptLength -= data.length;
      this.onData(data);
    }
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(resolve));
  }
}

/** 0 for both. */
const family = ({ ipv4, ipv6 }: InetAddress): 0 | 4 | 6 =>
  ipv4 === ipv6 ? 0 : ipv6 === true || ipv4 === false ? 6 : 4;

/** A socket bound to `local` that sends to `remote`. @throws HostError with the address and the reason */
export async function openUdp(remote: InetAddress, local: InetAddress): Promise<HostStream> {
  const to = await dns.lookup(remote.host, { family: family(remote) }).catch((error: unknown) => {
    throw hostError(`address resolution failed for ${remote.host}:${remote.port}`, error);
  });
  const socket = dgram.createSocket(to.family === 6 ? 'udp6' : 'udp4');
  const step = (begin: (done: () => void) => void, what: string): Promise<void> =>
    new Promise((resolve, reject) => {
      const failed = (error: Error): void =>
        reject(new HostError(`${what}: ${errorText(error)}`, { cause: error }));
      socket.once('error', failed);
      begin(() => {
        socket.off('error', failed);
        resolve();
      });
    });
  try {
    const address = local.host === '' ? {} : { address: local.host };
    await step((done) => socket.bind({ port: local.port, ...address }, done), 'Failed to bind socket');
    await step((done) => socket.connect(remote.port, to.address, done), 'Failed to connect socket');
  } catch (error) {
    socket.close();
    throw error;
  }
  return new UdpStream(socket);
}
