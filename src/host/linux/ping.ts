/**
 * Ping without privileges: datagram sockets of ICMP (icmp(7), "ping sockets"), where the system lets this user's
 * group have them (net.ipv4.ping_group_range). The kernel fills in checksum and identifier.
 */
import type { HostPing } from '../../net/user/host.ts';
import { libc } from './libc.ts';

/** How often answers are looked for, in milliseconds, and for how long after the last request. */
const INTERVAL = 2;
const PATIENCE = 10_000;
/** The largest message: an IP packet's payload. */
const MAX_MESSAGE = 65515;

/** Undefined where there are no such sockets. `onReply` gets ICMP messages with the sender's address. */
export function openPing(onReply: (message: Uint8Array, address: number) => void): HostPing | undefined {
  const c = libc();
  const fd = c?.pingSocket() ?? -1;
  if (c === undefined || fd < 0) return undefined;
  let timer: NodeJS.Timeout | undefined;
  let until = 0;
  const buffer = Buffer.alloc(MAX_MESSAGE);
  const poll = (): void => {
    timer = undefined;
    for (;;) {
      const got = c.receiveFrom(fd, buffer);
      if (got === undefined) break;
      onReply(Uint8Array.from(buffer.subarray(0, got.length)), got.address);
    }
    if (performance.now() < until) start();
  };
  const start = (): void => {
    timer ??= setTimeout(poll, INTERVAL).unref();
  };
  return {
    send(message, address) {
      until = performance.now() + PATIENCE;
      c.sendTo(fd, Buffer.from(message), address);
      start();
    },
    close() {
      clearTimeout(timer);
      until = 0;
      c.close(fd);
    },
  };
}
