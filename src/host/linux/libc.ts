/**
 * The few system calls that Node does not offer, through koffi. koffi is optional: without it (or on another
 * system) `libc()` is undefined and each caller does without, or says what it cannot do. Sources: Linux
 * fcntl(2), fallocate(2), ioctl_tty(2), and the kernel's asm-generic headers.
 */
import { createRequire } from 'node:module';

/** koffi's surface, as far as it is used here. */
interface Koffi {
  load(path: string | null): { func(prototype: string): CFunction };
  errno(): number;
  os: { errno: Readonly<Record<string, number>> };
}
interface CFunction {
  (...args: unknown[]): number;
  async(...args: unknown[]): void;
}

/** Commands of fcntl(2) for open-file-description locks. */
const F_OFD_GETLK = 36;
const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
const F_UNLCK = 2;

/** Modes of fallocate(2). */
const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_ZERO_RANGE = 0x10;

/** struct flock of 64-bit Linux: short type, short whence, (pad), loff_t start, loff_t len, pid_t pid. */
const FLOCK_SIZE = 32;

/** Above this, freeing blocks may take so long that it is done in another thread. */
const FALLOCATE_SYNC_LIMIT = 16 << 20;

/** ioctls of a terminal (asm-generic/ioctls.h). */
const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;
const TCGETS = 0x5401;
const TCSETS = 0x5402;

/** poll(2). */
const POLLIN = 1;

/** Sockets (socket(2); the numbers are those of x86-64 and arm64). */
const AF_UNIX = 1;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0o4000;
const SOCK_CLOEXEC = 0o2000000;
const IPPROTO_ICMP = 1;
/** Connections that may wait to be accepted. */
const BACKLOG = 128;
/** struct sockaddr_in: family, port and address in network order, padding. */
const SOCKADDR_SIZE = 16;

export class Libc {
  readonly #koffi: Koffi;
  readonly #fcntl: CFunction;
  readonly #fallocate: CFunction;
  readonly #ioctl: CFunction;
  readonly #socket: CFunction;
  readonly #bind: CFunction;
  readonly #listen: CFunction;
  readonly #connect: CFunction;
  readonly #close: CFunction;
  readonly #sendto: CFunction;
  readonly #recvfrom: CFunction;
  readonly #poll: CFunction;

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
    const c = koffi.load('libc.so.6');
    this.#fcntl = c.func('int fcntl(int fd, int cmd, ...)');
    this.#fallocate = c.func('int fallocate64(int fd, int mode, int64_t offset, int64_t length)');
    this.#ioctl = c.func('int ioctl(int fd, unsigned long request, ...)');
    this.#socket = c.func('int socket(int domain, int type, int protocol)');
    this.#bind = c.func('int bind(int fd, void *address, uint32_t size)');
    this.#listen = c.func('int listen(int fd, int backlog)');
    this.#connect = c.func('int connect(int fd, void *address, uint32_t size)');
    this.#close = c.func('int close(int fd)');
    this.#sendto = c.func(
      'int64_t sendto(int fd, void *data, size_t length, int flags, void *to, uint32_t size)',
    );
    this.#poll = c.func('int poll(void *fds, unsigned long count, int timeout)');
    this.#recvfrom = c.func(
      'int64_t recvfrom(int fd, void *data, size_t length, int flags, void *from, void *size)',
    );
  }

  /** Shared lock on one byte at `start`, for as long as the open file description lives. */
  lockByte(fd: number, start: number): boolean {
    return this.#fcntl(fd, F_OFD_SETLK, 'void *', flock(F_RDLCK, start)) === 0;
  }

  unlockByte(fd: number, start: number): void {
    this.#fcntl(fd, F_OFD_SETLK, 'void *', flock(F_UNLCK, start));
  }

  /** True when another open file description holds a lock on the byte. */
  isByteLocked(fd: number, start: number): boolean {
    const lock = flock(F_WRLCK, start);
    if (this.#fcntl(fd, F_OFD_GETLK, 'void *', lock) !== 0) return false;
    return lock.readInt16LE(0) !== F_UNLCK;
  }

  /** Makes a range read as zeroes; 0 or the errno. `unmap` gives its blocks back. */
  zeroRange(fd: number, offset: number, length: number, unmap: boolean): number | Promise<number> {
    const mode = FALLOC_FL_KEEP_SIZE | (unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE);
    if (length <= FALLOCATE_SYNC_LIMIT) {
      return this.#fallocate(fd, mode, offset, length) === 0 ? 0 : this.#koffi.errno();
    }
    // errno is per thread and not carried over: a failure is asked for again, synchronously.
    return new Promise((resolve, reject) => {
      this.#fallocate.async(fd, mode, offset, length, (error: Error | null, result: number) => {
        if (error !== null) reject(error);
        else if (result === 0) resolve(0);
        else resolve(this.#fallocate(fd, mode, offset, length) === 0 ? 0 : this.#koffi.errno());
      });
    });
  }

  /** ioctl(2) with a pointer to `argument`; 0 or the errno. */
  ioctl(fd: number, request: number, argument: Buffer): number {
    return this.#ioctl(fd, request, 'void *', argument) >= 0 ? 0 : this.#koffi.errno();
  }

  /** ioctl(2) with a number; 0 or the errno. */
  ioctlValue(fd: number, request: number, argument: number): number {
    return this.#ioctl(fd, request, 'unsigned long', argument) >= 0 ? 0 : this.#koffi.errno();
  }

  /** Unlocks the other end of the pseudo-terminal behind `master` and returns its number under /dev/pts. */
  unlockPty(master: number): number {
    const number = Buffer.alloc(4);
    if (this.#ioctl(master, TIOCSPTLCK, 'void *', number) !== 0) return -1;
    if (this.#ioctl(master, TIOCGPTN, 'void *', number) !== 0) return -1;
    return number.readInt32LE(0);
  }

  /** Puts a terminal into raw mode: every byte as it is, no echo, no signals (termios(3), cfmakeraw). */
  makeRaw(fd: number): boolean {
    // struct termios of the kernel: four 32-bit flag words, c_line, 19 control characters.
    const termios = Buffer.alloc(60);
    if (this.#ioctl(fd, TCGETS, 'void *', termios) !== 0) return false;
    const clear = (at: number, bits: number): void => {
      termios.writeUInt32LE((termios.readUInt32LE(at) & ~bits) >>> 0, at);
    };
    clear(0, 0o2753); // IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
    clear(4, 0o1); // OPOST
    clear(8, 0o460); // CSIZE PARENB
    termios.writeUInt32LE((termios.readUInt32LE(8) | 0o60) >>> 0, 8); // CS8
    clear(12, 0o100113); // ECHO ECHONL ICANON ISIG IEXTEN
    return this.#ioctl(fd, TCSETS, 'void *', termios) === 0;
  }

  /**
   * A stream socket at `name` in the abstract namespace (unix(7)), whose zeroes count: listening, or connected. The
   * descriptor, or minus the errno.
   */
  abstractSocket(name: string, listening: boolean): number {
    const fd = this.#socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return -this.#koffi.errno();
    // struct sockaddr_un: the family, a zero, the name.
    const address = Buffer.concat([Buffer.from([AF_UNIX, 0, 0]), Buffer.from(name)]);
    const call = listening ? this.#bind : this.#connect;
    if (call(fd, address, address.length) === 0 && (!listening || this.#listen(fd, BACKLOG) === 0)) return fd;
    const errno = this.#koffi.errno();
    this.#close(fd);
    return -errno;
  }

  /** A socket that sends ICMP echo requests and gets their answers, or -1. */
  pingSocket(): number {
    return this.#socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMP);
  }

  /** sendto(2) to an IPv4 address, port 0; true when the kernel took it. */
  sendTo(fd: number, data: Buffer, address: number): boolean {
    return this.#sendto(fd, data, data.length, 0, socketAddress(address), SOCKADDR_SIZE) >= 0;
  }

  /** recvfrom(2): what is there now and which IPv4 address sent it; undefined when there is nothing. */
  receiveFrom(fd: number, data: Buffer): { readonly length: number; readonly address: number } | undefined {
    const from = socketAddress(0);
    const size = Buffer.alloc(4);
    size.writeInt32LE(SOCKADDR_SIZE);
    const length = this.#recvfrom(fd, data, data.length, 0, from, size);
    return length < 0 ? undefined : { length, address: from.readUInt32BE(4) };
  }

  /** Waits in another thread until there is something to read, at most so many milliseconds. */
  readable(fd: number, timeout: number): Promise<boolean> {
    // struct pollfd: int fd, short events, short revents.
    const entry = Buffer.alloc(8);
    entry.writeInt32LE(fd, 0);
    entry.writeInt16LE(POLLIN, 4);
    return new Promise((resolve, reject) => {
      this.#poll.async(entry, 1, timeout, (error: Error | null, count: number) => {
        if (error !== null) reject(error);
        else resolve(count > 0);
      });
    });
  }

  close(fd: number): void {
    this.#close(fd);
  }

  /** The errno name for a number, `EIO` when unknown. */
  errnoName(errno: number): string {
    for (const [name, value] of Object.entries(this.#koffi.os.errno)) if (value === errno) return name;
    return 'EIO';
  }
}

function flock(type: number, start: number): Buffer {
  const lock = Buffer.alloc(FLOCK_SIZE);
  lock.writeInt16LE(type, 0);
  lock.writeBigInt64LE(BigInt(start), 8);
  lock.writeBigInt64LE(1n, 16);
  return lock;
}

function socketAddress(address: number): Buffer {
  const bytes = Buffer.alloc(SOCKADDR_SIZE);
  bytes.writeUInt16LE(AF_INET, 0);
  bytes.writeUInt32BE(address, 4);
  return bytes;
}

let loaded: Libc | null | undefined;

/** The C library, or undefined where koffi is absent or the system is another. Loaded once, on first use. */
export function libc(): Libc | undefined {
  if (loaded === undefined) {
    loaded = null;
    // The struct layouts above are those of 64-bit little-endian Linux.
    if (process.platform === 'linux' && (process.arch === 'x64' || process.arch === 'arm64')) {
      try {
        loaded = new Libc(createRequire(import.meta.url)('koffi') as Koffi);
      } catch {
        loaded = null;
      }
    }
  }
  return loaded ?? undefined;
}
