/* A copy loop of 32-bit words as a compiler writes it: a load and a store, neither vectors nor a library call. */
#include "bench.h"

#define WORDS (64 * 1024)

__attribute__((noinline, optimize("no-tree-vectorize", "no-tree-loop-distribute-patterns"))) static void
copy(uint32_t *to, const uint32_t *from, size_t words) {
  for (size_t i = 0; i < words; i++) to[i] = from[i];
}

uint64_t bench_wordcopy(void) {
  uint32_t *from = need(WORDS * 4), *to = need(WORDS * 4), random = 1;
  for (int i = 0; i < WORDS; i++) from[i] = next_random(&random);
  for (int round = 0; round < 1200; round++) {
    copy(to, from, WORDS);
    from[round] ^= to[WORDS - 1 - round];
  }
  uint64_t sum = MIX_START;
  for (int i = 0; i < WORDS; i += 7) sum = mix(sum, to[i]);
  return sum;
}
