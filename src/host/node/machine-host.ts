/** Node.js as the host of a machine: time, files, terminal, sockets, random numbers, and the compiled runtime. */
import * as fs from 'node:fs';
import {
  type FileHandle,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import * as zlib from 'node:zlib';
import type { KernelCache } from '../../boot/linux.ts';
import { HostError } from '../../core/errors.ts';
import type { MachineHost, OpenFile } from '../../machine/host.ts';
import { createProcessor, type TranslatorHost } from '../../machine/processor.ts';
import type { WakeUp } from '../../machine/run.ts';
import { createNetdev } from '../../net/create.ts';
import { linuxTapHost } from '../linux/tap.ts';
import { nodeCharHost } from './char.ts';
import { hostError } from './errors.ts';
import { nodeBlockHost } from './file.ts';
import { cacheFolder } from './guest-tools.ts';
import { nodeNetHost } from './net.ts';
import { tellOldV8 } from './old-v8.ts';
import { PACKAGE_ROOT } from './package-root.ts';
import { fillRandom, processorTime, yieldToHost } from './process.ts';

/** Node's timers count in 32 bits of milliseconds; longer sleeps are taken in turns. */
const LONGEST_SLEEP = 2 ** 30;

function sleep(milliseconds: number, wake: WakeUp): Promise<void> {
  return new Promise((resolve) => {
    let timer: NodeJS.Timeout | undefined;
    const done = () => {
      clearTimeout(timer);
      forget();
      resolve();
    };
    // Rounded down: what is left of the last millisecond is napped, and so ends on time.
    timer = setTimeout(done, Math.min(LONGEST_SLEEP, Math.floor(milliseconds)));
    const forget = wake.listen(done);
  });
}

const napCell = new Int32Array(new SharedArrayBuffer(4));

/** Unpacked kernels that are kept: each takes some 60 MB. */
const KEPT_KERNELS = 4;

/** Unpacked kernels in the user's cache folder: Debian's xz takes a second to unpack, its lz4 a quarter of one. */
function kernelCache(): KernelCache {
  const folder = join(cacheFolder(), 'kernels');
  return {
    async open(key) {
      const file = await open(join(folder, key), 'r').catch(() => undefined);
      if (file === undefined) return undefined;
      return {
        size: (await file.stat()).size,
        read: async (target, offset) => (await readInto(file, target, offset)) === target.length,
        close: () => file.close(),
      };
    },
    async set(key, data) {
      await mkdir(folder, { recursive: true });
      const temporary = join(folder, `.${key}.${process.pid}`);
      await writeFile(temporary, data);
      await rename(temporary, join(folder, key));
      await keepNewest(folder, KEPT_KERNELS);
    },
  };
}

/** Removes all but the newest files of a folder. */
async function keepNewest(folder: string, count: number): Promise<void> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.'));
  const files = await Promise.all(
    names.map(async (name) => ({ name, time: (await stat(join(folder, name))).mtimeMs })),
  );
  files.sort((a, b) => b.time - a.time);
  await Promise.all(files.slice(count).map(({ name }) => rm(join(folder, name), { force: true })));
}

function openRandom(path: string): { fill(view: Uint8Array): Promise<void>; close(): Promise<void> } {
  let fd: number;
  try {
    fd = fs.openSync(path, 'r');
  } catch (error) {
    throw hostError(`Could not open '${path}'`, error);
  }
  return {
    async fill(view) {
      const buffer = new Uint8Array(view.length);
      let done = 0;
      while (done < view.length) {
        const count = await read(fd, buffer.subarray(done));
        if (count === 0) throw new HostError(`${path}: end of file`);
        done += count;
      }
      view.set(buffer);
    },
    close: async () => fs.closeSync(fd),
  };
}

function read(fd: number, buffer: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) =>
    fs.read(fd, buffer, 0, buffer.length, null, (error, count) => (error ? reject(error) : resolve(count))),
  );
}

/** A pipe can be read but once, so that its content is kept. */
async function openFile(path: string): Promise<OpenFile> {
  const failed = (error: unknown): HostError => hostError(`Could not open '${path}'`, error);
  try {
    const file = await open(path, 'r');
    if (!(await file.stat()).isFile()) {
      const content = await file.readFile().finally(() => file.close());
      return { read: () => Promise.resolve(content), close: () => Promise.resolve() };
    }
    return {
      read: async () => {
        try {
          return await readWhole(file);
        } catch (error) {
          throw failed(error);
        }
      },
      close: () => file.close(),
    };
  } catch (error) {
    throw failed(error);
  }
}

/** What the file has now; it may become shorter under our hands. */
async function readWhole(file: FileHandle): Promise<Uint8Array> {
  const content = new Uint8Array((await file.stat()).size);
  return content.subarray(0, await readInto(file, content, 0));
}

/**
 * Fills `target` from `offset` in the file on.
 * @returns how many bytes there were
 */
async function readInto(file: FileHandle, target: Uint8Array, offset: number): Promise<number> {
  let at = 0;
  while (at < target.length) {
    const { bytesRead } = await file.read(target, at, target.length - at, offset + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return at;
}

function openLog(path: string): { line(text: string): void; close(): void } {
  let fd: number;
  try {
    fd = fs.openSync(path, 'w');
  } catch (error) {
    throw hostError(`Error opening logfile ${path}`, error);
  }
  return {
    line: (text) => void fs.writeSync(fd, `${text}\n`),
    close: () => fs.closeSync(fd),
  };
}

/** The compiled part of the processor. */
export function runtimeCode(): Uint8Array {
  const path = join(PACKAGE_ROOT, 'dist/x86/runtime.wasm');
  if (fs.existsSync(path)) return fs.readFileSync(path);
  throw new HostError("the processor's runtime is not compiled: run 'npm run build'");
}

/** The interpreter's handlers, made ahead of time: only for the compiled program, which was built with them. */
function handlersCode(): Uint8Array | undefined {
  const path = join(PACKAGE_ROOT, 'dist/x86/handlers.wasm');
  return import.meta.url.endsWith('.ts') || !fs.existsSync(path) ? undefined : fs.readFileSync(path);
}

tellOldV8();

/**
 * @param warn where messages for the user go; stderr unless given
 * @param translator compiles translated code on other threads (compile-ahead.ts), keeps it for later runs
 *   (translations.ts); `prepare` is called before any WebAssembly is made
 */
export function nodeMachineHost(
  warn: (message: string) => void = (message) => process.stderr.write(`${message}\n`),
  translator: TranslatorHost & { readonly prepare?: () => void } = {},
): MachineHost {
  return {
    time: {
      monotonic: () => performance.now() * 1e6,
      wall: () => Date.now(),
    },
    localOffset: -new Date().getTimezoneOffset() * 60_000,
    block: nodeBlockHost(warn),
    char: nodeCharHost(warn),
    yieldToHost,
    sleep,
    processorTime,
    nap: (milliseconds) => void Atomics.wait(napCell, 0, 0, milliseconds),
    async readFile(path) {
      try {
        return await readFile(path);
      } catch (error) {
        throw hostError(`Could not open '${path}'`, error);
      }
    },
    openFile,
    openRandom,
    random: fillRandom,
    decompress: {
      gzip: (data) => zlib.gunzipSync(data),
      ...('zstdDecompressSync' in zlib
        ? {
            zstd: (zlib as unknown as { zstdDecompressSync(data: Uint8Array): Uint8Array })
              .zstdDecompressSync,
          }
        : {}),
    },
    kernelCache: kernelCache(),
    createCpu: async (request) => {
      translator.prepare?.();
      return createProcessor(runtimeCode(), handlersCode(), request, translator);
    },
    createNetdev: (config, warnOfNet) => createNetdev(config, nodeNetHost(), linuxTapHost, warnOfNet),
    openLog,
    warn,
  };
}
