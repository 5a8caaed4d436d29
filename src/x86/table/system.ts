/**
 * System instructions: encodings beside the runtime's functions that carry them out (src/x86/runtime). Intel SDM volume
 * 2, opcode maps of appendix A.
 */
import type { InsnDef } from './types.ts';

type Flags = NonNullable<InsnDef['flags']>;

const line = (op: string, name: string, operands: string, helper: string, flags: Flags): InsnDef => ({
  op,
  name,
  operands,
  helper,
  flags,
});

/** Sets RIP or a mode: always the last of its block. */
const END: Flags = ['sys', 'end'];
const SYS: Flags = ['sys'];
const IO: Flags = ['sys', 'io'];

/** A pair of forms of a string instruction: bytes at `opcode`, the operand size at `opcode` + 1. */
function string(opcode: number, name: string, ...more: Flags): InsnDef[] {
  const flags: Flags = ['rep', ...more];
  const byte = (n: number): string => n.toString(16).padStart(2, '0');
  return [
    line(byte(opcode), name, '', `op_${name}8`, flags),
    line(byte(opcode + 1), name, '', `op_${name}`, flags),
  ];
}

const strings: readonly InsnDef[] = [
  ...string(0x6c, 'ins', 'sys', 'io'),
  ...string(0x6e, 'outs', 'sys', 'io'),
  ...string(0xa4, 'movs'),
  ...string(0xa6, 'cmps'),
  ...string(0xaa, 'stos'),
  ...string(0xac, 'lods'),
  ...string(0xae, 'scas'),
];

const segments: readonly InsnDef[] = [
  line('06', 'push es', '', 'op_push_es', ['i64', 'sys']),
  line('0e', 'push cs', '', 'op_push_cs', ['i64', 'sys']),
  line('16', 'push ss', '', 'op_push_ss', ['i64', 'sys']),
  line('1e', 'push ds', '', 'op_push_ds', ['i64', 'sys']),
  line('0f a0', 'push fs', '', 'op_push_fs', ['d64', 'sys']),
  line('0f a8', 'push gs', '', 'op_push_gs', ['d64', 'sys']),
  line('07', 'pop es', '', 'op_pop_es', ['i64', 'sys']),
  line('17', 'pop ss', '', 'op_pop_ss', ['i64', ...END]),
  line('1f', 'pop ds', '', 'op_pop_ds', ['i64', 'sys']),
  line('0f a1', 'pop fs', '', 'op_pop_fs', ['d64', 'sys']),
  line('0f a9', 'pop gs', '', 'op_pop_gs', ['d64', 'sys']),
  line('8c', 'mov', 'Ev Sw', 'op_mov_from_seg', SYS),
  line('8e', 'mov', 'Sw Ev', 'op_mov_to_seg', SYS),
  line('c4 mem', 'les', 'Gv Mp', 'op_les', ['i64', 'sys']),
  line('c5 mem', 'lds', 'Gv Mp', 'op_lds', ['i64', 'sys']),
  line('0f b2 mem', 'lss', 'Gv Mp', 'op_lss', END),
  line('0f b4 mem', 'lfs', 'Gv Mp', 'op_lfs', SYS),
  line('0f b5 mem', 'lgs', 'Gv Mp', 'op_lgs', SYS),
  line('63', 'arpl', 'Ew Gw', 'op_arpl', ['i64', 'sys']),
  line('0f 00 /0', 'sldt', 'Ev', 'op_sldt', SYS),
  line('0f 00 /1', 'str', 'Ev', 'op_str', SYS),
  line('0f 00 /2', 'lldt', 'Ew', 'op_lldt', SYS),
  line('0f 00 /3', 'ltr', 'Ew', 'op_ltr', SYS),
  line('0f 00 /4', 'verr', 'Ew', 'op_verr', SYS),
  line('0f 00 /5', 'verw', 'Ew', 'op_verw', SYS),
  line('0f 02', 'lar', 'Gv Ev', 'op_lar', SYS),
  line('0f 03', 'lsl', 'Gv Ev', 'op_lsl', SYS),
  line('0f 01 /0 mem', 'sgdt', 'M', 'op_sgdt', SYS),
  line('0f 01 /1 mem', 'sidt', 'M', 'op_sidt', SYS),
  line('0f 01 /2 mem', 'lgdt', 'M', 'op_lgdt', SYS),
  line('0f 01 /3 mem', 'lidt', 'M', 'op_lidt', SYS),
];

const transfers: readonly InsnDef[] = [
  line('9a', 'callf', 'Ap', 'op_callf_imm', ['i64', ...END]),
  line('ea', 'jmpf', 'Ap', 'op_jmpf_imm', ['i64', ...END]),
  line('ff /3 mem', 'callf', 'Mp', 'op_callf_mem', END),
  line('ff /5 mem', 'jmpf', 'Mp', 'op_jmpf_mem', END),
  line('ca', 'retf', 'Iw', 'op_retf_imm', END),
  line('cb', 'retf', '', 'op_retf', END),
  line('cc', 'int3', '', 'op_int3', END),
  line('cd', 'int', 'Ib', 'op_int', END),
  line('ce', 'into', '', 'op_into', ['i64', ...SYS]),
  line('cf', 'iret', '', 'op_iret', END),
  line('f1', 'int1', '', 'op_int1', END),
  line('62 mem', 'bound', 'Gv M', 'op_bound', ['i64', ...SYS]),
  line('0f 05', 'syscall', '', 'op_syscall', END),
  line('0f 07', 'sysret', '', 'op_sysret', END),
  line('0f 34', 'sysenter', '', 'op_sysenter', END),
  line('0f 35', 'sysexit', '', 'op_sysexit', END),
  line('0f 0b', 'ud2', '', 'op_ud', END),
  line('0f b9', 'ud1', 'Gv Ev', 'op_ud', END),
  line('0f ff', 'ud0', 'Gv Ev', 'op_ud', END),
];

const control: readonly InsnDef[] = [
  line('0f 20', 'mov', 'Rq Cq', 'op_mov_from_cr', ['f64', 'sys', 'io']),
  line('0f 22', 'mov', 'Cq Rq', 'op_mov_to_cr', ['f64', 'io', ...END]),
  line('0f 21', 'mov', 'Rq Dq', 'op_mov_from_dr', ['f64', 'sys']),
  line('0f 23', 'mov', 'Dq Rq', 'op_mov_to_dr', ['f64', ...END]),
  line('0f 01 /4', 'smsw', 'Ev', 'op_smsw', SYS),
  line('0f 01 /6', 'lmsw', 'Ew', 'op_lmsw', END),
  line('0f 06', 'clts', '', 'op_clts', END),
  line('0f 01 /7 mem', 'invlpg', 'M', 'op_invlpg', END),
  line('0f 01 modrm=f8', 'swapgs', '', 'op_swapgs', ['o64', 'sys']),
  { ...line('0f 01 modrm=f9', 'rdtscp', '', 'op_rdtscp', IO), feature: 'rdtscp' },
  { ...line('np 0f 01 modrm=d0', 'xgetbv', '', 'op_xgetbv', SYS), feature: 'xsave' },
  { ...line('np 0f 01 modrm=d1', 'xsetbv', '', 'op_xsetbv', END), feature: 'xsave' },
  { ...line('np 0f 01 modrm=ee', 'rdpkru', '', 'op_rdpkru', SYS), feature: 'pku' },
  { ...line('np 0f 01 modrm=ef', 'wrpkru', '', 'op_wrpkru', END), feature: 'pku' },
  { ...line('np 0f 01 modrm=ca', 'clac', '', 'op_clac', SYS), feature: 'smap' },
  { ...line('np 0f 01 modrm=cb', 'stac', '', 'op_stac', SYS), feature: 'smap' },
  { ...line('66 0f38 82 mem', 'invpcid', 'Gy Mdq', 'op_invpcid', END), feature: 'invpcid' },
  line('0f 08', 'invd', '', 'op_wbinvd', SYS),
  line('0f 09', 'wbinvd', '', 'op_wbinvd', SYS),
  line('0f 30', 'wrmsr', '', 'op_wrmsr', ['io', ...END]),
  line('0f 32', 'rdmsr', '', 'op_rdmsr', IO),
  line('0f 31', 'rdtsc', '', 'op_rdtsc', IO),
  line('0f 33', 'rdpmc', '', 'op_rdpmc', SYS),
  line('0f a2', 'cpuid', '', 'op_cpuid', SYS),
  line('f4', 'hlt', '', 'op_hlt', END),
  line('fa', 'cli', '', 'op_cli', SYS),
  line('fb', 'sti', '', 'op_sti', END),
  line('9c', 'pushf', '', 'op_pushf', ['d64', 'sys']),
  line('9d', 'popf', '', 'op_popf', ['d64', 'sys']),
  { ...line('f3 0f ae /0 reg', 'rdfsbase', 'Ry', 'op_rdfsbase', ['o64', 'sys']), feature: 'fsgsbase' },
  { ...line('f3 0f ae /1 reg', 'rdgsbase', 'Ry', 'op_rdgsbase', ['o64', 'sys']), feature: 'fsgsbase' },
  { ...line('f3 0f ae /2 reg', 'wrfsbase', 'Ry', 'op_wrfsbase', ['o64', 'sys']), feature: 'fsgsbase' },
  { ...line('f3 0f ae /3 reg', 'wrgsbase', 'Ry', 'op_wrgsbase', ['o64', 'sys']), feature: 'fsgsbase' },
  { ...line('f3 0f c7 /7 reg', 'rdpid', 'Ry', 'op_rdpid', SYS), feature: 'rdpid' },
  { ...line('0f c7 /6 reg', 'rdrand', 'Rv', 'op_rdrand', IO), feature: 'rdrand' },
  { ...line('0f c7 /7 reg', 'rdseed', 'Rv', 'op_rdrand', IO), feature: 'rdseed' },
];

const ports: readonly InsnDef[] = [
  line('e4', 'in', 'AL Ib', 'op_in_al_imm', IO),
  line('e5', 'in', 'rAX Ib', 'op_in_ax_imm', IO),
  line('ec', 'in', 'AL DX', 'op_in_al_dx', IO),
  line('ed', 'in', 'rAX DX', 'op_in_ax_dx', IO),
  line('e6', 'out', 'Ib AL', 'op_out_al_imm', IO),
  line('e7', 'out', 'Ib rAX', 'op_out_ax_imm', IO),
  line('ee', 'out', 'DX AL', 'op_out_al_dx', IO),
  line('ef', 'out', 'DX rAX', 'op_out_ax_dx', IO),
];

const frames: readonly InsnDef[] = [
  line('c8', 'enter', 'Iw Ib', 'op_enter', ['d64', 'sys']),
  line('60', 'pusha', '', 'op_pusha', ['i64', 'sys']),
  line('61', 'popa', '', 'op_popa', ['i64', 'sys']),
];

const hints: readonly InsnDef[] = [
  line('f3 90', 'pause', '', 'op_nop', SYS),
  { ...line('np 0f ae /7 mem', 'clflush', 'Mb', 'op_clflush', SYS), feature: 'clflush' },
  { ...line('66 0f ae /7 mem', 'clflushopt', 'Mb', 'op_clflush', SYS), feature: 'clflushopt' },
  { ...line('66 0f ae /6 mem', 'clwb', 'Mb', 'op_clflush', SYS), feature: 'clwb' },
];

export const system: readonly InsnDef[] = [
  ...strings,
  ...segments,
  ...transfers,
  ...control,
  ...ports,
  ...frames,
  ...hints,
];
