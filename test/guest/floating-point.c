/*
 * Floating point under load: a program that is compiled once and run on the host and in the guest, where it must
 * print the same. Each line is a hash over some thousand results: IEEE arithmetic in three formats and four rounding
 * modes with its exception flags, libm, conversions to and from text, the x87's exact instructions and its precision
 * control, flushing of denormals. Run it on the host with libm's variants for FMA and AVX off (GLIBC_TUNABLES).
 *
 * Not hashed: libm's long double functions. They use the x87's transcendental instructions, whose last bit differs
 * between processors. With a second argument their results go to that file, 16 bytes each.
 */
#include <fenv.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE *wide_results;
static uint64_t seed = 88172645463325252ULL;
static const uint64_t HASH_START = 1469598103934665603ULL;
static uint64_t hash = 1469598103934665603ULL;

static uint64_t next(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static void mix(const void *bytes, int length) {
  const unsigned char *at = bytes;
  for (int i = 0; i < length; i++) hash = (hash ^ at[i]) * 1099511628211ULL;
}

/* One pattern for all NaNs: which of two operands' payloads survives is the compiler's choice of their order. */
static void d(double x) {
  if (x != x) x = NAN;
  mix(&x, 8);
}

static void f(float x) {
  if (x != x) x = NAN;
  mix(&x, 4);
}

static void l(long double x) {
  if (x != x) x = (long double)NAN;
  mix(&x, 10);
}

static void wide(long double x) {
  unsigned char bytes[16] = {0};
  if (x != x) x = (long double)NAN;
  memcpy(bytes, &x, 10);
  if (wide_results) fwrite(bytes, 16, 1, wide_results);
}

static void line(const char *name) {
  printf("%-22s %016llx\n", name, (unsigned long long)hash);
  hash = HASH_START;
}

static double any_double(void) {
  uint64_t bits;
  double x;
  switch (next() % 4) {
    case 0:
      bits = next();
      memcpy(&x, &bits, 8);
      return x;
    case 1: return (double)(int64_t)next() / (double)(1ULL << 40);
    case 2: return (double)(next() >> 11) / 9007199254740992.0 * 20 - 10;
    default: return (double)(int)(next() % 2001) - 1000;
  }
}

static float any_float(void) {
  uint32_t bits = next();
  float x;
  if (next() & 1) {
    memcpy(&x, &bits, 4);
    return x;
  }
  return (float)any_double();
}

static long double any_wide(void) {
  long double x = any_double();
  return x * (1.0L + (long double)(next() >> 1) * 0x1p-80L);
}

static void arithmetic(int count) {
  feclearexcept(FE_ALL_EXCEPT);
  for (int i = 0; i < count; i++) {
    volatile double a = any_double(), b = any_double(), c = any_double();
    d(a + b), d(a - b), d(a * b), d(a / b), d(sqrt(a)), d(a * b + c);
    volatile float x = any_float(), y = any_float();
    f(x + y), f(x - y), f(x * y), f(x / y), f(sqrtf(x)), f((float)a), d((double)x);
    volatile long double p = any_wide(), q = any_wide();
    l(p + q), l(p - q), l(p * q), l(p / q), l(sqrtl(p)), d((double)p), f((float)q), l((long double)a);
    int64_t whole;
    if (fabs(a) < 9e18) {
      whole = (int64_t)a, mix(&whole, 8);
      whole = llrint(a), mix(&whole, 8);
      whole = lrintl((long double)a), mix(&whole, 8);
    }
    whole = next();
    d((double)whole), f((float)whole), l((long double)whole);
    d((double)(uint64_t)whole), l((long double)(uint64_t)whole), d((double)(int)whole), f((float)(int)whole);
    int exponent;
    d(frexp(a, &exponent)), mix(&exponent, 4), d(ldexp(b, (int)(next() % 200) - 100));
    d(a < b), d(a > b), d(a <= b), d(a != b), d(p < q), d(p >= q), d(x < y), d(isunordered(a, b));
    int flags = fetestexcept(FE_ALL_EXCEPT);
    mix(&flags, 4);
    if ((i & 15) == 0) feclearexcept(FE_ALL_EXCEPT);
  }
  line("arithmetic");
}

#define ONE(name)                                                                   \
  for (int i = 0; i < count; i++)                                                   \
    d(name(any_double())), f(name##f(any_float())), wide(name##l(any_wide()));      \
  line(#name)
#define TWO(name)                                                                   \
  for (int i = 0; i < count; i++) {                                                 \
    volatile double a = any_double(), b = any_double();                             \
    volatile float x = any_float(), y = any_float();                                \
    volatile long double p = any_wide(), q = any_wide();                            \
    d(name(a, b)), f(name##f(x, y)), wide(name##l(p, q));                           \
  }                                                                                 \
  line(#name)

static void functions(int count) {
  ONE(sin); ONE(cos); ONE(tan); ONE(asin); ONE(acos); ONE(atan); ONE(sinh); ONE(cosh); ONE(tanh);
  ONE(exp); ONE(exp2); ONE(expm1); ONE(log); ONE(log2); ONE(log10); ONE(log1p); ONE(cbrt);
  ONE(floor); ONE(ceil); ONE(trunc); ONE(rint); ONE(nearbyint); ONE(round); ONE(erf); ONE(tgamma);
  ONE(lgamma); ONE(logb);
  TWO(pow); TWO(atan2); TWO(fmod); TWO(remainder); TWO(hypot); TWO(fdim); TWO(fmax); TWO(nextafter); TWO(copysign);
  for (int i = 0; i < count; i++) {
    volatile double a = any_double(), b = any_double(), c = any_double();
    volatile float x = any_float(), y = any_float(), z = any_float();
    volatile long double p = any_wide(), q = any_wide(), r = any_wide();
    d(fma(a, b, c)), f(fmaf(x, y, z)), l(fmal(p, q, r));
  }
  line("fma");
  for (int i = 0; i < count; i++) {
    char text[160];
    double a = any_double(), b = any_double();
    long double p = any_wide(), q = any_wide();
    snprintf(text, sizeof text, "%.17g %.6e %La %.20Lg", a, b, p, q);
    mix(text, strlen(text)), d(strtod(text, 0)), l(strtold(text, 0));
  }
  line("text");
}

static void x87_exact(int count) {
  for (int i = 0; i < count; i++) {
    long double x = any_wide(), y = any_wide(), r, r2;
    uint16_t status;
#define CHECK(...) __asm__ volatile(__VA_ARGS__); l(r), status &= 0x47ff, mix(&status, 2)
    CHECK("fnclex\n\tfrndint\n\tfnstsw %1" : "=t"(r), "=a"(status) : "0"(x));
    CHECK("fnclex\n\tfsqrt\n\tfnstsw %1" : "=t"(r), "=a"(status) : "0"(x));
    CHECK("fnclex\n\tfprem\n\tfnstsw %1" : "=t"(r), "=a"(status) : "0"(x), "u"(y));
    CHECK("fnclex\n\tfprem1\n\tfnstsw %1" : "=t"(r), "=a"(status) : "0"(x), "u"(y));
    __asm__ volatile("fscale" : "=t"(r) : "0"(x), "u"(y));
    l(r);
    __asm__ volatile("fxtract" : "=t"(r), "=u"(r2) : "0"(x));
    l(r), l(r2);
    __asm__ volatile("fxam\n\tfnstsw %0" : "=a"(status) : "t"(x));
    status &= 0x4700, mix(&status, 2);
    unsigned char decimal[10];
    long double z = (long double)(int64_t)next() / 16;
    __asm__ volatile("fbstp %0" : "=m"(decimal) : "t"(z) : "st");
    mix(decimal, 10);
    __asm__ volatile("fbld %1" : "=t"(r) : "m"(decimal));
    l(r);
  }
  line("x87");
}

static void x87_precision(int count) {
  static const uint16_t words[] = {0x007f, 0x027f, 0x037f};
  for (int i = 0; i < 3; i++) {
    __asm__ volatile("fldcw %0" : : "m"(words[i]));
    for (int k = 0; k < count; k++) {
      volatile long double a = any_wide(), b = any_wide();
      l(a + b), l(a * b), l(a / b), l(a - b), l(sqrtl(a));
    }
    line("x87 precision");
  }
}

static void denormals(int count) {
  static const unsigned modes[] = {0x1f80, 0x9f80, 0x1fc0, 0x9fc0};
  for (int i = 0; i < 4; i++) {
    __asm__ volatile("ldmxcsr %0" : : "m"(modes[i]));
    for (int k = 0; k < count; k++) {
      volatile double a = any_double() * 1e-300, b = any_double() * 1e-8;
      d(a + b), d(a * b), d(a / b);
      volatile float x = any_float() * 1e-30f, y = any_float() * 1e-10f;
      f(x * y), f(x + y), f(x / y);
      unsigned flags;
      __asm__ volatile("stmxcsr %0" : "=m"(flags));
      mix(&flags, 4);
    }
    line("denormals");
  }
}

int main(int argc, char **argv) {
  static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
  int count = argc > 1 ? atoi(argv[1]) : 2000;
  if (argc > 2) wide_results = fopen(argv[2], "wb");
  for (int i = 0; i < 4; i++) {
    fesetround(modes[i]);
    printf("rounding mode %d\n", i);
    arithmetic(count * 4);
    functions(count);
  }
  fesetround(FE_TONEAREST);
  x87_exact(count * 4);
  x87_precision(count * 4);
  denormals(count * 4);
  return wide_results && fclose(wide_results) != 0;
}
