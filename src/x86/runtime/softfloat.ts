// Binary floating point in integers: one number form for binary32, binary64 and the x87's 80 bits, one rounding step,
// and the exception flags of x86. An operation takes its operands unpacked (A first, then U), leaves its result packed
// by fields in Z, and ORs what happened into sfFlags. Rules: IEEE 754-2019, and SDM volume 1, chapters 4, 8 and 11.

/** Exception flags, at their places in FSW and MXCSR. */
export const IE: i32 = 1;
export const DE: i32 = 2;
export const ZE: i32 = 4;
export const OE: i32 = 8;
export const UE: i32 = 16;
export const PE: i32 = 32;
/** Exceptions that are found before anything is computed: an unmasked one of these leaves no result. */
export const PRE: i32 = 7;

// Classes of operands, in an order that comparisons use.
export const ZERO: i32 = 0;
export const NORMAL: i32 = 1;
/** Its significand has been normalised. */
export const DENORMAL: i32 = 2;
export const INFINITE: i32 = 3;
export const QNAN: i32 = 4;
export const SNAN: i32 = 5;
/** 80-bit encodings that no longer mean anything: unnormals, pseudo-infinities, pseudo-NaNs. */
export const UNSUPPORTED: i32 = 6;

export const TOP: u64 = 0x8000000000000000;

export let sfFlags: i32 = 0;
/** 1 when rounding increased the magnitude (the x87's C1). */
export let sfUp: i32 = 0;
/** Rounding control as in FCW and MXCSR: 0 nearest even, 1 down, 2 up, 3 toward zero. */
export let sfRound: i32 = 0;
/** Unmasked exceptions, as flag bits. */
export let sfTrap: i32 = 0;
let daz: i32 = 0;
let ftz: i32 = 0;
/** 1: x87 rules for NaNs, and results with a wrapped exponent for unmasked overflow and underflow. */
let x87: i32 = 0;
/** Significant bits of a result, and the exponent bias of its format. */
let precision: i32 = 64;
let bias: i32 = 16383;

export let aClass: i32 = 0;
export let aSign: i32 = 0;
export let aExp: i32 = 0;
export let aSig: u64 = 0;
/** Value = sig * 2^(exp - 63), bit 63 of sig set, for NORMAL and DENORMAL. */
export let uClass: i32 = 0;
export let uSign: i32 = 0;
export let uExp: i32 = 0;
export let uSig: u64 = 0;

export let zSign: i32 = 0;
/** Exponent field of the result's format. */
export let zBiased: i32 = 0;
/** Significand with the integer bit at 63, whatever the format. */
export let zSig: u64 = 0;

export function sfBeginSse(round: i32, trap: i32, denormalsAreZero: i32, flushToZero: i32): void {
  sfFlags = 0;
  sfUp = 0;
  sfRound = round;
  sfTrap = trap;
  daz = denormalsAreZero;
  ftz = flushToZero;
  x87 = 0;
}

export function sfBeginX87(round: i32, trap: i32): void {
  sfFlags = 0;
  sfUp = 0;
  sfRound = round;
  sfTrap = trap;
  daz = 0;
  ftz = 0;
  x87 = 1;
}

/** Format of the next result: 24/127, 53/1023, 64/16383; the x87's precision control asks for 24 or 53 with 16383. */
export function sfFormat(bits: i32, exponentBias: i32): void {
  precision = bits;
  bias = exponentBias;
}

export function sfSetRound(round: i32): void {
  sfRound = round;
}

export function sfRaise(flags: i32): void {
  sfFlags |= flags;
}

/** For a result that an unmasked exception keeps from being stored. */
export function sfNotRounded(): void {
  sfFlags &= ~PE;
  sfUp = 0;
}

/** Forgets flags, for what an instruction does not report. */
export function sfForget(flags: i32): void {
  sfFlags &= ~flags;
}

export function unpack80(sig: u64, se: i32): void {
  const e = se & 0x7fff;
  uSign = (se >> 15) & 1;
  uSig = sig;
  uExp = e - 16383;
  if (e == 0) {
    if (sig == 0) {
      uClass = ZERO;
      return;
    }
    // A pseudo-denormal (integer bit set) has the value of exponent 1, as a true denormal has.
    const shift = <i32>clz(sig);
    uClass = DENORMAL;
    uSig = sig << shift;
    uExp = -16382 - shift;
  } else if (!(sig >> 63)) {
    uClass = UNSUPPORTED;
  } else if (e == 0x7fff) {
    uClass = sig == TOP ? INFINITE : (sig >> 62) & 1 ? QNAN : SNAN;
  } else {
    uClass = NORMAL;
  }
}

export function unpack64(bits: u64): void {
  const e = <i32>(bits >> 52) & 0x7ff;
  const frac = bits << 12;
  uSign = <i32>(bits >> 63);
  uSig = TOP | (frac >> 1);
  uExp = e - 1023;
  if (e == 0) unpackSmall(frac, -1022);
  else if (e == 0x7ff) unpackSpecial(frac);
  else uClass = NORMAL;
}

export function unpack32(bits: u32): void {
  const e = <i32>(bits >> 23) & 0xff;
  const frac = (<u64>bits) << 41;
  uSign = <i32>(bits >> 31);
  uSig = TOP | (frac >> 1);
  uExp = e - 127;
  if (e == 0) unpackSmall(frac, -126);
  else if (e == 0xff) unpackSpecial(frac);
  else uClass = NORMAL;
}

function unpackSmall(frac: u64, minimum: i32): void {
  if (frac == 0 || daz) {
    uClass = ZERO;
    uSig = 0;
    return;
  }
  const shift = <i32>clz(frac);
  uClass = DENORMAL;
  uSig = frac << shift;
  uExp = minimum - 1 - shift;
}

function unpackSpecial(frac: u64): void {
  uClass = frac == 0 ? INFINITE : frac >> 63 ? QNAN : SNAN;
}

/** An integer as an operand. */
export function unpackInt(value: i64): void {
  uSign = value < 0 ? 1 : 0;
  const magnitude: u64 = value < 0 ? 0 - <u64>value : <u64>value;
  if (magnitude == 0) {
    uClass = ZERO;
    uSig = 0;
    return;
  }
  const shift = <i32>clz(magnitude);
  uClass = NORMAL;
  uSig = magnitude << shift;
  uExp = 63 - shift;
}

/** The number just unpacked becomes the first operand. */
export function toA(): void {
  aClass = uClass;
  aSign = uSign;
  aExp = uExp;
  aSig = uSig;
}

export function swapAU(): void {
  const c = aClass;
  const s = aSign;
  const e = aExp;
  const g = aSig;
  toA();
  uClass = c;
  uSign = s;
  uExp = e;
  uSig = g;
}

export function pack32(): u32 {
  return ((<u32>zSign) << 31) | ((<u32>zBiased) << 23) | <u32>((zSig << 1) >> 41);
}

export function pack64(): u64 {
  return ((<u64>zSign) << 63) | ((<u64>zBiased) << 52) | ((zSig << 1) >> 12);
}

/** Sign and exponent of the 80-bit form; the significand is zSig. */
export function packSE(): i32 {
  return (zSign << 15) | zBiased;
}

export function zZero(sign: i32): void {
  zSign = sign;
  zBiased = 0;
  zSig = 0;
}

export function zInfinity(sign: i32): void {
  zSign = sign;
  zBiased = 2 * bias + 1;
  zSig = TOP;
}

/** "Real indefinite": the quiet NaN of a masked invalid operation, negative (SDM 4.8.3.7). */
export function zDefaultNaN(): void {
  zSign = 1;
  zBiased = 2 * bias + 1;
  zSig = 0xc000000000000000;
}

export function zInvalid(): void {
  sfFlags |= IE;
  zDefaultNaN();
}

function zNaN(sign: i32, sig: u64): void {
  zSign = sign;
  zBiased = 2 * bias + 1;
  zSig = sig | 0xc000000000000000;
}

/** U, which is a NaN, as a result. */
export function nan1(): void {
  if (uClass == UNSUPPORTED) return zInvalid();
  if (uClass == SNAN) sfFlags |= IE;
  zNaN(uSign, uSig);
}

/** The result when A or U is a NaN (SDM table 4-7). */
export function nan2(): void {
  if (aClass == UNSUPPORTED || uClass == UNSUPPORTED) return zInvalid();
  if (aClass == SNAN || uClass == SNAN) sfFlags |= IE;
  let first = aClass >= QNAN;
  if (x87 && first && uClass >= QNAN) {
    // A quiet NaN before a signalling one, then the larger significand, then the positive one.
    if (aClass != uClass) first = aClass == QNAN;
    else if (aSig != uSig) first = aSig > uSig;
    else first = aSign <= uSign;
  }
  if (first) zNaN(aSign, aSig);
  else zNaN(uSign, uSig);
}

/** Raises DE for a denormal U or A; true when that stops the instruction. */
export function denormal2(): bool {
  if (aClass == DENORMAL || uClass == DENORMAL) sfFlags |= DE;
  return (sfFlags & sfTrap & DE) != 0;
}

export function denormal1(): bool {
  if (uClass == DENORMAL) sfFlags |= DE;
  return (sfFlags & sfTrap & DE) != 0;
}

/** Increment for a fraction that is cut off: `frac` in units of 2^-64 with a sticky lowest bit. */
function increment(sign: i32, odd: u64, frac: u64): u64 {
  if (sfRound == 0) return frac > TOP || (frac == TOP && odd) ? 1 : 0;
  if (frac == 0) return 0;
  if (sfRound == 1) return sign;
  return sfRound == 2 ? <u64>(sign ^ 1) : 0;
}

/**
 * The one rounding step: Z = hi:lo * 2^(exp - 127), where bit 63 of hi is set and the lowest bit of lo is sticky, in
 * the format set by sfFormat. Tininess is detected after rounding (SDM 4.9.1.5).
 */
export function roundPack(sign: i32, exp: i32, hi: u64, lo: u64): void {
  const drop: u64 = 64 - precision;
  const low: u64 = ((<u64>1) << drop) - 1;
  const frac: u64 = drop ? (hi << (64 - drop)) | <u64>(lo != 0) : lo;
  const up = increment(sign, (hi >> drop) & 1, frac);
  const kept = hi & ~low;
  let sig = kept + (up << drop);
  let e = exp;
  if (sig < kept) {
    sig = TOP;
    e++;
  }
  zSign = sign;
  if (e < 1 - bias) return underflow(sign, exp, hi, lo, e, sig, frac, <i32>up);
  if (e > bias) return overflow(sign, e, sig, frac, <i32>up);
  if (frac) {
    sfFlags |= PE;
    sfUp = <i32>up;
  }
  zBiased = e + bias;
  zSig = sig;
}

function overflow(sign: i32, e: i32, sig: u64, frac: u64, up: i32): void {
  sfFlags |= OE;
  if (sfTrap & OE) {
    if (frac) {
      sfFlags |= PE;
      sfUp = up;
    }
    if (!x87) return;
    // SDM volume 1, 8.5.4: the exponent is wrapped; what is still too large (FSCALE) becomes infinite.
    zBiased = e + bias - 24576;
    zSig = sig;
    if (zBiased > 2 * bias) {
      sfFlags |= PE;
      sfUp = 1;
      zInfinity(sign);
    }
    return;
  }
  sfFlags |= PE;
  const infinite = sfRound == 0 || (sfRound == 1 && sign) || (sfRound == 2 && !sign);
  if (infinite) {
    sfUp = 1;
    return zInfinity(sign);
  }
  zBiased = 2 * bias;
  zSig = ~(((<u64>1) << (64 - precision)) - 1);
}

function underflow(sign: i32, exp: i32, hi: u64, lo: u64, e: i32, sig: u64, frac: u64, up: i32): void {
  if (sfTrap & UE) {
    sfFlags |= UE;
    if (frac) {
      sfFlags |= PE;
      sfUp = up;
    }
    if (!x87) return;
    zBiased = e + bias + 24576;
    zSig = sig;
    if (zBiased < 1) {
      sfFlags |= PE;
      sfUp = 0;
      zZero(sign);
    }
    return;
  }
  if (ftz) {
    sfFlags |= UE | PE;
    return zZero(sign);
  }
  const shift: u64 = 1 - bias - exp;
  const drop: u64 = 64 - precision;
  let h = hi;
  let l = lo;
  if (shift >= 128) {
    h = 0;
    l = 1;
  } else if (shift >= 64) {
    const lost: u64 = lo | (shift > 64 ? hi << (128 - shift) : 0);
    l = (shift > 64 ? hi >> (shift - 64) : hi) | <u64>(lost != 0);
    h = 0;
  } else if (shift) {
    l = (hi << (64 - shift)) | (lo >> shift) | <u64>(lo << (64 - shift) != 0);
    h = hi >> shift;
  }
  const rest: u64 = drop ? (h << (64 - drop)) | <u64>(l != 0) : l;
  const inc = increment(sign, (h >> drop) & 1, rest);
  // Cannot carry out: the integer bit was clear, or `shift` is 0 (the value rounds up to the smallest normal above).
  zSig = (h & ~(((<u64>1) << drop) - 1)) + (inc << drop);
  zBiased = <i32>(zSig >> 63);
  if (rest) {
    sfFlags |= UE | PE;
    sfUp = <i32>inc;
  }
}

/** Z = U, rounded into the present format (conversion between formats). */
export function convert(): void {
  if (uClass >= QNAN) return nan1();
  if (uClass == INFINITE) return zInfinity(uSign);
  if (uClass == ZERO) return zZero(uSign);
  roundPack(uSign, uExp, uSig, 0);
}

/** -1, 0, 1, for numbers that are not NaN. */
function order(): i32 {
  if (aClass == ZERO && uClass == ZERO) return 0;
  if (aClass == ZERO) return uSign ? 1 : -1;
  if (uClass == ZERO || aSign != uSign) return aSign ? -1 : 1;
  let magnitude = 0;
  const ae = aClass == INFINITE ? 0x7fffffff : aExp;
  const ue = uClass == INFINITE ? 0x7fffffff : uExp;
  if (ae != ue) magnitude = ae < ue ? -1 : 1;
  else if (ae != 0x7fffffff && aSig != uSig) magnitude = aSig < uSig ? -1 : 1;
  return aSign ? -magnitude : magnitude;
}

/** Compares A with U: ZF 0x40, PF 4, CF 1 as COMIS and FCOMI set them. `quiet`: a quiet NaN is not invalid. */
export function compare(quiet: i32): i32 {
  if (aClass >= QNAN || uClass >= QNAN) {
    if (!quiet || aClass >= SNAN || uClass >= SNAN) sfFlags |= IE;
    return 0x45;
  }
  denormal2();
  const o = order();
  return o < 0 ? 1 : o > 0 ? 0 : 0x40;
}

/** U as an integer of 16, 32 or 64 bits; what does not fit is "integer indefinite" and invalid (SDM 4.9.1.1). */
export function toInteger(bits: i32, round: i32): i64 {
  const indefinite: i64 = <i64>(~(<u64>0) << (bits - 1));
  if (uClass >= INFINITE || uExp >= 64) {
    if (uClass == ZERO) return 0;
    sfFlags |= IE;
    return indefinite;
  }
  if (uClass == ZERO) return 0;
  let whole: u64 = 0;
  let frac: u64 = 1;
  if (uExp >= 63) {
    whole = uSig;
    frac = 0;
  } else if (uExp >= 0) {
    whole = uSig >> (63 - uExp);
    frac = uSig << (uExp + 1);
  } else if (uExp == -1) {
    frac = uSig;
  }
  const saved = sfRound;
  sfRound = round;
  const up = increment(uSign, whole & 1, frac);
  sfRound = saved;
  whole += up;
  const limit: u64 = ((<u64>1) << (bits - 1)) - <u64>(uSign ^ 1);
  if (whole > limit || (up && whole == 0)) {
    sfFlags |= IE;
    return indefinite;
  }
  if (frac) {
    sfFlags |= PE;
    sfUp = <i32>up;
  }
  return <i64>(uSign ? 0 - whole : whole);
}

/** Z = U rounded to an integral value, in the present format. */
export function roundToIntegral(round: i32): void {
  if (uClass >= QNAN) return nan1();
  if (uClass == INFINITE) return zInfinity(uSign);
  if (uClass == ZERO) return zZero(uSign);
  if (uExp >= 63) return roundPack(uSign, uExp, uSig, 0);
  const value = toInteger(64, round);
  const sign = uSign;
  const flags = sfFlags;
  const up = sfUp;
  unpackInt(value);
  if (uClass == ZERO) zZero(sign);
  else roundPack(uSign, uExp, uSig, 0);
  sfFlags = flags;
  sfUp = up;
}
