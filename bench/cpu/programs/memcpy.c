/* The C library's memcpy, as it picks it for the processor: blocks of a cache line to 256 KiB, at odd places too. */
#include "bench.h"

#include <string.h>

#define SIZE (256 * 1024)

uint64_t bench_memcpy(void) {
  uint8_t *from = need(SIZE + 64), *to = need(SIZE + 64);
  uint32_t random = 1;
  for (int i = 0; i < SIZE + 64; i++) from[i] = next_random(&random) >> 8;
  memset(to, 0, SIZE + 64);
  uint64_t sum = MIX_START;
  for (size_t size = 64; size <= SIZE; size *= 4) {
    for (size_t done = 0; done < 64 * 1024 * 1024; done += size) memcpy(to + done / size % 8, from + done / size % 16, size);
    for (size_t i = 0; i < SIZE; i += 61) sum = mix(sum, to[i]);
  }
  return sum;
}
