/* A loop of integer arithmetic with branches that depend on the data: nothing in memory. */
#include "bench.h"

uint64_t bench_intloop(void) {
  uint32_t a = 1, b = 0x9e3779b9, sum = 0;
  for (uint32_t i = 0; i < 40000000; i++) {
    a = a * 1664525 + 1013904223;
    if (a & 0x10000)
      b += a ^ (b >> 3);
    else
      b ^= (a << 5) | (a >> 27);
    sum += b;
  }
  return mix(mix(MIX_START, a), sum);
}
