/* CRC-32 (IEEE 802.3) byte by byte with a table: each load depends on the one before. */
#include "bench.h"

#define SIZE (1 << 20)

uint64_t bench_crc32(void) {
  static uint32_t table[256];
  uint8_t *data = need(SIZE);
  uint32_t random = 1;
  for (int i = 0; i < SIZE; i++) data[i] = next_random(&random) >> 8;
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int k = 0; k < 8; k++) value = value >> 1 ^ (value & 1 ? 0xedb88320 : 0);
    table[i] = value;
  }
  uint32_t crc = 0xffffffff;
  for (int round = 0; round < 40; round++)
    for (int i = 0; i < SIZE; i++) crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
  return ~crc;
}
