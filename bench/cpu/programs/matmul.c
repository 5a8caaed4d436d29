/* Products of two matrices of doubles, the inner loop along rows: packed SSE2 loads, products, sums and stores. */
#include "bench.h"

#include <string.h>

#define N 160

static double a[N][N], b[N][N], c[N][N];

__attribute__((optimize("tree-vectorize"))) static void multiply(void) {
  memset(c, 0, sizeof c);
  for (int i = 0; i < N; i++)
    for (int k = 0; k < N; k++)
      for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
}

uint64_t bench_matmul(void) {
  uint32_t random = 1;
  for (int i = 0; i < N; i++)
    for (int k = 0; k < N; k++) {
      a[i][k] = (next_random(&random) & 1023) / 64.0;
      b[i][k] = (next_random(&random) & 1023) / 64.0;
    }
  for (int round = 0; round < 12; round++) {
    multiply();
    a[round][round] = c[round][0] / 1024;
  }
  uint64_t sum = MIX_START;
  for (int i = 0; i < N; i++)
    for (int k = 0; k < N; k += 5) {
      uint64_t bits;
      memcpy(&bits, &c[i][k], 8);
      sum = mix(sum, bits);
    }
  return sum;
}
