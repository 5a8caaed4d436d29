// AES-NI (FIPS 197), PCLMULQDQ and the SHA extensions (FIPS 180-4), on vectors. Intel SDM volume 2.

const SBOX: i32 = <i32>memory.data(256, 16);
const INVERSE: i32 = <i32>memory.data(256, 16);
const A: i32 = <i32>memory.data(16, 16);
const B: i32 = <i32>memory.data(16, 16);
/** SubBytes and MixColumns of one byte in row 0, as a column (row 0 lowest); and their inverses. */
const FORWARD: i32 = <i32>memory.data(1024, 16);
const BACKWARD: i32 = <i32>memory.data(1024, 16);
let ready = false;

function xtime(x: u32): u32 {
  return ((x << 1) ^ (x & 0x80 ? 0x11b : 0)) & 0xff;
}

function gmul(a: u32, b: u32): u32 {
  let result: u32 = 0;
  let x = a;
  let y = b;
  while (y != 0) {
    if (y & 1) result ^= x;
    x = xtime(x);
    y >>= 1;
  }
  return result;
}

/** The S-boxes from their definition: the inverse in GF(2^8), then the affine map (FIPS 197, 5.1.1). */
function prepare(): void {
  if (ready) return;
  ready = true;
  let p: u32 = 1;
  let q: u32 = 1;
  do {
    p = p ^ xtime(p); // times 3
    // q divided by 3
    q ^= q << 1;
    q ^= q << 2;
    q ^= q << 4;
    q &= 0xff;
    if (q & 0x80) q ^= 0x09;
    const x = q ^ rotl8(q, 1) ^ rotl8(q, 2) ^ rotl8(q, 3) ^ rotl8(q, 4) ^ 0x63;
    store<u8>(SBOX + p, <u8>x);
    store<u8>(INVERSE + x, <u8>p);
  } while (p != 1);
  store<u8>(SBOX, 0x63);
  store<u8>(INVERSE + 0x63, 0);
  for (let i = 0; i < 256; i++) {
    const s = <u32>load<u8>(SBOX + i);
    store<u32>(FORWARD + (i << 2), gmul(s, 2) | (s << 8) | (s << 16) | (gmul(s, 3) << 24));
    const t = <u32>load<u8>(INVERSE + i);
    store<u32>(
      BACKWARD + (i << 2),
      gmul(t, 14) | (gmul(t, 9) << 8) | (gmul(t, 13) << 16) | (gmul(t, 11) << 24),
    );
  }
}

/** One column of a round but the last: its four bytes come from columns `a` (row 0) to `d` (row 3). */
function column(table: i32, a: u32, b: u32, c: u32, d: u32): u32 {
  return (
    load<u32>(table + ((a & 255) << 2)) ^
    rotl<u32>(load<u32>(table + (((b >> 8) & 255) << 2)), 8) ^
    rotl<u32>(load<u32>(table + (((c >> 16) & 255) << 2)), 16) ^
    rotl<u32>(load<u32>(table + ((d >> 24) << 2)), 24)
  );
}

function rotl8(x: u32, n: u32): u32 {
  return ((x << n) | (x >> (8 - n))) & 0xff;
}

/** ShiftRows and SubBytes (or their inverses) from A to B. */
function substitute(inverse: bool): void {
  for (let column = 0; column < 4; column++)
    for (let row = 0; row < 4; row++) {
      const from = inverse ? (column - row) & 3 : (column + row) & 3;
      const x = load<u8>(A + (from << 2) + row);
      store<u8>(B + (column << 2) + row, load<u8>((inverse ? INVERSE : SBOX) + <i32>x));
    }
}

/** AESENC 0, AESENCLAST 1, AESDEC 2, AESDECLAST 3. */
export function aesRound(state: v128, key: v128, kind: i32): v128 {
  prepare();
  if ((kind & 1) != 0) {
    v128.store(A, state);
    substitute((kind & 2) != 0);
    return v128.xor(v128.load(B), key);
  }
  const x = <u32>i32x4.extract_lane(state, 0);
  const y = <u32>i32x4.extract_lane(state, 1);
  const z = <u32>i32x4.extract_lane(state, 2);
  const t = <u32>i32x4.extract_lane(state, 3);
  let result: v128;
  if (kind == 0) {
    result = i32x4.splat(column(FORWARD, x, y, z, t));
    result = i32x4.replace_lane(result, 1, column(FORWARD, y, z, t, x));
    result = i32x4.replace_lane(result, 2, column(FORWARD, z, t, x, y));
    result = i32x4.replace_lane(result, 3, column(FORWARD, t, x, y, z));
  } else {
    result = i32x4.splat(column(BACKWARD, x, t, z, y));
    result = i32x4.replace_lane(result, 1, column(BACKWARD, y, x, t, z));
    result = i32x4.replace_lane(result, 2, column(BACKWARD, z, y, x, t));
    result = i32x4.replace_lane(result, 3, column(BACKWARD, t, z, y, x));
  }
  return v128.xor(result, key);
}

/** InvMixColumns alone: BACKWARD without its inverse S-box. */
export function aesInverseMix(state: v128): v128 {
  prepare();
  v128.store(A, state);
  for (let i = 0; i < 16; i += 4) {
    const x = subWord(load<u32>(A + i));
    store<u32>(B + i, column(BACKWARD, x, x, x, x));
  }
  return v128.load(B);
}

function subWord(x: u32): u32 {
  return (
    <u32>load<u8>(SBOX + (x & 0xff)) |
    ((<u32>load<u8>(SBOX + ((x >> 8) & 0xff))) << 8) |
    ((<u32>load<u8>(SBOX + ((x >> 16) & 0xff))) << 16) |
    ((<u32>load<u8>(SBOX + (x >> 24))) << 24)
  );
}

/** AESKEYGENASSIST */
export function aesKeyAssist(state: v128, imm: i32): v128 {
  prepare();
  const x1 = subWord(i32x4.extract_lane(state, 1));
  const x3 = subWord(i32x4.extract_lane(state, 3));
  let result = i32x4.splat(x1);
  result = i32x4.replace_lane(result, 1, rotr<u32>(x1, 8) ^ <u32>imm);
  result = i32x4.replace_lane(result, 2, x3);
  return i32x4.replace_lane(result, 3, rotr<u32>(x3, 8) ^ <u32>imm);
}

/** Carry-less 64 x 64 -> 128 product. */
export function carrylessMultiply(a: u64, b: u64): v128 {
  let low: u64 = 0;
  let high: u64 = 0;
  for (let i: u64 = 0; i < 64; i++)
    if ((b >> i) & 1) {
      low ^= a << i;
      if (i != 0) high ^= a >> (64 - i);
    }
  return i64x2.replace_lane(i64x2.splat(low), 1, high);
}

// --- SHA ------------------------------------------------------------------------------------------------------------

function d(x: v128, lane: i32): u32 {
  v128.store(A, x);
  return load<u32>(A + (lane << 2));
}

function vector(x0: u32, x1: u32, x2: u32, x3: u32): v128 {
  store<u32>(A, x0);
  store<u32>(A, x1, 4);
  store<u32>(A, x2, 8);
  store<u32>(A, x3, 12);
  return v128.load(A);
}

function f1(kind: i32, b: u32, c: u32, e: u32): u32 {
  if (kind == 0) return (b & c) ^ (~b & e);
  if (kind == 2) return (b & c) ^ (b & e) ^ (c & e);
  return b ^ c ^ e;
}

export function sha1rnds4(a: v128, b: v128, imm: i32): v128 {
  const kind = imm & 3;
  const k: u32 = kind == 0 ? 0x5a827999 : kind == 1 ? 0x6ed9eba1 : kind == 2 ? 0x8f1bbcdc : 0xca62c1d6;
  let A0 = d(a, 3);
  let B0 = d(a, 2);
  let C0 = d(a, 1);
  let D0 = d(a, 0);
  let E0: u32 = 0;
  for (let i = 0; i < 4; i++) {
    const next = f1(kind, B0, C0, D0) + rotl<u32>(A0, 5) + d(b, 3 - i) + E0 + k;
    E0 = D0;
    D0 = C0;
    C0 = rotl<u32>(B0, 30);
    B0 = A0;
    A0 = next;
  }
  return vector(D0, C0, B0, A0);
}

export function sha1nexte(a: v128, b: v128): v128 {
  return vector(d(b, 0), d(b, 1), d(b, 2), d(b, 3) + rotl<u32>(d(a, 3), 30));
}

export function sha1msg1(a: v128, b: v128): v128 {
  return vector(d(b, 2) ^ d(a, 0), d(b, 3) ^ d(a, 1), d(a, 0) ^ d(a, 2), d(a, 1) ^ d(a, 3));
}

export function sha1msg2(a: v128, b: v128): v128 {
  const w16 = rotl<u32>(d(a, 3) ^ d(b, 2), 1);
  const w17 = rotl<u32>(d(a, 2) ^ d(b, 1), 1);
  const w18 = rotl<u32>(d(a, 1) ^ d(b, 0), 1);
  return vector(rotl<u32>(d(a, 0) ^ w16, 1), w18, w17, w16);
}

export function sha256rnds2(a: v128, b: v128, wk: v128): v128 {
  let A0 = d(b, 3);
  let B0 = d(b, 2);
  let C0 = d(a, 3);
  let D0 = d(a, 2);
  let E0 = d(b, 1);
  let F0 = d(b, 0);
  let G0 = d(a, 1);
  let H0 = d(a, 0);
  for (let i = 0; i < 2; i++) {
    const t1 =
      ((E0 & F0) ^ (~E0 & G0)) + (rotr<u32>(E0, 6) ^ rotr<u32>(E0, 11) ^ rotr<u32>(E0, 25)) + d(wk, i) + H0;
    const t2 =
      ((A0 & B0) ^ (A0 & C0) ^ (B0 & C0)) + (rotr<u32>(A0, 2) ^ rotr<u32>(A0, 13) ^ rotr<u32>(A0, 22));
    H0 = G0;
    G0 = F0;
    F0 = E0;
    E0 = D0 + t1;
    D0 = C0;
    C0 = B0;
    B0 = A0;
    A0 = t1 + t2;
  }
  return vector(F0, E0, B0, A0);
}

function s0(x: u32): u32 {
  return rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
}
function s1(x: u32): u32 {
  return rotr<u32>(x, 17) ^ rotr<u32>(x, 19) ^ (x >> 10);
}

export function sha256msg1(a: v128, b: v128): v128 {
  return vector(d(a, 0) + s0(d(a, 1)), d(a, 1) + s0(d(a, 2)), d(a, 2) + s0(d(a, 3)), d(a, 3) + s0(d(b, 0)));
}

export function sha256msg2(a: v128, b: v128): v128 {
  const w16 = d(a, 0) + s1(d(b, 2));
  const w17 = d(a, 1) + s1(d(b, 3));
  return vector(w16, w17, d(a, 2) + s1(w16), d(a, 3) + s1(w17));
}
