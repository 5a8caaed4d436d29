/** Operands for floating-point tests: the corners of each format, and random ones that meet each other often. */

/** A small generator with a seed, so that a failure can be repeated (xorshift64*). */
export function randomSource(seed: bigint): () => bigint {
  let x = seed | 1n;
  return () => {
    x ^= x >> 12n;
    x = BigInt.asUintN(64, x ^ (x << 25n));
    x ^= x >> 27n;
    return BigInt.asUintN(64, x * 0x2545f4914f6cdd1dn);
  };
}

/** `count` bit patterns of a format with `exponentBits` and `fractionBits`: corners first, then random. */
export function floatPatterns(
  exponentBits: bigint,
  fractionBits: bigint,
  count: number,
  random: () => bigint,
): bigint[] {
  const top = (1n << exponentBits) - 1n;
  const bias = top >> 1n;
  const fraction = (1n << fractionBits) - 1n;
  const quiet = 1n << (fractionBits - 1n);
  const exponents = [
    0n,
    1n,
    2n,
    bias - 1n,
    bias,
    bias + 1n,
    bias + fractionBits,
    bias + 31n,
    bias + 63n,
    top - 1n,
    top,
  ];
  const fractions = [0n, 1n, 2n, quiet - 1n, quiet, quiet + 1n, fraction - 1n, fraction];
  const patterns: bigint[] = [];
  for (const sign of [0n, 1n]) {
    for (const e of exponents) {
      for (const f of fractions) {
        if (e < 1n << exponentBits) patterns.push((((sign << exponentBits) | e) << fractionBits) | f);
      }
    }
  }
  while (patterns.length < count) {
    const r = random();
    const sign = r & 1n;
    let e = random() & top;
    const kind = (r >> 1n) & 7n;
    if (kind < 3n) e = bias + ((r >> 8n) & 15n) - 8n;
    else if (kind === 3n) e = (r >> 8n) & 31n & top;
    else if (kind === 4n) e = bias + ((r >> 8n) & 127n) - 32n;
    if (e < 0n) e = 0n;
    if (e > top) e = top;
    let f = random() & fraction;
    if (((r >> 20n) & 3n) === 0n) f &= ~((1n << ((r >> 24n) % fractionBits)) - 1n);
    if (((r >> 40n) & 7n) === 0n) f = fraction & ~(1n << ((r >> 44n) % fractionBits));
    patterns.push((((sign << exponentBits) | e) << fractionBits) | f);
  }
  return patterns;
}
