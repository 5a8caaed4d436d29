/** The register dump, in the form in which QEMU's monitor prints `info registers`. */
import * as L from './layout.ts';

const NAMES = ['RAX', 'RCX', 'RDX', 'RBX', 'RSP', 'RBP', 'RSI', 'RDI'];
const SEGMENTS = ['ES', 'CS', 'SS', 'DS', 'FS', 'GS', 'LDT', 'TR'];

export function describeRegisters(view: DataView, rflags: bigint): string {
  const u64 = (at: number): string => view.getBigUint64(at, true).toString(16).padStart(16, '0');
  const u32 = (at: number): string => view.getUint32(at, true).toString(16).padStart(8, '0');
  const lines: string[] = [];
  const order = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
  for (let i = 0; i < 16; i += 4)
    lines.push(
      order
        .slice(i, i + 4)
        .map((n) => `${(NAMES[n] ?? `R${n}`).padEnd(3)}=${u64(L.GPR + 8 * n)}`)
        .join(' '),
    );
  const flag = (bit: number, letter: string): string => ((rflags >> BigInt(bit)) & 1n ? letter : '-');
  const flags =
    flag(10, 'D') + flag(11, 'O') + flag(7, 'S') + flag(6, 'Z') + flag(4, 'A') + flag(2, 'P') + flag(0, 'C');
  lines.push(
    `RIP=${u64(L.RIP)} RFL=${rflags.toString(16).padStart(8, '0')} [${flags}] CPL=${view.getInt32(L.CPL, true)} ` +
      `II=${view.getInt32(L.SHADOW, true)} A20=1 SMM=0 HLT=${view.getInt32(L.HALTED, true)}`,
  );
  for (const [n, name] of SEGMENTS.entries())
    lines.push(
      `${name.padEnd(3)}=${(view.getUint32(L.SEG_SEL + 4 * n, true) & 0xffff).toString(16).padStart(4, '0')} ` +
        `${u64(L.SEG_BASE + 8 * n)} ${u32(L.SEG_LIMIT + 4 * n)} ` +
        (view.getUint32(L.SEG_ATTR + 4 * n, true) << 8).toString(16).padStart(8, '0'),
    );
  lines.push(`GDT=     ${u64(L.GDT_BASE)} ${u32(L.GDT_LIMIT)}`);
  lines.push(`IDT=     ${u64(L.IDT_BASE)} ${u32(L.IDT_LIMIT)}`);
  lines.push(`CR0=${u32(L.CR0)} CR2=${u64(L.CR2)} CR3=${u64(L.CR3)} CR4=${u32(L.CR4)}`);
  lines.push([0, 1, 2, 3].map((n) => `DR${n}=${u64(L.DR + 8 * n)}`).join(' '));
  lines.push(`DR6=${u64(L.DR + 48)} DR7=${u64(L.DR + 56)}`);
  lines.push(`EFER=${u64(L.EFER)}`);
  lines.push(
    `FCW=${u32(L.FCW).slice(4)} FSW=${u32(L.FSW).slice(4)} FTW=${u32(L.FTW).slice(4)} MXCSR=${u32(L.MXCSR)}`,
  );
  for (let n = 0; n < 16; n++)
    lines.push(`XMM${String(n).padStart(2, '0')}=${u64(L.XMM + 16 * n + 8)}${u64(L.XMM + 16 * n)}`);
  return `${lines.join('\n')}\n`;
}
