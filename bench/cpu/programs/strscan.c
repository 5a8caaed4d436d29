/* Text: words counted byte by byte, then strlen, strchr, memchr and strstr of the C library. */
#include "bench.h"

#include <string.h>

#define SIZE (512 * 1024)

uint64_t bench_strscan(void) {
  char *text = need(SIZE + 1);
  uint32_t random = 1;
  for (int i = 0; i < SIZE; i++) {
    uint32_t r = next_random(&random) >> 8;
    text[i] = r % 7 == 0 ? ' ' : r % 61 == 0 ? '\n' : 'a' + r % 23;
  }
  text[SIZE] = 0;
  uint64_t sum = MIX_START;
  for (int round = 0; round < 16; round++) {
    uint32_t words = 0, lines = 0, inside = 0, letters = 0;
    for (const char *at = text; *at != 0; at++) {
      char c = *at;
      lines += c == '\n';
      if (c == ' ' || c == '\n')
        inside = 0;
      else {
        words += !inside;
        inside = 1;
        letters += c;
      }
    }
    sum = mix(mix(mix(sum, words), lines), letters);
    for (int repeat = 0; repeat < 4; repeat++) {
      size_t length = 0;
      for (const char *at = text; (at = strchr(at, '\n')) != NULL; at++) length += at - text;
      sum = mix(sum, length & 0xffffffff);
      sum = mix(sum, strlen(text + repeat));
      sum = mix(sum, memchr(text, 0x7e, SIZE) == NULL);
    }
    sum = mix(sum, strstr(text, "abcdefghij") == NULL);
    text[round * 1021] = 'z';
  }
  return sum;
}
