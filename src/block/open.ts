/**
 * From `-drive`/`-blockdev` options to a back end: which file, which format, which locks, which cache mode. Texts
 * of errors and warnings are QEMU's, because scripts read them.
 */
import { HostError, UsageError } from '../core/errors.ts';
import type { Property } from '../qapi/property.ts';
import type { BlockBackend } from './backend.ts';
import type { CacheMode } from './cache.ts';
import { CACHE_MODES, type CacheOptions, parseCacheMode } from './cache.ts';
import { IMAGE_PERMISSION, type BlockHost, type HostFile } from './file.ts';
import { MemoryFile } from './memory.ts';
import { NullBackend } from './null.ts';
import { OverlayBackend } from './overlay.ts';
import { OTHER_FORMATS, PROBE_LENGTH, probeFormat } from './probe.ts';
import { RawBackend } from './raw.ts';

/** Memory that an overlay may take where there are no temporary files. */
const MEMORY_OVERLAY_LIMIT = 512 << 20;

/** Prefixes of file names that mean a protocol and not a path. */
const PROTOCOLS =
  /^(nbd|nbd\+[a-z]+|https?|ftps?|ssh|iscsi|rbd|nfs|gluster|fat|json|blkdebug|blkverify|quorum):/;

/** The options of `-drive` that concern the image; the machine takes the others (`if`, `id`, `index`, …). */
export interface BlockOptions extends CacheOptions {
  readonly file: string;
  readonly format?: string | undefined;
  readonly readonly?: boolean | undefined;
  /** Opens read-only by itself when writing is not allowed. */
  readonly 'auto-read-only'?: boolean | undefined;
  readonly snapshot?: boolean | undefined;
  readonly aio?: string | undefined;
  readonly discard?: string | undefined;
  readonly 'detect-zeroes'?: string | undefined;
  readonly locking?: string | undefined;
}

export const BLOCK_PROPERTIES: readonly Property[] = [
  { name: 'file', type: 'str', help: 'image file, block device, or null-co://' },
  { name: 'format', type: 'str', help: 'image format: raw (guessed, with a warning, when absent)' },
  { name: 'readonly', type: 'bool', default: false, help: 'the guest cannot write' },
  { name: 'auto-read-only', type: 'bool', default: false, help: 'read-only when the file cannot be written' },
  { name: 'snapshot', type: 'bool', default: false, help: 'writes go to a temporary file' },
  {
    name: 'cache',
    type: 'enum',
    default: 'writeback',
    values: Object.keys(CACHE_MODES),
    help: "use of the host's page cache",
  },
  { name: 'cache.writeback', type: 'bool', help: 'a write may complete before it is on the disk' },
  { name: 'cache.direct', type: 'bool', help: "past the host's page cache" },
  { name: 'cache.no-flush', type: 'bool', help: 'ignore flushes' },
  {
    name: 'aio',
    type: 'enum',
    default: 'threads',
    values: ['threads', 'native', 'io_uring'],
    help: 'accepted; there is one way of doing input and output here',
  },
  {
    name: 'discard',
    type: 'enum',
    default: 'ignore',
    values: ['ignore', 'off', 'unmap', 'on'],
    help: "whether the guest's discards give space back",
  },
  {
    name: 'detect-zeroes',
    type: 'enum',
    default: 'off',
    values: ['off', 'on', 'unmap'],
    help: 'turn writes of zeroes into holes',
  },
  {
    name: 'locking',
    type: 'enum',
    default: 'auto',
    values: ['auto', 'on', 'off'],
    help: 'lock the image against other processes',
  },
];

/**
 * Opens an image. Throws `UsageError` for options that make no sense and `HostError` (QEMU's text, without the
 * option in front) for a file that cannot be used. Warnings go to `host.warn`.
 */
export async function openBlock(options: BlockOptions, host: BlockHost): Promise<BlockBackend> {
  return (await openLayers(options, host)).backend;
}

/** An opened image: what a disk uses, and the file under it where there is one. */
export interface OpenedImage {
  readonly backend: BlockBackend;
  readonly raw: RawBackend | undefined;
  readonly file: HostFile | undefined;
  readonly cache: CacheMode;
}

/** What is thrown away need not be safe: snapshot=on means cache=unsafe unless said otherwise. */
const cacheOf = (options: BlockOptions): CacheMode =>
  parseCacheMode(options, options.snapshot === true ? 'unsafe' : 'writeback');

/** `openBlock`, with what it is made of: for whoever shows or changes the layers. */
export async function openLayers(options: BlockOptions, host: BlockHost): Promise<OpenedImage> {
  const name = options.file.startsWith('file:') ? options.file.slice(5) : options.file;
  if (/^null-(co|aio):/.test(name)) {
    const backend = new NullBackend(undefined, { readOnly: options.readonly ?? false });
    return { backend, raw: undefined, file: undefined, cache: cacheOf(options) };
  }
  checkFormat(options.format);
  const protocol = PROTOCOLS.exec(name);
  if (protocol !== null) throw new UsageError(`Unknown protocol '${protocol[1]}' (only local files for now)`);
  oneOf('aio', options.aio, ['threads', 'native', 'io_uring']);
  oneOf('discard', options.discard, ['ignore', 'off', 'unmap', 'on']);
  oneOf('detect-zeroes', options['detect-zeroes'], ['off', 'on', 'unmap']);
  oneOf('locking', options.locking, ['auto', 'on', 'off']);
  const snapshot = options.snapshot ?? false;
  const cache = cacheOf(options);
  if (options.aio === 'native' && !cache.direct) {
    throw new UsageError(
      'aio=native was specified, but it requires cache.direct=on, which was not specified.',
    );
  }
  const readOnly = options.readonly ?? false;

  const file = await openFile(name, { ...options, write: !readOnly && !snapshot, snapshot, cache }, host);
  try {
    const probed = options.format === undefined && (await probe(file, name, file.writable, host));
    const raw = new RawBackend(file, {
      readOnly: !file.writable,
      cache,
      discard: options.discard === 'unmap' || options.discard === 'on',
      detectZeroes: (options['detect-zeroes'] ?? 'off') as 'off' | 'on' | 'unmap',
      probed,
    });
    if (!snapshot || readOnly) return { backend: raw, raw, file, cache };
    const overlay = new OverlayBackend(raw, host.temporary() ?? new MemoryFile(0, MEMORY_OVERLAY_LIMIT));
    return { backend: overlay, raw, file, cache };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** How a file is opened, below any format. */
export interface FileOptions {
  readonly write: boolean;
  readonly snapshot?: boolean;
  readonly cache: CacheMode;
  readonly locking?: string | undefined;
  readonly 'auto-read-only'?: boolean | undefined;
}

/** Opens and locks an image file; without the page cache where that was asked for and the file system can. */
export async function openFile(name: string, options: FileOptions, host: BlockHost): Promise<HostFile> {
  const { write, cache } = options;
  const file = await openImage(name, write, cache.direct, options['auto-read-only'] === true, host);
  try {
    lockImage(file, options.snapshot === true, options.locking ?? 'auto', host);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function checkFormat(format: string | undefined): void {
  if (format === undefined || format === 'raw') return;
  if (OTHER_FORMATS.includes(format)) {
    throw new UsageError(
      `format '${format}' is not supported yet; convert it: qemu-img convert -O raw IMAGE NEW`,
    );
  }
  throw new UsageError(`Unknown driver '${format}' (supported: raw)`);
}

function oneOf(name: string, value: string | undefined, values: readonly string[]): void {
  if (value !== undefined && !values.includes(value)) {
    throw new UsageError(`Invalid parameter '${value}' for '${name}' (one of: ${values.join(', ')})`);
  }
}

/** Opens the file; without the page cache where that was asked for and the file system can. */
async function openImage(
  name: string,
  write: boolean,
  direct: boolean,
  autoReadOnly: boolean,
  host: BlockHost,
): Promise<HostFile> {
  const attempt = async (wanted: boolean): Promise<HostFile> => {
    if (direct) {
      try {
        return await host.open(name, { write: wanted, direct: true });
      } catch (error) {
        if (!hasCause(error, ['EINVAL'])) throw error;
        host.warn(
          `warning: '${name}': its file system does not support O_DIRECT; cache=none uses the page cache there`,
        );
      }
    }
    return host.open(name, { write: wanted });
  };
  try {
    return await attempt(write);
  } catch (error) {
    if (write && autoReadOnly && hasCause(error, ['EACCES', 'EROFS', 'EPERM'])) {
      return attempt(false);
    }
    throw error;
  }
}

function hasCause(error: unknown, codes: readonly string[]): boolean {
  const cause = (error as { cause?: { code?: unknown } } | undefined)?.cause;
  return error instanceof HostError && typeof cause?.code === 'string' && codes.includes(cause.code);
}

/** The same locks as QEMU takes for a disk of a guest, so that each refuses what the other uses. */
function lockImage(file: HostFile, snapshot: boolean, locking: string, host: BlockHost): void {
  if (locking === 'off') return;
  const { CONSISTENT_READ, WRITE, RESIZE } = IMAGE_PERMISSION;
  const locked = file.lock({
    uses: file.writable ? [CONSISTENT_READ, WRITE] : [CONSISTENT_READ],
    refuses: snapshot ? [WRITE, RESIZE] : [WRITE],
  });
  if (!locked && locking === 'on') {
    throw new HostError(
      `locking=on: this host has no file locks for '${file.path}' (install the package koffi)`,
    );
  }
  if (!locked)
    host.warn(`warning: '${file.path}' is not locked: nothing keeps a second process from writing it`);
}

/** Guesses the format; true when it was raw, and the user has been told. */
async function probe(file: HostFile, name: string, writable: boolean, host: BlockHost): Promise<boolean> {
  const start = new Uint8Array(PROBE_LENGTH);
  const count = await file.read(0, [start]);
  const format = probeFormat(start.subarray(0, count));
  if (format !== 'raw') checkFormat(format);
  if (!writable) return false;
  host.warn(
    `WARNING: Image format was not specified for '${name}' and probing guessed raw.\n` +
      '         Automatically detecting the format is dangerous for raw images, write operations on block 0 will be restricted.\n' +
      "         Specify the 'raw' format explicitly to remove the restrictions.",
  );
  return true;
}
