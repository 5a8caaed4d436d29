/** Exceptions, interrupts and the ways back, in every mode; system calls; far transfers. */
import { describe, expect, it } from 'vitest';
import {
  CODE16,
  CODE32,
  CODE64,
  DATA32,
  DPL3,
  GDT_AT,
  IDT_AT,
  KERNEL_CODE,
  KERNEL_DATA,
  PTE,
  SEGMENT,
  SystemMachine,
  TSS_AT,
  USER_CODE,
  USER_DATA,
} from '../../test/x86/system-machine.ts';
import * as L from './layout.ts';

const { P, W, U } = PTE;
const STACK = 0x9000n;
const HANDLER = 0x6000n;
const CODE = 0x8000n;
const IF = 0x200n;
const TF = 0x100n;
const RF = 0x10000n;

function long(cpl = 0): SystemMachine {
  const m = new SystemMachine()
    .longMode(cpl)
    .identity(P | W | U)
    .tables(CODE64);
  m.set64(L.RSP, STACK);
  m.set64(L.RIP, CODE);
  return m;
}

function flat(cpl = 0): SystemMachine {
  const m = new SystemMachine().flat32(cpl).tables(CODE32);
  m.set64(L.RSP, STACK);
  m.set64(L.RIP, CODE);
  return m;
}

function real(): SystemMachine {
  const m = new SystemMachine();
  m.segment(SEGMENT.CS, 0x100, 0x1000, 0xffff, 0x9b);
  m.segment(SEGMENT.SS, 0x200, 0x2000, 0xffff, 0x93);
  m.set64(L.RIP, 0x50);
  m.set64(L.RSP, 0x800);
  return m;
}

/** The quadwords from the top of the stack. */
function frame(m: SystemMachine, count: number): bigint[] {
  return Array.from({ length: count }, (_, i) => m.phys64(Number(m.rsp) + 8 * i));
}

function words32(m: SystemMachine, count: number): number[] {
  return Array.from({ length: count }, (_, i) => m.phys32(Number(m.rsp) + 4 * i));
}

function raise(m: SystemMachine, vector: number, error: number): void {
  m.call('raise', vector, error);
  m.call('deliverException');
}

describe('64-bit delivery', () => {
  it('pushes SS RSP RFLAGS CS RIP and the error code on an aligned stack', () => {
    const m = long();
    m.gate64(13, 0xffff_8000_1234_5678n);
    m.set64(L.RSP, STACK - 3n);
    m.rflags = IF | 0x8d7n;
    raise(m, 13, 0x50);
    expect(m.rsp).toBe(STACK - 16n - 48n + 0n);
    expect(frame(m, 6)).toEqual([
      0x50n,
      CODE,
      BigInt(KERNEL_CODE),
      RF | IF | 0x8d7n,
      STACK - 3n,
      BigInt(KERNEL_DATA),
    ]);
    expect(m.rip).toBe(0xffff_8000_1234_5678n);
    expect(m.rflags & (IF | TF | RF)).toBe(0n);
    expect(m.rflags & 0x8d5n).toBe(0x8d5n);
  });

  it('a trap gate leaves IF, an interrupt gives no RF', () => {
    const m = long();
    m.gate64(0x40, HANDLER, 15);
    m.rflags = IF | 2n;
    m.set32(L.HALTED, 1);
    m.call('deliverInterrupt', 0x40);
    expect(m.rflags).toBe(IF | 2n);
    expect(frame(m, 5)[2]).toBe(IF | 2n);
    expect(m.get32(L.HALTED)).toBe(0);
  });

  it('switches to RSP0 from ring 3, with a null SS, and comes back by IRET', () => {
    const m = long(3);
    m.setPhys64(TSS_AT + 4, 0xa000n);
    m.gate64(14, HANDLER);
    m.rflags = IF | 0x46n;
    raise(m, 14, 4);
    expect(m.cpl).toBe(0);
    expect(m.selector(SEGMENT.SS)).toBe(0);
    expect(m.selector(SEGMENT.CS)).toBe(KERNEL_CODE);
    expect(m.rsp).toBe(0xa000n - 48n);
    expect(frame(m, 6)).toEqual([4n, CODE, BigInt(USER_CODE), IF | RF | 0x46n, STACK, BigInt(USER_DATA)]);
    expect(m.get32(L.TLB_BASE)).toBe(L.TLB + L.TLB_BYTES);
    m.set64(L.RSP, m.rsp + 8n);
    m.setPhys64(Number(m.rsp), 0x7777n);
    expect(m.exec('48cf')).toBe(L.END_BLOCK);
    expect(m.cpl).toBe(3);
    expect(m.rip).toBe(0x7777n);
    expect(m.rsp).toBe(STACK);
    expect(m.selector(SEGMENT.CS)).toBe(USER_CODE);
    expect(m.selector(SEGMENT.SS)).toBe(USER_DATA);
    expect(m.rflags).toBe(IF | RF | 0x46n);
    expect(m.get32(L.TLB_BASE)).toBe(L.TLB + 2 * L.TLB_BYTES);
  });

  it('takes the stack of an IST entry even without a change of ring', () => {
    const m = long();
    m.setPhys64(TSS_AT + 0x24, 0xb000n);
    m.gate64(2, HANDLER, 14, 0, 1);
    m.call('deliverNmi');
    expect(m.rsp).toBe(0xb000n - 40n);
    expect(m.selector(SEGMENT.SS)).toBe(KERNEL_DATA);
  });

  it('keeps a second NMI until IRET', () => {
    const m = long();
    m.gate64(2, HANDLER);
    m.call('deliverNmi');
    const sp = m.rsp;
    m.set32(L.ATTENTION, L.ATTENTION_NMI);
    m.call('deliverNmi');
    expect(m.rsp).toBe(sp);
    expect(m.get32(L.ATTENTION)).toBe(0);
    m.exec('48cf');
    expect(m.get32(L.ATTENTION)).toBe(L.ATTENTION_NMI);
  });

  it('a gate that is not present gives #NP with its index, INT n below the DPL #GP', () => {
    const m = long(3);
    m.setPhys64(TSS_AT + 4, 0xa000n);
    m.gate64(11, HANDLER);
    m.gate64(13, HANDLER + 0x100n);
    m.gate64(0x80, HANDLER);
    m.step('cd80');
    expect(m.rip).toBe(HANDLER + 0x100n);
    expect(frame(m, 2)).toEqual([0x80n * 8n + 2n, CODE]);
    const n = long();
    n.gate64(11, HANDLER);
    n.gate64(0x21, HANDLER);
    n.setPhys64(IDT_AT + 0x21 * 16, n.phys64(IDT_AT + 0x21 * 16) & ~(0x80n << 40n));
    n.call('deliverInterrupt', 0x21);
    expect(n.rip).toBe(HANDLER);
    expect(frame(n, 1)).toEqual([0x21n * 8n + 3n]);
  });

  it('INT n returns behind itself; INT3 too', () => {
    const m = long(3);
    m.setPhys64(TSS_AT + 4, 0xa000n);
    m.gate64(0x80, HANDLER, 15, 3);
    m.gate64(3, HANDLER, 15, 3);
    m.step('cd80');
    expect(frame(m, 1)).toEqual([CODE + 2n]);
    const n = long();
    n.gate64(3, HANDLER);
    n.step('cc');
    expect(frame(n, 1)).toEqual([CODE + 1n]);
    expect(frame(n, 3)[2]! & RF).toBe(0n);
  });

  it('a page fault on the new stack is a double fault when the first was contributory', () => {
    const m = long();
    m.setPhys64(TSS_AT + 0x24, 0xb000n);
    m.gate64(8, HANDLER, 14, 0, 1);
    m.gate64(13, HANDLER + 0x100n);
    m.gate64(14, HANDLER + 0x200n);
    m.set64(L.RSP, 0x700_0000n);
    raise(m, 14, 0); // #PF then #PF
    expect(m.rip).toBe(HANDLER);
    expect(frame(m, 2)).toEqual([0n, CODE]);
    const n = long();
    n.setPhys64(TSS_AT + 0x24, 0xb000n);
    n.gate64(6, HANDLER);
    n.gate64(14, HANDLER + 0x200n, 14, 0, 1);
    n.set64(L.RSP, 0x700_0000n);
    raise(n, 6, -1); // benign then #PF: the #PF is delivered
    expect(n.rip).toBe(HANDLER + 0x200n);
    expect(n.get64(L.CR2)).toBe(0x700_0000n - 8n);
    expect(frame(n, 2)).toEqual([2n, CODE]);
  });

  it('a triple fault asks for a shutdown', () => {
    const m = long();
    m.set32(L.IDT_LIMIT, 0);
    raise(m, 13, 0);
    expect(m.get32(L.ATTENTION) & L.ATTENTION_SHUTDOWN).toBe(L.ATTENTION_SHUTDOWN);
    expect(m.rip).toBe(CODE);
  });

  it('a handler of a 32-bit code segment is refused in long mode', () => {
    const m = long();
    m.gate64(6, HANDLER, 14, 0, 0, 0x38);
    m.gate64(13, HANDLER);
    raise(m, 6, -1);
    expect(frame(m, 1)).toEqual([0x38n | 1n]);
  });

  it('single-step: #DB after the instruction, with DR6.BS', () => {
    const m = long();
    m.gate64(1, HANDLER);
    m.rflags = TF | 2n;
    expect(m.get32(L.ATTENTION) & L.ATTENTION_TRAP).toBe(L.ATTENTION_TRAP);
    m.call('trapStep');
    expect(m.get64(L.DR + 48) & 0x4000n).toBe(0x4000n);
    expect(m.get32(L.ATTENTION) & L.ATTENTION_TRAP).toBe(0);
    expect(frame(m, 3)[2]! & (TF | RF)).toBe(TF);
    m.exec('48cf');
    expect(m.get32(L.ATTENTION) & L.ATTENTION_TRAP).toBe(L.ATTENTION_TRAP);
  });

  it('single-step: not after INT, not after a SYSCALL that masks TF, at once after a SYSRET that sets it', () => {
    const m = long(3);
    m.setPhys64(TSS_AT + 4, 0xa000n);
    m.gate64(0x80, HANDLER, 15, 3);
    m.gate64(1, HANDLER + 0x100n);
    m.rflags = TF | 2n;
    m.exec('cd80');
    m.call('trapStep');
    expect(m.rip).toBe(HANDLER);
    m.rflags = TF | 2n;
    m.call('trapStep');
    expect(m.rip).toBe(HANDLER + 0x100n);

    const n = long();
    n.setPhys64(TSS_AT + 4, 0xa000n);
    n.gate64(1, HANDLER + 0x100n);
    n.set64(L.STAR, (0x1bn << 48n) | (8n << 32n));
    n.set64(L.RCX, 0x5000);
    n.set64(L.GPR + 88, TF | 2n);
    n.exec('480f07');
    expect(n.rip).toBe(HANDLER + 0x100n);
    expect(frame(n, 2)).toEqual([0x5000n, 0x2bn]);
  });

  it('IRET to a 32-bit program keeps the bases that 64-bit mode hides', () => {
    const m = long();
    m.segment(SEGMENT.DS, USER_DATA, 0x1234000, 0xffffffff, DATA32 | DPL3);
    for (const [i, v] of [0x1000, 0x3b, 0x202, 0x5000, USER_DATA].entries()) m.setPhys64(0x4000 + 8 * i, v);
    m.set64(L.RSP, 0x4000);
    expect(m.get64(L.SEG_BASE + 8 * SEGMENT.DS)).toBe(0n);
    expect(m.exec('48cf')).toBe(L.END_BLOCK);
    expect(m.get32(L.MODE) & (L.MODE_CODE | L.MODE_CPL3 | L.MODE_FLAT)).toBe(1 | L.MODE_CPL3);
    expect(m.get64(L.SEG_BASE + 8 * SEGMENT.DS)).toBe(0x1234000n);
    expect(m.rip).toBe(0x1000n);
  });

  it('IRET checks what it returns to', () => {
    const attempt = (...words: number[]): [number, number] => {
      const m = long();
      for (const [i, v] of words.entries()) m.setPhys64(0x4000 + 8 * i, BigInt(v));
      m.set64(L.RSP, 0x4000);
      expect(m.exec('48cf')).toBe(L.EXCEPTION);
      expect(m.rsp).toBe(0x4000n);
      expect(m.rip).toBe(CODE);
      return m.exception;
    };
    expect(attempt(0x1000, 0, 2, 0x5000, USER_DATA)).toEqual([13, 0]);
    expect(attempt(0x1000, KERNEL_DATA, 2, 0x5000, KERNEL_DATA)).toEqual([13, KERNEL_DATA]);
    expect(attempt(0x1000, USER_CODE, 2, 0x5000, KERNEL_DATA)).toEqual([13, KERNEL_DATA]);
    expect(attempt(0x1000, USER_CODE, 2, 0x5000, 3)).toEqual([13, 0]);
    expect(attempt(0x9000_0000_0000, USER_CODE, 2, 0x5000, USER_DATA)).toEqual([13, 0]);
    expect(attempt(0x1000, 0x1ff8, 2, 0x5000, USER_DATA)).toEqual([13, 0x1ff8]);
  });
});

describe('32-bit delivery', () => {
  it('same ring: EFLAGS CS EIP and back', () => {
    const m = flat();
    m.gate32(13, 0x6000);
    m.rflags = IF | 2n;
    raise(m, 13, 8);
    expect(words32(m, 4)).toEqual([8, 0x8000, KERNEL_CODE, 0x10202]);
    expect(m.rip).toBe(0x6000n);
    m.set64(L.RSP, m.rsp + 4n);
    m.exec('cf');
    expect([m.rip, m.rsp, m.rflags]).toEqual([CODE, STACK, RF | IF | 2n]);
  });

  it('from ring 3 through the TSS, and back with ES..GS kept from the inner ring', () => {
    const m = flat(3);
    m.setPhys32(TSS_AT + 4, 0xa000);
    m.setPhys32(TSS_AT + 8, KERNEL_DATA);
    m.gate32(0x80, 0x6000, 15, 3);
    m.rflags = IF | 2n;
    m.step('cd80');
    expect(m.cpl).toBe(0);
    expect(words32(m, 5)).toEqual([0x8002, USER_CODE, 0x202, 0x9000, USER_DATA]);
    expect(m.selector(SEGMENT.SS)).toBe(KERNEL_DATA);
    m.segment(SEGMENT.ES, KERNEL_DATA, 0, 0xffffffff, DATA32);
    m.exec('cf');
    expect([m.cpl, m.rip, m.rsp]).toEqual([3, 0x8002n, STACK]);
    expect(m.selector(SEGMENT.ES)).toBe(0);
    expect(m.selector(SEGMENT.DS)).toBe(USER_DATA);
  });

  it('16-bit gates push words', () => {
    const m = flat();
    m.gate32(5, 0x6000, 6);
    raise(m, 5, -1);
    expect(m.rsp).toBe(STACK - 6n);
    expect(m.rip).toBe(0x6000n);
  });

  /** A second TSS at 3000h with selector 30h: code at 7000h, stack at B000h, its own EFLAGS. */
  function withTask(): SystemMachine {
    const m = flat();
    m.setPhys64(GDT_AT + 0x30, 0x0000_8900_3000_0067n);
    const image: Record<number, number> = {
      0x20: 0x7000,
      0x24: 0x46,
      0x28: 0x111,
      0x38: 0xb000,
      0x3c: 0x222,
    };
    for (const [at, value] of Object.entries(image)) m.setPhys32(0x3000 + Number(at), value);
    for (const at of [0x48, 0x50, 0x54, 0x58, 0x5c]) m.setPhys32(0x3000 + at, KERNEL_DATA);
    m.setPhys32(0x304c, KERNEL_CODE);
    m.set64(L.RAX, 0xaaa);
    m.rflags = IF | 2n;
    return m;
  }
  const busy = (m: SystemMachine, selector: number): boolean =>
    ((m.phys64(GDT_AT + selector) >> 41n) & 1n) === 1n;

  it('a task gate switches tasks, with the error code on the new stack; IRET goes back', () => {
    const m = withTask();
    m.setPhys64(GDT_AT + 0x28, m.phys64(GDT_AT + 0x28) | (2n << 40n)); // the running task is busy
    m.gate32(13, 0, 5, 0, 0x30);
    raise(m, 13, 0x77);
    expect([m.rip, m.get64(L.RAX), m.selector(SEGMENT.TR)]).toEqual([0x7000n, 0x111n, 0x30]);
    expect(m.rflags).toBe(0x4046n); // NT
    expect([m.rsp, m.phys32(0xaffc)]).toEqual([0xaffcn, 0x77]);
    expect([busy(m, 0x28), busy(m, 0x30), m.phys32(0x3000)]).toEqual([true, true, 0x28]);
    expect([m.phys32(TSS_AT + 0x20), m.phys32(TSS_AT + 0x28)]).toEqual([0x8000, 0xaaa]);
    expect(m.get64(L.CR0) & 8n).toBe(8n);
    m.exec('cf');
    expect([m.rip, m.get64(L.RAX), m.rsp, m.selector(SEGMENT.TR)]).toEqual([CODE, 0xaaan, STACK, 0x28]);
    expect([busy(m, 0x28), busy(m, 0x30)]).toEqual([true, false]);
    expect(m.rflags & 0x4000n).toBe(0n);
  });

  it('a far jump to a TSS leaves no link; what is wrong with the new task is raised there', () => {
    const m = withTask();
    m.exec('ea000000003000');
    expect([m.rip, m.rflags & 0x4000n, busy(m, 0x28), busy(m, 0x30)]).toEqual([0x7000n, 0n, false, true]);
    const n = withTask();
    n.setPhys32(0x3054, 0x1000); // DS
    n.gate32(10, 0x6000);
    n.exec('ea000000003000');
    expect(n.rip).toBe(0x6000n);
    expect(words32(n, 2)).toEqual([0x1000, 0x7000]);
    expect(n.selector(SEGMENT.TR)).toBe(0x30);
    const o = withTask();
    o.setPhys64(GDT_AT + 0x30, 0x0000_8900_3000_0066n);
    expect(o.exec('ea000000003000')).toBe(L.EXCEPTION);
    expect(o.exception).toEqual([10, 0x30]);
  });

  it('a virtual-8086 task is interrupted and resumed', () => {
    const m = flat();
    m.setPhys32(TSS_AT + 4, 0xa000);
    m.setPhys32(TSS_AT + 8, KERNEL_DATA);
    m.gate32(0x20, 0x6000);
    const image = [0x50, 0x100, 0x23202, 0x800, 0x200, 0x300, 0x400, 0x500, 0x600];
    for (const [i, v] of image.entries()) m.setPhys32(0x4000 + 4 * i, v);
    m.set64(L.RSP, 0x4000);
    expect(m.exec('cf')).toBe(L.END_BLOCK);
    expect(m.cpl).toBe(3);
    expect(m.get32(L.MODE) & (L.MODE_PROTECTED | L.MODE_CODE)).toBe(0);
    expect(m.get64(L.SEG_BASE + 8 * SEGMENT.DS)).toBe(0x4000n);
    m.call('deliverInterrupt', 0x20);
    expect(m.cpl).toBe(0);
    expect(words32(m, 9)).toEqual(image);
    expect(m.selector(SEGMENT.DS)).toBe(0);
    expect(m.rip).toBe(0x6000n);
  });
});

describe('real mode', () => {
  it('INT pushes FLAGS CS IP and IRET pops them', () => {
    const m = real();
    m.setPhys32(0x21 * 4, 0x03450678);
    m.rflags = IF | TF | 2n;
    m.exec('cd21');
    expect(m.rip).toBe(0x678n);
    expect(m.selector(SEGMENT.CS)).toBe(0x345);
    expect(m.get64(L.SEG_BASE + 8)).toBe(0x3450n);
    expect(m.rsp).toBe(0x7fan);
    expect([...m.bytes(0x27fa, 6)]).toEqual([0x52, 0, 0, 1, 2, 3]);
    expect(m.rflags & (IF | TF)).toBe(0n);
    m.exec('cf');
    expect([m.rip, m.rsp, m.rflags]).toEqual([0x52n, 0x800n, IF | TF | 2n]);
    expect(m.get64(L.SEG_BASE + 8)).toBe(0x1000n);
  });

  it('far call and return, with a 16-bit stack that wraps', () => {
    const m = real();
    m.set64(L.RSP, 0x12340002n);
    m.exec('9a78563412');
    expect(m.rip).toBe(0x5678n);
    expect(m.selector(SEGMENT.CS)).toBe(0x1234);
    expect(m.rsp).toBe(0x1234fffen);
    expect(m.phys32(0x2000) & 0xffff).toBe(0x100);
    m.exec('cb');
    expect([m.rip, m.rsp]).toEqual([0x55n, 0x12340002n]);
  });
});

describe('SYSCALL and SYSRET', () => {
  function ready(): SystemMachine {
    const m = long(3);
    m.set64(L.STAR, (0x1bn << 48n) | (8n << 32n));
    m.set64(L.LSTAR, 0xffff_ffff_8100_0000n);
    m.set64(L.FMASK, 0x4_7700n);
    return m;
  }

  it('enters the kernel and returns', () => {
    const m = ready();
    m.rflags = 0x246n;
    expect(m.exec('0f05')).toBe(L.END_BLOCK);
    expect(m.rip).toBe(0xffff_ffff_8100_0000n);
    expect(m.get64(L.RCX)).toBe(CODE + 2n);
    expect(m.get64(L.GPR + 88)).toBe(0x246n);
    expect(m.rflags).toBe(0x46n);
    expect([m.cpl, m.selector(SEGMENT.CS), m.selector(SEGMENT.SS)]).toEqual([0, 8, 0x10]);
    expect(m.get32(L.TLB_BASE)).toBe(L.TLB + L.TLB_BYTES);
    expect(m.exec('480f07')).toBe(L.END_BLOCK);
    expect([m.cpl, m.rip, m.rflags]).toEqual([3, CODE + 2n, 0x246n]);
    expect([m.selector(SEGMENT.CS), m.selector(SEGMENT.SS)]).toEqual([0x2b, 0x23]);
    expect(m.get32(L.MODE) & L.MODE_CODE).toBe(2);
  });

  it('SYSRET to a non-canonical address is a #GP in the kernel', () => {
    const m = ready();
    m.exec('0f05');
    m.set64(L.RCX, 0x8000_0000_0000n);
    expect(m.exec('480f07')).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
    expect(m.cpl).toBe(0);
  });

  it('SYSRET without REX.W goes to a 32-bit program, whose SYSCALL uses CSTAR', () => {
    const m = ready();
    m.set64(L.CSTAR, 0x5000n);
    m.exec('0f05');
    m.set64(L.RCX, 0x1_2345_6789n);
    m.exec('0f07');
    expect(m.get32(L.MODE) & L.MODE_CODE).toBe(1);
    expect(m.rip).toBe(0x2345_6789n);
    m.exec('0f05');
    expect(m.rip).toBe(0x5000n);
  });

  it('is #UD without EFER.SCE; SYSRET is #GP outside ring 0', () => {
    const m = ready();
    expect(m.exec('480f07')).toBe(L.EXCEPTION);
    expect(m.exception).toEqual([13, 0]);
    m.set64(L.EFER, 0xd00);
    m.exec('0f05');
    expect(m.exception).toEqual([6, -1]);
  });

  it('SYSENTER and SYSEXIT', () => {
    const m = long(3);
    m.exec('0f34');
    expect(m.exception).toEqual([13, 0]);
    m.set64(L.SYSENTER_CS, 8);
    m.set64(L.SYSENTER_ESP, 0xa000);
    m.set64(L.SYSENTER_EIP, 0x6000);
    expect(m.exec('0f34')).toBe(L.END_BLOCK);
    expect([m.cpl, m.rip, m.rsp]).toEqual([0, 0x6000n, 0xa000n]);
    m.set64(L.RDX, 0x7000);
    m.set64(L.RCX, 0x5000);
    m.exec('480f35');
    expect([m.cpl, m.rip, m.rsp, m.selector(SEGMENT.CS)]).toEqual([3, 0x7000n, 0x5000n, 0x2b]);
  });

  it('SWAPGS', () => {
    const m = long();
    m.set64(L.SEG_BASE + 40, 1);
    m.set64(L.KERNEL_GS_BASE, 2);
    expect(m.exec('0f01f8')).toBe(L.NEXT);
    expect([m.get64(L.SEG_BASE + 40), m.get64(L.KERNEL_GS_BASE)]).toEqual([2n, 1n]);
  });
});

describe('far transfers in protected mode', () => {
  it('a far jump loads CS, a far call pushes it, RETF returns', () => {
    const m = flat();
    m.exec('ea007000000800');
    expect(m.rip).toBe(0x7000n);
    m.set64(L.RIP, CODE);
    m.exec('9a006000000800');
    expect(words32(m, 2)).toEqual([0x8007, KERNEL_CODE]);
    m.exec('cb');
    expect([m.rip, m.rsp]).toEqual([CODE + 7n, STACK]);
  });

  it('to a 16-bit segment changes the mode and ends the block', () => {
    const m = flat();
    expect(m.exec('ea300000004000')).toBe(L.END_BLOCK);
    expect(m.get32(L.MODE) & (L.MODE_CODE | L.MODE_FLAT)).toBe(0);
    expect(m.get64(L.SEG_BASE + 8)).toBe(0x1000n);
    expect(m.rip).toBe(0x30n);
  });

  it('checks the target', () => {
    const attempt = (code: string, cpl = 0): [number, number] => {
      const m = flat(cpl);
      expect(m.exec(code)).toBe(L.EXCEPTION);
      expect(m.rsp).toBe(STACK);
      return m.exception;
    };
    expect(attempt('ea000000000000')).toEqual([13, 0]);
    expect(attempt('ea000000001000')).toEqual([13, 0x10]);
    expect(attempt('ea000000000800', 3)).toEqual([13, 8]);
    expect(attempt('ea00000000f000')).toEqual([13, 0xf0]);
    expect(attempt('ea000001004000')).toEqual([13, 0]);
    expect(attempt('9a000001004000')).toEqual([13, 0]);
    expect(attempt('ea000000006000')).toEqual([13, 0x60]);
  });

  it('RETF imm16 to an outer ring drops the parameters of both stacks', () => {
    const m = flat();
    const image = [0x7000, USER_CODE, 0xdead, 0x5000, USER_DATA];
    for (const [i, v] of image.entries()) m.setPhys32(0x4000 + 4 * i, v);
    m.set64(L.RSP, 0x4000);
    m.exec('ca0400');
    expect([m.cpl, m.rip, m.rsp]).toEqual([3, 0x7000n, 0x5004n]);
  });

  it('a call gate copies parameters to the inner stack', () => {
    const m = flat(3);
    m.setPhys32(TSS_AT + 4, 0xa000);
    m.setPhys32(TSS_AT + 8, KERNEL_DATA);
    m.setPhys64(GDT_AT + 0x30, 0x6000n | (8n << 16n) | (2n << 32n) | (0xecn << 40n));
    m.setPhys32(Number(STACK), 11);
    m.setPhys32(Number(STACK) + 4, 22);
    expect(m.exec('9a000000003300')).toBe(L.END_BLOCK);
    expect([m.cpl, m.rip]).toEqual([0, 0x6000n]);
    expect(words32(m, 6)).toEqual([0x8007, USER_CODE, 11, 22, 0x9000, USER_DATA]);
    expect(m.exec('ca0800')).toBe(L.END_BLOCK);
    expect([m.cpl, m.rip, m.rsp]).toEqual([3, 0x8007n, STACK + 8n]);
  });

  it('a call gate in long mode takes RSP0 and pushes quadwords', () => {
    const m = long(3);
    m.setPhys64(TSS_AT + 4, 0xa000n);
    m.setPhys64(GDT_AT + 0x30, 0x6000n | (8n << 16n) | (0xecn << 40n));
    m.setPhys64(GDT_AT + 0x38, 0);
    m.setPhys32(0x5000, 0);
    m.setPhys32(0x5004, 0x33);
    expect(m.exec('ff1c2500500000')).toBe(L.END_BLOCK);
    expect([m.cpl, m.rip, m.rsp]).toEqual([0, 0x6000n, 0xa000n - 32n]);
    expect(frame(m, 4)).toEqual([CODE + 7n, BigInt(USER_CODE), STACK, BigInt(USER_DATA)]);
  });

  it('a far jump from compatibility mode enters 64-bit mode', () => {
    const m = long();
    m.setPhys64(GDT_AT + 0x38, 0x00cf9b000000ffffn);
    m.segment(SEGMENT.CS, 0x38, 0, 0xffffffff, CODE32);
    m.call('updateMode');
    expect(m.get32(L.MODE) & L.MODE_CODE).toBe(1);
    m.exec('ea007000000800');
    expect(m.get32(L.MODE) & L.MODE_CODE).toBe(2);
    expect(m.get32(L.SEG_ATTR + 4)).toBe(CODE64);
    expect(CODE16).toBe(0x9b);
  });
});
