/** The register dump, in the form in which QEMU's monitor prints `info registers`. */
import * as L from './layout.ts';

/** In the order in which they are printed. */
const LONG = ['RAX', 'RBX', 'RCX', 'RDX', 'RSI', 'RDI', 'RBP', 'RSP'];
const LEGACY = ['EAX', 'EBX', 'ECX', 'EDX', 'ESI', 'EDI', 'EBP', 'ESP'];
const ORDER = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDT', 'TR'];
const CS = 1;

/** Bits of a descriptor's second word (Intel SDM volume 3, "Segment Descriptors"). */
const DESC_PRESENT = 1 << 15;
const DESC_S = 1 << 12;
const DESC_CODE = 1 << 11;
const DESC_CONFORMING = 1 << 10;
const DESC_WRITE = 1 << 9;
const DESC_ACCESSED = 1 << 8;
const DESC_LONG = 1 << 21;
const DESC_BIG = 1 << 22;
const DESC_GRANULARITY = 1 << 23;
const DPL_SHIFT = 13;
const EFER_LMA = 0x400;
const CR0_PE = 1;

/** Names of system descriptors by their type, in legacy and in long mode. */
const SYSTEM = [
  ...['Reserved', 'TSS16-avl', 'LDT', 'TSS16-busy', 'CallGate16', 'TaskGate', 'IntGate16', 'TrapGate16'],
  ...['Reserved', 'TSS32-avl', 'Reserved', 'TSS32-busy', 'CallGate32', 'Reserved', 'IntGate32', 'TrapGate32'],
];
const SYSTEM_LONG = [
  ...['<hiword>', 'Reserved', 'LDT', 'Reserved', 'Reserved', 'Reserved', 'Reserved', 'Reserved'],
  ...['Reserved', 'TSS64-avl', 'Reserved', 'TSS64-busy', 'CallGate64', 'Reserved', 'IntGate64', 'TrapGate64'],
];

const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');

/** What a descriptor is, such as `DPL=0 CS64 [-RA]`. */
function describeSegment(flags: number, long: boolean): string {
  let text = ` DPL=${(flags >> DPL_SHIFT) & 3} `;
  const letter = (bit: number, shown: string): string => ((flags & bit) !== 0 ? shown : '-');
  if ((flags & DESC_S) === 0) return text + (long ? SYSTEM_LONG : SYSTEM)[(flags >> 8) & 15]!;
  if ((flags & DESC_CODE) !== 0) {
    text += (flags & DESC_LONG) !== 0 ? 'CS64' : (flags & DESC_BIG) !== 0 ? 'CS32' : 'CS16';
    text += ` [${letter(DESC_CONFORMING, 'C')}${letter(DESC_WRITE, 'R')}`;
  } else {
    text += (flags & DESC_BIG) !== 0 || long ? 'DS  ' : 'DS16';
    text += ` [${letter(DESC_CONFORMING, 'E')}${letter(DESC_WRITE, 'W')}`;
  }
  return `${text}${letter(DESC_ACCESSED, 'A')}]`;
}

/** @param rflags with the arithmetic flags computed */
export function describeRegisters(view: DataView, rflags: bigint): string {
  const u64 = (at: number): string => hex(view.getBigUint64(at, true), 16);
  const u32 = (at: number): string => hex(view.getUint32(at, true), 8);
  const flagsOf = (segment: number): number => {
    const attributes = view.getUint32(L.SEG_ATTR + 4 * segment, true) << 8;
    const limit = view.getUint32(L.SEG_LIMIT + 4 * segment, true);
    // The descriptor's word has the upper bits of the limit, in its own units.
    const upper = ((attributes & DESC_GRANULARITY) !== 0 ? limit >>> 28 : limit >>> 16) & 15;
    return (attributes | (upper << 16)) >>> 0;
  };
  const lma = (Number(view.getBigUint64(L.EFER, true) & 0xffffffffn) & EFER_LMA) !== 0;
  const code64 = lma && (flagsOf(CS) & DESC_LONG) !== 0;
  const address = (at: number): string => (lma ? u64(at) : u32(at));
  const lines: string[] = [];
  const names = code64 ? LONG : LEGACY;
  const count = code64 ? 16 : 8;
  for (let i = 0; i < count; i += 4)
    lines.push(
      ORDER.slice(i, i + 4)
        .map(
          (n, k) =>
            `${(names[i + k] ?? `R${n}`).padEnd(3)}=${code64 ? u64(L.GPR + 8 * n) : u32(L.GPR + 8 * n)}`,
        )
        .join(' '),
    );
  const flag = (bit: number, letter: string): string => ((rflags >> BigInt(bit)) & 1n ? letter : '-');
  const flags =
    flag(10, 'D') + flag(11, 'O') + flag(7, 'S') + flag(6, 'Z') + flag(4, 'A') + flag(2, 'P') + flag(0, 'C');
  const counter = code64 ? `RIP=${u64(L.RIP)} RFL` : `EIP=${u32(L.RIP)} EFL`;
  lines.push(
    `${counter}=${hex(rflags, 8)} [${flags}] CPL=${view.getInt32(L.CPL, true)} ` +
      `II=${view.getInt32(L.SHADOW, true) === 0 ? 0 : 1} A20=1 SMM=0 HLT=${view.getInt32(L.HALTED, true)}`,
  );
  // Real mode has no descriptors to explain.
  const described = (view.getUint32(L.CR0, true) & CR0_PE) !== 0;
  for (const [n, name] of SEGMENTS.entries()) {
    const attributes = flagsOf(n);
    const shown = described && (attributes & DESC_PRESENT) !== 0;
    lines.push(
      `${name.padEnd(3)}=${hex(view.getUint32(L.SEG_SEL + 4 * n, true) & 0xffff, 4)} ` +
        `${code64 ? u64(L.SEG_BASE + 8 * n) : u32(L.SEG_BASE + 8 * n)} ${u32(L.SEG_LIMIT + 4 * n)} ${hex(attributes, 8)}` +
        (shown ? describeSegment(attributes, lma) : ''),
    );
  }
  lines.push(`GDT=     ${address(L.GDT_BASE)} ${u32(L.GDT_LIMIT)}`);
  lines.push(`IDT=     ${address(L.IDT_BASE)} ${u32(L.IDT_LIMIT)}`);
  lines.push(`CR0=${u32(L.CR0)} CR2=${address(L.CR2)} CR3=${address(L.CR3)} CR4=${u32(L.CR4)}`);
  lines.push(`${[0, 1, 2, 3].map((n) => `DR${n}=${u64(L.DR + 8 * n)}`).join(' ')} `);
  lines.push(`DR6=${u64(L.DR + 48)} DR7=${u64(L.DR + 56)}`);
  lines.push(`EFER=${u64(L.EFER)}`);
  pushFloatingPoint(view, lines, code64 ? 16 : 8);
  return `${lines.join('\n')}\n`;
}

function pushFloatingPoint(view: DataView, lines: string[], vectors: number): void {
  const u64 = (at: number): string => hex(view.getBigUint64(at, true), 16);
  const status = view.getUint32(L.FSW, true) & 0xffff;
  lines.push(
    `FCW=${hex(view.getUint32(L.FCW, true) & 0xffff, 4)} FSW=${hex(status, 4)} [ST=${(status >> 11) & 7}] ` +
      `FTW=${hex(validRegisters(view.getUint32(L.FTW, true)), 2)} MXCSR=${hex(view.getUint32(L.MXCSR, true), 8)}`,
  );
  for (let n = 0; n < 8; n += 2)
    lines.push(
      [n, n + 1]
        .map((i) => `FPR${i}=${u64(L.X87 + 16 * i)} ${hex(view.getUint16(L.X87 + 16 * i + 8, true), 4)}`)
        .join(' '),
    );
  for (let n = 0; n < vectors; n += 2)
    lines.push(
      [n, n + 1]
        .map((i) => `XMM${String(i).padStart(2, '0')}=${u64(L.XMM + 16 * i + 8)} ${u64(L.XMM + 16 * i)}`)
        .join(' '),
    );
}

/** A bit for each x87 register that is not empty, from the tag word's two bits each (3: empty). */
function validRegisters(tags: number): number {
  let valid = 0;
  for (let i = 0; i < 8; i++) if (((tags >> (2 * i)) & 3) !== 3) valid |= 1 << i;
  return valid;
}
