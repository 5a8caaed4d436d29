/** Small seeded generators, so that a failing instance can be made again from its seed. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  restart(seed: number): void {
    this.#state = seed | 0 || 1;
  }

  /** 32 random bits (xorshift32, Marsaglia 2003). */
  u32(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** 0 <= n < `limit` */
  below(limit: number): number {
    return this.u32() % limit;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** A 64-bit value that often lies at an edge. */
  interesting(): bigint {
    switch (this.below(8)) {
      case 0:
        return this.pick(EDGES);
      case 1:
        return BigInt.asUintN(64, 0n - this.pick(EDGES));
      case 2:
        return BigInt(this.below(256));
      case 3:
        return BigInt.asUintN(64, BigInt.asIntN(32, this.u64()));
      case 4:
        return BigInt(this.u32());
      case 5:
        return this.u64() & this.u64() & this.u64();
      default:
        return this.u64();
    }
  }

  /** Eight bytes that are often a number of some floating-point format, some of few bits: results are exact then. */
  floating(): bigint {
    if (this.chance(50)) return this.interesting();
    if (this.chance(50)) return (BigInt(this.single()) << 32n) | BigInt(this.single());
    if (this.chance(40)) return this.pick(DOUBLES);
    const few = this.chance(30) ? 0xffff_ffff_ffff_ffffn << BigInt(this.below(53)) : -1n;
    return few & ((this.u64() & 0x800f_ffff_ffff_ffffn) | (BigInt(this.#exponent(1023)) << 52n));
  }

  /** Eight bytes that are one number, or two, near the least normal one. */
  tiny(): bigint {
    const few = 0xffff_ffff_ffff_ffffn << BigInt(this.below(60));
    return this.chance(50)
      ? few & this.u64() & 0x803f_ffff_ffff_ffffn
      : few & this.u64() & 0x81ff_ffff_81ff_ffffn;
  }

  /** Mostly near that of 1; some at the lower end, where differences are denormal and products underflow. */
  #exponent(bias: number): number {
    return this.chance(15) ? this.below(4) : bias - 20 + this.below(40);
  }

  single(): number {
    if (this.chance(40)) return this.pick(SINGLES);
    const few = this.chance(30) ? -1 << this.below(24) : -1;
    return (few & ((this.u32() & 0x807f_ffff) | (this.#exponent(127) << 23))) >>> 0;
  }
}

const EDGES = [
  0n,
  1n,
  2n,
  7n,
  8n,
  0x7fn,
  0x80n,
  0xffn,
  0x100n,
  0x7fffn,
  0x8000n,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
]
  .concat([
    0xffff_ffffn,
    0x1_0000_0000n,
    0x7fff_ffff_ffff_ffffn,
    0x8000_0000_0000_0000n,
    0xffff_ffff_ffff_ffffn,
  ])
  .concat([31n, 32n, 63n, 64n, 0x80808080_80808080n, 0x0101_0101_0101_0101n, 0x7fff8000_80007fffn]);
const SINGLES = [
  0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc12345, 0x7f812345,
  0x00000001, 0x007fffff, 0x00800000, 0x7f7fffff, 0x4f000000, 0xcf000000, 0x5f000000, 0x3f000000, 0x4b000001,
  0x80012345, 0x00ffffff, 0x01000000, 0x80ffffff, 0x3f800800, 0x3f801000, 0x1f800000, 0x20000000, 0x4effffff,
];
const DOUBLES = [
  0n,
  1n << 63n,
  0x3ff0_0000_0000_0000n,
  0xbff0_0000_0000_0000n,
  0x7ff0_0000_0000_0000n,
  0xfff0_0000_0000_0000n,
  0x7ff8_0000_0000_0000n,
  0xfff8_0000_1234_0000n,
  0x7ff0_0000_0000_0001n,
  1n,
  0x000f_ffff_ffff_ffffn,
  0x0010_0000_0000_0000n,
  0x7fef_ffff_ffff_ffffn,
  0x41e0_0000_0000_0000n,
  0xc1e0_0000_0000_0000n,
  0x43e0_0000_0000_0000n,
  0x3fe0_0000_0000_0000n,
  0x36a0_0000_0000_0000n,
  0x47ef_ffff_f000_0000n,
  0x001f_ffff_ffff_ffffn,
  0x0020_0000_0000_0000n,
  0x8010_0000_0000_0000n,
  // 1 + 2^-26 and 1 + 2^-27: the square of one is exact, that of the other is not
  0x3ff0_0000_0400_0000n,
  0x3ff0_0000_0200_0000n,
  // about the square root of the least normal double, and the least normal float
  0x1ff0_0000_0000_0000n,
  0x2000_0000_0000_0000n,
  0x3810_0000_0000_0000n,
  0x3820_0000_0000_0000n,
  0x43df_ffff_ffff_ffffn,
  0x4340_0000_0000_0001n,
];
