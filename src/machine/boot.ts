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
import type { MachineHost } from './host.ts';
import { VERSION } from './version.ts';

/** The files that a boot needs, read once. */
export interface BootFiles {
  readonly kernel: Uint8Array | undefined;
  readonly initrd: Uint8Array | undefined;
}

/** Reads the files of -kernel and -initrd. Fails with the option, the file and the reason. */
export async function readBootFiles(config: MachineConfig, host: MachineHost): Promise<BootFiles> {
  return {
    kernel: await read('-kernel', config.kernel, host),
    initrd: await read('-initrd', config.initrd, host),
  };
}

async function read(
  option: string,
  source: FileSource | undefined,
  host: MachineHost,
): Promise<Uint8Array | undefined> {
  if (source === undefined || typeof source !== 'string') return source;
  let content: Uint8Array;
  try {
    content = await host.readFile(source);
  } catch (error) {
    throw blamed(`${option} ${source}`, error);
  }
  if (content.length === 0) throw new UsageError(`${option} ${source}: the file is empty`);
  return content;
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
      kernel: files.kernel,
      initrd: files.initrd,
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
