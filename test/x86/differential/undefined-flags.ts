/** Arithmetic flags that the manuals leave undefined, by instruction (Intel SDM volume 2, volume 1 appendix A). */
const CF = 0x001;
const PF = 0x004;
const AF = 0x010;
const ZF = 0x040;
const SF = 0x080;
const OF = 0x800;
const ALL = CF | PF | AF | ZF | SF | OF;

/** `count` is the shift count as given (CL or immediate), `bits` the operand width. */
export function undefinedFlags(name: string, count: number, bits: number): number {
  const masked = count & (bits === 64 ? 63 : 31);
  switch (name) {
    case 'and':
    case 'or':
    case 'xor':
    case 'test':
      return AF;
    case 'shl':
    case 'shr':
    case 'sar':
      if (masked === 0) return 0;
      return AF | (masked === 1 ? 0 : OF) | (masked >= bits && name !== 'sar' ? CF : 0);
    case 'shld':
    case 'shrd':
      if (masked === 0) return 0;
      if (masked > bits) return ALL;
      return AF | (masked === 1 ? 0 : OF);
    case 'rol':
    case 'ror':
    case 'rcl':
    case 'rcr':
      return masked <= 1 ? 0 : OF;
    case 'mul':
    case 'imul':
      return SF | ZF | AF | PF;
    case 'div':
    case 'idiv':
      return ALL;
    case 'bt':
    case 'bts':
    case 'btr':
    case 'btc':
      return OF | SF | AF | PF;
    case 'bsf':
    case 'bsr':
      return CF | OF | SF | AF | PF;
    case 'tzcnt':
    case 'lzcnt':
      return OF | SF | AF | PF;
    case 'andn':
    case 'blsi':
    case 'blsr':
    case 'blsmsk':
    case 'bzhi':
      return AF | PF;
    case 'bextr':
      return AF | PF | SF;
    case 'daa':
    case 'das':
      return OF;
    case 'aaa':
    case 'aas':
      return OF | SF | ZF | PF;
    case 'aam':
    case 'aad':
      return OF | AF | CF;
    default:
      return 0;
  }
}

/** With 16-bit operands and counts above 16, SHLD and SHRD leave the result itself undefined. */
export function undefinedResult(name: string, count: number, bits: number): boolean {
  if (name === 'shld' || name === 'shrd') return (count & (bits === 64 ? 63 : 31)) > bits;
  return name === 'bswap' && bits === 16;
}
