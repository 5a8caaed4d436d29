/**
 * What a region writes in place of a call of the runtime, for short system instructions that kernels are full of. Only
 * the common case stands here: what has to raise an exception, or to look at an interrupt, leaves the region at the
 * instruction, which the interpreter then does by the runtime's function. For 64-bit code. Source: Intel SDM volume 2.
 */
import * as w from '../../wasm/ops.ts';
import type { Expr } from '../../wasm/expr.ts';
import type { Insn } from '../decode/insn.ts';
import * as L from '../layout.ts';
import type { RegionEmitter } from './emitter.ts';

type Inline = (e: RegionEmitter, insn: Insn) => void;

const IF = 0x200;
const RF = 0x10000;
const VM = 0x20000;
const AC = 0x40000;
const CR4_FSGSBASE = 0x10000;
const CR4_SMAP = 0x200000;
const SEG_FS = 4;
const SEG_GS = 5;
/** TLBs of supervisor accesses, with SMAP in force and without. */
const TLB_SMAP = L.TLB;
const TLB_SUPERVISOR = L.TLB + L.TLB_BYTES;

const zero = w.i32(0);

function changeFlags(e: RegionEmitter, change: (flags: Expr) => Expr): void {
  e.f.store32(zero, change(w.load32(zero, L.EFLAGS)), L.EFLAGS);
}

/** Goes on at CPL 0 only: elsewhere these raise an exception, or ask for IOPL. */
function atRing0(e: RegionEmitter): void {
  e.failIf(w.load32(zero, L.CPL));
}

const cli: Inline = (e) => {
  atRing0(e);
  changeFlags(e, (flags) => w.and(flags, ~IF));
};

/**
 * As nobody asks for an interrupt, there is nothing to hold off: a region that leaves before the next instruction sets
 * SHADOW itself (write-region.ts).
 */
const sti: Inline = (e) => {
  e.failIf(w.or(w.load32(zero, L.CPL), w.load32(zero, L.ATTENTION)));
  changeFlags(e, (flags) => w.or(flags, IF));
};

const swapgs: Inline = (e) => {
  atRing0(e);
  const base = e.tmp(w.load64(zero, L.SEG_BASE + 8 * SEG_GS));
  e.f.store64(zero, w.load64(zero, L.KERNEL_GS_BASE), L.SEG_BASE + 8 * SEG_GS);
  e.f.store64(zero, base, L.KERNEL_GS_BASE);
};

const stac: Inline = (e) => {
  atRing0(e);
  changeFlags(e, (flags) => w.or(flags, AC));
  e.setTlb(w.i32(TLB_SUPERVISOR));
};

const clac: Inline = (e) => {
  atRing0(e);
  changeFlags(e, (flags) => w.and(flags, ~AC));
  const smap = w.and(w.load32(zero, L.CR4), CR4_SMAP);
  e.setTlb(w.select(smap, w.i32(TLB_SMAP), w.i32(TLB_SUPERVISOR)));
};

/** The image has RF and VM clear; bit 1 is set in EFLAGS. */
const pushf: Inline = (e, insn) => {
  const system = w.and(e.systemFlags(), ~(RF | VM));
  const image = w.zext(w.or(system, e.arithmeticFlags()));
  if (insn.opsize === 8) e.push(8, image);
  else e.push(2, w.and(w.wrap(image), 0xffff));
};

/** MOV to a register only: the selector, zero-extended to 32 and 64 bits. */
const fromSegment: Inline = (e, { operands: [destination, segment] }) => {
  const selector = w.load32(zero, L.SEG_SEL + 4 * segment!.reg);
  if (destination!.size === 2) e.setGpr(destination!.reg, 2, w.and(selector, 0xffff));
  else e.setGpr(destination!.reg, 8, w.zext(w.and(selector, 0xffff)));
};

function basesAllowed(e: RegionEmitter): void {
  e.failIf(w.eqz(w.and(w.load32(zero, L.CR4), CR4_FSGSBASE)));
}

const readBase =
  (segment: number): Inline =>
  (e, { operands: [destination] }) => {
    basesAllowed(e);
    const base = w.load64(zero, L.SEG_BASE + 8 * segment);
    e.write(destination!, destination!.size === 8 ? base : w.wrap(base));
  };

const writeBase =
  (segment: number): Inline =>
  (e, { operands: [source] }) => {
    basesAllowed(e);
    const x = e.read(source!);
    const base = e.tmp(source!.size === 8 ? x : w.zext(x));
    // #GP if it is not canonical: with 57 bits the interpreter may find that it is
    e.failIf(w.ne(w.shrS(w.shl(base, w.i64(16)), w.i64(16)), base));
    e.f.store64(zero, base, L.SEG_BASE + 8 * segment);
  };

const BY_HELPER: Readonly<Record<string, Inline>> = {
  op_cli: cli,
  op_sti: sti,
  op_swapgs: swapgs,
  op_stac: stac,
  op_clac: clac,
  op_pushf: pushf,
  op_rdfsbase: readBase(SEG_FS),
  op_rdgsbase: readBase(SEG_GS),
  op_wrfsbase: writeBase(SEG_FS),
  op_wrgsbase: writeBase(SEG_GS),
  op_nop: () => undefined,
};

/** The code for `insn`, or undefined when the runtime is to be called. */
export function inlineOf(insn: Insn): Inline | undefined {
  const { helper } = insn.def;
  if (helper === undefined) return undefined;
  if (helper === 'op_mov_from_seg')
    return insn.mem === undefined && insn.operands[1]!.reg <= SEG_GS ? fromSegment : undefined;
  return BY_HELPER[helper];
}
