/**
 * The configuration of a machine, complete and typed: what remains when the options are read and QEMU's defaults are
 * filled in. Nothing is opened here; `createMachine` does that. See configure.ts for how options become this.
 */
import type { NodeOptions } from '../block/graph.ts';
import type { PropertyValue } from '../qapi/property.ts';
import type { OptionEntry } from '../qapi/options.ts';
import { MAX_GUEST_RAM } from '../x86/engine.ts';

/** A file by its path, or its content. */
export type FileSource = string | Uint8Array;

export interface CpuConfig {
  readonly model: string;
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

export interface RtcConfig {
  /** 'utc', 'localtime', or milliseconds since 1970 that the clock shows at start. */
  readonly base: 'utc' | 'localtime' | number;
  readonly clock: 'host' | 'rt' | 'vm';
}

/** Time made of instructions. */
export interface IcountConfig {
  /** An instruction takes 2^shift nanoseconds. */
  readonly shift: number | 'auto';
  /** The host sleeps while the guest does. */
  readonly sleep: boolean;
  /** The guest waits when it is ahead of the host's clock. */
  readonly align: boolean;
}

export interface ChardevConfig {
  readonly id: string;
  readonly type: string;
  /** Typed values of the type's properties. */
  readonly values: Readonly<Record<string, PropertyValue>>;
  /** Several front ends share it. */
  readonly mux: boolean;
  /** A monitor is one of the front ends (`mon:`). */
  readonly monitor: boolean;
  /** The option that asked for it, for messages. */
  readonly origin: string;
}

/** A monitor on a chardev. */
export interface MonitorConfig {
  readonly chardev: string;
  /** For people (HMP), or for programs (QMP). */
  readonly mode: 'readline' | 'control';
  readonly pretty: boolean;
  readonly origin: string;
}

export interface DriveConfig {
  readonly id: string;
  readonly file: string | undefined;
  readonly interface: 'none' | 'virtio';
  readonly values: Readonly<Record<string, PropertyValue>>;
  readonly snapshot: boolean;
  readonly origin: string;
}

/** A block node by name (`-blockdev`). */
export interface BlockdevConfig {
  readonly options: NodeOptions;
  readonly origin: string;
}

export interface NetdevConfig {
  readonly id: string;
  readonly type: string;
  readonly values: Readonly<Record<string, PropertyValue>>;
  /** Repeated properties: hostfwd, … */
  readonly lists: Readonly<Record<string, readonly string[]>>;
  readonly origin: string;
}

/** A port of hub 0 that there is by name only: its two ports are a cable. */
export interface HubPortConfig {
  readonly port: string;
  readonly netdev: string;
  /** The card is at this port, and the netdev at the other. */
  readonly card: boolean;
}

export interface ObjectConfig {
  readonly id: string;
  readonly type: string;
  readonly values: Readonly<Record<string, PropertyValue>>;
  readonly origin: string;
}

/** A device in the order in which it is plugged. Its entries are read by its class (registry.ts). */
export interface DeviceConfig {
  readonly driver: string;
  readonly entries: readonly OptionEntry[];
  readonly origin: string;
}

/** A default for a property of devices of a kind (`-global`). */
export interface GlobalConfig {
  readonly driver: string;
  readonly property: string;
  readonly value: string;
  readonly origin: string;
}

export interface FwCfgConfig {
  readonly name: string;
  readonly file?: string;
  readonly text?: string;
  readonly origin: string;
}

export interface TraceConfig {
  /** Patterns of trace points to print. */
  readonly patterns: readonly string[];
  /** Print what guests do wrong, and what we lack, in `-d`'s words `guest_errors` and `unimp`. */
  readonly guestErrors: boolean;
  readonly unimplemented: boolean;
  readonly file: string | undefined;
  /** Translated code outside of these linear addresses is not shown; none: all is. Ends are included. */
  readonly ranges: readonly { readonly start: bigint; readonly end: bigint }[];
}

export interface MachineConfig {
  readonly machine: 'pc' | 'q35';
  readonly hpet: boolean;
  readonly acpi: boolean;
  readonly cpu: CpuConfig;
  /** Bytes. */
  readonly memory: number;
  readonly name: string | undefined;
  readonly processTitle: string | undefined;
  readonly uuid: string | undefined;
  readonly rtc: RtcConfig;
  readonly icount: IcountConfig | undefined;
  /** What the guest's random numbers come of; undefined: the host's. */
  readonly seed: bigint | undefined;
  readonly kernel: FileSource | undefined;
  readonly initrd: FileSource | undefined;
  readonly append: string;
  readonly rebootExits: boolean;
  readonly shutdownStops: boolean;
  readonly startPaused: boolean;
  /** A slot is kept for the video card that QEMU would plug (at 00:02.0 on pc, 00:01.0 on q35). */
  readonly videoSlot: boolean;
  readonly chardevs: readonly ChardevConfig[];
  /** Ids of chardevs for COM1…; undefined where there is no port. */
  readonly serials: readonly (string | undefined)[];
  readonly monitors: readonly MonitorConfig[];
  /** The byte that a mux takes for itself. */
  readonly escapeKey: number;
  readonly blockdevs: readonly BlockdevConfig[];
  readonly drives: readonly DriveConfig[];
  readonly netdevs: readonly NetdevConfig[];
  readonly hubPorts: readonly HubPortConfig[];
  readonly objects: readonly ObjectConfig[];
  readonly devices: readonly DeviceConfig[];
  readonly globals: readonly GlobalConfig[];
  readonly fwCfg: readonly FwCfgConfig[];
  readonly trace: TraceConfig;
  readonly pidfile: string | undefined;
  readonly stats: boolean;
  /** Translated code goes from run to run (-accel tcg,tb-cache=). */
  readonly keepTranslations: boolean;
  /** Bytes that translated code may take (-accel tcg,tb-size=); 0: as many as the processor likes. */
  readonly translationBytes: number;
  /** File of symbols for `stats`. */
  readonly symbols: string | undefined;
  /** Messages carry the time. */
  readonly timestamps: boolean;
  /** Notes for the user: what was accepted without effect. */
  readonly notes: readonly string[];
}

/** RAM when -m is not given: 128 MiB, as QEMU's PC has. */
export const DEFAULT_MEMORY = 128 * 2 ** 20;
/** One WebAssembly memory holds 4 GiB, and the processor keeps its own tables there. Whole MiB. */
export const MAX_MEMORY = Math.floor(MAX_GUEST_RAM / 2 ** 20) * 2 ** 20;
