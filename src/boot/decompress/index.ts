/**
 * Unpacks kernels and initramfs images on the host, whatever they were packed with: gzip, bzip2, lzma, xz, lzo,
 * lz4 and zstd. Gzip and zstd may be given to the host's faster implementation; the others are written here.
 */
import { UsageError } from '../../core/errors.ts';
import { unbzip2 } from './bzip2.ts';
import { crc32 } from './crc32.ts';
import { unlz4 } from './lz4.ts';
import { unlzma } from './lzma.ts';
import { unlzo } from './lzo.ts';
import { CorruptDataError, Output } from './output.ts';
import { unxz } from './xz.ts';

export type Compression = 'gzip' | 'bzip2' | 'lzma' | 'xz' | 'lzo' | 'lz4' | 'zstd';

/** What the host does faster than we: `node:zlib`, `DecompressionStream`. Each takes exactly one stream. */
export interface HostDecompressor {
  readonly gzip?: (data: Uint8Array) => Uint8Array | Promise<Uint8Array>;
  readonly zstd?: (data: Uint8Array) => Uint8Array | Promise<Uint8Array>;
}

const MAGIC: readonly (readonly [Compression, readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['lzma', [0x5d, 0x00, 0x00]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['lzo', [0x89, 0x4c, 0x5a, 0x4f, 0x00]],
  ['lz4', [0x02, 0x21, 0x4c, 0x18]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
];

/** The compression that `data` starts with, or undefined. */
export function detectCompression(data: Uint8Array): Compression | undefined {
  return MAGIC.find(([, magic]) => magic.every((byte, i) => data[i] === byte))?.[0];
}

/**
 * Unpacks one compressed image.
 * @param expected size of the result in bytes when it is known, otherwise 0
 * @throws CorruptDataError when the data is damaged, UsageError when the compression is unknown
 */
export async function decompress(
  data: Uint8Array,
  expected = 0,
  host: HostDecompressor = {},
): Promise<Uint8Array> {
  const format = detectCompression(data);
  switch (format) {
    case undefined: {
      const start = [...data.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(' ');
      throw new UsageError(`unknown compression (data starts with ${start || 'nothing'})`);
    }
    case 'gzip':
      return foreign(format, () => (host.gzip ?? gunzip)(data));
    case 'zstd':
      return foreign(format, () => (host.zstd ?? unzstd)(data));
    default: {
      const output = new Output(expected > 0 ? expected : data.length * (format === 'lzma' ? 16 : 4));
      UNPACK[format](data, output);
      return output.result();
    }
  }
}

const UNPACK = { bzip2: unbzip2, lzma: unlzma, xz: unxz, lzo: unlzo, lz4: unlz4 } as const;

/** The library does not check what it has unpacked; the trailer's sum does (RFC 1952 §2.3.1). */
async function gunzip(data: Uint8Array): Promise<Uint8Array> {
  // not at every start: loading it takes some milliseconds, and hosts mostly have their own
  const { gunzipSync } = await import('fflate');
  const unpacked = gunzipSync(data);
  const trailer = new DataView(data.buffer, data.byteOffset + data.length - 8, 8);
  if (trailer.getUint32(0, true) !== crc32(unpacked)) throw new Error('CRC32 differs');
  return unpacked;
}

async function unzstd(data: Uint8Array): Promise<Uint8Array> {
  const { decompress } = await import('fzstd');
  return decompress(data);
}

/** Runs a library's decoder, whose errors become ours. */
async function foreign(format: string, run: () => Uint8Array | Promise<Uint8Array>): Promise<Uint8Array> {
  try {
    return await run();
  } catch (error) {
    throw new CorruptDataError(format, error instanceof Error ? error.message : String(error));
  }
}
