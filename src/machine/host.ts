/**
 * What a machine needs of the computer and the program that it runs in. `src/host/node/machine-host.ts` has it for
 * Node.js; tests have their own. Everything that depends on an operating system comes in here.
 */
import type { BlockHost } from '../block/file.ts';
import type { HostDecompressor } from '../boot/decompress/index.ts';
import type { KernelCache } from '../boot/linux.ts';
import type { CharHost } from '../chardev/host.ts';
import type { Tracer } from '../core/trace.ts';
import type { Netdev } from '../net/netdev.ts';
import type { CpuBus, CpuInterface } from '../x86/cpu.ts';
import type { TimeSource } from './clock.ts';
import type { CpuConfig, NetdevConfig } from './config.ts';
import type { Yielder } from './run.ts';

/** What a processor is made of. */
export interface CpuRequest {
  readonly cpu: CpuConfig;
  /** Bytes of RAM from address 0, and from 4 GiB. */
  readonly ramBelow4G: number;
  readonly ramAbove4G: number;
  readonly bus: CpuBus;
  readonly tracer: Tracer;
  /** Count for a report what can be counted at some cost. */
  readonly count: boolean;
  /** The guest's path depends on nothing but its instructions (-icount): all translation has its place between them. */
  readonly deterministic: boolean;
  /** Use what earlier runs have translated, and keep it for later ones, where the host can. */
  readonly keepTranslations: boolean;
  /** Bytes of the host's memory, about, that translated code may take; 0: as many as the processor likes. */
  readonly translationBytes: number;
}

/** Opens a netdev back end; `warn` goes to the user. */
export type NetdevFactory = (config: NetdevConfig, warn: (message: string) => void) => Promise<Netdev>;

/** A file whose content is wanted again later; it may be replaced or deleted meanwhile. */
export interface OpenFile {
  /** All of it; rejects with a `HostError`. */
  read(): Promise<Uint8Array>;
  close(): Promise<void>;
}

export interface MachineHost extends Yielder {
  readonly time: TimeSource;
  /** The host's time zone, in milliseconds east of UTC. */
  readonly localOffset: number;
  readonly block: BlockHost;
  readonly char: CharHost;
  /** Content of a file; rejects with a `HostError` whose message ends in the reason. */
  readFile(path: string): Promise<Uint8Array>;
  /** Opens a file to be read several times; rejects with a `HostError`. */
  openFile(path: string): Promise<OpenFile>;
  /** A file that is read on and on, for -object rng-random; opens or throws a `HostError`. */
  openRandom(path: string): { fill(view: Uint8Array): Promise<void>; close(): Promise<void> };
  /** Fills with random bytes fit for keys. */
  random(view: Uint8Array): void;
  readonly decompress?: HostDecompressor;
  readonly kernelCache?: KernelCache;
  createCpu(request: CpuRequest): Promise<CpuInterface>;
  createNetdev: NetdevFactory;
  /** A log that -D or -trace file= names; lines without their newline. */
  openLog(path: string): { line(text: string): void; close(): void };
  /** For the user. */
  warn(message: string): void;
}
