/*
 * What every program of the bench is: a function that does a fixed amount of work and gives a checksum of it. The
 * checksum must not depend on the word size, so that 64-bit and 32-bit builds can be compared.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

/* X(name): in the order in which they run; bench_NAME is in a file of this folder. */
#define COMPUTE_PROGRAMS(X) \
  X(intloop) X(crc32) X(sha256) X(memcpy) X(wordcopy) X(listl1) X(list8m) X(qsort) X(sieve) X(nbody) X(matmul) \
  X(bytecode) X(recursion) X(strscan) X(malloc) X(coremix)
#define SYSTEM_PROGRAMS(X) X(syscalls) X(forks) X(faults) X(pipes) X(threads)

#define DECLARE(name) uint64_t bench_##name(void);
COMPUTE_PROGRAMS(DECLARE)
SYSTEM_PROGRAMS(DECLARE)
#undef DECLARE

/* A small generator of numbers that look random: xorshift, 32 bits, never 0. */
static inline uint32_t next_random(uint32_t *state) {
  uint32_t x = *state;
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return *state = x;
}

/* FNV-1a over the bytes of a number, the lowest first. */
static inline uint64_t mix(uint64_t hash, uint64_t value) {
  for (int i = 0; i < 8; i++) hash = (hash ^ (value >> (8 * i) & 255)) * 0x100000001b3ull;
  return hash;
}
#define MIX_START 0xcbf29ce484222325ull

/* Memory that the program needs: ends the process when there is none. */
void *need(size_t bytes);

#endif
