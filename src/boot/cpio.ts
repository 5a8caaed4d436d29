/**
 * The archive format of an initramfs: cpio "newc" (magic 070701), written and read. Specification: the kernel's
 * Documentation/driver-api/early-userspace/buffer-format.rst.
 */
import { UsageError } from '../core/errors.ts';

export interface CpioEntry {
  /** Path without a leading slash. */
  readonly name: string;
  /** File type and permissions as in `st_mode`. */
  readonly mode: number;
  /** Contents of a file, target of a symbolic link; empty for others. */
  readonly data: Uint8Array;
  /** Device numbers of a device node. */
  readonly major?: number;
  readonly minor?: number;
}

export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;
export const S_IFLNK = 0o120000;

const HEADER_SIZE = 110;
const TRAILER = 'TRAILER!!!';
/** PATH_MAX of the kernel that reads it. */
const NAME_MAX = 4096;

/** Builds an archive entry by entry; parent directories are added by themselves. Owner is root, time is zero. */
export class CpioWriter {
  readonly #entries: CpioEntry[] = [];
  readonly #names = new Set<string>();

  directory(name: string, permissions = 0o755): this {
    return this.#add({ name, mode: S_IFDIR | permissions, data: EMPTY });
  }

  file(name: string, data: Uint8Array | string, permissions = 0o644): this {
    return this.#add({
      name,
      mode: S_IFREG | permissions,
      data: typeof data === 'string' ? new TextEncoder().encode(data) : data,
    });
  }

  symlink(name: string, target: string): this {
    return this.#add({ name, mode: S_IFLNK | 0o777, data: new TextEncoder().encode(target) });
  }

  node(name: string, kind: 'char' | 'block', major: number, minor: number, permissions = 0o600): this {
    const type = kind === 'char' ? S_IFCHR : S_IFBLK;
    return this.#add({ name, mode: type | permissions, data: EMPTY, major, minor });
  }

  finish(): Uint8Array {
    return serializeCpio(this.#entries);
  }

  #add(entry: CpioEntry): this {
    if (this.#names.has(entry.name)) return this;
    const slash = entry.name.lastIndexOf('/');
    if (slash > 0) this.directory(entry.name.slice(0, slash));
    this.#names.add(entry.name);
    this.#entries.push(entry);
    return this;
  }
}

const EMPTY = new Uint8Array(0);

export function serializeCpio(entries: readonly CpioEntry[]): Uint8Array {
  const encoder = new TextEncoder();
  const all = [...entries, { name: TRAILER, mode: 0, data: EMPTY }] as CpioEntry[];
  const names = all.map((entry) => encoder.encode(`${entry.name}\0`));
  let size = 0;
  all.forEach((entry, i) => {
    size += align4(HEADER_SIZE + names[i]!.length) + align4(entry.data.length);
  });
  const out = new Uint8Array(size);
  let at = 0;
  all.forEach((entry, i) => {
    const directory = (entry.mode & 0o170000) === S_IFDIR;
    const fields = [
      entry.name === TRAILER ? 0 : i + 1,
      entry.mode,
      0,
      0,
      directory ? 2 : 1,
      0,
      entry.data.length,
      0,
      0,
      entry.major ?? 0,
      entry.minor ?? 0,
      names[i]!.length,
      0,
    ];
    const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0').toUpperCase()).join('')}`;
    out.set(encoder.encode(header), at);
    out.set(names[i]!, at + HEADER_SIZE);
    at += align4(HEADER_SIZE + names[i]!.length);
    out.set(entry.data, at);
    at += align4(entry.data.length);
  });
  return out;
}

/**
 * Reads one archive.
 * @throws UsageError when it is damaged or cut short
 */
export function parseCpio(archive: Uint8Array): CpioEntry[] {
  const decoder = new TextDecoder();
  const entries: CpioEntry[] = [];
  for (let at = 0; at + HEADER_SIZE <= archive.length; ) {
    const header = decoder.decode(archive.subarray(at, at + HEADER_SIZE));
    if (!/^07070[12][0-9a-fA-F]{104}$/.test(header))
      throw new UsageError(`cpio archive is damaged at byte ${at}`);
    const field = (index: number): number => Number.parseInt(header.slice(6 + index * 8, 14 + index * 8), 16);
    const nameSize = field(11);
    const size = field(6);
    const data = at + align4(HEADER_SIZE + nameSize);
    if (nameSize === 0 || nameSize > NAME_MAX || data + size > archive.length)
      throw new UsageError(`cpio archive is cut short at byte ${at}`);
    const name = decoder.decode(archive.subarray(at + HEADER_SIZE, at + HEADER_SIZE + nameSize - 1));
    if (name === TRAILER) return entries;
    const mode = field(1);
    const isNode = (mode & 0o170000) === S_IFCHR || (mode & 0o170000) === S_IFBLK;
    entries.push({
      name,
      mode,
      data: archive.subarray(data, data + size),
      ...(isNode ? { major: field(9), minor: field(10) } : {}),
    });
    at = data + align4(size);
  }
  throw new UsageError('cpio archive has no end');
}

function align4(value: number): number {
  return (value + 3) & ~3;
}
