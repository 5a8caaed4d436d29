/*
 * Walks along a linked list whose nodes stand in random order: every load waits for the one before. Once in 16 KiB,
 * which fits a first-level cache, and once in 8 MiB, which touches more pages than a TLB has entries.
 */
#include "bench.h"

struct node {
  struct node *next;
  uint32_t value;
  uint8_t rest[64 - sizeof(void *) - 4];
};

static uint64_t walk(uint32_t bytes, uint32_t steps) {
  uint32_t count = bytes / sizeof(struct node), random = 1;
  struct node *nodes = need(bytes);
  uint32_t *order = need(count * 4);
  for (uint32_t i = 0; i < count; i++) order[i] = i;
  for (uint32_t i = count - 1; i > 0; i--) {
    uint32_t k = next_random(&random) % (i + 1), swap = order[i];
    order[i] = order[k];
    order[k] = swap;
  }
  for (uint32_t i = 0; i < count; i++) {
    nodes[order[i]].next = &nodes[order[(i + 1) % count]];
    nodes[order[i]].value = order[i] * 2654435761u;
  }
  uint32_t sum = 0;
  const struct node *at = nodes;
  for (uint32_t i = 0; i < steps; i++) {
    sum += at->value;
    at = at->next;
  }
  return mix(sum, (uint64_t)(at - nodes));
}

uint64_t bench_listl1(void) { return walk(16 * 1024, 60000000); }
uint64_t bench_list8m(void) { return walk(8 * 1024 * 1024, 2000000); }
