/* The C library's qsort: copies, and a call through a pointer for each comparison. */
#include "bench.h"

#include <stdlib.h>

#define COUNT 400000

static int compare(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return (x > y) - (x < y);
}

uint64_t bench_qsort(void) {
  uint32_t *values = need(COUNT * 4), random = 1;
  uint64_t sum = MIX_START;
  for (int round = 0; round < 3; round++) {
    for (int i = 0; i < COUNT; i++) values[i] = next_random(&random);
    qsort(values, COUNT, 4, compare);
    for (int i = 0; i < COUNT; i += 997) sum = mix(sum, values[i]);
  }
  return sum;
}
