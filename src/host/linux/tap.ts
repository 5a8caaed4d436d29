/**
 * TAP interfaces (the kernel's Documentation/networking/tuntap.rst): a network card of the host whose wire ends in a
 * file descriptor. Needs CAP_NET_ADMIN, or an interface that root made for this user.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { HostError } from '../../core/errors.ts';
import type { TapHost } from '../../net/tap.ts';
import { hostError } from '../node/errors.ts';
import { libc } from './libc.ts';

/** linux/if_tun.h */
const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;
const IFF_TAP = 0x0002;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;
const TUN_F_CSUM = 0x01;
const TUN_F_TSO4 = 0x02;
/** struct ifreq: a name of 16 bytes, then a union. */
const IFREQ_SIZE = 40;

/** Milliseconds after which a watcher looks whether it is still wanted: what closing may take. */
const WATCH_TURN = 100;
/** linux/if_tun.h */
const TUNGETIFF = 0x800454d2;

/** `-netdev tap` on Linux. Scripts get the interface's name, as QEMU's do. */
export const linuxTapHost: TapHost = {
  openTap({ ifname, fd, header }) {
    const tap = fd === undefined ? openTap(ifname ?? '', header === 0 ? 0 : 12) : adoptTap(fd);
    let stopped = false;
    /** Watchers in other threads: the descriptor stays theirs until they are done. */
    const waiting = new Set<Promise<unknown>>();
    const failed = (error: unknown): boolean =>
      ['EAGAIN', 'EIO', 'EBADFD', 'ENOBUFS'].includes((error as { code?: string }).code ?? '');
    return {
      name: tap.name,
      read(buffer) {
        try {
          return fs.readSync(tap.fd, buffer);
        } catch (error) {
          if (failed(error)) return 0;
          throw error;
        }
      },
      write(frame) {
        try {
          fs.writeSync(tap.fd, frame);
        } catch (error) {
          // An interface that is down, or has no room, loses frames, as a wire does.
          if (!failed(error)) throw error;
        }
      },
      watch(readable) {
        let wanted = true;
        const turn = (): void => {
          if (!wanted || stopped) return;
          const one = libc()!
            .readable(tap.fd, WATCH_TURN)
            .then((some) => {
              if (some && wanted && !stopped) readable();
            })
            .finally(() => {
              waiting.delete(one);
              turn();
            });
          waiting.add(one);
        };
        turn();
        return () => {
          wanted = false;
        };
      },
      async close() {
        stopped = true;
        await Promise.allSettled(waiting);
        fs.closeSync(tap.fd);
      },
    };
  },
  runScript(path, ifname) {
    const { status, error } = spawnSync(path, [ifname], { stdio: ['ignore', 'inherit', 'inherit'] });
    if (error !== undefined) throw hostError(`could not launch network script ${path}`, error);
    if (status !== 0) throw new HostError(`network script ${path} failed with status ${status ?? -1}`);
  },
};

/** An interface that somebody else opened and gave to this process. */
function adoptTap(fd: number): Tap {
  const c = libc();
  if (c === undefined) throw new HostError('tap: needs Linux and the package koffi');
  const request = Buffer.alloc(IFREQ_SIZE);
  const errno = c.ioctl(fd, TUNGETIFF, request);
  if (errno !== 0) throw new HostError(`Can't use file descriptor ${fd}: it is no TAP interface`);
  return { fd, name: request.subarray(0, 16).toString('latin1').replace(/\0.*$/, '') };
}

export interface Tap {
  readonly fd: number;
  readonly name: string;
}

/**
 * Opens an interface, made when it is not there. The descriptor does not block.
 * @param vnetHeader bytes of struct virtio_net_hdr in front of each frame (10 or 12), 0 for none
 */
export function openTap(name: string, vnetHeader: 0 | 10 | 12): Tap {
  const c = libc();
  if (c === undefined) throw new HostError('tap: needs Linux and the package koffi');
  let fd: number;
  try {
    fd = fs.openSync('/dev/net/tun', fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  } catch (error) {
    throw hostError('could not open /dev/net/tun', error);
  }
  const request = Buffer.alloc(IFREQ_SIZE);
  request.write(name, 0, 15, 'latin1');
  request.writeUInt16LE(IFF_TAP | IFF_NO_PI | (vnetHeader > 0 ? IFF_VNET_HDR : 0), 16);
  const errno = c.ioctl(fd, TUNSETIFF, request);
  if (errno !== 0) {
    fs.closeSync(fd);
    throw hostError(`could not configure /dev/net/tun (${name})`, { code: c.errnoName(errno) });
  }
  if (vnetHeader > 0) {
    const size = Buffer.alloc(4);
    size.writeInt32LE(vnetHeader);
    c.ioctl(fd, TUNSETVNETHDRSZ, size);
    c.ioctlValue(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4);
  }
  return { fd, name: request.subarray(0, 16).toString('latin1').replace(/\0.*$/, '') };
}
