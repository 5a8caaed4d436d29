/**
 * Names of instructions in AT&T syntax: the table's names are Intel's, and the syntax adds the size, has names of its
 * own for conversions and far transfers, and shows some operands that the encoding only implies.
 */
import type { Insn, Operand } from '../decode/insn.ts';

export interface Mnemonic {
  readonly name: string;
  /** Bytes of the operation. */
  readonly size: number;
  /** Operands, where they are others than the instruction's. */
  readonly operands?: readonly Operand[];
  /** Operands as text, in front. */
  readonly texts?: readonly string[];
  /** They are shown as they stand, not turned around. */
  readonly inOrder?: boolean;
  /** The target is in a register or in memory. */
  readonly indirect?: boolean;
}

const SUFFIX: Readonly<Record<number, string>> = { 1: 'b', 2: 'w', 4: 'l', 8: 'q' };

/** Of these the name says it all. */
const PLAIN =
  /^(j(?!mp$|mpf$)\w+|set\w+|nop|int3?|int1|into|ud[012]?|hlt|cli|sti|cl[cd]|st[cd]|cmc|leave|cpuid|rdtscp?|rdmsr|wrmsr|rdpmc|invd|wbinvd|clts|swapgs|xgetbv|xsetbv|rdpkru|wrpkru|clac|stac|syscall|[lms]fence|pause|lahf|sahf|salc|daa|das|aaa|aas|aa[md]|loop\w*|invlpg|prefetch|emms|fwait|clflush|clflushopt|clwb|sysenter|ldmxcsr|stmxcsr|fxsave|fxrstor|xsave|xrstor|xsavec|verr|verw|arpl|bound|enter|cmpxchg8b|cmpxchg16b|invpcid)$/;

/** Integer instructions whose size is that of their first register or memory operand. */
const SIZED =
  /^(add|or|adc|sbb|and|sub|xor|cmp|rol|ror|rcl|rcr|shl|shr|sar|cmov\w+|bt[srcs]?|push|pop|mov|movnti|lea|xchg|bswap|test|inc|dec|not|neg|mul|imul|div|idiv|shld|shrd|bsf|bsr|tzcnt|lzcnt|popcnt|xadd|cmpxchg|movbe|adcx|adox|andn|blsr|blsmsk|blsi|bextr|bzhi|mulx|pdep|pext|rorx|shlx|shrx|sarx|lar|lsl|sldt|str|lldt|ltr|smsw|lmsw|rdrand|rdseed|rdpid|rdfsbase|rdgsbase|wrfsbase|wrgsbase|les|lds|lss|lfs|lgs)$/;

const COMPARISONS = ['eq', 'lt', 'le', 'unord', 'neq', 'nlt', 'nle', 'ord'];

/** Sizes of x87's memory operands by the first byte, and where the operation is one of integers. */
const X87_MEMORY: Readonly<Record<string, string>> = {
  d8: 's',
  d9: 's',
  da: 'l',
  db: 'l',
  dc: 'l',
  dd: 'l',
  de: 's',
  df: 's',
};

export function mnemonic(insn: Insn): Mnemonic {
  const { def, opsize, operands, mem } = insn;
  const { name } = def;
  const [first, second] = operands;
  const suffix = (size: number): string => SUFFIX[size] ?? '';
  const sized = (base: string, size: number, rest: Partial<Mnemonic> = {}): Mnemonic => ({
    name: `${base}${suffix(size)}`,
    size,
    ...rest,
  });
  const codes = def.operandCodes;
  switch (name) {
    case 'movzx':
    case 'movsx':
      return sized(`${name.slice(0, 4)}${codes[1] === 'Eb' ? 'b' : 'w'}`, opsize);
    case 'movsxd':
      return opsize === 8 ? { name: 'movslq', size: 8 } : sized('movsl', opsize);
    case 'cbw':
      return { name: { 2: 'cbtw', 4: 'cwtl', 8: 'cltq' }[opsize], size: opsize };
    case 'cwd':
      return { name: { 2: 'cwtd', 4: 'cltd', 8: 'cqto' }[opsize], size: opsize };
    case 'xlat':
      return { name: 'xlatb', size: 1 };
    case 'jcxz':
      return { name: { 2: 'jcxz', 4: 'jecxz', 8: 'jrcxz' }[insn.addrsize], size: opsize };
    case 'jmp':
      if (first?.kind === 'rel') return { name, size: opsize };
      return sized(name, opsize, { indirect: true });
    case 'call':
      return sized(name, opsize, { indirect: first?.kind !== 'rel' });
    case 'ret':
    case 'iret':
    case 'sysret':
    case 'sysexit':
      return sized(name, name === 'ret' || name === 'iret' ? returnSize(insn) : opsize);
    case 'retf':
      return sized('lret', opsize);
    case 'callf':
    case 'jmpf':
      return far(insn, name === 'callf' ? 'lcall' : 'ljmp');
    case 'pushf':
    case 'popf':
      return sized(name, returnSize(insn));
    case 'pusha':
      return { name: opsize === 2 ? 'pushaw' : 'pushal', size: opsize };
    case 'popa':
      return { name: opsize === 2 ? 'popaw' : 'popal', size: opsize };
    case 'sgdt':
    case 'sidt':
    case 'lgdt':
    case 'lidt':
      return sized(name, insn.addrsize === 8 ? 8 : opsize);
    case 'movs':
    case 'cmps':
    case 'stos':
    case 'lods':
    case 'scas':
    case 'ins':
    case 'outs': {
      const byte = (Number.parseInt(def.op.slice(0, 2), 16) & 1) === 0;
      const size = byte ? 1 : (name === 'ins' || name === 'outs') && opsize === 8 ? 4 : opsize;
      return sized(name, size);
    }
    case 'in':
    case 'out': {
      const register = operands.find((one) => one.kind === 'gpr' && one.reg === 0);
      return sized(name, Math.min(4, register?.size ?? 1));
    }
    case 'nop':
      return operands.length === 0 ? { name, size: opsize } : sized(name, opsize);
    case 'crc32':
      return sized(name, second?.size ?? opsize);
    case 'cvtsi2ss':
    case 'cvtsi2sd':
      return sized(name, second?.size ?? 4);
    case 'cmpps':
    case 'cmppd':
    case 'cmpss':
    case 'cmpsd': {
      const predicate = COMPARISONS[Number(operands[2]?.value ?? 8)];
      if (predicate === undefined) return { name, size: 16 };
      return { name: `cmp${predicate}${name.slice(3)}`, size: 16, operands: operands.slice(0, 2) };
    }
    case 'movd':
      return { name: insn.rexW ? 'movq' : 'movd', size: opsize };
    case 'mov':
      return moves(insn);
    case 'xchg':
      // The form with rAX has it last, whatever the table says.
      return sized(name, first!.size, { inOrder: codes[1] === 'rAX' });
    case 'enter':
      return { name, size: opsize, inOrder: true };
    default:
  }
  if (/^(push|pop) ..$/.test(name))
    return sized(name.slice(0, -3), opsize, { texts: [`%${name.slice(-2)}`] });
  if (/^d[89a-f] /.test(def.op)) return x87(insn);
  if (PLAIN.test(name)) return { name, size: opsize };
  if (SIZED.test(name)) {
    const wide = operands.find((one) => one.kind === 'gpr' || (one.kind === 'mem' && one.size > 0));
    const size =
      name === 'lea' ? opsize : name === 'push' || name === 'pop' ? opsize : (wide?.size ?? opsize);
    return sized(name, mem !== undefined && size > 8 ? opsize : size);
  }
  return { name, size: opsize };
}

/** Near returns and flags on the stack are as wide as the stack, whatever REX says. */
function returnSize({ def, opsize, rexW }: Insn): number {
  if (def.name === 'iret') return rexW ? 8 : opsize;
  return opsize;
}

function moves({ def, operands, opsize, addrsize }: Insn): Mnemonic {
  const [first, second] = operands;
  const codes = def.operandCodes;
  const size =
    first?.kind === 'seg' || second?.kind === 'seg'
      ? first?.kind === 'mem' || second?.kind === 'mem'
        ? 2
        : opsize
      : ([first, second].find((one) => one?.kind === 'gpr' || (one?.kind === 'mem' && one.size > 0))?.size ??
        opsize);
  const long = codes.includes('Iv') && opsize === 8;
  const absolute = codes.some((code) => code === 'Ob' || code === 'Ov');
  const base = long || (absolute && addrsize === 8) ? 'movabs' : 'mov';
  return { name: `${base}${SUFFIX[size] ?? ''}`, size };
}

/** `ljmpw $selector:$offset`, or through memory. */
function far(insn: Insn, base: string): Mnemonic {
  const [first] = insn.operands;
  const name = `${base}${SUFFIX[insn.opsize] ?? ''}`;
  if (first?.kind !== 'imm') return { name, size: insn.opsize, indirect: true };
  const value = BigInt(first.value);
  const selector = value >> 32n;
  const offset = value & 0xffffffffn;
  return {
    name,
    size: insn.opsize,
    operands: [],
    texts: [`$0x${selector.toString(16)}:$0x${offset.toString(16)}`],
  };
}

function x87(insn: Insn): Mnemonic {
  const { def, mem, operands } = insn;
  const byte = def.op.slice(0, 2);
  // Doubles of the table: undocumented twins of another encoding.
  const name = def.name.replace(/^(fstp|fxch|fcom|fcomp)\d$/, '$1');
  if (mem === undefined) {
    if (name === 'fnstsw') return { name, size: 2, texts: ['%ax'] };
    if (operands.length === 0) return { name, size: 10 };
    const both = /^f(add|mul|sub|subr|div|divr)$/.test(name);
    if (both && byte === 'd8') return { name, size: 10 };
    if (/^f(add|mul|sub|subr|div|divr)/.test(name) || /^f(cmov|u?comi)/.test(name)) {
      const toTop = byte === 'da' || byte === 'db' || /comi/.test(name);
      return toTop ? { name, size: 10, texts: [] } : { name, size: 10, texts: ['%st(0)'] };
    }
    return { name, size: 10 };
  }
  if (/^f(ldcw|nstcw|ldenv|nstenv|nsave|rstor|nstsw|bld|bstp)$/.test(name)) return { name, size: 2 };
  const wide = def.op.includes('/5') || (def.op.includes('/7') && name !== 'fdivr' && name !== 'fidivr');
  if (byte === 'db' && wide) return { name: `${name}t`, size: 10 };
  const quad = (byte === 'df' && wide) || (byte === 'dd' && name === 'fisttp');
  return { name: `${name}${quad ? 'll' : X87_MEMORY[byte]!}`, size: quad ? 8 : 4 };
}
