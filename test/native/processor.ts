/**
 * The host's own x86-64 processor as an oracle for tests: runs a piece of machine code with given registers, flags and
 * x87/SSE state, and tells the state afterwards, or the fault that stopped it. Linux on x86-64 with koffi only:
 * elsewhere `openNative` gives null and the test says that it skipped.
 */
import { createRequire } from 'node:module';
import {
  CONTEXT,
  ENTRY,
  ENTRY_LEGACY,
  EXIT,
  HANDLER,
  IN,
  IN_FX,
  OLD_HANDLERS,
  OUT,
  OUT_FX,
  STATE_CR2,
  STATE_DS,
  STATE_ERROR,
  STATE_ES,
  STATE_FAR,
  STATE_RFLAGS,
  STATE_RIP,
  STATE_SIGNAL,
  STATE_SS,
  STATE_TRAP,
  stubCode,
} from './stub.ts';

export const SIGILL = 4;
export const SIGTRAP = 5;
export const SIGBUS = 7;
export const SIGFPE = 8;
export const SIGSEGV = 11;

/**
 * Where the mapping lies, every time: below 2 GiB, so that code may use 32-bit addresses, and above where the heap of
 * a program that is not position-independent may start (up to 1 GiB behind it).
 */
export const NATIVE_BASE = 0x7000_0000;
const CODE_OFFSET = 0x1_0000;
const DATA_OFFSET = 0x2_0000;
/** Bytes of the areas for code and for data; the data area is followed by an unmapped one. */
export const AREA_BYTES = 0x1_0000;
export const NATIVE_CODE = NATIVE_BASE + CODE_OFFSET;
export const NATIVE_DATA = NATIVE_BASE + DATA_OFFSET;

const MAP_BYTES = DATA_OFFSET + AREA_BYTES;
const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const PROT_READ_WRITE_EXEC = 7;
const MAP_PRIVATE_ANONYMOUS = 0x2 | 0x20;
const MAP_PRIVATE_ANONYMOUS_FIXED_NOREPLACE = MAP_PRIVATE_ANONYMOUS | 0x100000;
const SA_SIGINFO_ONSTACK_NODEFER = 0x4 | 0x08000000 | 0x40000000;
const SIGACTION_BYTES = 152;
/** Of the stack that faults are handled on: a frame with all of the processor's vector state is at most 11 KiB. */
const SIGNAL_STACK_BYTES = 0x1_0000;
const SIG_SETMASK = 2;
const SYS_MODIFY_LDT = 154;
/** Present form of `struct user_desc`. */
const MODIFY_LDT_WRITE = 0x11;

/** What stopped the code. signal 0: it reached its end. */
export interface NativeStop {
  readonly signal: number;
  /** Exception vector, error code and address, when there was a signal. */
  readonly vector: number;
  readonly error: number;
  readonly address: bigint;
}

/** Registers as the code finds them (`input`) or leaves them (`output`). */
export interface NativeRegisters {
  /** RAX RCX RDX RBX RSP RBP RSI RDI R8..R15, then RFLAGS, then RIP (output: of the instruction that faulted). */
  readonly words: BigUint64Array;
  /** FXSAVE64 image. */
  readonly fx: DataView;
}

export const RFLAGS_WORD = 16;
export const RIP_WORD = 17;

type Call = (...args: unknown[]) => unknown;

/** A segment of the process's local descriptor table. */
export interface NativeSegment {
  readonly base: number;
  /** Last offset (expand-down: last offset that is not allowed); above FFFFFh a multiple of 4096 less 1. */
  readonly limit: number;
  /** Default operand and address size of code, B bit of data. */
  readonly bits: 16 | 32;
  readonly kind: 'code' | 'data' | 'expand-down';
}

/** Selectors for legacy code. */
export interface NativeSelectors {
  readonly cs: number;
  readonly ds: number;
  readonly es: number;
  readonly ss: number;
}

/** Linux's flat 32-bit code and data segments for user code. */
export const FLAT_SELECTORS: NativeSelectors = { cs: 0x23, ds: 0x2b, es: 0x2b, ss: 0x2b };
const CODE64_SELECTOR = 0x33;

export class NativeProcessor {
  readonly input: NativeRegisters;
  readonly output: NativeRegisters;
  /** Address of the stack that faults are handled on: above 4 GiB. A fault with RSP inside it may end the process. */
  readonly signalStack: bigint;
  /** AREA_BYTES bytes at NATIVE_CODE. */
  readonly code: Uint8Array;
  /** AREA_BYTES bytes at NATIVE_DATA. */
  readonly data: Uint8Array;
  private readonly enter: () => unknown;
  private readonly enterLegacy: () => unknown;
  private readonly modifyLdt: (entry: Uint8Array) => number;
  private readonly legacyInput: DataView;
  private readonly mprotect: (address: number, bytes: number, protection: number) => number;
  private readonly out: DataView;
  private readonly unmap: () => void;

  constructor(
    map: ArrayBuffer,
    signalStack: bigint,
    enter: () => unknown,
    enterLegacy: () => unknown,
    modifyLdt: (entry: Uint8Array) => number,
    mprotect: (address: number, bytes: number, protection: number) => number,
    unmap: () => void,
  ) {
    const registers = (words: number, fx: number): NativeRegisters => ({
      words: new BigUint64Array(map, words, 18),
      fx: new DataView(map, fx, 512),
    });
    this.input = registers(IN, IN_FX);
    this.output = registers(OUT, OUT_FX);
    this.signalStack = signalStack;
    this.out = new DataView(map, OUT, 0xb0);
    this.code = new Uint8Array(map, CODE_OFFSET, AREA_BYTES);
    this.data = new Uint8Array(map, DATA_OFFSET, AREA_BYTES);
    this.enter = enter;
    this.enterLegacy = enterLegacy;
    this.modifyLdt = modifyLdt;
    this.mprotect = mprotect;
    this.legacyInput = new DataView(map, IN, 0x100);
    this.unmap = unmap;
    this.reset();
  }

  /** Input registers to a plain start: zeros, RSP in the data area, default x87 and SSE control, end of data as stack. */
  reset(): void {
    this.input.words.fill(0n);
    this.input.words[4] = BigInt(NATIVE_DATA + AREA_BYTES - 256);
    this.input.words[RFLAGS_WORD] = 0x202n;
    this.input.words[RIP_WORD] = BigInt(NATIVE_CODE);
    const fx = this.input.fx;
    for (let i = 0; i < 512; i += 8) fx.setBigUint64(i, 0n);
    fx.setUint16(0, 0x37f, true);
    fx.setUint32(24, 0x1f80, true);
  }

  /** Writes code at an offset of the code area, followed by the jump that ends the run. */
  load(code: Uint8Array | readonly number[], offset = 0): void {
    this.code.set(code, offset);
    const end = offset + code.length;
    this.code[end] = 0xe9; // jmp rel32
    new DataView(this.code.buffer, this.code.byteOffset).setInt32(
      end + 1,
      NATIVE_BASE + EXIT - (NATIVE_CODE + end + 5),
      true,
    );
  }

  /** Lets a page (of 4096 bytes) of the data area be written, or not. */
  protectPage(page: number, writable: boolean): void {
    const protection = writable ? PROT_READ_WRITE_EXEC : PROT_READ;
    if (this.mprotect(NATIVE_DATA + 4096 * page, 4096, protection) !== 0) throw new Error('mprotect failed');
  }

  /** Runs from input RIP with all input registers. Code that never ends hangs the test. */
  run(): number {
    return Number(this.enter());
  }

  /** Like `load`, for code in a legacy segment of `bits`: the run ends by a far jump. */
  loadLegacy(code: Uint8Array | readonly number[], bits: 16 | 32, offset = 0): void {
    this.code.set(code, offset);
    let end = offset + code.length;
    if (bits === 16) this.code[end++] = 0x66;
    this.code[end] = 0xea; // jmp ptr16:32
    const view = new DataView(this.code.buffer, this.code.byteOffset);
    view.setUint32(end + 1, NATIVE_BASE + EXIT, true);
    view.setUint16(end + 5, CODE64_SELECTOR, true);
  }

  /** Runs legacy code at `offset` of CS, with the first eight input registers (their low halves) and input RFLAGS. */
  runLegacy(offset: number, selectors: NativeSelectors): number {
    const view = this.legacyInput;
    view.setUint32(STATE_FAR, offset, true);
    view.setUint16(STATE_FAR + 4, selectors.cs, true);
    view.setUint32(STATE_DS, selectors.ds, true);
    view.setUint32(STATE_ES, selectors.es, true);
    view.setUint32(STATE_SS, selectors.ss, true);
    return Number(this.enterLegacy());
  }

  /** Puts a segment into entry `entry` of the local descriptor table; gives its selector. */
  setSegment(entry: number, segment: NativeSegment): number {
    const pages = segment.limit > 0xfffff;
    const descriptor = new DataView(new ArrayBuffer(16));
    descriptor.setUint32(0, entry, true);
    descriptor.setUint32(4, segment.base, true);
    descriptor.setUint32(8, pages ? segment.limit >>> 12 : segment.limit, true);
    const contents = { data: 0, 'expand-down': 1, code: 2 }[segment.kind];
    const USEABLE = 1 << 6;
    descriptor.setUint32(
      12,
      (segment.bits === 32 ? 1 : 0) | (contents << 1) | (pages ? 1 << 4 : 0) | USEABLE,
      true,
    );
    if (this.modifyLdt(new Uint8Array(descriptor.buffer)) !== 0)
      throw new Error(`modify_ldt refused entry ${entry}`);
    return (entry << 3) | 7;
  }

  /** How the last run ended. */
  stop(): NativeStop {
    const word = (at: number): bigint => this.out.getBigUint64(at, true);
    return {
      signal: Number(word(STATE_SIGNAL)),
      vector: Number(word(STATE_TRAP)),
      error: Number(word(STATE_ERROR)),
      address: word(STATE_CR2),
    };
  }

  close(): void {
    this.unmap();
  }
}

const STATE_WORDS_END = STATE_RIP + 8;
if (STATE_WORDS_END !== 18 * 8 || STATE_RFLAGS !== RFLAGS_WORD * 8) throw new Error('native stub: layout');

/** The oracle, or the reason why there is none. Only one may be open in a process. */
export function openNative(): NativeProcessor | string {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    return `not x86-64 Linux (${process.platform} ${process.arch})`;
  let koffi: typeof import('koffi');
  try {
    koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');
  } catch (error) {
    return `koffi cannot be loaded: ${String(error)}`;
  }
  const libc = koffi.load('libc.so.6');
  const mmap = libc.func('void *mmap(uintptr_t, size_t, int, int, int, int64_t)') as Call;
  const munmap = libc.func('int munmap(uintptr_t, size_t)') as Call;
  const mprotect = libc.func('int mprotect(uintptr_t, size_t, int)') as Call;
  const sigaction = libc.func('int sigaction(int, const uint8_t *, uint8_t *)') as Call;
  const pthreadSigmask = libc.func('int pthread_sigmask(int, const uint8_t *, uint8_t *)') as Call;
  const sigaltstack = libc.func('int sigaltstack(const uint8_t *, uint8_t *)') as Call;

  const at = mmap(NATIVE_BASE, MAP_BYTES, PROT_READ_WRITE_EXEC, MAP_PRIVATE_ANONYMOUS_FIXED_NOREPLACE, -1, 0);
  if (BigInt(koffi.address(at)) !== BigInt(NATIVE_BASE))
    return `no executable memory at ${NATIVE_BASE.toString(16)} (errno ${koffi.errno()})`;
  const map = koffi.view(at, MAP_BYTES);
  new Uint8Array(map).set(stubCode());
  const view = new DataView(map);
  if (view.byteLength < CONTEXT + 0xa00) return 'mapping too small';

  // The handler runs on its own stack: RSP of the code under test may be anything. Linux goes on with the stack that it
  // finds when RSP points into this one, and kills the process when there is no room for a frame below it. So it must
  // be where no ESP points: not in the C library's heap, which is below 4 GiB in a program at a fixed address.
  const stack = mmap(0, SIGNAL_STACK_BYTES, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0);
  const signalStack = BigInt(koffi.address(stack));
  if (signalStack <= 0xffff_ffffn || BigInt.asIntN(64, signalStack) === -1n)
    return `no memory for a signal stack above 4 GiB (${signalStack.toString(16)})`;
  const stackT = new DataView(new ArrayBuffer(24));
  stackT.setBigUint64(0, signalStack, true);
  stackT.setBigUint64(16, BigInt(SIGNAL_STACK_BYTES), true);
  const stackBefore = new Uint8Array(24);
  sigaltstack(new Uint8Array(stackT.buffer), stackBefore);

  const ours = new DataView(new ArrayBuffer(SIGACTION_BYTES));
  ours.setBigUint64(0, BigInt(NATIVE_BASE + HANDLER), true);
  ours.setInt32(136, SA_SIGINFO_ONSTACK_NODEFER, true);
  const old = new Map<number, Uint8Array>();
  for (const signal of [SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV]) {
    const before = new Uint8Array(SIGACTION_BYTES);
    sigaction(signal, new Uint8Array(ours.buffer), before);
    old.set(signal, before);
    view.setBigUint64(OLD_HANDLERS + 8 * signal, new DataView(before.buffer).getBigUint64(0, true), true);
  }
  // A signal from outside would be handled on whatever stack the code under test has: other threads take those.
  const mask = (set: Uint8Array | null, before: Uint8Array | null): unknown =>
    pthreadSigmask(SIG_SETMASK, set, before);
  const blocked = new Uint8Array(128).fill(0xff);
  for (const signal of old.keys()) blocked[(signal - 1) >> 3]! &= ~(1 << ((signal - 1) & 7));
  const maskBefore = new Uint8Array(128);
  mask(blocked, maskBefore);

  const prototype = koffi.proto('int64_t native_entry()');
  const enter = (): unknown => koffi.call(BigInt(NATIVE_BASE + ENTRY), prototype);
  const enterLegacy = (): unknown => koffi.call(BigInt(NATIVE_BASE + ENTRY_LEGACY), prototype);
  const syscall = libc.func('int64_t syscall(int64_t, int64_t, uint8_t *, int64_t)') as Call;
  const modifyLdt = (entry: Uint8Array): number =>
    Number(syscall(SYS_MODIFY_LDT, MODIFY_LDT_WRITE, entry, entry.length));
  const protect = (address: number, bytes: number, protection: number): number =>
    Number(mprotect(address, bytes, protection));
  return new NativeProcessor(map, signalStack, enter, enterLegacy, modifyLdt, protect, () => {
    for (const [signal, before] of old) sigaction(signal, before, null);
    mask(maskBefore, null);
    sigaltstack(stackBefore, null);
    munmap(signalStack, SIGNAL_STACK_BYTES);
    munmap(NATIVE_BASE, MAP_BYTES);
  });
}
