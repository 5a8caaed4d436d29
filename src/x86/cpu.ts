/**
 * One x86-64 processor with its memory: what the machine around it sees. The processor knows no PC: whatever is
 * not plain memory or its own register goes through `CpuBus`.
 */
import type { GuestMemory } from '../core/memory.ts';

/** The outside of the processor, provided by the machine. Values are unsigned 32-bit numbers. */
export interface CpuBus {
  readPort(port: number, size: 1 | 2 | 4): number;
  writePort(port: number, size: 1 | 2 | 4, value: number): void;
  /** Guest-physical accesses outside RAM and ROM. */
  readMmio(address: number, size: 1 | 2 | 4): number;
  writeMmio(address: number, size: 1 | 2 | 4, value: number): void;
  /** The vector to take now (interrupt acknowledge cycle), or -1 when there is none after all. */
  acknowledgeInterrupt(): number;
  /** MSRs that belong to the local APIC (1Bh, 6E0h, 800h-8FFh): undefined / false for one that does not exist. */
  readMsr(index: number): { low: number; high: number } | undefined;
  writeMsr(index: number, low: number, high: number): boolean;
  /** CR8, the task priority (0..15). */
  readCr8(): number;
  writeCr8(value: number): void;
  /** Ticks of the time stamp counter, 1 GHz: nanoseconds of the machine's clock. */
  readTsc(): number;
  /**
   * For how many instructions after `readTsc` the counter may be told from the instructions done since; nothing or 0: the
   * processor asks each time.
   */
  readonly tscEstimate?: number;
  /** 32 random bits for RDRAND. */
  random(): number;
}

/** Why `run` returned. */
export type RunResult =
  /** The instructions that it was given are used up. */
  | 'budget'
  /** HLT with interrupts as RFLAGS.IF says; call `run` again after `setInterrupt(true)`. */
  | 'halted'
  /** Triple fault. */
  | 'shutdown'
  /** `stop()` was called. */
  | 'stopped';

/** Registers that loaders set before the first instruction. */
export interface EntryState {
  /** 'real': as after reset but at cs:ip; 'flat32': protected mode, flat segments, no paging (multiboot, PVH);
   * 'long': 64-bit mode with paging on `cr3`, flat segments (Linux 64-bit entry). */
  readonly mode: 'reset' | 'real' | 'flat32' | 'long';
  readonly rip: bigint;
  readonly rsp?: bigint;
  readonly rsi?: bigint;
  readonly rbx?: bigint;
  readonly rax?: bigint;
  readonly cs?: number;
  readonly cr3?: bigint;
  /** GDT that the entry protocol demands, already in RAM. */
  readonly gdtBase?: bigint;
  readonly gdtLimit?: number;
  readonly codeSelector?: number;
  readonly dataSelector?: number;
}

export interface CpuInterface {
  readonly guestMemory: GuestMemory;
  /** A read-only mapping at `gpa` (firmware). Sizes and addresses are multiples of 4096. */
  mapRom(gpa: number, data: Uint8Array): void;
  reset(): void;
  enter(state: EntryState): void;
  /**
   * Executes up to about `instructions` instructions.
   * @param until time of the bus's `readTsc` after which it had better return: looked at when code is decoded or
   *   translated, which makes instructions take a thousand times as long
   */
  run(instructions: number, until?: number): RunResult;
  /** Level of the interrupt line from the APIC or PIC. May be called from within a bus callback. */
  setInterrupt(level: boolean): void;
  nmi(): void;
  /** Makes `run` return soon; may be called from within a bus callback. */
  stop(): void;
  /**
   * Instructions executed since it was made. Within a bus callback: up to the block that is running, at least; never
   * less than before.
   */
  readonly instructionCount: number;
  /** Figures for `--stats` and `info jit`. */
  stats(): Record<string, number>;
  /**
   * Lists for people: what leaves translated code, and the hottest addresses. `symbols`: text of a System.map, or the
   * like. @throws UsageError when it holds none
   */
  report?(symbols?: string): string;
  /** Register dump in the form of QEMU's `info registers`. */
  describeRegisters(): string;
}
