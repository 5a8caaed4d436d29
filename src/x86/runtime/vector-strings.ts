// PCMPESTRx / PCMPISTRx: the string comparison of SSE4.2 (SDM volume 2, 4.1), and MPSADBW.

/** Where vectors are taken apart: two operands and a result of 16 bytes. */
const SCRATCH: i32 = <i32>memory.data(48, 16);

let length1: i32 = 0;
let length2: i32 = 0;
let count: i32 = 16;

function element(operand: i32, index: i32, imm: i32): i32 {
  const at = SCRATCH + (operand << 4);
  if (imm & 1) return imm & 2 ? <i32>load<i16>(at + (index << 1)) : <i32>load<u16>(at + (index << 1));
  return imm & 2 ? <i32>load<i8>(at + index) : <i32>load<u8>(at + index);
}

function implicitLength(operand: i32, imm: i32): i32 {
  for (let i = 0; i < count; i++) if (element(operand, i, imm) == 0) return i;
  return count;
}

/** Absolute value of a length register, at most the number of elements. */
function explicitLength(value: i64): i32 {
  const magnitude: u64 = value < 0 ? 0 - <u64>value : value;
  return magnitude > <u64>count ? count : <i32>magnitude;
}

function aggregate(imm: i32): i32 {
  let result = 0;
  const kind = (imm >> 2) & 3;
  for (let j = 0; j < count; j++) {
    const valid2 = j < length2;
    let yes = false;
    if (kind == 0) {
      // equal any: is the element in the set?
      if (valid2) for (let i = 0; i < length1 && !yes; i++) yes = element(0, i, imm) == element(1, j, imm);
    } else if (kind == 1) {
      // ranges: pairs of bounds
      if (valid2) {
        const x = element(1, j, imm);
        for (let i = 0; i + 1 < length1 && !yes; i += 2)
          yes = element(0, i, imm) <= x && x <= element(0, i + 1, imm);
      }
    } else if (kind == 2) {
      // equal each: two elements beyond both ends are equal
      const valid1 = j < length1;
      yes = valid1 && valid2 ? element(0, j, imm) == element(1, j, imm) : valid1 == valid2;
    } else {
      // equal ordered: does the substring start here?
      yes = true;
      for (let i = 0; i < count - j && yes; i++) {
        if (i >= length1) break;
        yes = i + j < length2 && element(0, i, imm) == element(1, i + j, imm);
      }
    }
    if (yes) result |= 1 << j;
  }
  const all = (1 << count) - 1;
  if ((imm & 0x30) == 0x10) result ^= all;
  else if ((imm & 0x30) == 0x30) result ^= (1 << length2) - 1;
  return result;
}

/**
 * Compares; the result is IntRes2 in bits 0..15 and the arithmetic flags, at their places in RFLAGS, above bit 16.
 * `first` and `second` are the length registers; `implicit` takes the lengths from the strings.
 */
export function compareStrings(a: v128, b: v128, first: i64, second: i64, imm: i32, implicit: i32): i32 {
  v128.store(SCRATCH, a);
  v128.store(SCRATCH + 16, b);
  count = imm & 1 ? 8 : 16;
  length1 = implicit ? implicitLength(0, imm) : explicitLength(first);
  length2 = implicit ? implicitLength(1, imm) : explicitLength(second);
  const result = aggregate(imm);
  let flags = 0;
  if (result != 0) flags |= 0x1;
  if (length2 < count) flags |= 0x40;
  if (length1 < count) flags |= 0x80;
  if (result & 1) flags |= 0x800;
  return result | (flags << 16);
}

/** ECX of the index forms. */
export function stringIndex(result: i32, imm: i32): i32 {
  const bits = result & 0xffff;
  if (bits == 0) return imm & 1 ? 8 : 16;
  return imm & 0x40 ? 31 - clz(bits) : ctz(bits);
}

/** XMM0 of the mask forms. */
export function stringMask(result: i32, imm: i32): v128 {
  const bits = result & 0xffff;
  const at = SCRATCH + 32;
  v128.store(at, i64x2.splat(0));
  if ((imm & 0x40) == 0) store<u16>(at, <u16>bits);
  else if (imm & 1) {
    for (let i = 0; i < 8; i++) store<u16>(at + (i << 1), (bits >> i) & 1 ? 0xffff : 0);
  } else for (let i = 0; i < 16; i++) store<u8>(at + i, (bits >> i) & 1 ? 0xff : 0);
  return v128.load(at);
}

/** MPSADBW: eight sums of four absolute differences, at sliding places of `a` against one block of `b`. */
export function mpsadbw(a: v128, b: v128, imm: i32): v128 {
  v128.store(SCRATCH, a);
  v128.store(SCRATCH + 16, b);
  const from = SCRATCH + (imm & 4);
  const block = SCRATCH + 16 + ((imm & 3) << 2);
  for (let i = 0; i < 8; i++) {
    let sum = 0;
    for (let j = 0; j < 4; j++) {
      const difference = <i32>load<u8>(from + i + j) - <i32>load<u8>(block + j);
      sum += difference < 0 ? -difference : difference;
    }
    store<u16>(SCRATCH + 32 + (i << 1), <u16>sum);
  }
  return v128.load(SCRATCH + 32);
}
