/* The sieve of Eratosthenes: stores of bytes with growing strides, then a scan. */
#include "bench.h"

#include <string.h>

#define LIMIT 4000000

uint64_t bench_sieve(void) {
  uint8_t *composite = need(LIMIT);
  uint32_t count = 0, sum = 0;
  for (int round = 0; round < 6; round++) {
    memset(composite, 0, LIMIT);
    for (uint32_t i = 2; i * i < LIMIT; i++)
      if (!composite[i])
        for (uint32_t k = i * i; k < LIMIT; k += i) composite[k] = 1;
    count = 0;
    for (uint32_t i = 2; i < LIMIT; i++)
      if (!composite[i]) {
        count++;
        sum += i;
      }
  }
  return (uint64_t)count << 32 | sum;
}
