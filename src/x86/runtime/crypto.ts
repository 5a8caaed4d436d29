// AES-NI (FIPS 197), PCLMULQDQ and the SHA extensions (FIPS 180-4), on vectors. Intel SDM volume 2.

const SBOX: i32 = <i32>memory.data(256, 16);
const INVERSE: i32 = <i32>memory.data(256, 16);
const A: i32 = <i32>memory.data(16, 16);
const B: i32 = <i32>memory.data(16, 16);
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

/** MixColumns (or its inverse) on one column. */
function mix(at: i32, inverse: bool): void {
  const a = <u32>load<u8>(at);
  const b = <u32>load<u8>(at, 1);
  const c = <u32>load<u8>(at, 2);
  const d = <u32>load<u8>(at, 3);
  if (inverse) {
    store<u8>(at, <u8>(gmul(a, 14) ^ gmul(b, 11) ^ gmul(c, 13) ^ gmul(d, 9)));
    store<u8>(at, <u8>(gmul(a, 9) ^ gmul(b, 14) ^ gmul(c, 11) ^ gmul(d, 13)), 1);
    store<u8>(at, <u8>(gmul(a, 13) ^ gmul(b, 9) ^ gmul(c, 14) ^ gmul(d, 11)), 2);
    store<u8>(at, <u8>(gmul(a, 11) ^ gmul(b, 13) ^ gmul(c, 9) ^ gmul(d, 14)), 3);
  } else {
    const all = a ^ b ^ c ^ d;
    store<u8>(at, <u8>(a ^ all ^ xtime(a ^ b)));
    store<u8>(at, <u8>(b ^ all ^ xtime(b ^ c)), 1);
    store<u8>(at, <u8>(c ^ all ^ xtime(c ^ d)), 2);
    store<u8>(at, <u8>(d ^ all ^ xtime(d ^ a)), 3);
  }
}

/** AESENC 0, AESENCLAST 1, AESDEC 2, AESDECLAST 3. */
export function aesRound(state: v128, key: v128, kind: i32): v128 {
  prepare();
  v128.store(A, state);
  const inverse = (kind & 2) != 0;
  substitute(inverse);
  if ((kind & 1) == 0) for (let i = 0; i < 4; i++) mix(B + (i << 2), inverse);
  return v128.xor(v128.load(B), key);
}

export function aesInverseMix(state: v128): v128 {
  v128.store(B, state);
  for (let i = 0; i < 4; i++) mix(B + (i << 2), true);
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
