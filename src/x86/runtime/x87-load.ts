// x87 loads and stores: FLD FST(P) FILD FIST(P) FISTTP FBLD FBSTP, the constants, and the moves between registers
// (FXCH FCMOVcc FFREE FINCSTP FDECSTP). A store that faults leaves everything as it was.
// Source: SDM volume 1 chapter 8, volume 2; formats: figure 4-4, table 4-9.
import { FCW, FSW, NEXT } from './names';
import { computeFlags } from './flags';
import { begin, loadSlow, ok, readBytes, writeBytes } from './memory';
import { operandLinear } from './record';
import { FLAG_CF, FLAG_PF, FLAG_ZF } from './bits';
import {
  convert,
  IE,
  pack32,
  pack64,
  packSE,
  OE,
  sfFlags,
  sfFormat,
  sfNotRounded,
  sfRaise,
  sfRound,
  sfTrap,
  toInteger,
  UE,
  unpack32,
  unpack64,
  unpack80,
  unpackInt,
  uSign,
  denormal1,
  zDefaultNaN,
  zSig,
} from './softfloat';
import {
  beginExtended,
  enter,
  FSW_C1,
  isEmpty,
  markEmpty,
  memoryFault,
  note,
  overflowPush,
  pop,
  putRaw,
  putZ,
  report,
  setTop,
  slot,
  stackFault,
  sti,
  top,
  underflowTo,
} from './x87-state';

const SCRATCH: i32 = memory.data(16, 16) as i32;

/** Reads the memory operand; its address, or 0 after a fault. */
function fetch(rec: i32, size: i32): i32 {
  begin();
  const linear = operandLinear(rec, size, 0);
  if (!ok) return 0;
  if (size != 10) return loadSlow(linear, size);
  return readBytes(linear, SCRATCH, 10) ? SCRATCH : 0;
}

/** Writes SCRATCH to the memory operand; 0 after a fault. */
function flush(rec: i32, size: i32): i32 {
  begin();
  const linear = operandLinear(rec, size, 1);
  return ok ? writeBytes(linear, SCRATCH, size) : 0;
}

/** Pushes Z, unless an unmasked invalid operand was met. */
function pushZ(rec: i32): void {
  report(rec);
  if (sfFlags & sfTrap & IE) return;
  setTop(top() - 1);
  putZ(0);
}

/** C1 is cleared by what cannot raise anything but stack faults. */
function clearC1(): void {
  store<u32>(FSW, load<u32>(FSW) & ~FSW_C1);
}

function loadFloat(rec: i32, size: i32): i32 {
  const status = enter();
  if (status) return status;
  const at = fetch(rec, size);
  if (!at) return memoryFault();
  note(rec, 1);
  if (!isEmpty(7)) {
    overflowPush(rec);
    return NEXT;
  }
  if (size == 10) {
    clearC1();
    setTop(top() - 1);
    putRaw(0, load<u64>(at), load<u16>(at + 8));
    return NEXT;
  }
  beginExtended();
  if (size == 4) unpack32(load<u32>(at));
  else unpack64(load<u64>(at));
  // An unmasked denormal operand is reported, but the value is loaded all the same.
  denormal1();
  convert();
  pushZ(rec);
  return NEXT;
}

function loadInteger(rec: i32, size: i32): i32 {
  const status = enter();
  if (status) return status;
  const at = fetch(rec, size);
  if (!at) return memoryFault();
  note(rec, 1);
  if (!isEmpty(7)) {
    overflowPush(rec);
    return NEXT;
  }
  beginExtended();
  unpackInt(size == 2 ? load<i16>(at) : size == 4 ? load<i32>(at) : load<i64>(at));
  convert();
  pushZ(rec);
  return NEXT;
}

export function op_fld_m32(rec: i32): i32 {
  return loadFloat(rec, 4);
}
export function op_fld_m64(rec: i32): i32 {
  return loadFloat(rec, 8);
}
export function op_fld_m80(rec: i32): i32 {
  return loadFloat(rec, 10);
}
export function op_fild_m16(rec: i32): i32 {
  return loadInteger(rec, 2);
}
export function op_fild_m32(rec: i32): i32 {
  return loadInteger(rec, 4);
}
export function op_fild_m64(rec: i32): i32 {
  return loadInteger(rec, 8);
}

/** 18 decimal digits, two a byte, and a sign byte. Digits above 9 are undefined: taken at their value. */
export function op_fbld(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  const at = fetch(rec, 10);
  if (!at) return memoryFault();
  note(rec, 1);
  if (!isEmpty(7)) {
    overflowPush(rec);
    return NEXT;
  }
  let value: i64 = 0;
  for (let n = 8; n >= 0; n--) {
    const byte = load<u8>(at + n);
    value = value * 100 + (byte >> 4) * 10 + (byte & 15);
  }
  beginExtended();
  unpackInt(value);
  convert();
  const sign = load<u8>(at + 9) & 0x80 ? 0x8000 : 0;
  clearC1();
  setTop(top() - 1);
  putRaw(0, zSig, packSE() | sign);
  return NEXT;
}

/** Writes SCRATCH, then reports and pops. `blocked`: exceptions that, unmasked, prevent the store and the pop. */
function finishStore(rec: i32, size: i32, pops: i32, blocked: i32): i32 {
  const stop = sfFlags & sfTrap & blocked;
  // What was not stored was not rounded either.
  if (stop) sfNotRounded();
  if (!stop && !flush(rec, size)) return memoryFault();
  note(rec, 1);
  report(rec);
  if (pops && !stop) pop();
  return NEXT;
}

/** Store of an empty register: what SCRATCH holds for a masked fault. */
function storeEmpty(rec: i32, size: i32, pops: i32): i32 {
  const masked = load<u32>(FCW) & IE;
  if (masked && !flush(rec, size)) return memoryFault();
  note(rec, 1);
  stackFault(rec, 0);
  if (pops && masked) pop();
  return NEXT;
}

function storeFloat(rec: i32, size: i32, pops: i32): i32 {
  const status = enter();
  if (status) return status;
  const empty = isEmpty(0);
  beginExtended();
  if (size == 4) sfFormat(24, 127);
  else sfFormat(53, 1023);
  const at = slot(0);
  unpack80(load<u64>(at), load<u16>(at + 8));
  if (empty) zDefaultNaN();
  else convert();
  if (size == 4) store<u32>(SCRATCH, pack32());
  else store<u64>(SCRATCH, pack64());
  if (empty) return storeEmpty(rec, size, pops);
  return finishStore(rec, size, pops, IE | OE | UE);
}

export function op_fst_m32(rec: i32): i32 {
  return storeFloat(rec, 4, 0);
}
export function op_fstp_m32(rec: i32): i32 {
  return storeFloat(rec, 4, 1);
}
export function op_fst_m64(rec: i32): i32 {
  return storeFloat(rec, 8, 0);
}
export function op_fstp_m64(rec: i32): i32 {
  return storeFloat(rec, 8, 1);
}

/** As it is: even a signalling NaN is not an invalid operand. */
export function op_fstp_m80(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  if (isEmpty(0)) {
    store<u64>(SCRATCH, 0xc000000000000000);
    store<u16>(SCRATCH + 8, 0xffff);
    return storeEmpty(rec, 10, 1);
  }
  const at = slot(0);
  store<u64>(SCRATCH, load<u64>(at));
  store<u16>(SCRATCH + 8, load<u16>(at + 8));
  beginExtended();
  return finishStore(rec, 10, 1, 0);
}

function storeInteger(rec: i32, size: i32, pops: i32, chop: i32): i32 {
  const status = enter();
  if (status) return status;
  const empty = isEmpty(0);
  beginExtended();
  const at = slot(0);
  unpack80(load<u64>(at), load<u16>(at + 8));
  const indefinite: i64 = <i64>(~(<u64>0) << (8 * size - 1));
  store<i64>(SCRATCH, empty ? indefinite : toInteger(8 * size, chop ? 3 : sfRound));
  if (empty) return storeEmpty(rec, size, pops);
  return finishStore(rec, size, pops, IE);
}

export function op_fist_m16(rec: i32): i32 {
  return storeInteger(rec, 2, 0, 0);
}
export function op_fist_m32(rec: i32): i32 {
  return storeInteger(rec, 4, 0, 0);
}
export function op_fistp_m16(rec: i32): i32 {
  return storeInteger(rec, 2, 1, 0);
}
export function op_fistp_m32(rec: i32): i32 {
  return storeInteger(rec, 4, 1, 0);
}
export function op_fistp_m64(rec: i32): i32 {
  return storeInteger(rec, 8, 1, 0);
}
export function op_fisttp_m16(rec: i32): i32 {
  return storeInteger(rec, 2, 1, 1);
}
export function op_fisttp_m32(rec: i32): i32 {
  return storeInteger(rec, 4, 1, 1);
}
export function op_fisttp_m64(rec: i32): i32 {
  return storeInteger(rec, 8, 1, 1);
}

/** Packed BCD indefinite (SDM 4.7). */
function bcdIndefinite(): void {
  store<u64>(SCRATCH, 0xc000000000000000);
  store<u16>(SCRATCH + 8, 0xffff);
}

export function op_fbstp(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  if (isEmpty(0)) {
    bcdIndefinite();
    return storeEmpty(rec, 10, 1);
  }
  beginExtended();
  const at = slot(0);
  unpack80(load<u64>(at), load<u16>(at + 8));
  const sign = uSign;
  const value = toInteger(64, sfRound);
  let magnitude: u64 = value < 0 ? 0 - <u64>value : <u64>value;
  if (magnitude > 999999999999999999) {
    // Too large for 18 digits: invalid, and nothing else.
    beginExtended();
    sfRaise(IE);
  }
  if (sfFlags & IE) {
    bcdIndefinite();
  } else {
    for (let n = 0; n < 9; n++) {
      const pair = magnitude % 100;
      magnitude /= 100;
      store<u8>(SCRATCH + n, <u8>((pair / 10) << 4) | <u8>(pair % 10));
    }
    store<u8>(SCRATCH + 9, sign << 7);
  }
  return finishStore(rec, 10, 1, IE);
}

/** Exact value = nearest; `above`: the nearest value lies above the true one, so that rounding down gives one less. */
function constant(rec: i32, sig: u64, se: i32, above: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  if (!isEmpty(7)) {
    overflowPush(rec);
    return NEXT;
  }
  clearC1();
  const round = (load<u32>(FCW) >> 10) & 3;
  let value = sig;
  if (above == 1 && (round == 1 || round == 3)) value--;
  if (above == 0 && round == 2) value++;
  setTop(top() - 1);
  putRaw(0, value, se);
  return NEXT;
}

const EXACT: i32 = 2;
export function op_fld1(rec: i32): i32 {
  return constant(rec, 0x8000000000000000, 0x3fff, EXACT);
}
export function op_fldl2t(rec: i32): i32 {
  return constant(rec, 0xd49a784bcd1b8afe, 0x4000, 0);
}
export function op_fldl2e(rec: i32): i32 {
  return constant(rec, 0xb8aa3b295c17f0bc, 0x3fff, 1);
}
export function op_fldpi(rec: i32): i32 {
  return constant(rec, 0xc90fdaa22168c235, 0x4000, 1);
}
export function op_fldlg2(rec: i32): i32 {
  return constant(rec, 0x9a209a84fbcff799, 0x3ffd, 1);
}
export function op_fldln2(rec: i32): i32 {
  return constant(rec, 0xb17217f7d1cf79ac, 0x3ffe, 1);
}
export function op_fldz(rec: i32): i32 {
  return constant(rec, 0, 0, EXACT);
}

export function op_fld_sti(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  const i = sti(rec);
  if (isEmpty(i)) {
    if (!stackFault(rec, 0)) {
      setTop(top() - 1);
      zDefaultNaN();
      putZ(0);
    }
    return NEXT;
  }
  if (!isEmpty(7)) {
    overflowPush(rec);
    return NEXT;
  }
  clearC1();
  const at = slot(i);
  const sig = load<u64>(at);
  const se = load<u16>(at + 8);
  setTop(top() - 1);
  putRaw(0, sig, se);
  return NEXT;
}

function copyTo(rec: i32, pops: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  const i = sti(rec);
  if (isEmpty(0)) {
    if (underflowTo(rec, i)) return NEXT;
  } else {
    clearC1();
    const at = slot(0);
    putRaw(i, load<u64>(at), load<u16>(at + 8));
  }
  if (pops) pop();
  return NEXT;
}

export function op_fst_sti(rec: i32): i32 {
  return copyTo(rec, 0);
}
export function op_fstp_sti(rec: i32): i32 {
  return copyTo(rec, 1);
}

/** D9 D8+i: FSTP that takes an empty register without a word. */
export function op_fstp1(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  clearC1();
  if (!isEmpty(0)) {
    const at = slot(0);
    putRaw(sti(rec), load<u64>(at), load<u16>(at + 8));
  }
  pop();
  return NEXT;
}

export function op_fxch(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  const i = sti(rec);
  const noFirst = isEmpty(0);
  const noSecond = isEmpty(i);
  if (noFirst || noSecond) {
    if (stackFault(rec, 0)) return NEXT;
    zDefaultNaN();
    if (noFirst) putZ(0);
    if (noSecond) putZ(i);
  } else {
    clearC1();
  }
  const a = slot(0);
  const b = slot(i);
  const sig = load<u64>(a);
  const se = load<u16>(a + 8);
  putRaw(0, load<u64>(b), load<u16>(b + 8));
  putRaw(i, sig, se);
  return NEXT;
}

/** FCMOVcc: the register moves when a flag of `mask` is set, or (`negate`) when none is. */
function moveIf(rec: i32, mask: i32, negate: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  const i = sti(rec);
  if (isEmpty(0) || isEmpty(i)) {
    underflowTo(rec, 0);
    return NEXT;
  }
  const holds = computeFlags() & mask ? 1 : 0;
  if (holds != negate) {
    const at = slot(i);
    putRaw(0, load<u64>(at), load<u16>(at + 8));
  }
  return NEXT;
}

export function op_fcmovb(rec: i32): i32 {
  return moveIf(rec, FLAG_CF, 0);
}
export function op_fcmove(rec: i32): i32 {
  return moveIf(rec, FLAG_ZF, 0);
}
export function op_fcmovbe(rec: i32): i32 {
  return moveIf(rec, FLAG_CF | FLAG_ZF, 0);
}
export function op_fcmovu(rec: i32): i32 {
  return moveIf(rec, FLAG_PF, 0);
}
export function op_fcmovnb(rec: i32): i32 {
  return moveIf(rec, FLAG_CF, 1);
}
export function op_fcmovne(rec: i32): i32 {
  return moveIf(rec, FLAG_ZF, 1);
}
export function op_fcmovnbe(rec: i32): i32 {
  return moveIf(rec, FLAG_CF | FLAG_ZF, 1);
}
export function op_fcmovnu(rec: i32): i32 {
  return moveIf(rec, FLAG_PF, 1);
}

export function op_ffree(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  clearC1();
  markEmpty(sti(rec));
  return NEXT;
}

/** FFREEP: undocumented, DF C0+i; frees the register and pops. */
export function op_ffreep(rec: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  clearC1();
  markEmpty(sti(rec));
  pop();
  return NEXT;
}

function turn(rec: i32, by: i32): i32 {
  const status = enter();
  if (status) return status;
  note(rec, 0);
  clearC1();
  setTop(top() + by);
  return NEXT;
}

export function op_fincstp(rec: i32): i32 {
  return turn(rec, 1);
}
export function op_fdecstp(rec: i32): i32 {
  return turn(rec, -1);
}
