/* Calls and returns: Fibonacci's numbers the slow way, and the queens' problem, which keeps more on the stack. */
#include "bench.h"

__attribute__((noinline, optimize("no-optimize-sibling-calls", "no-inline"))) static uint32_t fibonacci(uint32_t n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__attribute__((noinline)) static uint32_t queens(uint32_t free, uint32_t left, uint32_t right, uint32_t all) {
  if (free == 0) return 1;
  uint32_t count = 0;
  for (uint32_t places = free & ~(left | right); places != 0; places &= places - 1) {
    uint32_t place = places & -places;
    count += queens(free & ~place, ((left | place) << 1) & all, (right | place) >> 1, all);
  }
  return count;
}

uint64_t bench_recursion(void) { return (uint64_t)fibonacci(34) << 32 | queens(0x7ff, 0, 0, 0x7ff); }
