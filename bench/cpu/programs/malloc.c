/* The C library's malloc and free: blocks of mixed sizes that live for mixed times, with a little written to each. */
#include "bench.h"

#include <stdlib.h>

#define SLOTS 4096

uint64_t bench_malloc(void) {
  static uint32_t *slots[SLOTS];
  uint32_t random = 1, sum = 0;
  for (int i = 0; i < 2500000; i++) {
    uint32_t r = next_random(&random), slot = r % SLOTS;
    if (slots[slot] != NULL) {
      sum += *slots[slot];
      free(slots[slot]);
      slots[slot] = NULL;
    } else {
      uint32_t kind = r >> 24;
      slots[slot] = need(kind < 200 ? 8 + kind : kind < 250 ? 16 * kind : 64 * kind);
      *slots[slot] = r;
    }
  }
  for (int i = 0; i < SLOTS; i++) {
    if (slots[i] != NULL) sum += *slots[i];
    free(slots[i]);
    slots[i] = NULL;
  }
  return sum;
}
