/**
 * What happens before the first instruction: tables that firmware would have left, and the kernel of -kernel put
 * into guest RAM. Done at the start and again after each reset.
 */
import { loadLinux } from '../boot/linux.ts';
import type { KernelCache } from '../boot/linux.ts';
import { UsageError } from '../core/errors.ts';
import type { GuestMemory } from '../core/memory.ts';
import { buildFirmwareTables, firmwareE820, writeFirmwareTables } from '../pc/acpi/index.ts';
import type { PlatformInfo } from '../pc/info.ts';
import { blamed } from '../qapi/parse-command-line.ts';
import type { EntryState } from '../x86/cpu.ts';
import type { FileSource, MachineConfig } from './config.ts';
import type { MachineHost, OpenFile } from './host.ts';
import { VERSION } from './version.ts';

/** What -kernel or -initrd names. Between boots only what a program has handed over is kept in memory. */
export class BootFile {
  readonly #source: OpenFile | Uint8Array;
  /** What was read to see that there is something, for the first boot. */
  #first: Uint8Array | undefined;

  private constructor(source: OpenFile | Uint8Array, first: Uint8Array | undefined) {
    this.#source = source;
    this.#first = first;
  }

  /** @throws UsageError for an empty file, HostError for one that cannot be read: with the option, and why */
  static async open(option: string, source: FileSource, host: MachineHost): Promise<BootFile> {
    if (typeof source !== 'string') return new BootFile(source, undefined);
    let file: OpenFile;
    let content: Uint8Array;
    try {
      file = await host.openFile(source);
      content = await file.read();
    } catch (error) {
      throw blamed(`${option} ${source}`, error);
    }
    if (content.length > 0) return new BootFile(file, content);
    await file.close();
    throw new UsageError(`${option} ${source}: the file is empty`);
  }

  async content(): Promise<Uint8Array> {
    const first = this.#first;
    this.#first = undefined;
    return first ?? ('read' in this.#source ? await this.#source.read() : this.#source);
  }

  async close(): Promise<void> {
    if ('read' in this.#source) await this.#source.close();
  }
}

export interface BootFiles {
  readonly kernel: BootFile | undefined;
  readonly initrd: BootFile | undefined;
}

/** Opens the files of -kernel and -initrd. Fails with the option, the file and the reason. */
export async function openBootFiles(config: MachineConfig, host: MachineHost): Promise<BootFiles> {
  const open = async (option: string, source: FileSource | undefined): Promise<BootFile | undefined> =>
    source === undefined ? undefined : BootFile.open(option, source, host);
  const kernel = await open('-kernel', config.kernel);
  try {
    return { kernel, initrd: await open('-initrd', config.initrd) };
  } catch (error) {
    await kernel?.close();
    throw error;
  }
}

/** Where the host keeps none: the kernel that was unpacked last, so that a reset need not do it again. */
export function lastKernel(): KernelCache {
  let last: { key: string; data: Uint8Array } | undefined;
  return {
    async open(key) {
      if (last?.key !== key) return undefined;
      const { data } = last;
      return {
        size: data.length,
        async read(target, offset) {
          if (offset + target.length > data.length) return false;
          target.set(data.subarray(offset, offset + target.length));
          return true;
        },
        close: async () => {},
      };
    },
    async set(key, data) {
      last = { key, data };
    },
  };
}

/**
 * Fills guest RAM for the boot.
 * @returns the state in which the processor starts, or undefined when there is no kernel to start
 */
export async function loadGuest(
  config: MachineConfig,
  files: BootFiles,
  memory: GuestMemory,
  info: PlatformInfo,
  host: MachineHost,
  cache: KernelCache | undefined,
): Promise<EntryState | undefined> {
  const tables = buildFirmwareTables(info, { uuid: config.uuid, version: VERSION });
  writeFirmwareTables(memory, tables);
  if (files.kernel === undefined) return undefined;
  const rngSeed = new Uint8Array(32);
  host.random(rngSeed);
  const name = typeof config.kernel === 'string' ? ` ${config.kernel}` : '';
  try {
    return await loadLinux(memory, {
      kernel: await files.kernel.content(),
      initrd: await files.initrd?.content(),
      cmdline: config.append,
      e820: firmwareE820(memory, info),
      rsdp: config.acpi ? tables.rsdp : 0,
      rngSeed,
      decompress: host.decompress,
      cache,
    });
  } catch (error) {
    if (error instanceof UsageError)
      throw new UsageError(`-kernel${name}: ${error.message}`, { cause: error });
    throw error;
  }
}
